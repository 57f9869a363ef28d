//! Records of what administrators did: the audit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a verb that changes something is about, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The verb in one word.
    pub verb: &'static str,
    /// What it is about: ids, a filter, a domain, an address, a name.
    pub about: String,
}

/// One act, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActRecord {
    /// Who.
    pub who: String,
    /// What.
    pub verb: String,
    /// About what; cut to [`ActRecord::TEXT_MAX`].
    pub about: String,
    /// What came of it.
    pub result: String,
    /// It was not done.
    #[serde(default)]
    pub refused: bool,
}

impl ActRecord {
    /// Octets of each text that are kept.
    pub const TEXT_MAX: usize = 2 << 10;
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActView {
    /// Its place: acts in front of it are asked for by this.
    pub place: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who did it: `key=NAME`, `uid=NUMBER` at the command line, or `console=NAME`.
    pub who: String,
    /// What was done, in one word.
    pub verb: String,
    /// About what.
    pub about: String,
    /// What came of it.
    pub result: String,
    /// It was not done.
    pub refused: bool,
}

/// Acts, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActsView {
    /// The acts.
    pub acts: Vec<ActView>,
    /// Ask with `before` this place for the next ones; none: that was all.
    pub next: Option<u64>,
}
