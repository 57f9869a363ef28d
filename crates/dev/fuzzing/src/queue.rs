//! The queue's log: records and frames.

use spool::format;

use crate::octets::Octets;

/// A record that is read is written so that it reads the same, and no longer than it was by more
/// than its numbers.
pub(crate) fn record(input: &[u8]) {
    let mut octets = Octets::new(input);
    let kind = octets.octet();
    let payload = octets.rest();
    if let Ok(once) = format::rewrite(kind, payload) {
        assert!(once.len() <= payload.len() * 3 + 64, "a record grows");
        assert_eq!(format::rewrite(kind, &once).as_ref(), Ok(&once));
    }
    assert!(format::whole_records(payload) <= payload.len());
}

/// Damage in a segment costs the frames that it touches and no other, and no frame is found that
/// was not written.
pub(crate) fn frames(input: &[u8]) {
    let mut octets = Octets::new(input);
    // Like the real one, the nonce is something that nobody knows who chooses the content.
    let mut segment = format::Segment::new(u64::from(crc32c::crc32c(input)) | 0x5eed << 32);
    let count = usize::from(octets.octet() % 12) + 1;
    for _ in 0..count {
        let at_page = octets.bit();
        let content = octets.line();
        segment.append(content, at_page);
    }
    let mut bytes = segment.bytes().to_vec();
    let written = segment.frames().to_vec();
    let end = bytes.len();
    assert_eq!(
        format::find(&segment, &bytes, false),
        (written.clone(), Vec::new())
    );

    let mut touched: Vec<usize> = Vec::new();
    while !octets.is_empty() {
        let at = format::FIRST_FRAME + usize::from(octets.word()) % (end - format::FIRST_FRAME);
        let octet = octets.octet();
        if let Some(place) = bytes.get_mut(at).filter(|place| **place != octet) {
            *place = octet;
            touched.push(at);
        }
    }
    let (found, damaged) = format::find(&segment, &bytes, true);
    for frame in &found {
        assert!(written.contains(frame), "a frame that was never written");
    }
    for frame in &written {
        let hit = touched.iter().any(|at| frame.contains(at));
        assert!(
            hit || found.contains(frame),
            "a frame without damage is lost"
        );
    }
    let lost = written.iter().any(|frame| !found.contains(frame));
    assert!(!lost || !damaged.is_empty(), "a lost frame is not told");
    for range in &damaged {
        assert!(range.start < range.end && range.end <= end.next_multiple_of(4096));
        assert!(
            !found
                .iter()
                .any(|f| f.start < range.end && range.start < f.end)
        );
    }
    // Cut anywhere, and with any octets at all as its first page, it is read without harm.
    let cut = bytes
        .get(..end.min(usize::from(octets.word())))
        .unwrap_or_default();
    drop(format::find(&segment, cut, false));
    assert!(!format::header_is_good(input), "a header by chance");
}
