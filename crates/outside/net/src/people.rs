//! Who the users of this computer are.
//!
//! The system's user database is asked by libc, which loads libraries for it as `/etc/nsswitch.conf` says. A binary that
//! is linked statically cannot do that: it reads `/etc/passwd` and `/etc/group` itself, and knows nobody else.

use std::io;

use nix::unistd::{Gid, Uid};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name to log in by.
    pub name: String,
    /// The number.
    pub uid: Uid,
    /// The number of the group that is its own.
    pub gid: Gid,
    /// The comment: by custom the full name, and more after a comma.
    pub comment: String,
}

#[cfg(not(target_feature = "crt-static"))]
impl Person {
    /// The user of this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        Ok(nix::unistd::User::from_name(name)?.map(Self::of_database))
    }

    /// The user with this number.
    ///
    /// # Errors
    /// As [`Person::named`].
    pub fn with(uid: Uid) -> io::Result<Option<Self>> {
        Ok(nix::unistd::User::from_uid(uid)?.map(Self::of_database))
    }

    fn of_database(user: nix::unistd::User) -> Self {
        Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            comment: user.gecos.to_string_lossy().into_owned(),
        }
    }

    /// Takes on the user's groups.
    ///
    /// # Errors
    /// When this process may not.
    pub fn take_on_groups(&self) -> io::Result<()> {
        let name = std::ffi::CString::new(self.name.as_str())?;
        Ok(nix::unistd::initgroups(&name, self.gid)?)
    }
}

#[cfg(target_feature = "crt-static")]
impl Person {
    /// The user of this name.
    ///
    /// # Errors
    /// When `/etc/passwd` cannot be read.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        Ok(files::people(&files::read(files::PASSWD)?).find(|person| person.name == name))
    }

    /// The user with this number.
    ///
    /// # Errors
    /// As [`Person::named`].
    pub fn with(uid: Uid) -> io::Result<Option<Self>> {
        Ok(files::people(&files::read(files::PASSWD)?).find(|person| person.uid == uid))
    }

    /// Takes on the user's groups.
    ///
    /// # Errors
    /// When `/etc/group` cannot be read, or this process may not.
    pub fn take_on_groups(&self) -> io::Result<()> {
        let groups = files::groups(&files::read(files::GROUP)?, self);
        Ok(nix::unistd::setgroups(&groups)?)
    }
}

/// The files of the user database, `passwd(5)` and `group(5)`.
#[cfg(any(test, target_feature = "crt-static"))]
mod files {
    use nix::unistd::{Gid, Uid};

    use super::Person;

    #[cfg(target_feature = "crt-static")]
    pub(super) const PASSWD: &str = "/etc/passwd";
    #[cfg(target_feature = "crt-static")]
    pub(super) const GROUP: &str = "/etc/group";

    /// A container may have none.
    #[cfg(target_feature = "crt-static")]
    pub(super) fn read(path: &str) -> std::io::Result<String> {
        match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            octets => Ok(String::from_utf8_lossy(&octets?).into_owned()),
        }
    }

    pub(super) fn people(passwd: &str) -> impl Iterator<Item = Person> {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let mut next = || fields.next();
            let name = next()?;
            next()?;
            Some(Person {
                name: name.to_owned(),
                uid: Uid::from_raw(next()?.parse().ok()?),
                gid: Gid::from_raw(next()?.parse().ok()?),
                comment: next().unwrap_or_default().to_owned(),
            })
        })
    }

    /// The groups of a person, its own first.
    pub(super) fn groups(group: &str, person: &Person) -> Vec<Gid> {
        let of_line = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let gid = Gid::from_raw(fields.next()?.parse().ok()?);
            let is_member = fields.next()?.split(',').any(|name| name == person.name);
            (is_member && gid != person.gid).then_some(gid)
        };
        let own = [person.gid].into_iter();
        own.chain(group.lines().filter_map(of_line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_binary_reads_the_files_of_the_user_database() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# no line\nsendoff:x:998:997::/var/lib/sendoff:/bin/false\n\
                      ann:x:1000:1000:Ann Example,,,:/home:/bin/sh\n";
        let found: Vec<Person> = files::people(passwd).collect();
        let names: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["root", "sendoff", "ann"]);
        let ann = found.last().expect("three");
        assert_eq!(
            (ann.uid.as_raw(), ann.comment.as_str()),
            (1000, "Ann Example,,,")
        );
        let group = "root:x:0:\nmail:x:8:bob,ann\nann:x:1000:ann\nsendoff:x:997:annette\n";
        let groups = files::groups(group, ann);
        assert_eq!(groups, [1000, 8].map(Gid::from_raw));
    }

    #[test]
    fn root_is_known() {
        let root = Person::named("root").expect("the database answers");
        let root = root.expect("there is root");
        assert_eq!(
            Person::with(Uid::from_raw(0)).expect("it answers"),
            Some(root)
        );
    }
}
