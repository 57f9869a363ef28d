//! Content on its way out: transparency for DATA and canonical line ends (RFC 5321 §4.5.2, §2.3.8).
//!
//! Content that was accepted by this server is canonical already; whatever is not is made so
//! here, so that no bare CR or LF of ours can end a peer's DATA early.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr_iter, memmem};

/// Above this many lines that begin with a dot, one copy is cheaper than the slices.
const SLICES_MAX: usize = 32;
/// Of a large content, one slice for so many octets costs less memory than a copy.
const OCTETS_PER_SLICE: usize = 32 << 10;

/// Whether every CR is followed by LF and every LF follows CR.
#[must_use]
pub fn is_canonical(content: &[u8]) -> bool {
    let pairs = memchr_iter(b'\n', content).try_fold(0usize, |n, at| {
        let before = at.checked_sub(1).and_then(|at| content.get(at));
        (before == Some(&b'\r')).then_some(n + 1)
    });
    pairs.is_some_and(|pairs| memchr_iter(b'\r', content).count() == pairs)
}

/// The content with each bare CR and each bare LF made CRLF; the same bytes, without a copy,
/// where there are none.
#[must_use]
pub fn canonical(content: &Bytes) -> Bytes {
    if is_canonical(content) {
        return content.clone();
    }
    let mut out = BytesMut::with_capacity(content.len() + content.len() / 16);
    let mut rest = &content[..];
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let (line, newline) = rest.split_at(at);
        out.put_slice(line);
        out.put_slice(b"\r\n");
        let length = if newline.starts_with(b"\r\n") { 2 } else { 1 };
        rest = newline.get(length..).unwrap_or_default();
    }
    out.put_slice(rest);
    out.freeze()
}

/// The content as it follows DATA: canonical, a dot doubled at the beginning of each line, and
/// the final `CRLF.CRLF`. The slices are to be sent in order; where no line begins with a dot they
/// are the content itself and the end.
#[must_use]
pub fn stuff(content: &Bytes) -> Vec<Bytes> {
    let content = canonical(content);
    let end = match content.ends_with(b"\r\n") || content.is_empty() {
        true => Bytes::from_static(b".\r\n"),
        false => Bytes::from_static(b"\r\n.\r\n"),
    };
    let first = content.starts_with(b".").then_some(0);
    let dots: Vec<usize> = first
        .into_iter()
        .chain(memmem::find_iter(&content, b"\r\n.").map(|at| at + 2))
        .collect();
    // A large content is sent by many sessions at once: none of them copies it for some dots.
    let few = SLICES_MAX.max(content.len() / OCTETS_PER_SLICE);
    if dots.len() > few {
        return vec![copy_stuffed(&content, &dots, &end)];
    }
    let mut slices = Vec::with_capacity(2 * dots.len() + 2);
    let mut from = 0;
    for dot in dots {
        // Both slices hold the dot: the one before ends with it, the one after begins with it.
        slices.push(content.slice(from..=dot));
        from = dot;
    }
    slices.push(content.slice(from..));
    slices.push(end);
    slices.retain(|slice| !slice.is_empty());
    slices
}

fn copy_stuffed(content: &[u8], dots: &[usize], end: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(content.len() + dots.len() + end.len());
    let mut from = 0;
    for dot in dots {
        out.put_slice(content.get(from..=*dot).unwrap_or_default());
        from = *dot;
    }
    out.put_slice(content.get(from..).unwrap_or_default());
    out.put_slice(end);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(content: &[u8]) -> Vec<u8> {
        stuff(&Bytes::copy_from_slice(content)).concat()
    }

    /// The same by the letter of the RFC, byte by byte.
    fn reference(content: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = vec![vec![]];
        let mut bytes = content.iter().peekable();
        while let Some(b) = bytes.next() {
            match b {
                b'\r' => {
                    bytes.next_if(|next| **next == b'\n');
                    lines.push(vec![]);
                }
                b'\n' => lines.push(vec![]),
                b => lines.last_mut().unwrap().push(*b),
            }
        }
        if lines.last().unwrap().is_empty() {
            lines.pop();
        }
        let mut out = vec![];
        for line in lines {
            if line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend(line);
            out.extend(b"\r\n");
        }
        out.extend(b".\r\n");
        out
    }

    #[test]
    fn content_is_stuffed_and_ended() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"", b".\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"a\r\n.\r\n.b\r\n", b"a\r\n..\r\n..b\r\n.\r\n"),
            (b"a.\r\nb.c", b"a.\r\nb.c\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n.\r\r\n", b"a\r\n..\r\n\r\n.\r\n"),
        ];
        for (content, expected) in cases {
            assert_eq!(wire(content), *expected, "{content:?}");
        }
    }

    #[test]
    fn clean_content_is_not_copied() {
        let content = Bytes::from_static(b"a\r\nb\r\n");
        let slices = stuff(&content);
        assert_eq!(slices[0].as_ptr(), content.as_ptr());
        assert_eq!(slices.len(), 2);
    }

    proptest! {
        #[test]
        fn stuffing_equals_the_reference(
            content in prop::collection::vec(prop::sample::select(b".\r\nab".to_vec()), 0..400)
        ) {
            prop_assert_eq!(wire(&content), reference(&content));
        }
    }
}
