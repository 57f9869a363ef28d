//! One connection to an MX host, from the greeting to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::behaviour::{Behaviour, Stage, StartTls, Verb};
use crate::params::{path, refusal};
use crate::record::{Connection, Received, Recipient};
use crate::shared::Shared;
use crate::wire::Wire;

/// Octets that go into one packet, about.
const PACKET: u16 = 1200;

pub(crate) struct Session<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) wire: Wire,
    peer: SocketAddr,
    number: usize,
    pub(crate) user: Option<String>,
    mail: Option<Transaction>,
    mails: usize,
}

#[derive(Default)]
struct Transaction {
    sender: String,
    params: String,
    recipients: Vec<Recipient>,
    chunks: BytesMut,
}

/// What follows on a command.
pub(crate) enum Next {
    Reply(String),
    /// As `Reply`, and the connection ends.
    Last(String),
    Nothing,
    Close,
}

use Next::{Close, Last, Nothing, Reply};

pub(crate) fn reply(text: &str) -> Next {
    match text.starts_with("421") {
        true => Last(text.to_owned()),
        false => Reply(text.to_owned()),
    }
}

pub(crate) async fn run(
    tcp: TcpStream,
    peer: SocketAddr,
    number: usize,
    record: Option<Arc<Mutex<Connection>>>,
    shared: &Shared,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut session = Session {
        shared,
        wire: Wire::new(tcp, record),
        peer,
        number,
        user: None,
        mail: None,
        mails: 0,
    };
    let behaviour = shared.behaviour();
    if behaviour.implicit_tls
        && let Some(acceptor) = shared.acceptor(StartTls::Good)
    {
        session.wire.start_tls(&acceptor).await?;
    }
    if !session.greet(&behaviour).await? {
        return session.wire.flush().await;
    }
    while let Some(line) = session.next_line().await? {
        let behaviour = shared.behaviour();
        let next = session.command(&behaviour, &line).await?;
        if !session.send(&behaviour, next).await? {
            break;
        }
    }
    session.wire.flush().await
}

impl Session<'_> {
    /// The next command; none: the client has gone, or was silent for too long.
    async fn next_line(&mut self) -> io::Result<Option<String>> {
        let idle = self.shared.behaviour().idle.filter(|_| self.mails > 0);
        let Some(idle) = idle else {
            return self.wire.line().await;
        };
        let line = tokio::time::timeout(idle, self.wire.line()).await;
        line.unwrap_or(Ok(None))
    }

    async fn greet(&mut self, behaviour: &Behaviour) -> io::Result<bool> {
        if behaviour.tarpit {
            self.wire.drain().await?;
            return Ok(false);
        }
        tokio::time::sleep(behaviour.greeting_delay).await;
        if behaviour.drops(Stage::Greeting) {
            return Ok(false);
        }
        if behaviour
            .busy_above
            .is_some_and(|max| self.shared.open() > max)
        {
            self.wire.put("421 4.3.2 too many connections");
            return Ok(false);
        }
        self.wire.put(&behaviour.greeting);
        if behaviour.greeting.starts_with("220") {
            return Ok(true);
        }
        if behaviour.greeting.starts_with("554") && self.wire.line().await?.is_some() {
            self.wire.put("221 2.0.0 bye");
        }
        Ok(false)
    }

    async fn send(&mut self, behaviour: &Behaviour, next: Next) -> io::Result<bool> {
        if behaviour.tarpit {
            self.wire.drain().await?;
            return Ok(false);
        }
        if !behaviour.reply_delay.is_zero() {
            self.wire.flush().await?;
            tokio::time::sleep(behaviour.reply_delay).await;
        }
        match next {
            Reply(text) => self.wire.put(&text),
            Last(text) => {
                self.wire.put(&text);
                return Ok(false);
            }
            Nothing => {}
            Close => return Ok(false),
        }
        Ok(true)
    }

    async fn command(&mut self, behaviour: &Behaviour, line: &str) -> io::Result<Next> {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        match word.to_ascii_uppercase().as_str() {
            "EHLO" => Ok(self.ehlo(behaviour, argument)),
            "HELO" => Ok(self.helo(behaviour, argument)),
            "STARTTLS" => self.starttls(behaviour).await,
            "AUTH" => self.auth(behaviour, argument).await,
            "MAIL" => Ok(self.mail(behaviour, argument)),
            "RCPT" => Ok(self.rcpt(behaviour, argument)),
            "DATA" => self.data(behaviour).await,
            "BDAT" if behaviour.offers("CHUNKING", self.wire.tls()) => {
                if let Some(text) = behaviour.ruled(Verb::Bdat, argument) {
                    return Ok(reply(text));
                }
                self.bdat(behaviour, argument).await
            }
            "RSET" => {
                self.mail = None;
                Ok(ruled_or(behaviour, Verb::Rset, argument, "250 2.0.0 reset"))
            }
            "NOOP" => Ok(ruled_or(behaviour, Verb::Noop, argument, "250 2.0.0 fine")),
            "QUIT" => {
                let text = behaviour.ruled(Verb::Quit, argument);
                Ok(Last(text.unwrap_or("221 2.0.0 bye").to_owned()))
            }
            _ => Ok(reply("500 5.5.2 no such command")),
        }
    }

    fn ehlo(&mut self, behaviour: &Behaviour, argument: &str) -> Next {
        if behaviour.drops(Stage::Ehlo) {
            return Close;
        }
        if let Some(text) = behaviour.ruled(Verb::Ehlo, argument) {
            return reply(text);
        }
        self.mail = None;
        let tls = self.wire.tls();
        let mut lines = vec![self.shared.name.clone()];
        lines.extend(behaviour.extensions_for(tls).iter().cloned());
        if behaviour.starttls != StartTls::NotOffered && !tls {
            lines.push("STARTTLS".to_owned());
        }
        if behaviour.login.is_some() && (tls || !behaviour.login_in_tls_only) {
            lines.push(format!("AUTH {}", behaviour.mechanisms.join(" ")));
        }
        let last = lines.len() - 1;
        let mark = |(at, line): (usize, &String)| match at == last {
            true => format!("250 {line}"),
            false => format!("250-{line}"),
        };
        let lines: Vec<String> = lines.iter().enumerate().map(mark).collect();
        Reply(lines.join("\n"))
    }

    fn helo(&mut self, behaviour: &Behaviour, argument: &str) -> Next {
        self.mail = None;
        let usual = format!("250 {}", self.shared.name);
        ruled_or(behaviour, Verb::Helo, argument, &usual)
    }

    async fn starttls(&mut self, behaviour: &Behaviour) -> io::Result<Next> {
        if let Some(text) = behaviour.ruled(Verb::StartTls, "") {
            return Ok(reply(text));
        }
        match behaviour.starttls {
            StartTls::NotOffered => Ok(reply("502 5.5.1 not here")),
            StartTls::Refused => Ok(reply("454 4.7.0 TLS is out of order")),
            StartTls::Closed => Ok(Last("220 2.0.0 go ahead".to_owned())),
            StartTls::Garbage => Ok(Last("220 2.0.0 go ahead\nthis is no TLS".to_owned())),
            way @ (StartTls::Good
            | StartTls::SelfSigned
            | StartTls::WrongName
            | StartTls::Given
            | StartTls::SmallHelloOnly) => {
                self.wire.put("220 2.0.0 go ahead");
                if way == StartTls::SmallHelloOnly && self.wire.next_record().await? > PACKET {
                    return Ok(Close);
                }
                if let Some(acceptor) = self.shared.acceptor(way) {
                    self.wire.start_tls(&acceptor).await?;
                }
                self.mail = None;
                Ok(Nothing)
            }
        }
    }

    fn mail(&mut self, behaviour: &Behaviour, argument: &str) -> Next {
        if behaviour.drops(Stage::Mail) {
            return Close;
        }
        if let Some(text) = behaviour.ruled(Verb::Mail, argument) {
            return reply(text);
        }
        if behaviour.login_required && self.user.is_none() {
            return reply("530 5.7.0 log in first");
        }
        if behaviour
            .mails_per_connection
            .is_some_and(|n| self.mails >= n)
        {
            return reply("421 4.7.0 enough mails for one connection");
        }
        if self.mail.is_some() {
            return reply("503 5.5.1 a mail is under way");
        }
        let Some((sender, params)) = path(argument) else {
            return reply("501 5.5.4 no path");
        };
        let is_owned = |own: &String| own.eq_ignore_ascii_case(sender);
        let any = behaviour.senders.is_empty() || sender.is_empty();
        if !any && !behaviour.senders.iter().any(is_owned) {
            return reply("553 5.7.1 sender address rejected: not owned by the user");
        }
        if let Some(refusal) = refusal(behaviour, params, self.wire.tls()) {
            return reply(refusal);
        }
        self.mail = Some(Transaction {
            sender: sender.to_owned(),
            params: params.to_owned(),
            ..Transaction::default()
        });
        reply("250 2.1.0 sender fine")
    }

    fn rcpt(&mut self, behaviour: &Behaviour, argument: &str) -> Next {
        if behaviour.drops(Stage::Rcpt) {
            return Close;
        }
        if self.mail.is_none() {
            return reply("503 5.5.1 MAIL comes first");
        }
        if let Some(text) = behaviour.ruled(Verb::Rcpt, argument)
            && !text.starts_with('2')
        {
            return reply(text);
        }
        let Some((address, params)) = path(argument) else {
            return reply("501 5.5.4 no path");
        };
        if let Some(refusal) = refusal(behaviour, params, self.wire.tls()) {
            return reply(refusal);
        }
        let Some(mail) = &mut self.mail else {
            return reply("503 5.5.1 MAIL comes first");
        };
        let full = |max| mail.recipients.len() >= max;
        if behaviour.recipients_per_mail.is_some_and(full) {
            return reply("452 4.5.3 too many recipients");
        }
        let shared = self.shared;
        let waits = |wait| shared.greylisted(&mail.sender, address, wait);
        if behaviour.greylist.is_some_and(waits) {
            return reply("451 4.7.1 greylisted, come back later");
        }
        mail.recipients.push(Recipient {
            address: address.to_owned(),
            params: params.to_owned(),
        });
        reply("250 2.1.5 recipient fine")
    }

    async fn data(&mut self, behaviour: &Behaviour) -> io::Result<Next> {
        if let Some(text) = behaviour.ruled(Verb::Data, "") {
            return Ok(reply(text));
        }
        if self.mail.as_ref().is_none_or(|m| m.recipients.is_empty()) {
            return Ok(reply("503 5.5.1 no valid recipients"));
        }
        if self
            .mail
            .as_ref()
            .is_some_and(|m| m.params.contains("BODY=BINARYMIME"))
        {
            return Ok(reply("503 5.5.1 binary mail comes by BDAT"));
        }
        if !behaviour.reply_delay.is_zero() {
            tokio::time::sleep(behaviour.reply_delay).await;
        }
        self.wire.put("354 go ahead");
        if behaviour.drops(Stage::Data) {
            self.wire.flush().await?;
            return Ok(Close);
        }
        match self.wire.dotted().await? {
            Some(content) => Ok(self.finish(behaviour, content, false)),
            None => Ok(Close),
        }
    }

    async fn bdat(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Next> {
        let mut words = argument.split_ascii_whitespace();
        let Some(size) = words.next().and_then(|s| s.parse().ok()) else {
            return Ok(reply("501 5.5.4 no size"));
        };
        let last = words.next().is_some_and(|w| w.eq_ignore_ascii_case("LAST"));
        let Some(octets) = self.wire.octets(size).await? else {
            return Ok(Close);
        };
        let Some(mail) = &mut self.mail else {
            return Ok(reply("503 5.5.1 MAIL comes first"));
        };
        if mail.recipients.is_empty() {
            return Ok(reply("503 5.5.1 no valid recipients"));
        }
        if !last {
            mail.chunks.extend_from_slice(&octets);
            return Ok(reply("250 2.0.0 chunk received"));
        }
        let content = match mail.chunks.is_empty() {
            true => octets,
            false => {
                let mut all = std::mem::take(&mut mail.chunks);
                all.extend_from_slice(&octets);
                all.freeze()
            }
        };
        Ok(self.finish(behaviour, content, true))
    }

    fn finish(&mut self, behaviour: &Behaviour, content: Bytes, chunked: bool) -> Next {
        let Some(mail) = self.mail.take() else {
            return reply("503 5.5.1 MAIL comes first");
        };
        let names: Vec<String> = mail
            .recipients
            .iter()
            .map(|r| format!("<{}>", r.address))
            .collect();
        let lines = content.split(|b| *b == b'\n');
        let longest = lines
            .map(|l| l.strip_suffix(b"\r").unwrap_or(l).len())
            .max();
        let received = Received {
            sender: mail.sender,
            mail_params: mail.params,
            recipients: mail.recipients,
            size: content.len(),
            content: match behaviour.keep_content {
                true => content,
                false => Bytes::new(),
            },
            at: Instant::now(),
            peer: self.peer,
            tls: self.wire.tls(),
            chunked,
            user: self.user.clone(),
            connection: self.number,
        };
        if behaviour.drops(Stage::Final) {
            self.shared.leave_unanswered(received);
            return Close;
        }
        if let (Some(max), Some(got)) = (behaviour.line_max, longest)
            && got > max
        {
            self.shared.leave_unanswered(received);
            return reply(&format!(
                "550 maximum allowed line length is {max} octets, got {got}"
            ));
        }
        match behaviour.ruled(Verb::Final, &names.join(" ")) {
            Some(text) if !text.starts_with('2') => {
                self.shared.leave_unanswered(received);
                reply(text)
            }
            ruled => {
                self.mails += 1;
                self.shared.accept(received);
                reply(ruled.unwrap_or("250 2.0.0 taken"))
            }
        }
    }
}

fn ruled_or(behaviour: &Behaviour, verb: Verb, argument: &str, usual: &str) -> Next {
    reply(behaviour.ruled(verb, argument).unwrap_or(usual))
}
