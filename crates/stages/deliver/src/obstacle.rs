//! What keeps a content from being put into the form that a host takes.

use std::fmt;

/// Why a content cannot be converted: a clause that goes on from "it cannot be converted:".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle(pub(crate) &'static str);

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
