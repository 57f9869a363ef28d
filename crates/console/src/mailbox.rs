//! Lists of mailboxes as they stand in a header field (RFC 5322 §3.4), read to find who is meant.
//!
//! Comments and folds are passed over, groups give their members, and a route of the obsolete form
//! is dropped. Nothing is decoded: display names are for reading only.

use mail::{Address, ParseAddressError};

/// A mailbox with its display name, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) name: Option<String>,
    pub(crate) address: Address,
}

/// Why a text is no list of mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MailboxError {
    #[error("`{text}` is no mail address: {why}")]
    Address {
        text: String,
        why: ParseAddressError,
    },
    #[error("a quote, comment or bracket is not closed in `{0}`")]
    Open(String),
    #[error("there is no mail address in `{0}`")]
    Empty(String),
}

/// The mailboxes of a list; an empty list has none.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Mailbox>, MailboxError> {
    let mut found = Vec::new();
    let mut reader = Reader::new(text);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '(' => {
                pass_comment(&mut characters).ok_or_else(|| MailboxError::Open(text.to_owned()))?
            }
            '"' => reader.quoted(&mut characters)?,
            '<' => reader.open(),
            '>' => reader.close(),
            // The name of a group is in front of its members.
            ':' if !reader.in_brackets && !reader.in_literal => reader.drop_name(),
            '[' => reader.literal(true),
            ']' => reader.literal(false),
            ',' | ';' if !reader.in_brackets => reader.end(&mut found)?,
            '\r' | '\n' => {}
            c => reader.push(c),
        }
    }
    if reader.in_brackets {
        return Err(MailboxError::Open(text.to_owned()));
    }
    reader.end(&mut found)?;
    Ok(found)
}

/// The one mailbox of a text.
pub(crate) fn parse_one(text: &str) -> Result<Mailbox, MailboxError> {
    let mut list = parse_list(text)?;
    match (list.pop(), list.is_empty()) {
        (Some(one), true) => Ok(one),
        (_, _) => Err(MailboxError::Empty(text.to_owned())),
    }
}

/// Passes over a comment, the opening bracket of which is read; comments nest.
fn pass_comment(characters: &mut std::str::Chars<'_>) -> Option<()> {
    let mut depth = 1u32;
    while depth > 0 {
        match characters.next()? {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(characters.next()?),
            _ => {}
        }
    }
    Some(())
}

struct Reader<'a> {
    text: &'a str,
    /// What stands outside of brackets, quotes undone where it turns out to be a name.
    outside: String,
    /// As `outside`, with its quotes.
    plain: String,
    inside: Option<String>,
    in_brackets: bool,
    in_literal: bool,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str) -> Self {
        Self {
            text,
            outside: String::new(),
            plain: String::new(),
            inside: None,
            in_brackets: false,
            in_literal: false,
        }
    }

    fn push(&mut self, c: char) {
        if self.in_brackets {
            if !c.is_whitespace() {
                self.inside.get_or_insert_default().push(c);
            }
        } else {
            self.outside.push(c);
            self.plain.push(c);
        }
    }

    fn quoted(&mut self, characters: &mut std::str::Chars<'_>) -> Result<(), MailboxError> {
        let mut content = String::new();
        let mut written = String::from("\"");
        loop {
            let open = || MailboxError::Open(self.text.to_owned());
            let c = characters.next().ok_or_else(open)?;
            written.push(c);
            match c {
                '"' => break,
                '\\' => {
                    let escaped = characters.next().ok_or_else(open)?;
                    written.push(escaped);
                    content.push(escaped);
                }
                '\r' | '\n' => drop(written.pop()),
                c => content.push(c),
            }
        }
        if self.in_brackets {
            self.inside.get_or_insert_default().push_str(&written);
        } else {
            self.outside.push_str(&content);
            self.plain.push_str(&written);
        }
        Ok(())
    }

    fn open(&mut self) {
        self.in_brackets = true;
        self.inside = Some(String::new());
    }

    fn close(&mut self) {
        self.in_brackets = false;
    }

    fn literal(&mut self, begins: bool) {
        self.in_literal = begins;
        self.push(if begins { '[' } else { ']' });
    }

    fn drop_name(&mut self) {
        self.outside.clear();
        self.plain.clear();
    }

    fn end(&mut self, found: &mut Vec<Mailbox>) -> Result<(), MailboxError> {
        let outside = std::mem::take(&mut self.outside);
        let plain = std::mem::take(&mut self.plain);
        let (name, text) = match self.inside.take() {
            Some(inside) => {
                // `@a,@b:local@domain`: the obsolete route says nothing any more.
                let address = match (inside.starts_with('@'), inside.rsplit_once(':')) {
                    (true, Some((_, address))) => address.to_owned(),
                    _ => inside,
                };
                (outside.trim().to_owned(), address)
            }
            None => (String::new(), plain.trim().to_owned()),
        };
        if text.is_empty() && name.is_empty() {
            return Ok(());
        }
        let address = Address::parse(&text).map_err(|why| MailboxError::Address { text, why })?;
        let name = Some(name).filter(|n| !n.is_empty());
        found.push(Mailbox { name, address });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = parse_list(text).unwrap_or_else(|e| panic!("{text}: {e}"));
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
        check(
            "\"a b\"@x.example, <@r.example,@s.example:c@z.example>",
            &[("", "\"a b\"@x.example"), ("", "c@z.example")],
        );
        check("Ann\r\n <ann@x.example>", &[("Ann", "ann@x.example")]);
        check("ann@[IPv6:2001:db8::1]", &[("", "ann@[IPv6:2001:db8::1]")]);
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
            "a b@x.example",
            "Ann,",
        ] {
            assert!(parse_list(text).is_err(), "{text}");
        }
        assert!(parse_one("a@x.example, b@x.example").is_err());
        assert!(parse_one("").is_err());
    }
}
