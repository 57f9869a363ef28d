//! Why a recipient has not been sent yet: one reason for every wait.

use std::fmt;
use std::sync::Arc;

use mail::{Destination, RecipientKey, Reply, Timestamp};

use crate::domain::Lookup;
use crate::entry::{HELD, KEPT, Phase};
use crate::scheduler::Scheduler;
use crate::window::Standing;

/// Why a recipient waits, and when that may change by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The reason.
    pub reason: Reason,
    /// The next event for it; `None` when it depends on something other than time.
    pub next: Option<Timestamp>,
}

/// The reasons there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An administrator holds it.
    Held,
    /// A fault of ours was found when it was tried; it is tried again, and that costs no attempt.
    Kept,
    /// The wait of its plan is not over.
    NotDue {
        /// Attempts made.
        attempts: u32,
        /// Attempts there are altogether.
        of: u32,
    },
    /// `outgoing.enabled = false`.
    OutgoingOff,
    /// Its domain is paused.
    Paused,
    /// DNS is being asked.
    LookingUp,
    /// The bound on lookups at once is reached.
    LookupLimit,
    /// No host of the site could be used, because of this; one connection finds out for all.
    CoolingOff(Option<Reply>),
    /// A fault of ours keeps mail from leaving; it is tried again, and costs no attempt.
    OurFault(Reply),
    /// One connection is finding out whether the site works.
    Probing,
    /// All connections that the site is given are busy.
    SiteConnections(u32),
    /// All connections that hosts of one provider are given together are in use.
    ProviderConnections(Arc<str>, u32),
    /// All connections of the server are busy.
    AllConnections(u32),
    /// Its site is left alone for a time.
    SitePaused,
    /// The rate set for the domain, or for its site.
    Rate,
    /// It is its turn in a moment.
    NextUp,
    /// It is being sent right now.
    InFlight,
}

/// Whether a reason of ours is that nothing was heard (RFC 3463 §3.5: X.4.1, X.4.2).
fn is_silence(why: &Reply) -> bool {
    let code = why.enhanced.map(|e| (e.subject, e.detail));
    matches!(code, Some((4, 1 | 2)))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held: an administrator must release it"),
            Self::Kept => f.write_str(
                "a fault on this side, which does not count as an attempt (see the last answer)",
            ),
            Self::NotDue { attempts: 0, .. } => {
                f.write_str("its first attempt is scheduled for later")
            }
            Self::NotDue { attempts, of } => {
                write!(
                    f,
                    "attempt {attempts} of {of} did not succeed; the next one is scheduled"
                )
            }
            Self::OutgoingOff => f.write_str("outgoing mail is switched off (outgoing.enabled)"),
            Self::Paused => f.write_str("its domain is paused by an administrator"),
            Self::LookingUp => f.write_str("its mail hosts are being looked up in DNS"),
            Self::LookupLimit => f.write_str("it waits until other DNS lookups have finished"),
            Self::CoolingOff(why) => {
                match why {
                    Some(why) if why.code > 0 => write!(f, "its mail host answered {why}")?,
                    Some(why) if is_silence(why) => {
                        write!(f, "its mail hosts did not answer ({})", why.text)?;
                    }
                    Some(why) => write!(f, "its mail hosts cannot be used: {}", why.text)?,
                    None => f.write_str("its mail hosts could not be used")?,
                }
                f.write_str("; one connection will try them again")
            }
            Self::OurFault(why) => {
                f.write_str("a fault on this side, which does not count as an attempt: ")?;
                match why.code {
                    0 => f.write_str(&why.text),
                    _ => write!(f, "{why}"),
                }
            }
            Self::Probing => {
                f.write_str("one connection is testing whether its mail host works again")
            }
            Self::SiteConnections(n) => {
                write!(f, "all {n} connections allowed to its mail host are busy")
            }
            Self::ProviderConnections(name, n) => write!(
                f,
                "all {n} connections allowed to the hosts of one provider ({name}) are busy"
            ),
            Self::AllConnections(n) => write!(f, "all {n} outgoing connections are busy"),
            Self::SitePaused => {
                f.write_str("sending to its mail hosts is paused for a time (sendoff site list)")
            }
            Self::Rate => f.write_str("the message rate of its domain is reached"),
            Self::NextUp => f.write_str("it will be sent in a moment"),
            Self::InFlight => f.write_str("it is being sent right now"),
        }
    }
}

impl Scheduler {
    /// Gets ready for so many more recipients, so that taking them in moves nothing.
    pub fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
        self.timers.reserve_exact(more);
    }

    /// Recipients whose first attempt is set for later, those that are held included.
    #[must_use]
    pub const fn future(&self) -> usize {
        self.entries.future()
    }

    /// Why this recipient has not been sent yet; `None` when it is not here.
    #[must_use]
    pub fn wait(&self, key: RecipientKey, now: Timestamp) -> Option<Wait> {
        let entry = self.entries.get(self.entries.find(key)?)?;
        let domain = self.domains.get(entry.domain as usize)?;
        let wait = |reason, next| Some(Wait { reason, next });
        if entry.phase == Phase::InFlight {
            return wait(Reason::InFlight, None);
        }
        if entry.has(HELD) {
            return wait(Reason::Held, None);
        }
        if domain.destination == Destination::Outgoing {
            if !self.settings.enabled {
                return wait(Reason::OutgoingOff, None);
            }
            if domain.paused {
                return wait(Reason::Paused, None);
            }
        }
        match entry.phase {
            Phase::Waiting if entry.has(KEPT) => wait(Reason::Kept, Some(entry.due)),
            Phase::Waiting => {
                // A plan that was shortened meanwhile ends with the attempt that is set.
                let of = (domain.policy.plan.resends() + 1).max(u32::from(entry.attempts) + 1);
                wait(
                    Reason::NotDue {
                        attempts: entry.attempts.into(),
                        of,
                    },
                    Some(entry.due),
                )
            }
            Phase::Pending => match domain.lookup {
                Lookup::Asked | Lookup::AskedBefore => wait(Reason::LookingUp, None),
                Lookup::Unknown | Lookup::Queued | Lookup::Known { .. } => {
                    wait(Reason::LookupLimit, None)
                }
            },
            Phase::Ready | Phase::InFlight => {
                let (reason, next) = self.site_wait(domain.site()?, now);
                wait(reason, next)
            }
        }
    }

    fn site_wait(&self, site: u32, now: Timestamp) -> (Reason, Option<Timestamp>) {
        let Some(site) = self.sites.get(site as usize) else {
            return (Reason::NextUp, None);
        };
        if let Standing::CoolingOff { until } = site.window.standing {
            let reason = match &site.fault {
                Some(fault) => Reason::OurFault(fault.clone()),
                None => Reason::CoolingOff(site.last_failure.clone()),
            };
            return (reason, Some(until));
        }
        let group = site.group.and_then(|group| self.groups.get(group as usize));
        let shared = group.map(|group| &group.meter);
        if let Some(at) = site.not_before(now, shared).filter(|at| *at > now) {
            return match site.order(now) {
                Some(order) if order.paused => (Reason::SitePaused, Some(order.until)),
                Some(_) | None => (Reason::Rate, Some(at)),
            };
        }
        if site.busy >= site.room(now) {
            return match site.window.standing {
                Standing::Probing => (Reason::Probing, None),
                Standing::Open | Standing::CoolingOff { .. } => {
                    (Reason::SiteConnections(site.room(now)), None)
                }
            };
        }
        if let Some((name, most)) = self.is_full(site.group) {
            return (Reason::ProviderConnections(Arc::clone(name), most), None);
        }
        if self.connections_are_used_up() {
            return (Reason::AllConnections(self.settings.connections_max), None);
        }
        (Reason::NextUp, None)
    }
}
