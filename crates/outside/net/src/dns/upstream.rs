//! The servers of one origin (given, or found on this computer), asked with DNSSEC validation where
//! they pass signatures on, and without where they do not.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

use super::chain::{Chain, Provider};
use super::{DnsSettings, Dnssec, LookupError, ResolverError, Security};

/// Answers kept in memory.
const CACHE_ENTRIES: u64 = 20_000;
/// Answers are asked again at the latest after this time, whatever their TTL says.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// Negative answers are kept this long at the most, and when they do not say how long.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);
const NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// Servers that strip signatures are looked at anew after this time.
const STRIPS_FOR: Duration = Duration::from_secs(600);
/// Servers that have passed signatures on are believed to strip them after this time without: a
/// single forged answer must not switch validation off.
const DOUBTED_FOR: Duration = Duration::from_secs(600);
/// Servers that say nothing of use are not asked about DNSSEC again before this time is over.
const SILENT_FOR: Duration = Duration::from_secs(20);
/// Servers that answer, but have never said anything of use about the root's keys, are used without
/// validation after this time: in a network of its own there may be no root, and its mail must not wait.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// What the servers said, with how far it can be trusted.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) records: Vec<Record>,
    pub(super) outcome: Outcome,
    pub(super) security: Security,
    pub(super) valid_until: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    NoData,
    NxDomain,
    Failed(LookupError),
    /// There is an answer, which is not used yet: nobody else is asked instead. In so many seconds it is.
    Withheld {
        seconds: u64,
    },
}

/// Whether the servers pass signatures on.
#[derive(Debug, Clone, Copy)]
enum Standing {
    Unknown,
    /// They do not answer; until then that is not asked again. And since when they have answered other
    /// questions.
    Silent(Instant, Option<Instant>),
    /// They do, and since when they seem not to, and when that was last looked at.
    Passes(Option<(Instant, Instant)>),
    /// Until then they are asked without validation.
    Strips(Instant),
}

/// Whether the servers know EDNS.
#[derive(Debug, Clone, Copy)]
enum Edns {
    Unknown,
    Known,
    /// Until then they are asked without.
    Refused(Instant),
}

/// The servers of one origin.
pub(super) struct Upstream {
    plain: Resolver<Provider>,
    /// For servers that do not know EDNS (RFC 6891 §7).
    bare: Resolver<Provider>,
    edns: Mutex<Edns>,
    validating: Option<Resolver<Provider>>,
    /// What was said of the zones above the names that were asked for.
    chain: Chain,
    standing: Mutex<Standing>,
    /// Who finds out about the standing; the others wait.
    asking: tokio::sync::Mutex<()>,
    /// How long an answer about the root's keys is waited for.
    look_limit: Duration,
    /// The resolver keeps no denial that it has validated.
    denied: Mutex<HashMap<(String, RecordType), Said>>,
}

impl Upstream {
    /// `None` without servers.
    ///
    /// # Errors
    /// When the resolver refuses the settings.
    pub(super) fn new(
        servers: &[SocketAddr],
        settings: &DnsSettings,
        anchors: Option<&Arc<TrustAnchors>>,
    ) -> Result<Option<Self>, LookupError> {
        if servers.is_empty() {
            return Ok(None);
        }
        let chain = Chain::default();
        let validating = match anchors {
            Some(anchors) => {
                let options = options(settings);
                Some(build(servers, options, Some(Arc::clone(anchors)), &chain)?)
            }
            None => None,
        };
        let mut without_edns = options(settings);
        without_edns.edns0 = false;
        Ok(Some(Self {
            plain: build(servers, options(settings), None, &chain)?,
            bare: build(servers, without_edns, None, &chain)?,
            edns: Mutex::new(Edns::Unknown),
            validating,
            chain,
            standing: Mutex::new(Standing::Unknown),
            asking: tokio::sync::Mutex::new(()),
            look_limit: settings.timeout * u32::try_from(servers.len()).unwrap_or(4).clamp(1, 4),
            denied: Mutex::new(HashMap::new()),
        }))
    }

    /// Asks; a name with its last dot.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Said {
        let Some(validating) = &self.validating else {
            return said(self.plainly(name, kind).await, false);
        };
        if !self.is_validating().await {
            return said(self.plainly(name, kind).await, false);
        }
        if let Standing::Silent(..) = self.standing()
            && let Some(said) = self.unvalidated(name, kind).await
        {
            return said;
        }
        let key = (name.to_ascii_lowercase(), kind);
        if let Some(known) = self.known_denial(&key) {
            return known;
        }
        let Some(result) = contained(validating.lookup(name, kind)).await else {
            return broken();
        };
        if is_bogus(&result) {
            // The next one is not to be told the same again: it may have been forged, or cut.
            self.chain.doubt(name);
            if self.has_turned().await {
                return said(self.plainly(name, kind).await, false);
            }
        }
        let said = said(result, true);
        if matches!(said.outcome, Outcome::NoData | Outcome::NxDomain) {
            self.keep_denial(key, said.clone());
        }
        said
    }

    /// Asks without validation; and without EDNS where the servers refuse it, or are silent and were never
    /// heard with it (RFC 6891 §7).
    async fn plainly(&self, name: &str, kind: RecordType) -> Result<Lookup, NetError> {
        let edns = *self.edns.lock();
        if matches!(edns, Edns::Refused(until) if Instant::now() < until) {
            return self.bare.lookup(name, kind).await;
        }
        let with = self.plain.lookup(name, kind).await;
        let answered = is_answered(&with);
        if answered {
            self.set_edns(Edns::Known);
        }
        if answered || matches!(edns, Edns::Known) && !is_refused(&with) {
            return with;
        }
        let without = self.bare.lookup(name, kind).await;
        if !is_answered(&without) {
            return with;
        }
        self.set_edns(Edns::Refused(Instant::now() + STRIPS_FOR));
        without
    }

    fn set_edns(&self, edns: Edns) {
        *self.edns.lock() = edns;
    }

    /// The answer of servers that have said nothing of use about the root's keys; none: they have now.
    async fn unvalidated(&self, name: &str, kind: RecordType) -> Option<Said> {
        let answer = said(self.plainly(name, kind).await, false);
        if matches!(answer.outcome, Outcome::Failed(_)) {
            return Some(answer);
        }
        let left = SILENT_MAX.saturating_sub(self.answering_since()?.elapsed());
        if !left.is_zero() {
            return Some(Said {
                records: Vec::new(),
                outcome: Outcome::Withheld {
                    seconds: left.as_secs() + 1,
                },
                security: Security::Unchecked,
                valid_until: Instant::now(),
            });
        }
        let _turn = self.asking.lock().await;
        // What lasted may just be over: then nothing is used without.
        if matches!(self.standing(), Standing::Silent(..)) {
            self.look().await;
        }
        match self.standing() {
            Standing::Passes(_) => return None,
            Standing::Strips(_) | Standing::Silent(..) | Standing::Unknown => {}
        }
        self.stand(Standing::Strips(Instant::now() + STRIPS_FOR));
        Some(answer)
    }

    /// Since when silent servers have answered other questions: since now, where that is the first one.
    fn answering_since(&self) -> Option<Instant> {
        let mut standing = self.standing.lock();
        match &mut *standing {
            Standing::Silent(_, since) => Some(*since.get_or_insert_with(Instant::now)),
            Standing::Passes(_) | Standing::Strips(_) | Standing::Unknown => None,
        }
    }

    fn stand(&self, new: Standing) {
        *self.standing.lock() = new;
    }

    /// How the servers stand to DNSSEC.
    pub(super) async fn dnssec(&self) -> Dnssec {
        if self.validating.is_none() {
            return Dnssec::Off;
        }
        let validating = self.is_validating().await;
        match validating {
            true if matches!(self.standing(), Standing::Passes(_)) => Dnssec::Validated,
            true => Dnssec::NoAnswer,
            false => Dnssec::Stripped,
        }
    }

    /// Whether signatures are passed on, and so validated.
    async fn is_validating(&self) -> bool {
        if let Some(known) = self.known_standing() {
            return known;
        }
        let _turn = self.asking.lock().await;
        match self.known_standing() {
            Some(known) => known,
            None => self.look().await,
        }
    }

    fn standing(&self) -> Standing {
        *self.standing.lock()
    }

    fn known_standing(&self) -> Option<bool> {
        match self.standing() {
            Standing::Passes(_) => Some(true),
            Standing::Silent(until, _) if Instant::now() < until => Some(true),
            Standing::Strips(until) if Instant::now() < until => Some(false),
            Standing::Strips(_) | Standing::Silent(..) | Standing::Unknown => None,
        }
    }

    /// A bogus answer: is it the domain's fault, or have the servers begun to strip signatures?
    async fn has_turned(&self) -> bool {
        let _turn = self.asking.lock().await;
        let lately = match self.standing() {
            Standing::Strips(until) if Instant::now() < until => return true,
            Standing::Passes(Some((_, looked))) => looked.elapsed() < SILENT_FOR,
            Standing::Silent(until, _) => Instant::now() < until,
            Standing::Passes(None) | Standing::Strips(_) | Standing::Unknown => false,
        };
        !lately && !self.look().await
    }

    /// Asks for the root's keys, which are signed. Servers that give no answer of use count as passing:
    /// validation then fails for what it is, and says so.
    async fn look(&self) -> bool {
        let Some(validating) = &self.validating else {
            return false;
        };
        validating.clear_lookup_cache(".", RecordType::DNSKEY);
        self.chain.forget(".");
        let asked = contained(validating.lookup(".", RecordType::DNSKEY));
        let asked = tokio::time::timeout(self.look_limit, asked).await;
        let asked = asked.unwrap_or(Some(Err(NetError::Timeout)));
        let now = Instant::now();
        let answered = matches!(&asked, Some(Ok(lookup)) if secure(lookup.answers()));
        let unsigned = match asked {
            Some(Ok(lookup)) => !secure(lookup.answers()),
            // Old servers do not know what a question about signatures is.
            Some(Err(NetError::Dns(DnsError::ResponseCode(code)))) => {
                matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
            }
            Some(Err(NetError::Dns(_))) => true,
            Some(Err(_)) | None => false,
        };
        let standing = match (unsigned, self.standing()) {
            (true, Standing::Passes(None)) => Standing::Passes(Some((now, now))),
            (true, Standing::Passes(Some((since, _)))) if since.elapsed() < DOUBTED_FOR => {
                Standing::Passes(Some((since, now)))
            }
            (true, _) => Standing::Strips(now + STRIPS_FOR),
            (false, _) if answered => Standing::Passes(None),
            (false, Standing::Passes(doubt)) => Standing::Passes(doubt),
            // They are as they were.
            (false, Standing::Strips(_)) => Standing::Strips(now + STRIPS_FOR),
            (false, Standing::Silent(_, since)) => Standing::Silent(now + SILENT_FOR, since),
            (false, Standing::Unknown) => Standing::Silent(now + SILENT_FOR, None),
        };
        self.stand(standing);
        !matches!(standing, Standing::Strips(_))
    }

    fn known_denial(&self, key: &(String, RecordType)) -> Option<Said> {
        let denied = self.denied.lock();
        let known = denied.get(key)?;
        (Instant::now() < known.valid_until).then(|| known.clone())
    }

    fn keep_denial(&self, key: (String, RecordType), said: Said) {
        let mut denied = self.denied.lock();
        if denied.len() >= usize::try_from(CACHE_ENTRIES).unwrap_or(usize::MAX) {
            let now = Instant::now();
            denied.retain(|_, said| said.valid_until > now);
            if denied.len() >= usize::try_from(CACHE_ENTRIES).unwrap_or(usize::MAX) {
                denied.clear();
            }
        }
        denied.insert(key, said);
    }
}

/// What a look-up came to; `None` when the library broke on an answer. Validation is new there, what
/// it reads comes from strangers, and one odd answer must not end more than its own look-up.
async fn contained<T>(lookup: impl Future<Output = T>) -> Option<T> {
    let mut lookup = Box::pin(lookup);
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| lookup.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// The answer to a question that cannot be asked without breaking the library. Not a reason to ask
/// without validation: then any server could have it so.
fn broken() -> Said {
    Said {
        records: Vec::new(),
        outcome: Outcome::Failed(LookupError::Broken),
        security: Security::Unchecked,
        valid_until: Instant::now() + NEGATIVE_TTL,
    }
}

/// Whether a server says that it does not understand the question.
fn is_refused(result: &Result<Lookup, NetError>) -> bool {
    let Err(NetError::Dns(DnsError::ResponseCode(code))) = result else {
        return false;
    };
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// Whether a server has answered a question that it understands.
fn is_answered(result: &Result<Lookup, NetError>) -> bool {
    matches!(result, Ok(_) | Err(NetError::Dns(_))) && !is_refused(result)
}

fn is_bogus(result: &Result<Lookup, NetError>) -> bool {
    matches!(result, Err(NetError::Dns(DnsError::DnssecBogus)))
}

fn secure(records: &[Record]) -> bool {
    !records.is_empty() && records.iter().all(|r| r.proof.is_secure())
}

fn said(result: Result<Lookup, NetError>, validated: bool) -> Said {
    let trust = |records: &[Record]| match (validated, secure(records)) {
        (false, _) => Security::Unchecked,
        (true, true) => Security::Secure,
        (true, false) => Security::Insecure,
    };
    let denial = |code: ResponseCode, authorities: &[Record]| Said {
        records: Vec::new(),
        outcome: match code == ResponseCode::NXDomain {
            true => Outcome::NxDomain,
            false => Outcome::NoData,
        },
        security: trust(authorities),
        valid_until: Instant::now() + negative_ttl(authorities),
    };
    match result {
        Ok(lookup) => Said {
            records: lookup.answers().to_vec(),
            outcome: Outcome::Found,
            security: trust(lookup.answers()),
            valid_until: lookup.valid_until(),
        },
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let authorities = none.authorities.as_deref().unwrap_or_default();
            denial(none.response_code, authorities)
        }
        Err(NetError::Dns(DnsError::Nsec { response, .. })) => {
            denial(response.metadata.response_code, &response.authorities)
        }
        Err(error) => Said {
            records: Vec::new(),
            outcome: Outcome::Failed(judged(error)),
            security: Security::Unchecked,
            valid_until: Instant::now() + NEGATIVE_TTL,
        },
    }
}

/// How long a denial holds (RFC 2308 §5).
fn negative_ttl(authorities: &[Record]) -> Duration {
    let seconds = authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else {
            return None;
        };
        Some(soa.minimum.min(record.ttl))
    });
    seconds.map_or(NEGATIVE_TTL, |s| {
        Duration::from_secs(s.into()).min(NEGATIVE_TTL_MAX)
    })
}

fn options(settings: &DnsSettings) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = settings.timeout;
    options.attempts = 2;
    options.cache_size = CACHE_ENTRIES;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_max_ttl = Some(TTL_MAX);
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.try_tcp_on_error = true;
    options.preserve_intermediates = true;
    options.edns_payload_len = 1232;
    options
}

fn build(
    servers: &[SocketAddr],
    options: ResolverOpts,
    anchors: Option<Arc<TrustAnchors>>,
    chain: &Chain,
) -> Result<Resolver<Provider>, LookupError> {
    let name_server = |address: &SocketAddr| {
        let connection = |protocol| {
            let mut connection = ConnectionConfig::new(protocol);
            connection.port = address.port();
            connection
        };
        let both = vec![
            connection(ProtocolConfig::Udp),
            connection(ProtocolConfig::Tcp),
        ];
        NameServerConfig::new(address.ip(), true, both)
    };
    let config =
        ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(name_server).collect());
    let mut builder =
        Resolver::builder_with_config(config, Provider::new(chain.clone())).with_options(options);
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(anchors);
    }
    builder.build().map_err(judged)
}

/// What an error of the resolver means.
fn judged(error: NetError) -> LookupError {
    if let NetError::Dns(DnsError::ResponseCode(code)) = error {
        return LookupError::Code(code.to_string());
    }
    if matches!(error, NetError::Dns(DnsError::DnssecBogus)) {
        return LookupError::Bogus;
    }
    if matches!(error, NetError::Timeout) {
        return LookupError::Late;
    }
    if matches!(error, NetError::NoConnections) {
        return LookupError::Unreachable;
    }
    LookupError::Other(ResolverError(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_network_without_a_root_is_used_without_validation_when_that_lasts() {
        let server = lab::Dns::start();
        server.mx("office.example", 10, "mx.office.example");
        server.servfail(".");
        let settings = DnsSettings {
            servers: Vec::new(),
            detect_if_given_fail: false,
            timeout: Duration::from_secs(5),
            dnssec: true,
            trust_anchor: None,
        };
        let anchors = Arc::new(TrustAnchors::default());
        let upstream = Upstream::new(&[server.address()], &settings, Some(&anchors));
        let upstream = upstream.unwrap().unwrap();
        let early = upstream.ask("office.example.", RecordType::MX).await;
        assert!(
            matches!(early.outcome, Outcome::Withheld { .. }),
            "{early:?}"
        );
        let long_ago = Instant::now().checked_sub(SILENT_MAX).unwrap();
        upstream.stand(Standing::Silent(
            Instant::now() + SILENT_FOR,
            Some(long_ago),
        ));
        let late = upstream.ask("office.example.", RecordType::MX).await;
        assert_eq!(
            (late.outcome, late.security),
            (Outcome::Found, Security::Unchecked)
        );
        assert_eq!(upstream.dnssec().await, Dnssec::Stripped);
    }

    #[tokio::test]
    async fn servers_that_do_not_know_edns_are_asked_without() {
        for trouble in [
            lab::EdnsTrouble::FormErr,
            lab::EdnsTrouble::NotImp,
            lab::EdnsTrouble::Silent,
        ] {
            let server = lab::Dns::start();
            server
                .mx("office.example", 10, "mx.office.example")
                .edns(trouble);
            let settings = DnsSettings {
                servers: Vec::new(),
                detect_if_given_fail: false,
                timeout: Duration::from_millis(300),
                dnssec: false,
                trust_anchor: None,
            };
            let upstream = Upstream::new(&[server.address()], &settings, None);
            let upstream = upstream.unwrap().unwrap();
            let said = upstream.ask("office.example.", RecordType::MX).await;
            assert_eq!(said.outcome, Outcome::Found, "{trouble:?}: {said:?}");
            // From now on it is asked so at once.
            let before = server.questions().len();
            let said = upstream.ask("none.example.", RecordType::MX).await;
            assert_eq!(said.outcome, Outcome::NxDomain, "{trouble:?}");
            assert_eq!(server.questions().len(), before + 1, "{trouble:?}");
        }
    }

    #[tokio::test]
    async fn a_look_up_that_breaks_is_an_answer_that_failed() {
        assert_eq!(contained(async { 7 }).await, Some(7));
        let breaks = async {
            tokio::task::yield_now().await;
            assert!(std::env::args().count() == 0, "the library's own assertion");
            7
        };
        assert_eq!(contained(breaks).await, None);
        assert!(matches!(broken().outcome, Outcome::Failed(_)));
    }
}
