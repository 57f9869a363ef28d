//! What the DNS server knows of one name.

use std::time::Duration;

use hickory_proto::rr::RData;

/// What happens to questions for a name, besides its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    ServFail,
    NoAnswer,
}

#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) records: Vec<RData>,
    pub(crate) trouble: Trouble,
    pub(crate) delay: Duration,
}
