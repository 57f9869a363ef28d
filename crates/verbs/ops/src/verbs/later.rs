//! Verbs about orders that are carried out a little later, so that they can be undone.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::answer::Done;
use crate::later::PendingView;
use crate::malformed::Malformed;
use crate::records::Acting;
use crate::request::{Selection, Verb};

/// Hold waiting recipients now, and give them up or remove them a little later, unless somebody undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActLater {
    /// How: [`Verb::Fail`] or [`Verb::Remove`].
    pub verb: Verb,
    /// Which.
    pub selection: Selection,
    /// How many that were when somebody decided; many more are refused. None: however many there are.
    pub expect: Option<u64>,
    /// Seconds until then.
    pub after: u64,
}

/// Seconds that an order may wait.
const AFTER_MAX: u64 = 86_400;

impl Ask for ActLater {
    type Answer = PendingView;
    const NEEDS: Right = Right::Operate;

    fn check(&self) -> Result<(), Malformed> {
        if !matches!(self.verb, Verb::Fail | Verb::Remove) {
            return Err(Malformed::NotLater);
        }
        if self.after == 0 || self.after > AFTER_MAX {
            return Err(Malformed::After(self.after));
        }
        self.selection.check()
    }

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: self.verb.word(),
            about: format!("{} (in {} s)", self.selection, self.after),
        })
    }
}

/// Orders that wait for their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending;

impl Ask for Pending {
    type Answer = Vec<PendingView>;
    const NEEDS: Right = Right::Read;
}

/// Undo the order of this id, and release what it has held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo(pub String);

impl Ask for Undo {
    type Answer = Done;
    const NEEDS: Right = Right::Operate;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "undo",
            about: self.0.clone(),
        })
    }
}
