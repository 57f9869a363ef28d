//! The chain of trust, remembered: keys of zones and what their parents say of them (DNSKEY, DS).
//!
//! The library asks for the whole chain, up to the root, with every answer that it validates; what it
//! remembers are proofs of the answers alone. Here, below its validation, what servers say of the chain is
//! kept for as long as it holds, and nobody asks twice at once. It is not believed by that: each use is
//! validated.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt};
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{ConnectionProvider, PoolContext};

/// Zones remembered at the most.
const ENTRIES_MAX: usize = 20_000;
/// A change of keys is seen after this time at the latest, whatever the TTL says.
const HOLDS_MAX: Duration = Duration::from_secs(3600);
/// That there is no key, or no DS, holds this long at the most, and where that is not said.
const NEGATIVE_MAX: Duration = Duration::from_secs(300);
const NEGATIVE: Duration = Duration::from_secs(60);
/// All is forgotten no more often than this: domains that are signed wrongly are mailed all the time.
const CLEARED_EVERY: Duration = Duration::from_secs(30);

/// By server: a silent one must not be waited for when another is asked.
type Key = (SocketAddr, Name, RecordType);
type Said = Option<(DnsResponse, Instant)>;

/// What servers have said of the chain. Each entry is locked while its question is asked.
#[derive(Clone, Default)]
pub(super) struct Chain {
    known: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Said>>>>>,
    /// When all was forgotten.
    cleared: Arc<Mutex<Option<Instant>>>,
}

impl Chain {
    fn entry(&self, key: Key) -> Arc<tokio::sync::Mutex<Said>> {
        let mut known = self.known.lock();
        if known.len() >= ENTRIES_MAX && !known.contains_key(&key) {
            let now = Instant::now();
            let holds = |said: &Said| said.as_ref().is_some_and(|(_, until)| *until > now);
            // What is being asked stays.
            known.retain(|_, entry| entry.try_lock().map_or(true, |said| holds(&said)));
            if known.len() >= ENTRIES_MAX {
                known.clear();
            }
        }
        Arc::clone(known.entry(key).or_default())
    }

    /// A validation failed: what was said of a name and the zones above it is forgotten; and all of it, if
    /// that was not just done, for the name may be an alias of another in other zones.
    pub(super) fn doubt(&self, name: &str) {
        let mut cleared = self.cleared.lock();
        if cleared.is_none_or(|at| at.elapsed() > CLEARED_EVERY) {
            *cleared = Some(Instant::now());
            let mut known = self.known.lock();
            known.clear();
            return;
        }
        self.forget(name);
    }

    /// Forgets what was said of a name and the zones above it.
    pub(super) fn forget(&self, name: &str) {
        let Ok(name) = Name::from_ascii(name) else {
            return;
        };
        let mut known = self.known.lock();
        known.retain(|(_, zone, _), _| !zone.zone_of(&name));
    }
}

/// Makes connections whose questions about the chain are answered from memory.
#[derive(Clone)]
pub(super) struct Provider {
    inner: TokioRuntimeProvider,
    chain: Chain,
}

impl Provider {
    pub(super) fn new(chain: Chain) -> Self {
        let inner = TokioRuntimeProvider::default();
        Self { inner, chain }
    }
}

type Inner = <TokioRuntimeProvider as ConnectionProvider>::Conn;

impl ConnectionProvider for Provider {
    type Conn = Connection;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Connection, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.inner.new_connection(ip, config, context)?;
        let chain = self.chain.clone();
        let server = SocketAddr::new(ip, config.port);
        Ok(Box::pin(async move {
            let inner = connecting.await?;
            Ok(Connection {
                inner,
                chain,
                server,
            })
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.inner
    }
}

/// A connection with a server.
#[derive(Clone)]
pub(super) struct Connection {
    inner: Inner,
    chain: Chain,
    server: SocketAddr,
}

impl DnsHandle for Connection {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let Some((name, kind)) = question(&request) else {
            return Box::pin(self.inner.send(request));
        };
        let entry = self.chain.entry((self.server, name, kind));
        let inner = self.inner.clone();
        Box::pin(stream::once(async move {
            let mut said = entry.lock().await;
            if let Some((response, until)) = &*said
                && *until > Instant::now()
            {
                return Ok(response.clone());
            }
            let response = inner.send(request).next().await;
            let response = response.unwrap_or(Err(NetError::NoConnections))?;
            *said = holds(&response).map(|time| (response.clone(), Instant::now() + time));
            Ok(response)
        }))
    }
}

/// What is asked, where it is about the chain, and the answer is to be one that can be validated.
fn question(request: &DnsRequest) -> Option<(Name, RecordType)> {
    let [query] = request.queries.as_slice() else {
        return None;
    };
    let of_chain = matches!(query.query_type(), RecordType::DNSKEY | RecordType::DS);
    let signed = request
        .edns
        .as_ref()
        .is_some_and(|edns| edns.flags().dnssec_ok);
    (of_chain && signed).then(|| (query.name().to_lowercase(), query.query_type()))
}

/// How long an answer holds; one that is cut off, or an error, not at all.
fn holds(response: &DnsResponse) -> Option<Duration> {
    if response.metadata.truncation {
        return None;
    }
    let code = response.metadata.response_code;
    if code != ResponseCode::NoError && code != ResponseCode::NXDomain {
        return None;
    }
    let ttl = response.answers.iter().map(|record| record.ttl).min();
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    Some(match ttl {
        Some(ttl) => seconds(ttl).min(HOLDS_MAX),
        None => response
            .negative_ttl()
            .map_or(NEGATIVE, seconds)
            .min(NEGATIVE_MAX),
    })
}
