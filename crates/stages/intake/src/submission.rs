//! Mails that are handed in whole, by HTTP or by the sendmail command: the same decisions as a
//! session's, without a dialog.

use bytes::{Bytes, BytesMut};
use mail::{
    Address, BodyType, Destination, Envelope, Labels, Message, Notify, QueueId, Recipient, Ret,
    Submitter, Terms, Timestamp,
};
use smtp::data::{BareNewline, ChunkReader, ContentRules, Nul};

use crate::decision::{Scale, no_recipient, outgoing, too_many_recipients, weigh};
use crate::policy::Policy;
use crate::received;
use crate::refusal::{Reason, Refusal};
use crate::{Charged, FixUps, Rights, trial};

/// A recipient that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its address.
    pub address: Address,
    /// When the sender wants to hear about it.
    pub notify: Notify,
    /// ORCPT, in its xtext form with the address type.
    pub orcpt: Option<String>,
}

impl From<Address> for Wanted {
    fn from(address: Address) -> Self {
        Self {
            address,
            notify: Notify::UNSET,
            orcpt: None,
        }
    }
}

/// A mail as it is handed in. Whether its submitter may use this server, and this sender, has been
/// decided.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The envelope's sender; `None` is the null reverse-path.
    pub reverse_path: Option<Address>,
    /// Whom to send to.
    pub recipients: Vec<Wanted>,
    /// It is a part of a mail that was cut: the policy's limit on recipients is not asked.
    pub is_part: bool,
    /// Header and body. Lines may end in LF.
    pub content: Bytes,
    /// What the body is declared to be: of a binary one every octet is kept.
    pub body_type: BodyType,
    /// How much of it a failure message returns.
    pub ret: Option<Ret>,
    /// ENVID in its xtext form.
    pub env_id: Option<String>,
    /// What is asked about time and order.
    pub terms: Terms,
    /// It is a test: judged as every mail, and never delivered.
    pub is_test: bool,
    /// Tags and metadata, besides those in its header.
    pub labels: Labels,
    /// Who hands it in.
    pub submitter: Submitter,
    /// As whom it may write.
    pub rights: Rights,
}

/// A mail to save.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The mail, to the recipients that are taken.
    pub message: Message,
    /// What became of each recipient that was asked for, in their order.
    pub recipients: Vec<Result<(), Refusal>>,
    /// Worth telling when it is saved: quotas that are nearly used up.
    pub near: Vec<String>,
}

/// Under which names its recipients are counted.
fn charged(envelope: &Envelope) -> Charged<'_> {
    Charged {
        user: envelope.submitter.user.as_deref(),
        by_password: false,
        sender: envelope.reverse_path.as_ref(),
    }
}

/// The refusal of a mail of which no recipient is taken: that of the first, with those of all.
fn nobody(verdicts: Vec<Result<(), Refusal>>) -> Refusal {
    let all: Vec<Refusal> = verdicts.into_iter().filter_map(Result::err).collect();
    let Some(first) = all.first().cloned() else {
        return no_recipient().into();
    };
    Refusal {
        recipients: all,
        ..first
    }
}

impl Policy {
    /// Whether mail for an address is taken from one who may send anywhere.
    ///
    /// # Errors
    /// The refusal.
    pub fn takes(
        &self,
        address: &Address,
        sender: Option<&Address>,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let recipient = self.addressed(address, now)?;
        self.check_suppressed(&recipient, sender, user, now)
    }

    /// A mail that [`compose`](Self::compose) made is not saved: its recipients no longer count.
    pub fn give_back(&self, envelope: &Envelope, now: Timestamp) {
        let more = outgoing(envelope);
        let charged = charged(envelope);
        self.usage.give_back(now, &self.quotas, &charged, more);
    }

    /// Reads a content that comes whole, the field in front of it.
    fn read(&self, content: Bytes, declared: BodyType, field: Vec<u8>) -> ChunkReader {
        let rules = ContentRules {
            bare_newline: BareNewline::Normalise,
            nul: Nul::Keep,
            ..self.content_rules(declared)
        };
        let length = content.len() as u64;
        let mut reader = ChunkReader::new(rules, field, length);
        reader.read(&mut BytesMut::from(content), length);
        reader
    }

    /// The recipients of a submission that are taken, and what became of each that was asked for.
    fn judged(
        &self,
        submission: &Submission,
        now: Timestamp,
    ) -> (Vec<Recipient>, Vec<Result<(), Refusal>>) {
        let mut taken: Vec<Recipient> = Vec::with_capacity(submission.recipients.len());
        let mut verdicts = Vec::with_capacity(submission.recipients.len());
        for wanted in &submission.recipients {
            let recipient = self.addressed(&wanted.address, now).and_then(|recipient| {
                let sender = submission.reverse_path.as_ref();
                let user = submission.submitter.user.as_deref();
                if submission.is_test {
                    trial::check(&recipient.address)?;
                }
                self.check_suppressed(&recipient, sender, user, now)?;
                let is_new = taken.iter().all(|r| r.address != recipient.address);
                let is_full = taken.len() >= self.limits.recipients && !submission.is_part;
                match is_new && is_full {
                    true => Err(Refusal::new(Reason::TooMany, too_many_recipients())),
                    false => Ok((recipient, is_new)),
                }
            });
            verdicts.push(recipient.map(|(recipient, is_new)| {
                // Who is named twice gets it once.
                if is_new {
                    taken.push(Recipient {
                        notify: wanted.notify,
                        orcpt: wanted.orcpt.clone(),
                        ..recipient
                    });
                }
            }));
        }
        (taken, verdicts)
    }

    /// Makes a mail of a submission: recipients are rewritten and judged each for itself, and taken from
    /// the quotas; the content's lines end in CRLF, a Received field stands in front.
    ///
    /// # Errors
    /// The reply that says why nothing of it is taken: no recipient is, or the content is too large,
    /// in a loop, or says it is from another than its submitter may write as.
    pub fn compose(
        &self,
        submission: Submission,
        fix_ups: FixUps,
        id: QueueId,
        now: Timestamp,
    ) -> Result<Composed, Refusal> {
        let (taken, verdicts) = self.judged(&submission, now);
        if taken.is_empty() {
            return Err(nobody(verdicts));
        }
        let mut envelope = Envelope {
            reverse_path: submission.reverse_path,
            recipients: taken,
            body_type: submission.body_type,
            // Decided by what the content needs.
            smtputf8: true,
            ret: submission.ret,
            env_id: submission.env_id,
            terms: submission.terms,
            submitter: submission.submitter,
        };
        self.expand(&mut envelope);
        if submission.is_test {
            // After every decision about them: nothing that follows may take them for others.
            for recipient in &mut envelope.recipients {
                recipient.destination = Destination::Test;
            }
        }
        let more = outgoing(&envelope);
        // Before its content is looked at; it is taken from them when nothing else speaks against it.
        self.usage
            .check_whole(now, &self.quotas, &charged(&envelope), more)?;
        let field = received::handed_in(&self.hostname, &envelope, id, now);
        let reader = self.read(submission.content, submission.body_type, field);
        if reader.has_nul() {
            // What is not text is binary, though nobody has said so.
            envelope.body_type = BodyType::BinaryMime;
        }
        let scale = Scale {
            fix_ups,
            rights: &submission.rights,
            id,
            now,
        };
        let labels = submission.labels;
        let (content, labels) = weigh(self, &mut envelope, reader.finish(), &scale, labels)?;
        let taken = charged(&envelope);
        let near = self.usage.take(now, &self.quotas, &taken, more)?;
        Ok(Composed {
            near,
            message: Message {
                id,
                accepted: now,
                envelope,
                labels,
                content,
            },
            recipients: verdicts,
        })
    }
}
