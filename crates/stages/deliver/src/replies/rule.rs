//! One rule: when it speaks, and what it says.

use std::time::Duration;

use mail::{EnhancedCode, Reply, ReplyKind};
use memchr::memmem::Finder;

/// Octets of a reply's text that rules look at; no more is kept with a verdict.
const TEXT_MAX: usize = 2048;

/// How an answer is taken, whatever its code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreatAs {
    /// It will be tried again.
    Deferred,
    /// It is final.
    Failed,
}

impl TreatAs {
    /// The word for it in rules and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Failed => "failed",
        }
    }
}

/// A rule. All conditions that it has must hold.
#[derive(Debug, Clone)]
pub struct ReplyRule {
    /// Its name.
    pub id: String,
    /// What replies that fit are about.
    pub kind: ReplyKind,
    /// How they are taken, if not as their code says.
    pub treat_as: Option<TreatAs>,
    /// The least wait after such a reply.
    pub wait: Option<Duration>,
    /// Where it is written that they mean this.
    pub source: String,
    /// Replies that fit.
    pub examples: Vec<String>,
    /// Names of hosts, in lower case; those that begin with a dot mean what is below.
    pub hosts: Vec<String>,
    pub(super) codes: Vec<CodePattern>,
    pub(super) enhanced: Vec<EnhancedPattern>,
    pub(super) phrases: Vec<Phrase>,
}

impl ReplyRule {
    pub(super) fn fits(&self, reply: &Reply, text: &Text, host: Option<&str>) -> bool {
        let of_code = self.codes.is_empty() || self.codes.iter().any(|c| c.fits(reply.code));
        if !of_code {
            return false;
        }
        let of_enhanced = self.enhanced.is_empty()
            || reply
                .enhanced
                .is_some_and(|code| self.enhanced.iter().any(|e| e.fits(code)));
        if !of_enhanced {
            return false;
        }
        let of_host =
            self.hosts.is_empty() || host.is_some_and(|h| self.hosts.iter().any(|p| below(p, h)));
        of_host && (self.phrases.is_empty() || self.phrases.iter().any(|p| p.stands_in(text)))
    }
}

/// Whether `host` is `pattern`, or below it where the pattern begins with a dot; both in lower case.
pub(super) fn below(pattern: &str, host: &str) -> bool {
    match pattern.starts_with('.') {
        true => host.ends_with(pattern),
        false => host == pattern,
    }
}

/// `421`, `45x`, `4xx`; `0` is a reply of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodePattern {
    from: u16,
    to: u16,
}

impl CodePattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self { from: 0, to: 0 });
        }
        let digits = text.trim_end_matches('x');
        let good = text.len() == 3
            && !digits.is_empty()
            && digits.starts_with(['4', '5'])
            && digits.bytes().all(|b| b.is_ascii_digit());
        let number: u16 = good.then(|| digits.parse().ok())??;
        let width = [1, 10, 100].get(3 - digits.len())?;
        let from = number * width;
        Some(Self {
            from,
            to: from + width - 1,
        })
    }

    const fn fits(self, code: u16) -> bool {
        self.from <= code && code <= self.to
    }
}

/// `4.7.28`, `x.7.28`, `5.7.x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnhancedPattern {
    class: Option<u16>,
    subject: Option<u16>,
    detail: Option<u16>,
}

impl EnhancedPattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| match part {
            "x" => Some(None),
            digits if (1..=3).contains(&digits.len()) => {
                let good = digits.bytes().all(|b| b.is_ascii_digit());
                good.then(|| digits.parse().ok().map(Some))?
            }
            _ => None,
        });
        let found = Self {
            class: parts.next()??,
            subject: parts.next()??,
            detail: parts.next()??,
        };
        let known_class = matches!(found.class, None | Some(4 | 5));
        (known_class && parts.next().is_none()).then_some(found)
    }

    fn fits(self, code: EnhancedCode) -> bool {
        self.class.is_none_or(|c| c == u16::from(code.class))
            && self.subject.is_none_or(|s| s == code.subject)
            && self.detail.is_none_or(|d| d == code.detail)
    }
}

/// Words that stand in a text one after the other; `*` stands for anything between.
#[derive(Debug, Clone)]
pub(super) struct Phrase(Vec<Finder<'static>>);

impl Phrase {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<String> = text.split('*').map(normal).collect();
        let good = parts
            .iter()
            .all(|part| part.len() >= 2 && part.len() <= 200);
        let finder = |part: String| Finder::new(part.as_bytes()).into_owned();
        good.then(|| Self(parts.into_iter().map(finder).collect()))
    }

    /// Each part is looked for after the one before it: one pass over the text in all.
    fn stands_in(&self, text: &Text) -> bool {
        let mut rest = text.0.as_bytes();
        for part in &self.0 {
            let Some(at) = part.find(rest) else {
                return false;
            };
            rest = rest.get(at + part.needle().len()..).unwrap_or_default();
        }
        true
    }
}

/// A reply's text as phrases are looked for in it: lower case, one space where there was any blank.
#[derive(Debug)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn of(reply: &Reply) -> Self {
        let end = reply.text.floor_char_boundary(TEXT_MAX);
        Self(normal(reply.text.get(..end).unwrap_or_default()))
    }
}

fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    normal.make_ascii_lowercase();
    normal
}
