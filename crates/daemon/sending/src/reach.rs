//! Where a mail host can be reached: its addresses, and which of them may be used.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use config::sources::Source;
use deliver::{Skip, TlsMode};
use mail::{EnhancedCode, Reply};
use net::{Answer, DnsFinding, Dnssec};
use node::detail::log_addresses;
use node::hop::Hop;
use node::{Node, Settings};
use route::{Host, HostAddresses};
use tokio::net::TcpStream;

/// How long DNS is waited for where it may only say more of a server that is known without.
const DNS_WAIT: Duration = Duration::from_secs(3);

/// Why a host is not connected to.
pub(crate) enum NoAddress {
    /// The host is this server.
    Ourselves,
    Because(Reply, Skip),
}

/// The addresses of a host that may be connected to, and what DNS said of it.
pub(crate) async fn addresses(
    node: &Node,
    settings: &Settings,
    hop: &Hop,
    host: &Host,
) -> Result<(Vec<IpAddr>, Option<DnsFinding<IpAddr>>), NoAddress> {
    let because = |code: (u8, u16, u16), text: String| {
        let reply = Reply::own(EnhancedCode::new(code.0, code.1, code.2), text);
        NoAddress::Because(reply, Skip::Passing)
    };
    let mut finding = None;
    let found = match host.addresses {
        HostAddresses::Literal(ip) => vec![ip],
        HostAddresses::LookUp if hop.next.configured => {
            finding = named_in_dns(settings, hop.tls, host).await;
            let found = configured_addresses(settings, host).await;
            found.map_err(|(why, is_unknown)| {
                let reply = Reply::own(EnhancedCode::new(4, 4, 3), why);
                let skip = if is_unknown {
                    Skip::Ours
                } else {
                    Skip::Passing
                };
                NoAddress::Because(reply, skip)
            })?
        }
        HostAddresses::LookUp => {
            let found = settings.dns.addresses(host.name.as_str()).await;
            log_addresses(node, &host.name, host.name.as_str(), &found);
            match &finding.insert(found).answer {
                Answer::Found(list) => list.clone(),
                Answer::NoData | Answer::NxDomain => {
                    let text = format!("the mail host {} has no address", host.name);
                    let reply = Reply::own(EnhancedCode::new(4, 4, 4), text);
                    return Err(NoAddress::Because(reply, Skip::NoAddress));
                }
                Answer::Failed(why) => {
                    let text = format!("the address lookup of {} failed: {why}", host.name);
                    return Err(because((4, 4, 3), text));
                }
            }
        }
    };
    let routing = &settings.config.routing;
    if !hop.next.configured && routing.is_ourselves(host, &found) {
        return Err(NoAddress::Ourselves);
    }
    let usable = routing.usable(&hop.next, host, &found).map_err(|why| {
        because(
            (4, 4, 4),
            format!("the mail host {} is not used: {why}", host.name),
        )
    })?;
    Ok((usable, finding))
}

/// What DNS says of a server that the administrator named, where it may say by DANE how the server proves
/// itself (RFC 7672 §2.2.2). Without a DNS server that validates, nothing is asked, and nothing waits
/// for long.
pub async fn named_in_dns(
    settings: &Settings,
    tls: TlsMode,
    host: &Host,
) -> Option<DnsFinding<IpAddr>> {
    let asks = match tls {
        TlsMode::Opportunistic | TlsMode::Require => settings.config.outgoing.published.dane,
        TlsMode::None | TlsMode::Verify | TlsMode::Implicit => false,
    };
    let dns = &settings.dns;
    if !asks || dns.servers().is_empty() {
        return None;
    }
    let validated = async { dns.dnssec().await == Dnssec::Validated };
    let validated = tokio::time::timeout(DNS_WAIT, validated).await;
    if validated != Ok(true) {
        return None;
    }
    let asked = dns.addresses(host.name.as_str());
    tokio::time::timeout(DNS_WAIT, asked).await.ok()
}

/// A server that the administrator named is found by DNS, or by what the system knows: Relay Mode
/// works without any DNS server. An error says whether there is no such name, as far as is known.
async fn configured_addresses(
    settings: &Settings,
    host: &Host,
) -> Result<Vec<IpAddr>, (String, bool)> {
    let by_system = net::addresses_by_system(host.name.as_str()).await;
    let why = match by_system {
        Ok(found) => {
            if !found.is_empty() {
                return Ok(found);
            }
            "the system knows no address".to_owned()
        }
        Err(error) => error.to_string(),
    };
    match settings.dns.addresses(host.name.as_str()).await.answer {
        Answer::Found(list) => Ok(list),
        Answer::NoData | Answer::NxDomain => {
            let why = format!("the configured server {} does not exist", host.name);
            Err((why, true))
        }
        Answer::Failed(_) => {
            let why = format!("the server {} cannot be found: {why}", host.name);
            Err((why, false))
        }
    }
}

/// Whether a connection has led to this server.
pub(crate) fn is_own(settings: &Settings, tcp: &TcpStream, source: Option<&Source>) -> bool {
    let (Ok(ours), Ok(theirs)) = (tcp.local_addr(), tcp.peer_addr()) else {
        return false;
    };
    let routing = &settings.config.routing;
    if source.is_none() {
        return routing.is_own_connection(ours.ip(), theirs);
    }
    // From an address that was chosen, the connection does not stay on one: the system is asked
    // whether the other one is this computer's too.
    let is_ours = || UdpSocket::bind(SocketAddr::new(theirs.ip(), 0)).is_ok();
    routing.is_own_connection(theirs.ip(), theirs) && is_ours()
}

/// What is said of a mail that loops.
pub(crate) fn a_loop(host: &Host) -> Reply {
    let text = format!(
        "the mail loops back to this server: it is the mail host {}, but the domain is not a local domain (a name \
         of this server, such as root, needs an alias in [aliases])",
        host.name
    );
    Reply::own(EnhancedCode::new(5, 4, 6), text)
}
