//! One connection of a client, from greeting to goodbye.
//!
//! The shell drives it as a [`Machine`]; the order is: write all of `poll_transmit`, log all of
//! `poll_event`, do what `poll_request` asks. While a request waits for its answer nothing of the
//! input is used up; after the answer the shell calls `receive` again with what it has, new input
//! or not. Replies are collected, so that a pipelined group of commands is answered by one write.

mod answers;
mod busy;
mod charging;
mod decide;
mod line_ends;
mod timing;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::{EnhancedCode, QueueId, Recipient, Reply, Timestamp};
use smtp::extension::{Extension, Extensions};
use smtp::line::LineReader;
use smtp::machine::{Deadline, Machine};
use smtp::sasl::{self, Binding};
use smtp::server::{Answer, AskKeys, AskLogin, AskRcpt, State, Step, Wire};

use crate::policy::{Auth, Listener, Policy, Tls};
use crate::relaying::{Near, Standing, standing};
use crate::{Event, FixUps, Request, Rights, User};
pub use busy::{Busy, busy};
use charging::Taken;
use line_ends::LineEnds;
use timing::Clock;

/// How far in the future a mail may be released (FUTURERELEASE). Mail that waits longer is better
/// kept by whoever wants it sent then.
pub const FUTURE_MAX: Duration = Duration::from_secs(60 * 86_400);

/// Octets of replies beyond which the shell has its say ([`Session::is_full`]): a line of a few octets can have
/// an answer of hundreds.
const REPLIES_MAX: usize = 32 * 1024;

/// Gives out the names of messages.
pub type NextId = Box<dyn FnMut(Timestamp) -> QueueId + Send>;

/// What the session is at.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per connection, nearly always the large one"
)]
enum Phase {
    /// Commands and content come in.
    Talking(State),
    /// The TLS handshake is due.
    Handshaking,
    /// A user's keys are being fetched.
    Fetching(AskKeys),
    /// A login is being checked.
    Checking(AskLogin),
    /// The local store is being asked about a recipient.
    Asking(Box<(AskRcpt, Recipient)>),
    /// A message is being saved.
    Saving(Answer, Taken),
    /// It is over.
    Closed,
}

/// What is known of the client.
#[derive(Debug)]
struct Client {
    peer: IpAddr,
    tls: bool,
    near: Near,
    /// What a login can be bound to.
    binding: Option<Binding>,
    user: Option<User>,
}

/// What counts towards the end of a session.
#[derive(Debug, Default)]
struct Tally {
    bad_commands: u32,
    login_failures: u32,
    /// Recipients that were refused for good, less half of them for each mail that was taken.
    refused_recipients: u32,
}

/// A session.
pub struct Session {
    policy: Arc<Policy>,
    listener: Listener,
    client: Client,
    next_id: NextId,
    phase: Phase,
    lines: LineReader,
    line_ends: LineEnds,
    offered: Extensions,
    tally: Tally,
    clock: Clock,
    out: BytesMut,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
    detailed: bool,
    /// Why the session ends where it is convenient.
    stopping: Option<&'static str>,
    /// Clients that are nobody in particular are waited for less long.
    hurried: bool,
    /// After a recipient that is refused the shell has its say before more is read.
    pauses: bool,
    paused: bool,
}

impl Session {
    /// A session with a client that has just connected to the listener at this place in the
    /// policy; `tls` says whether the handshake of an implicit-TLS listener has been made. A
    /// listener that is not there trusts nobody.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        listener: usize,
        peer: SocketAddr,
        tls: bool,
        next_id: NextId,
        now: Timestamp,
    ) -> Self {
        let listener = policy.listeners.get(listener).cloned();
        let listener = listener.unwrap_or_else(|| Listener {
            tls: Tls::None,
            auth: Auth::Required,
            networks: Vec::new(),
            proxies: Vec::new(),
            fix_ups: FixUps::NONE,
        });
        let mut session = Self {
            policy,
            listener,
            client: Client {
                peer: peer.ip().to_canonical(),
                tls,
                near: Near::Elsewhere,
                binding: None,
                user: None,
            },
            next_id,
            phase: Phase::Talking(State::start()),
            lines: LineReader::default(),
            line_ends: LineEnds::default(),
            offered: Extensions::none(),
            tally: Tally::default(),
            clock: Clock::new(now),
            out: BytesMut::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            detailed: false,
            stopping: None,
            hurried: false,
            pauses: false,
            paused: false,
        };
        session.offer();
        let greeting = format!("{} ESMTP Sendoff ready", session.policy.hostname);
        session.say(&Reply::new(220, None, greeting));
        session
    }

    /// Says from how near the client comes, before anything is heard from it.
    pub fn set_near(&mut self, near: Near) {
        self.client.near = near;
        self.offer();
    }

    /// Switches events for every command and reply on or off.
    pub const fn set_detailed(&mut self, detailed: bool) {
        self.detailed = detailed;
    }

    /// What the shell must do; one request at a time is open, but for `Close` after another.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// What is worth a line in the log, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Octets of memory that the content takes which is being received; 0 between messages.
    #[must_use]
    pub fn content_held(&self) -> usize {
        match &self.phase {
            Phase::Talking(state) => state.content_held(),
            Phase::Handshaking
            | Phase::Fetching(_)
            | Phase::Checking(_)
            | Phase::Asking(_)
            | Phase::Saving(..)
            | Phase::Closed => 0,
        }
    }

    /// There is no memory for the content that is being received: it is thrown away and answered with 452.
    pub fn give_up_content(&mut self) {
        if let Phase::Talking(state) = &mut self.phase {
            state.give_up_content();
        }
    }

    /// Whether the client is to say something and no content is coming in: who leaves it at that holds a place
    /// for nothing.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        match &self.phase {
            // A chunk that is only passed over is waited for to no good, and so is one who does not hear the end.
            Phase::Talking(State::Skip(_)) | Phase::Handshaking | Phase::Closed => true,
            Phase::Talking(state) => state.content_received().is_none(),
            Phase::Fetching(_) | Phase::Checking(_) | Phase::Asking(_) | Phase::Saving(..) => false,
        }
    }

    /// Whether clients who have not logged in are waited for less long, because places are getting scarce.
    pub const fn hurry(&mut self, hurried: bool) {
        self.hurried = hurried;
    }

    /// Ends the session for a reason of ours, unless it is over.
    pub fn send_away(&mut self, why: &str) {
        if !self.is_closed() {
            self.end(EnhancedCode::new(4, 3, 2), why);
        }
    }

    /// After each recipient that is refused for good nothing more is read before [`take_pause`](Self::take_pause), and
    /// where there are many replies, not before they are taken.
    pub const fn pause_at_refusals(&mut self) {
        self.pauses = true;
    }

    /// Whether a recipient has been refused for good since this was asked last. The shell can have the client
    /// wait, and goes on by `receive` with what it has.
    pub const fn take_pause(&mut self) -> bool {
        std::mem::replace(&mut self.paused, false)
    }

    /// Whether [`take_pause`](Self::take_pause) is due.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether there are so many replies that nothing more is read before they are written, where the shell has a
    /// say: who reads no answers gets no more of them.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pauses && self.out.len() > REPLIES_MAX
    }

    /// The client was not listened to for a while, through no fault of its own.
    pub fn kept_waiting(&mut self, now: Timestamp) {
        self.clock.kept_waiting(now);
    }

    /// Tells the clock what has come of a content.
    fn note_received(&mut self, now: Timestamp) {
        let received = match &self.phase {
            Phase::Talking(state) => state.content_received(),
            Phase::Handshaking
            | Phase::Fetching(_)
            | Phase::Checking(_)
            | Phase::Asking(_)
            | Phase::Saving(..)
            | Phase::Closed => None,
        };
        let rate = self.policy.limits.minimum_rate;
        self.clock.received(now, received, rate);
    }

    /// Whether the session is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The client's address; that of an IPv4-mapped one is IPv4.
    #[must_use]
    pub const fn peer(&self) -> IpAddr {
        self.client.peer
    }

    /// The user who has logged in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.client.user.as_ref().map(|user| user.name.as_str())
    }

    /// Whether the client may send anywhere.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.standing() == Standing::Trusted
    }

    /// As whom the client may write.
    #[must_use]
    pub fn rights(&self) -> Rights {
        match (self.standing(), &self.client.user) {
            (Standing::Outsider | Standing::MustLogIn, _) => Rights::None,
            (Standing::Trusted, Some(user)) if self.policy.check_sender => {
                Rights::Only(user.senders.clone())
            }
            (Standing::Trusted, _) => Rights::Any,
        }
    }

    /// The server is stopping: the session ends with 421 as soon as no mail is on its way in.
    pub fn shutdown(&mut self) {
        self.end_soon("the server is shutting down");
    }

    /// The session ends with 421, for this reason, as soon as no mail is on its way in.
    pub fn end_soon(&mut self, why: &'static str) {
        self.stopping.get_or_insert(why);
        self.stop_where_convenient();
    }

    fn stop_where_convenient(&mut self) {
        let between_mails = matches!(
            self.phase,
            Phase::Talking(State::Helo(_) | State::Mail(_) | State::Rcpt(_) | State::Response(_))
        );
        if let Some(why) = self.stopping.filter(|_| between_mails) {
            self.end(EnhancedCode::new(4, 3, 2), why);
        }
    }

    /// Does what a step says; `false` when nothing more can be done for now. `behind` says whether
    /// input follows the command that the step took.
    fn follow(&mut self, now: Timestamp, step: Step, behind: bool) -> bool {
        match step {
            Step::Wait(state) => {
                self.phase = Phase::Talking(state);
                false
            }
            Step::Go(state) => {
                self.phase = Phase::Talking(state);
                self.clock.restart(now);
                true
            }
            Step::Reply(state, reply) => {
                self.phase = Phase::Talking(state);
                self.clock.restart(now);
                self.say(&reply);
                self.count(&reply);
                !self.paused
            }
            Step::Close(reply) => {
                self.say(&reply);
                self.close();
                false
            }
            Step::Ask(ask) => match self.decide(now, ask, behind) {
                Some(step) => self.follow(now, step, behind),
                None => false,
            },
        }
    }

    /// A recipient is refused.
    fn refused_recipient(&mut self, address: &str, reply: &Reply) {
        self.refused(format!("recipient {address}"), reply);
        if reply.is_permanent() {
            self.tally.refused_recipients += 1;
            self.paused = self.pauses;
        }
    }

    fn count(&mut self, reply: &Reply) {
        let relaying_denied = reply.enhanced == Some(EnhancedCode::new(5, 7, 1));
        if relaying_denied || matches!(reply.code, 500..=504 | 530 | 538 | 555) {
            self.tally.bad_commands += 1;
        }
        if self.tally.bad_commands > self.policy.limits.bad_commands {
            self.end_for_errors();
        } else if self.tally.refused_recipients >= self.policy.limits.refused_recipients {
            self.events.push_back(Event::TooManyErrors);
            self.end(
                EnhancedCode::new(4, 7, 0),
                "too many recipients were refused",
            );
        }
    }

    fn end_for_errors(&mut self) {
        self.events.push_back(Event::TooManyErrors);
        self.end(EnhancedCode::new(4, 7, 0), "too many errors");
    }

    fn end(&mut self, enhanced: EnhancedCode, why: &str) {
        let text = format!("{}: closing the connection, {why}", self.policy.hostname);
        self.say(&Reply::new(421, Some(enhanced), text));
        self.close();
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.requests.push_back(Request::Close);
    }

    fn say(&mut self, reply: &Reply) {
        smtp::reply::write(reply, &mut self.out);
        if self.detailed {
            self.events.push_back(Event::Reply(reply.clone()));
        }
    }

    fn refused(&mut self, what: String, reply: &Reply) {
        self.events.push_back(Event::Refused {
            what,
            reply: reply.clone(),
        });
    }

    fn standing(&self) -> Standing {
        let logged_in = self.client.user.is_some();
        let unknown = self.policy.locals_log_in && self.client.near != Near::Elsewhere;
        standing(&self.listener, self.client.peer, logged_in, unknown)
    }

    fn can_log_in(&self) -> bool {
        let can = self.is_private() || self.can_start_tls();
        !matches!(self.listener.auth, Auth::None) && can
    }

    /// Whether what is said stays between the client and this server.
    fn is_private(&self) -> bool {
        self.client.tls || self.policy.locals_log_in && self.client.near == Near::Here
    }

    fn can_start_tls(&self) -> bool {
        matches!(self.listener.tls, Tls::StartTls) && self.policy.tls_available && !self.client.tls
    }

    /// Makes up what EHLO offers in the session's present condition.
    fn offer(&mut self) {
        let mut offered = self.policy.extensions.clone();
        offered = offered
            .without(Extension::Auth)
            .without(Extension::StartTls);
        offered.size = Some(self.policy.limits.message_size);
        offered = offered.with(Extension::Limits);
        offered.limits.recipients_max = u32::try_from(self.policy.limits.recipients).ok();
        if self.can_start_tls() {
            offered = offered.with(Extension::StartTls);
        }
        if self.is_private() && self.listener.auth != Auth::None && self.client.user.is_none() {
            offered = offered.with(Extension::Auth);
            offered.auth = sasl::mechanisms(self.client.binding.as_ref());
        }
        if self.client.tls {
            // Asked in clear it would be no protection (RFC 8689 §2).
            offered = offered.with(Extension::RequireTls);
        }
        if self.standing() == Standing::Trusted {
            let terms = [
                Extension::FutureRelease,
                Extension::DeliverBy,
                Extension::MtPriority,
            ];
            offered = terms.into_iter().fold(offered, Extensions::with);
            offered.future_release_max_secs = Some(FUTURE_MAX.as_secs());
            // RFC 4865 §4 wants both.
            offered.future_release_until = Some(self.clock.last() + FUTURE_MAX);
        }
        if self.line_ends.are_lf() {
            // A chunk is counted in octets, as they are.
            offered = offered.without(Extension::Chunking);
        }
        if !offered.has(Extension::Chunking) {
            // RFC 3030 §3: it can come in chunks only.
            offered = offered.without(Extension::BinaryMime);
        }
        self.offered = offered;
    }
}

impl Session {
    /// Does what the input says, as far as it goes.
    fn read(&mut self, now: Timestamp, input: &mut BytesMut) {
        loop {
            let state = match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Talking(state) => state,
                Phase::Handshaking if !input.is_empty() => {
                    self.events.push_back(Event::InjectedBehindStartTls);
                    self.close();
                    continue;
                }
                Phase::Closed => {
                    input.clear();
                    return;
                }
                waiting @ (Phase::Handshaking
                | Phase::Fetching(_)
                | Phase::Checking(_)
                | Phase::Asking(_)
                | Phase::Saving(..)) => {
                    self.phase = waiting;
                    return;
                }
            };
            let mut wire = Wire {
                input,
                lines: &mut self.lines,
                offered: &self.offered,
                hostname: &self.policy.hostname,
                trace: self.detailed,
                seen: None,
            };
            let step = state.step(&mut wire);
            if let Some(line) = wire.seen {
                self.events.push_back(Event::Command(line));
            }
            let goes_on = self.follow(now, step, !input.is_empty());
            self.stop_where_convenient();
            // Not only at the end: one content may follow another within what was read at once.
            self.note_received(now);
            if (!goes_on || self.is_full()) && !self.is_closed() {
                return;
            }
        }
    }
}

impl Machine for Session {
    fn receive(&mut self, now: Timestamp, input: &mut BytesMut) {
        if !input.is_empty() {
            self.clock.heard(now);
        }
        let mut line_ends = std::mem::take(&mut self.line_ends);
        let is_lf = line_ends.mend(input, || {
            self.client.peer.is_loopback() && self.standing() == Standing::Trusted
        });
        self.line_ends = line_ends;
        if is_lf {
            self.offer();
        }
        self.read(now, input);
        self.line_ends.left(input.len());
    }

    fn closed(&mut self, _now: Timestamp) {
        let in_transaction = match &self.phase {
            Phase::Talking(state) => state.envelope().is_some(),
            Phase::Asking(_) | Phase::Saving(..) => true,
            Phase::Handshaking | Phase::Fetching(_) | Phase::Checking(_) | Phase::Closed => false,
        };
        if in_transaction {
            self.events.push_back(Event::Lost);
        }
        if !self.is_closed() {
            self.close();
        }
        self.out.clear();
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    fn deadline(&self) -> Option<Deadline> {
        let hurried = self.hurried && self.client.user.is_none();
        self.clock
            .deadline(&self.phase, &self.policy.limits, hurried)
    }

    fn timeout(&mut self, now: Timestamp) {
        let Some(deadline) = self.deadline().filter(|d| d.at <= now) else {
            return;
        };
        let reason = deadline.reason;
        self.events.push_back(Event::TimedOut { reason });
        if matches!(self.phase, Phase::Handshaking) {
            self.close();
        } else {
            let why = format!("timed out waiting for {reason}");
            self.end(EnhancedCode::new(4, 4, 2), &why);
        }
    }
}
