//! Servers that say when to come back: "try again in 300 seconds".

use std::time::Duration;

use mail::Reply;

/// Words that make a text one about coming back; without, a length of time says how fast was too fast.
const ABOUT: [&str; 10] = [
    "again",
    "retry",
    "retries",
    "later",
    "back",
    "wait",
    "resend",
    "reconnect",
    "greylisted",
    "greylisting",
];
/// Words in front of a wait.
const IN_FRONT: [&str; 13] = [
    "in",
    "after",
    "wait",
    "within",
    "for",
    "next",
    "least",
    "about",
    "approximately",
    "another",
    "than",
    "until",
    "every",
];
/// Numbers as words.
const NUMBERS: [(&str, u64); 12] = [
    ("a", 1),
    ("an", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("ten", 10),
    ("fifteen", 15),
    ("twenty", 20),
    ("thirty", 30),
    ("sixty", 60),
];

/// The wait that a deferral asks for, where its text names one: behind a word that makes it a wait,
/// a number with a unit (`in 300 seconds`, `wait 60s`, `after an hour`), or hours, minutes and seconds
/// (`come back in 00:04:59`, as milter-greylist has it).
#[must_use]
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    if !reply.is_transient() {
        return None;
    }
    let text = reply.text.to_ascii_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .map(|word| word.trim_matches(':'))
        .filter(|word| !word.is_empty())
        .collect();
    if !words.iter().any(|word| ABOUT.contains(word)) {
        return None;
    }
    let seconds = words.windows(2).enumerate().find_map(|(n, pair)| {
        let [before, word] = pair else { return None };
        let behind = words.get(n + 2).copied().unwrap_or_default();
        IN_FRONT.contains(before).then(|| wait(word, behind))?
    })?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The seconds that a word means, with the one behind it.
fn wait(word: &str, behind: &str) -> Option<u64> {
    if word.contains(':') {
        return clock(word);
    }
    if let Some((_, number)) = NUMBERS.iter().find(|(name, _)| *name == word) {
        return number.checked_mul(unit(behind)?);
    }
    let digits = word.find(|c: char| !c.is_ascii_digit());
    let (number, attached) = word.split_at_checked(digits.unwrap_or(word.len()))?;
    let unit = unit(if attached.is_empty() {
        behind
    } else {
        attached
    })?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// `00:04:59`; two numbers alone could be a time of the day.
fn clock(word: &str) -> Option<u64> {
    let parts: Vec<&str> = word.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else {
        return None;
    };
    let number = |text: &str, max: u64| {
        let number = text.parse::<u64>().ok()?;
        ((1..=2).contains(&text.len()) && number <= max).then_some(number)
    };
    Some(number(hours, 99)? * 3600 + number(minutes, 59)? * 60 + number(seconds, 59)?)
}

fn unit(word: &str) -> Option<u64> {
    Some(match word {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_from_what_servers_write() {
        let cases = [
            ("Greylisted, please try again in 300 seconds", Some(300)),
            ("try again in 5 minutes", Some(300)),
            ("Please retry after 00:05:00", Some(300)),
            (
                "Greylisting in action, please come back in 00:04:59",
                Some(299),
            ),
            ("Try again after 12:30", None),
            ("Try again after 12:30:00:00", None),
            ("Greylisted for 5 minutes", Some(300)),
            (
                "Too many connections in 60 seconds, please try again in 10 minutes",
                Some(60),
            ),
            (
                "No more than 100 messages; wait for about 15 min.",
                Some(900),
            ),
            ("Rate limit reached: retry in an hour", Some(3600)),
            ("Come back in one day", Some(86_400)),
            ("Resend it in a while", None),
            ("More than 100 messages in 1 hour", None),
            ("Try again later: 99999999999999999999 in 9s9", None),
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
