//! The settings of intake, as validated values.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mail::{Address, BodyType};
use smtp::data::{BareNewline, ContentRules, Nul};
use smtp::extension::{Extension, Extensions};

use crate::local_domains::LocalDomains;
use crate::{Aliases, CheckFrom, FixUps, Paths, Quotas, Rewriting, Suppressed, Usage};

/// Everything that decides what is accepted.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Our name in greetings and Received fields.
    pub hostname: String,
    /// The listeners; a session names its own by its place.
    pub listeners: Vec<Listener>,
    /// The limits.
    pub limits: Limits,
    /// What is done with a CR or LF that stands alone. Default: refuse the mail.
    pub bare_newline: BareNewline,
    /// What is done with a NUL in content that comes by SMTP. Default: refuse the mail.
    pub nul: Nul,
    /// The domains that are delivered to here.
    pub local: LocalDomains,
    /// Other addresses for local names.
    pub aliases: Aliases,
    /// The rules that rewrite recipients.
    pub rewriting: Rewriting,
    /// What EHLO may offer; STARTTLS and AUTH come and go by the listener's settings.
    pub extensions: Extensions,
    /// Who gets mail for `<postmaster>` (RFC 5321 §4.5.1).
    pub postmaster: Address,
    /// Users may send from their own addresses only.
    pub check_sender: bool,
    /// So it is with those whom the header names as authors.
    pub check_from: CheckFrom,
    /// Nobody on this computer is trusted for the address that it connects from: which user it is, only a
    /// login tells.
    pub locals_log_in: bool,
    /// How many recipients may be sent to in a time.
    pub quotas: Quotas,
    /// How many have been.
    pub usage: Arc<Usage>,
    /// What is mended in mail that its author hands in whole.
    pub fix_ups: FixUps,
    /// Whether there is a certificate, so that TLS can be offered.
    pub tls_available: bool,
    /// Addresses of ours that stand for somebody else's.
    pub paths: Paths,
    /// Recipients that nothing is sent to any more.
    pub suppressed: Arc<Suppressed>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TLS.
    pub tls: Tls,
    /// Logging in.
    pub auth: Auth,
    /// Clients that may send without logging in, unless `auth` is required.
    pub networks: Vec<IpNet>,
    /// Proxies whose word about the client is believed (the PROXY protocol); they must give it.
    pub proxies: Vec<IpNet>,
    /// What is mended in mail that comes by it.
    pub fix_ups: FixUps,
}

/// TLS of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// None.
    #[default]
    None,
    /// By STARTTLS.
    StartTls,
    /// From the first octet.
    Implicit,
}

/// Logging in at a listener. It is offered over TLS; where locals must log in, to them in clear too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Nobody may send anything without.
    Required,
    /// Whoever logs in may send anywhere.
    #[default]
    Optional,
    /// Not offered.
    None,
}

/// The limits of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message. Default: 50 MB.
    pub message_size: u64,
    /// Recipients of a message. Default 1000; RFC 5321 §4.5.3.1.8 asks for at least 100.
    pub recipients: usize,
    /// Octets of a line of content. Default 100 KiB: programs send HTML without line ends, and
    /// refusing that is seldom what their users want.
    pub line_length: usize,
    /// Commands that are not commands, have no place, or are refused relaying. Default 20.
    pub bad_commands: u32,
    /// Failed logins. Default 3.
    pub login_failures: u32,
    /// Recipients of a session that are refused for good, each mail that is taken making up for half of them.
    /// Default 100.
    pub refused_recipients: u32,
    /// Received fields of a message, above which it is in a loop (RFC 5321 §6.3). Default 50.
    pub received_hops: usize,
    /// Octets a second that a client must send content at, on average after the first minute;
    /// 0 is no minimum. Default 100.
    pub minimum_rate: u64,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// How long a client is waited for (RFC 5321 §4.5.3.2.7 asks for 5 minutes between commands).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// HELO or EHLO. Default 5 minutes.
    pub helo: Duration,
    /// Any other command. Default 5 minutes.
    pub command: Duration,
    /// More content. Default 3 minutes.
    pub content: Duration,
    /// The TLS handshake. Default 1 minute.
    pub handshake: Duration,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The networks of a listener are the whole Internet.
    #[error(
        "the networks of listener {n} cover every address, which makes this server an open relay: list only your own \
         networks",
        n = .listener + 1
    )]
    OpenRelay {
        /// The listener's place, from 0.
        listener: usize,
    },
    /// Login is required and can never be offered.
    #[error(
        "listener {n} requires a login, but logins are offered only over TLS: set tls to starttls or implicit",
        n = .listener + 1
    )]
    LoginWithoutTls {
        /// The listener's place, from 0.
        listener: usize,
    },
    /// TLS from the first octet without a certificate.
    #[error("listener {n} uses TLS, but there is no certificate: set tls.certificate and tls.private_key", n = .listener + 1)]
    TlsWithoutCertificate {
        /// The listener's place, from 0.
        listener: usize,
    },
}

impl Policy {
    /// A policy with the defaults, without listeners.
    #[must_use]
    pub fn new(hostname: impl Into<String>, postmaster: Address) -> Self {
        let extensions = [
            Extension::Pipelining,
            Extension::Size,
            Extension::EightBitMime,
            Extension::SmtpUtf8,
            Extension::EnhancedStatusCodes,
            Extension::Chunking,
            Extension::BinaryMime,
            Extension::Dsn,
        ];
        Self {
            hostname: hostname.into(),
            listeners: Vec::new(),
            limits: Limits::default(),
            bare_newline: BareNewline::default(),
            nul: Nul::default(),
            local: LocalDomains::default(),
            aliases: Aliases::default(),
            rewriting: Rewriting::default(),
            extensions: extensions
                .into_iter()
                .fold(Extensions::none(), Extensions::with),
            postmaster,
            check_sender: true,
            check_from: CheckFrom::default(),
            locals_log_in: false,
            quotas: Quotas::default(),
            usage: Arc::default(),
            fix_ups: FixUps::ALL,
            tls_available: false,
            paths: Paths::default(),
            suppressed: Arc::default(),
        }
    }

    /// Refuses settings that would make an open relay or that cannot work.
    ///
    /// # Errors
    /// The first such setting.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (listener, settings) in self.listeners.iter().enumerate() {
            if covers_everything(&settings.networks) {
                return Err(PolicyError::OpenRelay { listener });
            }
            if settings.auth == Auth::Required && settings.tls == Tls::None {
                return Err(PolicyError::LoginWithoutTls { listener });
            }
            if settings.tls != Tls::None && !self.tls_available {
                return Err(PolicyError::TlsWithoutCertificate { listener });
            }
        }
        Ok(())
    }

    pub(crate) const fn content_rules(&self, declared: BodyType) -> ContentRules {
        ContentRules {
            size_max: self.limits.message_size,
            line_max: self.limits.line_length,
            bare_newline: self.bare_newline,
            nul: self.nul,
            binary: matches!(declared, BodyType::BinaryMime),
        }
    }
}

/// Whether the networks together are all of IPv4 or of IPv6, however they are cut.
fn covers_everything(networks: &[IpNet]) -> bool {
    let v4 = networks.iter().filter_map(|net| match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    let v6 = networks.iter().filter_map(|net| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(*net),
    });
    let v4 = Ipv4Net::aggregate(&v4.collect());
    let v6 = Ipv6Net::aggregate(&v6.collect());
    v4.iter().any(|net| net.prefix_len() == 0) || v6.iter().any(|net| net.prefix_len() == 0)
}

impl Listener {
    /// A listener in clear text for the computer itself: what is used when none is configured.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            tls: Tls::None,
            auth: Auth::Optional,
            networks: ["127.0.0.0/8", "::1/128"]
                .iter()
                .filter_map(|net| net.parse().ok())
                .collect(),
            proxies: Vec::new(),
            fix_ups: FixUps::ALL,
        }
    }

    /// Whether this peer is a proxy that speaks for its clients.
    #[must_use]
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|net| net.contains(&peer))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 50_000_000,
            recipients: 1000,
            line_length: 100 * 1024,
            bad_commands: 20,
            login_failures: 3,
            refused_recipients: 100,
            received_hops: 50,
            minimum_rate: 100,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            helo: minutes(5),
            command: minutes(5),
            content: minutes(3),
            handshake: minutes(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(networks: &[&str], auth: Auth, tls: Tls) -> Policy {
        let mut policy = Policy::new("mx.example", Address::parse("p@mx.example").unwrap());
        policy.listeners.push(Listener {
            tls,
            auth,
            networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            fix_ups: FixUps::NONE,
            proxies: Vec::new(),
        });
        policy
    }

    #[test]
    fn an_open_relay_is_refused_however_it_is_written() {
        for networks in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1"],
            &["::/1", "8000::/2", "c000::/2"],
        ] {
            let policy = with(networks, Auth::Optional, Tls::None);
            let open = Err(PolicyError::OpenRelay { listener: 0 });
            assert_eq!(policy.check(), open, "{networks:?}");
        }
        let policy = with(&["10.0.0.0/8", "::1/128"], Auth::None, Tls::None);
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn settings_that_can_not_work_are_refused() {
        let policy = with(&[], Auth::Required, Tls::None);
        assert_eq!(
            policy.check(),
            Err(PolicyError::LoginWithoutTls { listener: 0 })
        );
        let mut policy = with(&[], Auth::Required, Tls::StartTls);
        let missing = Err(PolicyError::TlsWithoutCertificate { listener: 0 });
        assert_eq!(policy.check(), missing);
        policy.tls_available = true;
        assert_eq!(policy.check(), Ok(()));
    }
}
