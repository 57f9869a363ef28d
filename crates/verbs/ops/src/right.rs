//! Who may do what: the right that each verb needs, and the roles that have rights.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a verb needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// To look at queue, history, log and settings, but not at what is in a mail.
    Read,
    /// To look at what is in a mail.
    Content,
    /// To change what waits, what is kept back, and what is logged; to ask other servers something.
    Operate,
    /// To change who may do what, and the server itself.
    Administer,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Content, Self::Operate, Self::Administer];
}

/// The role of an account of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything.
    Administrator,
    /// Looks after mail: all but the server itself and who may do what.
    Operator,
    /// Looks at everything but the content of mails, and changes nothing.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Administrator, Self::Operator, Self::Auditor];

    /// Whether it has a right.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        match (self, right) {
            (Self::Administrator, _) | (_, Right::Read) => true,
            (Self::Operator, Right::Content | Right::Operate) => true,
            (Self::Operator, Right::Administer) => false,
            (Self::Auditor, Right::Content | Right::Operate | Right::Administer) => false,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
