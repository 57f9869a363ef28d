//! The Sender Rewriting Scheme (M. Weber, "SRS: a sender rewriting scheme", 2003; S. Shevek's
//! document "The Sender Rewriting Scheme", 2004): SRS0 for an author's address, SRS1 for one that
//! somebody else has rewritten already.
//!
//! `SRS0=hash=day=domain=local@ours` means `local@domain`. `SRS1=hash=first==rest@ours` means
//! `SRS0=rest@first`: a bounce goes to the first forwarder at once, and an address grows no further
//! behind the second.

use ipnet::IpNet;
use mail::{Address, Domain, Envelope, Recipient, Reply, Timestamp};

use super::{Keys, LOCAL_MAX, refusal};
use crate::policy::{LocalDomains, a_label};

/// Digits of a hash: 40 bits.
const DIGITS: usize = 8;
/// Days are counted to this, in two digits of 5 bits.
const DAYS: u64 = 1024;
const DAY: u64 = 86_400;
const DAY_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Sender rewriting for mail that is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srs {
    /// The domain of the addresses that are made, whose MX this server must be.
    pub domain: Domain,
    /// Days for which an address is answered to, 1 to 1000.
    pub valid_days: u64,
    /// Servers whose mail is somebody else's, beside what comes in for local domains.
    pub relays: Vec<IpNet>,
    /// Domains that this server may send for: mail of their addresses is not rewritten.
    pub own_domains: Vec<Domain>,
}

/// Whether a local part looks like one.
pub(super) fn begins(local: &str) -> bool {
    let begin = local.get(..5).unwrap_or_default();
    let tag = begin.get(..4).unwrap_or_default();
    (tag.eq_ignore_ascii_case("SRS0") || tag.eq_ignore_ascii_case("SRS1"))
        && begin.ends_with(['=', '+', '-'])
}

impl Srs {
    /// Whether a mail came in for somebody here and leaves for somebody elsewhere, or came from a
    /// server that hands on what is not its own.
    pub(super) fn is_forwarded(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        local: &LocalDomains,
    ) -> bool {
        let Some(author) = &envelope.reverse_path else {
            return false;
        };
        let domain = a_label(author.domain());
        if local.contains(&domain) || self.own_domains.iter().any(|own| a_label(own) == domain) {
            return false;
        }
        let was_here = recipient.given.as_ref();
        let was_here = was_here.is_some_and(|given| local.contains(given.domain()));
        let peer = envelope.submitter.peer.map(|peer| peer.to_canonical());
        let by_relay = |net: &IpNet| peer.is_some_and(|peer| net.contains(&peer));
        was_here || self.relays.iter().any(by_relay)
    }

    /// The address that stands for `author` from this time on; `None` when no address can hold it.
    pub(super) fn forward(&self, keys: &Keys, author: &Address, at: Timestamp) -> Option<Address> {
        let domain = author.domain().to_ascii()?;
        let local = author.local();
        let made = if begins(local) && local.get(..4)?.eq_ignore_ascii_case("SRS1") {
            // Two others have rewritten it: the first of them stays.
            let (_, rest) = local.get(5..)?.split_once('=')?;
            let (first, rest) = rest.split_once('=')?;
            self.second(keys, first, rest)?
        } else if begins(local) {
            let rest = local.get(4..)?;
            self.second(keys, domain.as_str(), rest)?
        } else {
            let day = day_of(at);
            let hash = keys.sign(&signed(&["0", &day, domain.as_str(), local]), DIGITS)?;
            format!("SRS0={hash}={day}={domain}={local}")
        };
        if made.len() > LOCAL_MAX {
            return None;
        }
        let address = Address::new(&made, self.domain.clone()).ok()?;
        // Only what is understood when it comes back is of use.
        self.reverse(keys, &made.to_lowercase(), at).ok()?;
        Some(address)
    }

    /// SRS1 of an address that `first` made; `rest` begins with the character behind its SRS0.
    fn second(&self, keys: &Keys, first: &str, rest: &str) -> Option<String> {
        let hash = keys.sign(&signed(&["1", first, rest]), DIGITS)?;
        Some(format!("SRS1={hash}={first}={rest}"))
    }

    /// The address that a local part of ours stands for.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn reverse(
        &self,
        keys: &Keys,
        local: &str,
        now: Timestamp,
    ) -> Result<Address, Reply> {
        let forged =
            || refusal("This SRS address was not made by this server: nothing is taken for it");
        let first = local.as_bytes().get(3) == Some(&b'0');
        let rest = local.get(5..).ok_or_else(forged)?;
        let (hash, rest) = rest.split_once('=').ok_or_else(forged)?;
        let hash = hash.to_ascii_lowercase();
        if first {
            let mut parts = rest.splitn(3, '=');
            let (Some(day), Some(domain), Some(local)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(forged());
            };
            if !keys.confirm(&signed(&["0", day, domain, local]), &hash, DIGITS) {
                return Err(forged());
            }
            let made = read_day(day).ok_or_else(forged)?;
            let age = (now.as_secs() / DAY + DAYS - made) % DAYS;
            if age > self.valid_days {
                return Err(refusal(
                    "The time in which this SRS address takes bounces is over",
                ));
            }
            return Address::parse(&format!("{local}@{domain}")).map_err(|_| forged());
        }
        let (first, rest) = rest.split_once('=').ok_or_else(forged)?;
        if !keys.confirm(&signed(&["1", first, rest]), &hash, DIGITS) {
            return Err(forged());
        }
        Address::parse(&format!("SRS0{rest}@{first}")).map_err(|_| forged())
    }
}

/// What a hash is of, apart for SRS0 and SRS1: letters may come back in lower case.
fn signed(parts: &[&str]) -> String {
    format!("srs {}", parts.join("=")).to_lowercase()
}

/// The day of a time, in two digits.
fn day_of(at: Timestamp) -> String {
    let day = at.as_secs() / DAY % DAYS;
    let digit = |n: u64| {
        let place = usize::try_from(n).unwrap_or_default();
        char::from(DAY_DIGITS.get(place).copied().unwrap_or(b'A'))
    };
    [digit(day >> 5), digit(day & 31)].into_iter().collect()
}

fn read_day(text: &str) -> Option<u64> {
    let digit = |c: u8| {
        let place = DAY_DIGITS
            .iter()
            .position(|d| *d == c.to_ascii_uppercase())?;
        u64::try_from(place).ok()
    };
    match text.as_bytes() {
        [high, low] => Some(digit(*high)? << 5 | digit(*low)?),
        _ => None,
    }
}
