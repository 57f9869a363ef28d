//! The answers to what the protocol asks: who may send, where to, and whether a mail is taken.

use mail::{
    EnhancedCode, Envelope, Message, QueueId, Recipient, Reply, Submitter, Terms, Timestamp,
};
use smtp::command::{ForwardPath, RcptTo};
use smtp::data::ContentError;
use smtp::server::{
    Ask, AskAuth, AskContent, AskMail, AskRcpt, AskStartTls, ReceivedContent, Step,
};

use super::{Phase, Session};
use crate::decision::{too_many_recipients, weigh};
use crate::policy::Auth;
use crate::received::{self, Arrival};
use crate::relaying::{Standing, judge, log_in_first};
use crate::{Event, Request};

impl Session {
    /// Answers a question, or hands it on to the shell and answers `None`.
    pub(super) fn decide(&mut self, now: Timestamp, ask: Ask, behind: bool) -> Option<Step> {
        match ask {
            Ask::Mail(ask) => Some(self.mail(ask)),
            Ask::Rcpt(ask) => Some(self.rcpt(ask)),
            Ask::Content(ask) => Some(self.content(now, ask)),
            Ask::Received(received) => self.received(now, received),
            Ask::Auth(ask) => Some(self.auth(ask)),
            Ask::Login(ask) => {
                let login = ask.login.clone();
                self.requests.push_back(Request::CheckPassword(login));
                self.phase = Phase::Checking(ask);
                None
            }
            Ask::StartTls(ask) => self.start_tls(now, ask, behind),
        }
    }

    fn mail(&mut self, ask: AskMail) -> Step {
        let limit = self.policy.limits.message_size;
        let declared = ask.from.params.size.unwrap_or_default();
        let reply = if self.standing() == Standing::MustLogIn {
            log_in_first(self.client.tls)
        } else if declared > limit {
            ContentError::TooLarge(limit).reply()
        } else {
            let params = &ask.from.params;
            let envelope = Envelope {
                reverse_path: ask.from.reverse_path.clone(),
                recipients: Vec::new(),
                body_type: params.body.unwrap_or_default(),
                smtputf8: params.smtputf8,
                ret: params.ret,
                env_id: params.env_id.clone(),
                terms: Terms::default(),
                submitter: Submitter {
                    user: self.client.user.clone(),
                    peer: Some(self.client.peer),
                    via: "smtp".to_owned(),
                },
            };
            return ask.accept(envelope);
        };
        let sender = ask.from.reverse_path.as_ref();
        let sender = sender.map_or_else(|| "<>".to_owned(), ToString::to_string);
        self.refused(format!("sender {sender}"), &reply);
        ask.refuse(reply)
    }

    fn rcpt(&mut self, ask: AskRcpt) -> Step {
        let so_far = &ask.envelope().recipients;
        let is_full = so_far.len() >= self.policy.limits.recipients;
        let taken = self.recipient(&ask.to).and_then(|recipient| {
            let is_new = || so_far.iter().all(|r| r.address != recipient.address);
            match is_full && is_new() {
                true => Err(too_many_recipients()),
                false => Ok(recipient),
            }
        });
        match taken {
            Ok(recipient) => ask.accept(recipient),
            Err(reply) => {
                let given = match &ask.to.forward_path {
                    ForwardPath::Address(address) => address.to_string(),
                    ForwardPath::Postmaster => "postmaster".to_owned(),
                };
                self.refused(format!("recipient {given}"), &reply);
                ask.refuse(reply)
            }
        }
    }

    /// The recipient that RCPT names, after rewriting. Whether the client may send there is judged
    /// before.
    fn recipient(&self, to: &RcptTo) -> Result<Recipient, Reply> {
        let given = match &to.forward_path {
            ForwardPath::Address(address) => address,
            ForwardPath::Postmaster => &self.policy.postmaster,
        };
        let is_local = self.policy.local.contains(given.domain());
        judge(self.standing(), is_local, self.can_log_in())?;
        Ok(Recipient {
            orcpt: to.params.orcpt.clone(),
            notify: to.params.notify,
            ..self.policy.addressed(given)?
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
        let field = received::field(arrival, &ask.envelope, id, now);
        ask.begin(id, self.policy.content_rules(), field)
    }

    fn received(&mut self, now: Timestamp, received: ReceivedContent) -> Option<Step> {
        let (answer, mut envelope, id, content) = received.split();
        let fix_ups = self.listener.fix_ups;
        match weigh(&self.policy, &mut envelope, content, fix_ups, id, now) {
            Ok(content) => {
                let message = Message {
                    id,
                    accepted: now,
                    envelope,
                    content,
                };
                self.requests.push_back(Request::Accept(Box::new(message)));
                self.phase = Phase::Saving(answer, id);
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
            Some((503, EnhancedCode::new(5, 5, 1), "You are logged in already"))
        } else if self.listener.auth == Auth::None || !self.can_log_in() {
            Some((
                502,
                EnhancedCode::new(5, 5, 1),
                "There is no logging in here",
            ))
        } else if !self.client.tls {
            let text = "Logging in needs TLS: say STARTTLS first";
            Some((538, EnhancedCode::new(5, 7, 11), text))
        } else {
            None
        };
        match refusal {
            Some((code, enhanced, text)) => ask.refuse(Reply::new(code, Some(enhanced), text)),
            None => ask.begin(),
        }
    }

    fn start_tls(&mut self, now: Timestamp, ask: AskStartTls, behind: bool) -> Option<Step> {
        if !self.can_start_tls() {
            let text = match self.client.tls {
                true => "TLS is on already",
                false => "There is no TLS here",
            };
            let enhanced = EnhancedCode::new(5, 5, 1);
            return Some(ask.refuse(Reply::new(503, Some(enhanced), text)));
        }
        if behind {
            self.events.push_back(Event::InjectedBehindStartTls);
            let text = "Nothing may be sent behind STARTTLS before TLS is on";
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

fn named(id: QueueId, envelope: &Envelope) -> String {
    format!("mail {id} of sender <{}>", envelope.sender())
}
