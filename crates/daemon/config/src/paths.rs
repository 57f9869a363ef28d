//! `[return_path]`, `[srs]` and `[suppression]`: whom other servers see as sender, and who is sent
//! nothing any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use intake::{Paths, ReturnPaths, SenderMatch, Senders, Srs};
use mail::{Address, Domain, EnhancedCode, ReplyKind};
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{self, Raw, Text};
use super::values::{choice, duration, networks};

type Result<T> = std::result::Result<T, ConfigError>;

const DAY: u64 = 86_400;
/// Days that SRS can tell apart, less some for clocks that differ.
const SRS_DAYS_MAX: u64 = 1000;

/// Secrets and what becomes of complaints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSettings {
    /// The file of the secrets; made at the first start.
    pub secrets: PathBuf,
    /// Who gets complaints; nobody by default.
    pub complaints_to: Option<Address>,
}

/// Who comes on the suppression list by itself, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionSettings {
    /// Whether failures bring recipients on the list.
    pub enabled: bool,
    /// Enhanced codes (RFC 3463) that do.
    pub codes: Vec<EnhancedCode>,
    /// Kinds of replies that do.
    pub kinds: Vec<ReplyKind>,
    /// After so many failures.
    pub after: u32,
    /// Whether complaints do.
    pub complaints: bool,
    /// How long an entry lasts; none: for ever.
    pub expires: Option<Duration>,
    /// Whose mail it keeps back.
    pub scope: ScopeKind,
}

/// Whose mail an entry keeps back that a rule made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    /// Everybody's.
    All,
    /// That of the sender's domain.
    SenderDomain,
    /// That of the sender.
    Sender,
    /// That of the user who submitted it.
    User,
}

/// A domain of our own that bounces come to: no local domain.
fn own_domain(text: &Text, raw: &Raw, place: &Place<'_>, key: &str) -> Result<Option<Domain>> {
    let Some(text) = text.as_ref().filter(|t| !t.get_ref().is_empty()) else {
        return Ok(None);
    };
    let wrong = |why: String| place.key(text.span(), key, why);
    let domain = Domain::parse(text.get_ref()).map_err(|e| wrong(e.to_string()))?;
    let same = |other: &Domain| other.to_ascii() == domain.to_ascii();
    let local = raw.local.domains.iter();
    if local
        .filter_map(|d| Domain::parse(d.get_ref()).ok())
        .any(|d| same(&d))
    {
        let why = "it is a local domain, which has mailboxes: use a separate domain, such as bounces.example.com";
        return Err(wrong(why.to_owned()));
    }
    match domain.literal() {
        Some(_) => Err(wrong("write a domain, not an address literal".to_owned())),
        None => Ok(Some(domain)),
    }
}

/// The addresses that are made; their secrets come from a file when the server starts.
pub(super) fn paths(raw: &Raw, place: &Place<'_>) -> Result<Paths> {
    Ok(Paths {
        return_paths: return_paths(raw, place)?,
        srs: srs(raw, place)?,
        keys: intake::Keys::default(),
    })
}

fn return_paths(all: &Raw, place: &Place<'_>) -> Result<Option<ReturnPaths>> {
    let raw = &all.return_path;
    let domain = own_domain(&raw.domain, all, place, "return_path.domain")?;
    let per = [("recipient", true), ("message", false)];
    let per_recipient = choice(&raw.per, place, "return_path.per", &per)?.unwrap_or(true);
    let sender = |text: &Spanned<String>| {
        let parsed = text.get_ref().parse::<SenderMatch>();
        parsed.map_err(|e| place.key(text.span(), "return_path.senders", e))
    };
    let senders = match &raw.senders {
        None => Senders::any(),
        Some(list) => Senders::new(list.iter().map(sender).collect::<Result<_>>()?),
    };
    let valid = duration(&raw.valid, place, "return_path.valid")?;
    let feedback = match &raw.feedback {
        Some(text) if !text.get_ref().is_empty() => {
            let local = text.get_ref();
            let example = Domain::from_ip(std::net::Ipv4Addr::LOCALHOST.into());
            let good = !local.contains('+') && local.len() <= 64;
            Address::new(local, example)
                .ok()
                .filter(|_| good)
                .ok_or_else(|| {
                    let why = "write a local part without +, such as \"complaints\"";
                    place.key(text.span(), "return_path.feedback", why)
                })?;
            Some(local.clone())
        }
        Some(_) | None => None,
    };
    Ok(domain.map(|domain| ReturnPaths {
        domain,
        per_recipient,
        senders,
        users: raw.users.clone(),
        valid: valid.unwrap_or(Duration::from_secs(14 * DAY)),
        feedback,
    }))
}

fn srs(all: &Raw, place: &Place<'_>) -> Result<Option<Srs>> {
    let raw = &all.srs;
    let domain = own_domain(&raw.domain, all, place, "srs.domain")?;
    let valid = duration(&raw.valid, place, "srs.valid")?.unwrap_or(Duration::from_secs(21 * DAY));
    let valid_days = valid.as_secs().div_ceil(DAY);
    if let Some(text) = raw.valid.as_ref()
        && !(1..=SRS_DAYS_MAX).contains(&valid_days)
    {
        let why = format!("a time from 1d to {SRS_DAYS_MAX}d");
        return Err(place.key(text.span(), "srs.valid", why));
    }
    let own = |text: &Spanned<String>| {
        Domain::parse(text.get_ref()).map_err(|e| place.key(text.span(), "srs.own_domains", e))
    };
    let own_domains = raw.own_domains.iter().map(own).collect::<Result<_>>()?;
    let relays = networks(&raw.relays, place, "srs.relays")?;
    Ok(domain.map(|domain| Srs {
        domain,
        valid_days,
        relays,
        own_domains,
    }))
}

/// The secrets' file, and who gets complaints.
pub(super) fn settings(
    raw: &raw::ReturnPath,
    place: &Place<'_>,
    data_dir: &Path,
    base: &Path,
) -> Result<PathSettings> {
    let complaints_to = match &raw.complaints_to {
        Some(text) if !text.get_ref().is_empty() => {
            let parsed = Address::parse(text.get_ref());
            Some(parsed.map_err(|e| place.key(text.span(), "return_path.complaints_to", e))?)
        }
        Some(_) | None => None,
    };
    Ok(PathSettings {
        secrets: match &raw.secrets_file {
            Some(text) => base.join(text.get_ref()),
            None => data_dir.join("return-path.key"),
        },
        complaints_to,
    })
}

/// The rules of the suppression list.
pub(super) fn suppression(
    raw: &raw::Suppression,
    place: &Place<'_>,
) -> Result<SuppressionSettings> {
    let code = |text: &Spanned<String>| {
        let parsed = text.get_ref().parse::<EnhancedCode>().ok();
        parsed
            .filter(|code| code.to_string().starts_with('5'))
            .ok_or_else(|| {
                let why = "write enhanced codes of final failures, such as \"5.1.1\" (RFC 3463)";
                place.key(text.span(), "suppression.codes", why)
            })
    };
    let codes = match &raw.codes {
        Some(list) => list.iter().map(code).collect::<Result<_>>()?,
        None => [(1, 1), (1, 6), (1, 10)]
            .map(|(subject, detail)| EnhancedCode::new(5, subject, detail))
            .to_vec(),
    };
    let kind = |text: &Spanned<String>| {
        ReplyKind::of_word(text.get_ref()).ok_or_else(|| {
            let why = format!("write one of {}", ReplyKind::WORDS.join(", "));
            place.key(text.span(), "suppression.kinds", why)
        })
    };
    let scopes = [
        ("all", ScopeKind::All),
        ("sender_domain", ScopeKind::SenderDomain),
        ("sender", ScopeKind::Sender),
        ("user", ScopeKind::User),
    ];
    let after = raw.after.as_ref().map_or(1, |n| *n.get_ref());
    if let Some(text) = raw.after.as_ref().filter(|_| after == 0) {
        return Err(place.key(text.span(), "suppression.after", "write a number from 1"));
    }
    let expires = match &raw.expires {
        None => Some(Duration::from_secs(30 * DAY)),
        Some(_) => duration(&raw.expires, place, "suppression.expires")?,
    };
    Ok(SuppressionSettings {
        enabled: raw.enabled,
        codes,
        kinds: raw.kinds.iter().map(kind).collect::<Result<_>>()?,
        after,
        complaints: raw.complaints.unwrap_or(true),
        expires,
        scope: choice(&raw.scope, place, "suppression.scope", &scopes)?
            .unwrap_or(ScopeKind::SenderDomain),
    })
}
