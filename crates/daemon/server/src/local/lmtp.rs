//! One LMTP transaction with the server that stores mail for local domains (RFC 2033).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use deliver::{Obstacle, Stage};
use mail::{Address, BodyType, EnhancedCode, Message, Reply};
use route::Target;
use smtp::extension::{Extension, Extensions};
use smtp::reply::ReplyParser;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::later;
use crate::binary;
use crate::shared::Settings;

/// Each answer of an LMTP server is waited for this long.
const WAIT: Duration = Duration::from_secs(120);

pub(super) async fn by_tcp(
    settings: &Arc<Settings>,
    target: &Target,
    message: &Arc<Message>,
    recipients: &[Option<Address>],
) -> io::Result<Vec<(Stage, Reply)>> {
    deliver(settings, connect(target).await?, message, recipients).await
}

pub(super) async fn connect(target: &Target) -> io::Result<tokio::net::TcpStream> {
    let host = match target.host.literal() {
        Some(ip) => ip.to_string(),
        None => target.host.to_string(),
    };
    let connecting = tokio::net::TcpStream::connect((host.as_str(), target.port));
    tokio::time::timeout(WAIT, connecting).await?
}

/// What the server says to RCPT, in a transaction that goes no further.
pub(super) async fn ask_about(
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
pub(super) async fn deliver(
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
                    "the message has a binary body, which the local store does not accept (no BINARYMIME), and it \
                     cannot be converted: {obstacle}"
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
        tokio::time::timeout(WAIT, written)
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
            match tokio::time::timeout(WAIT, read).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(result) => drop(result?),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}
