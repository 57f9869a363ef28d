//! Servers that say when to come back: "try again in 300 seconds".
//!
//! A length of time is a wait only where the text ties it to coming back: after "again", "retry",
//! "wait" or their like with nothing but small words between, before "again" where it begins its clause
//! ("in 5 minutes, try again"), or as what is "remaining". All others say how fast was too fast ("100
//! messages in 24 hours") or how long was too long ("idle for 300 seconds"). Texts are read in English,
//! German and French.

use std::time::Duration;

use mail::Reply;

/// No host is kept away longer by what its text is read to say.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// How many characters of a text are read.
const TEXT_MAX: usize = 4096;

/// Words about coming back: a length after one of them is the wait.
const CUES: &str = "again retry retries retrying try trying back backoff wait waiting later resend \
    reconnect return attempt resubmit resending reconnecting \
    erneut nochmal nochmals einmal wieder warten warte versuchen versuche spater spaeter wiederholen \
    wiederkommen \
    reessayer reessayez attendre attendez patienter patientez revenir revenez renvoyer renvoyez \
    tentative nouveau tard";
/// States that last: a length after one of them is the wait where the text says nothing better.
const STATES: &str = "greylisted graylisted greylisting graylisting greylist graylist delayed deferred \
    blocked banned throttled suspended blacklisted rejected \
    gesperrt blockiert verzogert verzoegert grise bloquee bloque differe";
/// What may stand between such a word and its length.
const SMALL: &str = "in after for at least about approximately approx around roughly another the next \
    within than more until every please it your message mail email delivery send sending not before \
    off a minimum min of some few time delay is only earliest up to you must and or possible once by \
    from now \
    sie es bitte nach fruhestens fruehestens mindestens etwa ca ungefahr fur fuer noch und erst weitere \
    weiteren ihre nachricht \
    dans apres d ici au moins environ env pendant pour plus svp merci de votre envoi les prochaines bout";
/// Words that put a length before "again".
const LEADS: &str = "in after wait allow within nach dans apres d";
/// Words that may stand before those; else they begin a clause.
const OPENINGS: &str = "please bitte erst only es svp merci sie";
/// Words after a length that says how much of the wait is to come.
const REMAINING: &str = "remaining remain remains left verbleibend verbleiben verbleibende ubrig uebrig \
    restantes restante restant";
/// Words after a length that is none of ours.
const OTHERWISE: &str = "limit quota window timeout ago old per limite";
/// What may stand between two lengths that make a sum.
const JOINTS: &str = "and und et";
/// Abbreviations, whose full stop ends nothing.
const SHORT: &str = "approx ca min env";
/// Numbers as words.
const NUMBERS: [(&str, &str); 13] = [
    ("a an ein eine einer einem un une one", "1"),
    ("two zwei deux", "2"),
    ("three drei trois", "3"),
    ("four vier quatre", "4"),
    ("five funf fuenf cinq", "5"),
    ("six sechs", "6"),
    ("ten zehn dix", "10"),
    ("twelve zwolf zwoelf douze", "12"),
    ("fifteen funfzehn fuenfzehn quinze", "15"),
    ("twenty zwanzig vingt", "20"),
    ("thirty dreissig trente", "30"),
    ("sixty sechzig soixante", "60"),
    ("ninety neunzig", "90"),
];

fn is_one_of(word: &str, list: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry == word)
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    /// In lower case, without accents; a number, or a number with its unit, is one too.
    Word(&'a str),
    /// A comma, bracket, colon or dash.
    Pause,
    /// The end of a sentence.
    Stop,
}

impl<'a> Piece<'a> {
    fn is_in(self, list: &str) -> bool {
        self.word().is_some_and(|word| is_one_of(word, list))
    }

    const fn word(self) -> Option<&'a str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Pause | Self::Stop => None,
        }
    }
}

/// A length of time in a text: where it begins, where it ends, how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length {
    begin: usize,
    end: usize,
    seconds: u64,
}

/// The wait that a deferral asks for, where its text names one, at most four hours: a number with a
/// unit (`in 300 seconds`, `wait 60s`, `after an hour`), a sum (`1h30m`), hours, minutes and seconds
/// (`come back in 00:04:59`, as milter-greylist has it), or `Retry-After: 300`.
#[must_use]
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    if !reply.is_transient() {
        return None;
    }
    let text = plain(&reply.text);
    let text = Text(pieces(&text));
    let lengths = text.lengths();
    let find = |fits: &dyn Fn(Length) -> bool| lengths.iter().copied().find(|l| fits(*l));
    let found = find(&|l| text.is_behind(l, CUES) || text.is_remaining(l))
        .or_else(|| find(&|l| text.is_before_cue(l)))
        .or_else(|| find(&|l| text.is_behind(l, STATES)))?;
    (found.seconds > 0).then(|| Duration::from_secs(found.seconds).min(LONGEST))
}

/// The text in lower case, letters without their accents.
fn plain(text: &str) -> String {
    let folded = |c: char| match c {
        'à' | 'á' | 'â' | 'ä' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'î' | 'ï' => 'i',
        'ô' | 'ö' => 'o',
        'ù' | 'û' | 'ü' => 'u',
        c => c,
    };
    let text = text.chars().take(TEXT_MAX);
    text.flat_map(char::to_lowercase).map(folded).collect()
}

/// The text in pieces. A line's own enhanced code, as `4.7.1`, is left out.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let is_word = |c: char| c.is_alphanumeric();
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_word(first) {
            let (word, behind) = rest.split_at(word_end(rest));
            rest = behind;
            let dots = word.bytes().filter(|b| *b == b'.').count();
            if dots == 2 && word.bytes().all(|b| b == b'.' || b.is_ascii_digit()) {
                continue;
            }
            pieces.push(Piece::Word(word));
            continue;
        }
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let ends = behind.chars().next().is_none_or(char::is_whitespace);
        let last = pieces.last().copied();
        match first {
            '.' if last.is_some_and(|p: Piece<'_>| p.is_in(SHORT)) => {}
            '.' | '!' | '?' | ';' if ends => pieces.push(Piece::Stop),
            // A hyphen joins words.
            '-' | '_' | '\'' | '’' if !ends => {}
            c if c.is_whitespace() => {}
            _ => pieces.push(Piece::Pause),
        }
        rest = behind;
    }
    pieces
}

/// Where the word ends that the text begins with; dots, commas and colons between digits are part of it.
fn word_end(text: &str) -> usize {
    let mut letters = text.char_indices().peekable();
    let mut digit = false;
    while let Some((at, c)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        let joins = matches!(c, '.' | ',' | ':') && digit;
        let goes_on = joins && next.is_some_and(|n| n.is_ascii_digit());
        if !(c.is_alphanumeric() || goes_on) {
            return at;
        }
        digit = c.is_ascii_digit();
    }
    text.len()
}

/// A text in pieces.
struct Text<'a>(Vec<Piece<'a>>);

impl Text<'_> {
    fn piece(&self, at: usize) -> Option<Piece<'_>> {
        self.0.get(at).copied()
    }

    fn word(&self, at: usize) -> Option<&str> {
        self.piece(at)?.word()
    }

    fn is(&self, at: usize, list: &str) -> bool {
        self.piece(at).is_some_and(|piece| piece.is_in(list))
    }

    /// All lengths of time that are waits by what follows them.
    fn lengths(&self) -> Vec<Length> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.0.len() {
            match self.sum(at).or_else(|| self.bare_number(at)) {
                Some(length) => {
                    if !self.is(length.end, OTHERWISE) {
                        found.push(length);
                    }
                    at = length.end;
                }
                None => at += 1,
            }
        }
        found
    }

    /// A length, with smaller ones after it: `1 hour and 30 minutes`.
    fn sum(&self, begin: usize) -> Option<Length> {
        let word = self.word(begin)?;
        if let Some(seconds) = clock(word) {
            let end = begin + 1;
            return Some(Length {
                begin,
                end,
                seconds,
            });
        }
        let (mut seconds, mut unit, mut end) = self.one(begin)?;
        loop {
            let joint = end + usize::from(self.is(end, JOINTS));
            match self.one(joint) {
                Some((more, smaller, behind)) if smaller < unit => {
                    seconds = seconds.checked_add(more)?;
                    (unit, end) = (smaller, behind);
                }
                Some(_) | None => {
                    return Some(Length {
                        begin,
                        end,
                        seconds,
                    });
                }
            }
        }
    }

    /// A number and its unit, in one word or two: the seconds, those of the unit, and where it ends.
    fn one(&self, at: usize) -> Option<(u64, u64, usize)> {
        let word = self.word(at)?;
        if let Some((seconds, least)) = attached(word) {
            return Some((seconds, least, at + 1));
        }
        let spelt = NUMBERS.iter().find(|(names, _)| is_one_of(word, names));
        let number = spelt.map_or(word, |(_, number)| number);
        // "239 more seconds".
        let at = at + 1 + usize::from(self.is(at + 1, "more weitere weiteren"));
        let unit = unit(self.word(at)?)?;
        Some((times(number, unit)?, unit, at + 1))
    }

    /// `Retry-After: 300`, as HTTP has it.
    fn bare_number(&self, begin: usize) -> Option<Length> {
        let mut before = (0..begin)
            .rev()
            .filter(|at| self.piece(*at) != Some(Piece::Pause));
        let is_after = before.next().and_then(|at| self.word(at)) == Some("after");
        let is_retry = before.next().and_then(|at| self.word(at)) == Some("retry");
        let ends = self.word(begin + 1).is_none();
        let seconds = self.word(begin)?.parse().ok()?;
        let end = begin + 1;
        (is_after && is_retry && ends).then_some(Length {
            begin,
            end,
            seconds,
        })
    }

    /// Whether one of these words stands before the length, with small words between.
    fn is_behind(&self, length: Length, list: &str) -> bool {
        let before = self.0.get(..length.begin).unwrap_or_default();
        for piece in before.iter().rev() {
            match piece {
                piece if piece.is_in(list) => return true,
                Piece::Pause => {}
                // "5 to 10 minutes", "5-10 minutes".
                Piece::Word(word) if word.parse::<u64>().is_ok() && self.is_range(length) => {}
                piece if piece.is_in(SMALL) => {}
                Piece::Word(_) | Piece::Stop => return false,
            }
        }
        false
    }

    /// Whether the length is the end of a span of them.
    fn is_range(&self, length: Length) -> bool {
        let number = |at: Option<usize>| {
            let word = at.and_then(|at| self.word(at));
            word.is_some_and(|word| word.parse::<u64>().is_ok())
        };
        let joint = length.begin.checked_sub(1);
        let is_joint = joint.is_some_and(|at| {
            self.is(at, "to or bis oder a ou") || self.piece(at) == Some(Piece::Pause)
        });
        number(joint) || (is_joint && number(length.begin.checked_sub(2)))
    }

    /// "299 seconds remaining", "time left: 299 seconds".
    fn is_remaining(&self, length: Length) -> bool {
        let mut before = (0..length.begin)
            .rev()
            .filter(|at| self.piece(*at) != Some(Piece::Pause));
        let last = before.next();
        let last = match last {
            Some(at) if self.is(at, "time is") => before.next(),
            last => last,
        };
        self.is(length.end, REMAINING) || last.is_some_and(|at| self.is(at, REMAINING))
    }

    /// "In 5 minutes, please try again", "wait 5 minutes before", and in German the usual order:
    /// "in 5 Minuten erneut versuchen".
    fn is_before_cue(&self, length: Length) -> bool {
        let small = |at: &usize| {
            let piece = self.piece(*at);
            piece == Some(Piece::Pause) || piece.is_some_and(|piece| piece.is_in(SMALL))
        };
        let next = (length.end..).find(|at| !small(at)).unwrap_or(length.end);
        let mut before = (0..length.begin)
            .rev()
            .skip_while(|at| self.is(*at, SMALL) && !self.is(*at, LEADS));
        let leads = before.next().is_some_and(|at| self.is(at, LEADS));
        let opens = match before.next().and_then(|at| self.piece(at)) {
            None | Some(Piece::Pause | Piece::Stop) => true,
            Some(word) => word.is_in(OPENINGS),
        };
        // "… in 24 hours, try again later" names another time.
        let later = (next..next + 3).any(|at| self.is(at, "later spater spaeter tard"));
        leads && opens && self.is(next, CUES) && !later
    }
}

/// `300s`, `1h30m`, `1h30`: the seconds, and those of the last unit.
fn attached(word: &str) -> Option<(u64, u64)> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let (mut rest, mut seconds, mut least) = (word, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (name, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let unit = match (name, least) {
            ("", 3600) => 60,
            ("", 60) => 1,
            (name, _) => unit(name)?,
        };
        if unit >= least {
            return None;
        }
        seconds = seconds.checked_add(times(number, unit)?)?;
        (rest, least) = (behind, unit);
    }
    (least < u64::MAX).then_some((seconds, least))
}

/// A number, which may have a fraction or thousands set apart, of units.
fn times(number: &str, unit: u64) -> Option<u64> {
    let Some(at) = number.find(['.', ',']) else {
        return number.parse::<u64>().ok()?.checked_mul(unit);
    };
    let (whole, fraction) = (number.get(..at)?, number.get(at + 1..)?);
    let (whole, digits) = (
        whole.parse::<u64>().ok()?,
        u32::try_from(fraction.len()).ok()?,
    );
    let fraction = fraction.parse::<u64>().ok()?;
    if digits == 3 {
        return whole
            .checked_mul(1000)?
            .checked_add(fraction)?
            .checked_mul(unit);
    }
    let part = fraction.checked_mul(unit)? / 10_u64.checked_pow(digits)?;
    whole.checked_mul(unit)?.checked_add(part)
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
        "s" | "sec" | "secs" | "second" | "seconds" | "sek" | "sekunde" | "sekunden"
        | "seconde" | "secondes" => 1,
        "m" | "min" | "mins" | "mn" | "minute" | "minutes" | "minuten" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" | "std" | "stunde" | "stunden" | "heure"
        | "heures" => 3600,
        "d" | "day" | "days" | "tag" | "tage" | "tagen" | "jour" | "jours" => 86_400,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
