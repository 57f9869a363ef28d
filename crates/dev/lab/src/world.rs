//! A world: DNS, a CA, a loopback network of its own, and one SMTP port for all its hosts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpSocket;

use crate::ca::Ca;
use crate::config::Config;
use crate::dns::Dns;
use crate::host::MxHost;
use crate::runtime::runtime;
use crate::web::WebHost;

/// Ports of hosts: below those that systems hand out to clients, so that no connection takes one.
const PORT_MIN: u16 = 10_000;
const PORTS: u32 = 20_000;
/// The port by which a world claims its network.
const CLAIM_PORT: u16 = 9_999;
/// Last octet of the address that claims the network, and of the server under test.
const CLAIM_HOST: u8 = 254;
const SERVER_HOST: u8 = 251;
/// The port of the server under test.
const SERVER_PORT: u16 = 2525;
/// Its port for HTTP.
const CONSOLE_PORT: u16 = 8025;
/// Networks tried until one is free.
const TRIES: u32 = 1_000;

/// DNS, a CA, and addresses for hosts.
#[derive(Debug)]
pub struct World {
    /// The DNS server.
    pub dns: Dns,
    /// The authority that issues the hosts' certificates.
    pub ca: Arc<Ca>,
    network: [u8; 3],
    port: u16,
    next: AtomicU8,
    has_v6: bool,
    _claims: Vec<TcpSocket>,
}

impl World {
    /// A new world that shares no address and port with any other.
    ///
    /// # Panics
    /// When loopback has no room left.
    #[must_use]
    pub fn new() -> Self {
        let (network, port, claims) = claim().expect("a free network of loopback");
        let has_v6 = claims.len() > 1;
        let [a, b, c] = network;
        Self {
            dns: Dns::start_on(IpAddr::V4(Ipv4Addr::new(a, b, c, CLAIM_HOST))),
            ca: Arc::new(Ca::new()),
            network,
            port,
            next: AtomicU8::new(1),
            has_v6,
            _claims: claims,
        }
    }

    /// The SMTP port of all hosts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An address at which nobody listens, handed out once.
    ///
    /// # Panics
    /// When all of the network is handed out.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        let last = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(last < SERVER_HOST, "a world has room for 250 hosts");
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Whether this machine has IPv6 on loopback.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        self.has_v6
    }

    /// Starts a host at an address of its own, and gives its name an A record.
    ///
    /// # Panics
    /// When the network is full.
    #[must_use]
    pub fn host(&self, name: &str) -> MxHost {
        let ip = self.address();
        self.dns.a(name, ip);
        self.host_at(name, IpAddr::V4(ip))
    }

    /// Starts the host that has ::1, and gives its name an AAAA record.
    ///
    /// # Panics
    /// When there is one already, or no IPv6.
    #[must_use]
    pub fn host_v6(&self, name: &str) -> MxHost {
        self.dns.aaaa(name, Ipv6Addr::LOCALHOST);
        self.host_at(name, IpAddr::V6(Ipv6Addr::LOCALHOST))
    }

    /// Starts a host at a given address; DNS knows nothing of it.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn host_at(&self, name: &str, ip: IpAddr) -> MxHost {
        MxHost::start_on(name, SocketAddr::new(ip, self.port), &self.ca)
            .unwrap_or_else(|e| panic!("{name} cannot listen at {ip}: {e}"))
    }

    /// Starts a host `mx.DOMAIN` that is the only MX of a domain.
    #[must_use]
    pub fn domain(&self, domain: &str) -> MxHost {
        let name = format!("mx.{domain}");
        self.dns.mx(domain, 10, &name);
        self.host(&name)
    }

    /// Starts a host `mxN.DOMAIN` that is one more MX of a domain.
    #[must_use]
    pub fn mx(&self, domain: &str, preference: u16, name: &str) -> MxHost {
        self.dns.mx(domain, preference, name);
        self.host(name)
    }

    /// Starts a web server at an address of its own and the world's port, and gives these names an A
    /// record; by HTTPS, with a certificate of the world's CA for them.
    ///
    /// # Panics
    /// When the network is full.
    #[must_use]
    pub fn web(&self, names: &[&str]) -> WebHost {
        let ip = self.address();
        for name in names {
            self.dns.a(name, ip);
        }
        let address = SocketAddr::new(IpAddr::V4(ip), self.port);
        WebHost::start(address, names, Some(&self.ca))
            .unwrap_or_else(|e| panic!("a web server cannot listen at {address}: {e}"))
    }

    /// Where the server under test listens.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        let [a, b, c] = self.network;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, SERVER_HOST)), SERVER_PORT)
    }

    /// Where the server under test may answer HTTP.
    #[must_use]
    pub fn console(&self) -> SocketAddr {
        SocketAddr::new(self.server().ip(), CONSOLE_PORT)
    }

    /// A configuration that makes this world all that the server knows: its DNS and its port, one
    /// listener at [`World::server`], no HTTP, loopback allowed as a destination.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new(self.server())
            .set("console.address", "")
            .set("dns.servers", [self.dns.address().to_string()])
            .set("dns.detect_if_given_fail", false)
            .set("outgoing.smtp_port", self.port)
            .set("outgoing.refuse_networks", Vec::<String>::new())
            // A server prepares several files of this size at its first start.
            .set("queue.segment_size", "8MiB")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A network and a port that are free, with the sockets that keep them ours; the second one is
/// that of IPv6.
fn claim() -> io::Result<([u8; 3], u16, Vec<TcpSocket>)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let _inside = runtime().enter();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = clock.map_or(0, |d| d.subsec_nanos());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut seed = process::id()
        .wrapping_mul(0x9E37_79B9)
        .wrapping_add(nanos)
        .wrapping_add(number << 8);
    for _ in 0..TRIES {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [x, y, _, _] = seed.to_be_bytes();
        // 127.0.y is left to others.
        let network = [127, x.max(1), y];
        let port = PORT_MIN + u16::try_from((seed >> 3) % PORTS).unwrap_or(0);
        let [a, b, c] = network;
        let claim = SocketAddr::from((Ipv4Addr::new(a, b, c, CLAIM_HOST), CLAIM_PORT));
        let Ok(socket) = reserve(claim) else {
            continue;
        };
        match reserve(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
            Ok(v6) => return Ok((network, port, vec![socket, v6])),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(_) => return Ok((network, port, vec![socket])),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Binds without listening: connections are refused, other worlds can not bind, and a host of
/// this one can, because both then have SO_REUSEADDR.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(false)?;
    socket.bind(address)?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}
