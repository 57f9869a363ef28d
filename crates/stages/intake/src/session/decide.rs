//! The answers to what the protocol asks: who may send, where to, and whether a mail is taken.

use std::time::Duration;

use mail::{
    Address, DeliverBy, Destination, EnhancedCode, Envelope, Labels, Message, QueueId, Recipient,
    Reply, Submitter, Terms, Timestamp, format_duration,
};
use smtp::command::{ForwardPath, Hold, MailParams};
use smtp::data::ContentError;
use smtp::server::{
    Ask, AskAuth, AskContent, AskMail, AskRcpt, AskStartTls, ReceivedContent, Step, Transfer,
};

use super::{FUTURE_MAX, Phase, Session};
use crate::decision::{Scale, outgoing, too_many_recipients, weigh};
use crate::policy::Auth;
use crate::received::{self, Arrival};
use crate::relaying::{Standing, judge, log_in_first};
use crate::{Event, Request};

impl Session {
    /// Answers a question, or hands it on to the shell and answers `None`.
    pub(super) fn decide(&mut self, now: Timestamp, ask: Ask, behind: bool) -> Option<Step> {
        match ask {
            Ask::Mail(ask) => Some(self.mail(now, ask)),
            Ask::Rcpt(ask) => self.rcpt(now, ask),
            Ask::Content(ask) => Some(self.content(now, ask)),
            Ask::Received(received) => self.received(now, received),
            Ask::Auth(ask) => Some(self.auth(ask)),
            Ask::Keys(ask) => {
                let user = ask.user().to_owned();
                self.requests.push_back(Request::FetchKeys(user));
                self.phase = Phase::Fetching(ask);
                None
            }
            Ask::Login(ask) => {
                let login = ask.login.clone();
                self.requests.push_back(Request::CheckLogin(login));
                self.phase = Phase::Checking(ask);
                None
            }
            Ask::StartTls(ask) => self.start_tls(now, ask, behind),
        }
    }

    fn mail(&mut self, now: Timestamp, ask: AskMail) -> Step {
        let sender = ask.from.reverse_path.as_ref();
        let params = &ask.from.params;
        let taken = self.sender(sender, params.size).and_then(|()| {
            let terms = terms(params, now)?;
            Ok(Envelope {
                reverse_path: sender.cloned(),
                recipients: Vec::new(),
                body_type: params.body.unwrap_or_default(),
                smtputf8: params.smtputf8,
                ret: params.ret,
                env_id: params.env_id.clone(),
                terms,
                submitter: Submitter {
                    user: self.user().map(str::to_owned),
                    peer: Some(self.client.peer),
                    via: "smtp".to_owned(),
                },
            })
        });
        match taken {
            Ok(envelope) => ask.accept(envelope),
            Err(reply) => {
                let sender = sender.map_or_else(|| "<>".to_owned(), ToString::to_string);
                self.refused(format!("sender {sender}"), &reply);
                ask.refuse(reply)
            }
        }
    }

    /// Whether a client may send a mail of this size from this address.
    fn sender(&self, sender: Option<&Address>, size: Option<u64>) -> Result<(), Reply> {
        if self.standing() == Standing::MustLogIn {
            return Err(log_in_first(self.client.tls));
        }
        if let (Some(user), Some(sender), true) =
            (&self.client.user, sender, self.policy.check_sender)
            && !user.senders.allow(Some(sender))
        {
            return Err(user.senders.refusal(&user.name, sender));
        }
        let limit = self.policy.limits.message_size;
        match size.unwrap_or_default() > limit {
            true => Err(ContentError::TooLarge(limit).reply()),
            false => Ok(()),
        }
    }

    fn rcpt(&mut self, now: Timestamp, ask: AskRcpt) -> Option<Step> {
        let so_far = &ask.envelope().recipients;
        let is_full = so_far.len() >= self.policy.limits.recipients;
        let taken = self.recipient(now, &ask).and_then(|recipient| {
            let is_new = || so_far.iter().all(|r| r.address != recipient.address);
            if is_full && is_new() {
                return Err(too_many_recipients());
            }
            self.fits_quota(now, ask.envelope(), &recipient)?;
            Ok(recipient)
        });
        match taken {
            Ok(recipient)
                if recipient.destination == Destination::Local
                    && self.policy.local.store_knows
                    && !self.policy.paths.contains(recipient.address.domain()) =>
            {
                let address = recipient.address.clone();
                self.requests.push_back(Request::CheckRecipient(address));
                self.phase = Phase::Asking(Box::new((ask, recipient)));
                None
            }
            Ok(recipient) => Some(ask.accept(recipient)),
            Err(reply) => {
                let (given, is_local) = match &ask.to.forward_path {
                    ForwardPath::Address(to) => {
                        (to.to_string(), self.policy.local.contains(to.domain()))
                    }
                    ForwardPath::Postmaster => ("postmaster".to_owned(), true),
                };
                // Who may send elsewhere, and names there whom nothing is sent to, guesses nothing.
                match is_local || self.standing() != Standing::Trusted {
                    true => self.refused_recipient(&given, &reply),
                    false => self.refused(format!("recipient {given}"), &reply),
                }
                Some(ask.refuse(reply))
            }
        }
    }

    /// Whether one more recipient fits into the quotas.
    fn fits_quota(
        &self,
        now: Timestamp,
        envelope: &Envelope,
        recipient: &Recipient,
    ) -> Result<(), Reply> {
        let leaves = recipient.destination == Destination::Outgoing;
        if self.policy.quotas.is_empty() || !leaves || self.standing() != Standing::Trusted {
            return Ok(());
        }
        let charged = self.charged(envelope.reverse_path.as_ref());
        let more = outgoing(envelope) + 1;
        let usage = &self.policy.usage;
        Ok(usage.check(now, &self.policy.quotas, &charged, more)?)
    }

    /// The recipient that RCPT names, after rewriting. Whether the client may send there is judged
    /// before.
    fn recipient(&self, now: Timestamp, ask: &AskRcpt) -> Result<Recipient, Reply> {
        let (to, sender) = (&ask.to, ask.envelope().reverse_path.as_ref());
        let given = match &to.forward_path {
            ForwardPath::Address(address) => address,
            ForwardPath::Postmaster => &self.policy.postmaster,
        };
        // Of these only what was signed here gets further.
        let stands = self.policy.paths.contains(given.domain());
        let is_local = stands
            || self.policy.local.contains(given.domain())
            || self.policy.alias(given).is_some()
            // RFC 5321 §4.5.1: everybody may write to the postmaster.
            || (to.forward_path == ForwardPath::Postmaster && !self.policy.is_unread(given));
        judge(self.standing(), is_local, self.can_log_in())?;
        let recipient = self.policy.addressed(given, now)?;
        if stands && recipient.given.is_some() && sender.is_some() {
            // What comes back by SRS is a report; anything else could be anybody's mail.
            return Err(only_reports());
        }
        let policy = &self.policy;
        policy.check_suppressed(&recipient, sender, self.user(), now)?;
        Ok(Recipient {
            orcpt: to.params.orcpt.clone(),
            notify: to.params.notify,
            ..recipient
        })
    }

    fn content(&mut self, now: Timestamp, ask: AskContent) -> Step {
        let id = (self.next_id)(now);
        let arrival = Arrival {
            helo: &ask.helo,
            peer: self.client.peer,
            hostname: &self.policy.hostname,
            tls: self.client.tls,
            logged_in: self.client.user.is_some(),
        };
        let mut field = received::field(arrival, &ask.envelope, id, now);
        if self.standing() == Standing::Trusted {
            let chunk = match ask.transfer {
                Transfer::Chunk { size, .. } => size,
                Transfer::Data => 0,
            };
            // All that is declared at once: who takes memory piece by piece waits for others who do the same, all
            // of them hold what they have, and nobody ends. Strangers are believed no size. Where there is no room the
            // content grows as it comes.
            let declared = ask.size.unwrap_or_default().max(chunk);
            let declared = declared.min(self.policy.limits.message_size);
            let declared = usize::try_from(declared).unwrap_or_default();
            // Some count line ends otherwise.
            drop(field.try_reserve_exact(declared + declared / 32));
        }
        let rules = self.policy.content_rules(ask.envelope.body_type);
        ask.begin(id, rules, field)
    }

    fn received(&mut self, now: Timestamp, received: ReceivedContent) -> Option<Step> {
        let (answer, mut envelope, id, content) = received.split();
        let scale = Scale {
            fix_ups: self.listener.fix_ups,
            rights: &self.rights(),
            id,
            now,
        };
        self.policy.expand(&mut envelope);
        let none = Labels::default();
        match weigh(&self.policy, &mut envelope, content, &scale, none) {
            Ok((content, labels)) => {
                let sender = envelope.reverse_path.clone();
                let taken = match self.take(now, id, sender, outgoing(&envelope)) {
                    Ok(taken) => taken,
                    Err(reply) => {
                        self.refused(named(id, &envelope), &reply);
                        return Some(answer.reply(reply));
                    }
                };
                let message = Message {
                    id,
                    accepted: now,
                    envelope,
                    labels,
                    content,
                };
                self.requests.push_back(Request::Accept(Box::new(message)));
                self.phase = Phase::Saving(answer, taken);
                None
            }
            Err(reply) => {
                self.refused(named(id, &envelope), &reply);
                Some(answer.reply(reply))
            }
        }
    }

    fn auth(&mut self, ask: AskAuth) -> Step {
        let refusal = if self.client.user.is_some() {
            Some((503, EnhancedCode::new(5, 5, 1), "Already authenticated"))
        } else if self.listener.auth == Auth::None || !self.can_log_in() {
            Some((
                502,
                EnhancedCode::new(5, 5, 1),
                "Authentication is not available here",
            ))
        } else if !self.is_private() {
            let text = "Encryption required for authentication: issue a STARTTLS command first";
            Some((538, EnhancedCode::new(5, 7, 11), text))
        } else {
            None
        };
        match refusal {
            Some((code, enhanced, text)) => ask.refuse(Reply::new(code, Some(enhanced), text)),
            None => ask.begin(self.client.binding.as_ref()),
        }
    }

    fn start_tls(&mut self, now: Timestamp, ask: AskStartTls, behind: bool) -> Option<Step> {
        if !self.can_start_tls() {
            let text = match self.client.tls {
                true => "TLS is already active",
                false => "TLS is not available here",
            };
            let enhanced = EnhancedCode::new(5, 5, 1);
            return Some(ask.refuse(Reply::new(503, Some(enhanced), text)));
        }
        if behind {
            self.events.push_back(Event::InjectedBehindStartTls);
            let text =
                "Data was sent after STARTTLS before the TLS handshake: closing the connection";
            let reply = Reply::new(554, Some(EnhancedCode::new(5, 5, 1)), text);
            return Some(Step::Close(reply));
        }
        let reply = ask.accept();
        self.say(&reply);
        self.requests.push_back(Request::StartTls);
        self.phase = Phase::Handshaking;
        self.clock.restart(now);
        None
    }
}

/// What MAIL asked about time and order (RFC 4865 §4, RFC 2852 §4, RFC 6710 §4).
fn terms(params: &MailParams, now: Timestamp) -> Result<Terms, Reply> {
    let not_before = params.hold.map(|hold| match hold {
        Hold::For(seconds) => now + Duration::from_secs(seconds),
        Hold::Until(at) => at,
    });
    if not_before.is_some_and(|at| at > now + FUTURE_MAX) {
        let text = format!(
            "A message may be held for at most {}",
            format_duration(FUTURE_MAX)
        );
        return Err(Reply::new(501, Some(EnhancedCode::new(5, 5, 4)), text));
    }
    let deliver_by = params.deliver_by.map(|by| DeliverBy {
        by: match by.seconds >= 0 {
            true => now + Duration::from_secs(by.seconds.unsigned_abs()),
            false => now - Duration::from_secs(by.seconds.unsigned_abs()),
        },
        mode: by.mode,
        trace: by.trace,
    });
    Ok(Terms {
        not_before: not_before.filter(|at| *at > now),
        deliver_by,
        priority: params.priority.unwrap_or_default(),
        require_tls: params.require_tls,
    })
}

fn only_reports() -> Reply {
    let text = "This SRS address accepts only bounces (MAIL FROM:<>): write to the original sender instead";
    Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), text)
}

fn named(id: QueueId, envelope: &Envelope) -> String {
    format!("mail {id} of sender <{}>", envelope.sender())
}
