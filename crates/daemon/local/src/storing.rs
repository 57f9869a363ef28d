//! Storing mail of local domains: Maildir, or LMTP (RFC 2033) to the server that has the
//! mailboxes.

mod lmtp;
pub(crate) mod mailbox;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::LocalStore;
use deliver::{Ended, Judgement};
use mail::{
    Address, Class, EnhancedCode, Message, Outcome, PeerHost, RecipientKey, Reply, Timestamp,
    Timing, Verdict,
};
use node::event::{Finished, Job};
use node::{Node, Settings, binary, contents, known};
use returns::bounces;

use crate::Local;
use crate::storing::lmtp::{Handed, Place};
use crate::storing::mailbox::Mailbox;

/// Mail in a Maildir: for the server's user, whose mailbox it is by rights of the directory, and its group.
const MAIL_MODE: u32 = 0o640;
/// How long the local store is waited for while a client waits for its answer to RCPT.
const KNOWS_WAIT: Duration = Duration::from_secs(10);

/// Whether the local store takes mail for a recipient. A store that does not answer takes it: the
/// mail waits in the queue until it does.
///
/// # Errors
/// The refusal to send.
pub async fn knows(local: &Arc<Local>, address: &Address) -> Result<(), Reply> {
    let settings = local.node.settings();
    let unknown = |text: String| {
        let enhanced = EnhancedCode::new(5, 1, 1);
        Err(Reply::new(550, Some(enhanced), text))
    };
    let place = match &settings.config.local {
        LocalStore::None => return Ok(()),
        LocalStore::Maildir(template) => {
            let Some(path) = maildir_path(template, address) else {
                return unknown(format!("{address}: this name is not allowed for a mailbox"));
            };
            let template = template.clone();
            let looked = tokio::task::spawn_blocking(move || mailbox::look(&template, &path));
            return match looked.await {
                Ok(Mailbox::Missing) => unknown(format!("There is no mailbox {address}")),
                // What cannot be looked at is tried when the mail is stored.
                Ok(Mailbox::There | Mailbox::Unknown) | Err(_) => Ok(()),
            };
        }
        LocalStore::LmtpTcp(target) => Place::Tcp(target),
        LocalStore::LmtpUnix(path) => Place::Unix(path),
    };
    let asked = lmtp::ask_about(local, place, address);
    match tokio::time::timeout(KNOWS_WAIT, asked).await {
        Ok(Ok(reply)) if reply.is_permanent() => {
            let enhanced = reply.enhanced.unwrap_or(EnhancedCode::new(5, 1, 1));
            Err(Reply::new(550, Some(enhanced), reply.text))
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => {
            log_store(&local.node, &why);
            Ok(())
        }
        Err(_) => {
            log_store(&local.node, "no answer in time");
            Ok(())
        }
    }
}

/// What would become of mail for a recipient.
pub async fn explained(settings: &Settings, address: &Address) -> String {
    match &settings.config.local {
        LocalStore::None => {
            "it would be refused at RCPT: no local store is configured (local.deliver)".to_owned()
        }
        LocalStore::Maildir(template) => {
            let Some(path) = maildir_path(template, address) else {
                return "it would be refused: this name is not allowed for a mailbox".to_owned();
            };
            let shown = path.display().to_string();
            if !settings.policy.local.store_knows {
                return format!("it would be stored in the Maildir {shown}");
            }
            let of = template.clone();
            let looked = tokio::task::spawn_blocking(move || mailbox::look(&of, &path));
            match looked.await.unwrap_or(Mailbox::Unknown) {
                Mailbox::There => format!("it would be stored in the Maildir {shown}"),
                Mailbox::Missing => {
                    format!(
                        "it would be refused: there is no mailbox {shown} (local.create is false)"
                    )
                }
                Mailbox::Unknown => format!(
                    "it would wait: there are no mailboxes in {}",
                    mailbox::root(template).display()
                ),
            }
        }
        LocalStore::LmtpTcp(target) => format!("it would be delivered by LMTP to {target}"),
        LocalStore::LmtpUnix(path) => {
            format!("it would be delivered by LMTP to {}", path.display())
        }
    }
}

fn log_store(node: &Node, why: &str) {
    let line = node.journal.line(node.now(), "error");
    line.field(
        "what",
        "the local store did not answer whether a recipient exists",
    )
    .field("why", why)
    .send();
}

/// Stores a batch.
pub async fn store(local: &Arc<Local>, job: Job) -> Finished {
    let began = local.node.instant();
    // What is read back keeps its memory until it is stored.
    let (message, lent) = match job.message {
        Some(message) => (Some(message), Ok(None)),
        None => match contents::fetch(&local.node, job.batch.id).await {
            Ok(lent) => (Some(Arc::clone(&lent.message)), Ok(Some(lent))),
            Err(why) => (None, Err(why)),
        },
    };
    let keys: Vec<RecipientKey> = job.batch.keys().collect();
    let stored = match (&message, &lent) {
        (Some(message), _) => stored_or_read(local, message, &keys).await,
        (None, Err(why)) if why.is_damage() => {
            vec![Answer::own(contents::damaged_reply()); keys.len()].into()
        }
        (None, _) => vec![later("the message cannot be read from the queue"); keys.len()].into(),
    };
    drop(lent);
    let settings = local.node.settings();
    let (now, wire) = (local.node.now(), local.node.instant().since(began));
    let attempted = |(key, answer): (&RecipientKey, Answer)| {
        let verdict = verdict(&settings, answer, wire, now);
        known::attempted_of(&settings, message.as_deref(), *key, verdict)
    };
    let attempted = keys.iter().zip(stored.answers).map(attempted).collect();
    Finished {
        transcript: stored.transcript,
        ..Finished::here(message, attempted, local.node.instant().since(began))
    }
}

/// What each recipient's answer is: mail to addresses of ours that stand for somebody else's is read
/// here, the rest is stored.
async fn stored_or_read(
    local: &Arc<Local>,
    message: &Arc<Message>,
    keys: &[RecipientKey],
) -> Stored {
    let policy = Arc::clone(&local.node.settings().policy);
    let is_ours = |key: &RecipientKey| {
        let recipient = message.envelope.recipients.get(key.recipient as usize);
        recipient.is_some_and(|r| policy.paths.contains(r.address.domain()))
    };
    if !keys.iter().any(is_ours) {
        return store_message(local, message, keys).await;
    }
    let others: Vec<RecipientKey> = keys.iter().filter(|k| !is_ours(k)).copied().collect();
    let stored = match others.is_empty() {
        true => Stored::from(Vec::new()),
        false => store_message(local, message, &others).await,
    };
    let mut answers = stored.answers.into_iter();
    let mut results = Vec::with_capacity(keys.len());
    for key in keys {
        results.push(match is_ours(key) {
            true => Answer::own(bounces::take(&local.returns, message, key.recipient).await),
            false => answers.next().unwrap_or_else(|| later("no answer")),
        });
    }
    Stored {
        answers: results,
        ..stored
    }
}

/// What came of storing for the recipients of a batch, in their order.
struct Stored {
    answers: Vec<Answer>,
    /// What was said to the LMTP server.
    transcript: Option<String>,
}

impl From<Vec<Answer>> for Stored {
    fn from(answers: Vec<Answer>) -> Self {
        Self {
            answers,
            transcript: None,
        }
    }
}

/// What came of storing for a recipient.
#[derive(Debug, Clone)]
struct Answer {
    reply: Reply,
    /// The LMTP server that gave it, and what it means.
    by: Option<(PeerHost, Judgement)>,
    /// The LMTP server has the content, and said nothing to it.
    unknown_outcome: bool,
}

impl Answer {
    const fn own(reply: Reply) -> Self {
        Self {
            reply,
            by: None,
            unknown_outcome: false,
        }
    }
}

/// The answer of an LMTP server means what it would by SMTP (RFC 2033 §4).
fn verdict(settings: &Settings, answer: Answer, wire: Duration, now: Timestamp) -> Verdict {
    let Answer {
        reply,
        by,
        unknown_outcome,
    } = answer;
    let (outcome, class) = match &by {
        Some((host, judged)) => {
            let known = settings
                .config
                .replies
                .book
                .classify(&reply, Some(&host.name));
            let judged = deliver::known(*judged, &reply, known);
            (judged.outcome, judged.class)
        }
        None if reply.is_positive() => (Outcome::Delivered, Class::Recipient),
        None if reply.is_permanent() => (Outcome::Failed, Class::Recipient),
        None => (Outcome::Deferred, Class::Recipient),
    };
    Verdict {
        host: by.map(|(host, _)| host),
        unknown_outcome,
        timing: Timing {
            wire,
            ..Timing::default()
        },
        ..Verdict::own(outcome, class, reply, now)
    }
}

fn later(why: &str) -> Answer {
    let code = EnhancedCode::new(4, 3, 0);
    Answer::own(Reply::own(code, format!("the local store: {why}")))
}

async fn store_message(
    local: &Arc<Local>,
    message: &Arc<Message>,
    keys: &[RecipientKey],
) -> Stored {
    let settings = local.node.settings();
    let recipients: Vec<Option<Address>> = keys
        .iter()
        .map(|k| {
            message
                .envelope
                .recipients
                .get(k.recipient as usize)
                .map(|r| r.address.clone())
        })
        .collect();
    let hostname = settings.config.hostname.to_string();
    match &settings.config.local {
        LocalStore::None => vec![later("none is configured (local.deliver)"); keys.len()].into(),
        LocalStore::Maildir(template) => {
            let (template, message) = (template.clone(), Arc::clone(message));
            let count = keys.len();
            let handles = Arc::clone(&settings);
            let now = local.node.now();
            let only_existing = settings.policy.local.store_knows;
            let stored = tokio::task::spawn_blocking(move || {
                // What cannot be made lines is kept as it is: a file takes everything.
                let lines = binary::in_lines(&handles.config, &message, now);
                let content = lines.unwrap_or_else(|_| message.content.clone());
                let one = |address: &Option<Address>| match address {
                    Some(address) if only_existing => {
                        let found = maildir_path(&template, address);
                        match found.map_or(Mailbox::There, |path| mailbox::look(&template, &path)) {
                            Mailbox::There => {
                                maildir(&template, &hostname, &message, &content, address)
                            }
                            Mailbox::Missing => Answer::own(Reply::own(
                                EnhancedCode::new(5, 1, 1),
                                format!("There is no mailbox {address}"),
                            )),
                            Mailbox::Unknown => later(&format!(
                                "there are no mailboxes in {} (local.deliver): is its disk mounted?",
                                mailbox::root(&template).display()
                            )),
                        }
                    }
                    Some(address) => maildir(&template, &hostname, &message, &content, address),
                    None => later("the recipient is not in its message"),
                };
                recipients.iter().map(one).collect::<Vec<_>>()
            });
            stored
                .await
                .unwrap_or_else(|_| vec![later("storing failed"); count])
                .into()
        }
        LocalStore::LmtpTcp(target) => by_lmtp(local, Place::Tcp(target), message, keys).await,
        LocalStore::LmtpUnix(path) => by_lmtp(local, Place::Unix(path), message, keys).await,
    }
}

async fn by_lmtp(
    local: &Local,
    place: Place<'_>,
    message: &Message,
    keys: &[RecipientKey],
) -> Stored {
    let is_there = |n: &u32| message.envelope.recipients.get(*n as usize).is_some();
    let numbers: Vec<u32> = keys.iter().map(|k| k.recipient).filter(is_there).collect();
    let handed = lmtp::deliver(local, place, message, &numbers).await;
    let Handed {
        ended,
        trouble,
        transcript,
    } = handed;
    let mut ended: HashMap<u32, Ended> = ended.into_iter().map(|end| (end.number, end)).collect();
    let answer = |key: &RecipientKey| match ended.remove(&key.recipient) {
        Some(end) => Answer {
            reply: end.reply,
            by: Some((place.host(), end.judgement)),
            unknown_outcome: end.unknown_outcome,
        },
        None if is_there(&key.recipient) => later(&format!("LMTP at {place}: {trouble}")),
        None => later("the recipient is not in its message"),
    };
    Stored {
        answers: keys.iter().map(answer).collect(),
        transcript: Some(transcript),
    }
}

/// Stores one copy in a Maildir: written and synced under `tmp`, then renamed into `new`, whose
/// directory is synced. The name comes from the message and the recipient, so that a re-send behind
/// a crash replaces the same file and makes no second mail.
fn maildir(
    template: &str,
    hostname: &str,
    message: &Message,
    content: &[u8],
    address: &Address,
) -> Answer {
    let Some(path) = maildir_path(template, address) else {
        let reply = Reply::own(
            EnhancedCode::new(5, 1, 1),
            "this name is not allowed for a mailbox",
        );
        return Answer::own(reply);
    };
    match write_maildir(&path, hostname, message, content, address) {
        Ok(()) => {
            let reply = Reply::new(
                250,
                Some(EnhancedCode::new(2, 0, 0)),
                "stored in its mailbox",
            );
            Answer::own(reply)
        }
        Err(error) => later(&format!("{}: {error}", path.display())),
    }
}

/// The mailbox of an address; `None` for a name that would lead out of the mailboxes.
fn maildir_path(template: &str, address: &Address) -> Option<PathBuf> {
    let safe = |part: &str| {
        let bad = |c: char| c == '/' || c == '\0' || c.is_control();
        let lower = part.trim_matches('"').to_lowercase();
        let good = !lower.is_empty() && !lower.starts_with('.') && !lower.contains(bad);
        good.then_some(lower)
    };
    let (user, domain) = (safe(address.local())?, safe(address.domain().as_str())?);
    Some(PathBuf::from(
        template
            .replace("{user}", &user)
            .replace("{domain}", &domain),
    ))
}

fn write_maildir(
    dir: &Path,
    hostname: &str,
    message: &Message,
    content: &[u8],
    address: &Address,
) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(dir.join(part))?;
    }
    let number = message
        .envelope
        .recipients
        .iter()
        .position(|r| r.address == *address)
        .unwrap_or_default();
    let name = format!(
        "{}.{}R{number}.{hostname}",
        message.accepted.as_secs(),
        message.id
    );
    // Whoever owns the mailbox may put a link there under any name that can be foreseen.
    let mut file = net::Fresh::within(&dir.join("tmp"), MAIL_MODE)?;
    write!(
        file,
        "Return-Path: <{}>\r\nDelivered-To: {address}\r\n",
        message.envelope.sender()
    )?;
    file.write_all(content)?;
    file.replace(&dir.join("new").join(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_leads_out_of_the_mailboxes() {
        let path = |text: &str| maildir_path("/m/{domain}/{user}", &Address::parse(text).unwrap());
        assert_eq!(path("Anna@X.example"), Some("/m/x.example/anna".into()));
        assert_eq!(path("\"../../etc\"@x.example"), None);
        assert_eq!(path("a/b@x.example"), None);
    }
}
