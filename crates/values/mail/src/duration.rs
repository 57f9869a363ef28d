//! Lengths of time as people write them in configuration and read them in lists: `30s`, `5m`, `4h`.

use std::time::Duration;

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: write a number and a unit, such as \"30s\", \"5m\", \"4h\" or \"5d\""
)]
pub struct ParseDurationError(String);

/// Reads `90s`, `5m`, `4h`, `5d`, `250ms`, `2w` and sums such as `1h30m`; a number alone is seconds.
///
/// # Errors
/// When a number in a sum has no unit, the unit is unknown, or the sum does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let wrong = || ParseDurationError(text.to_owned());
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    if rest.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = rest.parse::<u64>().map_err(|_| wrong())?;
        let whole = seconds.checked_mul(1000).ok_or_else(wrong)?;
        return Ok(Duration::from_millis(whole));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    Ok(total)
}

/// Writes a length of time with its two largest units, such as `4m30s` or `2d4h`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{}ms", duration.as_millis());
    }
    let secs = duration.as_secs();
    let parts = [
        (secs / 86_400, "d"),
        (secs / 3600 % 24, "h"),
        (secs / 60 % 60, "m"),
        (secs % 60, "s"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    shown.map(|(n, unit)| format!("{n}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_lengths_are_read() {
        let cases = [
            ("5m", 300),
            ("90s", 90),
            ("1h30m", 5400),
            ("5d", 432_000),
            ("2w", 1_209_600),
            ("300", 300),
        ];
        for (text, secs) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(secs)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in [
            "",
            "5x",
            "m",
            "-5m",
            "-5",
            "5m3",
            "99999999999999999999",
            "18446744073709551615",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_shown_with_two_units() {
        for (secs, text) in [
            (0, "0ms"),
            (59, "59s"),
            (270, "4m30s"),
            (187_205, "2d4h"),
            (3600, "1h"),
        ] {
            assert_eq!(format_duration(Duration::from_secs(secs)), text);
        }
    }
}
