//! What programs on the same computer hand in: drops, and the texts that `sendmail` makes into
//! mails.

use bytes::Bytes;
use drops::{Drop, content as sendmail};
use mail::{Address, Headers, Timestamp, body_offset};

/// A drop is whole or refused; what is read is written as the same file, and any other content
/// under the same first line is refused.
pub(crate) fn drop_file(input: &[u8]) {
    let file = Bytes::copy_from_slice(input);
    if let Ok((drop, content)) = Drop::read_beginning(&file, file.len() as u64) {
        again(&drop, &content);
    }
    if let Ok((drop, content)) = Drop::read(&file) {
        again(&drop, &content);
        let longer = Bytes::from([input, b"x"].concat());
        assert!(Drop::read(&longer).is_err());
    }
    // Any envelope at all under a right first line, which chance does not find.
    let (envelope, content) = match memchr::memchr(b'\n', input) {
        Some(end) => input.split_at(end),
        None => (input, &b""[..]),
    };
    let checksum = crc32c::crc32c(input);
    let first = format!(
        "sendoff-drop 1 {} {} {checksum:08x}\n",
        envelope.len(),
        content.len()
    );
    let file = Bytes::from([first.as_bytes(), input].concat());
    if let Ok((drop, read)) = Drop::read(&file) {
        assert_eq!(read, content);
        let terms = mail::Terms::from(&drop.asked);
        assert!((-9..=9).contains(&terms.priority));
        again(&drop, &read);
    }
}

fn again(drop: &Drop, content: &Bytes) {
    let head = drop.head(content).expect("an envelope is written");
    let file = Bytes::from([&head, &content[..]].concat());
    let (read, behind) = Drop::read(&file).expect("what is written is read");
    assert_eq!((&read, &behind), (drop, content));
}

/// Addresses of a list have no space outside of quotes and read alike when they stand alone.
pub(crate) fn address_list(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(found) = sendmail::addresses(&text) else {
        return;
    };
    let total: usize = found.iter().map(String::len).sum();
    assert!(total <= text.len(), "{found:?}");
    for address in found {
        assert!(!address.is_empty());
        if let Ok(parsed) = Address::parse(&address) {
            let alone = sendmail::addresses(&parsed.to_string());
            assert_eq!(alone, Ok(vec![parsed.to_string()]));
        }
    }
}

/// A mail of a program has canonical lines, one end of its header, a Date and no Bcc.
pub(crate) fn sendmail_text(input: &[u8]) {
    for dot_ends in [true, false] {
        let lines = sendmail::lines(input, dot_ends);
        assert!(smtp::dot_stuffing::is_canonical(&lines));
        assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        assert!(lines.len() <= input.len() * 2 + 2);
        let made = sendmail::complete(&lines, Timestamp::from_secs(1_800_000_000));
        assert!(smtp::dot_stuffing::is_canonical(&made));
        assert!(Headers::new(&made).any(|h| h.is("Date")));
        let hidden = ["Bcc", "Resent-Bcc", "Return-Path"];
        assert!(!Headers::new(&made).any(|h| hidden.iter().any(|n| h.is(n))));
        let header: usize = Headers::new(&made).map(|h| h.raw.len()).sum();
        assert_eq!(header + 2, body_offset(&made), "the header's end is lost");
        if let Ok(recipients) = sendmail::recipients(&lines) {
            let distinct: std::collections::BTreeSet<_> = recipients.iter().collect();
            assert_eq!(distinct.len(), recipients.len());
        }
        // Made whole, it is whole: doing it again changes nothing.
        let again = sendmail::complete(&made, Timestamp::from_secs(1));
        assert_eq!(again, made);
    }
}
