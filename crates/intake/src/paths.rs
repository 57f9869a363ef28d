//! Addresses of ours that stand for somebody else's in MAIL FROM: return paths of our own mail, which
//! name the message and the recipient that a bounce is about, and SRS for mail that is forwarded.
//!
//! Made when mail leaves, read when mail comes in. Each bears a keyed hash (HMAC-SHA256), so that
//! nobody else can make one, and a time limit; in both all letters may have been folded to lower
//! case on their way. The envelope that is kept names the author always: what is made here is said to
//! other servers only.

mod key;
mod srs;

use std::time::Duration;

use mail::{Address, Domain, EnhancedCode, Message, QueueId, Reply, Timestamp};

use crate::policy::{LocalDomains, a_label};
use crate::user::Senders;

pub use key::{Keys, ParseKeyError};
pub use srs::Srs;

/// Octets of a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// Digits of a return path's hash: 80 bits.
const DIGITS: usize = 16;
/// What a return path begins with.
const PREFIX: &str = "b+";
/// The number that stands for a message as a whole.
const WHOLE: &str = "m";

/// Return paths of our own mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPaths {
    /// Their domain, whose MX this server must be.
    pub domain: Domain,
    /// One for each recipient, so that each is sent in a transaction of its own; else one for a
    /// message.
    pub per_recipient: bool,
    /// Whose mail gets one, by the envelope's sender.
    pub senders: Senders,
    /// Users whose mail gets one, whatever its sender is.
    pub users: Vec<String>,
    /// How long behind its acceptance a message's return path is answered to.
    pub valid: Duration,
    /// The local part that takes complaints of feedback loops; no signature is asked of it.
    pub feedback: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// Return paths of our own mail.
    pub return_paths: Option<ReturnPaths>,
    /// Sender rewriting for mail that is forwarded.
    pub srs: Option<Srs>,
    /// The secrets: the first one signs, each of them is believed.
    pub keys: Keys,
}

/// What one of our own addresses stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// For a message of ours, and for one of its recipients by number, where it says so.
    Return(QueueId, Option<u32>),
    /// For complaints of feedback loops.
    Feedback,
    /// For this address of somebody else.
    Other(Address),
}

impl Paths {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.return_paths.is_none() && self.srs.is_none()
    }

    /// Whether an address is at a domain whose addresses are made here.
    #[must_use]
    pub fn contains(&self, domain: &Domain) -> bool {
        if self.is_empty() {
            return false;
        }
        let domain = a_label(domain);
        let paths = self.return_paths.iter().map(|p| &p.domain);
        paths
            .chain(self.srs.iter().map(|s| &s.domain))
            .any(|own| a_label(own) == domain)
    }

    /// What an address of ours stands for at this time.
    ///
    /// # Errors
    /// The refusal, when it was not made here or its time is over.
    pub fn read(&self, address: &Address, now: Timestamp) -> Result<Stands, Reply> {
        let at = |own: &Domain| a_label(own) == a_label(address.domain());
        let local = address.local();
        if let Some(paths) = self.return_paths.as_ref().filter(|p| at(&p.domain)) {
            let feedback = paths.feedback.as_deref();
            if feedback.is_some_and(|f| f.eq_ignore_ascii_case(local)) {
                return Ok(Stands::Feedback);
            }
            if let Some((id, number)) = self.read_return(local) {
                let accepted = accepted_at(id);
                return match now.since(accepted) > paths.valid {
                    true => Err(refusal(
                        "The time in which this return path takes bounces is over",
                    )),
                    false => Ok(Stands::Return(id, number)),
                };
            }
        }
        if let Some(srs) = self.srs.as_ref().filter(|s| at(&s.domain))
            && srs::begins(local)
        {
            return srs.reverse(&self.keys, local, now).map(Stands::Other);
        }
        Err(refusal(
            "This address was not made by this server: nothing is taken for it",
        ))
    }

    /// The message and the recipient's number that a return path names, when its hash is right.
    fn read_return(&self, local: &str) -> Option<(QueueId, Option<u32>)> {
        let local = local.to_ascii_lowercase();
        let mut parts = local.strip_prefix(PREFIX)?.split('.');
        let (id, number, given) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || !self.keys.confirm(&signed(id, number), given, DIGITS) {
            return None;
        }
        let number = match number {
            WHOLE => None,
            number => Some(number.parse().ok()?),
        };
        Some((id.parse().ok()?, number))
    }

    /// The return path of a message, or of one of its recipients.
    fn return_path(&self, id: QueueId, number: Option<u32>) -> Option<Address> {
        let paths = self.return_paths.as_ref()?;
        let id = id.to_string();
        let number = number.map_or_else(|| WHOLE.to_owned(), |n| n.to_string());
        let hash = self.keys.sign(&signed(&id, &number), DIGITS)?;
        let local = format!("{PREFIX}{id}.{number}.{hash}");
        Address::new(&local, paths.domain.clone()).ok()
    }

    /// What MAIL says instead of the author's address when this message goes to other servers for
    /// this recipient; `None`: the author's address. `local` are the domains that are delivered to
    /// here. Whatever is said on the wire, reports of ours go to the author.
    #[must_use]
    pub fn on_the_wire(
        &self,
        message: &Message,
        number: u32,
        local: &LocalDomains,
    ) -> Option<Address> {
        match self.sender(message, number, local) {
            Sender::Author => None,
            Sender::Return(number) => self.return_path(message.id, number),
            Sender::Srs => {
                let (srs, author) = (self.srs.as_ref()?, message.envelope.reverse_path.as_ref()?);
                // An author whom no SRS address can hold gets a return path: bounces come back.
                srs.forward(&self.keys, author, message.accepted)
                    .or_else(|| self.return_path(message.id, None))
            }
        }
    }

    /// Whether two recipients of a message have the same sender on the wire, so that one transaction
    /// can be for both.
    #[must_use]
    pub fn are_alike(&self, message: &Message, a: u32, b: u32, local: &LocalDomains) -> bool {
        self.is_empty() || self.sender(message, a, local) == self.sender(message, b, local)
    }

    fn sender(&self, message: &Message, number: u32, local: &LocalDomains) -> Sender {
        let envelope = &message.envelope;
        // Reports have no reverse-path, and keep none.
        let Some(author) = envelope.reverse_path.as_ref().filter(|_| !self.is_empty()) else {
            return Sender::Author;
        };
        let recipient = envelope.recipients.get(number as usize);
        let Some(recipient) = recipient.filter(|_| !self.contains(author.domain())) else {
            return Sender::Author;
        };
        let srs = self.srs.as_ref();
        if srs.is_some_and(|srs| srs.is_forwarded(envelope, recipient, local)) {
            return Sender::Srs;
        }
        let Some(paths) = &self.return_paths else {
            return Sender::Author;
        };
        let user = envelope.submitter.user.as_ref();
        let by_user = user.is_some_and(|user| paths.users.contains(user));
        match by_user || paths.senders.allow(Some(author)) {
            true => Sender::Return(paths.per_recipient.then_some(number)),
            false => Sender::Author,
        }
    }
}

/// Whom other servers see as the sender.
#[derive(Debug, PartialEq, Eq)]
enum Sender {
    Author,
    /// A return path of the message, or of this recipient.
    Return(Option<u32>),
    Srs,
}

fn signed(id: &str, number: &str) -> String {
    format!("return-path {id} {number}")
}

/// An id tells when its message was accepted.
const fn accepted_at(id: QueueId) -> Timestamp {
    Timestamp::from_millis(id.as_u64() >> 12)
}

/// The refusal of an address that is ours by its domain alone.
fn refusal(text: &str) -> Reply {
    Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), text)
}

#[cfg(test)]
mod tests;
