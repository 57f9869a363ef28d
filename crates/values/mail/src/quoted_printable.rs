//! Quoted-printable (RFC 2045 §6.7): text of any charset in lines that every server carries.

/// The longest line, its soft break included (RFC 2045 §6.7, rule 5).
const LINE_MAX: usize = 76;

/// Text in quoted-printable. Line ends, CRLF or LF, become CRLF and stay line ends; blanks at the
/// end of a line, a line of one dot and `From ` at the beginning of one are encoded, because
/// servers on the way are known to change them (RFC 2049 §3).
#[must_use]
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(at);
        write_line(&mut out, line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
        rest = behind.get(1..).unwrap_or_default();
    }
    write_line(&mut out, rest);
    out
}

/// The octets of a text in quoted-printable, read as far as it goes (RFC 2045 §6.7): blanks at the end
/// of a line are dropped, and what is not a code stands for itself.
#[must_use]
pub fn from_quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        let line = line.trim_ascii_end();
        let (line, end) = match line.strip_suffix(b"=") {
            Some(soft) => (soft, &b""[..]),
            None => (line, end),
        };
        let mut rest = line;
        while let Some((first, behind)) = rest.split_first() {
            let code = behind.get(..2).filter(|_| *first == b'=');
            let code = code.and_then(|c| std::str::from_utf8(c).ok());
            let is_code = |c: &&str| c.bytes().all(|b| b.is_ascii_hexdigit());
            match code.filter(is_code).map(|c| u8::from_str_radix(c, 16)) {
                Some(Ok(octet)) => {
                    out.push(octet);
                    rest = behind.get(2..).unwrap_or_default();
                }
                Some(Err(_)) | None => {
                    out.push(*first);
                    rest = behind;
                }
            }
        }
        out.extend_from_slice(end);
    }
    out
}

fn write_line(out: &mut Vec<u8>, line: &[u8]) {
    let mut column = 0;
    let endangered = line == b"." || line.starts_with(b"From ");
    for (at, b) in line.iter().copied().enumerate() {
        let is_last = at + 1 == line.len();
        let plain = match b {
            b' ' | b'\t' => !is_last,
            b'=' => false,
            b'!'..=b'~' => !(endangered && at == 0),
            _ => false,
        };
        let width = if plain { 1 } else { 3 };
        // The last column belongs to the soft break, where one may still be needed.
        if column + width > LINE_MAX - usize::from(!is_last) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        match plain {
            true => out.push(b),
            false => out.extend([b'=', digit(b >> 4), digit(b & 15)]),
        }
        column += width;
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'A' + value - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> String {
        String::from_utf8(quoted_printable(text)).unwrap()
    }

    #[test]
    fn what_may_not_stand_as_it_is_is_encoded() {
        for (text, expected) in [
            ("", ""),
            ("plain\r\nlines\r\n", "plain\r\nlines\r\n"),
            ("bare\nline", "bare\r\nline"),
            ("Gr\u{fc}\u{df}e = 1\r\n", "Gr=C3=BC=C3=9Fe =3D 1\r\n"),
            ("blank \r\ntab\t\r\nend ", "blank=20\r\ntab=09\r\nend=20"),
            (".\r\n..\r\n.a\r\n", "=2E\r\n..\r\n.a\r\n"),
            ("From me\r\nFrom", "=46rom me\r\nFrom"),
            ("a\rb\r\n", "a=0Db\r\n"),
        ] {
            assert_eq!(encoded(text.as_bytes()), expected);
        }
    }

    #[test]
    fn what_was_encoded_is_read_and_what_is_odd_stands_for_itself() {
        for text in [
            "",
            "a\r\n",
            "Gr\u{fc}\u{df}e = 1 \r\n.\r\n",
            &"\u{e4}x".repeat(90),
        ] {
            let read = from_quoted_printable(&quoted_printable(text.as_bytes()));
            assert_eq!(read, text.as_bytes());
        }
        for (text, expected) in [
            ("a=\nb", "ab"),
            ("a= \r\nb", "ab"),
            ("=zz=4", "=zz=4"),
            ("=c3=BC  \nx", "\u{fc}\r\nx"),
            ("=", ""),
        ] {
            assert_eq!(from_quoted_printable(text.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn no_line_is_longer_than_76_octets() {
        for (length, lines) in [(76, 1), (77, 2), (151, 2), (152, 3)] {
            let text = encoded(&vec![b'x'; length]);
            assert_eq!(text.split("\r\n").count(), lines, "{length}");
            assert!(text.split("\r\n").all(|l| l.len() <= 76), "{text}");
            assert_eq!(text.replace("=\r\n", "").len(), length);
        }
        let text = encoded("\u{fc}".repeat(100).as_bytes());
        assert!(text.split("\r\n").all(|l| l.len() <= 76), "{text}");
    }
}
