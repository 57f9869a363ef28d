//! Addresses, domains and headers.

use bytes::BytesMut;
use mail::{Address, Domain, Headers, body_offset, find_header, header_in_lines, received_count};
use smtp::data::{BareNewline, ChunkReader, ContentRules, Nul};

/// An address reads back as it is written, also in its form for hosts without SMTPUTF8.
pub(crate) fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(address) = Address::parse(&text) {
        let written = address.to_string();
        assert_eq!(Address::parse(&written).as_ref(), Ok(&address));
        assert!(!written.contains(char::is_control), "{written:?}");
        assert_eq!(
            Address::new(address.local(), address.domain().clone()).as_ref(),
            Ok(&address)
        );
        if let Some(ascii) = address.to_ascii() {
            assert!(ascii.is_ascii(), "{ascii}");
            assert_eq!(Address::parse(&ascii.to_string()), Ok(ascii));
        }
    }
    if let Ok(domain) = Domain::parse(&text) {
        assert_eq!(Domain::parse(domain.as_str()).as_ref(), Ok(&domain));
        assert_eq!(
            domain.literal().is_some(),
            domain.as_str().starts_with('['),
            "{domain}"
        );
        if let Some(literal) = domain.literal() {
            assert_eq!(Domain::from_ip(literal), domain);
        }
        let ascii = domain.to_ascii();
        assert!(ascii.is_some(), "{domain} has no form for DNS");
        for form in ascii.iter().chain([&domain]) {
            let mut up = form.parent();
            while let Some(parent) = up {
                assert!(parent.as_str().len() < form.as_str().len());
                up = parent.parent();
            }
        }
        if let Some(ascii) = ascii {
            assert!(ascii.as_str().is_ascii() && ascii.as_str().len() <= 253);
            assert_eq!(Domain::parse(ascii.as_str()), Ok(ascii));
        }
    }
}

/// The fields of a message are its beginning, without a gap, and none reaches into the body.
pub(crate) fn header(input: &[u8]) {
    let body = body_offset(input);
    assert!(body <= input.len());
    let mut at = 0;
    for field in Headers::new(input) {
        let raw = input.get(at..at + field.raw.len());
        assert_eq!(raw, Some(field.raw), "a field is not where it should be");
        assert!(!field.name.is_empty() && field.name.iter().all(|b| *b > b' ' && *b != b':'));
        assert!(field.name.len() + field.value.len() < field.raw.len());
        at += field.raw.len();
        assert!(at <= body, "a field reaches into the body");
    }
    assert_eq!(
        received_count(input) > 0,
        find_header(input, "received").is_some()
    );
    // What is read of a header before its lines are mended is what goes out.
    let (read, length) = header_in_lines(input);
    let rules = ContentRules {
        size_max: u64::MAX,
        line_max: usize::MAX,
        bare_newline: BareNewline::Normalise,
        nul: Nul::Keep,
        binary: false,
    };
    let mut mended = ChunkReader::new(rules, Vec::new(), 0);
    mended.read(&mut BytesMut::from(input), input.len() as u64);
    let mended = mended.finish().expect("any octets are mended");
    assert!(length <= input.len() && mended.starts_with(&read));
    assert!(length < input.len() || [&read[..], b"\r\n"].concat().starts_with(&mended));
    // What follows the empty line changes nothing of the header.
    let header = input.get(..body).unwrap_or_default();
    assert!(Headers::new(header).eq(Headers::new(input)));
}
