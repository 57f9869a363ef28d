//! A mail that comes whole (RFC 5322): who sends it and who gets it, and its Bcc taken out.

use bytes::Bytes;
use mail::{Address, BodyType, Headers, Notify, Terms};

use crate::compose::{Composed, wanted};
use crate::mailbox::{Mailbox, parse_list};
use crate::problem::Problem;

/// Reads the mail. `from` and `to` come from the request's parameters and win over the header.
pub(crate) fn read(
    content: &[u8],
    from: Option<&str>,
    to: &[String],
    body_type: BodyType,
) -> Result<Composed, Problem> {
    let mut authors = field(content, "From")?;
    if authors.is_empty() {
        let problem = Problem::field("From", "the mail has no From field with an address");
        return Err(problem.remedy("Add one to its header."));
    }
    let author = authors.first().map(|m| m.address.clone());
    authors.extend(field(content, "Sender")?);
    let reverse_path = match from {
        None => author,
        Some("") => None,
        Some(text) => {
            Some(Address::parse(text).map_err(|e| Problem::field("from", e.to_string()))?)
        }
    };
    let mut lists: Vec<Vec<Mailbox>> = Vec::new();
    for text in to {
        lists.push(parse_list(text).map_err(|e| Problem::field("to", e.to_string()))?);
    }
    if to.is_empty() {
        for name in ["To", "Cc", "Bcc"] {
            lists.push(field(content, name)?);
        }
    }
    let recipients = wanted(&lists, Notify::UNSET)?;
    if recipients.is_empty() {
        let problem = Problem::field("to", "the mail has no recipients");
        return Err(problem.remedy("Name some in the parameter to, or in To, Cc or Bcc."));
    }
    Ok(Composed {
        reverse_path,
        authors: authors.into_iter().map(|m| m.address).collect(),
        recipients,
        content: without_bcc(content),
        body_type,
        ret: None,
        terms: Terms::default(),
    })
}

/// The mailboxes of all fields of this name.
fn field(content: &[u8], name: &str) -> Result<Vec<Mailbox>, Problem> {
    let mut found = Vec::new();
    for header in Headers::new(content).filter(|h| h.is(name)) {
        let text = String::from_utf8_lossy(header.value);
        found.extend(parse_list(&text).map_err(|e| Problem::field(name, e.to_string()))?);
    }
    Ok(found)
}

/// The mail without its Bcc fields.
fn without_bcc(content: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(content.len());
    let mut header_len = 0;
    for header in Headers::new(content) {
        header_len += header.raw.len();
        if !header.is("Bcc") && !header.is("Resent-Bcc") {
            out.extend_from_slice(header.raw);
        }
    }
    out.extend_from_slice(content.get(header_len..).unwrap_or_default());
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
        let expected = "From: Ann <ann@a.example>\nTo: b@b.example\nCc: b@b.example\n\
            Subject: x\n\nBcc: stays\nbody";
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
