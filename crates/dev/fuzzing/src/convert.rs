//! Contents made fit for hosts without BINARYMIME, 8BITMIME or SMTPUTF8.

use bytes::Bytes;
use deliver::{
    Conversion, SenderRule, SenderRules, Signatures, convert, has_sender, rewrite_senders,
};
use mail::body_offset;

/// What is converted is ASCII where it must be, canonical, of a size in proportion, and is not
/// changed by converting it again; what is ASCII already is not touched.
pub(crate) fn converted(input: &[u8]) {
    let content = smtp::dot_stuffing::canonical(&Bytes::copy_from_slice(input));
    for conversion in [Conversion::Header, Conversion::Whole] {
        let Ok(made) = convert(&content, conversion, Signatures::MayBreak) else {
            assert!(!content.is_ascii(), "ASCII is refused");
            continue;
        };
        let out = &made.content;
        assert!(smtp::dot_stuffing::is_canonical(out));
        assert!(
            out.len() <= content.len() * 20 + 4000,
            "{} octets",
            out.len()
        );
        assert_eq!(made.eight_bit, !out.is_ascii());
        let header = out.get(..body_offset(out)).unwrap_or_default();
        match conversion {
            Conversion::Header => assert!(header.is_ascii(), "the header is not ASCII"),
            Conversion::Whole => assert!(out.is_ascii(), "it is not ASCII"),
            Conversion::Lines
            | Conversion::LinesAndHeader
            | Conversion::LinesInAscii
            | Conversion::Short => {}
        }
        if content.is_ascii() {
            assert_eq!((out, made.parts, made.fields), (&content, 0, 0));
        }
        let again = convert(out, conversion, Signatures::MayBreak);
        let again = again.expect("what was converted is converted");
        assert_eq!(&again.content, out, "converting again changes it");
    }
    short(&content);
    other_senders(&content);
    binary(&Bytes::copy_from_slice(input));
}

/// What has no long line is not touched; what was made is canonical, of a size in proportion, and is not
/// changed by making it again.
fn short(content: &Bytes) {
    let Ok(made) = convert(content, Conversion::Short, Signatures::MayBreak) else {
        return;
    };
    let out = &made.content;
    assert!(smtp::dot_stuffing::is_canonical(out));
    assert!(
        out.len() <= content.len() * 4 + 4000,
        "{} octets",
        out.len()
    );
    if !mail::has_long_line(content) {
        assert_eq!((out, made.parts, made.fields), (content, 0, 0));
    }
    let again = convert(out, Conversion::Short, Signatures::MayBreak);
    let again = again.expect("what was made is made again");
    assert_eq!(&again.content, out, "making it again changes it");
}

/// Other senders are put into the header alone, and once: the body stays, and nobody is left whom a rule
/// speaks of.
fn other_senders(content: &Bytes) {
    let becomes = "office@provider.example";
    let rules = ["@example.com", "@.example.com", "root"];
    let rules = rules.map(|matching| SenderRule::parse(matching, becomes, true).expect("a rule"));
    let hostname = "example.com".parse().expect("a domain");
    let rules = SenderRules::new(rules.to_vec(), &hostname, []);
    let made = rewrite_senders(content, &rules, true, Signatures::MayBreak);
    let Some(made) = made.expect("signatures may break") else {
        assert!(!has_sender(content, &rules));
        return;
    };
    let out = &made.content;
    assert!(has_sender(content, &rules) && !has_sender(out, &rules));
    assert!(smtp::dot_stuffing::is_canonical(out));
    let body = content.get(body_offset(content)..).unwrap_or_default();
    assert!(out.ends_with(body), "the body is changed");
    assert_eq!(
        out.len() - body_offset(out),
        body.len(),
        "the header ends elsewhere"
    );
    assert!(
        out.len() <= content.len() * 20 + 4000,
        "{} octets",
        out.len()
    );
}

/// What is made of a binary content is lines, in ASCII where it must be, of a size in proportion, and
/// is not changed by converting it again.
fn binary(content: &Bytes) {
    for conversion in [
        Conversion::Lines,
        Conversion::LinesAndHeader,
        Conversion::LinesInAscii,
    ] {
        let Ok(made) = convert(content, conversion, Signatures::MayBreak) else {
            continue;
        };
        let out = &made.content;
        assert!(smtp::dot_stuffing::is_canonical(out), "CR or LF alone");
        assert!(out.ends_with(b"\r\n") && !out.contains(&0));
        assert!(
            out.len() <= content.len() * 20 + 4000,
            "{} octets",
            out.len()
        );
        assert_eq!(made.eight_bit, !out.is_ascii());
        let (header, body) = out.split_at(body_offset(out));
        assert!(mail::are_lines(body), "the body is not made of lines");
        match conversion {
            Conversion::LinesInAscii => assert!(out.is_ascii(), "it is not ASCII"),
            Conversion::LinesAndHeader => assert!(header.is_ascii(), "the header is not ASCII"),
            Conversion::Header | Conversion::Whole | Conversion::Lines | Conversion::Short => {}
        }
        let again = convert(out, conversion, Signatures::MayBreak);
        let again = again.expect("what was converted is converted");
        assert_eq!(&again.content, out, "converting again changes it");
    }
}
