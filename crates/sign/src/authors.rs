//! Whose mail it is: the addresses in From and Sender, read to find the key.
//!
//! A mail that reads in two ways gets no signature. Nothing is decoded: display names do not
//! matter here.

use mail::{Address, Headers};

/// Why it cannot be said whose mail it is: a clause that goes on from "not signed:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// RFC 5322 §3.6 wants exactly one.
    #[error("it has no From, or several")]
    From,
    /// Several Sender fields.
    #[error("it has several Sender fields")]
    Sender,
    /// From or Sender can not be read.
    #[error("its From or Sender can not be read")]
    Address,
}

/// The addresses that a mail says it is from: all those in From, behind them that in Sender.
///
/// # Errors
/// Why they cannot be told.
pub fn authors(content: &[u8]) -> Result<Vec<Address>, Unclear> {
    let (mut from, mut sender) = (None, None);
    for field in Headers::new(content) {
        if field.is("From") && from.replace(field.value).is_some() {
            return Err(Unclear::From);
        }
        if field.is("Sender") && sender.replace(field.value).is_some() {
            return Err(Unclear::Sender);
        }
    }
    let mut all = mailboxes(from.ok_or(Unclear::From)?)?;
    if let Some(sender) = sender {
        match mailboxes(sender)?.as_slice() {
            [one] => all.push(one.clone()),
            _ => return Err(Unclear::Address),
        }
    }
    Ok(all)
}

/// The author whose domain signs: the one in From; where From names several, the Sender among them,
/// which RFC 5322 §3.6.2 then wants, else the first.
#[must_use]
pub fn signing_author(authors: &[Address], content: &[u8]) -> Option<Address> {
    let has_sender = mail::find_header(content, "Sender").is_some();
    let in_from = authors.len() - usize::from(has_sender && authors.len() > 1);
    let from = authors.get(..in_from)?;
    match (from, authors.last()) {
        ([_, _, ..], Some(sender)) if has_sender && from.contains(sender) => Some(sender.clone()),
        _ => from.first().cloned(),
    }
}

/// The addresses of a list (RFC 5322 §3.4): comments and folds are passed over, groups give their
/// members, a route of the obsolete form is dropped.
fn mailboxes(value: &[u8]) -> Result<Vec<Address>, Unclear> {
    let text = std::str::from_utf8(value).map_err(|_| Unclear::Address)?;
    let mut found = Vec::new();
    // What stands outside of brackets, and inside.
    let (mut bare, mut inside) = (String::new(), None::<String>);
    let (mut open, mut literal) = (false, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '(' => comment(&mut characters)?,
            '<' if !open && inside.is_none() => {
                inside = Some(String::new());
                open = true;
            }
            '>' if open => open = false,
            '<' | '>' => return Err(Unclear::Address),
            // The name of a group is in front of its members.
            ':' if !open && !literal => bare.clear(),
            ',' | ';' if !open => end(&mut bare, inside.take(), &mut found)?,
            c if c.is_whitespace() => {}
            c => {
                let word = inside.as_mut().filter(|_| open).unwrap_or(&mut bare);
                match c {
                    '"' => quoted(&mut characters, word)?,
                    c => {
                        literal = c == '[' || literal && c != ']';
                        word.push(c);
                    }
                }
            }
        }
    }
    if open {
        return Err(Unclear::Address);
    }
    end(&mut bare, inside, &mut found)?;
    match found.is_empty() {
        true => Err(Unclear::Address),
        false => Ok(found),
    }
}

fn end(bare: &mut String, inside: Option<String>, found: &mut Vec<Address>) -> Result<(), Unclear> {
    let outside = std::mem::take(bare);
    let text = match &inside {
        Some(text) => match text.strip_prefix('@') {
            Some(routed) => routed.split_once(':').map_or("", |(_, address)| address),
            None => text,
        },
        None if outside.is_empty() => return Ok(()),
        None => &outside,
    };
    found.push(Address::parse(text).map_err(|_| Unclear::Address)?);
    Ok(())
}

/// Passes over a comment, the opening bracket of which is read; comments nest.
fn comment(characters: &mut std::str::Chars<'_>) -> Result<(), Unclear> {
    let mut depth = 1u32;
    while depth > 0 {
        match characters.next().ok_or(Unclear::Address)? {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    Ok(())
}

/// Takes a quoted string with its quotes: a local part may be one.
fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unclear> {
    word.push('"');
    loop {
        match characters.next().ok_or(Unclear::Address)? {
            '"' => {
                word.push('"');
                return Ok(());
            }
            '\\' => {
                word.push('\\');
                word.push(characters.next().ok_or(Unclear::Address)?);
            }
            '\r' | '\n' => {}
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<(Vec<String>, String), Unclear> {
        let content = format!("{header}\r\n\r\nFrom: <x@body.example>\r\n");
        let all = authors(content.as_bytes())?;
        let signing = signing_author(&all, content.as_bytes()).unwrap();
        Ok((
            all.iter().map(ToString::to_string).collect(),
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
        for (header, why) in [
            ("Subject: x", Unclear::From),
            ("From: a@b.example\r\nFrom: c@d.example", Unclear::From),
            (
                "From: a@b.example\r\nSender: a@b.example\r\nSender: c@d.example",
                Unclear::Sender,
            ),
            ("From:", Unclear::Address),
            ("From: nobody", Unclear::Address),
            ("From: <a@b.example", Unclear::Address),
            ("From: <a@b.example> <c@d.example>", Unclear::Address),
            ("From: a@b.example>", Unclear::Address),
            ("From: \"a@b.example", Unclear::Address),
            ("From: (a@b.example", Unclear::Address),
            ("From: a@b@c.example", Unclear::Address),
        ] {
            assert_eq!(read(header), Err(why), "{header}");
        }
    }
}
