//! Networks that DNS may not send us to, and those that `check` proposes for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;
use route::{LOOPBACK, Mode, NOWHERE, PRIVATE, RouteSettings, is_public};

use super::Sources;
use super::error::{ConfigError, Place};
use super::raw::Outgoing;
use super::values::networks;

const KEY: &str = "outgoing.refuse_networks";
/// Addresses that are nobody's (RFC 5737, RFC 3849): nothing is ever sent there.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The networks of `outgoing.refuse_networks`, names among them.
pub(super) fn refused(raw: &Outgoing, place: &Place<'_>) -> Result<Vec<IpNet>, ConfigError> {
    let default = || LOOPBACK.into_iter().chain(NOWHERE);
    let Some(list) = &raw.refuse_networks else {
        return Ok(default().collect());
    };
    let mut found = Vec::with_capacity(list.len());
    for entry in list {
        match entry.get_ref().as_str() {
            "default" => found.extend(default()),
            "private" => found.extend(PRIVATE),
            text if text.contains(['.', ':']) => {
                found.extend(networks(std::slice::from_ref(entry), place, KEY)?);
            }
            text => {
                let why = format!(
                    "`{text}` is not a network: write \"192.0.2.0/24\", an address, \"default\" or \"private\""
                );
                return Err(place.key(entry.span(), KEY, why));
            }
        }
    }
    Ok(found)
}

/// What a server that everybody reaches might refuse as well; nothing where the key is set.
pub(super) fn proposal(
    raw: &Outgoing,
    routing: &RouteSettings,
    sources: &Sources,
) -> Option<String> {
    if raw.refuse_networks.is_some() || routing.mode != Mode::Independent {
        return None;
    }
    let listeners = routing.own_listeners.iter().map(SocketAddr::ip);
    let own = listeners.chain(sources.all.iter().map(|s| s.address));
    let mut all = own.chain(SOMEWHERE.iter().filter_map(|to| towards(*to)));
    let public = all.find(|ip| is_public(*ip))?;
    Some(format!(
        "this server has a public address ({public}), and the DNS of other domains may direct its mail to hosts in \
         private networks: if you send no mail to such hosts by MX records, set {KEY} = [\"default\", \
         \"private\"]; if you do, set it to [\"default\"]"
    ))
}

/// The address of ours that packets to another would leave from; none is sent.
fn towards(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
