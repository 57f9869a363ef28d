//! Lists of addresses as people write them in headers and on command lines (RFC 5322 §3.4): names,
//! comments, groups and old source routes are left out, the addresses stay.

/// The addresses in a list, some perhaps without a domain; an error says what is wrong.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut one = One::default();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '(' => skip_comment(&mut chars)?,
            '"' => {
                let quoted = quoted(&mut chars)?;
                one.push_str(&quoted);
            }
            '[' => {
                let literal = literal(&mut chars)?;
                one.push_str(&literal);
            }
            '<' if one.angle.is_none() => one.angle = Some(String::new()),
            '>' if one.angle.is_some() && !one.closed => one.closed = true,
            '<' | '>' => return Err("its brackets do not fit".to_owned()),
            // The name of a group, or a route in front of an address.
            ':' if one.angle.is_none() => one = One::default(),
            ':' => one.angle = Some(String::new()),
            // A route's hosts are parted by commas.
            ',' if one.is_route() => one.push(','),
            ',' | ';' => found.extend(std::mem::take(&mut one).address()?),
            c => one.push(c),
        }
    }
    found.extend(one.address()?);
    Ok(found)
}

/// An address being read.
#[derive(Default)]
struct One {
    /// Outside of brackets.
    plain: String,
    /// Within them.
    angle: Option<String>,
    closed: bool,
}

impl One {
    fn push(&mut self, c: char) {
        match &mut self.angle {
            Some(angle) if !self.closed => angle.push(c),
            Some(_) | None => self.plain.push(c),
        }
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn is_route(&self) -> bool {
        let angle = self.angle.as_deref();
        !self.closed && angle.is_some_and(|a| a.trim_start().starts_with('@'))
    }

    fn address(self) -> Result<Option<String>, String> {
        let text = match self.angle {
            Some(_) if !self.closed => return Err("a bracket is not closed".to_owned()),
            Some(angle) => angle,
            None => self.plain,
        };
        let quoted = text.trim_start().starts_with('"');
        let text = match quoted {
            true => text.trim().to_owned(),
            false => around_points(text.trim()),
        };
        if text.is_empty() {
            return Ok(None);
        }
        match !quoted && text.contains(char::is_whitespace) {
            true => Err("there is a space in it".to_owned()),
            false => Ok(Some(text)),
        }
    }
}

/// Takes out the space that may stand around `@` and points.
fn around_points(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(['@', '.']) {
        let part = match out.ends_with(['@', '.']) {
            true => part.trim_start(),
            false => part,
        };
        match part.char_indices().next_back() {
            Some((at, point @ ('@' | '.'))) => {
                out.push_str(part.get(..at).unwrap_or_default().trim_end());
                out.push(point);
            }
            Some(_) | None => out.push_str(part),
        }
    }
    out
}

fn skip_comment(chars: &mut std::str::Chars<'_>) -> Result<(), String> {
    let mut depth = 1;
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(chars.next()),
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err("a comment is not closed".to_owned())
}

fn quoted(chars: &mut std::str::Chars<'_>) -> Result<String, String> {
    let mut text = String::from('"');
    while let Some(c) = chars.next() {
        text.push(c);
        match c {
            '"' => return Ok(text),
            '\\' => text.extend(chars.next()),
            _ => {}
        }
    }
    Err("a quote is not closed".to_owned())
}

fn literal(chars: &mut std::str::Chars<'_>) -> Result<String, String> {
    let mut text = String::from('[');
    for c in chars.by_ref() {
        text.push(c);
        if c == ']' {
            return Ok(text);
        }
    }
    Err("a square bracket is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_however_they_are_written() {
        for (text, expected) in [
            ("", &[][..]),
            (" , ", &[]),
            ("<>", &[]),
            ("root", &["root"]),
            ("a@b.example", &["a@b.example"]),
            ("a@b.example, c@d.example", &["a@b.example", "c@d.example"]),
            ("Ann <a@b.example>", &["a@b.example"]),
            ("\"Onym, Ann\" <a@b.example>,c", &["a@b.example", "c"]),
            ("a@b.example (Ann (of b), really)", &["a@b.example"]),
            ("a @ b . example", &["a@b.example"]),
            ("\"a b\"@c.example", &["\"a b\"@c.example"]),
            ("\"a. b\"@c.example", &["\"a. b\"@c.example"]),
            (
                "all: a@b.example, Cee <c@d.example>;",
                &["a@b.example", "c@d.example"],
            ),
            ("undisclosed-recipients:;", &[]),
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
            assert_eq!(list(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "a b",
            "<a",
            "a>",
            "<a> <b>",
            "(a",
            "\"a",
            "[",
            "a b@c.example",
        ] {
            assert!(list(text).is_err(), "{text}: {:?}", list(text));
        }
    }
}
