//! The decision itself (RFC 5321 §5.1, RFC 7505, RFC 974 for the implicit MX).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mail::{Class, Domain, EnhancedCode, Outcome, Reply, Timestamp, Verdict};

use crate::hop::{Host, HostAddresses, NextHop, Unusable, fetchable, is_own, usable};
use crate::target::Target;

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// Its preference: the lowest is tried first.
    pub preference: u16,
    /// The host as it stands in the record; the root (`.`) is the null MX.
    pub exchange: String,
}

/// What DNS said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsAnswer<T> {
    /// Records.
    Found(Vec<T>),
    /// The name exists and has none of this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No usable answer: SERVFAIL, refused, time-out.
    Failed(String),
}

/// The mode of outgoing mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Each domain's own hosts.
    Independent,
    /// These servers, in this order, for everything.
    Relay(Vec<Target>),
}

/// What the decision depends on besides the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// The mode.
    pub mode: Mode,
    /// Our own name: found in an MX list it is ourselves.
    pub hostname: Domain,
    /// The port of MX hosts.
    pub smtp_port: u16,
    /// Ask the parent domain where a domain has neither MX nor address.
    pub parent_domain_mx: bool,
    /// Addresses that DNS may not send us to.
    pub refuse_networks: Vec<IpNet>,
    /// Our own listeners.
    pub own_listeners: Vec<SocketAddr>,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for the MX records of this name.
    AskMx(Domain),
    /// Ask for the addresses of this name: it may be its own mail host.
    AskAddress(Domain),
    /// This is where it goes.
    Go(NextHop),
    /// It cannot be sent: for good or for now.
    No(Box<Verdict>),
}

/// Decides for one domain; carries what it has learned from one answer to the next.
#[derive(Debug)]
pub struct Router<'a> {
    settings: &'a RouteSettings,
    domain: Domain,
    /// The name that is being asked for: the domain, or one of its parents.
    asked: Domain,
    now: Timestamp,
}

impl<'a> Router<'a> {
    /// Begins the decision for `domain`. `via` is its Via SMTP rule, which only Independent Mode
    /// obeys.
    pub fn begin(
        settings: &'a RouteSettings,
        domain: &Domain,
        via: Option<&Target>,
        now: Timestamp,
    ) -> (Self, Step) {
        let asked = domain.to_ascii().unwrap_or_else(|| domain.clone());
        let router = Self {
            settings,
            domain: domain.clone(),
            asked: asked.clone(),
            now,
        };
        let step = match (&settings.mode, via, domain.literal()) {
            (Mode::Relay(relays), _, _) => router.go_to(relays, true),
            (Mode::Independent, Some(via), _) => router.go_to(std::slice::from_ref(via), false),
            (Mode::Independent, None, Some(ip)) => router.literal(ip),
            (Mode::Independent, None, None) => Step::AskMx(asked),
        };
        (router, step)
    }

    fn go_to(&self, targets: &[Target], relay: bool) -> Step {
        let hosts = targets.iter().zip(0..).map(|(target, preference)| Host {
            name: target.host.clone(),
            port: target.port,
            preference,
            addresses: target
                .host
                .literal()
                .map_or(HostAddresses::LookUp, HostAddresses::Literal),
        });
        let hosts: Vec<Host> = hosts
            .filter(|h| match h.addresses {
                HostAddresses::Literal(ip) => !is_own(ip, h.port, &self.settings.own_listeners),
                HostAddresses::LookUp => true,
            })
            .collect();
        if hosts.is_empty() {
            let text = "the configured server is one of this server's own listeners";
            return self.no(Outcome::Deferred, Class::Policy, (4, 4, 6), text);
        }
        Step::Go(NextHop {
            hosts,
            configured: true,
            relay,
        })
    }

    fn literal(&self, ip: IpAddr) -> Step {
        let s = self.settings;
        match usable(&[ip], s.smtp_port, &s.refuse_networks, &s.own_listeners) {
            Ok(_) => Step::Go(NextHop {
                hosts: vec![Host {
                    name: self.domain.clone(),
                    port: s.smtp_port,
                    preference: 0,
                    addresses: HostAddresses::Literal(ip),
                }],
                configured: false,
                relay: false,
            }),
            Err(reason) => self.no(
                Outcome::Failed,
                Class::Policy,
                (5, 4, 4),
                &reason.to_string(),
            ),
        }
    }

    fn no(&self, outcome: Outcome, class: Class, code: (u8, u16, u16), text: &str) -> Step {
        let enhanced = EnhancedCode::new(code.0, code.1, code.2);
        let reply = Reply::own(enhanced, text);
        Step::No(Box::new(Verdict::own(outcome, class, reply, self.now)))
    }

    /// The answer to [`Step::AskMx`].
    pub fn mx_answer(&mut self, answer: DnsAnswer<MxRecord>) -> Step {
        match answer {
            DnsAnswer::Found(records) if records.iter().any(|r| is_null(&r.exchange)) => {
                if records.len() == 1 {
                    let text = format!("{} accepts no mail (null MX)", self.domain);
                    return self.no(Outcome::Failed, Class::Dns, (5, 1, 10), &text);
                }
                // A null MX among others is an error of theirs (RFC 7505 §3): the others count.
                self.hosts(
                    records
                        .into_iter()
                        .filter(|r| !is_null(&r.exchange))
                        .collect(),
                )
            }
            DnsAnswer::Found(records) if !records.is_empty() => self.hosts(records),
            DnsAnswer::Found(_) | DnsAnswer::NoData => Step::AskAddress(self.asked.clone()),
            DnsAnswer::NxDomain => self.absent((5, 1, 2), "does not exist"),
            DnsAnswer::Failed(why) => {
                let text = format!("the MX lookup of {} failed: {why}", self.asked);
                self.no(Outcome::Deferred, Class::Dns, (4, 4, 3), &text)
            }
        }
    }

    /// The answer to [`Step::AskAddress`]: without MX the domain is its own host.
    pub fn address_answer(&mut self, answer: DnsAnswer<IpAddr>) -> Step {
        match answer {
            DnsAnswer::Found(found) if !found.is_empty() => {
                let own = &self.settings.own_listeners;
                let port = self.settings.smtp_port;
                if self.asked == self.settings.hostname
                    || found.iter().all(|ip| is_own(*ip, port, own))
                {
                    return self.a_loop();
                }
                let name = self.asked.clone();
                Step::Go(NextHop {
                    hosts: vec![self.host(name, 0)],
                    configured: false,
                    relay: false,
                })
            }
            DnsAnswer::Found(_) | DnsAnswer::NoData => {
                self.absent((5, 4, 4), "has neither MX nor address records")
            }
            DnsAnswer::NxDomain => self.absent((5, 1, 2), "does not exist"),
            DnsAnswer::Failed(why) => {
                let text = format!("the address lookup of {} failed: {why}", self.asked);
                self.no(Outcome::Deferred, Class::Dns, (4, 4, 3), &text)
            }
        }
    }

    /// Nothing there: the parent is asked if the administrator wants that, and never a public
    /// suffix, whose MX has nothing to do with its customers.
    fn absent(&mut self, code: (u8, u16, u16), what: &str) -> Step {
        if self.settings.parent_domain_mx
            && let Some(parent) = self.asked.parent()
            && !is_public_suffix(&parent)
        {
            self.asked = parent.clone();
            return Step::AskMx(parent);
        }
        let text = format!("the domain {} {what}", self.domain);
        self.no(Outcome::Failed, Class::Dns, code, &text)
    }

    fn a_loop(&self) -> Step {
        if self.domain == self.settings.hostname {
            let text = format!(
                "{} is this server, and nobody reads that mail here: name who does in [aliases], as in root = \
                 \"you@example.com\"",
                self.domain
            );
            return self.no(Outcome::Failed, Class::Policy, (5, 1, 1), &text);
        }
        let text = format!(
            "mail for {} loops back to this server: its best mail host is {}, but the domain is not a local domain \
             (local.domains)",
            self.domain, self.settings.hostname
        );
        self.no(Outcome::Failed, Class::Policy, (5, 4, 6), &text)
    }

    fn host(&self, name: Domain, preference: u16) -> Host {
        Host {
            name,
            port: self.settings.smtp_port,
            preference,
            addresses: HostAddresses::LookUp,
        }
    }

    fn hosts(&self, mut records: Vec<MxRecord>) -> Step {
        records.sort_by_key(|r| r.preference);
        let mut hosts: Vec<Host> = Vec::with_capacity(records.len());
        for record in &records {
            // A record may hold an address in the form of a name, which no host has (RFC 5321 §5.1).
            let as_ip = record
                .exchange
                .trim_end_matches('.')
                .parse::<IpAddr>()
                .is_ok();
            let Some(name) = Domain::parse(&record.exchange).ok().filter(|_| !as_ip) else {
                continue;
            };
            if name == self.settings.hostname {
                hosts.retain(|h| h.preference < record.preference);
                if hosts.is_empty() {
                    return self.a_loop();
                }
                break;
            }
            if !hosts.iter().any(|h| h.name == name) {
                hosts.push(self.host(name, record.preference));
            }
        }
        if hosts.is_empty() {
            let text = format!("no MX record of {} contains a host name", self.asked);
            return self.no(Outcome::Failed, Class::Dns, (5, 4, 4), &text);
        }
        Step::Go(NextHop {
            hosts,
            configured: false,
            relay: false,
        })
    }
}

impl RouteSettings {
    /// Which of a host's addresses may be connected to.
    ///
    /// # Errors
    /// The reason, when none may.
    pub fn usable(
        &self,
        hop: &NextHop,
        host: &Host,
        found: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Unusable> {
        let refused: &[IpNet] = if hop.configured {
            &[]
        } else {
            &self.refuse_networks
        };
        usable(found, host.port, refused, &self.own_listeners)
    }

    /// Which addresses of a web server may be asked whose name strangers publish.
    ///
    /// # Errors
    /// The reason, when none may.
    pub fn fetchable(&self, found: &[IpAddr]) -> Result<Vec<IpAddr>, Unusable> {
        fetchable(found, &self.refuse_networks)
    }

    /// Whether a connection has led to this server. A listener at every address of the machine
    /// does not say which these are; a connection that stays on one address does.
    #[must_use]
    pub fn is_own_connection(&self, ours: IpAddr, theirs: SocketAddr) -> bool {
        let everywhere = |l: &SocketAddr| l.port() == theirs.port() && l.ip().is_unspecified();
        ours.to_canonical() == theirs.ip().to_canonical()
            && self.own_listeners.iter().any(everywhere)
    }

    /// Whether a host is this server: then it, and those of no better preference, are cut off.
    #[must_use]
    pub fn is_ourselves(&self, host: &Host, found: &[IpAddr]) -> bool {
        !found.is_empty()
            && found
                .iter()
                .all(|ip| is_own(ip.to_canonical(), host.port, &self.own_listeners))
    }
}

fn is_null(exchange: &str) -> bool {
    exchange.trim_end_matches('.').is_empty()
}

fn is_public_suffix(domain: &Domain) -> bool {
    psl::suffix(domain.as_str().as_bytes())
        .is_some_and(|s| s.as_bytes() == domain.as_str().as_bytes())
        || !domain.as_str().contains('.')
}
