//! Dialogues with an SMTP server as files: what the client says and what it must hear.
//!
//! The same files are run against the machine without sockets and against the running server.
//! One line is one step; `#` opens a comment; `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` stand for
//! octets.
//!
//! | line | meaning |
//! |---|---|
//! | `set NAME VALUE` | a setting of the server for this dialogue, before the first step |
//! | `c -> TEXT` | send the text and CRLF |
//! | `c => TEXT` | send the text, and nothing after it |
//! | `c <- TEXT` | the next line is this |
//! | `c <~ TEXT` | the next line begins with this; `*` stands for any octets |
//! | `c <+ TEXT` | the next reply, of any number of lines, has a last line like that of `<~` |
//! | `tls` | the TLS handshake happens |
//! | `closed` | the server has closed the connection |
//! | `accepted N` | so many mails have been accepted so far |
//! | `content TEXT` | the last mail accepted is this, but for the server's own Received field |

/// A dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Settings of the server, name and value.
    pub settings: Vec<(String, String)>,
    /// What happens, in order, with the number of the file's line.
    pub steps: Vec<(usize, DialogStep)>,
}

/// One step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialogStep {
    /// The client sends these octets.
    Send(Vec<u8>),
    /// The next line of the server.
    Line(Pattern),
    /// The next reply of the server; the pattern is that of its last line.
    Reply(Pattern),
    /// The TLS handshake.
    Tls,
    /// The server has closed the connection.
    Closed,
    /// So many mails have been accepted.
    Accepted(usize),
    /// The last mail accepted, without our Received field.
    Content(Vec<u8>),
}

/// What a line of the server must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(Vec<u8>),
    /// These parts in this order, the first at the beginning.
    Like(Vec<Vec<u8>>),
}

/// Why a file is not a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a step of a dialogue: {text}")]
pub struct ParseDialogError {
    /// The number of the line.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl Dialog {
    /// Reads a dialogue.
    ///
    /// # Errors
    /// When a line is not a step.
    pub fn parse(text: &str) -> Result<Self, ParseDialogError> {
        let mut dialog = Self {
            settings: Vec::new(),
            steps: Vec::new(),
        };
        for (at, text) in text.lines().enumerate() {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let line = at + 1;
            if let Some(setting) = text.strip_prefix("set ")
                && let Some((name, value)) = setting.trim().split_once(' ')
            {
                dialog.settings.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let step = parse_step(text).ok_or_else(|| ParseDialogError {
                line,
                text: text.to_owned(),
            })?;
            dialog.steps.push((line, step));
        }
        Ok(dialog)
    }
}

fn parse_step(text: &str) -> Option<DialogStep> {
    if let Some((kind, rest)) = text.strip_prefix("c ").and_then(|t| t.split_at_checked(2)) {
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        return match kind {
            "->" => Some(DialogStep::Send(
                [unescape(rest)?, b"\r\n".to_vec()].concat(),
            )),
            "=>" => Some(DialogStep::Send(unescape(rest)?)),
            "<-" => Some(DialogStep::Line(Pattern::Exact(unescape(rest)?))),
            "<~" => Some(DialogStep::Line(like(rest)?)),
            "<+" => Some(DialogStep::Reply(like(rest)?)),
            _ => None,
        };
    }
    match text.split_once(' ').unwrap_or((text, "")) {
        ("tls", "") => Some(DialogStep::Tls),
        ("closed", "") => Some(DialogStep::Closed),
        ("accepted", count) => count.trim().parse().ok().map(DialogStep::Accepted),
        ("content", rest) => unescape(rest).map(DialogStep::Content),
        _ => None,
    }
}

fn like(text: &str) -> Option<Pattern> {
    let parts: Option<_> = text.split('*').map(unescape).collect();
    parts.map(Pattern::Like)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match rest.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

impl Pattern {
    /// Whether a line, its CRLF taken off, is what is expected.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => line == expected,
            Self::Like(parts) => {
                let mut rest = line;
                parts.iter().enumerate().all(|(n, part)| {
                    let found = memchr::memmem::find(rest, part);
                    let Some(at) = found.filter(|at| n > 0 || *at == 0) else {
                        return false;
                    };
                    rest = rest.get(at + part.len()..).unwrap_or_default();
                    true
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_settings_and_steps() {
        let dialog = Dialog::parse(
            "# a comment\nset peer 192.0.2.1\n\nc -> EHLO x\nc => a\\n.\\x00\nc <- 250 ok\n\
             c <~ 250*id\nc <+ 250\ntls\nclosed\naccepted 2\ncontent a\\r\\n\n",
        )
        .unwrap();
        assert_eq!(
            dialog.settings,
            [("peer".to_owned(), "192.0.2.1".to_owned())]
        );
        let steps: Vec<_> = dialog.steps.into_iter().map(|(_, step)| step).collect();
        let like =
            |parts: &[&str]| Pattern::Like(parts.iter().map(|p| p.as_bytes().to_vec()).collect());
        assert_eq!(
            steps,
            [
                DialogStep::Send(b"EHLO x\r\n".to_vec()),
                DialogStep::Send(b"a\n.\0".to_vec()),
                DialogStep::Line(Pattern::Exact(b"250 ok".to_vec())),
                DialogStep::Line(like(&["250", "id"])),
                DialogStep::Reply(like(&["250"])),
                DialogStep::Tls,
                DialogStep::Closed,
                DialogStep::Accepted(2),
                DialogStep::Content(b"a\r\n".to_vec()),
            ]
        );
    }

    #[test]
    fn what_is_no_step_names_its_line() {
        let error = Dialog::parse("tls\nc >> x").unwrap_err();
        assert_eq!(error.line, 2);
        for bad in ["c -> \\q", "c => \\x9", "accepted many", "set", "close"] {
            assert!(Dialog::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_match_from_the_beginning() {
        let like = like("250 2.*id").unwrap();
        assert!(like.matches(b"250 2.0.0 Queued with id x"));
        assert!(!like.matches(b"550 250 2.id") && !like.matches(b"250 2.0.0"));
        assert!(Pattern::Exact(b"a".to_vec()).matches(b"a"));
    }
}
