//! A next hop: the hosts that are tried, in order.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use mail::Domain;

use crate::refused::{NOWHERE, PRIVATE, refused_by};

/// Where a host's addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddresses {
    /// DNS (or the hosts file and the system's resolver, for a configured server).
    LookUp,
    /// The address is the name.
    Literal(IpAddr),
}

/// One host of a next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, or the address literal.
    pub name: Domain,
    /// Its port.
    pub port: u16,
    /// The MX preference, the lowest first; for configured servers, their place in the list.
    pub preference: u16,
    /// Where its addresses come from.
    pub addresses: HostAddresses,
}

/// Where the mail for a domain goes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The hosts by preference; equals in the order of DNS.
    pub hosts: Vec<Host>,
    /// The administrator named them, so our own and refused networks are allowed.
    pub configured: bool,
    /// A relay's login may be used with them.
    pub relay: bool,
}

impl NextHop {
    /// The name of the site: equal for all domains with the same hosts, whatever their order.
    #[must_use]
    pub fn site_key(&self) -> Arc<str> {
        let name = |h: &Host| match h.port {
            25 => h.name.to_string(),
            port => format!("{}:{port}", h.name),
        };
        let names: BTreeSet<String> = self.hosts.iter().map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.join(",").into()
    }
}

/// The order in which the hosts are tried: by preference, equals at random (RFC 5321 §5.1).
/// `seed` decides the chance.
#[must_use]
pub fn order_hosts(hosts: &[Host], seed: u64) -> Vec<Host> {
    let mut state = seed;
    let mut keyed: Vec<(u16, u64, &Host)> = hosts
        .iter()
        .map(|h| {
            state = mix(state.wrapping_add(1));
            (h.preference, state, h)
        })
        .collect();
    keyed.sort_by_key(|(preference, chance, _)| (*preference, *chance));
    keyed.into_iter().map(|(_, _, h)| h.clone()).collect()
}

/// The finaliser of splitmix64.
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Why none of a host's addresses may be connected to. One reason, of the address that was looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("it has no address")]
    NoAddress,
    /// We listen there.
    #[error("{0} is this server itself")]
    Ourselves(IpAddr),
    /// The administrator refuses the network that it is in.
    #[error("{0} is in the refused network {1} (outgoing.refuse_networks)")]
    Refused(IpAddr, IpNet),
    /// A stranger's name leads into a private network.
    #[error("{0} is in the private network {1}, where names published by others must not point to")]
    Private(IpAddr, IpNet),
}

/// Which addresses of a host may be connected to.
///
/// # Errors
/// The reason, when none may: for the log and the verdict.
pub(crate) fn usable(
    addresses: &[IpAddr],
    port: u16,
    refused: &[IpNet],
    own: &[SocketAddr],
) -> Result<Vec<IpAddr>, Unusable> {
    let mut reason = Unusable::NoAddress;
    let may = |ip: &&IpAddr| {
        let plain = ip.to_canonical();
        if is_own(plain, port, own) {
            reason = Unusable::Ourselves(**ip);
            return false;
        }
        if let Some(net) = refused_by(**ip, refused) {
            reason = Unusable::Refused(**ip, net);
            return false;
        }
        true
    };
    let left: Vec<IpAddr> = addresses.iter().filter(may).copied().collect();
    if left.is_empty() {
        Err(reason)
    } else {
        Ok(left)
    }
}

/// Which addresses may be fetched from by a name that a stranger publishes: none of a private network,
/// whatever is refused for mail. Loopback is as `refused` says.
///
/// # Errors
/// The reason, when none may.
pub(crate) fn fetchable(addresses: &[IpAddr], refused: &[IpNet]) -> Result<Vec<IpAddr>, Unusable> {
    // Our own listeners take mail, and a web server may stand beside them.
    let allowed = usable(addresses, 0, refused, &[])?;
    let mut reason = Unusable::NoAddress;
    let may = |ip: &IpAddr| {
        let within = |networks| refused_by(*ip, networks);
        let Some(net) = within(&NOWHERE).or_else(|| within(&PRIVATE)) else {
            return true;
        };
        reason = Unusable::Private(*ip, net);
        false
    };
    let left: Vec<IpAddr> = allowed.into_iter().filter(may).collect();
    match left.is_empty() {
        true => Err(reason),
        false => Ok(left),
    }
}

pub(crate) fn is_own(ip: IpAddr, port: u16, own: &[SocketAddr]) -> bool {
    own.iter().any(|listener| {
        listener.port() == port
            && (listener.ip().to_canonical() == ip
                || listener.ip().is_unspecified() && ip.is_loopback())
    })
}
