//! Who the users of this computer are, by the system's user database.

use net::Person;
use nix::unistd::Uid;

/// The user's name; the number where the database has none.
pub fn name_of(uid: u32) -> String {
    match Person::with(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("uid{uid}"),
    }
}

/// The full name of whoever runs this program: that of the environment, else the database's.
pub fn full_name_of_caller() -> Option<String> {
    let said = std::env::var("NAME").ok();
    let known = || {
        let user = Person::with(Uid::current()).ok()??;
        user.comment.split(',').next().map(str::to_owned)
    };
    let name = said.filter(|n| !n.is_empty()).or_else(known)?;
    Some(name).filter(|n| !n.trim().is_empty())
}
