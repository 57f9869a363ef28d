//! The readers against tables of hostile input and a reference that works byte by byte.

use super::*;
use proptest::prelude::*;

const RULES: ContentRules = ContentRules {
    size_max: 1000,
    line_max: 100,
    bare_newline: BareNewline::Normalise,
    nul: Nul::Keep,
    binary: false,
};
const REFUSE: ContentRules = ContentRules {
    bare_newline: BareNewline::Refuse,
    ..RULES
};
const NO_NUL: ContentRules = ContentRules {
    nul: Nul::Refuse,
    ..REFUSE
};
const WITHOUT_NUL: ContentRules = ContentRules {
    nul: Nul::Remove,
    ..RULES
};

type Outcome = (Option<Result<Vec<u8>, ContentError>>, Vec<u8>);

/// Feeds `wire` in parts of `step`: the result, if the end came, and what was left over.
fn read(wire: &[u8], rules: ContentRules, step: usize) -> Outcome {
    let mut reader = DataReader::new(rules, b"R: x\r\n".to_vec(), 0);
    let mut parts = wire.chunks(step);
    let mut input = BytesMut::new();
    for part in parts.by_ref() {
        input.extend_from_slice(part);
        if reader.read(&mut input) {
            let left = [&input[..], &parts.collect::<Vec<_>>().concat()].concat();
            let done = reader.finish();
            let content = done.map(|c| c.strip_prefix(b"R: x\r\n").unwrap().to_vec());
            return (Some(content), left);
        }
        assert!(input.is_empty());
    }
    (None, input.to_vec())
}

/// The same for chunks, cut at `step`.
fn read_chunks(wire: &[u8], rules: ContentRules, step: usize) -> Result<Vec<u8>, ContentError> {
    let mut reader = ChunkReader::new(rules, vec![], 0);
    for part in wire.chunks(step) {
        let mut input = BytesMut::from(part);
        input.extend_from_slice(b"rest");
        assert_eq!(
            reader.read(&mut input, part.len() as u64),
            part.len() as u64
        );
        assert_eq!(&input[..], b"rest");
    }
    reader.finish().map(|c| c.to_vec())
}

/// What DATA means, without regard for limits: lines between CRLF, each bare CR or LF a line's
/// end within, a leading dot taken off where more of the line follows.
fn reference(wire: &[u8]) -> Option<(Vec<u8>, bool, usize)> {
    let (mut content, mut bare, mut at) = (vec![], false, 0);
    loop {
        let length = wire[at..].windows(2).position(|w| w == b"\r\n")?;
        let mut line = &wire[at..at + length];
        at += length + 2;
        if line == b"." {
            return Some((content, bare, at));
        }
        if line.len() > 1 && line[0] == b'.' && !matches!(line[1], b'\r' | b'\n') {
            line = &line[1..];
        }
        for b in line {
            if matches!(b, b'\r' | b'\n') {
                bare = true;
                content.extend(b"\r\n");
            } else {
                content.push(*b);
            }
        }
        content.extend(b"\r\n");
    }
}

#[test]
fn data_ends_only_at_crlf_dot_crlf() {
    let cases: &[(&[u8], &[u8])] = &[
        (b".\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r.\rb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\rb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n.\r\n\r\nb\r\n"),
        (b"a\r\r\n.\r\n", b"a\r\n\r\n"),
        (b"\0\xff\r\n.\r\n", b"\0\xff\r\n"),
    ];
    for (wire, expected) in cases {
        for step in [1, 2, 3, 7, 1000] {
            let wire = [wire, &b"QUIT\r\n"[..]].concat();
            let (content, left) = read(&wire, RULES, step);
            assert_eq!(content, Some(Ok(expected.to_vec())), "{wire:?} by {step}");
            assert_eq!(left, b"QUIT\r\n", "{wire:?} by {step}");
        }
    }
}

#[test]
fn bare_newlines_are_refused_behind_the_end() {
    for wire in [
        &b"a\n.\nb\r\n.\r\n"[..],
        b"a\rb\r\n.\r\n",
        b".\n\r\n.\r\n",
        b".\r\r\n.\r\n",
        b"a\r\r\n.\r\n",
    ] {
        for step in [1, 1000] {
            let (content, left) = read(wire, REFUSE, step);
            assert_eq!(content, Some(Err(ContentError::BareNewline)), "{wire:?}");
            assert!(left.is_empty());
        }
    }
}

#[test]
fn limits_hold_and_the_rest_is_read_to_its_end() {
    let at_limit = [&b"x".repeat(100)[..], b"\r\n.\r\n"].concat();
    assert_eq!(read(&at_limit, RULES, 7).0.unwrap().unwrap().len(), 102);
    let long_line = [&b"x".repeat(101)[..], b"\r\n.\r\n"].concat();
    let big = [
        &b"0123456789012345678901234567890123456789012345678\r\n".repeat(20)[..],
        b".\r\n",
    ]
    .concat();
    for step in [1, 7, 5000] {
        let too_long = ContentError::LineTooLong(100);
        assert_eq!(read(&long_line, RULES, step).0, Some(Err(too_long)));
        let too_large = ContentError::TooLarge(1000);
        assert_eq!(read(&big, RULES, step).0, Some(Err(too_large)));
    }
}

#[test]
fn chunks_are_taken_to_the_letter() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b".\r\n..\r\n", b".\r\n..\r\n"),
        (b"a", b"a\r\n"),
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"a\r", b"a\r\n"),
        (b"\r\r\n", b"\r\n\r\n"),
    ];
    for (wire, expected) in cases {
        for step in [1, 2, 3, 1000] {
            let content = read_chunks(wire, RULES, step);
            assert_eq!(content, Ok(expected.to_vec()), "{wire:?} by {step}");
        }
    }
    for bare in [&b"a\nb\r\n"[..], b"a\rb", b"a\r", b"\n"] {
        assert_eq!(read_chunks(bare, REFUSE, 1), Err(ContentError::BareNewline));
        assert_eq!(read_chunks(bare, REFUSE, 9), Err(ContentError::BareNewline));
    }
}

#[test]
fn an_endless_flood_is_noticed() {
    let mut reader = DataReader::new(RULES, vec![], 0);
    let part = || BytesMut::from(&vec![b'x'; 1 << 20][..]);
    for _ in 0..64 {
        assert!(!reader.read(&mut part()));
    }
    assert!(!reader.overran());
    reader.read(&mut part());
    assert!(reader.overran());
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b".\r\n\r\n.a\0".to_vec()), 0..120)
}

#[test]
fn of_a_binary_content_every_octet_is_kept_and_its_size_counts() {
    let rules = ContentRules {
        binary: true,
        ..REFUSE
    };
    for step in [1, 2, 3, 1000] {
        for wire in [
            &b"a\nb\rc\0\r\n.\r\n\xff"[..],
            b"\r",
            b"",
            &[b'x'; 1000],
            b"a\r\n.",
        ] {
            assert_eq!(read_chunks(wire, rules, step).unwrap(), wire);
        }
        assert_eq!(
            read_chunks(&[0; 1001], rules, step),
            Err(ContentError::TooLarge(1000))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_reader_equals_the_reference_however_it_is_fed(
        mut wire in hostile(), step in 1usize..9
    ) {
        wire.extend(b"\r\n.\r\nQUIT\r\n");
        let (mut content, bare, end) = reference(&wire).unwrap();
        let (got, left) = read(&wire, RULES, step);
        prop_assert_eq!(&got.unwrap().unwrap(), &content);
        prop_assert_eq!(&left[..], &wire[end..]);
        let (got, left) = read(&wire, REFUSE, step);
        let expected = if bare { Err(ContentError::BareNewline) } else { Ok(content.clone()) };
        prop_assert_eq!(&got.unwrap(), &expected);
        prop_assert_eq!(&left[..], &wire[end..]);
        let has_nul = wire[..end].contains(&0);
        let (got, left) = read(&wire, NO_NUL, step);
        let expected = if has_nul { Err(ContentError::Nul) } else { expected };
        prop_assert_eq!(got.unwrap(), expected);
        prop_assert_eq!(&left[..], &wire[end..]);
        let (got, left) = read(&wire, WITHOUT_NUL, step);
        content.retain(|octet| *octet != 0);
        prop_assert_eq!(&got.unwrap().unwrap(), &content);
        prop_assert_eq!(&left[..], &wire[end..]);
    }

    #[test]
    fn stuffed_content_is_read_back(content in hostile()) {
        let content = Bytes::from(content);
        let wire = crate::dot_stuffing::stuff(&content).concat();
        let mut canonical = crate::dot_stuffing::canonical(&content).to_vec();
        if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
            canonical.extend(b"\r\n");
        }
        prop_assert_eq!(read(&wire, REFUSE, 5).0.unwrap().unwrap(), canonical);
    }

    #[test]
    fn chunks_equal_canonical_content_however_they_are_cut(
        content in hostile(), step in 1usize..9
    ) {
        let mut canonical =
            crate::dot_stuffing::canonical(&Bytes::from(content.clone())).to_vec();
        if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
            canonical.extend(b"\r\n");
        }
        let has_nul = canonical.contains(&0);
        prop_assert_eq!(&read_chunks(&content, RULES, step).unwrap(), &canonical);
        let refused = read_chunks(&content, ContentRules { nul: Nul::Refuse, ..RULES }, step);
        prop_assert_eq!(refused.is_err(), has_nul);
        canonical.retain(|octet| *octet != 0);
        prop_assert_eq!(read_chunks(&content, WITHOUT_NUL, step).unwrap(), canonical);
    }
}
