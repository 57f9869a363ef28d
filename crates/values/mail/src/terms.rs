//! What a submitter asked about the time, order and protection of a delivery.

use crate::Timestamp;

/// What happens when a mail is not delivered by its time (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByMode {
    /// `R`: it comes back to its sender.
    Return,
    /// `N`: its sender is told, and it is tried on.
    Notify,
}

/// DELIVERBY (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverBy {
    /// The time.
    pub by: Timestamp,
    /// What happens then.
    pub mode: ByMode,
    /// Relaying is to be reported (`T`).
    pub trace: bool,
}

/// What a submitter asked about the time, order and protection of a delivery; the default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// FUTURERELEASE: not tried before (RFC 4865).
    pub not_before: Option<Timestamp>,
    /// DELIVERBY.
    pub deliver_by: Option<DeliverBy>,
    /// MT-PRIORITY, -9 to 9 (RFC 6710 §4); 0 when not given.
    pub priority: i8,
    /// REQUIRETLS: not handed to a server that would not keep it encrypted all the way (RFC 8689).
    pub require_tls: bool,
}

impl Terms {
    /// Whether nothing was asked.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// When the time in the queue begins to count: at acceptance, or at the release asked for.
    #[must_use]
    pub fn begins(&self, accepted: Timestamp) -> Timestamp {
        self.not_before.map_or(accepted, |at| at.max(accepted))
    }
}
