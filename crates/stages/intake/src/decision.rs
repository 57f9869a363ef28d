//! What a session and a whole submission decide alike: where a recipient goes, and whether a
//! content is taken.

use bytes::Bytes;
use mail::{
    Address, BodyType, Destination, EnhancedCode, Envelope, HeaderEnd, Headers, Labels, Notify,
    QueueId, Recipient, Reply, Timestamp, body_offset, is_ascii,
};
use smtp::data::ContentError;
use smtp::dot_stuffing::is_canonical;

use crate::paths::Stands;
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::{FixUps, Rights, labels};

impl Policy {
    /// The recipient that an address means, after the rules that rewrite. An address of ours that
    /// stands for somebody else's is told apart by its signature.
    pub(crate) fn addressed(&self, given: &Address, now: Timestamp) -> Result<Recipient, Refusal> {
        if self.paths.contains(given.domain()) {
            return self.stands_for(given, now);
        }
        let alias = self.alias(given).and_then(<[_]>::first).cloned();
        let rewritten = alias.or_else(|| self.rewriting.apply(given));
        let address = rewritten.as_ref().unwrap_or(given);
        Ok(Recipient {
            address: address.clone(),
            given: rewritten.is_some().then(|| given.clone()),
            orcpt: None,
            notify: Notify::UNSET,
            destination: self.destination(address)?,
        })
    }

    fn stands_for(&self, given: &Address, now: Timestamp) -> Result<Recipient, Refusal> {
        let bad = |reply| Refusal::new(Reason::BadAddress, reply);
        Ok(match self.paths.read(given, now).map_err(bad)? {
            // What it is about is found when it is stored.
            Stands::Return(..) | Stands::Feedback => Recipient {
                destination: Destination::Local,
                ..Recipient::new(given.clone())
            },
            Stands::Other(author) => Recipient {
                given: Some(given.clone()),
                destination: self.destination(&author)?,
                ..Recipient::new(author)
            },
        })
    }

    /// Whether mail of this sender and user to a recipient is refused because it is suppressed.
    pub(crate) fn check_suppressed(
        &self,
        recipient: &Recipient,
        sender: Option<&Address>,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match recipient.destination {
            Destination::Outgoing => self.suppressed.check(&recipient.address, sender, user, now),
            Destination::Local | Destination::Test => Ok(()),
        }
    }

    fn destination(&self, address: &Address) -> Result<Destination, Refusal> {
        match self.local.contains(address.domain()) {
            false => Ok(Destination::Outgoing),
            true if self.local.has_store => Ok(Destination::Local),
            true => {
                let text = format!(
                    "{} is a local domain, but no local store is configured for its mail",
                    address.domain()
                );
                let reply = Reply::new(550, Some(EnhancedCode::new(5, 3, 0)), text);
                Err(Refusal::new(Reason::NoMailboxes, reply))
            }
        }
    }
}

/// What a content is weighed by beside the policy.
pub(crate) struct Scale<'a> {
    pub(crate) fix_ups: FixUps,
    /// As whom its submitter may write.
    pub(crate) rights: &'a Rights,
    pub(crate) id: QueueId,
    pub(crate) now: Timestamp,
}

/// Whether content is taken, mended as the fix-ups say; if so, the envelope says what the content
/// really is, and what its submitter labels it with comes to the labels `given`. Its header is judged as it goes
/// out.
pub(crate) fn weigh(
    policy: &Policy,
    envelope: &mut Envelope,
    content: Result<Bytes, ContentError>,
    scale: &Scale<'_>,
    given: Labels,
) -> Result<(Bytes, Labels), Reply> {
    let content = content.map_err(|error| error.reply())?;
    let mut fields = Headers::new(&content);
    let (mut hops, mut is_labelled) = (0, false);
    for field in fields.by_ref() {
        hops += usize::from(field.is("Received"));
        is_labelled |= labels::is_label(&field);
    }
    // Our own Received field is in front already.
    if hops > policy.limits.received_hops + 1 {
        let enhanced = EnhancedCode::new(5, 4, 6);
        let text = "Too many hops: the message seems to be in a mail loop";
        return Err(Reply::new(554, Some(enhanced), text));
    }
    let content = match fields.end() {
        HeaderEnd::EmptyLine => content,
        HeaderEnd::Missing | HeaderEnd::Broken => {
            let left = fields.left();
            with_empty_line(content, left)
        }
    };
    let Scale {
        fix_ups,
        rights,
        id,
        now,
    } = *scale;
    let mut given = given;
    let content = match is_labelled {
        true => labels::take(&content, rights, &mut given)?,
        false => content,
    };
    let mended = fix_ups.apply(&content, &policy.hostname, id, now);
    let content = mended.map_or(content, Bytes::from);
    envelope.body_type = envelope.body_type.needed(&content);
    let content = match envelope.body_type {
        BodyType::SevenBit | BodyType::EightBitMime => content,
        BodyType::BinaryMime => with_header_of_lines(policy, content)?,
    };
    rights.check(
        policy.check_from,
        envelope.submitter.user.as_deref(),
        &content,
    )?;
    envelope.smtputf8 = envelope.smtputf8 && needs_smtputf8(envelope, &content);
    let labels = Labels {
        tags: given.tags,
        metadata: given.metadata,
        ..Labels::of(&content)
    };
    Ok((content, labels))
}

/// Whatever the body is, the header consists of lines (RFC 3030 §3): others would read it otherwise
/// than it is read here.
fn with_header_of_lines(policy: &Policy, content: Bytes) -> Result<Bytes, Reply> {
    let length = body_offset(&content);
    let header = content.get(..length).unwrap_or_default();
    if !is_canonical(header) || header.contains(&0) {
        let enhanced = EnhancedCode::new(5, 6, 0);
        let text = "The header has a bare CR or LF, or a NUL: only the body of a BINARYMIME message may contain \
                    them";
        return Err(Reply::new(550, Some(enhanced), text));
    }
    let line_max = policy.limits.line_length;
    if header
        .split(|b| *b == b'\n')
        .any(|line| line.len() > line_max + 1)
    {
        return Err(ContentError::LineTooLong(line_max).reply());
    }
    Ok(content)
}

/// A mail without any empty line gets one where its fields end, `left` octets before its end: what else
/// it would mean, and where signatures of it begin to cover a body, each reader decides for itself.
fn with_empty_line(content: Bytes, left: usize) -> Bytes {
    if body_offset(&content) < content.len() || content.ends_with(b"\r\n\r\n") {
        return content;
    }
    let at = content.len() - left;
    let (header, body) = content.split_at_checked(at).unwrap_or((&content, b""));
    let end: &[u8] = match header.ends_with(b"\n") {
        true => b"\r\n",
        false => b"\r\n\r\n",
    };
    Bytes::from([header, end, body].concat())
}

/// RFC 6531 §3.1: a mail needs SMTPUTF8 for an address that has no form in ASCII, or for a header
/// outside ASCII. Asking for more would make peers refuse mail that they can take.
fn needs_smtputf8(envelope: &Envelope, content: &[u8]) -> bool {
    let recipients = envelope.recipients.iter().map(|r| &r.address);
    let mut addresses = recipients.chain(envelope.reverse_path.as_ref());
    let header = content.get(..body_offset(content)).unwrap_or(content);
    addresses.any(|address| address.to_ascii().is_none()) || !is_ascii(header)
}

/// Recipients that leave.
pub(crate) fn outgoing(envelope: &Envelope) -> u64 {
    let leaves = |r: &&Recipient| r.destination == Destination::Outgoing;
    envelope.recipients.iter().filter(leaves).count() as u64
}

pub(crate) fn too_many_recipients() -> Reply {
    Reply::new(
        452,
        Some(EnhancedCode::new(4, 5, 3)),
        "Too many recipients: send to the others in another transaction",
    )
}

pub(crate) fn no_recipient() -> Reply {
    Reply::new(
        554,
        Some(EnhancedCode::new(5, 5, 1)),
        "The message has no recipients",
    )
}
