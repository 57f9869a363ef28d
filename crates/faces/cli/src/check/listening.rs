//! Whether the addresses can be listened at. Those of the server that has this data directory are its own.

use std::io::ErrorKind;
use std::net::SocketAddr;

use config::Config;
use doubts::Doubt;
use ops::Listening;

use super::finding::Severity;
use crate::ask;

/// What the running server listens at.
enum Own {
    /// None answers.
    Nothing,
    /// It does not say.
    Unknown,
    Addresses(Vec<SocketAddr>),
}

impl Own {
    fn ask(config: &Config) -> Self {
        match ask::ask(config, Listening) {
            Ok(list) => {
                let parsed = list.iter().filter_map(|text| text.parse().ok());
                Self::Addresses(parsed.collect())
            }
            Err(error) => match error.downcast_ref::<ask::Unreachable>() {
                Some(unreachable) if !unreachable.is_forbidden() => Self::Nothing,
                Some(_) | None => Self::Unknown,
            },
        }
    }

    /// Whether an address is taken by the server itself.
    fn has(&self, address: SocketAddr) -> bool {
        match self {
            Self::Nothing => false,
            Self::Unknown => true,
            Self::Addresses(list) => list.contains(&address),
        }
    }

    /// The server's own that is a part of this address, or that this is a part of.
    fn part(&self, address: SocketAddr) -> Option<SocketAddr> {
        let is_part = |own: &&SocketAddr| {
            let everywhere = own.ip().is_unspecified() || address.ip().is_unspecified();
            own.port() == address.port() && everywhere
        };
        match self {
            Self::Nothing | Self::Unknown => None,
            Self::Addresses(list) => list.iter().find(is_part).copied(),
        }
    }

    fn all(&self) -> &[SocketAddr] {
        match self {
            Self::Nothing | Self::Unknown => &[],
            Self::Addresses(list) => list,
        }
    }
}

/// What is wrong with the addresses, and how bad it is.
pub(super) fn judge(config: &Config) -> Vec<(Doubt, Severity)> {
    let mut found = Vec::new();
    let own = Own::ask(config);
    // They are kept until all are looked at: two that are in each other's way are found.
    let mut opened = Vec::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let listeners = config.listeners.iter().map(|a| ("listener.address", *a));
    let http = config.console.listeners.iter();
    let http = http.filter_map(|http| Some((http.key, http.address.tcp()?)));
    for (key, address) in listeners.chain(http) {
        let beside = [&addresses, own.all()].concat();
        let error = match net::bind(address, &beside) {
            Ok(socket) => {
                addresses.push(address);
                opened.push(socket);
                continue;
            }
            Err(error) => error,
        };
        if own.has(address) {
            continue;
        }
        let clash = addresses
            .iter()
            .find(|other| other.port() == address.port());
        let (severity, what) = match (error.kind(), clash) {
            (ErrorKind::AddrInUse, _) if own.part(address).is_some() => (
                Severity::Warning,
                format!(
                    "another program listens at a part of {address} (`ss -ltnp` names it): stop it, or list the \
                     addresses one by one. If none does, the server has its own part since before it gave up root's \
                     rights: restart it"
                ),
            ),
            (ErrorKind::AddrInUse, Some(other)) => (
                Severity::Error,
                format!("{address} and {other} conflict with each other: remove one of them"),
            ),
            (ErrorKind::AddrInUse, None) => (
                Severity::Error,
                format!(
                    "another program listens at {address}: stop it (`ss -ltnp` names it), or set another address"
                ),
            ),
            (ErrorKind::PermissionDenied, _) => (
                Severity::Warning,
                format!(
                    "this user is not allowed to open port {}: start the server by systemd or as root, or set a \
                     port from 1024 on",
                    address.port()
                ),
            ),
            (ErrorKind::AddrNotAvailable, _) => (
                Severity::Error,
                format!(
                    "{address} is not an address of this computer: use one that `ip address` shows"
                ),
            ),
            _ => (
                Severity::Error,
                format!("cannot listen at {address}: {error}"),
            ),
        };
        let key = Some(key);
        found.push((Doubt { key, what }, severity));
    }
    found
}
