//! Verbs that look at the server: overview, series, what administrators did, and what is known of answers.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::malformed::Malformed;
use crate::overview::OverviewView;
use crate::records::ActsView;
use crate::replies::{RepliesView, ReplyTestedView};
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

/// The rules that name the kinds of answers, and what is done about some kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replies;

impl Ask for Replies {
    type Answer = RepliesView;
    const NEEDS: Right = Right::Read;
}

/// What the rules in force make of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReply {
    /// The answer, such as `421 4.7.28 unusual rate`; further lines may follow.
    pub text: String,
    /// The host that gave it.
    pub host: Option<String>,
    /// The recipient's domain.
    #[serde(default)]
    pub domain: String,
}

/// Octets of an answer that is tested: of a longer one, no more is looked at.
const REPLY_MAX: usize = 8 << 10;

impl Ask for TestReply {
    type Answer = ReplyTestedView;
    const NEEDS: Right = Right::Read;

    fn check(&self) -> Result<(), Malformed> {
        match self.text.trim().is_empty() || self.text.len() > REPLY_MAX {
            true => Err(Malformed::NoReply),
            false => Ok(()),
        }
    }
}
