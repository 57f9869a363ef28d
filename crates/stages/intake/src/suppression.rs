//! The suppression list: recipients that nothing is sent to any more, by whom, since when and why.
//!
//! It is held in memory, for each recipient of each mail asks it: some 250 octets an entry, and
//! nothing is looked up while it is empty. Keeping it on disk is the shell's.

use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use mail::{Address, Domain, EnhancedCode, QueueId, Reply, Timestamp};

use crate::refusal::{Reason, Refusal};

/// Whose mail an entry keeps from its recipient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everybody's.
    All,
    /// That of senders at a domain.
    Domain(Domain),
    /// That of one sender's address.
    Sender(Address),
    /// That of one user.
    User(String),
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a scope: write `all`, `@domain` for a domain's senders, a sender's address, or `user:NAME`"
)]
pub struct ParseScopeError(String);

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseScopeError(text.to_owned());
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(user) = text.strip_prefix("user:") {
            let good = !user.is_empty() && !user.contains(|c: char| c.is_control() || c == ' ');
            return good.then(|| Self::User(user.to_owned())).ok_or_else(wrong);
        }
        if let Some(domain) = text.strip_prefix('@') {
            let domain = Domain::parse(domain).map_err(|_| wrong())?;
            return Ok(Self::Domain(domain.a_label()));
        }
        let address = Address::parse(text).map_err(|_| wrong())?;
        Ok(Self::Sender(normal(&address)))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Domain(domain) => write!(f, "@{domain}"),
            Self::Sender(address) => address.fmt(f),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

impl Scope {
    /// Whether mail of this sender and user is kept back.
    fn covers(&self, sender: Option<&Address>, user: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Domain(domain) => sender.is_some_and(|s| s.domain().a_label() == *domain),
            Self::Sender(address) => sender.is_some_and(|s| normal(s) == *address),
            Self::User(name) => user == Some(name.as_str()),
        }
    }
}

/// Why a recipient is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Mail to it failed for good.
    Failure,
    /// It complained.
    Complaint,
    /// An administrator put it there.
    Administrator,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Failure, Self::Complaint, Self::Administrator];

    /// The word for it in lists, in the log and on disk.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Complaint => "complaint",
            Self::Administrator => "administrator",
        }
    }

    /// The cause of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The recipient, in the one form that [`Suppressed::normal`] gives.
    pub recipient: Address,
    /// Whose mail it keeps back.
    pub scope: Scope,
    /// Why.
    pub cause: Cause,
    /// The answer, or an administrator's words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until somebody takes it away.
    pub expires: Option<Timestamp>,
    /// The message that it is about.
    pub message: Option<QueueId>,
    /// How often that happened.
    pub count: u32,
    /// It keeps mail back. Failures are counted before they do, where a rule waits for several.
    pub in_force: bool,
}

impl Suppression {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// What a client hears who sends to it. The code of a failure is the one it failed with, where
    /// that speaks of the address (RFC 3463 §3.2).
    fn refusal(&self) -> Refusal {
        let (code, why) = match self.cause {
            Cause::Failure => (EnhancedCode::new(5, 1, 1), "delivery to the address failed"),
            Cause::Complaint => (EnhancedCode::new(5, 7, 0), "the recipient complained"),
            Cause::Administrator => (EnhancedCode::new(5, 7, 0), "an administrator added it"),
        };
        let reason = match self.reason.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.reason),
        };
        let until = match self.expires {
            Some(at) => format!(", until {at}"),
            None => String::new(),
        };
        let scope = match &self.scope {
            Scope::All => String::new(),
            scope @ (Scope::Domain(_) | Scope::Sender(_) | Scope::User(_)) => {
                format!(" --scope {scope}")
            }
        };
        let (recipient, since) = (&self.recipient, self.since);
        let plain =
            format!("{recipient} is on the suppression list (since {since}{until}): {why}{reason}");
        let text = format!(
            "{plain}. An administrator can remove it with `sendoff suppression remove {recipient}{scope}`"
        );
        let reply = Reply::new(550, Some(code), text);
        Refusal {
            // As the reply's: a host's answer stands in it.
            plain: Some(Reply::new(550, None, plain).text),
            ..Refusal::new(Reason::Suppressed, reply)
        }
    }
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionFilter {
    /// Whose recipient or scope holds this text, in any case.
    pub text: Option<String>,
    /// Of this recipient.
    pub recipient: Option<Address>,
    /// With this scope.
    pub scope: Option<Scope>,
    /// With this cause.
    pub cause: Option<Cause>,
}

impl SuppressionFilter {
    fn matches(&self, entry: &Suppression) -> bool {
        let recipient = self.recipient.as_ref().map(normal);
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        text.is_none_or(|text| {
            let entry = format!("{} {}", entry.recipient, entry.scope);
            entry.to_lowercase().contains(&text)
        }) && recipient.is_none_or(|recipient| entry.recipient == recipient)
            && self
                .scope
                .as_ref()
                .is_none_or(|scope| entry.scope == *scope)
            && self.cause.is_none_or(|cause| entry.cause == cause)
    }
}

/// The list.
#[derive(Debug, Default)]
pub struct Suppressed {
    entries: RwLock<BTreeMap<(Address, Scope), Suppression>>,
    count: AtomicUsize,
}

/// The most entries: with more, some 250 MB of memory are used.
const ENTRIES_MAX: usize = 1_000_000;

impl Suppressed {
    /// The one form in which recipients are compared: the domain in A-labels, ASCII letters of the
    /// local part in lower case, as nearly every host treats them.
    #[must_use]
    pub fn normal(address: &Address) -> Address {
        normal(address)
    }

    /// Whether mail of this sender and user to a recipient is taken.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(
        &self,
        recipient: &Address,
        sender: Option<&Address>,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let recipient = normal(recipient);
        let entries = self.entries.read();
        let from = Bound::Included((recipient.clone(), Scope::All));
        let of_recipient = entries.range((from, Bound::Unbounded));
        let mut of_recipient = of_recipient.take_while(|((address, _), _)| *address == recipient);
        let keeps_back = |entry: &Suppression| {
            entry.in_force && !entry.is_over(now) && entry.scope.covers(sender, user)
        };
        match of_recipient.find(|(_, entry)| keeps_back(entry)) {
            Some((_, entry)) => Err(entry.refusal()),
            None => Ok(()),
        }
    }

    /// Every entry of a recipient, in force or not.
    #[must_use]
    pub fn of(&self, recipient: &Address) -> Vec<Suppression> {
        if self.is_empty() {
            return Vec::new();
        }
        let recipient = normal(recipient);
        let entries = self.entries.read();
        let from = Bound::Included((recipient.clone(), Scope::All));
        let behind = entries.range((from, Bound::Unbounded));
        let same = behind.take_while(|((address, _), _)| *address == recipient);
        same.map(|(_, entry)| entry.clone()).collect()
    }

    /// An entry, in force or not.
    #[must_use]
    pub fn get(&self, recipient: &Address, scope: &Scope) -> Option<Suppression> {
        let entries = self.entries.read();
        entries.get(&(normal(recipient), scope.clone())).cloned()
    }

    /// Puts an entry on the list, in place of one with the same recipient and scope; `false` when
    /// the list is full.
    pub fn put(&self, entry: Suppression) -> bool {
        let mut entries = self.entries.write();
        let key = (entry.recipient.clone(), entry.scope.clone());
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
            return false;
        }
        entries.insert(key, entry);
        self.count.store(entries.len(), Ordering::Relaxed);
        true
    }

    /// Takes an entry away; whether it was there.
    pub fn remove(&self, recipient: &Address, scope: &Scope) -> bool {
        let mut entries = self.entries.write();
        let removed = entries
            .remove(&(normal(recipient), scope.clone()))
            .is_some();
        self.count.store(entries.len(), Ordering::Relaxed);
        removed
    }

    /// A page of the entries that match, by recipient, and how many match in all.
    #[must_use]
    pub fn list(
        &self,
        filter: &SuppressionFilter,
        offset: usize,
        limit: usize,
    ) -> (Vec<Suppression>, usize) {
        let entries = self.entries.read();
        let matching = || entries.values().filter(|entry| filter.matches(entry));
        let page = matching().skip(offset).take(limit).cloned().collect();
        (page, matching().count())
    }

    /// The entries whose time is over.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> Vec<(Address, Scope)> {
        let entries = self.entries.read();
        let over = entries.iter().filter(|(_, entry)| entry.is_over(now));
        over.map(|(key, _)| key.clone()).collect()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn normal(address: &Address) -> Address {
    let domain = address.domain().a_label();
    let local = address.local().to_ascii_lowercase();
    Address::new(&local, domain).unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(recipient: &str, scope: &str) -> Suppression {
        Suppression {
            recipient: Suppressed::normal(&recipient.parse().unwrap()),
            scope: scope.parse().unwrap(),
            cause: Cause::Failure,
            reason: "550 5.1.1 No such user".to_owned(),
            since: Timestamp::from_secs(1_800_000_000),
            expires: Some(Timestamp::from_secs(1_800_086_400)),
            message: None,
            count: 1,
            in_force: true,
        }
    }

    fn refused(list: &Suppressed, to: &str, from: &str, user: &str, secs: u64) -> bool {
        let sender = from.parse().unwrap();
        let to = to.parse().unwrap();
        let now = Timestamp::from_secs(secs);
        list.check(&to, Some(&sender), Some(user), now).is_err()
    }

    #[test]
    fn each_scope_keeps_back_its_own_mail_alone() {
        let cases = [
            ("all", true, true, true),
            ("@news.example", true, true, false),
            ("A@News.example", true, false, false),
            ("user:anna", false, true, false),
        ];
        for (scope, first, second, third) in cases {
            let list = Suppressed::default();
            assert!(list.put(entry("Gone@B\u{fc}cher.example", scope)));
            let to = "gone@XN--BCHER-KVA.example";
            let asked = |from, user| refused(&list, to, from, user, 1_800_000_001);
            assert_eq!(asked("a@news.example", "otto"), first, "{scope}");
            assert_eq!(asked("b@news.example", "anna"), second, "{scope}");
            assert_eq!(asked("a@other.example", "otto"), third, "{scope}");
            assert!(!refused(
                &list,
                "other@b\u{fc}cher.example",
                "a@news.example",
                "anna",
                0
            ));
            assert!(
                !refused(&list, to, "a@news.example", "anna", 1_800_086_400),
                "it is over"
            );
            let scope: Scope = scope.parse().unwrap();
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
            assert!(list.remove(&to.parse().unwrap(), &scope));
            assert!(!asked("a@news.example", "anna") && list.is_empty());
        }
        for wrong in ["", "user:", "anna", "@", "user:a b"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_refusal_says_since_when_why_and_how_it_ends() {
        let list = Suppressed::default();
        list.put(entry("gone@there.example", "@news.example"));
        let to = "gone@there.example".parse().unwrap();
        let sender = "a@news.example".parse().unwrap();
        let now = Timestamp::from_secs(1_800_000_001);
        let reply = list.check(&to, Some(&sender), None, now).unwrap_err();
        assert_eq!(reply.reply.code, 550);
        for part in [
            "2027-01-15",
            "550 5.1.1 No such user",
            "sendoff suppression remove gone@there.example --scope @news.example",
        ] {
            assert!(reply.reply.text.contains(part), "{reply:?}");
        }
    }

    #[test]
    fn a_failure_that_is_only_counted_keeps_nothing_back() {
        let list = Suppressed::default();
        list.put(Suppression {
            in_force: false,
            ..entry("gone@there.example", "all")
        });
        assert!(!refused(
            &list,
            "gone@there.example",
            "a@b.example",
            "x",
            1_800_000_001
        ));
        assert_eq!(list.list(&SuppressionFilter::default(), 0, 10).1, 1);
    }
}
