//! `[console]`: where HTTP is answered, to whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Spanned;

use super::TlsFiles;
use super::error::{ConfigError, Place};
use super::raw;
use super::values::networks;

/// Where HTTP is answered unless it is said.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8025);
/// Connections at once unless it is said.
const MAX_CONNECTIONS: usize = 100;

/// The settings of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsoleSettings {
    /// `None`: HTTP is switched off.
    pub(crate) address: Option<SocketAddr>,
    /// Names, besides the server's, that requests may be addressed to.
    pub(crate) hosts: Vec<String>,
    /// The keys' file.
    pub(crate) keys: PathBuf,
    pub(crate) metrics_networks: Vec<IpNet>,
    pub(crate) max_connections: usize,
}

impl ConsoleSettings {
    /// Whether HTTPS is spoken: everywhere but on loopback.
    pub(crate) fn is_https(&self) -> bool {
        self.address.is_some_and(|a| !a.ip().is_loopback())
    }
}

pub(super) fn console(
    raw: &raw::Console,
    place: &Place<'_>,
    tls: &TlsFiles,
    data_dir: &Path,
    base: &Path,
) -> Result<ConsoleSettings, ConfigError> {
    let address = match &raw.address {
        None => Some(SocketAddr::from(ADDRESS)),
        Some(text) if text.get_ref().is_empty() => None,
        Some(text) => Some(address(text, place, tls)?),
    };
    let metrics_networks = match &raw.metrics_networks {
        Some(list) => networks(list, place, "console.metrics_networks")?,
        None => ["127.0.0.0/8", "::1/128"]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect(),
    };
    Ok(ConsoleSettings {
        address,
        hosts: raw.hosts.clone(),
        keys: match &raw.keys {
            Some(text) => base.join(text.get_ref()),
            None => data_dir.join("keys.toml"),
        },
        metrics_networks,
        max_connections: raw.max_connections.unwrap_or(MAX_CONNECTIONS),
    })
}

fn address(
    text: &Spanned<String>,
    place: &Place<'_>,
    tls: &TlsFiles,
) -> Result<SocketAddr, ConfigError> {
    let given = text.get_ref();
    let wrong = |why: String| place.key(text.span(), "console.address", why);
    let address: SocketAddr = given.parse().map_err(|_| {
        wrong(format!(
            "`{given}` is no address with a port: write \"127.0.0.1:8025\", or \"\" for none"
        ))
    })?;
    if !address.ip().is_loopback() && tls.certificate.is_none() {
        return Err(wrong(
            "beyond this computer keys and mail go over TLS only: set tls.certificate and \
             tls.private_key, or use a loopback address"
                .to_owned(),
        ));
    }
    Ok(address)
}
