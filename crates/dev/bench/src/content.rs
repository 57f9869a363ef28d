//! The mail that is sent: a header with the mail's number at a fixed place, and lines of text.

use memchr::memmem;

/// The field with the number.
const FIELD: &[u8] = b"X-Bench-Number: ";
/// Digits of a number.
const DIGITS: usize = 10;
/// Where the number must stand, whatever fields servers put in front.
const HEADER_MAX: usize = 4096;
/// A line of the body with its end.
const LINE: &[u8] = b"The quick brown fox jumps over the lazy dog, and 0123456789 times again.\r\n";
/// Behind the content.
const DOT: &[u8] = b".\r\n";

/// A mail's content with its final dot, and the place of its number.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    place: usize,
}

impl Content {
    /// Content of `size` octets (at least those of the header and a line), and the dot.
    pub(crate) fn new(size: usize) -> Self {
        let mut bytes = b"From: Bench <bench@sender.test>\r\nTo: Someone <someone@bench.test>\r\n\
            Subject: A mail of the bench\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
            Message-ID: <bench@sender.test>\r\n"
            .to_vec();
        bytes.extend_from_slice(FIELD);
        let place = bytes.len();
        bytes.extend_from_slice(&[b'0'; DIGITS]);
        bytes.extend_from_slice(b"\r\n\r\n");
        while bytes.len() + 2 * LINE.len() < size {
            bytes.extend_from_slice(LINE);
        }
        // The last line makes up the size; it is between one and two lines long.
        let rest = size.saturating_sub(bytes.len() + 2).max(1);
        bytes.resize(bytes.len() + rest, b'x');
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(DOT);
        Self { bytes, place }
    }

    /// The content of a mail, with its dot.
    pub(crate) fn of(&mut self, number: usize) -> &[u8] {
        let mut rest = number;
        let place = self.bytes.get_mut(self.place..self.place + DIGITS);
        for digit in place.into_iter().flatten().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        &self.bytes
    }

    /// Octets without the dot.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() - DOT.len()
    }
}

/// What a server made of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) number: usize,
    /// It bears a DKIM signature.
    pub(crate) signed: bool,
}

/// Which mail it is, from its content or the beginning of it.
pub(crate) fn arrived(content: &[u8]) -> Option<Arrived> {
    let header = content.get(..HEADER_MAX).unwrap_or(content);
    let place = memmem::find(header, FIELD)? + FIELD.len();
    let digits = header.get(place..place + DIGITS)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let signed = memmem::find(header.get(..place)?, b"DKIM-Signature:").is_some();
    Some(Arrived { number, signed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_its_size_and_its_number() {
        for size in [1024, 10 * 1024, 100 * 1024] {
            let mut content = Content::new(size);
            assert_eq!(content.size(), size);
            let bytes = content.of(4711).to_vec();
            assert!(bytes.ends_with(b"x\r\n.\r\n"), "the dot is behind a line");
            let mut received = b"Received: from somewhere\r\n".to_vec();
            received.extend_from_slice(&bytes);
            let (number, signed) = (4711, false);
            assert_eq!(arrived(&received), Some(Arrived { number, signed }));
            received.splice(..0, *b"DKIM-Signature: v=1\r\n");
            assert!(arrived(&received).unwrap().signed);
        }
    }

    #[test]
    fn lines_keep_to_the_limit_of_smtp() {
        let mut content = Content::new(10 * 1024);
        let text = content.of(0).to_vec();
        assert!(text.split(|b| *b == b'\n').all(|l| l.len() < 998));
    }
}
