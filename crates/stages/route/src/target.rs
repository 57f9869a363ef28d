//! A server that is named in configuration: `host`, `host:port`, `[ip]`, `[ip]:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use mail::{Domain, ParseDomainError};

/// A server and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name or address literal.
    pub host: Domain,
    /// Its port.
    pub port: u16,
}

/// Why a text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// The part after the colon is not a port.
    #[error("`{0}` is not a port: a port is a number from 1 to 65535")]
    Port(String),
    /// The part before it is not a host.
    #[error(
        "`{0}` is not a server: write \"host\", \"host:port\", \"[address]\" or \"[address]:port\""
    )]
    Host(String, #[source] ParseDomainError),
}

impl Target {
    /// Reads a server's name; `default_port` counts where none is given.
    ///
    /// # Errors
    /// When the host is neither a name nor an address, or the port is not one.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ParseTargetError> {
        let text = text.trim();
        // An IPv6 address without brackets has more than one colon, and no port.
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Self {
                host: Domain::from_ip(IpAddr::V6(ip)),
                port: default_port,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            Some(_) | None => (text, None),
        };
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|p| *p > 0)
                .ok_or_else(|| ParseTargetError::Port(port.to_owned()))?,
            None => default_port,
        };
        let inner = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let inner = inner.strip_prefix("IPv6:").unwrap_or(inner);
        let host = match inner.parse::<IpAddr>() {
            Ok(ip) => Domain::from_ip(ip),
            Err(_) => Domain::parse(host)
                .map_err(|source| ParseTargetError::Host(text.to_owned(), source))?,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
