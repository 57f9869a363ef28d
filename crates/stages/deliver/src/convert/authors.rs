//! Other addresses in the fields that say who wrote and who sent a mail (RFC 5322 §3.6.2, §3.6.6): From,
//! Sender, Resent-From and Resent-Sender, as [`SenderRules`] have it. Names and comments stay. Where answers
//! went to an author by From alone, a Reply-To keeps them going there.
//!
//! Fields without such an address are not touched; nor are To and Cc, an author's own Reply-To, and the
//! body with all that is signed in it.

use bytes::Bytes;
use mail::{Address, Header, Headers};

use super::field::unfolded;
use super::folded::Folded;
use super::lexer::{Token, tokens};
use super::{Obstacle, Signatures, is_signature};
use crate::senders::SenderRules;

const FIELDS: [&str; 4] = ["From", "Sender", "Resent-From", "Resent-Sender"];

/// A content with other senders in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The content.
    pub content: Bytes,
    /// The names of the fields that were changed, or added.
    pub fields: Vec<&'static str>,
    /// It bears a DKIM signature, which does not hold any more: each covers From (RFC 6376 §5.4).
    pub signed: bool,
}

/// A field's body with other addresses, and with the old ones in full.
struct Changed {
    new: Vec<u8>,
    old: Vec<u8>,
    /// A rule wants answers to go to the old ones.
    reply_to: bool,
}

/// Whether the header names somebody whom a rule speaks of.
#[must_use]
pub fn has_sender(content: &[u8], rules: &SenderRules) -> bool {
    let mut fields = Headers::new(content).filter(|field| name(field).is_some());
    fields.any(|field| changed(&unfolded(field.value), rules).is_some())
}

/// Puts other senders into the header; `None` when there is nobody whom a rule speaks of. With
/// `answered`, answers are kept going to the old author where a rule says so and the mail does not say
/// itself where they go; nobody answers a mail with the null reverse-path.
///
/// # Errors
/// The content bears a signature that must hold.
pub fn rewrite_senders(
    content: &Bytes,
    rules: &SenderRules,
    answered: bool,
    signatures: Signatures,
) -> Result<Option<Rewritten>, Obstacle> {
    if !has_sender(content, rules) {
        return Ok(None);
    }
    let signed = Headers::new(content).any(|field| is_signature(field.name));
    if signed && signatures == Signatures::Hold {
        return Err(Obstacle(
            "it is signed (DKIM), and the setting outgoing.convert_signed forbids it",
        ));
    }
    let is_said = Headers::new(content).any(|field| field.is("Reply-To"));
    let mut out = Vec::with_capacity(content.len() + 256);
    let mut fields: Vec<&'static str> = Vec::new();
    let (mut at, mut added) = (0, false);
    for field in Headers::new(content) {
        at += field.raw.len();
        let found = name(&field).and_then(|n| Some((n, changed(&unfolded(field.value), rules)?)));
        let Some((name, changed)) = found else {
            out.extend_from_slice(field.raw);
            continue;
        };
        write(&mut out, field.name, &changed.new);
        if !fields.contains(&name) {
            fields.push(name);
        }
        if name == "From" && answered && changed.reply_to && !is_said && !added {
            write(&mut out, b"Reply-To", &changed.old);
            fields.push("Reply-To");
            added = true;
        }
    }
    out.extend_from_slice(content.get(at..).unwrap_or_default());
    Ok(Some(Rewritten {
        content: Bytes::from(out),
        fields,
        signed,
    }))
}

fn name(field: &Header<'_>) -> Option<&'static str> {
    FIELDS.into_iter().find(|name| field.is(name))
}

fn write(out: &mut Vec<u8>, name: &[u8], body: &[u8]) {
    let mut field = Folded::new(name);
    let body = body.trim_ascii();
    field.word(b" ", b"");
    field.verbatim(body);
    out.extend_from_slice(&field.end());
}

/// The body with the addresses that rules have for those in it; `None` where they have none.
fn changed(body: &[u8], rules: &SenderRules) -> Option<Changed> {
    let mut all = Changed {
        new: Vec::with_capacity(body.len() + 64),
        old: Vec::with_capacity(body.len()),
        reply_to: false,
    };
    let (mut segment, mut found) = (Vec::new(), false);
    for token in tokens(body) {
        if matches!(token, Token::Special(_)) {
            // What stands in front of a colon is the name of a group.
            let is_name = token.is_special(b':');
            found |= end(&mut all, &std::mem::take(&mut segment), rules, is_name);
            all.new.extend_from_slice(token.raw());
            all.old.extend_from_slice(token.raw());
        } else {
            segment.push(token);
        }
    }
    found |= end(&mut all, &segment, rules, false);
    found.then_some(all)
}

/// Writes what stands between two separators; whether an address in it was changed.
fn end(all: &mut Changed, segment: &[Token<'_>], rules: &SenderRules, is_name: bool) -> bool {
    let to = match is_name {
        true => None,
        false => address(segment, rules).and_then(|old| {
            let (new, reply_to) = rules.found(&old)?;
            Some((old, new, reply_to))
        }),
    };
    let Some((old, new, reply_to)) = to else {
        for token in segment {
            all.new.extend_from_slice(token.raw());
            all.old.extend_from_slice(token.raw());
        }
        return false;
    };
    write_mailbox(&mut all.new, segment, &new);
    write_mailbox(&mut all.old, segment, &old);
    all.reply_to |= reply_to;
    true
}

/// The address of a mailbox, as everybody here reads it. A single word is the local part of somebody here.
fn address(segment: &[Token<'_>], rules: &SenderRules) -> Option<Address> {
    let text: Vec<&[u8]> = segment.iter().map(Token::raw).collect();
    let text = text.concat();
    match mail::listed(std::str::from_utf8(&text).ok()?)
        .ok()?
        .as_slice()
    {
        [one] => rules.read(&one.address),
        _ => None,
    }
}

/// The mailbox with this address.
fn write_mailbox(out: &mut Vec<u8>, segment: &[Token<'_>], address: &Address) {
    let bracketed = segment.iter().any(|t| matches!(t, Token::Angle(_)));
    let mut written = false;
    for token in segment {
        match token {
            Token::Angle(_) => out.extend_from_slice(format!("<{address}>").as_bytes()),
            Token::Atom(_) | Token::Quoted(_) | Token::Literal(_) if !bracketed => {
                if !std::mem::replace(&mut written, true) {
                    out.extend_from_slice(address.to_string().as_bytes());
                }
            }
            Token::Space(raw)
            | Token::Comment(raw)
            | Token::Quoted(raw)
            | Token::Literal(raw)
            | Token::Special(raw)
            | Token::Atom(raw) => out.extend_from_slice(raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senders::SenderRule;

    fn rules() -> SenderRules {
        let rule = |m: &str, a: &str, r| SenderRule::parse(m, a, r).unwrap();
        let list = vec![
            rule("@host.lan", "office@provider.example", true),
            rule("quiet@host.lan", "quiet@provider.example", false),
        ];
        SenderRules::new(list, &"host.lan".parse().unwrap(), [])
    }

    fn rewritten(header: &str) -> Option<String> {
        let content = Bytes::from(format!("{header}\r\n\r\nFrom: ann@host.lan\r\n"));
        let found = rewrite_senders(&content, &rules(), true, Signatures::MayBreak).unwrap()?;
        let text = String::from_utf8(found.content.to_vec()).unwrap();
        let body = "\r\n\r\nFrom: ann@host.lan\r\n";
        assert!(text.ends_with(body), "{text}");
        Some(text.strip_suffix(body)?.to_owned())
    }

    #[test]
    fn authors_are_rewritten_as_they_are_written() {
        for (header, becomes) in [
            (
                "From: ann@host.lan",
                "From: office@provider.example\r\nReply-To: ann@host.lan",
            ),
            (
                "FROM:Ann Smith <ann@host.lan>\r\nTo: ann@host.lan",
                "FROM: Ann Smith <office@provider.example>\r\nReply-To: Ann Smith <ann@host.lan>\r\n\
                 To: ann@host.lan",
            ),
            // Somebody without a domain is of this server.
            (
                "From: root (Cron)",
                "From: office@provider.example (Cron)\r\nReply-To: root@host.lan (Cron)",
            ),
            (
                "From: <root>",
                "From: <office@provider.example>\r\nReply-To: <root@host.lan>",
            ),
            // Nobody wants answers, or they have their place.
            ("From: quiet@host.lan", "From: quiet@provider.example"),
            (
                "Reply-To: x@y.example\r\nFrom: ann@host.lan",
                "Reply-To: x@y.example\r\nFrom: office@provider.example",
            ),
            (
                "From: \"A, <b>\" <@r.example:ann@host.lan>, c@d.example\r\nSender: quiet@host.lan",
                "From: \"A, <b>\" <office@provider.example>, c@d.example\r\n\
                 Reply-To: \"A, <b>\" <ann@host.lan>, c@d.example\r\nSender: quiet@provider.example",
            ),
            (
                "From: Us: ann@host.lan, c@d.example;",
                "From: Us: office@provider.example, c@d.example;\r\n\
                 Reply-To: Us: ann@host.lan, c@d.example;",
            ),
            (
                "Resent-From: ann@host.lan\r\nResent-Sender: b@host.lan\r\nFrom: x@y.example",
                "Resent-From: office@provider.example\r\nResent-Sender: office@provider.example\r\n\
                 From: x@y.example",
            ),
            (
                "From: =?utf-8?q?J=C3=BCrgen?=\r\n <ann@host.lan>",
                "From: =?utf-8?q?J=C3=BCrgen?= <office@provider.example>\r\n\
                 Reply-To: =?utf-8?q?J=C3=BCrgen?= <ann@host.lan>",
            ),
            (
                "From: J\u{fc}rgen <ann@host.lan>",
                "From: J\u{fc}rgen <office@provider.example>\r\nReply-To: J\u{fc}rgen <ann@host.lan>",
            ),
            (
                "From: ann @ host.lan",
                "From: office@provider.example  \r\nReply-To: ann@host.lan",
            ),
        ] {
            let found = rewritten(header).unwrap_or_else(|| panic!("{header}"));
            let tidy = |text: &str| text.replace(" \r\n", "\r\n").replace(" \r\n", "\r\n");
            assert_eq!(tidy(&found), tidy(becomes), "{header}");
        }
    }

    #[test]
    fn what_is_nobodys_of_the_rules_stays_octet_for_octet() {
        for header in [
            "From: x@y.example\r\nTo: ann@host.lan\r\nReply-To: ann@host.lan",
            "From: \"ann@host.lan\" <x@y.example>",
            "From: x@y.example (ann@host.lan)",
            "From: Ann Smith",
            "From: <ann@host.lan> <x@y.example>",
            "From: <ann@host.lan",
            "From: ann@host.lan: x@y.example;",
            "From:",
            "Subject: no author",
        ] {
            assert_eq!(rewritten(header), None, "{header}");
        }
    }

    #[test]
    fn reports_get_another_author_and_no_place_for_answers() {
        let content = Bytes::from_static(b"From: MAILER-DAEMON@host.lan\r\n\r\nx");
        let found = rewrite_senders(&content, &rules(), false, Signatures::Hold);
        let found = found.unwrap().unwrap();
        assert_eq!(&*found.content, b"From: office@provider.example\r\n\r\nx");
        assert_eq!(found.fields, ["From"]);
    }

    #[test]
    fn a_signature_holds_or_breaks_as_the_administrator_says() {
        let content = Bytes::from_static(b"DKIM-Signature: v=1\r\nFrom: a@host.lan\r\n\r\nx");
        assert!(rewrite_senders(&content, &rules(), true, Signatures::Hold).is_err());
        let found = rewrite_senders(&content, &rules(), true, Signatures::MayBreak);
        assert!(found.unwrap().unwrap().signed);
        // What is not rewritten is in nobody's way.
        let other = Bytes::from_static(b"DKIM-Signature: v=1\r\nFrom: a@b.example\r\n\r\nx");
        assert_eq!(
            rewrite_senders(&other, &rules(), true, Signatures::Hold),
            Ok(None)
        );
    }
}
