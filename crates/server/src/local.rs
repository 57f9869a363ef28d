//! Storing mail of local domains: Maildir, or LMTP (RFC 2033) to the server that has the
//! mailboxes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use deliver::{Obstacle, Stage};
use mail::{
    Address, BodyType, Class, EnhancedCode, Message, Outcome, PeerHost, RecipientKey, Reply,
    Timing, Verdict,
};
use route::Target;
use schedule::{Attempted, Report};
use smtp::extension::{Extension, Extensions};
use smtp::reply::ReplyParser;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::binary;
use crate::bounces;
use crate::config::LocalStore;
use crate::contents;
use crate::event::{Finished, Job};
use crate::known;
use crate::shared::{Settings, Shared};

/// Each answer of an LMTP server is waited for this long.
const LMTP_WAIT: Duration = Duration::from_secs(120);

/// How long the local store is waited for while a client waits for its answer to RCPT.
const KNOWS_WAIT: Duration = Duration::from_secs(10);

/// Whether the local store takes mail for a recipient. A store that does not answer takes it: the
/// mail waits in the queue until it does.
///
/// # Errors
/// The refusal to send.
pub(crate) async fn knows(shared: &Arc<Shared>, address: &Address) -> Result<(), Reply> {
    let settings = shared.settings();
    let hostname = settings.config.hostname.to_string();
    let unknown = |text: String| {
        let enhanced = EnhancedCode::new(5, 1, 1);
        Err(Reply::new(550, Some(enhanced), text))
    };
    let asked = match &settings.config.local {
        LocalStore::None => return Ok(()),
        LocalStore::Maildir(template) => {
            let Some(path) = maildir_path(template, address) else {
                return unknown(format!("{address}: no mailbox can have that name"));
            };
            return match tokio::fs::try_exists(&path).await {
                Ok(false) => unknown(format!("There is no mailbox {address}")),
                // What can not be looked at is tried when the mail is stored.
                Ok(true) | Err(_) => Ok(()),
            };
        }
        LocalStore::LmtpTcp(target) => {
            let asked = async { ask_about(lmtp_connect(target).await?, &hostname, address).await };
            tokio::time::timeout(KNOWS_WAIT, asked).await
        }
        LocalStore::LmtpUnix(path) => {
            let asked = async {
                let stream = tokio::net::UnixStream::connect(path).await?;
                ask_about(stream, &hostname, address).await
            };
            tokio::time::timeout(KNOWS_WAIT, asked).await
        }
    };
    match asked {
        Ok(Ok(reply)) if reply.is_permanent() => {
            let enhanced = reply.enhanced.unwrap_or(EnhancedCode::new(5, 1, 1));
            Err(Reply::new(550, Some(enhanced), reply.text))
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            log_store(shared, &error.to_string());
            Ok(())
        }
        Err(_) => {
            log_store(shared, "no answer in time");
            Ok(())
        }
    }
}

fn log_store(shared: &Shared, why: &str) {
    let line = shared.journal.line(net::now(), "error");
    line.field(
        "what",
        "the local store did not say whether it knows a recipient",
    )
    .field("why", why)
    .send();
}

/// Stores a batch.
pub(crate) async fn store(shared: &Arc<Shared>, job: Job) -> Finished {
    let began = Instant::now();
    // What is read back keeps its memory until it is stored.
    let (message, lent) = match job.message {
        Some(message) => (Some(message), Ok(None)),
        None => match contents::fetch(shared, job.batch.id).await {
            Ok(lent) => (Some(Arc::clone(&lent.message)), Ok(Some(lent))),
            Err(why) => (None, Err(why)),
        },
    };
    let keys: Vec<RecipientKey> = job.batch.keys().collect();
    let results = match (&message, &lent) {
        (Some(message), _) => stored_or_read(shared, message, &keys).await,
        (None, Err(why)) if why.is_damage() => {
            vec![Answer::own(contents::damaged_reply()); keys.len()]
        }
        (None, _) => vec![later("the message cannot be read from the queue"); keys.len()],
    };
    drop(lent);
    let settings = shared.settings();
    let attempted = |(key, answer): (&RecipientKey, Answer)| {
        let verdict = verdict(&settings, answer, began.elapsed());
        match &message {
            Some(message) => known::attempted(&settings, message, key.recipient, verdict),
            None => Attempted {
                key: *key,
                verdict,
                retry_after: None,
                plan: None,
                ours: None,
            },
        }
    };
    let attempted = keys.iter().zip(results).map(attempted).collect();
    let report = Report {
        attempted,
        service: began.elapsed(),
        ..Report::default()
    };
    Finished {
        message,
        report,
        transcript: None,
        reports_taken: Vec::new(),
        sources: Vec::new(),
    }
}

/// What each recipient's answer is: mail to addresses of ours that stand for somebody else's is read
/// here, the rest is stored.
async fn stored_or_read(
    shared: &Arc<Shared>,
    message: &Arc<Message>,
    keys: &[RecipientKey],
) -> Vec<Answer> {
    let policy = Arc::clone(&shared.settings().policy);
    let is_ours = |key: &RecipientKey| {
        let recipient = message.envelope.recipients.get(key.recipient as usize);
        recipient.is_some_and(|r| policy.paths.contains(r.address.domain()))
    };
    if !keys.iter().any(is_ours) {
        return store_message(shared, message, keys).await;
    }
    let others: Vec<RecipientKey> = keys.iter().filter(|k| !is_ours(k)).copied().collect();
    let mut stored = match others.is_empty() {
        true => Vec::new().into_iter(),
        false => store_message(shared, message, &others).await.into_iter(),
    };
    let mut results = Vec::with_capacity(keys.len());
    for key in keys {
        results.push(match is_ours(key) {
            true => Answer::own(bounces::take(shared, message, key.recipient).await),
            false => stored.next().unwrap_or_else(|| later("no answer")),
        });
    }
    results
}

/// What came of storing for a recipient.
#[derive(Debug, Clone)]
struct Answer {
    reply: Reply,
    /// The LMTP server that gave it, and what it was given to.
    by: Option<(PeerHost, Stage)>,
}

impl Answer {
    const fn own(reply: Reply) -> Self {
        Self { reply, by: None }
    }
}

/// The answer of an LMTP server means what it would by SMTP (RFC 2033 §4).
fn verdict(settings: &Settings, answer: Answer, wire: Duration) -> Verdict {
    let Answer { reply, by } = answer;
    let (outcome, class) = match &by {
        Some((host, stage)) if reply.code > 0 => {
            let judged = deliver::judge(*stage, &reply);
            let known = settings
                .config
                .replies
                .book
                .classify(&reply, Some(&host.name));
            let judged = match judged.outcome {
                Outcome::Delivered => judged,
                Outcome::Deferred | Outcome::Failed | Outcome::Expired => {
                    deliver::known(judged, &reply, known)
                }
            };
            (judged.outcome, judged.class)
        }
        Some(_) | None if reply.is_positive() => (Outcome::Delivered, Class::Recipient),
        Some(_) | None if reply.is_permanent() => (Outcome::Failed, Class::Recipient),
        Some(_) | None => (Outcome::Deferred, Class::Recipient),
    };
    Verdict {
        host: by.map(|(host, _)| host),
        timing: Timing {
            wire,
            ..Timing::default()
        },
        ..Verdict::own(outcome, class, reply, net::now())
    }
}

fn later(why: &str) -> Answer {
    let code = EnhancedCode::new(4, 3, 0);
    Answer::own(Reply::own(code, format!("the local store: {why}")))
}

async fn store_message(
    shared: &Arc<Shared>,
    message: &Arc<Message>,
    keys: &[RecipientKey],
) -> Vec<Answer> {
    let settings = shared.settings();
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
        LocalStore::None => {
            vec![later("none is configured (local.deliver)"); keys.len()]
        }
        LocalStore::Maildir(template) => {
            let (template, message) = (template.clone(), Arc::clone(message));
            let count = keys.len();
            let handles = Arc::clone(&settings);
            let stored = tokio::task::spawn_blocking(move || {
                // What cannot be made lines is kept as it is: a file takes everything.
                let lines = binary::in_lines(&handles.config, &message);
                let content = lines.unwrap_or_else(|_| message.content.clone());
                let one = |address: &Option<Address>| match address {
                    Some(address) => maildir(&template, &hostname, &message, &content, address),
                    None => later("the recipient is not in its message"),
                };
                recipients.iter().map(one).collect::<Vec<_>>()
            });
            stored
                .await
                .unwrap_or_else(|_| vec![later("storing failed"); count])
        }
        LocalStore::LmtpTcp(target) => {
            let (name, result) = (
                target.to_string(),
                lmtp_tcp(&settings, target, message, &recipients).await,
            );
            finish_lmtp(result, &name, keys.len())
        }
        LocalStore::LmtpUnix(path) => {
            let result = match tokio::net::UnixStream::connect(path).await {
                Ok(stream) => lmtp(&settings, stream, message, &recipients).await,
                Err(error) => Err(error),
            };
            finish_lmtp(result, &path.display().to_string(), keys.len())
        }
    }
}

fn finish_lmtp(result: io::Result<Vec<(Stage, Reply)>>, name: &str, count: usize) -> Vec<Answer> {
    let host = PeerHost {
        name: format!("lmtp:{name}"),
        address: None,
    };
    match result {
        Ok(replies) => replies
            .into_iter()
            .map(|(stage, reply)| Answer {
                reply,
                by: Some((host.clone(), stage)),
            })
            .collect(),
        Err(error) => vec![later(&format!("LMTP at {name}: {error}")); count],
    }
}

async fn lmtp_tcp(
    settings: &Arc<Settings>,
    target: &Target,
    message: &Arc<Message>,
    recipients: &[Option<Address>],
) -> io::Result<Vec<(Stage, Reply)>> {
    lmtp(settings, lmtp_connect(target).await?, message, recipients).await
}

async fn lmtp_connect(target: &Target) -> io::Result<tokio::net::TcpStream> {
    let host = match target.host.literal() {
        Some(ip) => ip.to_string(),
        None => target.host.to_string(),
    };
    let connecting = tokio::net::TcpStream::connect((host.as_str(), target.port));
    tokio::time::timeout(LMTP_WAIT, connecting).await?
}

/// What the server says to RCPT, in a transaction that goes no further.
async fn ask_about(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    hostname: &str,
    address: &Address,
) -> io::Result<Reply> {
    let (mut talk, offered) = Talk::begin(stream, hostname).await?;
    let utf8 = utf8_parameter(&offered, std::slice::from_ref(address), true);
    expect(&talk.ask(&format!("MAIL FROM:<>{utf8}\r\n")).await?)?;
    let reply = talk.ask(&format!("RCPT TO:<{address}>\r\n")).await?;
    // Whether the server hears the goodbye makes no difference.
    drop(talk.write(b"QUIT\r\n").await);
    Ok(reply)
}

fn expect(reply: &Reply) -> io::Result<()> {
    match reply.is_positive() || reply.code == 354 {
        true => Ok(()),
        false => Err(io::Error::other(format!("it answered {reply}"))),
    }
}

/// SMTPUTF8 where it is needed and offered; a server that does not know it may still take what it
/// is given, and says so if not.
fn utf8_parameter(offered: &Extensions, addresses: &[Address], ascii_header: bool) -> &'static str {
    let needed = !ascii_header || addresses.iter().any(|a| !a.is_ascii());
    match needed && offered.has(Extension::SmtpUtf8) {
        true => " SMTPUTF8",
        false => "",
    }
}

/// One LMTP transaction: as SMTP, but each accepted recipient gets an answer of its own behind
/// the content. An answer that has come stands, whatever happens to the connection then.
async fn lmtp(
    settings: &Arc<Settings>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    message: &Arc<Message>,
    recipients: &[Option<Address>],
) -> io::Result<Vec<(Stage, Reply)>> {
    let hostname = settings.config.hostname.to_string();
    let (mut talk, offered) = Talk::begin(stream, &hostname).await?;
    let takes_binary = offered.has(Extension::BinaryMime) && offered.has(Extension::Chunking);
    let as_it_is = message.envelope.body_type == BodyType::BinaryMime && takes_binary;
    let content = match as_it_is {
        true => message.content.clone(),
        false => match in_lines(settings, message).await? {
            Ok(content) => content,
            Err(obstacle) => {
                let text = format!(
                    "the message has a binary body, which the local store does not take (no \
                     BINARYMIME), and it cannot be converted: {obstacle}"
                );
                let reply = Reply::own(EnhancedCode::new(5, 6, 3), text);
                return Ok(vec![(Stage::Fit, reply); recipients.len()]);
            }
        },
    };
    let sender = message.envelope.sender();
    let body = match (
        as_it_is,
        !content.is_ascii() && offered.has(Extension::EightBitMime),
    ) {
        (true, _) => " BODY=BINARYMIME",
        (false, true) => " BODY=8BITMIME",
        (false, false) => "",
    };
    let mut addresses: Vec<Address> = recipients.iter().flatten().cloned().collect();
    addresses.extend(message.envelope.reverse_path.clone());
    let utf8 = utf8_parameter(&offered, &addresses, !message.envelope.smtputf8);
    let mail = format!("MAIL FROM:<{sender}>{body}{utf8}\r\n");
    let reply = talk.ask(&mail).await?;
    if !reply.is_positive() {
        return Ok(vec![(Stage::Mail, reply); recipients.len()]);
    }
    let mut replies = Vec::with_capacity(recipients.len());
    let mut accepted = 0;
    for address in recipients {
        let reply = match address {
            Some(address) => talk.ask(&format!("RCPT TO:<{address}>\r\n")).await?,
            None => later("the recipient is not in its message").reply,
        };
        // There is one transaction: what is too much for it comes again later.
        replies.push((Stage::Rcpt { accepted: 0 }, reply));
        accepted += usize::from(replies.last().is_some_and(|(_, r)| r.is_positive()));
    }
    if accepted > 0 {
        let handed = match as_it_is {
            true => talk.hand_over_whole(&content).await.map(|()| None),
            false => talk.hand_over(&content).await,
        };
        talk.content_answers(handed, &mut replies).await;
    }
    // Everything is said; whether the server hears the goodbye makes no difference.
    drop(talk.write(b"QUIT\r\n").await);
    Ok(replies)
}

/// The content in lines. A large one takes a while, so it is made on a thread that may block.
async fn in_lines(
    settings: &Arc<Settings>,
    message: &Arc<Message>,
) -> io::Result<Result<Bytes, Obstacle>> {
    if message.envelope.body_type != BodyType::BinaryMime {
        return Ok(Ok(message.content.clone()));
    }
    let (settings, message) = (Arc::clone(settings), Arc::clone(message));
    let work = move || binary::in_lines(&settings.config, &message);
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

struct Talk<S> {
    stream: S,
    input: BytesMut,
    parser: ReplyParser,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Hears the greeting and says LHLO; what the server offers.
    async fn begin(stream: S, hostname: &str) -> io::Result<(Self, Extensions)> {
        let mut talk = Self {
            stream,
            input: BytesMut::new(),
            parser: ReplyParser::new(),
        };
        expect(&talk.read().await?)?;
        let reply = talk.ask(&format!("LHLO {hostname}\r\n")).await?;
        expect(&reply)?;
        Ok((talk, Extensions::parse(&reply)))
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let written = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        let timed_out = || Err(io::ErrorKind::TimedOut.into());
        tokio::time::timeout(LMTP_WAIT, written)
            .await
            .unwrap_or_else(|_| timed_out())
    }

    /// After DATA; the answer to that, where the server does not want the content.
    async fn hand_over(&mut self, content: &Bytes) -> io::Result<Option<Reply>> {
        let reply = self.ask("DATA\r\n").await?;
        if reply.code != 354 {
            return Ok(Some(reply));
        }
        for part in smtp::dot_stuffing::stuff(content) {
            self.write(&part).await?;
        }
        Ok(None)
    }

    /// As one chunk (RFC 3030).
    async fn hand_over_whole(&mut self, content: &[u8]) -> io::Result<()> {
        let command = format!("BDAT {} LAST\r\n", content.len());
        self.write(command.as_bytes()).await?;
        self.write(content).await
    }

    /// Hears the answer to the content for each recipient that was accepted; `handed`: what came of handing it
    /// over.
    async fn content_answers(
        &mut self,
        handed: io::Result<Option<Reply>>,
        replies: &mut [(Stage, Reply)],
    ) {
        let (refused, mut trouble) = match handed {
            Ok(refused) => (refused, None),
            Err(error) => (None, Some(error)),
        };
        for (stage, reply) in replies.iter_mut().filter(|(_, r)| r.is_positive()) {
            (*stage, *reply) = match (&refused, &trouble) {
                (Some(refused), _) => (Stage::Data, refused.clone()),
                (None, None) => match self.read().await {
                    Ok(answer) => (Stage::Content, answer),
                    Err(error) => {
                        let reply = later(&error.to_string()).reply;
                        trouble = Some(error);
                        (Stage::Content, reply)
                    }
                },
                (None, Some(error)) => (Stage::Content, later(&error.to_string()).reply),
            };
        }
    }

    async fn ask(&mut self, command: &str) -> io::Result<Reply> {
        self.write(command.as_bytes()).await?;
        self.read().await
    }

    async fn read(&mut self) -> io::Result<Reply> {
        loop {
            match self.parser.feed(&mut self.input) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
            let read = self.stream.read_buf(&mut self.input);
            match tokio::time::timeout(LMTP_WAIT, read).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(result) => drop(result?),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
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
        let reply = Reply::own(EnhancedCode::new(5, 1, 1), "no mailbox can have that name");
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
    let temporary = dir.join("tmp").join(&name);
    let mut file = std::fs::File::create(&temporary)?;
    write!(
        file,
        "Return-Path: <{}>\r\nDelivered-To: {address}\r\n",
        message.envelope.sender()
    )?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join("new").join(&name))?;
    std::fs::File::open(dir.join("new"))?.sync_all()
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
