//! What the shell answers to the session's requests.

use mail::{EnhancedCode, Reply, Timestamp};
use smtp::line::LineReader;
use smtp::sasl::{Binding, Keys};
use smtp::server::{State, Step};

use super::timing::Clock;
use super::{Phase, Session};
use crate::{AcceptFailure, Event, LoginVerdict, NoKeys};

fn unavailable() -> Reply {
    let text = "Temporary authentication failure: try again later";
    Reply::new(454, Some(EnhancedCode::new(4, 7, 0)), text)
}

impl Session {
    /// The TLS handshake has been made.
    pub fn tls_started(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Handshaking) {
            self.client.tls = true;
            self.lines = LineReader::default();
            self.offer();
            self.phase = Phase::Talking(State::start());
            self.clock = Clock::new(now);
            self.stop_where_convenient();
        }
    }

    /// What logins can be bound to on this connection: to be said as soon as TLS is on.
    pub fn bind(&mut self, binding: Option<Binding>) {
        self.client.binding = binding;
        self.offer();
    }

    /// The answer to [`Request::FetchKeys`](crate::Request::FetchKeys).
    pub fn keys_fetched(&mut self, now: Timestamp, keys: Result<Keys, NoKeys>) {
        if !matches!(self.phase, Phase::Fetching(_)) {
            return;
        }
        let Phase::Fetching(ask) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let step = match keys {
            Ok(keys) => ask.challenge(keys),
            Err(NoKeys::Unavailable) => ask.refuse(unavailable()),
            Err(NoKeys::TooMany) => {
                let refusal = self.too_many(ask.user().to_owned());
                ask.refuse(refusal)
            }
        };
        self.follow_login(now, step);
    }

    /// The answer to [`Request::CheckLogin`](crate::Request::CheckLogin).
    pub fn login_checked(&mut self, now: Timestamp, verdict: LoginVerdict) {
        if !matches!(self.phase, Phase::Checking(_)) {
            return;
        }
        let Phase::Checking(ask) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let name = ask.login.user.clone();
        let step = match verdict {
            LoginVerdict::Right(user) => {
                self.client.user = Some(user);
                self.events.push_back(Event::LoggedIn { user: name });
                self.offer();
                ask.accept()
            }
            LoginVerdict::Wrong => {
                self.tally.login_failures += 1;
                let tls = self.client.tls;
                self.events
                    .push_back(Event::LoginFailed { user: name, tls });
                let enhanced = EnhancedCode::new(5, 7, 8);
                ask.refuse(Reply::new(
                    535,
                    Some(enhanced),
                    "Authentication failed: wrong user name or password",
                ))
            }
            LoginVerdict::Unavailable => ask.refuse(unavailable()),
            LoginVerdict::TooMany => {
                let refusal = self.too_many(name);
                ask.refuse(refusal)
            }
        };
        self.follow_login(now, step);
    }

    /// Counts a login that was not looked at.
    fn too_many(&mut self, user: String) -> Reply {
        self.tally.login_failures += 1;
        let tls = self.client.tls;
        self.events.push_back(Event::LoginFailed { user, tls });
        let text = "Too many failed logins from your address or for this user: try again later";
        Reply::new(454, Some(EnhancedCode::new(4, 7, 0)), text)
    }

    fn follow_login(&mut self, now: Timestamp, step: Step) {
        self.follow(now, step, false);
        if self.tally.login_failures >= self.policy.limits.login_failures {
            self.end_for_errors();
        }
        self.stop_where_convenient();
    }

    /// The answer to [`Request::CheckRecipient`](crate::Request::CheckRecipient): whether the store takes mail for it.
    pub fn recipient_checked(&mut self, now: Timestamp, verdict: Result<(), Reply>) {
        if !matches!(self.phase, Phase::Asking(_)) {
            return;
        }
        let Phase::Asking(asked) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let (ask, recipient) = *asked;
        let step = match verdict {
            Ok(()) => ask.accept(recipient),
            Err(reply) => {
                self.refused_recipient(&recipient.address.to_string(), &reply);
                ask.refuse(reply)
            }
        };
        self.follow(now, step, false);
        self.stop_where_convenient();
    }

    /// The answer to [`Request::Accept`](crate::Request::Accept).
    pub fn accepted(&mut self, now: Timestamp, result: Result<(), AcceptFailure>) {
        if !matches!(self.phase, Phase::Saving(..)) {
            return;
        }
        let Phase::Saving(answer, taken) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let id = taken.id;
        let reply = match result {
            Ok(()) => {
                if !taken.near.is_empty() {
                    let what = taken.near.join("; ");
                    self.events.push_back(Event::QuotaNear { id, what });
                }
                let refused = self.tally.refused_recipients;
                self.tally.refused_recipients = match self.is_trusted() {
                    true => refused / 2,
                    false => refused.saturating_sub(2),
                };
                let text = format!("Queued as {id}");
                Reply::new(250, Some(EnhancedCode::new(2, 0, 0)), text)
            }
            Err(failure) => {
                self.give_back(now, &taken);
                let reply = failure.reply();
                self.refused(id.to_string(), &reply);
                reply
            }
        };
        self.follow(now, answer.reply(reply), false);
        self.stop_where_convenient();
    }
}
