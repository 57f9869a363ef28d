//! Filters over waiting recipients and the text that people write them in:
//! `domain:example.com age>1h`.
//!
//! Terms are joined by "and". A term that begins with `-` excludes what it matches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, QueueId, ReplyKind, Status, Timestamp, parse_duration};

use crate::row::{Row, domain_matches};

/// Which waiting recipients; the default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    terms: Vec<(bool, Term)>,
    kinds: Option<Kinds>,
}

/// How the kind of a last reply is found, by the reply and the host that gave it: it is never kept.
#[derive(Clone)]
pub struct Kinds(Arc<KindOf>);

type KindOf = dyn Fn(&str, Option<&str>) -> ReplyKind + Send + Sync;

impl Kinds {
    /// By this function.
    pub fn new(of: impl Fn(&str, Option<&str>) -> ReplyKind + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kinds")
    }
}

impl PartialEq for Kinds {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Kinds {}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// `id:` one message.
    Id(QueueId),
    /// `from:` or `sender:` the reverse-path holds this text; `<>` is the null one.
    Sender(String),
    /// `to:` or `recipient:` the address holds this text.
    Recipient(String),
    /// `domain:` exactly this domain, or those below it when it begins with a dot.
    Domain(String),
    /// `state:waiting`, `state:held`.
    Status(Status),
    /// `state:local`, `state:outgoing`, `state:test`.
    Destination(Destination),
    /// `state:future` its first attempt is set for later: its submitter or an administrator wants it
    /// so.
    Future,
    /// `kind:` what the last reply is about; what has none has no kind either.
    Kind(ReplyKind),
    /// `message-id:` exactly this Message-ID, with its angle brackets or without.
    MessageId(String),
    /// `subject:` the Subject field, as it is written in the header, holds this text.
    Subject(String),
    /// `tag:` its submitter gave it exactly this tag.
    Tag(String),
    /// `meta:NAME=VALUE` its submitter gave it exactly this value under this name, whatever the name's case.
    Metadata(String, String),
    /// `reply:` the last reply holds this text.
    Reply(String),
    /// `user:` exactly this submitter.
    Submitter(String),
    /// `age>` or `age<`: time since acceptance.
    Age(Comparison, Duration),
    /// `size>` or `size<`, in octets.
    Size(Comparison, u64),
    /// `attempts>` or `attempts<`.
    Attempts(Comparison, u64),
    /// `due>` or `due<`: time until the next attempt; what is overdue is due in no time.
    Due(Comparison, Duration),
}

/// Larger or smaller than what is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`.
    Less,
    /// `>`.
    Greater,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Less => a < b,
            Self::Greater => a > b,
        }
    }
}

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseFilterError {
    /// A word without a known name in front.
    #[error(
        "`{0}` is not a filter term: write one of id: from: to: domain: state: subject: message-id: tag: meta: \
         reply: kind: user: age> age< size> size< attempts> attempts< due> due<"
    )]
    Term(String),
    /// A value that the term cannot have.
    #[error("`{term}` is not valid: {expected}")]
    Value {
        /// The term.
        term: String,
        /// What it may be.
        expected: String,
    },
    /// A quotation mark without its partner.
    #[error("a quotation mark is not closed")]
    Quote,
}

impl Filter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// One message.
    #[must_use]
    pub fn id(id: QueueId) -> Self {
        Self::all().and(Term::Id(id))
    }

    /// This filter and one more condition.
    #[must_use]
    pub fn and(mut self, term: Term) -> Self {
        self.terms.push((true, term));
        self
    }

    /// This filter without what `term` matches.
    #[must_use]
    pub fn and_not(mut self, term: Term) -> Self {
        self.terms.push((false, term));
        self
    }

    /// This filter, which finds the kinds of replies so. Without, no reply has a kind.
    #[must_use]
    pub fn with_kinds(mut self, kinds: Kinds) -> Self {
        self.kinds = Some(kinds);
        self
    }

    /// Whether it asks for kinds of replies.
    #[must_use]
    pub fn names_kinds(&self) -> bool {
        self.terms.iter().any(|(_, t)| matches!(t, Term::Kind(_)))
    }

    /// Whether a recipient matches what the filter says of kinds, whatever else it says.
    #[must_use]
    pub fn fits_kinds(&self, row: &Row) -> bool {
        let kind = self.kind(row);
        let mut named = self.terms.iter().filter_map(|(wanted, term)| {
            let kind = if let Term::Kind(kind) = term {
                Some(*kind)
            } else {
                None
            };
            kind.map(|kind| (wanted, kind))
        });
        named.all(|(wanted, named)| (kind == Some(named)) == *wanted)
    }

    fn kind(&self, row: &Row) -> Option<ReplyKind> {
        let kinds = self.kinds.as_ref().filter(|_| !row.last_reply.is_empty())?;
        Some(kinds.0(&row.last_reply, row.last_host.as_deref()))
    }

    /// The conditions, each with whether it must hold (or must not).
    #[must_use]
    pub fn terms(&self) -> &[(bool, Term)] {
        &self.terms
    }

    /// Reads a filter; an empty text is everything. A value with spaces stands in quotation marks:
    /// `reply:"mailbox full"`.
    ///
    /// # Errors
    /// When a term is unknown or its value is none that it can have.
    pub fn parse(text: &str) -> Result<Self, ParseFilterError> {
        let mut filter = Self::all();
        for word in words(text)? {
            match word.strip_prefix('-') {
                Some(word) => filter.terms.push((false, parse_term(word)?)),
                None => filter.terms.push((true, parse_term(&word)?)),
            }
        }
        Ok(filter)
    }

    /// Whether a recipient matches at `now`.
    #[must_use]
    pub fn matches(&self, row: &Row, now: Timestamp) -> bool {
        let holds = |(wanted, term): &(bool, Term)| term_matches(term, row, now) == *wanted;
        let kinds = |(_, term): &&(bool, Term)| !matches!(term, Term::Kind(_));
        self.terms.iter().filter(kinds).all(holds) && (!self.names_kinds() || self.fits_kinds(row))
    }
}

fn term_matches(term: &Term, row: &Row, now: Timestamp) -> bool {
    match term {
        Term::Id(id) => row.key.id == *id,
        Term::Sender(text) if text == "<>" => row.sender.is_empty(),
        Term::Sender(text) => contains(&row.sender, text),
        Term::Recipient(text) => contains(&row.recipient, text),
        Term::Domain(domain) => domain_matches(domain, &row.domain),
        Term::Status(status) => row.status == *status,
        Term::Destination(destination) => row.destination == *destination,
        Term::Future => row.attempts == 0 && row.last_reply.is_empty() && row.due > now,
        // It is looked at apart.
        Term::Kind(_) => true,
        Term::MessageId(id) => row.labels.message_id.as_deref() == Some(id),
        Term::Subject(text) => contains(row.labels.subject.as_deref().unwrap_or_default(), text),
        Term::Tag(tag) => row.labels.has_tag(tag),
        Term::Metadata(name, value) => row.labels.has_metadata(name, value),
        Term::Reply(text) => contains(&row.last_reply, text),
        Term::Submitter(name) => row.submitter == *name,
        Term::Age(than, age) => than.holds(&now.since(row.accepted), age),
        Term::Size(than, size) => than.holds(&row.size, size),
        Term::Attempts(than, n) => than.holds(&u64::from(row.attempts), n),
        Term::Due(than, wait) => than.holds(&row.due.since(now), wait),
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&part.to_ascii_lowercase())
}

/// Splits at spaces outside quotation marks, which are dropped.
///
/// # Errors
/// When a quotation mark is not closed.
pub fn words(text: &str) -> Result<Vec<String>, ParseFilterError> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    if quoted {
        return Err(ParseFilterError::Quote);
    }
    Ok(words)
}

fn parse_term(word: &str) -> Result<Term, ParseFilterError> {
    let unknown = || ParseFilterError::Term(word.to_owned());
    let wrong = |expected: &str| ParseFilterError::Value {
        term: word.to_owned(),
        expected: expected.to_owned(),
    };
    let at = word.find([':', '<', '>']).ok_or_else(unknown)?;
    let (name, value) = word.split_at(at);
    let mut characters = value.chars();
    let operator = characters.next();
    let value = characters.as_str();
    if value.is_empty() {
        return Err(wrong("a value is missing"));
    }
    let than = match operator {
        Some('<') => Comparison::Less,
        Some('>') => Comparison::Greater,
        _ => return parse_text_term(word, name, value),
    };
    let time = || parse_duration(value).map_err(|e| wrong(&e.to_string()));
    match name {
        "age" => Ok(Term::Age(than, time()?)),
        "due" => Ok(Term::Due(than, time()?)),
        "size" => parse_size(value)
            .map(|size| Term::Size(than, size))
            .ok_or_else(|| wrong("write a size such as 500, 20kB or 1MB")),
        "attempts" => value
            .parse()
            .map(|n| Term::Attempts(than, n))
            .map_err(|_| wrong("write a number")),
        _ => Err(unknown()),
    }
}

const METADATA: &str = "write a name and its value, as in meta:order=7";

/// The two sides of `NAME=VALUE`.
#[must_use]
pub fn parse_metadata(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((name.to_owned(), value.to_owned()))
}

fn parse_text_term(word: &str, name: &str, value: &str) -> Result<Term, ParseFilterError> {
    let text = value.to_owned();
    let wrong = |expected: String| ParseFilterError::Value {
        term: word.to_owned(),
        expected,
    };
    Ok(match name {
        "id" => {
            let id: Result<QueueId, _> = value.parse();
            return id.map(Term::Id).map_err(|e| wrong(e.to_string()));
        }
        "from" | "sender" => Term::Sender(text),
        "to" | "recipient" => Term::Recipient(text),
        "domain" => Term::Domain(text),
        "message-id" => Term::MessageId(match text.starts_with('<') {
            true => text,
            false => format!("<{text}>"),
        }),
        "subject" => Term::Subject(text),
        "tag" => Term::Tag(text),
        "meta" => match parse_metadata(value) {
            Some((name, value)) => Term::Metadata(name, value),
            None => return Err(wrong(METADATA.to_owned())),
        },
        "reply" => Term::Reply(text),
        "user" => Term::Submitter(text),
        "state" => match value {
            "waiting" => Term::Status(Status::Waiting),
            "held" => Term::Status(Status::Held),
            "local" => Term::Destination(Destination::Local),
            "outgoing" => Term::Destination(Destination::Outgoing),
            "test" => Term::Destination(Destination::Test),
            "future" => Term::Future,
            _ => {
                let words = "a state is waiting, held, local, outgoing, test or future";
                return Err(wrong(words.to_owned()));
            }
        },
        "kind" => match ReplyKind::of_word(value) {
            Some(kind) => Term::Kind(kind),
            None => {
                let words = ReplyKind::WORDS.join(", ");
                return Err(wrong(format!("a kind is one of {words}")));
            }
        },
        _ => return Err(ParseFilterError::Term(word.to_owned())),
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_with_what_it_may_be() {
        for (text, part) in [
            ("nonsense", "is not a filter term"),
            ("colour:red", "is not a filter term"),
            (
                "state:asleep",
                "a state is waiting, held, local, outgoing, test or future",
            ),
            (
                "kind:grey",
                "a kind is one of greylisted, rate_limited, blocked",
            ),
            ("age>soon", "is not a length of time"),
            ("size>big", "write a size"),
            ("attempts>many", "write a number"),
            ("id:zzz", "is not a queue id"),
            ("domain:", "a value is missing"),
            ("meta:order", "write a name and its value"),
            ("reply:\"open", "quotation mark"),
        ] {
            let refused = Filter::parse(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn terms_are_joined_and_excluded() {
        let filter = Filter::parse("size>1MB -domain:.x.example").unwrap();
        let expected = Filter::all()
            .and(Term::Size(Comparison::Greater, 1_000_000))
            .and_not(Term::Domain(".x.example".to_owned()));
        assert_eq!(filter, expected);
        assert_eq!(Filter::parse(" ").unwrap(), Filter::all());
    }
}
