//! Signing mail (DKIM): which mail, with which keys, and where.
//!
//! A mail is signed once, when it is taken in, on the octets that go to the queue and out of it.
//! Where the library fails to sign, which is not known to happen, the mail goes out unsigned and an
//! `error` is logged: a mail without a signature arrives in most places, a mail refused in none.

use std::sync::Arc;

use bytes::Bytes;
use config::Config;
use deliver::{Conversion, Converted, Obstacle, Signatures};
use intake::Rights;
use mail::{Address, BodyType, Message, Timestamp};
use sign::{Keyring, Signer};

use crate::Node;
use crate::figures::Figures;

/// The message with signatures in front, where its author's domain has keys and its submitter may
/// write as all of its authors; before, lines that are too long are encoded in mail from its author.
pub(crate) async fn accepted(node: &Arc<Node>, message: Message, rights: &Rights) -> Message {
    if *rights == Rights::None {
        return message;
    }
    let message = with_short_lines(node, message).await;
    let settings = node.settings();
    let keyring = &settings.config.dkim;
    if keyring.is_empty() {
        return message;
    }
    let signers = match signers(keyring, &message.content, rights, node.now()) {
        Ok(signers) if signers.is_empty() => return message,
        Ok(signers) => signers,
        Err(why) => {
            let line = node.journal.line(node.now(), "unsigned");
            line.field("id", message.id).field("why", why).send();
            return message;
        }
    };
    // Threads that may block are many; those that reckon are no more than there are cores.
    let Ok(_turn) = node.signing.acquire().await else {
        return message;
    };
    let content = message.content.clone();
    let now = node.now();
    let work = move || with_signatures(&content, &signers, now);
    let signed = match tokio::task::spawn_blocking(work).await {
        Ok(signed) => signed.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    put(node, message, signed)
}

/// The message without lines of more than 998 octets (RFC 5322 §2.1.1), for which some hosts refuse it.
/// A signature of others must not break by it; what cannot be encoded stays as it is.
async fn with_short_lines(node: &Arc<Node>, message: Message) -> Message {
    let is_wanted = node.settings().config.outgoing.short_lines;
    // A binary body is made lines for hosts that need them.
    let is_binary = message.envelope.body_type == BodyType::BinaryMime;
    if !is_wanted || is_binary || !mail::has_long_line(&message.content) {
        return message;
    }
    changed(node, message, Conversion::Short).await
}

/// The message with what is no text in base64, where nobody has said that it is binary: there is a NUL in it,
/// which hosts refuse or cut a mail at. What cannot be encoded stays as it is, for hosts with BINARYMIME.
pub(crate) async fn encoded(node: &Arc<Node>, message: Message) -> Message {
    changed(node, message, Conversion::Lines).await
}

async fn changed(node: &Arc<Node>, mut message: Message, conversion: Conversion) -> Message {
    let Ok(_turn) = node.signing.acquire().await else {
        return message;
    };
    let content = message.content.clone();
    let work = move || deliver::convert(&content, conversion, Signatures::Hold);
    let Ok(Ok(converted)) = tokio::task::spawn_blocking(work).await else {
        return message;
    };
    if converted.parts + converted.fields > 0 {
        let line = node.journal.line(node.now(), "converted");
        line.field("id", message.id)
            .field("what", &converted)
            .send();
        message.envelope.body_type = converted.body_type(message.envelope.body_type);
        message.content = converted.content;
    }
    message
}

/// Signs mail of our own (reports), where the domain in its From has keys. Takes up to
/// milliseconds: for threads that may block.
pub fn own(node: &Node, message: Message) -> Message {
    let settings = node.settings();
    let keyring = &settings.config.dkim;
    if keyring.is_empty() {
        return message;
    }
    match signers(keyring, &message.content, &Rights::Any, node.now()) {
        Ok(signers) if !signers.is_empty() => {
            let signed = with_signatures(&message.content, &signers, node.now());
            put(node, message, signed.map_err(|e| e.to_string()))
        }
        Ok(_) | Err(_) => message,
    }
}

fn put(node: &Node, message: Message, signed: Result<Bytes, String>) -> Message {
    match signed {
        Ok(content) => {
            Figures::count(&node.figures.signed);
            Message { content, ..message }
        }
        Err(why) => {
            let line = node.journal.line(node.now(), "error");
            line.field("what", "DKIM: the message is sent unsigned")
                .field("id", message.id)
                .field("why", why)
                .send();
            message
        }
    }
}

/// The keys that sign this mail; an error is why there are none, though the author's domain has
/// some, or though it cannot be told who the author is.
fn signers(
    keyring: &Keyring,
    content: &[u8],
    rights: &Rights,
    now: Timestamp,
) -> Result<Vec<Arc<Signer>>, String> {
    let authors = mail::authors(content).map_err(|why| why.to_string())?;
    let of = |author: &Address| keyring.of(author.domain(), now);
    let signers = authors.signing().map(of).unwrap_or_default();
    match rights.refused(&authors) {
        Some(refused) if !signers.is_empty() => {
            Err(format!("its submitter may not write as {refused}"))
        }
        Some(_) | None => Ok(signers),
    }
}

fn with_signatures(
    content: &Bytes,
    signers: &[Arc<Signer>],
    now: Timestamp,
) -> Result<Bytes, sign::SignError> {
    let signers: Vec<&Signer> = signers.iter().map(|s| &**s).collect();
    let mut signed = sign::sign(content, &signers, now)?.into_bytes();
    signed.reserve_exact(content.len());
    signed.extend_from_slice(content);
    Ok(Bytes::from(signed))
}

/// The signatures that were made here: `example.com/s1`.
pub fn signatures(content: &[u8]) -> Vec<String> {
    let one = |found: sign::InFront<'_>| format!("{}/{}", found.domain, found.selector);
    sign::in_front(content).map(one).collect()
}

/// The same as the log names them.
pub fn names(content: &[u8]) -> Option<String> {
    let names = signatures(content);
    (!names.is_empty()).then(|| names.join(","))
}

/// Converts a content for a host. Signatures of ours do not stand in the way: they are taken off,
/// and what was converted is signed anew, as of `now`.
pub fn converted(
    config: &Config,
    content: &Bytes,
    conversion: Conversion,
    now: Timestamp,
) -> Result<Converted, Obstacle> {
    let signatures = config.outgoing.convert_signed;
    let (bare, signers) = taken_off(&config.dkim, content, now);
    let mut converted = deliver::convert(&bare, conversion, signatures)?;
    if !signers.is_empty() {
        match with_signatures(&converted.content, &signers, now) {
            Ok(content) => converted.content = content,
            Err(_) => converted.signed = true,
        }
    }
    Ok(converted)
}

/// Puts other senders into a content for a relay. Signatures of ours do not stand in the way: they are taken
/// off, and the keys of the new author's domain sign, where `vouched` says that this server stands for the mail,
/// as of `now`.
pub fn rewritten(
    config: &Config,
    content: &Bytes,
    answered: bool,
    vouched: bool,
    now: Timestamp,
) -> Result<Option<deliver::Rewritten>, Obstacle> {
    let signatures = config.outgoing.convert_signed;
    let (bare, were) = taken_off(&config.dkim, content, now);
    let found = deliver::rewrite_senders(&bare, &config.senders, answered, signatures)?;
    let Some(mut made) = found else {
        return Ok(None);
    };
    let keys = match vouched || !were.is_empty() {
        true => signers(&config.dkim, &made.content, &Rights::Any, now),
        false => Ok(Vec::new()),
    };
    // Without a key the relay's own signature has to do.
    if let Ok(keys) = keys
        && !keys.is_empty()
        && let Ok(content) = with_signatures(&made.content, &keys, now)
    {
        made.content = content;
    }
    Ok(Some(made))
}

/// The content without our signatures in front, and the keys to sign it with again: those of the
/// same domains that are in force now, else the same ones. A signature whose domain has no key any
/// more stays, like a stranger's.
fn taken_off(keyring: &Keyring, content: &Bytes, now: Timestamp) -> (Bytes, Vec<Arc<Signer>>) {
    let mut signers: Vec<Arc<Signer>> = Vec::new();
    let mut length = 0;
    for found in sign::in_front(content) {
        let in_force = keyring
            .signers()
            .filter(|s| s.domain.as_str().eq_ignore_ascii_case(found.domain) && s.is_in_force(now));
        let mut again: Vec<Arc<Signer>> = in_force.cloned().collect();
        if again.is_empty() {
            again.extend(keyring.find(found.domain, found.selector).cloned());
        }
        if again.is_empty() {
            break;
        }
        for signer in again {
            if !signers.iter().any(|s| Arc::ptr_eq(s, &signer)) {
                signers.push(signer);
            }
        }
        length += found.length;
    }
    (content.slice(length..), signers)
}
