//! Times on pages: how long ago for the eye, the time itself beside it.

use mail::Timestamp;

/// A time as a page shows it.
pub(crate) struct When {
    /// RFC 3339, for programs and the title.
    pub(crate) exact: String,
    /// For the eye.
    pub(crate) shown: String,
}

/// A time that an answer has written, seen from `now`; as it was written where it is none.
pub(crate) fn when(text: &str, now: Timestamp) -> When {
    let shown = Timestamp::parse_rfc3339(text).map(|at| relative(at, now));
    When {
        exact: text.to_owned(),
        shown: shown.unwrap_or_else(|| text.to_owned()),
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    if at == Timestamp::MAX {
        return "never".to_owned();
    }
    let (is_past, length) = match at <= now {
        true => (true, now.since(at)),
        false => (false, at.since(now)),
    };
    let words = span(length.as_secs());
    match (is_past, length.as_secs()) {
        (_, 0) => "now".to_owned(),
        (true, _) => format!("{words} ago"),
        (false, _) => format!("in {words}"),
    }
}

/// A length of time in its largest units.
pub(crate) fn span(secs: u64) -> String {
    match secs {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 86_400 => match (s / 3600, s % 3600 / 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) if hours < 10 => format!("{hours} h {minutes} min"),
            (hours, _) => format!("{hours} h"),
        },
        s => match (s / 86_400, s % 86_400 / 3600) {
            (1, 0) => "1 day".to_owned(),
            (days, hours) if days < 3 && hours > 0 => format!("{days} d {hours} h"),
            (days, _) => format!("{days} days"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = Timestamp::from_secs(1_800_000_000);
        let at = |ago: i64| {
            let secs = 1_800_000_000_i64 - ago;
            when(&Timestamp::from_secs(secs.unsigned_abs()).to_string(), now).shown
        };
        assert_eq!(at(0), "now");
        assert_eq!(at(59), "59 s ago");
        assert_eq!(at(-300), "in 5 min");
        assert_eq!(at(3_660), "1 h 1 min ago");
        assert_eq!(at(90_000), "1 d 1 h ago");
        assert_eq!(at(864_000), "10 days ago");
        assert_eq!(when("soon", now).shown, "soon");
    }
}
