//! Whose mail it is: the addresses in From and Sender. Who checks a mail and who signs it ask here.
//!
//! A mail that reads in two ways has no author.

use crate::mailboxes::{MailboxError, mailboxes};
use crate::{Address, HeaderEnd, Headers};

/// Why it cannot be said whose mail it is: a clause that goes on from "not signed:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// RFC 5322 §3.6 wants exactly one.
    #[error("the header has no From field, or several")]
    From,
    /// Several Sender fields.
    #[error("the header has several Sender fields")]
    Sender,
    /// A line of the header is not a field, so that others may see the header end elsewhere.
    #[error("a line of the header is not a header field")]
    Header,
    /// From or Sender cannot be read.
    #[error("From or Sender cannot be read: {0}")]
    Address(MailboxError),
}

/// Those whom a mail says it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authors {
    /// All in From; there is at least one.
    pub from: Vec<Address>,
    /// The one in Sender.
    pub sender: Option<Address>,
}

impl Authors {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Address> {
        self.from.iter().chain(&self.sender)
    }

    /// The author whose domain signs: the one in From; where From names several, the Sender among
    /// them, which RFC 5322 §3.6.2 then wants, else the first.
    #[must_use]
    pub fn signing(&self) -> Option<&Address> {
        let sender = self.sender.as_ref();
        sender
            .filter(|sender| self.from.contains(sender))
            .or_else(|| self.from.first())
    }
}

/// The authors of a mail, by its header as it goes out: lines end in CRLF.
///
/// # Errors
/// Why they cannot be told.
pub fn authors(content: &[u8]) -> Result<Authors, Unclear> {
    let (mut from, mut sender) = (None, None);
    let mut fields = Headers::new(content);
    for field in fields.by_ref() {
        if field.is("From") && from.replace(field.value).is_some() {
            return Err(Unclear::From);
        }
        if field.is("Sender") && sender.replace(field.value).is_some() {
            return Err(Unclear::Sender);
        }
    }
    if fields.end() == HeaderEnd::Broken {
        return Err(Unclear::Header);
    }
    let from = addresses(from.ok_or(Unclear::From)?)?;
    if from.is_empty() {
        return Err(Unclear::Address(MailboxError::Empty("From".to_owned())));
    }
    let sender = match sender {
        None => None,
        Some(value) => match addresses(value)?.as_slice() {
            [one] => Some(one.clone()),
            _ => {
                let why = MailboxError::After("Sender".to_owned());
                return Err(Unclear::Address(why));
            }
        },
    };
    Ok(Authors { from, sender })
}

/// The addresses of all fields of this name.
///
/// # Errors
/// What in them cannot be read.
pub fn addresses_in(content: &[u8], name: &str) -> Result<Vec<Address>, Unclear> {
    let mut found = Vec::new();
    for field in Headers::new(content).filter(|field| field.is(name)) {
        found.extend(addresses(field.value)?);
    }
    Ok(found)
}

/// The addresses of a list. Names may be in any character set; an address is in UTF-8.
fn addresses(value: &[u8]) -> Result<Vec<Address>, Unclear> {
    let list = mailboxes(&String::from_utf8_lossy(value)).map_err(Unclear::Address)?;
    let one = |mailbox: crate::Mailbox| {
        let address = mailbox.address;
        match address.local().contains(char::REPLACEMENT_CHARACTER) {
            true => Err(Unclear::Address(MailboxError::Address {
                text: address.to_string(),
                why: crate::ParseAddressError::Local,
            })),
            false => Ok(address),
        }
    };
    list.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<(Vec<String>, String), Unclear> {
        let content = format!("{header}\r\n\r\nFrom: <x@body.example>\r\n");
        let found = authors(content.as_bytes())?;
        let signing = found.signing().unwrap();
        Ok((
            found.all().map(ToString::to_string).collect(),
            signing.to_string(),
        ))
    }

    #[test]
    fn authors_are_found_as_the_rfc_writes_them() {
        for (header, all, signing) in [
            ("From: a@b.example", &["a@b.example"][..], "a@b.example"),
            ("From: <a@b.example>", &["a@b.example"], "a@b.example"),
            (
                "FROM: \"A, <x@y.example>\" (c \\) (d) e@f.example)\r\n <a@b.example> (g)",
                &["a@b.example"],
                "a@b.example",
            ),
            (
                "From: A <@r.example,@s.example:a@b.example>",
                &["a@b.example"],
                "a@b.example",
            ),
            (
                "From: x@y.example <a@b.example>",
                &["a@b.example"],
                "a@b.example",
            ),
            (
                "From: \"a b\"@b.example",
                &["\"a b\"@b.example"],
                "\"a b\"@b.example",
            ),
            (
                "From: =?utf-8?q?J=C3=BCrgen?= <a@b.example>",
                &["a@b.example"],
                "a@b.example",
            ),
            (
                "From: a@b.example, C <c@d.example>",
                &["a@b.example", "c@d.example"],
                "a@b.example",
            ),
            (
                "From: a@b.example, C <c@d.example>\r\nSender: c@d.example",
                &["a@b.example", "c@d.example", "c@d.example"],
                "c@d.example",
            ),
            (
                "From: a@b.example, C <c@d.example>\r\nSender: e@f.example",
                &["a@b.example", "c@d.example", "e@f.example"],
                "a@b.example",
            ),
            (
                "Sender: e@f.example\r\nFrom: a@b.example",
                &["a@b.example", "e@f.example"],
                "a@b.example",
            ),
            (
                "From: Us: a@b.example, c@d.example;",
                &["a@b.example", "c@d.example"],
                "a@b.example",
            ),
            ("From: a@[IPv6:::1]", &["a@[IPv6:::1]"], "a@[IPv6:::1]"),
        ] {
            let (found, by) = read(header).unwrap_or_else(|e| panic!("{header}: {e}"));
            assert_eq!(
                (found.as_slice(), by.as_str()),
                (
                    &all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
                    signing
                ),
                "{header}"
            );
        }
    }

    #[test]
    fn what_reads_in_two_ways_has_no_author() {
        for header in ["Subject: x", "From: a@b.example\r\nFrom: c@d.example"] {
            assert_eq!(read(header), Err(Unclear::From), "{header}");
        }
        let twice = "From: a@b.example\r\nSender: a@b.example\r\nSender: c@d.example";
        assert_eq!(read(twice), Err(Unclear::Sender));
        for header in [
            "From: a@b.example\r\nno field\r\nX: y",
            "From: a@b.example\r\n: y",
            "no field\r\nFrom: a@b.example",
        ] {
            assert_eq!(read(header), Err(Unclear::Header), "{header}");
        }
        for header in [
            "From:",
            "From: nobody",
            "From: <>",
            "From: <a@b.example",
            "From: <a@b.example> <c@d.example>",
            "From: <a@b.example> c@d.example",
            "From: evil ceo@b.example",
            "From: ceo@b.example: a@b.example;",
            "From: a@b.example>",
            "From: \"a@b.example",
            "From: (a@b.example",
            "From: a@b@c.example",
            "From: <a@b.example>\rFrom: <c@d.example>",
            "From: Ann\rFrom: <c@d.example>, <a@b.example>",
            "From: a@b.example\r\nSender: a@b.example, c@d.example",
        ] {
            assert!(matches!(read(header), Err(Unclear::Address(_))), "{header}");
        }
        assert!(authors(b"From: \xff@b.example\r\n\r\n").is_err());
        assert!(authors(b"From: \xff <a@b.example>\r\n\r\n").is_ok());
    }
}
