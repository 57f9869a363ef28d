//! Asking DNS: servers found on this computer or given, with fallback and a cache that obeys TTLs.
//! Answers are validated here (DNSSEC, RFC 4035), not by the servers.

mod chain;
mod upstream;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::net::NetError;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use mail::{Timestamp, Tlsa};

use crate::clock::now;
use crate::system::addresses_by_system;
use upstream::{Outcome, Said, Upstream};

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
    Failed(LookupError),
}

/// Why DNS gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Signed wrongly, or not where it must be.
    #[error("DNSSEC validation failed (the answer is bogus)")]
    Bogus,
    /// Validation itself broke on it.
    #[error("DNSSEC validation of the answer failed because of an internal error")]
    Broken,
    /// A server has answered with this code.
    #[error("the DNS server answered {0}")]
    Code(String),
    /// No server has answered in time.
    #[error("no answer in time")]
    Late,
    /// No server could be reached.
    #[error("no DNS server could be reached")]
    Unreachable,
    /// There is no server to ask.
    #[error("no DNS server is configured or found on this computer")]
    NoServer,
    /// There is an answer, which is not used before it is known whether it can be validated.
    #[error(
        "the DNS server gives no usable answer about the root's keys (DNSSEC). If this continues, its answers are \
         used without validation in {seconds} s; dns.dnssec = false does that at once"
    )]
    Withheld {
        /// In so many seconds it is used.
        seconds: u64,
    },
    /// The servers that were given fail, and others, which may not know the name, deny it.
    #[error("{0} (the DNS servers of this computer answer that this name does not exist)")]
    Denied(Box<Self>),
    /// Something else.
    #[error(transparent)]
    Other(ResolverError),
}

/// What the resolver says, in its words. Two are the same that read the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ResolverError(Arc<NetError>);

impl PartialEq for ResolverError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for ResolverError {}

/// Why DNS cannot be asked by these settings.
#[derive(Debug, thiserror::Error)]
pub enum DnsSetUpError {
    /// The trust anchor cannot be read.
    #[error(
        "the trust anchor {path} cannot be used: {why} (it must contain the root's DNSKEY records)",
        path = path.display()
    )]
    TrustAnchor {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: Box<dyn Error + Send + Sync>,
    },
    /// The resolver refuses them.
    #[error(transparent)]
    Resolver(#[from] LookupError),
}

/// What DNSSEC says of an answer. A bogus one is no answer ([`Answer::Failed`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Security {
    /// Not validated: switched off, or the servers strip signatures.
    Unchecked,
    /// The zone is proven not to be signed.
    Insecure,
    /// Signed, up to the trust anchor.
    Secure,
}

impl Security {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unchecked => "not validated",
            Self::Insecure => "insecure",
            Self::Secure => "secure",
        }
    }
}

/// How DNS servers stand to DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dnssec {
    /// Switched off in the configuration.
    Off,
    /// They pass signatures on, and answers are validated.
    Validated,
    /// They do not: answers are used without validation, and DANE is out of the question.
    Stripped,
    /// They do not answer.
    NoAnswer,
}

impl Dnssec {
    /// It in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "DNSSEC is switched off (dns.dnssec)",
            Self::Validated => "DNSSEC is supported, and answers are validated",
            Self::Stripped => {
                "DNSSEC is stripped or not supported: answers are used without validation, and DANE is not used"
            }
            Self::NoAnswer => "no answer",
        }
    }
}

/// The name asked is an alias (CNAME).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name at the end of the chain, in lower case, without its last dot.
    pub target: String,
    /// The first link of the chain is secure, whatever the others are.
    pub secure: bool,
}

/// An answer, and how long it holds.
#[derive(Debug, Clone)]
pub struct DnsFinding<T> {
    /// The answer.
    pub answer: Answer<T>,
    /// Until when it holds.
    pub valid_until: Timestamp,
    /// What the name stands for, where it is an alias.
    pub alias: Option<Alias>,
    /// What DNSSEC says of the whole answer, aliases included.
    pub security: Security,
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
    /// Validate answers (DNSSEC), where the servers pass signatures on.
    pub dnssec: bool,
    /// A file of DNSKEY records trusted for the root, instead of the root's own.
    pub trust_anchor: Option<PathBuf>,
}

/// Asks DNS.
pub struct Dns {
    given: Option<Upstream>,
    detected: Option<Upstream>,
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
    /// When the resolver refuses the settings, or the trust anchor cannot be read. A given server that cannot be found is no error:
    /// it is passed over, and named by [`Dns::trouble`].
    pub async fn new(settings: &DnsSettings) -> Result<Self, DnsSetUpError> {
        let mut given = Vec::new();
        let mut trouble = Vec::new();
        for server in &settings.servers {
            match server_addresses(server).await {
                Ok(found) => given.extend(found),
                Err(why) => trouble.push(why.to_string()),
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
        let anchors = settings.dnssec.then(|| anchors(settings)).transpose()?;
        Ok(Self {
            given: Upstream::new(&given, settings, anchors.as_ref())?,
            detected: Upstream::new(&detected, settings, anchors.as_ref())?,
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
        let said = self.ask(name, RecordType::MX).await;
        finding(name, said, |data| {
            let RData::MX(mx) = data else { return None };
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
        let lower = v6.security.min(v4.security);
        let (v6_security, v4_security) = (v6.security, v4.security);
        let alias = v6.alias.or(v4.alias);
        let (answer, security) = match (v6.answer, v4.answer) {
            (Answer::Found(mut a), Answer::Found(b)) => {
                a.extend(b);
                (Answer::Found(a), lower)
            }
            (Answer::Found(a), _) => (Answer::Found(a), v6_security),
            (_, Answer::Found(a)) => (Answer::Found(a), v4_security),
            (Answer::Failed(why), _) | (_, Answer::Failed(why)) => (Answer::Failed(why), lower),
            (Answer::NxDomain, _) | (_, Answer::NxDomain) => (Answer::NxDomain, lower),
            (Answer::NoData, Answer::NoData) => (Answer::NoData, lower),
        };
        DnsFinding {
            answer,
            valid_until,
            alias,
            security,
        }
    }

    /// The TLSA records for SMTP at a port of a host (RFC 7672 §2.2.3).
    pub async fn tlsa(&self, host: &str, port: u16) -> DnsFinding<Tlsa> {
        let name = format!("_{port}._tcp.{host}");
        let said = self.ask(&name, RecordType::TLSA).await;
        finding(&name, said, |data| {
            let RData::TLSA(tlsa) = data else { return None };
            Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            })
        })
    }

    /// The texts of a name, each record's strings joined.
    pub async fn txt(&self, name: &str) -> DnsFinding<String> {
        let said = self.ask(name, RecordType::TXT).await;
        finding(name, said, |data| {
            let RData::TXT(txt) = data else { return None };
            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
        })
    }

    /// How the servers that are asked first stand to DNSSEC.
    pub async fn dnssec(&self) -> Dnssec {
        match self.given.as_ref().or(self.detected.as_ref()) {
            Some(upstream) => upstream.dnssec().await,
            None => Dnssec::NoAnswer,
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Said {
        let name = if name.ends_with('.') {
            name.to_owned()
        } else {
            format!("{name}.")
        };
        let mut failure = None;
        for upstream in [&self.given, &self.detected].into_iter().flatten() {
            let said = upstream.ask(&name, kind).await;
            match (&said.outcome, &mut failure) {
                (Outcome::Failed(_), _) => failure = Some(said),
                // The servers that were given may know names that others do not.
                (Outcome::NxDomain, Some(failed)) => {
                    if let Outcome::Failed(why) = &mut failed.outcome {
                        *why = LookupError::Denied(Box::new(why.clone()));
                    }
                }
                _ => return said,
            }
        }
        failure.unwrap_or_else(|| Said {
            records: Vec::new(),
            outcome: Outcome::Failed(LookupError::NoServer),
            security: Security::Unchecked,
            valid_until: Instant::now(),
        })
    }
}

impl DnsSettings {
    /// Whether resolvers can be made by these settings, as far as it can be said without asking anybody.
    ///
    /// # Errors
    /// What is wrong with the trust anchor.
    pub fn check(&self) -> Result<(), DnsSetUpError> {
        match self.dnssec {
            true => anchors(self).map(drop),
            false => Ok(()),
        }
    }
}

fn anchors(settings: &DnsSettings) -> Result<Arc<TrustAnchors>, DnsSetUpError> {
    let Some(path) = &settings.trust_anchor else {
        return Ok(Arc::new(TrustAnchors::default()));
    };
    let wrong = |why| DnsSetUpError::TrustAnchor {
        path: path.clone(),
        why,
    };
    let anchors = TrustAnchors::from_file(path).map_err(|e| wrong(e.into()))?;
    match anchors.is_empty() {
        true => Err(wrong("it contains no key of the root".into())),
        false => Ok(Arc::new(anchors)),
    }
}

/// Why a server that is named in the configuration is passed over.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    #[error("the DNS server `{server}`: `{port}` is not a port")]
    Port { server: String, port: String },
    #[error("the DNS server `{server}` cannot be found: {why}")]
    NotFound { server: String, why: io::Error },
}

async fn server_addresses(server: &str) -> Result<Vec<SocketAddr>, ServerError> {
    if let Ok(ip) = server.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, 53)]);
    }
    if let Ok(address) = server.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => {
            let number = port.parse();
            let wrong = |_| ServerError::Port {
                server: server.to_owned(),
                port: port.to_owned(),
            };
            (host, number.map_err(wrong)?)
        }
        None => (server, 53),
    };
    match addresses_by_system(host).await {
        Ok(found) => Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect()),
        Err(why) => Err(ServerError::NotFound {
            server: server.to_owned(),
            why,
        }),
    }
}

fn finding<T>(name: &str, said: Said, pick: impl Fn(&RData) -> Option<T>) -> DnsFinding<T> {
    let left = said.valid_until.saturating_duration_since(Instant::now());
    let records: Vec<T> = said.records.iter().filter_map(|r| pick(&r.data)).collect();
    let answer = match said.outcome {
        Outcome::Found if records.is_empty() => Answer::NoData,
        Outcome::Found => Answer::Found(records),
        Outcome::NoData => Answer::NoData,
        Outcome::NxDomain => Answer::NxDomain,
        Outcome::Failed(why) => Answer::Failed(why),
        Outcome::Withheld { seconds } => Answer::Failed(LookupError::Withheld { seconds }),
    };
    DnsFinding {
        answer,
        valid_until: now() + left,
        alias: alias(name, &said.records),
        security: said.security,
    }
}

/// Follows the chain of aliases from a name.
fn alias(name: &str, records: &[Record]) -> Option<Alias> {
    let plain = |name: String| name.trim_end_matches('.').to_ascii_lowercase();
    let mut at = plain(name.to_owned());
    let mut found: Option<Alias> = None;
    // As many steps as there are records: a circle ends.
    for _ in records {
        let next = records.iter().find_map(|r| {
            let RData::CNAME(target) = &r.data else {
                return None;
            };
            (plain(r.name.to_ascii()) == at)
                .then(|| (plain(target.0.to_ascii()), r.proof.is_secure()))
        });
        let Some((target, secure)) = next else { break };
        at.clone_from(&target);
        found = Some(Alias {
            target,
            secure: found.map_or(secure, |first| first.secure),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(server: &lab::Dns, settings: &DnsSettings) -> Option<Upstream> {
        let anchors = settings.dnssec.then(|| Arc::new(TrustAnchors::default()));
        Upstream::new(&[server.address()], settings, anchors.as_ref()).unwrap()
    }

    /// Asks two servers, of which the second is found on this computer, and does not know the name.
    async fn asked(given: &lab::Dns, dnssec: bool) -> Answer<MxFound> {
        let detected = lab::Dns::start();
        let settings = DnsSettings {
            servers: Vec::new(),
            detect_if_given_fail: true,
            timeout: Duration::from_secs(5),
            dnssec,
            trust_anchor: None,
        };
        let dns = Dns {
            given: upstream(given, &settings),
            detected: upstream(&detected, &settings),
            servers: Vec::new(),
            trouble: Vec::new(),
        };
        dns.mx("office.example").await.answer
    }

    #[tokio::test]
    async fn what_others_deny_is_not_believed_while_the_given_servers_fail() {
        let given = lab::Dns::start();
        given.servfail("office.example");
        let answer = asked(&given, false).await;
        let expected = "answer that this name does not exist";
        assert!(
            matches!(&answer, Answer::Failed(why) if why.to_string().contains(expected)),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn others_are_not_asked_while_an_answer_is_only_withheld() {
        let given = lab::Dns::start();
        given
            .mx("office.example", 10, "mx.office.example")
            .servfail(".");
        let answer = asked(&given, true).await;
        let expected = "used without validation in";
        assert!(
            matches!(&answer, Answer::Failed(why) if why.to_string().contains(expected)),
            "{answer:?}"
        );
    }
}
