//! `[events]` and `[[webhook]]`: who is told by HTTP what happened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::parse_duration;
use net::WebUrl;
use ops::EventType;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{self, Raw};
use super::values::duration;

type Result<T> = std::result::Result<T, ConfigError>;

/// Events that may wait for webhooks, unless it is said.
const WAITING: u64 = 2_000_000;
const WAITING_MIN: u64 = 1000;
/// Events in one request.
const BATCH: u32 = 100;
const BATCH_MAX: u32 = 1000;
const TIMEOUT: Duration = Duration::from_secs(20);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
const GIVE_UP: Duration = Duration::from_secs(3 * 86_400);
const NAME_MAX: usize = 40;
/// Secrets of one webhook: two, while one takes the other's place, and some to spare.
pub(crate) const SECRETS_MAX: usize = 4;
const SECONDS: [u64; 6] = [5, 30, 120, 600, 1800, 3600];

/// What a secret begins with, in front of its base64.
pub const SECRET: &str = "whsec_";

/// Events that are kept, and who is told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// Events are kept so long, also when all have been told of them.
    pub keep: Option<Duration>,
    /// So many wait at the most.
    pub waiting: u64,
    /// Who is told.
    pub webhooks: Vec<WebhookSettings>,
}

/// A secret that bodies are signed with. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The key itself, 24 to 64 octets: for signing, and for nothing that is shown.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A text that is no secret. It is not in the error: logs are read by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is `whsec_` and the base64 of 24 to 64 octets; `sendoff webhook secret` makes one"
)]
pub struct ParseSecretError;

/// Why the secrets of a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Their file cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: std::io::Error,
    },
    /// A line of their file is none.
    #[error("{path}: {why}", path = path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: ParseSecretError,
    },
    /// There is none in their file.
    #[error("{path}: it contains no secret", path = .0.display())]
    None(PathBuf),
    /// There are too many.
    #[error("at most {SECRETS_MAX} secrets can be in use at the same time")]
    Many,
}

impl std::str::FromStr for Secret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> std::result::Result<Self, ParseSecretError> {
        let encoded = text.trim().strip_prefix(SECRET).ok_or(ParseSecretError)?;
        let octets = STANDARD.decode(encoded).map_err(|_| ParseSecretError)?;
        match octets.len() {
            24..=64 => Ok(Self(octets)),
            _ => Err(ParseSecretError),
        }
    }
}

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// What it is called in log and lists.
    pub name: String,
    /// Where it is told.
    pub url: WebUrl,
    /// The URL as it was written.
    pub shown: String,
    /// Signs beside those of the file, in front of them.
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<PathBuf>,
    /// What it is told of.
    pub events: Vec<EventType>,
    /// Domains of senders, by name or `.name`; none: all.
    pub sender_domains: Vec<String>,
    /// Domains of recipients, by name or `.name`; none: all.
    pub recipient_domains: Vec<String>,
    /// How many events a request has at most.
    pub batch: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The waits behind failures; the last repeats.
    pub(crate) waits: Vec<Duration>,
    /// Events are put aside when they could not be told for so long.
    pub give_up: Duration,
}

impl WebhookSettings {
    /// The wait behind so many failures in a row, from 1.
    pub fn wait(&self, failures: u32) -> Duration {
        let n = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.waits.get(n).or_else(|| self.waits.last());
        wait.copied().unwrap_or(GIVE_UP)
    }

    /// Its secrets, all of which sign. Blocks on the disk.
    ///
    /// # Errors
    /// When there is none, or one cannot be used.
    pub fn secrets(&self) -> std::result::Result<Vec<Secret>, SecretsError> {
        let mut secrets: Vec<Secret> = self.secret.iter().cloned().collect();
        if let Some(path) = &self.secret_file {
            let path = || path.clone();
            let wrong = |why| SecretsError::Wrong { path: path(), why };
            let text = std::fs::read_to_string(path());
            let text = text.map_err(|why| SecretsError::Io { path: path(), why })?;
            let lines = text.lines().map(str::trim);
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                secrets.push(line.parse().map_err(wrong)?);
            }
            if secrets.is_empty() {
                return Err(SecretsError::None(path()));
            }
        }
        match secrets.len() <= SECRETS_MAX {
            true => Ok(secrets),
            false => Err(SecretsError::Many),
        }
    }
}

/// Reads both sections.
pub(super) fn events(
    raw: &Raw,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<EventSettings> {
    let keep = duration(&raw.events.keep, place, "events.keep")?;
    let waiting = match &raw.events.max_waiting {
        None => WAITING,
        Some(n) if *n.get_ref() >= WAITING_MIN => *n.get_ref(),
        Some(n) => {
            let why = format!("write a number from {WAITING_MIN}");
            return Err(place.key(n.span(), "events.max_waiting", why));
        }
    };
    let mut webhooks: Vec<WebhookSettings> = Vec::with_capacity(raw.webhook.len());
    for entry in &raw.webhook {
        let hook = webhook(entry, place, base, warnings)?;
        if webhooks.iter().any(|other| other.name == hook.name) {
            let why = format!("there are two webhooks with the name `{}`", hook.name);
            return Err(place.key(entry.span(), "webhook.name", why));
        }
        webhooks.push(hook);
    }
    Ok(EventSettings {
        keep,
        waiting,
        webhooks,
    })
}

fn webhook(
    entry: &Spanned<raw::Webhook>,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<WebhookSettings> {
    let raw = entry.get_ref();
    let missing = |key: &str, why: &str| place.key(entry.span(), &format!("webhook.{key}"), why);
    let name = raw.name.as_ref();
    let name = name.ok_or_else(|| missing("name", "give it a name, for log and commands"))?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let given = name.get_ref();
    if given.is_empty() || given.len() > NAME_MAX || !given.chars().all(fits) {
        let why = format!("write 1 to {NAME_MAX} letters, digits, `-` and `_`");
        return Err(place.key(name.span(), "webhook.name", why));
    }
    let url_text = raw.url.as_ref();
    let url_text = url_text.ok_or_else(|| missing("url", "say where events are to go"))?;
    let url = url(url_text, given, place, warnings)?;
    let secret = match &raw.secret {
        None => None,
        Some(text) => {
            let parsed = text.get_ref().parse::<Secret>();
            Some(parsed.map_err(|e| place.key(text.span(), "webhook.secret", e))?)
        }
    };
    let secret_file = raw.secret_file.as_ref().map(|t| base.join(t.get_ref()));
    if secret.is_none() && secret_file.is_none() {
        let why = "set it, or webhook.secret_file: events are signed (`sendoff webhook secret`)";
        return Err(missing("secret", why));
    }
    let give_up = duration(&raw.give_up, place, "webhook.give_up")?;
    Ok(WebhookSettings {
        name: given.clone(),
        url,
        shown: url_text.get_ref().clone(),
        secret,
        secret_file,
        events: types(raw, place)?,
        sender_domains: domains(&raw.sender_domains, place, "webhook.sender_domains")?,
        recipient_domains: domains(&raw.recipient_domains, place, "webhook.recipient_domains")?,
        batch: batch(raw, place)?,
        timeout: timeout(raw, place)?,
        waits: waits(raw, place)?,
        give_up: give_up.unwrap_or(GIVE_UP),
    })
}

/// The URL without what is a secret of its own there: user, password and query are not for the log.
fn url(
    text: &Spanned<String>,
    name: &str,
    place: &Place<'_>,
    warnings: &mut Vec<String>,
) -> Result<WebUrl> {
    let wrong = |why: String| place.key(text.span(), "webhook.url", why);
    let given = text.get_ref();
    let mut url = WebUrl::parse(given).map_err(|e| wrong(e.to_string()))?;
    if given.contains('@') || given.contains('?') {
        let why = "no user, password or query: the signature proves who sends";
        return Err(wrong(why.to_owned()));
    }
    // An IPv6 address stands in brackets there, and nowhere else.
    let bare = url
        .host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Option<std::net::IpAddr> = bare.unwrap_or(&url.host).parse().ok();
    if let Some(address) = address {
        url.host = address.to_string();
    }
    let here = address.is_some_and(|a| a.is_loopback()) || url.host == "localhost";
    if !url.tls && !here {
        warnings.push(format!(
            "the webhook {name} gets events without TLS: addresses and answers can be read on the way \
             (webhook.url)"
        ));
    }
    Ok(url)
}

fn types(raw: &raw::Webhook, place: &Place<'_>) -> Result<Vec<EventType>> {
    let Some(list) = &raw.events else {
        return Ok(EventType::ALL.to_vec());
    };
    let mut types = Vec::new();
    for text in list {
        let kind = EventType::of_word(text.get_ref());
        types.push(kind.map_err(|e| place.key(text.span(), "webhook.events", e))?);
    }
    types.sort();
    types.dedup();
    Ok(types)
}

fn domains(list: &[Spanned<String>], place: &Place<'_>, key: &str) -> Result<Vec<String>> {
    let one = |text: &Spanned<String>| {
        let pattern = ops::domain_pattern(text.get_ref());
        pattern.map_err(|e| place.key(text.span(), key, e))
    };
    list.iter().map(one).collect()
}

fn batch(raw: &raw::Webhook, place: &Place<'_>) -> Result<usize> {
    let batch = raw.batch.as_ref();
    let size = batch.map_or(BATCH, |n| *n.get_ref());
    match (1..=BATCH_MAX).contains(&size) {
        true => Ok(size as usize),
        false => {
            let why = format!("write a number from 1 to {BATCH_MAX}");
            let span = batch.map_or(0..0, Spanned::span);
            Err(place.key(span, "webhook.batch", why))
        }
    }
}

fn timeout(raw: &raw::Webhook, place: &Place<'_>) -> Result<Duration> {
    let timeout = duration(&raw.timeout, place, "webhook.timeout")?.unwrap_or(TIMEOUT);
    match timeout >= Duration::from_secs(1) && timeout <= TIMEOUT_MAX {
        true => Ok(timeout),
        false => {
            let span = raw.timeout.as_ref().map_or(0..0, Spanned::span);
            let most = mail::format_duration(TIMEOUT_MAX);
            let why = format!("write a time from 1s to {most}");
            Err(place.key(span, "webhook.timeout", why))
        }
    }
}

fn waits(raw: &raw::Webhook, place: &Place<'_>) -> Result<Vec<Duration>> {
    let Some(list) = &raw.waits else {
        return Ok(SECONDS.map(Duration::from_secs).to_vec());
    };
    let wrong = |span, why: String| place.key(span, "webhook.waits", why);
    let mut waits = Vec::new();
    for text in list {
        let wait = parse_duration(text.get_ref());
        let wait = wait.map_err(|e| wrong(text.span(), e.to_string()))?;
        if wait < Duration::from_secs(1) {
            return Err(wrong(text.span(), "a wait must be 1s or longer".to_owned()));
        }
        waits.push(wait);
    }
    match waits.is_empty() {
        false => Ok(waits),
        true => {
            let why = "write at least one time, such as [\"5s\", \"1m\", \"1h\"]";
            Err(wrong(0..0, why.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn refused(text: &str) -> String {
        let result = Config::parse(text, Path::new("test.toml"), Path::new("/base"));
        result.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn errors_name_line_key_and_what_may_be_written_but_no_secret() {
        let hook = format!(
            "[[webhook]]\nname = \"crm\"\nurl = \"https://a.example/\"\nsecret = \"{SECRET}\"\n"
        );
        let table = [
            (
                "[[webhook]]\n".to_owned(),
                "test.toml:1: webhook.name: give it a name",
            ),
            (
                hook.replace("crm", "c r m"),
                "test.toml:2: webhook.name: write 1 to 40",
            ),
            (hook.replace("https", "ftp"), "test.toml:3: webhook.url"),
            (
                hook.replace("a.example/", "a.example/?k=v"),
                "test.toml:3: webhook.url: no user",
            ),
            (
                hook.replace("whsec_", ""),
                "test.toml:4: webhook.secret: a secret is `whsec_`",
            ),
            (
                hook.clone() + "events = [\"delivred\"]\n",
                "test.toml:5: webhook.events: `delivred` is not an event type: use accepted, deferred",
            ),
            (
                hook.clone() + "batch = 5000\n",
                "test.toml:5: webhook.batch: write a number from 1 to 1000",
            ),
            (
                hook.clone() + "waits = [\"0s\"]\n",
                "test.toml:5: webhook.waits",
            ),
            (
                hook.clone() + "timeout = \"1h\"\n",
                "test.toml:5: webhook.timeout: write a time from 1s to 5m",
            ),
            (
                hook.clone() + &hook,
                "test.toml:5: webhook.name: there are two webhooks",
            ),
            (
                "[events]\nmax_waiting = 5\n".to_owned(),
                "test.toml:2: events.max_waiting: write a number from 1000",
            ),
        ];
        for (text, expected) in table {
            let error = refused(&text);
            assert!(error.starts_with(expected), "{error}\nexpected {expected}");
            assert!(!error.contains("MfKQ9r8"), "{error}");
        }
    }

    #[test]
    fn no_debug_output_shows_a_secret_and_clear_text_beyond_loopback_is_warned_of() {
        let hook = |url: &str| {
            let text =
                format!("[[webhook]]\nname = \"crm\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n");
            Config::parse(&text, Path::new("test.toml"), Path::new("/base")).unwrap()
        };
        let config = hook("http://[::1]:80/x");
        assert!(!format!("{config:?}").contains("MfKQ9r8"));
        let in_clear = |config: &Config| config.warnings.iter().any(|w| w.contains("without TLS"));
        assert!(!in_clear(&config) && !in_clear(&hook("https://a.example/")));
        assert!(in_clear(&hook("http://a.example/")));
    }
}
