//! One transaction: MAIL, RCPT, the content, and a verdict for each recipient.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::{BodyType, Outcome, Reply};
use smtp::command::{self, MailParams, RcptParams};
use smtp::dot_stuffing;
use smtp::extension::{Extension, Extensions, Limits};

use crate::fit;
use crate::judge::{Fate, Judgement, Stage, judge};
use crate::protocol::Protocol;
use crate::transaction::Transaction;
use crate::transcript::Transcript;

/// How the transaction ended for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The caller's number for it.
    pub number: u32,
    /// What the answer means.
    pub judgement: Judgement,
    /// The answer.
    pub reply: Reply,
    /// The content was handed over and no answer came.
    pub unknown_outcome: bool,
}

/// Content up to this size goes out with the envelope in one write where the host allows.
const ONE_WRITE_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
    /// By LMTP it stays expected until every recipient that was accepted has an answer.
    Content,
}

/// A transaction under way.
#[derive(Debug)]
pub(crate) struct Running {
    transaction: Transaction,
    protocol: Protocol,
    /// What is not yet sent, in order.
    to_send: VecDeque<Expect>,
    /// What is sent and not yet answered.
    expected: VecDeque<Expect>,
    ended: Vec<Option<Ended>>,
    accepted: usize,
    /// By LMTP: some recipient has its answer to the content.
    content_answered: bool,
    mail_accepted: bool,
    content: Content,
    pipelining: bool,
    /// The content goes by BDAT, not by DATA.
    by_bdat: bool,
}

/// How far the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Here,
    /// It has been handed to the shell.
    Leaving,
    /// Its last octet has been handed to the socket.
    Sent,
}

/// What a reply led to.
pub(crate) enum Progress {
    /// The transaction goes on.
    More(Box<Running>),
    /// It is over.
    Over {
        /// How, for each recipient.
        ended: Vec<Ended>,
        /// It was left without its content: the host may still have it open.
        dirty: bool,
    },
    /// The host offered CHUNKING and does not know BDAT; nothing is decided about those who were left.
    NoChunking(Vec<Ended>),
}

impl Running {
    pub(crate) fn new(
        transaction: Transaction,
        protocol: Protocol,
        host: &Extensions,
        rset: bool,
    ) -> Self {
        let n = transaction.recipients.len();
        let pipelining = host.has(Extension::Pipelining);
        let by_bdat = host.has(Extension::Chunking);
        let mut running = Self {
            transaction,
            protocol,
            to_send: VecDeque::with_capacity(n + 4),
            expected: VecDeque::with_capacity(n + 4),
            ended: vec![None; n],
            accepted: 0,
            content_answered: false,
            mail_accepted: false,
            content: Content::Here,
            pipelining,
            by_bdat,
        };
        if let Some(reply) = fit::refusal(&running.transaction, host, protocol) {
            running.end_all(Stage::Fit, &reply);
            return running;
        }
        for i in 0..n {
            let address = running
                .transaction
                .recipients
                .get(i)
                .map(|r| fit::address(&r.address, host, protocol));
            match address {
                Some(Ok(address)) => {
                    if let Some(r) = running.transaction.recipients.get_mut(i) {
                        r.address = address;
                    }
                }
                Some(Err(reply)) => running.end(i, Stage::Fit, &reply),
                None => {}
            }
        }
        let to_try: Vec<usize> = (0..n).filter(|i| running.is_open(*i)).collect();
        let max = running.together(&to_try, host.limits);
        if to_try.is_empty() {
            return running;
        }
        if rset {
            running.to_send.push_back(Expect::Rset);
        }
        running.to_send.push_back(Expect::Mail);
        for (place, i) in to_try.into_iter().enumerate() {
            if place < max {
                running.to_send.push_back(Expect::Rcpt(i));
            } else {
                // The host stated how many it takes: the others go in the next transaction.
                let why = "left for the next transaction: the host limits the number of recipients";
                running.end_again(i, why);
            }
        }
        if !by_bdat {
            running.to_send.push_back(Expect::Data);
        }
        running.to_send.push_back(Expect::Content);
        running
    }

    /// How many of these recipients the host takes in one transaction, as it has stated (RFC 9422
    /// §4.2, §4.3).
    fn together(&self, to_try: &[usize], limits: Limits) -> usize {
        let limit = |max: Option<u32>| max.map_or(usize::MAX, |max| max.max(1) as usize);
        let domains_max = limit(limits.recipient_domains_max);
        let mut domains = Vec::new();
        let fits = |i: &&usize| {
            let recipient = self.transaction.recipients.get(**i);
            let domain = recipient.map(|r| r.address.domain());
            if !domains.contains(&domain) {
                domains.push(domain);
            }
            domains.len() <= domains_max
        };
        let of_few_domains = match domains_max {
            usize::MAX => to_try.len(),
            _ => to_try.iter().take_while(fits).count(),
        };
        of_few_domains.min(limit(limits.recipients_max))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.to_send.is_empty() && self.expected.is_empty()
    }

    /// Whether the final answer is what is waited for.
    pub(crate) const fn content_is_sent(&self) -> bool {
        matches!(self.content, Content::Sent)
    }

    /// The content is on its way to the socket.
    pub(crate) const fn is_writing_content(&self) -> bool {
        matches!(self.content, Content::Leaving)
    }

    /// The content is on its way to the socket, and nothing else is waited for than its answer.
    pub(crate) fn is_in_content(&self) -> bool {
        self.is_writing_content() && self.expected.front() == Some(&Expect::Content)
    }

    /// All that was handed out has been given to the socket.
    pub(crate) const fn flushed(&mut self) {
        self.content = match self.content {
            Content::Here => Content::Here,
            Content::Leaving | Content::Sent => Content::Sent,
        };
    }

    pub(crate) fn content_len(&self) -> usize {
        self.transaction.content.len()
    }

    /// What the next answer is to, for the time-out.
    pub(crate) fn waits_for(&self) -> Option<Stage> {
        self.expected.front().map(|e| match e {
            Expect::Rset | Expect::Mail => Stage::Mail,
            Expect::Rcpt(_) => Stage::Rcpt {
                accepted: self.accepted,
            },
            Expect::Data => Stage::Data,
            Expect::Content => Stage::Content,
        })
    }

    /// Writes as much as the host allows now.
    pub(crate) fn send(
        &mut self,
        host: &Extensions,
        out: &mut VecDeque<Bytes>,
        log: &mut Transcript,
    ) {
        let mut commands = BytesMut::new();
        while let Some(next) = self.to_send.front().copied() {
            if !self.may_send(next) {
                break;
            }
            self.to_send.pop_front();
            match next {
                Expect::Rset => command::rset(&mut commands),
                Expect::Mail => {
                    if let Some(Ok(what)) = &self.transaction.conversion {
                        log.note(&format!("({what})"));
                    }
                    self.write_mail(host, &mut commands);
                }
                Expect::Rcpt(i) => self.write_rcpt(i, host, &mut commands),
                Expect::Data => command::data(&mut commands),
                Expect::Content => {
                    self.write_content(&mut commands, out, log);
                    self.content = Content::Leaving;
                }
            }
            self.expected.push_back(next);
        }
        if !commands.is_empty() {
            log.sent(&commands);
            out.push_back(commands.freeze());
        }
    }

    fn may_send(&self, next: Expect) -> bool {
        if self.expected.is_empty() {
            return true;
        }
        match next {
            Expect::Content => {
                // After DATA the 354 must be awaited; after BDAT nothing.
                self.pipelining && self.by_bdat && self.content_len() <= ONE_WRITE_MAX
            }
            Expect::Rset | Expect::Mail | Expect::Rcpt(_) | Expect::Data => self.pipelining,
        }
    }

    fn write_mail(&self, host: &Extensions, out: &mut BytesMut) {
        let t = &self.transaction;
        let sender = t.reverse_path.as_ref();
        let utf8 = t.utf8_header
            || sender.is_some_and(|a| !a.is_ascii())
            || t.recipients.iter().any(|r| !r.address.is_ascii());
        let sender =
            sender.map(|a| fit::address(a, host, self.protocol).unwrap_or_else(|_| a.clone()));
        let dsn = host.has(Extension::Dsn);
        let params = MailParams {
            size: host.has(Extension::Size).then_some(t.content.len() as u64),
            body: match t.body {
                BodyType::SevenBit => None,
                BodyType::EightBitMime => {
                    Some(BodyType::EightBitMime).filter(|_| host.has(Extension::EightBitMime))
                }
                BodyType::BinaryMime => Some(BodyType::BinaryMime),
            },
            smtputf8: utf8 && host.has(Extension::SmtpUtf8),
            ret: t.ret.filter(|_| dsn),
            env_id: t.env_id.clone().filter(|_| dsn),
            priority: t.priority.filter(|_| host.has(Extension::MtPriority)),
            deliver_by: t.deliver_by.filter(|by| {
                let left = u64::try_from(by.seconds).unwrap_or_default();
                fit::promises(host, Duration::from_secs(left))
            }),
            require_tls: t.require_tls,
            ..MailParams::default()
        };
        command::mail_from(out, sender.as_ref(), &params);
    }

    fn write_rcpt(&self, i: usize, host: &Extensions, out: &mut BytesMut) {
        let Some(r) = self.transaction.recipients.get(i) else {
            return;
        };
        let params = match host.has(Extension::Dsn) {
            true => RcptParams {
                notify: r.notify,
                orcpt: r.orcpt.clone(),
            },
            false => RcptParams::default(),
        };
        command::rcpt_to(out, &r.address, &params);
    }

    fn write_content(
        &self,
        commands: &mut BytesMut,
        out: &mut VecDeque<Bytes>,
        log: &mut Transcript,
    ) {
        let content = &self.transaction.content;
        if self.by_bdat {
            let content = match self.transaction.body {
                BodyType::SevenBit | BodyType::EightBitMime => dot_stuffing::canonical(content),
                BodyType::BinaryMime => content.clone(),
            };
            command::bdat(commands, content.len(), true);
            log.sent(commands);
            out.push_back(commands.split().freeze());
            out.push_back(content);
            return;
        }
        if self.accepted == 0 {
            // Everybody was refused, yet the host waits for content: it gets none.
            log.note(".");
            out.push_back(Bytes::from_static(b".\r\n"));
            return;
        }
        log.note(&format!("({} octets of content)", content.len()));
        out.extend(dot_stuffing::stuff(content));
    }

    /// A reply has come.
    pub(crate) fn answered(mut self: Box<Self>, reply: &Reply) -> Progress {
        match self.expected.pop_front() {
            None | Some(Expect::Rset) => {}
            Some(Expect::Mail) => {
                self.mail_accepted = reply.is_positive();
                if !self.mail_accepted {
                    self.end_all(Stage::Mail, reply);
                    self.skip_unsent();
                }
            }
            Some(Expect::Rcpt(i)) => {
                if reply.is_positive() {
                    self.accepted += 1;
                } else if self.is_open(i) {
                    self.end(
                        i,
                        Stage::Rcpt {
                            accepted: self.accepted,
                        },
                        reply,
                    );
                }
                let more = self
                    .expected
                    .iter()
                    .chain(&self.to_send)
                    .any(|e| matches!(e, Expect::Rcpt(_)));
                if self.accepted == 0 && !more {
                    self.skip_unsent();
                }
            }
            Some(Expect::Data) => {
                if reply.code != 354 {
                    self.end_all(Stage::Data, reply);
                    self.skip_unsent();
                }
            }
            Some(Expect::Content) if self.is_bdat_unknown(reply) => {
                for i in 0..self.ended.len() {
                    if self.is_open(i) {
                        self.end_again(i, "retried without CHUNKING");
                    }
                }
                return Progress::NoChunking(self.into_ended());
            }
            Some(Expect::Content) => match self.protocol {
                Protocol::Smtp => self.end_all(Stage::Content, reply),
                Protocol::Lmtp => self.end_next(reply),
            },
        }
        if !self.is_over() {
            return Progress::More(self);
        }
        Progress::Over {
            dirty: !self.content_is_sent(),
            ended: self.into_ended(),
        }
    }

    /// An answer to the content for the next recipient that was accepted, in the order of RCPT (RFC 2033 §4.2).
    fn end_next(&mut self, reply: &Reply) {
        self.content_answered = true;
        if let Some(next) = (0..self.ended.len()).find(|i| self.is_open(*i)) {
            self.end(next, Stage::Content, reply);
        }
        if self.ended.iter().any(Option::is_none) {
            self.expected.push_front(Expect::Content);
        }
    }

    /// Whether a host says that it does not know BDAT, though it took the recipients and offered CHUNKING.
    fn is_bdat_unknown(&self, reply: &Reply) -> bool {
        let is_about_bdat = self.by_bdat && self.accepted > 0 && !self.content_answered;
        is_about_bdat && matches!(reply.code, 500 | 502 | 503)
    }

    /// Nobody is left to send for: what is not on the wire yet is not sent.
    fn skip_unsent(&mut self) {
        if self.expected.contains(&Expect::Data) && self.to_send.contains(&Expect::Content) {
            // DATA is on the wire; if it is answered 354 the end must follow.
            self.to_send.retain(|e| *e == Expect::Content);
        } else {
            self.to_send.clear();
        }
    }

    /// The connection is gone, or useless: everybody without a verdict gets this one.
    pub(crate) fn aborted(mut self: Box<Self>, reply: &Reply) -> Vec<Ended> {
        // A host that says 421 before it has answered MAIL has taken nothing.
        let refused = reply.code == 421 && !self.mail_accepted;
        if self.content_is_sent() && !refused && self.accepted_or_pipelined() {
            for i in 0..self.ended.len() {
                if self.is_open(i) {
                    self.end(i, Stage::Content, reply);
                    if let Some(Some(ended)) = self.ended.get_mut(i) {
                        ended.unknown_outcome = true;
                    }
                }
            }
        } else {
            // Before the content nothing can have been delivered: the stage makes no difference.
            self.end_all(Stage::Data, reply);
        }
        self.into_ended()
    }

    fn accepted_or_pipelined(&self) -> bool {
        self.accepted > 0
            || self
                .expected
                .iter()
                .any(|e| matches!(e, Expect::Rcpt(_) | Expect::Mail))
    }

    fn is_open(&self, i: usize) -> bool {
        self.ended.get(i).is_some_and(Option::is_none)
    }

    fn end_all(&mut self, stage: Stage, reply: &Reply) {
        for i in 0..self.ended.len() {
            if self.is_open(i) {
                self.end(i, stage, reply);
            }
        }
    }

    fn end(&mut self, i: usize, stage: Stage, reply: &Reply) {
        self.end_as(i, judge(stage, reply), reply.clone());
    }

    fn end_again(&mut self, i: usize, why: &str) {
        let judgement = Judgement {
            class: mail::Class::Recipient,
            outcome: Outcome::Deferred,
            fate: Fate::Again,
        };
        self.end_as(i, judgement, Reply::new(452, None, why));
    }

    fn end_as(&mut self, i: usize, judgement: Judgement, reply: Reply) {
        let Some(recipient) = self.transaction.recipients.get(i) else {
            return;
        };
        let ended = Ended {
            number: recipient.number,
            judgement,
            reply,
            unknown_outcome: false,
        };
        if let Some(place) = self.ended.get_mut(i) {
            *place = Some(ended);
        }
    }

    pub(crate) fn into_ended(self) -> Vec<Ended> {
        self.ended.into_iter().flatten().collect()
    }
}
