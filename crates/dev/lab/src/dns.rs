//! A DNS server that answers for every name there is, from a map that can be changed at any time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, TLSA, TXT};
use hickory_proto::rr::{Name, RData};
use tokio::task::AbortHandle;

use crate::dns_server;
use crate::entry::Trouble;
use crate::signed::{Chain, Tree};
use crate::zone::{EdnsTrouble, Zone};

/// A DNS server over UDP and TCP on one port. Unknown names do not exist (with an SOA), known
/// ones without a record of the type have no data.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: Vec<AbortHandle>,
}

impl Dns {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Starts on a free port of a loopback address.
    ///
    /// # Panics
    /// When the address has no free port.
    #[must_use]
    pub fn start_on(ip: IpAddr) -> Self {
        let zone = Arc::new(Mutex::new(Zone::default()));
        let (address, tasks) = dns_server::start(ip, &zone).expect("a free port for DNS");
        Self {
            address,
            zone,
            tasks,
        }
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an MX record.
    pub fn mx(&self, domain: &str, preference: u16, host: &str) -> &Self {
        self.record(domain, RData::MX(MX::new(preference, dns_name(host))))
    }

    /// Adds the MX record that says: no mail here (RFC 7505).
    pub fn null_mx(&self, domain: &str) -> &Self {
        self.record(domain, RData::MX(MX::new(0, Name::root())))
    }

    /// Adds an IPv4 address.
    pub fn a(&self, name: &str, ip: Ipv4Addr) -> &Self {
        self.record(name, RData::A(A(ip)))
    }

    /// Adds an IPv6 address.
    pub fn aaaa(&self, name: &str, ip: Ipv6Addr) -> &Self {
        self.record(name, RData::AAAA(AAAA(ip)))
    }

    /// Adds an address of either family.
    pub fn address_of(&self, name: &str, ip: IpAddr) -> &Self {
        match ip {
            IpAddr::V4(ip) => self.a(name, ip),
            IpAddr::V6(ip) => self.aaaa(name, ip),
        }
    }

    /// Makes a name an alias.
    pub fn cname(&self, name: &str, target: &str) -> &Self {
        self.record(name, RData::CNAME(CNAME(dns_name(target))))
    }

    /// Adds a text record; a long text of ASCII in several strings.
    pub fn txt(&self, name: &str, text: &str) -> &Self {
        let strings = text.as_bytes().chunks(255);
        let strings = strings.map(|s| String::from_utf8_lossy(s).into_owned());
        self.record(name, RData::TXT(TXT::new(strings.collect())))
    }

    /// Adds a TLSA record for SMTP at a port of a host (RFC 6698 §2.1).
    pub fn tlsa(&self, host: &str, port: u16, fields: (u8, u8, u8), data: &[u8]) -> &Self {
        let (usage, selector, matching) = fields;
        let record = TLSA::new(
            CertUsage::from(usage),
            Selector::from(selector),
            Matching::from(matching),
            data.to_vec(),
        );
        self.record(&format!("_{port}._tcp.{host}"), RData::TLSA(record))
    }

    /// Signs the root, and with it all names that are in no zone of their own.
    pub fn sign(&self) -> &Self {
        self.zone().tree.get_or_insert_with(Tree::new);
        self
    }

    /// Makes a name a signed zone of its own.
    pub fn secure_zone(&self, name: &str) -> &Self {
        self.cut(name, Chain::Secure)
    }

    /// Makes a name a zone that is not signed, which the zone above it proves.
    pub fn insecure_zone(&self, name: &str) -> &Self {
        self.cut(name, Chain::Insecure)
    }

    /// Makes a name a zone that is signed with another key than the zone above it names.
    pub fn bogus_zone(&self, name: &str) -> &Self {
        self.cut(name, Chain::Bogus)
    }

    fn cut(&self, name: &str, chain: Chain) -> &Self {
        let mut zone = self.zone();
        zone.tree
            .get_or_insert_with(Tree::new)
            .zone(dns_name(name), chain);
        drop(zone);
        self
    }

    /// Takes all signatures out of the answers from now on, as some routers do.
    pub fn strip(&self) -> &Self {
        self.zone().tree = None;
        self
    }

    /// The root's key, as a file of trust anchors has it; `None` while nothing is signed.
    #[must_use]
    pub fn trust_anchor(&self) -> Option<String> {
        self.zone().tree.as_ref().map(Tree::anchor)
    }

    /// Adds a record of any type.
    pub fn record(&self, name: &str, data: RData) -> &Self {
        self.zone().entry(name).records.push(data);
        self
    }

    /// Does not know EDNS from now on.
    pub fn edns(&self, trouble: EdnsTrouble) -> &Self {
        self.zone().edns = Some(trouble);
        self
    }

    /// Answers questions for a name with SERVFAIL.
    pub fn servfail(&self, name: &str) -> &Self {
        self.zone().entry(name).trouble = Trouble::ServFail;
        self
    }

    /// Never answers questions for a name.
    pub fn timeout(&self, name: &str) -> &Self {
        self.zone().entry(name).trouble = Trouble::NoAnswer;
        self
    }

    /// Holds answers for a name back.
    pub fn delay(&self, name: &str, delay: Duration) -> &Self {
        self.zone().entry(name).delay = delay;
        self
    }

    /// Forgets a name with its records and its trouble.
    pub fn remove(&self, name: &str) -> &Self {
        self.zone().entries.remove(&crate::zone::key(name));
        self
    }

    /// Sets the time for which answers may be kept, negative ones as well. Default: 60 s.
    pub fn ttl(&self, ttl: Duration) -> &Self {
        let secs = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        let mut zone = self.zone();
        zone.ttl_secs = secs;
        zone.negative_ttl_secs = secs;
        drop(zone);
        self
    }

    /// Every question asked so far: name in lower case without the last dot, and type.
    #[must_use]
    pub fn questions(&self) -> Vec<(String, String)> {
        self.zone().questions.clone()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn dns_name(name: &str) -> Name {
    Name::from_str(&format!("{}.", name.trim_end_matches('.')))
        .unwrap_or_else(|e| panic!("`{name}` is no name for DNS: {e}"))
}
