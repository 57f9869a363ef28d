//! Asking DNS: servers found on this computer or given, with fallback and a cache that obeys TTLs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use mail::Timestamp;

use crate::clock::now;

/// Answers kept in memory.
const CACHE_ENTRIES: u64 = 20_000;
/// Answers are asked again at the latest after this time, whatever their TTL says.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// Negative answers are kept this long at the most.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);

/// What DNS said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// Records.
    Found(Vec<T>),
    /// The name exists and has none of this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No usable answer.
    Failed(String),
}

/// An answer, and how long it holds.
#[derive(Debug, Clone)]
pub struct DnsFinding<T> {
    /// The answer.
    pub answer: Answer<T>,
    /// Until when it holds.
    pub valid_until: Timestamp,
    /// The name asked is an alias (CNAME).
    pub alias: bool,
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxFound {
    /// Its preference.
    pub preference: u16,
    /// Its host.
    pub exchange: String,
}

/// A DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsServer {
    /// Its address and port.
    pub address: SocketAddr,
    /// Given in the configuration, not found on this computer.
    pub given: bool,
}

/// How DNS is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Servers: `address`, `address:port` or host names; empty: found on this computer.
    pub servers: Vec<String>,
    /// Ask the computer's servers when none of those given gives a usable answer.
    pub detect_if_given_fail: bool,
    /// How long an answer is waited for, from one server.
    pub timeout: Duration,
}

/// Asks DNS.
pub struct Dns {
    given: Option<TokioResolver>,
    detected: Option<TokioResolver>,
    servers: Vec<DnsServer>,
    trouble: Vec<String>,
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// The DNS servers that this computer is set to use. Lines that no address stands in (such as
/// scoped ones of another kind) are passed over.
#[must_use]
pub fn detect_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    parse_resolv_conf(&text)
}

pub(crate) fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver")
            .then(|| words.next())??
            .parse::<IpAddr>()
            .ok()
    };
    text.lines()
        .filter_map(address)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

impl Dns {
    /// Prepares to ask. Works without any server too; every question then fails with the reason.
    ///
    /// # Errors
    /// When the resolver refuses the settings. A given server that cannot be found is no error:
    /// it is passed over, and named by [`Dns::trouble`].
    pub async fn new(settings: &DnsSettings) -> Result<Self, String> {
        let mut given = Vec::new();
        let mut trouble = Vec::new();
        for server in &settings.servers {
            match server_addresses(server).await {
                Ok(found) => given.extend(found),
                Err(why) => trouble.push(why),
            }
        }
        let use_detected = settings.servers.is_empty() || settings.detect_if_given_fail;
        let detected = if use_detected {
            detect_servers()
        } else {
            Vec::new()
        };
        let server = |given| {
            move |address: &SocketAddr| DnsServer {
                address: *address,
                given,
            }
        };
        let servers = given
            .iter()
            .map(server(true))
            .chain(detected.iter().map(server(false)))
            .collect();
        Ok(Self {
            given: build(&given, settings)?,
            detected: build(&detected, settings)?,
            servers,
            trouble,
        })
    }

    /// What is wrong with the servers that were given.
    #[must_use]
    pub fn trouble(&self) -> &[String] {
        &self.trouble
    }

    /// The servers, in the order in which they are asked.
    #[must_use]
    pub fn servers(&self) -> &[DnsServer] {
        &self.servers
    }

    /// The MX records of a name.
    pub async fn mx(&self, name: &str) -> DnsFinding<MxFound> {
        let found = self.ask(name, RecordType::MX).await;
        finding(name, found, |data| {
            let RData::MX(mx) = data else {
                return None;
            };
            Some(MxFound {
                preference: mx.preference,
                exchange: mx.exchange.to_ascii(),
            })
        })
    }

    /// The addresses of a name, of both families.
    pub async fn addresses(&self, name: &str) -> DnsFinding<IpAddr> {
        let (v6, v4) = tokio::join!(
            self.ask(name, RecordType::AAAA),
            self.ask(name, RecordType::A)
        );
        let ip = RData::ip_addr;
        let (v6, v4) = (finding(name, v6, ip), finding(name, v4, ip));
        let valid_until = v6.valid_until.min(v4.valid_until);
        let alias = v6.alias || v4.alias;
        let answer = match (v6.answer, v4.answer) {
            (Answer::Found(mut a), Answer::Found(b)) => {
                a.extend(b);
                Answer::Found(a)
            }
            (Answer::Found(a), _) | (_, Answer::Found(a)) => Answer::Found(a),
            (Answer::Failed(why), _) | (_, Answer::Failed(why)) => Answer::Failed(why),
            (Answer::NxDomain, _) | (_, Answer::NxDomain) => Answer::NxDomain,
            (Answer::NoData, Answer::NoData) => Answer::NoData,
        };
        DnsFinding {
            answer,
            valid_until,
            alias,
        }
    }

    /// Whether the servers pass DNSSEC signatures on: asked of the root, which is signed.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub async fn passes_dnssec(&self) -> Result<bool, String> {
        let found = self.ask(".", RecordType::DNSKEY).await;
        match found {
            Ok(lookup) => Ok(!lookup.answers().is_empty()),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(false),
            Err(error) => Err(words(&error)),
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, NetError> {
        let name = if name.ends_with('.') {
            name.to_owned()
        } else {
            format!("{name}.")
        };
        let mut failure =
            NetError::Message("no DNS server is configured or found on this computer");
        for resolver in [&self.given, &self.detected].into_iter().flatten() {
            match resolver.lookup(name.as_str(), kind).await {
                Ok(lookup) => return Ok(lookup),
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => {
                    return Err(error);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

async fn server_addresses(server: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = server.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, 53)]);
    }
    if let Ok(address) = server.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let with_port = if server.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:53")
    };
    match tokio::net::lookup_host(&with_port).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(format!(
            "the DNS server `{server}` cannot be found: {error}"
        )),
    }
}

fn build(servers: &[SocketAddr], settings: &DnsSettings) -> Result<Option<TokioResolver>, String> {
    if servers.is_empty() {
        return Ok(None);
    }
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
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder
        .with_options(options)
        .build()
        .map(Some)
        .map_err(|e| words(&e))
}

fn finding<T>(
    name: &str,
    found: Result<Lookup, NetError>,
    pick: impl Fn(&RData) -> Option<T>,
) -> DnsFinding<T> {
    let soon = now() + Duration::from_secs(60);
    match found {
        Ok(lookup) => {
            let left = lookup
                .valid_until()
                .saturating_duration_since(Instant::now());
            let records: Vec<T> = lookup
                .answers()
                .iter()
                .filter_map(|r| pick(&r.data))
                .collect();
            let owner = name.trim_end_matches('.');
            let is_alias = |r: &hickory_resolver::proto::rr::Record| {
                r.record_type() == RecordType::CNAME
                    && r.name
                        .to_ascii()
                        .trim_end_matches('.')
                        .eq_ignore_ascii_case(owner)
            };
            let alias = lookup.answers().iter().any(is_alias);
            let answer = if records.is_empty() {
                Answer::NoData
            } else {
                Answer::Found(records)
            };
            DnsFinding {
                answer,
                valid_until: now() + left,
                alias,
            }
        }
        Err(error) => {
            let answer = if error.is_nx_domain() {
                Answer::NxDomain
            } else if error.is_no_records_found() {
                Answer::NoData
            } else {
                Answer::Failed(words(&error))
            };
            DnsFinding {
                answer,
                valid_until: soon,
                alias: false,
            }
        }
    }
}

/// An error of the resolver in the words of the field.
fn words(error: &NetError) -> String {
    if let NetError::Dns(DnsError::ResponseCode(code)) = error {
        return format!("the DNS server answered {code}");
    }
    if matches!(error, NetError::Timeout) {
        return "no answer in time".to_owned();
    }
    if matches!(error, NetError::NoConnections) {
        return "no DNS server could be reached".to_owned();
    }
    error.to_string()
}
