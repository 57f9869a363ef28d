//! `[replies]`: the rules that name the kind of an answer, and what is done about some kinds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deliver::{ActionText, ReplyBook, RuleError, RuleFile};
use mail::{ReplyKind, format_duration, parse_duration};
use schedule::{Plan, Rate};
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw;

/// The longest time that an action holds: what is to last is a rule for a domain.
const TIME_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The longest time in which replies are counted.
const WITHIN_MAX: Duration = Duration::from_secs(86_400);
/// Replies that are counted at the most.
const AFTER_MAX: u32 = 1000;

/// What is known of answers, and what is done about them.
#[derive(Debug, Default)]
pub struct Replies {
    /// The rules.
    pub book: ReplyBook,
    /// The actions in the order in which they are looked at.
    pub actions: Vec<ReplyAction>,
}

/// What is done about replies of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAction {
    /// Its name.
    pub id: String,
    /// The kind of replies that it is about.
    pub on: ReplyKind,
    /// Hosts, by name or `.name`; none: all.
    pub hosts: Vec<String>,
    /// Domains of recipients, by name or `.name`; none: all.
    pub domains: Vec<String>,
    /// Behind so many mails that were answered so …
    pub after: u32,
    /// … in this time.
    pub within: Duration,
    /// What is done.
    pub what: Reaction,
    /// It came with Sendoff.
    pub built_in: bool,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// The site gets no more than this, for a time.
    Slow {
        /// Messages in a time.
        rate: Option<Rate>,
        /// Connections at once.
        connections: Option<u32>,
        /// How long it holds.
        time: Duration,
    },
    /// The site gets nothing, for a time.
    Pause {
        /// How long it holds.
        time: Duration,
    },
    /// Recipients that were answered so are re-sent by this plan.
    Plan(Arc<Plan>),
}

impl ReplyAction {
    /// Whether it is about such a reply.
    pub fn is_about(&self, kind: ReplyKind, host: Option<&str>, domain: &str) -> bool {
        let fits = |patterns: &[String], name: &str| {
            let name = name.to_ascii_lowercase();
            let one = |p: &String| match p.starts_with('.') {
                true => name.ends_with(p.as_str()),
                false => name == *p,
            };
            patterns.is_empty() || patterns.iter().any(one)
        };
        self.on == kind
            && (self.hosts.is_empty() || host.is_some_and(|host| fits(&self.hosts, host)))
            && fits(&self.domains, domain)
    }

    /// When it is done, in words.
    pub fn when(&self) -> String {
        let of = |what: &str, names: &[String]| match names.is_empty() {
            true => String::new(),
            false => format!(" {what} {}", names.join(" ")),
        };
        let times = match self.what {
            Reaction::Plan(_) => String::new(),
            Reaction::Slow { .. } | Reaction::Pause { .. } => {
                format!("{} × in {} ", self.after, format_duration(self.within))
            }
        };
        format!(
            "{times}{}{}{}",
            self.on,
            of("of", &self.hosts),
            of("for", &self.domains)
        )
    }

    /// What it does, in words.
    pub fn effect(&self) -> String {
        match &self.what {
            Reaction::Slow {
                rate,
                connections,
                time,
            } => {
                let rate =
                    rate.map(|r| format!("{} messages in {}", r.count, format_duration(r.per)));
                let connections = connections.map(|n| format!("{n} connections"));
                let both: Vec<String> = connections.into_iter().chain(rate).collect();
                let time = format_duration(*time);
                format!("slow the site to {} for {time}", both.join(" and "))
            }
            Reaction::Pause { time } => format!("pause the site for {}", format_duration(*time)),
            Reaction::Plan(plan) => format!(
                "retried by its own plan: {} retries over {}",
                plan.resends(),
                format_duration(plan.span())
            ),
        }
    }
}

impl Replies {
    /// The plan for recipients that were answered so, if an action gives one.
    pub fn plan(&self, kind: ReplyKind, host: Option<&str>, domain: &str) -> Option<&Arc<Plan>> {
        self.actions.iter().find_map(|action| match &action.what {
            Reaction::Plan(plan) if action.is_about(kind, host, domain) => Some(plan),
            Reaction::Plan(_) | Reaction::Slow { .. } | Reaction::Pause { .. } => None,
        })
    }
}

type Result<T> = std::result::Result<T, ConfigError>;

/// Reads the section and the file that it names.
pub(super) fn replies(raw: &raw::Replies, place: &Place<'_>, base: &Path) -> Result<Replies> {
    let built_in = ReplyBook::built_in().map_err(|error| {
        let path = Path::new("(the rules that come with Sendoff)");
        at(path, ReplyBook::built_in_text(), error)
    })?;
    let named = raw.rules.as_ref().filter(|t| !t.get_ref().is_empty());
    let (own, text, path) = match named {
        None => (RuleFile::default(), String::new(), base.to_owned()),
        Some(name) => {
            let path = base.join(name.get_ref());
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let why = format!("{}: {error}", path.display());
                place.key(name.span(), "replies.rules", why)
            })?;
            let file = RuleFile::parse(&text).map_err(|error| at(&path, &text, error))?;
            (file, text, path)
        }
    };
    let disabled: Vec<String> = raw.disable.iter().map(|t| t.get_ref().clone()).collect();
    let known = |id: &str| {
        let rules = own.rules.iter().chain(&built_in.rules);
        let actions = own.actions.iter().chain(&built_in.actions);
        rules.map(|r| r.id.as_str()).any(|r| r == id)
            || actions.map(|a| a.get_ref().id.get_ref()).any(|a| a == id)
    };
    if let Some(text) = raw.disable.iter().find(|t| !known(t.get_ref())) {
        let why = format!(
            "there is no rule or action `{}` (sendoff replies list)",
            text.get_ref()
        );
        return Err(place.key(text.span(), "replies.disable", why));
    }
    let mut actions = Vec::new();
    for action in &own.actions {
        let parsed = parse_action(action, false).map_err(|error| at(&path, &text, error))?;
        actions.push(parsed);
    }
    if raw.actions.unwrap_or(true) {
        for action in &built_in.actions {
            let parsed = parse_action(action, true);
            let parsed = parsed.map_err(|error| at(&path, ReplyBook::built_in_text(), error))?;
            if !actions.iter().any(|own| own.id == parsed.id) {
                actions.push(parsed);
            }
        }
    }
    actions.retain(|action| !disabled.contains(&action.id));
    Ok(Replies {
        book: ReplyBook::new(own.rules, built_in.rules, &disabled),
        actions,
    })
}

/// An error of a file of rules, with the file and the line.
fn at(path: &Path, text: &str, error: RuleError) -> ConfigError {
    Place::of(path, text).wrong(error.span, error.message)
}

type ActionResult<T> = std::result::Result<T, RuleError>;

fn time(
    text: &Option<Spanned<String>>,
    key: &str,
    default: Duration,
    most: Duration,
) -> ActionResult<Duration> {
    let Some(text) = text else { return Ok(default) };
    let wrong = |why: &str| ActionText::wrong(text.span(), key, why);
    let time = parse_duration(text.get_ref()).map_err(|e| wrong(&e.to_string()))?;
    match time >= Duration::from_secs(1) && time <= most {
        true => Ok(time),
        false => Err(wrong(&format!(
            "write a time from 1s to {}",
            format_duration(most)
        ))),
    }
}

fn parse_action(spanned: &Spanned<ActionText>, built_in: bool) -> ActionResult<ReplyAction> {
    let text = spanned.get_ref();
    let after = match &text.after {
        None => 1,
        Some(n) if (1..=AFTER_MAX).contains(n.get_ref()) => *n.get_ref(),
        Some(n) => {
            let why = format!("write a number from 1 to {AFTER_MAX}");
            return Err(ActionText::wrong(n.span(), "after", &why));
        }
    };
    Ok(ReplyAction {
        id: text.id.get_ref().clone(),
        on: text.kind()?,
        hosts: text.hosts()?,
        domains: text.domains()?,
        after,
        within: time(&text.within, "within", Duration::from_secs(600), WITHIN_MAX)?,
        what: reaction(text)?,
        built_in,
    })
}

fn reaction(text: &ActionText) -> ActionResult<Reaction> {
    let span = text.what.span();
    let half_an_hour = Duration::from_secs(1800);
    let does = text.what.get_ref().as_str();
    let alien = [
        (
            text.max_message_rate.as_ref().map(Spanned::span),
            "max_message_rate",
            "slow",
        ),
        (
            text.max_connections.as_ref().map(Spanned::span),
            "max_connections",
            "slow",
        ),
        (text.plan.as_ref().map(Spanned::span), "plan", "plan"),
    ];
    for (given, key, of) in alien {
        if let Some(given) = given.filter(|_| of != does) {
            let why = format!("it is allowed only with do = \"{of}\"");
            return Err(ActionText::wrong(given, key, &why));
        }
    }
    match does {
        "slow" => {
            let rate = match &text.max_message_rate {
                None => None,
                Some(rate) => Some(Rate::parse(rate.get_ref()).map_err(|e| {
                    ActionText::wrong(rate.span(), "max_message_rate", &e.to_string())
                })?),
            };
            let connections = text.max_connections.as_ref().map(|n| *n.get_ref());
            if connections == Some(0) || rate.is_none() && connections.is_none() {
                let why = "slow needs max_connections (from 1), max_message_rate, or both";
                return Err(ActionText::wrong(span, "do", why));
            }
            Ok(Reaction::Slow {
                rate,
                connections,
                time: time(&text.time, "for", half_an_hour, TIME_MAX)?,
            })
        }
        "pause" => Ok(Reaction::Pause {
            time: time(&text.time, "for", half_an_hour, TIME_MAX)?,
        }),
        "plan" => {
            let Some(plan) = &text.plan else {
                let why = "plan needs a plan, such as plan = [\"5m\", \"10m\", \"1h*4\"]";
                return Err(ActionText::wrong(span, "do", why));
            };
            let parsed = Plan::parse_list(plan.get_ref());
            let parsed =
                parsed.map_err(|e| ActionText::wrong(plan.span(), "plan", &e.to_string()))?;
            Ok(Reaction::Plan(Arc::new(parsed)))
        }
        other => {
            let why = format!("`{other}` is not a reaction: write slow, pause or plan");
            Err(ActionText::wrong(span, "do", &why))
        }
    }
}
