//! Lists of mailboxes as they stand in a header field or on a command line (RFC 5322 §3.4), read to
//! find who is meant: the one reader of them, so that who checks a mail and who signs it see the same
//! authors.
//!
//! Comments and folds are passed over, groups give their members, and a route of the obsolete form is
//! dropped. Nothing is decoded: names are for reading only. What others may read otherwise is an error:
//! text after an address, a blank within one, a line's end that is not a fold.

use std::str::Chars;

use crate::{Address, ParseAddressError};

/// Mailboxes of one list: what is longer is read no further, for it costs memory and reaches nobody.
const MAILBOXES_MAX: usize = 100_000;
/// Octets of a text that an error shows.
const SHOWN_MAX: usize = 200;

/// A mailbox with its display name, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name.
    pub name: Option<String>,
    /// The address.
    pub address: Address,
}

/// A mailbox as it is written: its address may lack a domain, or be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The display name, without quotes; empty where there is none.
    pub name: String,
    /// The address, without the blanks and comments that may stand around `@` and points.
    pub address: String,
}

/// Why a text is not a list of mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// What stands there is none.
    #[error("`{text}` is not a mail address: {why}")]
    Address {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: ParseAddressError,
    },
    /// It ends too early.
    #[error("a quote, comment or bracket is not closed in `{0}`")]
    Open(String),
    /// Several addresses without a comma, or text after one.
    #[error("there is text after an address in `{0}`: separate several addresses with commas")]
    After(String),
    /// It could be one word or two.
    #[error("there is a space within the address `{0}`: separate several addresses with commas")]
    Blank(String),
    /// It could be a line's end for others.
    #[error("it contains a CR, LF or NUL")]
    LineEnd,
    /// More than anybody writes.
    #[error("there are more than {MAILBOXES_MAX} mail addresses")]
    TooMany,
    /// Nobody.
    #[error("there is no mail address in `{0}`")]
    Empty(String),
}

/// The mailboxes of a list; an empty list has none.
///
/// # Errors
/// What in it is none, or reads in two ways.
pub fn mailboxes(text: &str) -> Result<Vec<Mailbox>, MailboxError> {
    let mailbox = |one: Listed| {
        let text = one.address;
        let address = Address::parse(&text).map_err(|why| MailboxError::Address {
            text: shown(&text),
            why,
        })?;
        let name = Some(one.name).filter(|n| !n.is_empty());
        Ok(Mailbox { name, address })
    };
    listed(text)?.into_iter().map(mailbox).collect()
}

/// The one mailbox of a text.
///
/// # Errors
/// It has none or several, or what [`mailboxes`] says.
pub fn mailbox(text: &str) -> Result<Mailbox, MailboxError> {
    let mut list = mailboxes(text)?;
    match (list.pop(), list.is_empty()) {
        (Some(one), true) => Ok(one),
        (_, _) => Err(MailboxError::Empty(shown(text))),
    }
}

/// The beginning of a text.
fn shown(text: &str) -> String {
    match text.split_at(text.floor_char_boundary(SHOWN_MAX)) {
        (whole, "") => whole.to_owned(),
        (beginning, _) => format!("{beginning}…"),
    }
}

/// The mailboxes of a list as they are written.
///
/// # Errors
/// What reads in two ways.
pub fn listed(text: &str) -> Result<Vec<Listed>, MailboxError> {
    let mut reader = Reader {
        text,
        one: One::default(),
        found: Vec::new(),
    };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' | '\n' => {
                fold(c, &mut chars).ok_or(MailboxError::LineEnd)?;
                reader.one.push(' ');
            }
            '\0' => return Err(MailboxError::LineEnd),
            _ => reader.read(c, &mut chars)?,
        }
    }
    reader.end()?;
    Ok(reader.found)
}

/// Takes the rest of a fold: a line's end with a blank after it.
fn fold(c: char, chars: &mut Chars<'_>) -> Option<()> {
    if c == '\r' && chars.next() != Some('\n') {
        return None;
    }
    matches!(chars.clone().next(), Some(' ' | '\t')).then_some(())
}

struct Reader<'a> {
    text: &'a str,
    one: One,
    found: Vec<Listed>,
}

/// A mailbox being read.
#[derive(Default)]
struct One {
    /// What stands outside of brackets, quotes undone.
    name: String,
    /// The same as it is written.
    outside: Word,
    inside: Option<Word>,
    closed: bool,
    in_literal: bool,
    routed: bool,
}

/// An address being read.
#[derive(Default)]
struct Word {
    text: String,
    blank: bool,
    /// A blank stands where none may.
    gap: bool,
}

impl Word {
    fn push(&mut self, c: char) {
        if c.is_whitespace() {
            self.blank = !self.text.is_empty();
            return;
        }
        let is_point = |c: char| matches!(c, '@' | '.');
        if std::mem::take(&mut self.blank) {
            self.gap |= !is_point(c) && !self.text.ends_with(is_point);
        }
        self.text.push(c);
    }
}

impl One {
    const fn is_open(&self) -> bool {
        self.inside.is_some() && !self.closed
    }

    fn push(&mut self, c: char) {
        match &mut self.inside {
            Some(inside) if !self.closed => inside.push(c),
            Some(_) => {}
            None => {
                self.name.push(c);
                self.outside.push(c);
            }
        }
    }
}

impl Reader<'_> {
    fn open(&self) -> MailboxError {
        MailboxError::Open(shown(self.text))
    }

    fn after(&self) -> MailboxError {
        MailboxError::After(shown(self.text))
    }

    fn read(&mut self, c: char, chars: &mut Chars<'_>) -> Result<(), MailboxError> {
        let one = &mut self.one;
        match c {
            '(' => {
                comment(chars)?.ok_or_else(|| self.open())?;
                self.one.push(' ');
            }
            ',' | ';' if !one.is_open() => return self.end(),
            c if c.is_whitespace() => one.push(c),
            _ if one.closed => return Err(self.after()),
            '"' => return self.quoted(chars),
            '<' if one.inside.is_none() => one.inside = Some(Word::default()),
            '>' if one.is_open() => one.closed = true,
            '<' | '>' => return Err(self.after()),
            ':' if !one.in_literal => return self.colon(),
            c => {
                one.in_literal = c == '[' || one.in_literal && c != ']';
                one.push(c);
            }
        }
        Ok(())
    }

    /// The name of a group, or a route, is in front of the address. An address there is no name: others take it for
    /// the mailbox.
    fn colon(&mut self) -> Result<(), MailboxError> {
        let one = &mut self.one;
        match &mut one.inside {
            Some(inside) if !one.routed && inside.text.starts_with('@') => {
                *inside = Word::default();
                one.routed = true;
            }
            Some(inside) => inside.push(':'),
            None if one.name.contains('@') => return Err(self.after()),
            None => *one = One::default(),
        }
        Ok(())
    }

    /// Takes a quoted string with its quotes: a local part may be one.
    fn quoted(&mut self, chars: &mut Chars<'_>) -> Result<(), MailboxError> {
        let (mut meant, mut written) = (String::new(), String::from('"'));
        loop {
            match chars.next().ok_or_else(|| self.open())? {
                '"' => break,
                '\\' => {
                    let escaped = chars.next().ok_or_else(|| self.open())?;
                    check(escaped)?;
                    meant.push(escaped);
                    written.extend(['\\', escaped]);
                }
                c @ ('\r' | '\n') => fold(c, chars).ok_or(MailboxError::LineEnd)?,
                c => {
                    check(c)?;
                    meant.push(c);
                    written.push(c);
                }
            }
        }
        let one = &mut self.one;
        let word = match &mut one.inside {
            Some(inside) => inside,
            None => {
                one.name.push_str(&meant);
                &mut one.outside
            }
        };
        word.push('"');
        word.text.push_str(written.get(1..).unwrap_or_default());
        word.text.push('"');
        Ok(())
    }

    fn end(&mut self) -> Result<(), MailboxError> {
        let one = std::mem::take(&mut self.one);
        let (name, word) = match one.inside {
            Some(_) if !one.closed => return Err(self.open()),
            Some(inside) => (one.name.trim().to_owned(), inside),
            None => (String::new(), one.outside),
        };
        if word.gap {
            return Err(MailboxError::Blank(shown(&word.text)));
        }
        if word.text.is_empty() {
            return match name.is_empty() {
                true => Ok(()),
                false => Err(MailboxError::Empty(shown(self.text))),
            };
        }
        if self.found.len() == MAILBOXES_MAX {
            return Err(MailboxError::TooMany);
        }
        self.found.push(Listed {
            name,
            address: word.text,
        });
        Ok(())
    }
}

fn check(c: char) -> Result<(), MailboxError> {
    match c {
        '\r' | '\n' | '\0' => Err(MailboxError::LineEnd),
        _ => Ok(()),
    }
}

/// Passes over a comment, the opening bracket of which is read; comments nest. `None`: it does not end.
fn comment(chars: &mut Chars<'_>) -> Result<Option<()>, MailboxError> {
    let mut depth = 1u32;
    while depth > 0 {
        let Some(c) = chars.next() else {
            return Ok(None);
        };
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => match chars.next() {
                Some(c) => check(c)?,
                None => return Ok(None),
            },
            c @ ('\r' | '\n') => fold(c, chars).ok_or(MailboxError::LineEnd)?,
            c => check(c)?,
        }
    }
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = mailboxes(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found: Vec<(String, String)> = found
            .into_iter()
            .map(|m| (m.name.unwrap_or_default(), m.address.to_string()))
            .collect();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(n, a)| ((*n).to_owned(), (*a).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn mailboxes_are_found_in_every_form() {
        check("ann@x.example", &[("", "ann@x.example")]);
        check(
            "Ann <ann@x.example>, bob@y.example",
            &[("Ann", "ann@x.example"), ("", "bob@y.example")],
        );
        check(
            "\"Smith, \\\"Ann\\\"\" <ann@x.example>",
            &[("Smith, \"Ann\"", "ann@x.example")],
        );
        check(
            "ann@x.example (Ann, (of X)), <bob@y.example>",
            &[("", "ann@x.example"), ("", "bob@y.example")],
        );
        check(
            "Friends: ann@x.example, Bob <bob@y.example>;, c@z.example",
            &[
                ("", "ann@x.example"),
                ("Bob", "bob@y.example"),
                ("", "c@z.example"),
            ],
        );
        check("undisclosed-recipients:;", &[]);
        check("", &[]);
        check("<>", &[]);
        check(
            "\"a b\"@x.example, <@r.example,@s.example:c@z.example>",
            &[("", "\"a b\"@x.example"), ("", "c@z.example")],
        );
        check(
            "\"a. b\" @ x . example (c) , < a @ b.example >",
            &[("", "\"a. b\"@x.example"), ("", "a@b.example")],
        );
        check("Ann\r\n <ann@x.example>", &[("Ann", "ann@x.example")]);
        check(
            "\"Ann\r\n B\" <ann@x.example>\r\n\t(\n c)",
            &[("Ann B", "ann@x.example")],
        );
        check("ann@[IPv6:2001:db8::1]", &[("", "ann@[IPv6:2001:db8::1]")]);
        check(
            "x@y.example <a@b.example>",
            &[("x@y.example", "a@b.example")],
        );
    }

    #[test]
    fn what_is_no_mailbox_is_named() {
        for text in [
            "ann",
            "Ann <ann>",
            "Ann <ann@x.example",
            "\"Ann <ann@x.example>",
            "(Ann ann@x.example",
            "Ann <>",
            "Ann,",
            "a@x.example>",
        ] {
            assert!(mailboxes(text).is_err(), "{text}");
        }
        assert!(mailbox("a@x.example, b@x.example").is_err());
        assert!(mailbox("").is_err());
    }

    #[test]
    fn what_reads_in_two_ways_is_no_list() {
        for text in [
            "<a@x.example> <b@y.example>",
            "<a@x.example> b@y.example",
            "<a@x.example>b",
            "<a@x.example> \"b\"",
            "<a@x.example>: b@y.example;",
            "evil ceo@x.example",
            "evil(c)ceo@x.example",
            "<evil ceo@x.example>",
            "evil\r\n ceo@x.example",
            "a@x.example b@y.example",
            "\"a\" b@x.example",
            "Ann\rFrom: <b@y.example> <a@x.example>",
            "Ann\r<a@x.example>",
            "Ann\n<a@x.example>",
            "\"Ann\r\" <a@x.example>",
            "(Ann\r) <a@x.example>",
            "(Ann\\\r) <a@x.example>",
            "Ann\0 <a@x.example>",
            "<<a@x.example>>",
            "ceo@x.example: b@y.example",
            "ceo@x.example:; <b@y.example>",
            "\"ceo@x.example\": b@y.example;",
        ] {
            assert!(mailboxes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_may_lack_its_domain_where_it_is_written_for_this_server() {
        for (text, expected) in [
            (" , ", &[][..]),
            ("root", &["root"]),
            ("\"Onym, Ann\" <a@b.example>,c", &["a@b.example", "c"]),
            ("a@b.example (Ann (of b), really)", &["a@b.example"]),
            ("a @ b . example", &["a@b.example"]),
            ("\"a. b\"@c.example", &["\"a. b\"@c.example"]),
            ("x:; , a@b.example", &["a@b.example"]),
            ("<@old.example,@way.example:a@b.example>", &["a@b.example"]),
            (
                "a@[192.0.2.1], b@[IPv6:2001:db8::1]",
                &["a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"],
            ),
            (
                "\u{fc}@b\u{fc}cher.example",
                &["\u{fc}@b\u{fc}cher.example"],
            ),
        ] {
            let found = listed(text).unwrap();
            let found: Vec<&str> = found.iter().map(|one| one.address.as_str()).collect();
            assert_eq!(found, expected, "{text}");
        }
        for text in ["a b", "<a", "a>", "<a> <b>", "(a", "\"a", "a b@c.example"] {
            assert!(listed(text).is_err(), "{text}");
        }
    }
}
