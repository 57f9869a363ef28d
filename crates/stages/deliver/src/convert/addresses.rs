//! Mailboxes and groups of header fields in ASCII.
//!
//! Display names become encoded words, domains A-labels. A mailbox whose local part is outside
//! ASCII has no form that could be answered to; it becomes a group of nobody whose name shows it
//! (RFC 6857 §3.1.8, RFC 6854): readers see who it was, and everything else of the mail arrives.

use std::borrow::Cow;

use mail::Domain;

use super::field::{Word, comment, unescaped, write_words};
use super::folded::Folded;
use super::lexer::{Token, tokens};

/// What stands between two separators.
#[derive(Debug)]
struct Segment<'a> {
    raw: &'a [u8],
    tokens: Vec<Token<'a>>,
    /// The separator after it.
    end: Option<Token<'a>>,
}

impl Segment<'_> {
    fn ends_by(&self, special: u8) -> bool {
        self.end.is_some_and(|end| end.is_special(special))
    }
}

/// A mailbox taken apart.
struct Mailbox<'a> {
    /// The display name.
    words: Vec<Word<'a>>,
    comments: Vec<&'a [u8]>,
    target: Target<'a>,
}

enum Target<'a> {
    /// In ASCII, in angle brackets where it had them.
    Ascii(Vec<u8>),
    /// It has no form in ASCII.
    Lost(Cow<'a, [u8]>),
}

/// Writes the body of an address field.
pub(super) fn convert(out: &mut Folded, body: &[u8]) {
    let list = segments(body);
    let mut list = list.iter();
    while let Some(segment) = list.next() {
        if segment.ends_by(b':') {
            let mut members = Vec::new();
            for member in list.by_ref() {
                members.push(member);
                if member.ends_by(b';') {
                    break;
                }
            }
            group(out, segment, &members);
        } else {
            mailbox(out, segment);
            if let Some(end) = segment.end {
                out.word(b"", end.raw());
            }
        }
    }
}

/// Writes words, comments, and brackets that are ASCII; false when something else is not.
pub(super) fn phrases(out: &mut Folded, body: &[u8]) -> bool {
    let (mut run, mut space) = (Vec::new(), &b""[..]);
    for token in tokens(body) {
        match token {
            Token::Space(s) => {
                space = s;
                continue;
            }
            Token::Atom(raw) | Token::Quoted(raw) => run.push(word(space, raw)),
            Token::Comment(_) | Token::Angle(_) | Token::Literal(_) | Token::Special(_) => {
                write_words(out, &std::mem::take(&mut run));
                match token {
                    Token::Comment(raw) => comment(out, space, raw),
                    other if other.raw().is_ascii() => out.word(space, other.raw()),
                    Token::Angle(_)
                    | Token::Literal(_)
                    | Token::Special(_)
                    | Token::Atom(_)
                    | Token::Quoted(_)
                    | Token::Space(_) => return false,
                }
            }
        }
        space = b"";
    }
    write_words(out, &run);
    true
}

fn segments(body: &[u8]) -> Vec<Segment<'_>> {
    let (mut list, mut current) = (Vec::new(), Vec::new());
    let (mut begin, mut at) = (0, 0);
    let raw = |begin: usize, end: usize| body.get(begin..end).unwrap_or_default();
    for token in tokens(body) {
        let end = at + token.raw().len();
        if b",;:".iter().any(|special| token.is_special(*special)) {
            list.push(Segment {
                raw: raw(begin, at),
                tokens: std::mem::take(&mut current),
                end: Some(token),
            });
            begin = end;
        } else {
            current.push(token);
        }
        at = end;
    }
    list.push(Segment {
        raw: raw(begin, at),
        tokens: current,
        end: None,
    });
    list
}

fn word<'a>(space: &'a [u8], raw: &'a [u8]) -> Word<'a> {
    let inner = raw.strip_prefix(b"\"");
    let inner = inner.map(|inner| inner.strip_suffix(b"\"").unwrap_or(inner));
    let text = inner.map(|inner| Cow::Owned(unescaped(inner)));
    Word {
        space,
        raw,
        text: text.unwrap_or(Cow::Borrowed(raw)),
    }
}

/// The words of a phrase, and the comments among them.
fn phrase<'a>(list: &[Token<'a>]) -> (Vec<Word<'a>>, Vec<&'a [u8]>) {
    let (mut words, mut comments, mut space) = (Vec::new(), Vec::new(), &b""[..]);
    for token in list {
        match *token {
            Token::Space(s) => {
                space = s;
                continue;
            }
            Token::Comment(raw) => comments.push(raw),
            Token::Angle(_) => {}
            Token::Atom(raw) | Token::Quoted(raw) | Token::Literal(raw) | Token::Special(raw) => {
                words.push(word(space, raw));
            }
        }
        space = b"";
    }
    (words, comments)
}

fn read<'a>(segment: &Segment<'a>) -> Mailbox<'a> {
    let (words, comments) = phrase(&segment.tokens);
    let angle = segment.tokens.iter().find_map(Token::angle);
    if let Some(raw) = angle {
        let inner = raw.strip_prefix(b"<").unwrap_or(raw);
        let inner = inner.strip_suffix(b">").unwrap_or(inner);
        let target = match ascii_address(inner) {
            Some(ascii) => Target::Ascii([b"<", ascii.as_slice(), b">"].concat()),
            None => Target::Lost(Cow::Borrowed(raw)),
        };
        return Mailbox {
            words,
            comments,
            target,
        };
    }
    let address: Vec<u8> = words.iter().flat_map(|w| w.raw).copied().collect();
    let target = match ascii_address(&address) {
        Some(ascii) => Target::Ascii(ascii),
        None => Target::Lost(Cow::Owned(address)),
    };
    Mailbox {
        words: Vec::new(),
        comments,
        target,
    }
}

fn mailbox(out: &mut Folded, segment: &Segment<'_>) {
    if segment.raw.is_ascii() {
        return out.verbatim(segment.raw);
    }
    let mut mailbox = read(segment);
    match &mailbox.target {
        Target::Ascii(ascii) => {
            write_words(out, &mailbox.words);
            out.word(b" ", ascii);
        }
        Target::Lost(text) => {
            mailbox.words.push(lost(text));
            write_words(out, &mailbox.words);
            out.word(b"", b":;");
        }
    }
    for raw in mailbox.comments {
        comment(out, b" ", raw);
    }
}

fn lost(text: &[u8]) -> Word<'_> {
    Word::plain(b" ", text)
}

/// A group; members without a form in ASCII are named with the group, for there is no group
/// within a group.
fn group(out: &mut Folded, name: &Segment<'_>, members: &[&Segment<'_>]) {
    let (mut words, comments) = phrase(&name.tokens);
    let read_members: Vec<(&Segment<'_>, Option<Mailbox<'_>>)> = members
        .iter()
        .map(|member| (*member, (!member.raw.is_ascii()).then(|| read(member))))
        .collect();
    for (_, mailbox) in &read_members {
        if let Some(mailbox) = mailbox
            && let Target::Lost(text) = &mailbox.target
        {
            words.extend(mailbox.words.iter().cloned());
            words.push(lost(text));
        }
    }
    write_words(out, &words);
    for raw in comments {
        comment(out, b" ", raw);
    }
    out.word(b"", b":");
    let mut first = true;
    for (segment, read) in &read_members {
        let is_lost = matches!(read, Some(m) if matches!(m.target, Target::Lost(_)));
        if is_lost || segment.raw.trim_ascii().is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.word(b"", b",");
        }
        mailbox(out, segment);
    }
    out.word(b"", b";");
}

/// `local@domain` in ASCII; `None` when its local part is outside, or it is not an address.
pub(super) fn ascii_address(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return Some(text.to_vec());
    }
    let at = text.iter().rposition(|b| *b == b'@')?;
    let (local, domain) = text.split_at_checked(at)?;
    if local.is_empty() || !local.is_ascii() {
        return None;
    }
    let domain = ascii_domain(domain.get(1..)?.trim_ascii())?;
    Some([local, b"@", domain.as_slice()].concat())
}

/// A domain with its labels as A-labels.
pub(super) fn ascii_domain(text: &[u8]) -> Option<Vec<u8>> {
    let domain = Domain::parse(std::str::from_utf8(text).ok()?).ok()?;
    Some(domain.to_ascii()?.as_str().as_bytes().to_vec())
}
