//! One connection to one host, from its greeting to QUIT.

mod machine;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mail::{Address, EnhancedCode, Reply, Timestamp, TlsUsed};
use smtp::command;
use smtp::extension::{Extension, Extensions};
use smtp::reply::ReplyParser;
use smtp::sasl::Binding;

use crate::attempt::Way;
use crate::auth::{self, Credentials, Derivation, LogIn, LoginStep, Masked};
use crate::convert::{Conversion, needed};
use crate::failure::Failure;
use crate::judge::{LOST, Stage};
use crate::protocol::Protocol;
use crate::question::{Asked, Question};
use crate::timeouts::Timeouts;
use crate::tls_mode::TlsMode;
use crate::transaction::{Ended, Progress, Running, Transaction};
use crate::transcript::Transcript;

/// How to talk to this host.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// What the host speaks.
    pub protocol: Protocol,
    /// Our name in EHLO, or in LHLO.
    pub ehlo_name: String,
    /// TLS.
    pub tls: TlsMode,
    /// A login, where the host wants one.
    pub credentials: Option<Credentials>,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// The slowest a host may take content, in octets a second, on top of `data_block`.
    pub rate_min: u32,
    /// Extensions that are not used, whatever the host offers.
    pub ignore: Vec<Extension>,
    /// Every command and reply is wanted as an event (detailed log).
    pub detailed: bool,
}

/// What a session tells its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Shake hands now; answer with [`Session::tls_established`] or [`Session::tls_failed`].
    StartTls,
    /// Compute this key, which takes a while; answer with [`Session::derived`].
    Derive(Derivation),
    /// The host greeted and is ready for transactions.
    Ready,
    /// The transaction is over, with a verdict for every recipient.
    Ended(Vec<Ended>),
    /// What [`Session::ask`] asked is answered: the host's reply and the command that it is about, which is RCPT
    /// unless something went wrong before. Code 0: the host said nothing.
    Asked(Stage, Reply),
    /// The session is of no use; it ends.
    Failed(Failure),
    /// The session is over: close the connection.
    Closed,
    /// A line for the detailed log: ours (true) or the host's.
    Said(bool, String),
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Login(Box<LogIn>),
    /// A key for the login is being computed.
    Deriving(Box<LogIn>),
    Idle,
    Busy(Box<Running>),
    Asking(Question),
    Quit,
    Over,
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    state: State,
    host: Extensions,
    tls: TlsUsed,
    /// For the login: what it can be bound to, and its nonce.
    bound: (Vec<Binding>, String),
    parser: ReplyParser,
    out: VecDeque<Bytes>,
    events: VecDeque<Event>,
    since: Timestamp,
    transcript: Transcript,
    /// What the host is told for the login, and must not be shown in what it says.
    masked: Masked,
    transactions: u32,
    /// The last transaction was left without its content: RSET comes first.
    dirty: bool,
    chunking_refused: bool,
}

impl Session {
    /// A session on a fresh connection; `tls` says how it is protected already (implicit TLS).
    #[must_use]
    pub fn new(settings: SessionSettings, tls: TlsUsed, now: Timestamp) -> Self {
        let mut transcript = Transcript::default();
        transcript.listen(settings.detailed);
        Self {
            masked: Masked::login(settings.credentials.as_ref()),
            settings,
            state: State::Greeting,
            host: Extensions::none(),
            tls,
            bound: <_>::default(),
            parser: ReplyParser::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            since: now,
            transcript,
            transactions: 0,
            dirty: false,
            chunking_refused: false,
        }
    }

    /// Begins a transaction; only when [`Event::Ready`], [`Event::Ended`] or [`Event::Asked`] came last.
    pub fn start(&mut self, now: Timestamp, transaction: Transaction) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let protocol = self.settings.protocol;
        let rset = self.needs_rset();
        let mut running = Box::new(Running::new(transaction, protocol, &self.host, rset));
        self.transactions += 1;
        self.since = now;
        if running.is_over() {
            self.events.push_back(Event::Ended(running.into_ended()));
            return;
        }
        running.send(&self.host, &mut self.out, &mut self.transcript);
        self.tell_sent();
        self.state = State::Busy(running);
    }

    /// The transaction before may be unfinished, or what it left behind unknown.
    const fn needs_rset(&self) -> bool {
        self.dirty || self.transactions > 0 && self.host.has(Extension::Pipelining)
    }

    /// Asks whether the host takes mail for a recipient, from the null reverse-path, in a transaction that ends
    /// with RCPT. It may begin when [`Self::start`] may, and [`Event::Asked`] answers it.
    pub fn ask(&mut self, now: Timestamp, recipient: Address) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let rset = self.needs_rset();
        self.transactions += 1;
        let mut line = BytesMut::new();
        let question = Question::begin(recipient, rset, &self.host, &mut line);
        self.say(now, State::Asking(question), line);
    }

    /// What must be done to the content of a transaction before this host can take it; `None`: nothing.
    #[must_use]
    pub fn needed(&self, transaction: &Transaction) -> Option<Conversion> {
        needed(transaction, &self.host, self.settings.protocol)
    }

    /// Whether every command and reply is wanted as an event from now on.
    pub fn set_detailed(&mut self, on: bool) {
        if self.settings.detailed != on {
            self.settings.detailed = on;
            self.transcript.listen(on);
        }
    }

    /// Ends an idle session politely.
    pub fn quit(&mut self, now: Timestamp) {
        if matches!(self.state, State::Idle) {
            self.command(now, State::Quit, command::quit);
        } else {
            self.over();
        }
    }

    /// The handshake succeeded. Everything learned before it is forgotten (RFC 3207 §4.2).
    pub fn tls_established(&mut self, now: Timestamp, tls: TlsUsed) {
        self.tls = tls;
        self.host = Extensions::none();
        self.parser = ReplyParser::new();
        self.transcript.note("(TLS established)");
        self.say_hello(now);
    }

    /// What a login can be bound to, the best first, and its nonce, which is printable, has no comma
    /// and is never used twice: to be said before TLS is said to be on.
    pub fn bind(&mut self, bindings: Vec<Binding>, nonce: String) {
        self.bound = (bindings, nonce);
    }

    /// The key that [`Event::Derive`] asked for.
    pub fn derived(&mut self, now: Timestamp, key: &[u8]) {
        if !matches!(self.state, State::Deriving(_)) {
            return;
        }
        if let State::Deriving(mut login) = std::mem::replace(&mut self.state, State::Over) {
            let step = login.derived(key);
            self.follow_login(now, login, step);
        }
    }

    /// The handshake failed; the connection is of no use any more.
    pub fn tls_failed(&mut self, why: &str) {
        let reply = Reply::own(
            EnhancedCode::new(4, 7, 5),
            format!("TLS handshake failed: {why}"),
        );
        self.fail(Stage::Tls, reply);
    }

    /// What the shell is to know or to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the host offers.
    #[must_use]
    pub const fn host(&self) -> &Extensions {
        &self.host
    }

    /// How the connection is protected.
    #[must_use]
    pub const fn tls(&self) -> TlsUsed {
        self.tls
    }

    /// Whether a transaction can begin.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the host offered CHUNKING and does not know BDAT. It takes the content for commands then, so the
    /// session is over; nothing is decided about the recipients, who are tried again without.
    #[must_use]
    pub const fn chunking_refused(&self) -> bool {
        self.chunking_refused
    }

    /// Transactions begun.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// What was said since this was last asked.
    pub fn take_transcript(&mut self) -> String {
        self.transcript.take()
    }

    fn command(&mut self, now: Timestamp, state: State, write: impl FnOnce(&mut BytesMut)) {
        let mut line = BytesMut::new();
        write(&mut line);
        self.say(now, state, line);
    }

    fn say(&mut self, now: Timestamp, state: State, line: BytesMut) {
        self.transcript.sent(&line);
        self.tell_sent();
        self.out.push_back(line.freeze());
        self.state = state;
        self.since = now;
    }

    /// Our lines for the detailed log.
    fn tell_sent(&mut self) {
        let said = self.transcript.take_said();
        let said = said.into_iter().map(|line| Event::Said(true, line));
        self.events.extend(said);
    }

    /// A line of the host, or our account of its silence, for the detailed log.
    fn heard(&mut self, line: impl FnOnce() -> String) {
        if self.settings.detailed {
            self.events.push_back(Event::Said(false, line()));
        }
    }

    fn say_hello(&mut self, now: Timestamp) {
        let protocol = self.settings.protocol;
        let name = self.settings.ehlo_name.clone();
        self.command(now, State::Ehlo, |line| match protocol {
            Protocol::Smtp => command::ehlo(line, &name),
            Protocol::Lmtp => command::lhlo(line, &name),
        });
    }

    fn fail(&mut self, stage: Stage, reply: Reply) {
        let in_clear = stage == Stage::Tls && self.settings.tls == TlsMode::Opportunistic;
        let retry = in_clear.then_some(Way::Clear);
        self.transcript.received(&reply);
        let failure = Failure {
            tls: self.tls,
            stage,
            reply,
            retry,
            ours: false,
        };
        self.events.push_back(Event::Failed(failure));
        self.over();
    }

    fn over(&mut self) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.out.clear();
            self.events.push_back(Event::Closed);
        }
    }

    fn handle(&mut self, now: Timestamp, raw: &Reply) {
        let reply = &*self.masked.reply(raw);
        let shown = auth::shown_reply(reply);
        self.transcript.received(&shown);
        self.heard(|| shown.to_string());
        let ready = reply.is_positive();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting if ready => self.say_hello(now),
            State::Greeting => self.give_up(Stage::Greeting, reply),
            State::Ehlo if ready => {
                let ignored = self.settings.ignore.iter();
                let offered = Extensions::parse(raw);
                self.host = ignored.fold(offered, |host, e| host.without(*e));
                self.hello_done(now);
            }
            // A server that knows only HELO says 500 or 502; some say 550 or 554 (RFC 5321 §3.2).
            State::Ehlo if reply.is_permanent() && self.may_use_helo() => {
                let name = self.settings.ehlo_name.clone();
                self.command(now, State::Helo, |line| command::helo(line, &name));
            }
            State::Helo if ready => self.hello_done(now),
            State::Ehlo | State::Helo => self.give_up(Stage::Ehlo, reply),
            State::StartTls if ready => {
                self.state = State::Handshake;
                self.since = now;
                self.events.push_back(Event::StartTls);
            }
            State::StartTls if self.settings.tls.is_mandatory() => self.give_up(Stage::Tls, reply),
            // Offered and refused: this connection goes on in clear.
            State::StartTls => self.login_or_ready(now),
            State::Login(mut login) => {
                let step = login.answer(raw);
                self.follow_login(now, login, step);
            }
            State::Busy(running) => self.transaction(now, running, reply),
            State::Asking(question) => self.question(now, question, reply),
            State::Quit => {
                self.state = State::Quit;
                self.over();
            }
            // A host that speaks unasked (421 before closing) is done with us.
            State::Idle => {
                self.state = State::Idle;
                self.over();
            }
            State::Handshake => self.tls_failed("the host sent data before the TLS handshake"),
            // It is not heard before the key is there.
            State::Deriving(login) => self.state = State::Deriving(login),
            State::Over => {}
        }
    }

    const fn may_use_helo(&self) -> bool {
        if matches!(self.settings.protocol, Protocol::Lmtp) {
            return false;
        }
        self.settings.credentials.is_none() && !self.settings.tls.is_mandatory()
            || !matches!(self.tls, TlsUsed::None | TlsUsed::FellBack)
                && self.settings.credentials.is_none()
    }

    /// The host's answer makes the session useless; it is told so, but not waited for.
    fn give_up(&mut self, stage: Stage, reply: &Reply) {
        self.state = State::Greeting;
        self.events.push_back(Event::Failed(Failure {
            tls: self.tls,
            stage,
            reply: reply.clone(),
            retry: None,
            // Refused, or without a way to log in: a login that cannot be judged now (4yz) may pass later.
            ours: stage == Stage::Login && (reply.is_permanent() || reply.code == 0),
        }));
        self.over();
        if reply.code != 421 {
            let mut line = BytesMut::new();
            command::quit(&mut line);
            self.out.push_back(line.freeze());
        }
    }

    fn hello_done(&mut self, now: Timestamp) {
        let clear = matches!(self.tls, TlsUsed::None | TlsUsed::FellBack);
        let offered = self.host.has(Extension::StartTls);
        let wanted = self.settings.tls != TlsMode::None && self.tls != TlsUsed::FellBack;
        if clear && offered && wanted {
            self.command(now, State::StartTls, command::starttls);
        } else if clear && self.settings.tls.is_mandatory() {
            let text = "TLS is required, but the host does not offer STARTTLS";
            self.give_up(Stage::Tls, &Reply::own(EnhancedCode::new(4, 7, 4), text));
        } else {
            self.login_or_ready(now);
        }
    }

    fn login_or_ready(&mut self, now: Timestamp) {
        let Some(credentials) = self.settings.credentials.clone() else {
            return self.ready(now);
        };
        if matches!(self.tls, TlsUsed::None | TlsUsed::FellBack) {
            let text = "a login is configured, but the relay offers no TLS: passwords are never sent unencrypted";
            return self.give_up(Stage::Login, &Reply::own(EnhancedCode::new(4, 7, 4), text));
        }
        let (bindings, nonce) = std::mem::take(&mut self.bound);
        let mut login = LogIn::new(credentials, &self.host, &bindings, nonce);
        match login.begin() {
            Some(step) => self.follow_login(now, Box::new(login), step),
            None => self.give_up(Stage::Login, &auth::nothing_in_common(&self.host)),
        }
    }

    fn follow_login(&mut self, now: Timestamp, login: Box<LogIn>, step: LoginStep) {
        self.since = now;
        match step {
            LoginStep::Say(line) => {
                self.masked.said(&line, login.username());
                self.transcript.note(&login.shown(&line));
                self.tell_sent();
                self.out.push_back(line);
                self.state = State::Login(login);
            }
            LoginStep::Derive(derivation) => {
                self.events.push_back(Event::Derive(derivation));
                self.state = State::Deriving(login);
            }
            LoginStep::Done => self.ready(now),
            LoginStep::Failed(reply) => {
                let reply = self.masked.reply(&reply);
                self.give_up(Stage::Login, &reply);
            }
        }
    }

    fn ready(&mut self, now: Timestamp) {
        self.state = State::Idle;
        self.since = now;
        self.events.push_back(Event::Ready);
    }

    fn transaction(&mut self, now: Timestamp, mut running: Box<Running>, reply: &Reply) {
        // An answer before the content's end: the connection stands in the middle of it.
        let is_early = running.is_in_content();
        if is_early && reply.is_positive() {
            return self.lost_in(
                running,
                "the host accepted the content before it was sent completely",
            );
        }
        let progress = running.handle(reply);
        self.since = now;
        self.chunking_refused |= running.is_chunking_refused();
        if reply.code == 421 || is_early || self.chunking_refused {
            running.abort(reply);
            self.end_transaction(*running);
            self.out.clear();
            self.over();
            return;
        }
        match progress {
            Progress::Over => {
                self.dirty = !running.content_is_sent();
                self.state = State::Idle;
                self.events.push_back(Event::Ended(running.into_ended()));
            }
            Progress::More => {
                running.send(&self.host, &mut self.out, &mut self.transcript);
                self.tell_sent();
                self.state = State::Busy(running);
            }
        }
    }

    fn question(&mut self, now: Timestamp, question: Question, reply: &Reply) {
        let mut line = BytesMut::new();
        match question.answered(reply, &self.host, &mut line) {
            Asked::On(question) => self.say(now, State::Asking(question), line),
            Asked::Over(stage) => {
                self.dirty = true;
                self.since = now;
                self.state = State::Idle;
                self.events.push_back(Event::Asked(stage, reply.clone()));
                if reply.code == 421 {
                    self.over();
                }
            }
        }
    }

    fn end_transaction(&mut self, running: Running) {
        self.state = State::Idle;
        self.events.push_back(Event::Ended(running.into_ended()));
    }

    fn lost_in(&mut self, running: Box<Running>, why: &str) {
        self.heard(|| why.to_owned());
        self.end_lost(running, &Reply::own(LOST, why));
    }

    fn end_lost(&mut self, mut running: Box<Running>, reply: &Reply) {
        self.transcript.received(reply);
        running.abort(reply);
        self.end_transaction(*running);
        self.out.clear();
        self.over();
    }

    /// The connection is of no use any more, without an answer of the host.
    fn lost(&mut self, why: &str) {
        let reply = Reply::own(LOST, why);
        self.heard(|| why.to_owned());
        match std::mem::replace(&mut self.state, State::Greeting) {
            State::Greeting => self.fail(Stage::Greeting, reply),
            State::Ehlo | State::Helo => self.fail(Stage::Ehlo, reply),
            State::StartTls | State::Handshake => self.fail(Stage::Tls, reply),
            State::Login(_) | State::Deriving(_) => self.fail(Stage::Login, reply),
            State::Busy(running) => {
                self.end_lost(running, &reply);
            }
            State::Asking(question) => {
                self.transcript.received(&reply);
                self.events.push_back(Event::Asked(question.stage(), reply));
                self.over();
            }
            State::Idle | State::Quit => self.over(),
            State::Over => self.state = State::Over,
        }
    }
}
