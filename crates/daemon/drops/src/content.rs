//! The mail that a program pipes in, made into one that can be sent: its lines end in CRLF, its
//! header ends in an empty line, it has a Date and no Bcc.

use mail::{Headers, Timestamp};

/// Fields that name recipients, and the same of a mail that is sent again (RFC 5322 §3.6.6), which
/// then count alone.
const NAMING: [&str; 3] = ["To", "Cc", "Bcc"];
const NAMING_AGAIN: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
/// Fields that are not sent on: who is in Bcc is not for the others, and the path of return is
/// written where a mail arrives.
const LEFT_OUT: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// The lines with CRLF behind each. Every CR in front of an LF goes, one elsewhere becomes a space:
/// alone on the wire it would be refused. With `dot_ends`, a line that is a dot ends the mail. A
/// first line `From NAME DATE` is a mailbox's, not the mail's.
pub fn lines(input: &[u8], dot_ends: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() + input.len() / 32 + 2);
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    if text.is_empty() && input.is_empty() {
        return out;
    }
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let bare = line.iter().rposition(|b| *b != b'\r').map_or(0, |n| n + 1);
        let line = line.get(..bare).unwrap_or_default();
        if dot_ends && line == b"." {
            break;
        }
        if number == 0 && line.starts_with(b"From ") {
            continue;
        }
        match memchr::memchr(b'\r', line) {
            None => out.extend_from_slice(line),
            Some(_) => out.extend(line.iter().map(|b| if *b == b'\r' { b' ' } else { *b })),
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The recipients that the header names; an error is the field that is none, and why.
pub fn recipients(text: &[u8]) -> Result<Vec<String>, (String, String)> {
    let names = |names: &[&str]| Headers::new(text).any(|h| names.iter().any(|n| h.is(n)));
    let fields = match names(&NAMING_AGAIN) {
        true => NAMING_AGAIN,
        false => NAMING,
    };
    let mut found: Vec<String> = Vec::new();
    for header in Headers::new(text).filter(|h| fields.iter().any(|f| h.is(f))) {
        let value = String::from_utf8_lossy(header.value);
        let listed = addresses(&value).map_err(|why| (value.trim().to_owned(), why))?;
        for address in listed {
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

/// The addresses in a list, some perhaps without a domain; an error says what is wrong.
pub fn addresses(text: &str) -> Result<Vec<String>, String> {
    let listed = mail::listed(text).map_err(|why| why.to_string())?;
    Ok(listed.into_iter().map(|one| one.address).collect())
}

/// The mail as it is dropped. What it still lacks, the server adds, which knows its own name.
pub fn complete(text: &[u8], now: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut at = 0;
    let mut has_date = false;
    for header in Headers::new(text) {
        at += header.raw.len();
        has_date |= header.is("Date");
        if !LEFT_OUT.iter().any(|name| header.is(name)) {
            out.extend_from_slice(header.raw);
        }
    }
    if !has_date {
        out.extend_from_slice(format!("Date: {}\r\n", now.rfc5322()).as_bytes());
    }
    let body = text.get(at..).unwrap_or_default();
    if !body.starts_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_whatever_they_ended_in() {
        for (input, dot_ends, expected) in [
            (&b""[..], true, &b""[..]),
            (b"\n", true, b"\r\n"),
            (b"a", true, b"a\r\n"),
            (b"a\nb\r\nc\r\r\n", true, b"a\r\nb\r\nc\r\n"),
            (b"a\rb\n", true, b"a b\r\n"),
            (b"a\n.\nb\n", true, b"a\r\n"),
            (b"a\n.\nb\n", false, b"a\r\n.\r\nb\r\n"),
            (b"a\n..\nb", true, b"a\r\n..\r\nb\r\n"),
            (
                b"From ann Sun Nov 22\nA: b\nFrom x\n",
                true,
                b"A: b\r\nFrom x\r\n",
            ),
            (b"From: ann\n", true, b"From: ann\r\n"),
        ] {
            let made = lines(input, dot_ends);
            assert_eq!(made, expected, "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn recipients_are_those_of_the_header() {
        let text = b"To: a@b.example,\r\n Cee <c@d.example>\r\nCC: e\r\nbcc: f, e\r\n\r\nTo: g\r\n";
        let expected = ["a@b.example", "c@d.example", "e", "f"];
        assert_eq!(recipients(text).unwrap(), expected);
        let again = [&b"Resent-To: x@y.example\r\n"[..], text].concat();
        assert_eq!(recipients(&again).unwrap(), ["x@y.example"]);
        assert!(recipients(b"To: a b\r\n").is_err());
    }

    #[test]
    fn a_mail_is_made_whole() {
        let now = Timestamp::from_secs(0);
        let date = format!("Date: {}\r\n", now.rfc5322());
        for (text, expected) in [
            ("", format!("{date}\r\n")),
            ("hello you\r\n", format!("{date}\r\nhello you\r\n")),
            ("A: b\r\nhello\r\n", format!("A: b\r\n{date}\r\nhello\r\n")),
            (
                "date: x\r\nBcc: c,\r\n d\r\nA: b\r\n\r\nBcc: e\r\n",
                "date: x\r\nA: b\r\n\r\nBcc: e\r\n".to_owned(),
            ),
        ] {
            let made = complete(text.as_bytes(), now);
            assert_eq!(String::from_utf8(made).unwrap(), expected);
        }
    }
}
