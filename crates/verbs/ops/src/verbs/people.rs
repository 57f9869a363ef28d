//! Verbs about who may use the console.

use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::answer::Done;
use crate::people::{AccountView, ConsoleLinkView, SessionView};
use crate::records::Acting;
use crate::right::Role;

/// The accounts of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts;

impl Ask for Accounts {
    type Answer = Vec<AccountView>;
    const NEEDS: Right = Right::Administer;
}

/// Make an account of the console, or change one: what is not given stays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAccount {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Option<Role>,
    /// Its password.
    pub password: Option<String>,
}

// The password is not shown, whoever prints a verb.
impl std::fmt::Debug for SetAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetAccount")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Ask for SetAccount {
    type Answer = Done;
    const NEEDS: Right = Right::Administer;

    fn acting(&self) -> Option<Acting> {
        let role = self.role.map(|role| format!(" role={role}"));
        let password = self.password.as_ref().map_or("", |_| " password changed");
        Some(Acting {
            verb: "set-account",
            about: format!("{}{}{password}", self.name, role.unwrap_or_default()),
        })
    }
}

/// Remove an account of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveAccount(pub String);

impl Ask for RemoveAccount {
    type Answer = Done;
    const NEEDS: Right = Right::Administer;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "remove-account",
            about: self.0.clone(),
        })
    }
}

/// Who is logged in at the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions;

impl Ask for Sessions {
    type Answer = Vec<SessionView>;
    const NEEDS: Right = Right::Administer;
}

/// End the session of this id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSession(pub String);

impl Ask for EndSession {
    type Answer = Done;
    const NEEDS: Right = Right::Administer;

    fn acting(&self) -> Option<Acting> {
        Some(Acting {
            verb: "end-session",
            about: self.0.clone(),
        })
    }
}

/// A link that lets an administrator in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLink;

impl Ask for ConsoleLink {
    type Answer = ConsoleLinkView;
    const NEEDS: Right = Right::Administer;
}
