//! The options of `sendmail`, as programs have given them for decades: one letter each, bundled or
//! not, a value joined to its letter or as the next word, options and addresses in any order.

use std::path::PathBuf;

use mail::Notify;

use super::{Failure, code};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `-bm`: drop the mail on standard input.
    Deliver,
    /// `-bs`: SMTP on standard input and output.
    Smtp,
    /// `-bp`: show the queue.
    Queue,
    /// `-q`: try what waits now.
    Retry,
    /// `-bi`: rebuild the aliases.
    Aliases,
}

/// The options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// `-t`.
    pub(super) from_header: bool,
    /// A line with a dot alone ends the mail; not with `-i`.
    pub(super) dot_ends: bool,
    /// `-f`, `-r`.
    pub(super) sender_given: Option<String>,
    /// `-F`.
    pub(super) full_name: Option<String>,
    /// `-N`.
    pub(super) notify: Notify,
    /// `-R`.
    pub(super) return_full: Option<bool>,
    /// `-V`, in xtext.
    pub(super) env_id: Option<String>,
    /// `-C`.
    pub(super) config: Option<PathBuf>,
    /// `-O QueueDirectory=`, `-oQ`.
    pub(super) drop_dir: Option<PathBuf>,
    pub(super) recipients: Vec<String>,
}

/// Options with a value, joined or the next word.
const WITH_VALUE: &str = "ABCFLNORVXbefhopr";
/// Options with a value only when it is joined.
const WITH_JOINED_VALUE: &str = "dq";
/// Options without a value.
const ALONE: &str = "GIUcimntvx";

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Deliver,
            from_header: false,
            dot_ends: true,
            sender_given: None,
            full_name: None,
            notify: Notify::UNSET,
            return_full: None,
            env_id: None,
            config: None,
            drop_dir: None,
            recipients: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the words behind the program's name.
    pub(super) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") => {
                    options.recipients.extend(words);
                    break;
                }
                Some(letters) if !letters.is_empty() => options.letters(letters, &mut words)?,
                Some(_) | None => options.recipients.push(word),
            }
        }
        Ok(options)
    }

    fn letters(
        &mut self,
        letters: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let joined = rest.as_str();
            if ALONE.contains(letter) {
                self.alone(letter);
            } else if WITH_JOINED_VALUE.contains(letter) {
                // `-q5m` goes with a daemon, which this is not; `-q` alone is an order.
                if letter == 'q' && joined.is_empty() {
                    self.mode = Mode::Retry;
                }
                return Ok(());
            } else if WITH_VALUE.contains(letter) {
                let value = match joined {
                    "" => words
                        .next()
                        .ok_or_else(|| usage(format!("the option -{letter} needs a value")))?,
                    joined => joined.to_owned(),
                };
                return self.valued(letter, value);
            } else {
                return Err(usage(format!("unknown option -{letter}")));
            }
        }
        Ok(())
    }

    fn alone(&mut self, letter: char) {
        match letter {
            't' => self.from_header = true,
            'i' => self.dot_ends = false,
            'I' => self.mode = Mode::Aliases,
            // About a hop, a verbose talk, aliases or the header's rewriting: nothing here.
            _ => {}
        }
    }

    fn valued(&mut self, letter: char, value: String) -> Result<(), Failure> {
        match letter {
            'b' => self.mode = mode(&value)?,
            'f' | 'r' => self.sender_given = Some(value),
            'F' => self.full_name = Some(value),
            'N' => self.notify = notify(&value)?,
            'R' => self.return_full = Some(returned(&value)?),
            'V' => self.env_id = Some(xtext(&value)?),
            'C' => self.config = Some(PathBuf::from(value)),
            'B' => body(&value)?,
            'o' => self.short_setting(&value),
            'O' => self.long_setting(&value),
            // Where errors go, hops, protocol, tag and log: decided by the server.
            _ => {}
        }
        Ok(())
    }

    fn short_setting(&mut self, value: &str) {
        let mut rest = value.chars();
        match rest.next() {
            Some('i') => self.dot_ends = matches!(rest.as_str(), "f" | "F" | "false" | "False"),
            Some('Q') => self.drop_dir = Some(PathBuf::from(rest.as_str())),
            Some(_) | None => {}
        }
    }

    fn long_setting(&mut self, value: &str) {
        let (name, value) = value.split_once('=').unwrap_or((value, ""));
        if name.eq_ignore_ascii_case("IgnoreDots") {
            self.dot_ends = value.to_ascii_lowercase().starts_with('f');
        } else if name.eq_ignore_ascii_case("QueueDirectory") {
            self.drop_dir = Some(PathBuf::from(value));
        }
    }
}

fn usage(text: String) -> Failure {
    Failure::new(code::USAGE, text)
}

fn mode(value: &str) -> Result<Mode, Failure> {
    match value {
        "m" => Ok(Mode::Deliver),
        "s" => Ok(Mode::Smtp),
        "p" => Ok(Mode::Queue),
        "i" => Ok(Mode::Aliases),
        "d" | "D" => Err(usage(
            "the server is started with `sendoff serve`".to_owned(),
        )),
        other => Err(usage(format!("unknown mode -b{other}"))),
    }
}

fn notify(value: &str) -> Result<Notify, Failure> {
    let mut notify = Notify::UNSET;
    for word in value.split(',').map(str::trim) {
        notify = notify.with(match word.to_ascii_lowercase().as_str() {
            "never" if !value.contains(',') => Notify::NEVER,
            "success" => Notify::SUCCESS,
            "failure" => Notify::FAILURE,
            "delay" => Notify::DELAY,
            _ => {
                let what = "-N accepts never, or a list of success,failure,delay";
                return Err(usage(format!("{what}; not `{value}`")));
            }
        });
    }
    Ok(notify)
}

fn returned(value: &str) -> Result<bool, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "full" => Ok(true),
        "hdrs" => Ok(false),
        _ => Err(usage(format!("-R accepts full or hdrs; not `{value}`"))),
    }
}

/// What the mail is encoded in is seen in the mail.
fn body(value: &str) -> Result<(), Failure> {
    match value.to_ascii_lowercase().as_str() {
        "7bit" | "8bitmime" => Ok(()),
        _ => Err(usage(format!("-B accepts 7BIT or 8BITMIME; not `{value}`"))),
    }
}

/// ENVID as it goes over the wire (RFC 3461 §4): printable ASCII, and no more than 100 octets.
fn xtext(value: &str) -> Result<String, Failure> {
    let mut text = String::with_capacity(value.len());
    for octet in value.bytes() {
        match octet {
            b'+' | b'=' => text.push_str(&format!("+{octet:02X}")),
            b'!'..=b'~' => text.push(char::from(octet)),
            _ => return Err(usage("-V accepts printable ASCII".to_owned())),
        }
    }
    match text.len() {
        1..=100 => Ok(text),
        _ => Err(usage("-V accepts 1 to 100 characters".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Options::parse(words).map_err(|failure| {
            assert_eq!(failure.code, code::USAGE, "{line}");
            failure.text
        })
    }

    #[test]
    fn the_ways_in_which_programs_call_it() {
        let cases = [
            ("-t -i", true, false, None, vec![]),
            ("-ti", true, false, None, vec![]),
            (
                "-oi -t -f ann@a.example",
                true,
                false,
                Some("ann@a.example"),
                vec![],
            ),
            (
                "-oem -oi -f ann -- b@c.example -x",
                false,
                false,
                Some("ann"),
                vec!["b@c.example", "-x"],
            ),
            (
                "b@c.example -fann d@e.example",
                false,
                true,
                Some("ann"),
                vec!["b@c.example", "d@e.example"],
            ),
            (
                "-odb -oee -em -v -G -h 3 -Lx -X /dev/null -Am -bm b",
                false,
                true,
                None,
                vec!["b"],
            ),
            ("-r <> -Fx b", false, true, Some("<>"), vec!["b"]),
            (
                "-O IgnoreDots=true -B8BITMIME b",
                false,
                false,
                None,
                vec!["b"],
            ),
        ];
        for (line, from_header, dot_ends, sender, recipients) in cases {
            let options = parse(line).unwrap();
            assert_eq!(options.mode, Mode::Deliver, "{line}");
            let found = (
                options.from_header,
                options.dot_ends,
                options.sender_given.as_deref(),
            );
            assert_eq!(found, (from_header, dot_ends, sender), "{line}");
            assert_eq!(options.recipients, recipients, "{line}");
        }
    }

    #[test]
    fn modes_and_reports() {
        for (line, mode) in [
            ("-bs", Mode::Smtp),
            ("-b p", Mode::Queue),
            ("-q", Mode::Retry),
            ("-bm -q5m b", Mode::Deliver),
            ("-bi", Mode::Aliases),
            ("-I", Mode::Aliases),
        ] {
            assert_eq!(parse(line).unwrap().mode, mode, "{line}");
        }
        let options = parse("-N success,delay -R hdrs -V a+b=c x").unwrap();
        assert_eq!(options.notify, Notify::SUCCESS.with(Notify::DELAY));
        assert_eq!(options.return_full, Some(false));
        assert_eq!(options.env_id.as_deref(), Some("a+2Bb+3Dc"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, why) in [
            ("-bd", "sendoff serve"),
            ("-bt", "unknown mode -bt"),
            ("-Z", "unknown option -Z"),
            ("-f", "-f needs a value"),
            ("-N never,delay x", "-N accepts"),
            ("-R all x", "-R accepts"),
            ("-B 9bit x", "-B accepts"),
            ("-V \u{fc} x", "-V accepts"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }
}
