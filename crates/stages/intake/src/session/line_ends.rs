//! Line ends of programs on this computer: scripts that talk SMTP by hand end their lines in LF.
//!
//! Which it is, the first line says, for the whole session: who ends that in CRLF is held to it, so that a mail
//! which another server passes on means the same here as there. In a session of LF every LF without a CR before it
//! is read as CRLF, before anything else looks at it.

use bytes::BytesMut;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// The first line has not ended.
    #[default]
    Unknown,
    Crlf,
    Lf,
}

/// How a client ends its lines.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    mode: Mode,
    /// Octets at the input's start that have been seen here.
    seen: usize,
    /// The last octet seen was a CR.
    was_cr: bool,
}

impl LineEnds {
    /// Whether lines end in LF.
    pub(super) const fn are_lf(&self) -> bool {
        matches!(self.mode, Mode::Lf)
    }

    /// Makes CRLF of what has come; whether the client is found to end lines in LF. Only where it `may`.
    pub(super) fn mend(&mut self, input: &mut BytesMut, may: impl FnOnce() -> bool) -> bool {
        let is_new = match self.mode {
            Mode::Crlf => return false,
            Mode::Lf => false,
            Mode::Unknown => {
                let Some(end) = input.iter().position(|b| *b == b'\n') else {
                    return false;
                };
                let is_crlf = input.get(..end).is_some_and(|line| line.ends_with(b"\r"));
                if is_crlf || !may() {
                    self.mode = Mode::Crlf;
                    return false;
                }
                self.mode = Mode::Lf;
                true
            }
        };
        let new = input.split_off(self.seen.min(input.len()));
        input.reserve(new.len() + new.len() / 16);
        for part in new.split_inclusive(|b| *b == b'\n') {
            let is_bare = match part.strip_suffix(b"\n") {
                Some(line) => match line.last() {
                    Some(last) => *last != b'\r',
                    None => !self.was_cr,
                },
                None => false,
            };
            match part.strip_suffix(b"\n").filter(|_| is_bare) {
                Some(line) => {
                    input.extend_from_slice(line);
                    input.extend_from_slice(b"\r\n");
                }
                None => input.extend_from_slice(part),
            }
            self.was_cr = part.ends_with(b"\r");
        }
        is_new
    }

    /// So much of the input was left for later.
    pub(super) const fn left(&mut self, octets: usize) {
        self.seen = match self.mode {
            Mode::Lf => octets,
            Mode::Unknown | Mode::Crlf => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of this, cut into pieces, where so many octets are left each time.
    fn read(wire: &[u8], step: usize, keep: usize, may: bool) -> Vec<u8> {
        let (mut ends, mut input, mut read) = (LineEnds::default(), BytesMut::new(), Vec::new());
        for part in wire.chunks(step) {
            input.extend_from_slice(part);
            ends.mend(&mut input, || may);
            if ends.mode != Mode::Unknown {
                let used = input.split_to(input.len().saturating_sub(keep));
                read.extend_from_slice(&used);
            }
            ends.left(input.len());
        }
        read.extend_from_slice(&input);
        read
    }

    #[test]
    fn the_first_line_decides_however_the_stream_is_cut() {
        let cases: [(&[u8], &[u8]); 4] = [
            (
                b"EHLO a\nDATA\n\n.\nQUIT\n",
                b"EHLO a\r\nDATA\r\n\r\n.\r\nQUIT\r\n",
            ),
            (b"EHLO a\nx\r\ny\n", b"EHLO a\r\nx\r\ny\r\n"),
            (b"EHLO a\r\nx\ny\r\n", b"EHLO a\r\nx\ny\r\n"),
            (b"\n\r\n", b"\r\n\r\n"),
        ];
        for (wire, expected) in cases {
            for step in [1, 2, 3, 5, 100] {
                for keep in [0, 1, 4] {
                    assert_eq!(read(wire, step, keep, true), expected, "{step} {keep}");
                    assert_eq!(read(wire, step, keep, false), wire, "{step} {keep}");
                }
            }
        }
    }
}
