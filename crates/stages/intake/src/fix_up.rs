//! What a submission server mends in a mail that comes from its author (RFC 6409 §8): a missing
//! Date or Message-ID is added, Bcc and Return-Path are taken out.

use mail::{Headers, QueueId, Timestamp};

/// Which of them are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixUps {
    /// A Date where there is none.
    pub date: bool,
    /// A Message-ID where there is none.
    pub message_id: bool,
    /// No Bcc goes out: its recipients must not be seen by the others.
    pub remove_bcc: bool,
    /// No Return-Path goes out: who delivers a mail writes it, and no author does (RFC 5321 §4.4).
    pub remove_return_path: bool,
}

impl FixUps {
    /// All of them.
    pub const ALL: Self = Self {
        date: true,
        message_id: true,
        remove_bcc: true,
        remove_return_path: true,
    };

    /// None.
    pub const NONE: Self = Self {
        date: false,
        message_id: false,
        remove_bcc: false,
        remove_return_path: false,
    };

    /// The mended content; `None` when nothing was wrong with it. What is added stands after the
    /// Received field that is in front.
    pub(crate) fn apply(
        self,
        content: &[u8],
        hostname: &str,
        id: QueueId,
        now: Timestamp,
    ) -> Option<Vec<u8>> {
        let (mut has_date, mut has_id) = (false, false);
        let mut dropped = Vec::new();
        let mut first_end = None;
        let mut at = 0;
        for field in Headers::new(content) {
            let end = at + field.raw.len();
            if first_end.is_none() && field.is("Received") {
                first_end = Some(end);
            }
            has_date |= field.is("Date");
            has_id |= field.is("Message-ID");
            let is_bcc = self.remove_bcc && (field.is("Bcc") || field.is("Resent-Bcc"));
            if is_bcc || self.remove_return_path && field.is("Return-Path") {
                dropped.push(at..end);
            }
            at = end;
        }
        let mut added = String::new();
        if self.date && !has_date {
            added.push_str(&format!("Date: {}\r\n", now.rfc5322()));
        }
        if self.message_id && !has_id {
            added.push_str(&format!("Message-ID: <{id}@{hostname}>\r\n"));
        }
        if added.is_empty() && dropped.is_empty() {
            return None;
        }
        let first_end = first_end.unwrap_or_default();
        let mut out = Vec::with_capacity(content.len() + added.len() + 2);
        out.extend_from_slice(content.get(..first_end).unwrap_or_default());
        out.extend_from_slice(added.as_bytes());
        // A mail without any field begins with its body, and needs the empty line in front of it.
        let rest = content.get(first_end..).unwrap_or_default();
        if at == first_end && !(rest.starts_with(b"\r\n") || rest.is_empty()) {
            out.extend_from_slice(b"\r\n");
        }
        let mut from = first_end;
        for range in dropped {
            let kept = content.get(from.max(first_end)..range.start);
            out.extend_from_slice(kept.unwrap_or_default());
            from = range.end;
        }
        out.extend_from_slice(content.get(from..).unwrap_or_default());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(fix_ups: FixUps, content: &str) -> Option<String> {
        let id = QueueId::from_u64(7);
        let now = Timestamp::from_secs(0);
        let fixed = fix_ups.apply(content.as_bytes(), "mx.example", id, now)?;
        Some(String::from_utf8(fixed).unwrap())
    }

    #[test]
    fn a_complete_mail_is_left_as_it_is() {
        let whole = "Received: x\r\nDate: y\r\nMessage-Id: <z>\r\nBcc2: q\r\n\r\nBcc: a\r\n";
        assert_eq!(fixed(FixUps::ALL, whole), None);
        assert_eq!(fixed(FixUps::NONE, "Received: x\r\nBcc: a\r\n\r\n"), None);
    }

    #[test]
    fn a_return_path_of_the_client_is_taken_out() {
        let with =
            "Received: x\r\nReturn-Path: <a@b.example>\r\nDate: y\r\nMessage-ID: <z>\r\n\r\nb";
        let without = with.replace("Return-Path: <a@b.example>\r\n", "");
        assert_eq!(fixed(FixUps::ALL, with), Some(without));
    }

    #[test]
    fn what_is_missing_stands_behind_our_received_field() {
        let id = QueueId::from_u64(7);
        assert_eq!(
            fixed(
                FixUps::ALL,
                "Received: x\r\n\ty\r\nbcc: a@b,\r\n c@d\r\nTo: e\r\nBCC: f\r\n\r\nbody"
            )
            .unwrap(),
            format!(
                "Received: x\r\n\ty\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
                 Message-ID: <{id}@mx.example>\r\nTo: e\r\n\r\nbody"
            )
        );
    }

    #[test]
    fn a_mail_without_a_header_keeps_its_first_line() {
        let out = fixed(FixUps::ALL, "Received: x\r\nhello you\r\nthere\r\n").unwrap();
        assert!(
            out.ends_with("@mx.example>\r\n\r\nhello you\r\nthere\r\n"),
            "{out}"
        );
        let out = fixed(FixUps::ALL, "Received: x\r\n\r\nbody").unwrap();
        assert!(out.ends_with("@mx.example>\r\n\r\nbody"), "{out}");
    }
}
