//! One-time passwords by time (RFC 6238), as authenticator apps make them: six digits, 30 seconds, SHA-1.

use aws_lc_rs::hmac;
use mail::Timestamp;

/// Seconds of a step (RFC 6238 §4.1).
const STEP: u64 = 30;

/// Letters of base32 (RFC 4648 §6).
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step that `code` is right for, at `now` or one step before or after it (RFC 6238 §5.2); `None` where it is wrong, or
/// its step is not after `last`: a code counts once.
#[must_use]
pub fn verify(secret: &[u8], code: &str, now: Timestamp, last: u64) -> Option<u64> {
    let code: u32 = match code.trim() {
        digits if digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        _ => return None,
    };
    let step = now.as_secs() / STEP;
    let near = [step, step.saturating_sub(1), step + 1];
    near.into_iter()
        .filter(|step| *step > last)
        .find(|step| code_at(secret, *step) == code)
}

/// The code of a step (RFC 4226 §5.3).
fn code_at(secret: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let octets = tag.as_ref();
    let offset = usize::from(octets.last().copied().unwrap_or_default() & 15);
    let number = (octets.iter().skip(offset).take(4)).fold(0, |n, b| n << 8 | u32::from(*b));
    (number & 0x7fff_ffff) % 1_000_000
}

/// A secret as authenticator apps take it.
#[must_use]
pub fn shown(secret: &[u8]) -> String {
    let bit = |n: usize| {
        secret
            .get(n / 8)
            .map_or(0, |octet| octet >> (7 - n % 8) & 1)
    };
    let letter = |n: usize| {
        let five = (n..n + 5).fold(0, |five, n| five << 1 | bit(n));
        LETTERS.get(usize::from(five)).copied().unwrap_or(b'A')
    };
    let letters = (0..secret.len() * 8).step_by(5).map(letter);
    letters.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238 appendix B, the last six digits.
        for (secs, code) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5924),
            (2_000_000_000, 279_037),
        ] {
            assert_eq!(code_at(SECRET, secs / STEP), code);
        }
    }

    #[test]
    fn a_code_counts_once_and_one_step_to_either_side() {
        let at = Timestamp::from_secs;
        let step = verify(SECRET, "287082", at(59), 0);
        assert_eq!(step, Some(1));
        assert_eq!(verify(SECRET, "287082", at(59), 1), None, "a second time");
        assert_eq!(verify(SECRET, "287082", at(89), 0), Some(1));
        assert_eq!(verify(SECRET, "287082", at(29), 0), Some(1));
        assert_eq!(verify(SECRET, "287082", at(90), 0), None, "too late");
        for wrong in ["", "28708", "2870822", "28708x", "+28708", "000000"] {
            assert_eq!(verify(SECRET, wrong, at(59), 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_shown_in_base32() {
        assert_eq!(shown(b"foobar"), "MZXW6YTBOI");
        assert_eq!(shown(b"f"), "MY");
        assert_eq!(shown(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
