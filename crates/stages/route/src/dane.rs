//! DANE: which TLSA records can be used, and whether they are asked for at all (RFC 7672, RFC 7671).

use mail::Tlsa;

/// The most octets of a whole certificate or key in a record; more are not believed to be one.
const DATA_MAX: usize = 64 * 1024;

/// What the TLSA records of a host come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// There are none: DANE says nothing.
    None,
    /// There are some, but none that a mail client can use: TLS is mandatory, who the host is cannot
    /// be proved (RFC 7672 §2.2).
    Unusable,
    /// The host must prove itself by one of these, in no particular order.
    Usable(Vec<Tlsa>),
}

/// Sorts out the records of a host (RFC 7672 §3.1, RFC 7671 §9).
#[must_use]
pub fn usable(found: Vec<Tlsa>) -> Dane {
    if found.is_empty() {
        return Dane::None;
    }
    let mut good: Vec<Tlsa> = found.into_iter().filter(is_usable).collect();
    good.sort();
    good.dedup();
    // Where a domain publishes several digests of the same thing, the strongest counts.
    let strongest = |of: &Tlsa| {
        let same = |t: &&Tlsa| (t.usage, t.selector) == (of.usage, of.selector);
        good.iter().filter(same).map(|t| t.matching).max()
    };
    let kept: Vec<Tlsa> = good
        .iter()
        .filter(|t| t.matching == 0 || Some(t.matching) == strongest(t))
        .cloned()
        .collect();
    match kept.is_empty() {
        true => Dane::Unusable,
        false => Dane::Usable(kept),
    }
}

/// Usages 0 and 1 say which public authority is meant, which mail has no use for (RFC 7672 §3.1.3).
fn is_usable(record: &Tlsa) -> bool {
    let length = record.data.len();
    matches!(record.usage, 2 | 3)
        && matches!(record.selector, 0 | 1)
        && match record.matching {
            0 => (1..=DATA_MAX).contains(&length),
            1 => length == 32,
            2 => length == 64,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
        Tlsa {
            usage,
            selector,
            matching,
            data: vec![7; length],
        }
    }

    #[test]
    fn only_what_a_mail_client_can_check_is_used() {
        assert_eq!(usable(Vec::new()), Dane::None);
        let bad = [
            record(0, 1, 1, 32),
            record(1, 0, 1, 32),
            record(4, 1, 1, 32),
            record(3, 2, 1, 32),
            record(3, 1, 3, 32),
            record(3, 1, 1, 31),
            record(3, 1, 2, 32),
            record(2, 0, 0, 0),
        ];
        for one in bad {
            assert_eq!(usable(vec![one.clone()]), Dane::Unusable, "{one:?}");
        }
        for (selector, matching, length) in [(0, 1, 32), (1, 1, 32), (0, 2, 64), (1, 0, 91)] {
            for usage in [2, 3] {
                let one = record(usage, selector, matching, length);
                assert_eq!(usable(vec![one.clone()]), Dane::Usable(vec![one]));
            }
        }
        let mixed = vec![record(1, 1, 1, 32), record(3, 1, 1, 32)];
        assert_eq!(usable(mixed), Dane::Usable(vec![record(3, 1, 1, 32)]));
    }

    #[test]
    fn the_strongest_digest_counts_and_a_whole_key_always() {
        let found = vec![
            record(3, 1, 1, 32),
            record(3, 1, 2, 64),
            record(3, 1, 0, 91),
            record(2, 1, 1, 32),
        ];
        let Dane::Usable(kept) = usable(found) else {
            panic!("there are usable ones");
        };
        let kept: Vec<(u8, u8)> = kept.iter().map(|t| (t.usage, t.matching)).collect();
        assert_eq!(kept, [(2, 1), (3, 0), (3, 2)]);
    }
}
