//! What replies are about: a book of rules, each with its source, that names the kind of a refusal.
//!
//! The rules are data (`rules/replies.toml`), and an administrator may add his own, put his own in
//! the place of one, or switch one off. The first rule that fits speaks: those of the administrator,
//! in the order of his file, then those for certain hosts, then those for all. Only what is kept
//! with a verdict is looked at (code, enhanced code, text, host), so the kind of a reply can be found
//! again at any time, and need not be kept.

mod file;
mod rule;

use mail::{Reply, ReplyKind};

pub use file::{ActionText, RuleError, RuleFile};
pub use rule::{ReplyRule, TreatAs};

use rule::Text;

/// The rules that come with the server.
const BUILT_IN: &str = include_str!("../rules/replies.toml");

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct ReplyBook {
    rules: Vec<ReplyRule>,
}

/// What is known of a reply.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its kind.
    pub kind: ReplyKind,
    /// The rule that says so; `None`: no rule fits, and the kind is unknown.
    pub rule: Option<&'a ReplyRule>,
}

impl ReplyBook {
    /// The rules that come with the server, and what they would have done.
    ///
    /// # Errors
    /// Never for a released server: a test reads the file.
    pub fn built_in() -> Result<RuleFile, RuleError> {
        RuleFile::parse(BUILT_IN)
    }

    /// The text of the rules that come with the server.
    #[must_use]
    pub const fn built_in_text() -> &'static str {
        BUILT_IN
    }

    /// The rules of an administrator and those that come with the server, without those that are
    /// switched off. A rule of the administrator takes the place of the one with the same id.
    #[must_use]
    pub fn new(own: Vec<ReplyRule>, built_in: Vec<ReplyRule>, disabled: &[String]) -> Self {
        let is_on = |rule: &ReplyRule| !disabled.contains(&rule.id);
        let replaced = |rule: &ReplyRule| own.iter().any(|o| o.id == rule.id);
        let (hosts, all): (Vec<ReplyRule>, Vec<ReplyRule>) = built_in
            .into_iter()
            .filter(|rule| is_on(rule) && !replaced(rule))
            .partition(|rule| !rule.hosts.is_empty());
        let own = own.into_iter().filter(is_on);
        Self {
            rules: own.chain(hosts).chain(all).collect(),
        }
    }

    /// The rules in the order in which they are asked.
    #[must_use]
    pub fn rules(&self) -> &[ReplyRule] {
        &self.rules
    }

    /// What a reply is about. `host` is the name of the host that gave it. Costs a pass over the first
    /// 2048 octets of the text for each rule whose codes and host fit.
    #[must_use]
    pub fn classify(&self, reply: &Reply, host: Option<&str>) -> Known<'_> {
        if reply.is_positive() || self.rules.is_empty() {
            return Known::UNKNOWN;
        }
        let text = Text::of(reply);
        let host = host.map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.fits(reply, &text, host.as_deref()));
        rule.map_or(Known::UNKNOWN, |rule| Known {
            kind: rule.kind,
            rule: Some(rule),
        })
    }

    /// As [`Self::classify`], for a reply and a host as lists and logs write them: `550 5.1.1 no such
    /// user`, `mx.example[192.0.2.1]:25`.
    #[must_use]
    pub fn classify_written(&self, reply: &str, host: Option<&str>) -> Known<'_> {
        let name = |host| match str::find(host, '[') {
            Some(at) if at > 0 => host.split_at(at).0,
            Some(_) | None => host,
        };
        self.classify(&read_reply(reply), host.map(name))
    }
}

impl Known<'_> {
    /// No rule fits.
    pub const UNKNOWN: Known<'static> = Known {
        kind: ReplyKind::Unknown,
        rule: None,
    };
}

/// A reply as people and lists write it: the code, the enhanced code, the text, each where it is
/// given. Codes at the beginning of further lines are dropped.
#[must_use]
pub fn read_reply(text: &str) -> Reply {
    let (mut code, mut enhanced) = (0, None);
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim();
        if let Some((digits, tail)) = rest.split_at_checked(3)
            && let Ok(value) = digits.parse::<u16>()
            && (200..600).contains(&value)
            && (tail.is_empty() || tail.starts_with([' ', '-']))
            && (number == 0 || value == code)
        {
            code = value;
            rest = tail.get(1..).unwrap_or_default().trim_start();
        }
        let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Ok(value) = first.parse()
            && (number == 0 || enhanced == Some(value))
        {
            enhanced = Some(value);
            rest = tail;
        }
        lines.push(rest.trim());
    }
    Reply::new(code, enhanced, lines.join("\n"))
}

#[cfg(test)]
mod tests;
