//! Queue ids: the name of one accepted mail, in logs, lists, replies and Received headers.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

/// The id of one message, unique for the life of a spool and ordered by acceptance.
///
/// The high 52 bits are the millisecond of acceptance, the low 12 a counter within it. Shown as
/// eleven characters of Crockford's base 32 in lower case, which read aloud without confusion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u64);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const COUNTER_BITS: u32 = 12;
const LEN: usize = 11;

/// Why a text is not a queue id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a queue id: a queue id is {LEN} letters and digits, as `sendoff queue list` shows them"
)]
pub struct ParseQueueIdError(String);

impl QueueId {
    /// The id with this number.
    #[must_use]
    pub const fn from_u64(n: u64) -> Self {
        Self(n)
    }

    /// When its mail was accepted, to the millisecond; later, where the clock was set back.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> COUNTER_BITS)
    }

    /// The number that this id is kept as.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; LEN];
        let mut n = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET.get((n & 31) as usize).copied().unwrap_or(b'0');
            n >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for QueueId {
    type Err = ParseQueueIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseQueueIdError(text.to_owned());
        if text.len() != LEN {
            return Err(wrong());
        }
        text.bytes().try_fold(Self(0), |Self(n), c| {
            let digit = ALPHABET
                .iter()
                .position(|a| *a == c.to_ascii_lowercase())
                .ok_or_else(wrong)?;
            Ok(Self(n << 5 | digit as u64))
        })
    }
}

/// Gives out queue ids that only rise, whatever the clock does.
#[derive(Debug)]
pub struct IdSource {
    last: u64,
}

impl IdSource {
    /// A source whose ids are all above `highest`, the highest id a recovered spool has seen.
    #[must_use]
    pub const fn above(highest: QueueId) -> Self {
        Self { last: highest.0 }
    }

    /// The next id.
    pub fn next_id(&mut self, now: Timestamp) -> QueueId {
        // 55 bits are shown; a millisecond count needs 43 of them until the year 2248.
        self.last = (now.as_millis() << COUNTER_BITS).max(self.last.saturating_add(1));
        QueueId(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_only_rise_even_when_the_clock_goes_back() {
        let mut source = IdSource::above(QueueId::from_u64(0));
        let a = source.next_id(Timestamp::from_secs(1_800_000_000));
        let b = source.next_id(Timestamp::from_secs(1_800_000_000));
        let c = source.next_id(Timestamp::from_secs(1_700_000_000));
        assert!(a < b && b < c);
    }

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = IdSource::above(QueueId::from_u64(0)).next_id(Timestamp::from_secs(1_800_000_000));
        let text = id.to_string();
        assert_eq!(text.len(), LEN);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        assert!("short".parse::<QueueId>().is_err());
        assert!("uuuuuuuuuuu".parse::<QueueId>().is_err());
    }
}
