//! A mail that comes whole (RFC 5322): who sends it and who gets it, and its Bcc taken out.
//!
//! Its header is read as it goes out, with every line's end mended: what is checked is what is sent.

use bytes::Bytes;
use mail::{
    Address, BodyType, Headers, Labels, Notify, Terms, Unclear, header_in_lines, mailboxes,
};

use crate::compose::{Composed, wanted};
use crate::problem::Problem;

/// Reads the mail. `from` and `to` come from the request's parameters and win over the header.
pub(crate) fn read(
    content: &[u8],
    from: Option<&str>,
    to: &[String],
    body_type: BodyType,
) -> Result<Composed, Problem> {
    let (header, length) = header_in_lines(content);
    let authors = mail::authors(&header).map_err(unclear)?;
    let reverse_path = match from {
        None => authors.from.first().cloned(),
        Some("") => None,
        Some(text) => {
            Some(Address::parse(text).map_err(|e| Problem::field("from", e.to_string()))?)
        }
    };
    let mut lists = Vec::new();
    for text in to {
        lists.push(mailboxes(text).map_err(|e| Problem::field("to", e.to_string()))?);
    }
    if to.is_empty() {
        for name in ["To", "Cc", "Bcc"] {
            for field in Headers::new(&header).filter(|h| h.is(name)) {
                let text = String::from_utf8_lossy(field.value);
                lists.push(mailboxes(&text).map_err(|e| Problem::field(name, e.to_string()))?);
            }
        }
    }
    let recipients = wanted(&lists, Notify::UNSET)?;
    if recipients.is_empty() {
        let problem = Problem::field("to", "the message has no recipients");
        return Err(problem.remedy("Name at least one in the parameter `to`, or in To, Cc or Bcc."));
    }
    let content = match body_type {
        // Of this every octet is kept; a header that is not of lines is refused with it.
        BodyType::BinaryMime => without_bcc(content, b""),
        BodyType::SevenBit | BodyType::EightBitMime => {
            without_bcc(&header, content.get(length..).unwrap_or_default())
        }
    };
    Ok(Composed {
        reverse_path,
        authors: authors.all().cloned().collect(),
        recipients,
        content,
        body_type,
        ret: None,
        env_id: None,
        terms: Terms::default(),
        // Those in its header are read where every header is.
        labels: Labels::default(),
    })
}

fn unclear(why: Unclear) -> Problem {
    let remedy = match why {
        Unclear::Header => {
            "Write each line of the header as `Name: value`, and an empty line after the last."
        }
        Unclear::From | Unclear::Sender | Unclear::Address(_) => {
            "Name the author in exactly one From field of the header."
        }
    };
    let detail = format!("the author cannot be determined: {why}");
    Problem::field("From", detail).remedy(remedy)
}

/// The mail without its Bcc fields, and with what follows.
fn without_bcc(content: &[u8], rest: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(content.len() + rest.len());
    let mut fields = Headers::new(content);
    for header in fields.by_ref() {
        if !header.is("Bcc") && !header.is("Resent-Bcc") {
            out.extend_from_slice(header.raw);
        }
    }
    let behind = content.len() - fields.left();
    out.extend_from_slice(content.get(behind..).unwrap_or_default());
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_come_from_the_header_and_bcc_is_gone() {
        let mail = b"From: Ann <ann@a.example>\nTo: b@b.example\nBcc: c@c.example,\n\
            \td@d.example\nCc: b@b.example\nSubject: x\n\nBcc: stays\nbody";
        let read = read(mail, None, &[], BodyType::SevenBit).unwrap();
        let to = read.recipients.iter().map(|r| r.address.to_string());
        let to: Vec<String> = to.collect();
        assert_eq!(to, ["b@b.example", "c@c.example", "d@d.example"]);
        let text = String::from_utf8(read.content.to_vec()).unwrap();
        let expected = "From: Ann <ann@a.example>\r\nTo: b@b.example\r\nCc: b@b.example\r\n\
            Subject: x\r\n\r\nBcc: stays\nbody";
        assert_eq!(text, expected);
        assert_eq!(read.reverse_path.unwrap().to_string(), "ann@a.example");
    }

    #[test]
    fn parameters_win_over_the_header() {
        let mail = b"From: ann@a.example\r\nSender: s@s.example\r\nTo: b@b.example\r\n\r\nx\r\n";
        let to = [
            "e@e.example, f@f.example".to_owned(),
            "g@g.example".to_owned(),
        ];
        let found = read(mail, Some(""), &to, BodyType::SevenBit).unwrap();
        assert_eq!(found.recipients.len(), 3);
        assert_eq!(found.reverse_path, None);
        assert_eq!(found.authors.len(), 2);
        assert!(
            read(b"To: b@b.example\r\n\r\nx", None, &[], BodyType::SevenBit).is_err(),
            "no From"
        );
        assert!(
            read(b"From: a@b.example\r\n\r\nx", None, &[], BodyType::SevenBit).is_err(),
            "no To"
        );
    }
}
