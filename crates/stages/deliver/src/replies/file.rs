//! Rule files: TOML with any number of `[[rule]]` and `[[action]]`.

use std::ops::Range;
use std::time::Duration;

use mail::{ReplyKind, parse_duration};
use serde::Deserialize;
use toml::Spanned;

use super::rule::{CodePattern, EnhancedPattern, Phrase, ReplyRule, TreatAs};
use super::{ReplyBook, read_reply};

/// The longest wait that a rule may ask for.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// The most rules, and the most actions, of a file.
const ENTRIES_MAX: usize = 1000;

/// What is wrong with a file of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// Where in the text, in octets.
    pub span: Range<usize>,
    /// What, and what it may be.
    pub message: String,
}

/// A file of rules, read.
#[derive(Debug, Clone, Default)]
pub struct RuleFile {
    /// Its rules.
    pub rules: Vec<ReplyRule>,
    /// Its actions, as they are written: they are the caller's to carry out.
    pub actions: Vec<Spanned<ActionText>>,
}

/// An action as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionText {
    /// Its name.
    pub id: Spanned<String>,
    /// The kind of replies that it is about.
    pub on: Spanned<String>,
    /// The hosts that it is about; none: all.
    #[serde(default)]
    pub host: Vec<Spanned<String>>,
    /// The recipients' domains that it is about; none: all.
    #[serde(default)]
    pub domain: Vec<Spanned<String>>,
    /// After so many replies.
    pub after: Option<Spanned<u32>>,
    /// In this time.
    pub within: Option<Spanned<String>>,
    /// `slow`, `pause` or `plan`.
    #[serde(rename = "do")]
    pub what: Spanned<String>,
    /// Messages in a time.
    pub max_message_rate: Option<Spanned<String>>,
    /// Connections at once.
    pub max_connections: Option<Spanned<u32>>,
    /// Waits between attempts.
    pub plan: Option<Spanned<Vec<String>>>,
    /// For so long.
    #[serde(rename = "for")]
    pub time: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileText {
    rule: Vec<RuleText>,
    action: Vec<Spanned<ActionText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    host: Vec<Spanned<String>>,
    #[serde(default)]
    code: Vec<Spanned<String>>,
    #[serde(default)]
    enhanced: Vec<Spanned<String>>,
    #[serde(default)]
    text: Vec<Spanned<String>>,
    treat_as: Option<Spanned<String>>,
    wait: Option<Spanned<String>>,
    source: Option<String>,
    #[serde(default)]
    examples: Vec<Spanned<String>>,
}

fn wrong(span: Range<usize>, key: &str, why: &str) -> RuleError {
    RuleError {
        span,
        message: format!("{key}: {why}"),
    }
}

fn list<T>(
    texts: &[Spanned<String>],
    key: &str,
    may_be: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, RuleError> {
    let one = |text: &Spanned<String>| {
        parse(text.get_ref()).ok_or_else(|| {
            let why = format!("`{}` is not allowed: write {may_be}", text.get_ref());
            wrong(text.span(), key, &why)
        })
    };
    texts.iter().map(one).collect()
}

/// A kind by its word.
///
/// # Errors
/// When there is none of this word.
pub(super) fn kind(text: &Spanned<String>, key: &str) -> Result<ReplyKind, RuleError> {
    ReplyKind::of_word(text.get_ref()).ok_or_else(|| {
        let words = ReplyKind::WORDS.join(", ");
        let why = format!("`{}` is not a kind: write one of {words}", text.get_ref());
        wrong(text.span(), key, &why)
    })
}

fn id(text: &Spanned<String>) -> Result<(), RuleError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let id = text.get_ref();
    match (1..=64).contains(&id.len()) && id.chars().all(allowed) {
        true => Ok(()),
        false => {
            let why = "write 1 to 64 letters, digits, hyphens, dots and underscores";
            Err(wrong(text.span(), "id", why))
        }
    }
}

/// A name of hosts in lower case.
fn host(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = text.trim_end_matches('.');
    let good = name.trim_start_matches('.').len() >= 2 && name.chars().all(allowed);
    good.then(|| name.to_ascii_lowercase())
}

fn rule(raw: RuleText) -> Result<ReplyRule, RuleError> {
    id(&raw.id)?;
    let treat_as = match raw.treat_as.as_ref().map(|t| (t, t.get_ref().as_str())) {
        None => None,
        Some((_, "deferred")) => Some(TreatAs::Deferred),
        Some((_, "failed")) => Some(TreatAs::Failed),
        Some((text, other)) => {
            let why = format!("`{other}` is not an outcome: write deferred or failed");
            return Err(wrong(text.span(), "treat_as", &why));
        }
    };
    let wait = match &raw.wait {
        None => None,
        Some(text) => match parse_duration(text.get_ref()) {
            Ok(wait) if wait <= WAIT_MAX && !wait.is_zero() => Some(wait),
            Ok(_) => return Err(wrong(text.span(), "wait", "write a time up to 24h")),
            Err(error) => return Err(wrong(text.span(), "wait", &error.to_string())),
        },
    };
    if raw.code.is_empty() && raw.enhanced.is_empty() && raw.text.is_empty() {
        let why = "the rule matches every reply: add code, enhanced or text";
        return Err(wrong(raw.id.span(), "id", why));
    }
    let examples: Vec<String> = raw.examples.iter().map(|e| e.get_ref().clone()).collect();
    let rule = ReplyRule {
        kind: kind(&raw.kind, "kind")?,
        treat_as,
        wait,
        source: raw.source.unwrap_or_default(),
        examples,
        hosts: list(
            &raw.host,
            "host",
            "a name, or .name for its subdomains",
            host,
        )?,
        codes: list(
            &raw.code,
            "code",
            "a code such as 421, 45x or 4xx, or 0 for replies of this server",
            CodePattern::parse,
        )?,
        enhanced: list(
            &raw.enhanced,
            "enhanced",
            "an enhanced code such as 4.7.28, x.7.28 or 5.7.x",
            EnhancedPattern::parse,
        )?,
        phrases: list(
            &raw.text,
            "text",
            "words of at least two octets; * matches anything between two of them",
            Phrase::parse,
        )?,
        id: raw.id.into_inner(),
    };
    let alone = ReplyBook {
        rules: vec![rule.clone()],
    };
    let at = rule.example_host();
    for example in &raw.examples {
        let reply = read_reply(example.get_ref());
        if alone.classify(&reply, at.as_deref()).rule.is_none() {
            let why = format!("the rule {} does not match its own example", rule.id);
            return Err(wrong(example.span(), "examples", &why));
        }
    }
    Ok(rule)
}

impl ReplyRule {
    /// The name of a host that its examples could come from.
    #[must_use]
    pub fn example_host(&self) -> Option<String> {
        let first = self.hosts.first()?;
        Some(match first.starts_with('.') {
            true => format!("mx{first}"),
            false => first.clone(),
        })
    }
}

impl ActionText {
    /// What is wrong with a part of it.
    #[must_use]
    pub fn wrong(span: Range<usize>, key: &str, why: &str) -> RuleError {
        wrong(span, key, why)
    }

    /// The kind of replies that it is about.
    ///
    /// # Errors
    /// When there is none of this word.
    pub fn kind(&self) -> Result<ReplyKind, RuleError> {
        kind(&self.on, "on")
    }

    /// The hosts that it is about, in lower case.
    ///
    /// # Errors
    /// When one of them is not a name.
    pub fn hosts(&self) -> Result<Vec<String>, RuleError> {
        list(
            &self.host,
            "host",
            "a name, or .name for its subdomains",
            host,
        )
    }

    /// The recipients' domains that it is about, in lower case.
    ///
    /// # Errors
    /// When one of them is not a name.
    pub fn domains(&self) -> Result<Vec<String>, RuleError> {
        list(
            &self.domain,
            "domain",
            "a domain, or .domain for its subdomains",
            host,
        )
    }
}

impl RuleFile {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong first, and where.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let raw: FileText = toml::from_str(text).map_err(|error| RuleError {
            span: error.span().unwrap_or(0..0),
            message: error.message().replace('\n', " "),
        })?;
        if raw.rule.len().max(raw.action.len()) > ENTRIES_MAX {
            let why = format!("there are more than {ENTRIES_MAX} entries of one kind");
            return Err(wrong(0..0, "rule, action", &why));
        }
        let mut ids = std::collections::HashSet::new();
        let rules = raw.rule.iter().map(|rule| &rule.id);
        let actions = raw.action.iter().map(|action| &action.get_ref().id);
        for text in rules.chain(actions) {
            id(text)?;
            if !ids.insert(text.get_ref().as_str()) {
                let why = format!("`{}` appears twice in this file", text.get_ref());
                return Err(wrong(text.span(), "id", &why));
            }
        }
        Ok(Self {
            rules: raw.rule.into_iter().map(rule).collect::<Result<_, _>>()?,
            actions: raw.action,
        })
    }
}
