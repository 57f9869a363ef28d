//! One attempt under way, and what came of those of a batch.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use deliver::{
    Attempt, AttemptSettings, Candidate, Elsewhere, Ended, Failure, Family, NoHost, RecipientEnd,
    Stage, Way,
};
use mail::{
    ByMode, DeliverBy, EnhancedCode, Message, Outcome, PeerHost, QueueId, RecipientKey, Reply,
    Timestamp, TlsUsed, Verdict,
};
use net::DnsFinding;
use node::Settings;
use node::hop::Hop;
use protection::Protection;
use protection::tls_policy::{By, Context, RuledOut, Wanted, wanted};
use route::Host;
use schedule::{Attempted, OurWait};
use smtp::extension::{Extension, Extensions};
use sources::leaving::{Later, Leaving, Reached, Unreached};
use world::Clock;

use crate::reach::{a_loop, is_own};

/// Hosts connected to in one attempt at the most.
const HOSTS_MAX: usize = 5;

/// One attempt under way.
pub(crate) struct Tried {
    clock: Clock,
    pub(crate) attempt: Attempt,
    pub(crate) hosts: Vec<Host>,
    pub(crate) context: Context,
    /// Hosts that did not serve.
    pub(crate) down: Vec<String>,
    pub(crate) numbers: Vec<u32>,
    pub(crate) connecting: Duration,
    /// A session was opened.
    pub(crate) opened: bool,
    pub(crate) transcript: String,
    /// Recipients delivered at a host that took their reports over.
    pub(crate) reports_taken: Vec<u32>,
    /// Recipients of which it is to be told that their mail was passed on (RFC 2852).
    pub(crate) passed_on: Vec<u32>,
    /// From where they are sent.
    pub(crate) leaving: Leaving,
    /// Addresses of the current host that were given up after they had been connected to.
    given_up: (usize, Vec<IpAddr>),
    /// The address at which another way is tried.
    same: Option<IpAddr>,
    /// They are kept here.
    kept: Option<Kept>,
}

/// What a sender hears of a mail that a host has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reports {
    /// The host reports itself (RFC 3461).
    taken: bool,
    /// That it was passed on (RFC 2852).
    passed_on: bool,
}

impl Reports {
    /// Of a host that offers this, as of `now`.
    pub(crate) fn of(offered: &Extensions, message: &Message, now: Timestamp) -> Self {
        let is_told = |by: DeliverBy| {
            let promised = deliver::promises(offered, by.by.since(now));
            by.trace || by.mode == ByMode::Notify && !promised
        };
        Self {
            taken: offered.has(Extension::Dsn),
            passed_on: message.envelope.terms.deliver_by.is_some_and(is_told),
        }
    }
}

/// Why recipients wait for us, and for what; nobody is charged.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) reply: Reply,
    pub(crate) wait: OurWait,
}

impl From<Later> for Kept {
    fn from(later: Later) -> Self {
        Self {
            reply: later.reply(),
            wait: OurWait::Limit(later.until),
        }
    }
}

/// Those of the family that a candidate may use.
fn of_family(candidate: Candidate, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let is_of = move |ip: &IpAddr| match candidate.family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    addresses.iter().copied().filter(is_of)
}

/// Its address, without the port.
pub(crate) fn ip_of(host: &PeerHost) -> Option<IpAddr> {
    host.address.map(|address| address.ip())
}

/// What came of the attempts of a batch.
#[derive(Default)]
pub(crate) struct Came {
    ends: Vec<RecipientEnd>,
    /// Recipients for whom no host could be used, with the reason.
    unreached: Vec<(Vec<u32>, NoHost)>,
    /// Recipients who are kept here.
    kept: Vec<(Vec<u32>, Kept)>,
    pub(crate) connecting: Duration,
    /// A session was opened.
    pub(crate) opened: bool,
    pub(crate) transcript: String,
    pub(crate) reports_taken: Vec<u32>,
    /// Recipients of which it is to be told that their mail was passed on (RFC 2852).
    pub(crate) passed_on: Vec<u32>,
    /// The sources that recipients were tried from last.
    pub(crate) sources: Vec<(u32, Arc<str>)>,
}

impl Came {
    pub(crate) fn add(&mut self, tried: Tried) {
        let (mut ends, mut site_failure) = tried.attempt.into_ends(tried.clock.now());
        if let Some(kept) = tried.kept {
            // Who has an answer of a host has it; the others were kept here.
            let is_kept = |verdict: &Verdict| verdict.reply == kept.reply;
            let numbers = match site_failure.take_if(|failure| is_kept(&failure.verdict)) {
                Some(_) => tried.numbers.clone(),
                None => ends
                    .extract_if(.., |e| is_kept(&e.verdict))
                    .map(|e| e.number)
                    .collect(),
            };
            self.keep(kept, numbers);
        }
        self.ends.extend(ends);
        self.unreached
            .extend(site_failure.map(|failure| (tried.numbers, failure)));
        self.connecting += tried.connecting;
        self.opened |= tried.opened;
        self.transcript.push_str(&tried.transcript);
        self.reports_taken.extend(tried.reports_taken);
        self.passed_on.extend(tried.passed_on);
        self.sources.extend(tried.leaving.used);
    }

    /// These recipients are kept here.
    pub(crate) fn keep(&mut self, kept: Kept, numbers: Vec<u32>) {
        self.transcript.push_str(&format!("! {}\n", kept.reply));
        self.kept.push((numbers, kept));
    }

    /// Who is kept here, and until when.
    pub(crate) fn kept(&mut self) -> Vec<(Vec<u32>, Kept)> {
        std::mem::take(&mut self.kept)
    }

    /// The recipients' ends; or, where nobody has one, the failure of the site.
    pub(crate) fn settled(&mut self) -> (Vec<RecipientEnd>, Option<NoHost>) {
        let mut ends = std::mem::take(&mut self.ends);
        let mut unreached = std::mem::take(&mut self.unreached);
        if ends.is_empty() {
            return (ends, unreached.pop().map(|(_, failure)| failure));
        }
        for (numbers, failure) in unreached {
            ends.extend(numbers.into_iter().map(|number| RecipientEnd {
                number,
                verdict: failure.verdict.clone(),
            }));
        }
        (ends, None)
    }
}

impl Tried {
    pub(crate) fn new(
        clock: &Clock,
        settings: &Settings,
        hosts: Vec<Host>,
        context: Context,
        numbers: Vec<u32>,
    ) -> Self {
        let attempt = AttemptSettings {
            hosts: hosts.len(),
            hosts_max: HOSTS_MAX,
            first_only: settings.config.outgoing.first_mx_only,
            fail_on_5xx_greeting: settings.config.outgoing.fail_on_5xx_greeting,
        };
        Self {
            clock: clock.clone(),
            attempt: Attempt::new(attempt, numbers.iter().copied()),
            hosts,
            context,
            down: Vec::new(),
            numbers,
            connecting: Duration::ZERO,
            opened: false,
            transcript: String::new(),
            reports_taken: Vec::new(),
            passed_on: Vec::new(),
            leaving: Leaving::default(),
            given_up: (0, Vec::new()),
            same: None,
            kept: None,
        }
    }

    /// Those of a host's addresses that a candidate may use.
    pub(crate) fn left(&self, candidate: Candidate, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let left = |ip: &IpAddr| !self.was_given_up(candidate, Some(*ip));
        of_family(candidate, addresses).filter(left).collect()
    }

    /// Where a candidate is connected to.
    pub(crate) fn to(&self, candidate: Candidate, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let left = self.left(candidate, addresses);
        let same = self.same.filter(|_| candidate.way != Way::Usual);
        match same.filter(|ip| left.contains(ip)) {
            Some(same) => vec![same],
            // DNS says something else than a moment before.
            None if left.is_empty() => of_family(candidate, addresses).collect(),
            None => left,
        }
    }

    /// Whether a host has another address that a candidate may use.
    pub(crate) fn has_other(
        &self,
        candidate: Candidate,
        addresses: &[IpAddr],
        ip: Option<IpAddr>,
    ) -> bool {
        let left = self.left(candidate, addresses);
        left.iter().any(|other| Some(*other) != ip)
    }

    /// Whether an address is one of those that a candidate has given up.
    pub(crate) fn was_given_up(&self, candidate: Candidate, ip: Option<IpAddr>) -> bool {
        let (host, given_up) = &self.given_up;
        let mut given_up = given_up.iter().take(candidate.given_up.into());
        *host == candidate.host && given_up.any(|other| Some(*other) == ip)
    }

    /// A host that was connected to, and has these addresses, failed before there was a verdict.
    pub(crate) fn failed(
        &mut self,
        failure: &Failure,
        candidate: Candidate,
        peer: PeerHost,
        addresses: &[IpAddr],
    ) {
        let ip = ip_of(&peer);
        let more = self.has_other(candidate, addresses, ip);
        self.give_up(candidate, ip);
        self.same = ip;
        if !more && failure.stage != Stage::Policy && failure.retry.is_none() {
            self.down.push(peer.name.clone());
        }
        self.attempt.failed(failure, peer, more, self.clock.now());
    }

    /// A host has answered for these recipients.
    pub(crate) fn taken(&mut self, reports: Reports, ended: &[Ended]) {
        let delivered = ended
            .iter()
            .filter(|e| e.judgement.outcome == Outcome::Delivered)
            .map(|e| e.number);
        if reports.passed_on {
            self.passed_on.extend(delivered.clone());
        }
        if reports.taken {
            self.reports_taken.extend(delivered);
        }
    }

    /// A transaction ended at a host; `elsewhere` says from where else it could be tried.
    pub(crate) fn transacted(
        &mut self,
        ended: Vec<Ended>,
        host: &PeerHost,
        tls: TlsUsed,
        elsewhere: Elsewhere,
    ) {
        let now = self.clock.now();
        self.attempt.transacted(ended, host, tls, elsewhere, now);
    }

    /// A candidate has no use for an address any more.
    pub(crate) fn give_up(&mut self, candidate: Candidate, ip: Option<IpAddr>) {
        if self.given_up.0 != candidate.host {
            self.given_up = (candidate.host, Vec::new());
        }
        let given_up = &mut self.given_up.1;
        if let Some(ip) = ip {
            // Those that the candidate has given up already stand before it.
            let place = given_up.len().min(candidate.given_up.into());
            given_up.insert(place, ip);
        }
    }

    /// How these recipients want a host to be talked to.
    pub(crate) async fn wanted(
        &self,
        protection: &Protection,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        found: Option<&DnsFinding<IpAddr>>,
    ) -> Result<Wanted, RuledOut> {
        let wanted = wanted(settings, &hop.next, hop.tls, &self.context, host, found).await?;
        let domain = match wanted.by {
            By::Dane | By::Sts => self.context.domain.as_ref(),
            By::Settings | By::RequireTls => None,
        };
        let failed = domain.and_then(|domain| {
            let tls = &protection.policies;
            tls.just_failed(&domain.domain, host.name.as_str(), self.clock.now())
        });
        match failed {
            Some(reply) => Err(RuledOut {
                reply,
                by: wanted.by,
                known: true,
            }),
            None => Ok(wanted),
        }
    }

    /// The connection, where it can be used; the attempt is told what is wrong otherwise.
    pub(crate) fn reached(
        &mut self,
        settings: &Settings,
        hop: &Hop,
        host: &Host,
        peer: &PeerHost,
        reached: Result<Reached, Unreached>,
    ) -> Option<Reached> {
        match reached {
            Ok(reached)
                if !hop.next.configured
                    && is_own(settings, &reached.tcp, reached.source.as_deref()) =>
            {
                let address = None;
                let name = peer.name.clone();
                self.led_here(host, PeerHost { name, address });
            }
            Ok(reached) => return Some(reached),
            Err(Unreached::Host(_, why)) => self.unreachable(peer.clone(), why),
            Err(Unreached::Ours(why, until)) => {
                let reply = Reply::own(EnhancedCode::new(4, 3, 5), why);
                self.note(peer, &reply);
                self.attempt
                    .withheld(&reply, peer.clone(), self.clock.now());
                let wait = until.map(OurWait::Fault);
                self.kept = wait
                    .map(|wait| Kept { reply, wait })
                    .or_else(|| self.kept.take());
            }
            Err(Unreached::Later(later)) => {
                let kept = Kept::from(later);
                self.attempt
                    .withheld(&kept.reply, peer.clone(), self.clock.now());
                self.kept = Some(kept);
            }
        }
        None
    }

    /// The host is this server.
    pub(crate) fn led_here(&mut self, host: &Host, peer: PeerHost) {
        let reply = a_loop(host);
        self.note(&peer, &reply);
        self.attempt.ourselves(&reply, peer, self.clock.now());
    }

    pub(crate) fn unreachable(&mut self, peer: PeerHost, why: String) {
        let reply = Reply::own(deliver::NO_ANSWER, why);
        self.note(&peer, &reply);
        let failure = Failure {
            tls: TlsUsed::None,
            stage: Stage::Connect,
            reply,
            retry: None,
            ours: false,
        };
        self.down.push(peer.name.clone());
        // All of its addresses were tried.
        self.attempt.failed(&failure, peer, false, self.clock.now());
    }

    pub(crate) fn note(&mut self, peer: &PeerHost, reply: &Reply) {
        self.transcript.push_str(&format!("= {peer}\n! {reply}\n"));
    }
}

/// Those who wait for us, as of `now`.
pub(crate) fn waits(
    id: QueueId,
    kept: Vec<(Vec<u32>, Kept)>,
    now: Timestamp,
) -> impl Iterator<Item = Attempted> {
    kept.into_iter().flat_map(move |(numbers, kept)| {
        let class = mail::Class::Policy;
        let verdict = Verdict::own(Outcome::Deferred, class, kept.reply, now);
        let attempted = move |recipient| Attempted {
            key: RecipientKey { id, recipient },
            verdict: verdict.clone(),
            retry_after: None,
            plan: None,
            ours: Some(kept.wait),
        };
        numbers.into_iter().map(attempted)
    })
}
