//! What every state of a session works on, and how a session ends.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mail::{EnhancedCode, Reply, Timestamp, TlsUsed};
use smtp::command;
use smtp::extension::Extensions;

use super::{End, Event, SessionSettings, State};
use crate::auth::{self, Masked};
use crate::failure::Failure;
use crate::judge::Stage;
use crate::tls_mode::TlsMode;
use crate::transcript::Transcript;
use crate::way::Way;

/// What every state works on.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) settings: SessionSettings,
    /// What the host has offered last.
    pub(super) host: Extensions,
    pub(super) tls: TlsUsed,
    pub(super) out: VecDeque<Bytes>,
    pub(super) events: VecDeque<Event>,
    /// Since when the host has been waited for.
    pub(super) since: Timestamp,
    pub(super) transcript: Transcript,
    /// What the host is told for the login, and must not be shown in what it says.
    pub(super) masked: Masked,
    /// Transactions begun.
    pub(super) transactions: u32,
}

impl Wire {
    /// Whether nothing protects the connection.
    pub(super) const fn is_clear(&self) -> bool {
        matches!(self.tls, TlsUsed::None | TlsUsed::FellBack)
    }

    pub(super) fn command(&mut self, now: Timestamp, write: impl FnOnce(&mut BytesMut)) {
        let mut line = BytesMut::new();
        write(&mut line);
        self.say(now, line);
    }

    pub(super) fn say(&mut self, now: Timestamp, line: BytesMut) {
        self.transcript.sent(&line);
        self.tell_sent();
        self.out.push_back(line.freeze());
        self.since = now;
    }

    /// Our lines for the detailed log.
    pub(super) fn tell_sent(&mut self) {
        let said = self.transcript.take_said();
        let said = said.into_iter().map(|line| Event::Said(true, line));
        self.events.extend(said);
    }

    /// A reply for transcript and log, which must have been masked.
    pub(super) fn show(&mut self, reply: &Reply) {
        let shown = auth::shown_reply(reply);
        self.transcript.received(&shown);
        self.heard(|| shown.to_string());
    }

    /// A line of the host, or our account of its silence, for the detailed log.
    pub(super) fn heard(&mut self, line: impl FnOnce() -> String) {
        if self.settings.detailed {
            self.events.push_back(Event::Said(false, line()));
        }
    }

    /// The session is over: nothing more is said.
    pub(super) fn over(&mut self, end: End) -> State {
        self.out.clear();
        self.events.push_back(Event::Closed);
        State::Over(end)
    }

    /// The session is of no use, without an answer of the host.
    pub(super) fn fail(&mut self, stage: Stage, reply: Reply) -> State {
        let in_clear = stage == Stage::Tls && self.settings.tls == TlsMode::Opportunistic;
        self.transcript.received(&reply);
        self.events.push_back(Event::Failed(Failure {
            tls: self.tls,
            stage,
            reply,
            retry: in_clear.then_some(Way::Clear),
            ours: false,
        }));
        self.over(End::Usual)
    }

    pub(super) fn tls_failed(&mut self, why: &str) -> State {
        let text = format!("TLS handshake failed: {why}");
        self.fail(Stage::Tls, Reply::own(EnhancedCode::new(4, 7, 5), text))
    }

    /// The host's answer makes the session useless; it is told so, but not waited for.
    pub(super) fn give_up(&mut self, stage: Stage, reply: &Reply) -> State {
        self.events.push_back(Event::Failed(Failure {
            tls: self.tls,
            stage,
            reply: reply.clone(),
            retry: None,
            // Refused, or without a way to log in: a login that cannot be judged now (4yz) may pass later.
            ours: stage == Stage::Login && (reply.is_permanent() || reply.code == 0),
        }));
        let over = self.over(End::Usual);
        if reply.code != 421 {
            let mut line = BytesMut::new();
            command::quit(&mut line);
            self.out.push_back(line.freeze());
        }
        over
    }
}
