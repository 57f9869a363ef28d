//! Servers that say when to come back: "try again in 300 seconds".

use std::time::Duration;

use mail::Reply;

/// The wait that a deferral asks for, where its text names one.
#[must_use]
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    if !reply.is_transient() {
        return None;
    }
    let text = reply.text.to_ascii_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    // "… in/after/wait N seconds": a number with a unit, behind a word that makes it a wait.
    let introduces = |w: &str| {
        matches!(
            w,
            "in" | "after" | "wait" | "within" | "for" | "next" | "least"
        )
    };
    let at = words.iter().enumerate().skip(1).find_map(|(n, word)| {
        let before = words.get(n - 1)?;
        let starts = word.starts_with(|c: char| c.is_ascii_digit());
        (starts && introduces(before)).then_some(n)
    })?;
    let word = words.get(at)?;
    let digits = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let (number, attached) = word.split_at_checked(digits)?;
    let unit = if attached.is_empty() {
        words.get(at + 1).copied()?
    } else {
        attached
    };
    let seconds = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        _ => return None,
    };
    let wait = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (wait > 0).then(|| Duration::from_secs(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_from_what_servers_write() {
        let cases = [
            ("Greylisted, please try again in 300 seconds", Some(300)),
            ("try again in 5 minutes", Some(300)),
            ("Please retry after 00:05:00", None),
            ("wait 60s and retry", Some(60)),
            ("Too many messages in the last 1 hour", None),
            ("come back in 2 hours", Some(7200)),
            ("mailbox full", None),
            ("error in 5 places", None),
            ("in", None),
        ];
        for (text, secs) in cases {
            let found = retry_after(&Reply::new(451, None, text));
            assert_eq!(found, secs.map(Duration::from_secs), "{text}");
        }
        assert_eq!(
            retry_after(&Reply::new(550, None, "try again in 300 seconds")),
            None
        );
    }
}
