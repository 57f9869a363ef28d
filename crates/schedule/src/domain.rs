//! The entries of domains and workers.

use std::sync::Arc;

use mail::{Destination, Domain, Timestamp};

use crate::action::Policy;
use crate::entry::Slot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Unknown,
    Queued,
    Asked,
    /// Asked under settings that hold no more: the answer does not count.
    AskedBefore,
    Known {
        site: u32,
        expires: Timestamp,
    },
}

#[derive(Debug)]
pub(crate) struct DomainEntry {
    pub(crate) name: Domain,
    pub(crate) destination: Destination,
    /// An administrator sends this part of its mail there, instead of where the rules would.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) policy: Policy,
    pub(crate) lookup: Lookup,
    pub(crate) paused: bool,
    /// Due, and not yet given to a site.
    pub(crate) pending: Vec<Slot>,
    /// Recipients of it in the queue.
    pub(crate) recipients: u32,
}

impl DomainEntry {
    pub(crate) const fn site(&self) -> Option<u32> {
        match self.lookup {
            Lookup::Known { site, .. } => Some(site),
            Lookup::Unknown | Lookup::Queued | Lookup::Asked | Lookup::AskedBefore => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) site: u32,
    pub(crate) batch: Vec<Slot>,
    pub(crate) established: bool,
    /// Batches it has sent.
    pub(crate) batches: u32,
}
