//! Verbs that look at the server over a time: overview, series, and what administrators did.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::malformed::Malformed;
use crate::overview::OverviewView;
use crate::records::ActsView;
use crate::series::{SeriesSelection, SeriesView};

/// How the server fares: whether mail leaves, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview;

impl Ask for Overview {
    type Answer = OverviewView;
    const NEEDS: Right = Right::Read;
}

/// What was counted over a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series(pub SeriesSelection);

impl Ask for Series {
    type Answer = SeriesView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        self.0.check()
    }
}

/// What administrators did, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acts {
    /// Only what is in front of this place; none: the latest.
    pub before: Option<u64>,
    /// Maximum number of entries.
    pub limit: u64,
}

impl Ask for Acts {
    type Answer = ActsView;
    const NEEDS: Right = Right::Read;
}
