//! One attempt: the recipients of one message at one next hop, host after host.

use std::net::IpAddr;

use mail::{Class, EnhancedCode, Outcome, PeerHost, Reply, Timestamp, TlsUsed, Verdict};

use crate::failure::Failure;
use crate::judge::{Fate, Judgement};
use crate::running::Ended;
use crate::way::Way;

/// Octets of a reply's text that are kept.
const REPLY_MAX: usize = 2048;
/// How often a host is tried from elsewhere: a host that does not want us is not to be pestered.
const DETOURS_MAX: u8 = 3;
/// Addresses of one host that are given up in one attempt before the next host comes: more would take
/// longer than they are worth where all of them hang.
const ADDRESSES_MAX: u8 = 3;

/// Which addresses of a host are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// All, raced.
    Any,
    /// IPv4 only: over IPv6 we were refused.
    V4,
    /// IPv6 only.
    V6,
}

/// What is tried next: a host and which of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The host's place in the list of the next hop.
    pub host: usize,
    /// Its addresses.
    pub family: Family,
    /// How it is protected.
    pub way: Way,
    /// How many of our own addresses were refused there for their reputation: the next one is used.
    pub source: u8,
    /// How many of its addresses were given up: one that is left is used.
    pub given_up: u8,
}

/// From where else, or where else, a host could be tried: one that refuses us for our reputation, or
/// whose connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Elsewhere {
    /// Over the other address family.
    pub family: bool,
    /// From the next address of ours.
    pub source: bool,
    /// At another address of the host, of those that the candidate may use.
    pub address: bool,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try these recipients (by number) there.
    Try(Candidate, Vec<u32>),
    /// The attempt is over.
    Over,
}

/// How far an attempt may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptSettings {
    /// How many hosts the next hop has.
    pub hosts: usize,
    /// At most so many of them are connected to.
    pub hosts_max: usize,
    /// The first host that accepts the connection is the only one (`first_mx_only`).
    pub first_only: bool,
    /// Every host greeting with 5yz is a failure (`on_5xx_greeting = "fail"`).
    pub fail_on_5xx_greeting: bool,
}

/// A recipient's end of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientEnd {
    /// The caller's number for it.
    pub number: u32,
    /// Its verdict; the shell adds the timing.
    pub verdict: Verdict,
}

/// Why a host was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It may be of use later.
    Passing,
    /// The fault is ours, who named it.
    Ours,
    /// DNS says that it has no address.
    NoAddress,
}

/// No host of the next hop could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHost {
    /// The verdict for every recipient.
    pub verdict: Verdict,
    /// The fault is ours, and not the hosts'.
    pub ours: bool,
}

#[derive(Debug)]
struct Open {
    number: u32,
    /// The verdict unless another host gives a better one.
    so_far: Option<Verdict>,
    /// The host where it is tried next.
    host: usize,
    /// Which addresses of that host are left to it.
    family: Family,
    /// How many addresses of ours that host has refused.
    source: u8,
    /// How often that host was tried from elsewhere.
    detours: u8,
    /// How many addresses of that host were given up.
    given_up: u8,
}

impl Open {
    const fn turn_to(&mut self, host: usize) {
        self.host = host;
        self.family = Family::Any;
        self.source = 0;
        self.detours = 0;
        self.given_up = 0;
    }

    /// Turns to another address of the same host; false: it has no other, or enough were tried.
    const fn next_address(&mut self, there_is: bool) -> bool {
        let goes = there_is && self.given_up < ADDRESSES_MAX;
        self.given_up += goes as u8;
        goes
    }

    /// Turns to the same host from elsewhere; false: from nowhere else.
    fn detour(&mut self, elsewhere: Elsewhere, used: Option<IpAddr>) -> bool {
        let Some(used) = used.filter(|_| self.detours < DETOURS_MAX) else {
            return false;
        };
        if elsewhere.family && self.family == Family::Any {
            self.family = match used.is_ipv6() {
                true => Family::V4,
                false => Family::V6,
            };
        } else if elsewhere.source {
            self.family = Family::Any;
            self.source += 1;
        } else {
            return false;
        }
        self.detours += 1;
        true
    }
}

/// One try for the recipients of one message.
#[derive(Debug)]
pub struct Attempt {
    settings: AttemptSettings,
    host: usize,
    way: Way,
    open: Vec<Open>,
    ended: Vec<RecipientEnd>,
    /// Some host got through its greeting.
    greeted: bool,
    failure: Option<NoHost>,
    greetings_5xx: usize,
    failures: usize,
    /// Hosts that have no address.
    addressless: usize,
}

impl Attempt {
    /// An attempt for these recipients.
    #[must_use]
    pub fn new(settings: AttemptSettings, recipients: impl IntoIterator<Item = u32>) -> Self {
        let open = |number| Open {
            number,
            so_far: None,
            host: 0,
            family: Family::Any,
            source: 0,
            detours: 0,
            given_up: 0,
        };
        Self {
            settings,
            host: 0,
            way: Way::Usual,
            open: recipients.into_iter().map(open).collect(),
            ended: Vec::new(),
            greeted: false,
            failure: None,
            greetings_5xx: 0,
            failures: 0,
            addressless: 0,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        let mut here = self.open.iter().filter(|o| o.host == self.host);
        let of = |o: &Open| (o.family, o.source, o.given_up);
        let Some((family, source, given_up)) = here.clone().map(of).next() else {
            return Next::Over;
        };
        if self.is_tried_out() {
            return Next::Over;
        }
        let candidate = Candidate {
            host: self.host,
            family,
            way: self.way,
            source,
            given_up,
        };
        let numbers = here
            .by_ref()
            .filter(|o| of(o) == (family, source, given_up))
            .map(|o| o.number);
        Next::Try(candidate, numbers.collect())
    }

    fn is_tried_out(&self) -> bool {
        self.host >= self.settings.hosts.min(self.settings.hosts_max)
    }

    /// The host, or connecting to it, failed before a transaction. `more`: it has another address that
    /// was not tried yet, which comes before the next host.
    pub fn failed(&mut self, failure: &Failure, host: PeerHost, more: bool, at: Timestamp) {
        if let Some(way) = failure.retry.filter(|way| *way > self.way) {
            self.way = way;
            return;
        }
        let judgement = failure.judgement();
        self.failures += 1;
        if failure.stage == crate::Stage::Greeting && failure.reply.is_permanent() {
            self.greetings_5xx += 1;
        }
        let verdict = Verdict {
            host: Some(host),
            tls: if self.way == Way::Clear {
                TlsUsed::FellBack
            } else {
                failure.tls
            },
            ..Verdict::own(
                judgement.outcome,
                judgement.class,
                failure.reply.clone().shortened(REPLY_MAX),
                at,
            )
        };
        self.leave_host(&verdict, more && judgement.fate != Fate::Stands);
        self.way = Way::Usual;
        if failure.stage == crate::Stage::Policy {
            // The host works; it is this mail that may not go there.
            self.greeted = true;
        } else {
            self.failure = Some(NoHost {
                verdict,
                ours: failure.ours,
            });
        }
        if judgement.fate == Fate::Stands {
            self.end_all();
        }
        self.advance();
    }

    /// No address of the host was of use: it is passed over, and does not count as tried. Where no host of the
    /// next hop has an address, that is final, as it is for a domain that does not exist.
    pub fn skipped(&mut self, reply: &Reply, host: PeerHost, why: Skip, at: Timestamp) {
        self.addressless += usize::from(why == Skip::NoAddress);
        if self.addressless == self.settings.hosts {
            let text = reply.text.clone();
            let code = EnhancedCode::new(5, 4, 4);
            let verdict = Verdict {
                host: Some(host),
                ..Verdict::own(Outcome::Failed, Class::Dns, Reply::own(code, text), at)
            };
            for open in &mut self.open {
                open.so_far = Some(verdict.clone());
            }
            return self.end_all();
        }
        let verdict = Verdict {
            host: Some(host),
            ..Verdict::own(Outcome::Deferred, Class::Host, reply.clone(), at)
        };
        self.leave_host(&verdict, false);
        let ours = why == Skip::Ours;
        self.failure.get_or_insert(NoHost { verdict, ours });
        self.failures += 1;
        self.settings.hosts_max = self.settings.hosts_max.saturating_add(1);
        self.advance();
    }

    /// The host is not connected to, because a policy rules it out for this mail.
    pub fn withheld(&mut self, reply: &Reply, host: PeerHost, at: Timestamp) {
        let failure = Failure {
            tls: TlsUsed::None,
            stage: crate::Stage::Policy,
            reply: reply.clone(),
            retry: None,
            ours: false,
        };
        self.settings.hosts_max = self.settings.hosts_max.saturating_add(1);
        self.failed(&failure, host, false, at);
    }

    /// The host is this server: it is cut off with all after it (RFC 5321 §5.1). Who was not
    /// deferred by a better host is in a loop.
    pub fn ourselves(&mut self, reply: &Reply, host: PeerHost, at: Timestamp) {
        let verdict = Verdict {
            host: Some(host),
            ..Verdict::own(Outcome::Failed, Class::Policy, reply.clone(), at)
        };
        self.leave_host(&verdict, false);
        self.end_all();
    }

    /// Everybody at the current host goes on to its next address, or else to the next host.
    fn leave_host(&mut self, verdict: &Verdict, more: bool) {
        for open in self.open.iter_mut().filter(|o| o.host == self.host) {
            // What a host said of the recipient weighs more than that another was not there; but
            // a host that a policy rules out for good does not speak for one that may come back.
            let ruled_out = |v: &Verdict| v.class == Class::Policy && v.outcome == Outcome::Failed;
            let may_come_back = verdict.outcome == Outcome::Deferred;
            if open
                .so_far
                .as_ref()
                .is_none_or(|v| ruled_out(v) && may_come_back)
            {
                open.so_far = Some(verdict.clone());
            }
            if !open.next_address(more) {
                open.turn_to(open.host + 1);
            }
        }
    }

    /// The host greeted: from here on it is a working host.
    pub const fn greeted(&mut self) {
        self.greeted = true;
    }

    /// A transaction ended at the current host. `elsewhere` says from where else it could be tried.
    pub fn transacted(
        &mut self,
        ended: Vec<Ended>,
        host: &PeerHost,
        tls: TlsUsed,
        elsewhere: Elsewhere,
        at: Timestamp,
    ) {
        let used = host.address.map(|a| a.ip());
        for end in ended {
            let Judgement {
                class,
                outcome,
                fate,
            } = end.judgement;
            let number = end.number;
            let Some(place) = self.open.iter().position(|o| o.number == number) else {
                continue;
            };
            let verdict = Verdict {
                host: Some(host.clone()),
                tls,
                unknown_outcome: end.unknown_outcome,
                ..Verdict::own(outcome, class, end.reply.shortened(REPLY_MAX), at)
            };
            let Some(open) = self.open.get_mut(place) else {
                continue;
            };
            match fate {
                Fate::Again => {}
                // What ended the session says nothing about the host's other addresses.
                Fate::NextHost
                    if (class == Class::Host || verdict.reply.code == 421)
                        && open.next_address(elsewhere.address) =>
                {
                    open.so_far = Some(verdict);
                }
                Fate::NextHost if !self.settings.first_only => {
                    open.so_far = Some(verdict);
                    open.turn_to(open.host + 1);
                }
                Fate::OtherFamily if open.detour(elsewhere, used) => {
                    open.so_far = Some(verdict);
                }
                Fate::Stands | Fate::NextHost | Fate::OtherFamily => {
                    self.open.swap_remove(place);
                    self.ended.push(RecipientEnd { number, verdict });
                }
            }
        }
        // Those for whom this connection still serves come first.
        self.open
            .sort_by_key(|o| (o.given_up, o.source, o.family != Family::Any, o.number));
        self.advance();
    }

    /// Goes on to the next host when nobody is left to try at this one.
    fn advance(&mut self) {
        while !self.open.is_empty() && !self.open.iter().any(|o| o.host == self.host) {
            if self.is_tried_out() || self.settings.first_only && self.greeted {
                return self.end_all();
            }
            self.host += 1;
            self.way = Way::Usual;
        }
        if self.is_tried_out() {
            self.end_all();
        }
    }

    fn end_all(&mut self) {
        // A host that greeted otherwise has the last word.
        let fail = self.settings.fail_on_5xx_greeting
            && !self.greeted
            && self.failures > 0
            && self.greetings_5xx == self.failures;
        for open in std::mem::take(&mut self.open) {
            let Some(mut verdict) = open.so_far else {
                continue;
            };
            if fail {
                verdict.outcome = Outcome::Failed;
            }
            self.ended.push(RecipientEnd {
                number: open.number,
                verdict,
            });
        }
    }

    /// Every recipient's end, and the failure of the whole site where no host could be used: then
    /// no recipient has a verdict of its own, and the site's counts for all.
    #[must_use]
    pub fn into_ends(mut self, at: Timestamp) -> (Vec<RecipientEnd>, Option<NoHost>) {
        if self.settings.hosts == 0 {
            let text = "no host of the next hop can be tried";
            let reply = Reply::own(EnhancedCode::new(4, 4, 4), text);
            let verdict = Verdict::own(Outcome::Deferred, Class::Dns, reply, at);
            self.failure = Some(NoHost {
                verdict,
                ours: false,
            });
        }
        let failed = self.failure.as_ref().map(|failure| &failure.verdict);
        for open in &mut self.open {
            if open.so_far.is_none() {
                open.so_far = failed.cloned();
            }
        }
        self.end_all();
        let final_ends = self.ended.iter().any(|e| e.verdict.outcome.is_final());
        match self.failure {
            Some(failure) if !self.greeted && !final_ends => (Vec::new(), Some(failure)),
            _ => (self.ended, None),
        }
    }
}
