//! The configuration: one TOML file, read into validated settings of each stage.
//!
//! The raw form (`raw`) is what the file says and dies here; what the rest of the server sees is
//! [`Config`]. Every error names the file, the line, the key and what it may be.

/// Where the queue of the computer's server is kept.
pub const DATA_DIR: &str = "/var/lib/sendoff";

mod aliases;
pub mod console;
pub mod descriptors;
mod dkim;
mod doubts;
pub mod elsewhere;
mod environment;
mod error;
mod include;
pub mod judged;
mod listeners;
mod memory;
mod named;
pub mod oauth;
pub mod paths;
pub mod presets;
mod raw;
mod refused;
mod relay;
pub mod replies;
pub mod sandbox;
mod sections;
mod senders;
mod sendmail;
pub mod sources;
mod state;
mod syntax;
mod texts;
mod values;
pub mod warm_up;
pub mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deliver::{Credentials, SenderRules, Signatures, Timeouts, TlsMode};
use mail::{Address, Domain};
use net::DnsSettings;
use route::{RouteSettings, Rules, Target};
use schedule::{Plan, Rate};
use serde::Deserialize;
use smtp::extension::Extension;
use toml::Spanned;
use toml::de::DeTable;

pub use console::ConsoleSettings;
pub use error::ConfigError;
pub use named::Named;
pub use paths::{PathSettings, SuppressionSettings};
pub use presets::Preset;
pub use replies::Replies;
pub use sandbox::SandboxSettings;
pub use sendmail::SendmailSettings;
pub use sources::Sources;
pub use texts::{Included, Texts};
pub use webhooks::EventSettings;

/// The whole configuration, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; none: it has none.
    pub path: Option<PathBuf>,
    /// Files whose text belongs to it.
    pub included: Included,
    /// Other files that are read with it.
    pub named: Named,
    /// The name that this server says in EHLO and in what it writes itself.
    pub hostname: Domain,
    /// Where the queue is, and everything else that the server keeps.
    pub data_dir: PathBuf,
    /// Whom the server becomes that root has started.
    pub user: Option<String>,
    /// Which files the process may touch.
    pub sandbox: SandboxSettings,
    /// Who is told what cannot be told its sender.
    pub postmaster: Address,
    /// Where clients come in by SMTP; in the order of `intake.listeners`.
    pub listeners: Vec<SocketAddr>,
    /// What is accepted, from whom.
    pub intake: intake::Policy,
    /// How many clients there may be at once.
    pub connections: ConnectionLimits,
    /// Certificates, and roots that are trusted besides the system's.
    pub tls: TlsFiles,
    /// The file of users and their password hashes.
    pub users_file: PathBuf,
    /// HTTP.
    pub console: ConsoleSettings,
    /// Where mail of local domains goes.
    pub local: LocalStore,
    /// How mail leaves.
    pub outgoing: Outgoing,
    /// Delivery mode and static routes.
    pub routing: RouteSettings,
    /// What holds for single destinations.
    pub rules: Arc<Rules<RuleKeys>>,
    /// Other senders towards a relay.
    pub senders: Arc<SenderRules>,
    /// The addresses that mail leaves from.
    pub sources: Sources,
    /// The keys that mail is signed with.
    pub dkim: sign::Keyring,
    /// Why some of them cannot be used. Commands that sign nothing do not care: whoever runs them,
    /// such as a user of `sendmail`, may not read keys.
    unusable_keys: Vec<ConfigError>,
    /// Which DNS servers are asked, and how.
    pub dns: DnsSettings,
    /// Reports on TLS (RFC 8460) to other domains.
    pub tls_reports: TlsReportSettings,
    /// The log.
    pub log: LogSettings,
    /// How the queue is kept on disk.
    pub queue: QueueFiles,
    /// What concerns the `sendmail` command.
    pub sendmail: SendmailSettings,
    /// Return paths: senders on the wire that bounces are recognized by.
    pub paths: PathSettings,
    /// Who comes on the suppression list.
    pub suppression: SuppressionSettings,
    /// The book of rules about replies, and what is done about them.
    pub replies: Arc<Replies>,
    /// Who is told what happened.
    pub events: EventSettings,
    /// What works but deserves a word: shown by `check` and at the start.
    pub warnings: Vec<String>,
    /// What `check` proposes.
    pub proposals: Vec<String>,
}

/// How the queue is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFiles {
    /// The size of a segment of the log.
    pub segment_bytes: u32,
    /// Free space below which mail is refused.
    pub reserve_bytes: u64,
    /// How long finished recipients and what was said of them are kept.
    pub history: Duration,
}

/// How many clients at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub(crate) all: usize,
    pub(crate) per_source: usize,
    /// Default: half of all.
    pub(crate) per_network: Option<usize>,
    /// A session that is older ends between two mails.
    pub age_max: Duration,
    /// Octets of contents that are being received, by whatever way.
    pub memory: u64,
}

/// Clients that have said something within this time keep their places.
const PATIENCE: Duration = Duration::from_secs(5);

impl ConnectionLimits {
    /// The room for clients.
    pub fn room(&self) -> net::Room {
        let half = (self.all / 2).max(self.per_source);
        net::Room {
            all: self.all,
            per_source: self.per_source,
            per_network: self.per_network.unwrap_or(half),
            patience: PATIENCE,
        }
    }
}

/// Certificates.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Of this server: the file of the chain, and that of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Files of roots that are trusted besides the system's.
    pub extra_roots: Vec<PathBuf>,
}

/// Where mail of local domains goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalStore {
    /// There are no local domains.
    None,
    /// A directory with `{domain}` and `{user}` in its name.
    Maildir(String),
    /// An LMTP server over TCP.
    LmtpTcp(Target),
    /// An LMTP server at a socket of this computer.
    LmtpUnix(PathBuf),
}

/// Outgoing mail.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Whether anything leaves.
    pub enabled: bool,
    /// When attempts are repeated.
    pub plan: Arc<Plan>,
    /// How long after its acceptance a mail is given up, whatever attempts are left.
    pub lifetime: Option<Duration>,
    /// Connections to others at once.
    pub max_connections: u32,
    /// Connections to one site at once.
    pub max_connections_per_site: u32,
    /// Octets of contents that are read back to be sent.
    pub memory: u64,
    /// Whether only the best MX host of a domain is tried.
    pub first_mx_only: bool,
    /// Whether a host that greets with 5yz fails the mail instead of deferring it.
    pub fail_on_5xx_greeting: bool,
    /// How far TLS is insisted on, where no rule says otherwise.
    pub tls: TlsMode,
    /// What domains publish about TLS, and is obeyed.
    pub published: Published,
    /// Certificate and key that are shown to servers that ask.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// The relay of Relay Mode.
    pub relay: Option<Relay>,
    /// Whether senders are told of failures.
    pub failure_messages: bool,
    /// After how long a sender is told that a mail still waits; none: never.
    pub delay_notice_after: Option<Duration>,
    /// Whether content may be converted for a host though a DKIM signature breaks by it.
    pub convert_signed: Signatures,
    /// Whether lines of more than 998 octets are encoded.
    pub short_lines: bool,
    /// How long a host may take to answer.
    pub timeouts: Timeouts,
}

/// Which wishes of domains about TLS are obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// TLSA records (RFC 7672).
    pub dane: bool,
    /// MTA-STS policies (RFC 8461).
    pub mta_sts: bool,
    /// The port of policy hosts.
    pub mta_sts_port: u16,
}

/// Reports on TLS to the domains that want them.
#[derive(Debug, Clone)]
pub struct TlsReportSettings {
    /// Whether reports are sent.
    pub enabled: bool,
    /// The name of whoever reports.
    pub organization: String,
    /// Whom receivers of reports may ask.
    pub contact: String,
    /// The sender of reports.
    pub from: Address,
    /// A day's reports are sent at a random time within this period after midnight UTC.
    pub delay: Duration,
}

/// The relay's login and protection.
#[derive(Debug, Clone)]
pub struct Relay {
    /// How far TLS is insisted on.
    pub tls: TlsMode,
    /// What is logged in with; none: nothing.
    pub credentials: Option<Credentials>,
    /// The provider, where one is named.
    pub preset: Option<&'static Preset>,
    /// Where the password stands.
    pub password_file: Option<PathBuf>,
    /// How the token is got that the login is by.
    pub oauth: Option<Arc<oauth::OauthSettings>>,
}

/// What one rule for a destination may set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleKeys {
    /// The server that mail goes to, instead of the domain's MX hosts.
    pub via_smtp: Option<Target>,
    /// Attempts beyond those of the plan.
    pub additional_resend_attempts: Option<u32>,
    /// Attempts after the first, instead of those of the plan.
    pub resend_attempts: Option<u32>,
    /// The wait between attempts.
    pub resend_wait: Option<Duration>,
    /// All waits between attempts.
    pub plan: Option<Plan>,
    /// How far TLS is insisted on.
    pub tls: Option<TlsMode>,
    /// Connections to the site at once.
    pub max_connections: Option<u32>,
    /// Messages in a time; `Some(None)`: without a bound.
    pub max_message_rate: Option<Option<Rate>>,
    /// Recipients in one transaction.
    pub max_recipients: Option<u32>,
    /// The pool of addresses that mail leaves from.
    pub sources: Option<String>,
    /// Extensions of SMTP that are not used.
    pub ignore: Option<Vec<Extension>>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether all that is said on the wire is logged.
    pub detailed: bool,
    /// Whether a line is a JSON object.
    pub json: bool,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// The size at which the file is rotated.
    pub rotate_bytes: u64,
    /// How many rotated files are kept.
    pub keep: u32,
}

impl Config {
    /// Reads a configuration file, and those that it includes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut config = Self::of(&Texts::read(path)?, &base)?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// The text of a file.
    pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            why: Arc::new(error),
        })
    }

    /// Reads the text of a configuration, which includes nothing; relative paths in it are below `base`.
    pub fn parse(text: &str, path: &Path, base: &Path) -> Result<Self, ConfigError> {
        Self::of(&Texts::of(text, path), base)
    }

    fn of(texts: &Texts, base: &Path) -> Result<Self, ConfigError> {
        let parsed = texts.parsed();
        if let Some(error) = parsed.first_error() {
            return Err(error.clone());
        }
        let mut config = read(parsed.table, texts, base)?;
        descriptors::bound(&mut config, descriptors::limit());
        Ok(config)
    }

    /// Whether every key to sign with can be used.
    pub fn check_keys(&self) -> Result<(), ConfigError> {
        self.unusable_keys.first().cloned().map_or(Ok(()), Err)
    }
}

/// Reads what the texts say.
fn read(table: Spanned<DeTable<'_>>, texts: &Texts, base: &Path) -> Result<Config, ConfigError> {
    let place = texts.place();
    let raw = raw::Raw::deserialize(toml::de::Deserializer::from(table))
        .map_err(|error| syntax::error(&place, error.message(), error.span()))?;
    let has_via_smtp = doubts::has_via_smtp(&raw);
    let mut config = sections::validate(raw, &place, base)?;
    config.included = texts.included();
    let doubts = doubts::of(&config, has_via_smtp);
    config.warnings.extend(doubts);
    let proposals = doubts::proposals(&config);
    config.proposals.extend(proposals);
    Ok(config)
}

#[cfg(test)]
mod tests;
