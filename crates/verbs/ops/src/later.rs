//! Orders that are carried out a little later.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An order that waits for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingView {
    /// Its id, to undo it by.
    pub id: String,
    /// `fail` or `remove`.
    pub verb: String,
    /// What was selected, as it was asked for.
    pub about: String,
    /// Recipients that it is about.
    pub recipients: u64,
    /// Who gave it.
    pub who: String,
    /// When it is carried out.
    #[schema(format = DateTime)]
    pub due: String,
}
