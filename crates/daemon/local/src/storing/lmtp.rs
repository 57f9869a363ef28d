//! LMTP with the server that stores mail for local domains (RFC 2033): connecting to it, and driving the
//! session of `deliver` over that.

use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use deliver::{
    Ended, Event, Fate, Protocol, Session, SessionSettings, Stage, TlsMode, Transaction,
    TransactionRecipient,
};
use mail::{Address, Message, Notify, PeerHost, Reply, TlsUsed};
use net::{Link, Stream};
use node::detail::{is_detailed, log_said};
use node::signing;
use route::Target;
use smtp::extension::Extension;
use tokio::net::{TcpStream, UnixStream};

use crate::Local;

/// Each answer of an LMTP server is waited for this long.
const WAIT: Duration = Duration::from_secs(120);
/// The slowest that it may take content, in octets a second, on top of that.
const RATE_MIN: u32 = 500;

/// Where the server is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Tcp(&'a Target),
    Unix(&'a Path),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(target) => target.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Place<'_> {
    pub(super) fn host(self) -> PeerHost {
        PeerHost {
            name: format!("lmtp:{self}"),
            address: None,
        }
    }

    async fn connect(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(target) => {
                let host = match target.host.literal() {
                    Some(ip) => ip.to_string(),
                    None => target.host.to_string(),
                };
                let connecting = TcpStream::connect((host.as_str(), target.port));
                let connected = tokio::time::timeout(WAIT, connecting).await?;
                connected.map(Stream::Plain)
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Local),
        }
    }
}

/// What came of handing a message over.
#[derive(Default)]
pub(super) struct Handed {
    /// How it ended for each recipient that the server decided on.
    pub(super) ended: Vec<Ended>,
    /// Why the others have no answer.
    pub(super) trouble: String,
    /// What was said.
    pub(super) transcript: String,
}

/// Asks the server whether it takes mail for a recipient: its answer to RCPT.
///
/// # Errors
/// When it gets no further than to another command, or does not answer.
pub(super) async fn ask_about(
    local: &Local,
    place: Place<'_>,
    address: &Address,
) -> Result<Reply, String> {
    let mut talk = Talk::begin(local, place, None, false).await?;
    talk.session.ask(local.node.now(), address.clone());
    let came = talk.came().await;
    talk.end().await;
    match came {
        Came::Asked(Stage::Rcpt { .. }, reply) if reply.code > 0 => Ok(reply),
        Came::Asked(_, reply) => Err(account(&reply)),
        Came::Ended(_) | Came::Over => Err("the connection was lost".to_owned()),
    }
}

/// Hands a message over to these of its recipients, by their numbers, in as many transactions as the server
/// wants. An answer that has come stands, whatever happens to the connection then.
pub(super) async fn deliver(
    local: &Local,
    place: Place<'_>,
    message: &Message,
    numbers: &[u32],
) -> Handed {
    let mut handed = Handed::default();
    let mut left = numbers.to_vec();
    let mut chunking = true;
    while !left.is_empty() {
        let begun = Talk::begin(local, place, Some(message), chunking).await;
        let mut talk = match begun {
            Ok(talk) => talk,
            Err(why) => {
                handed.trouble = why;
                return handed;
            }
        };
        let before = left.len();
        talk.hand_over(&mut left, &mut handed).await;
        handed.transcript += &format!("= {}\n", talk.host);
        handed.transcript += &talk.session.take_transcript();
        let refused = talk.session.chunking_refused();
        talk.end().await;
        if refused && chunking {
            // It offers BDAT and does not know it: once more, without.
            chunking = false;
        } else if left.len() == before {
            handed.trouble = "the connection was lost".to_owned();
            return handed;
        }
    }
    handed
}

/// What is said about a message to these recipients. The store makes no reports: those on success are ours.
fn transaction(message: &Message, numbers: &[u32]) -> Transaction {
    let envelope = &message.envelope;
    let recipient = |number: &u32| {
        let recipient = envelope.recipients.get(*number as usize)?;
        Some(TransactionRecipient {
            number: *number,
            address: recipient.address.clone(),
            notify: Notify::UNSET,
            orcpt: None,
        })
    };
    Transaction {
        reverse_path: envelope.reverse_path.clone(),
        recipients: numbers.iter().filter_map(recipient).collect(),
        content: message.content.clone(),
        body: envelope.body_type.needed(&message.content),
        utf8_header: envelope.smtputf8,
        conversion: None,
        ret: None,
        env_id: None,
        priority: None,
        deliver_by: None,
        require_tls: false,
    }
}

/// A reply of the server in mid-sentence, or our own account of why there is none.
fn account(reply: &Reply) -> String {
    match reply.code {
        0 => reply.text.clone(),
        _ => format!("it answered {reply}"),
    }
}

/// What came of something that was begun.
enum Came {
    Ended(Vec<Ended>),
    Asked(Stage, Reply),
    Over,
}

/// A session with the server, ready for transactions.
struct Talk<'a> {
    local: &'a Local,
    /// What it is about, for the detailed log.
    message: Option<&'a Message>,
    host: PeerHost,
    session: Session,
    link: Link,
}

impl<'a> Talk<'a> {
    async fn begin(
        local: &'a Local,
        place: Place<'_>,
        message: Option<&'a Message>,
        chunking: bool,
    ) -> Result<Self, String> {
        let stream = place.connect().await.map_err(|error| error.to_string())?;
        let session = SessionSettings {
            protocol: Protocol::Lmtp,
            ehlo_name: local.node.settings().config.hostname.to_string(),
            tls: TlsMode::None,
            credentials: None,
            timeouts: deliver::Timeouts::all(WAIT),
            rate_min: RATE_MIN,
            ignore: match chunking {
                true => Vec::new(),
                false => vec![Extension::Chunking],
            },
            detailed: message.is_some_and(|message| is_detailed(&local.node, message)),
        };
        let mut talk = Self {
            local,
            message,
            host: place.host(),
            session: Session::new(session, TlsUsed::None, local.node.now()),
            link: Link::new(stream, local.node.clock.handle().clone()),
        };
        match talk.greet().await {
            Ok(()) => Ok(talk),
            Err(why) => {
                talk.link.flush(&mut talk.session).await;
                Err(why)
            }
        }
    }

    async fn greet(&mut self) -> Result<(), String> {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Ready => return Ok(()),
                    Event::Failed(failure) => return Err(account(&failure.reply)),
                    Event::Closed => return Err("the connection was lost".to_owned()),
                    Event::Said(ours, line) => self.said(ours, &line),
                    Event::StartTls | Event::Derive(_) | Event::Ended(_) | Event::Asked(..) => {}
                }
            }
            self.link.turn(&mut self.session).await;
        }
    }

    async fn came(&mut self) -> Came {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Ended(ended) => return Came::Ended(ended),
                    Event::Asked(stage, reply) => return Came::Asked(stage, reply),
                    Event::Closed => return Came::Over,
                    Event::Said(ours, line) => self.said(ours, &line),
                    Event::StartTls | Event::Derive(_) | Event::Ready | Event::Failed(_) => {}
                }
            }
            self.link.turn(&mut self.session).await;
        }
    }

    fn said(&self, ours: bool, line: &str) {
        if let Some(message) = self.message {
            log_said(&self.local.node, message, &self.host, ours, line);
        }
    }

    /// Transactions until everybody in `left` has an answer, or the session is over.
    async fn hand_over(&mut self, left: &mut Vec<u32>, handed: &mut Handed) {
        let Some(message) = self.message else { return };
        let whole = self.fitted(transaction(message, left)).await;
        while !left.is_empty() && self.session.is_idle() {
            let mut next = whole.clone();
            next.recipients.retain(|r| left.contains(&r.number));
            self.session.start(self.local.node.now(), next);
            let Came::Ended(ended) = self.came().await else {
                return;
            };
            left.clear();
            for end in ended {
                match end.judgement.fate {
                    Fate::Again => left.push(end.number),
                    Fate::Stands | Fate::NextHost | Fate::OtherFamily => handed.ended.push(end),
                }
            }
        }
    }

    /// The content in a form that the server takes. A large one takes a while, so it is made on a thread that
    /// may block.
    async fn fitted(&self, transaction: Transaction) -> Transaction {
        let Some(conversion) = self.session.needed(&transaction) else {
            return transaction;
        };
        let (settings, content) = (self.local.node.settings(), transaction.content.clone());
        let now = self.local.node.now();
        let work = move || signing::converted(&settings.config, &content, conversion, now);
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => transaction.converted(&outcome),
            // As if it had happened here: the batch is deferred, and it is logged.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Says goodbye, without waiting for the answer.
    async fn end(mut self) {
        self.session.quit(self.local.node.now());
        self.link.flush(&mut self.session).await;
    }
}
