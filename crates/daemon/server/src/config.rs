//! The configuration: one TOML file, read into validated settings of each stage.
//!
//! The raw form (`raw`) is what the file says and dies here; what the rest of the server sees is
//! [`Config`]. Every error names the file, the line, the key and what it may be.

/// Where the queue of the computer's server is kept.
pub(crate) const DATA_DIR: &str = "/var/lib/sendoff";

mod aliases;
pub(crate) mod console;
pub(crate) mod descriptors;
mod dkim;
mod doubts;
pub(crate) mod elsewhere;
mod environment;
mod error;
mod include;
pub(crate) mod judged;
mod listeners;
mod memory;
mod named;
pub(crate) mod oauth;
pub(crate) mod paths;
pub(crate) mod presets;
mod raw;
mod refused;
mod relay;
pub(crate) mod replies;
pub(crate) mod sandbox;
mod sections;
mod senders;
mod sendmail;
pub(crate) mod sources;
mod state;
mod syntax;
mod texts;
mod values;
pub(crate) mod warm_up;
pub(crate) mod webhooks;

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

pub(crate) use console::ConsoleSettings;
pub(crate) use error::ConfigError;
pub(crate) use named::Named;
pub(crate) use paths::{PathSettings, SuppressionSettings};
pub(crate) use presets::Preset;
pub(crate) use replies::Replies;
pub(crate) use sandbox::SandboxSettings;
pub(crate) use sendmail::SendmailSettings;
pub(crate) use sources::Sources;
pub(crate) use texts::{Included, Texts};
pub(crate) use webhooks::EventSettings;

/// The whole configuration, validated.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) path: Option<PathBuf>,
    /// Files whose text belongs to it.
    pub(crate) included: Included,
    /// Other files that are read with it.
    pub(crate) named: Named,
    pub(crate) hostname: Domain,
    pub(crate) data_dir: PathBuf,
    /// Whom the server becomes that root has started.
    pub(crate) user: Option<String>,
    pub(crate) sandbox: SandboxSettings,
    pub(crate) postmaster: Address,
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) intake: intake::Policy,
    pub(crate) connections: ConnectionLimits,
    pub(crate) tls: TlsFiles,
    pub(crate) users_file: PathBuf,
    pub(crate) console: ConsoleSettings,
    pub(crate) local: LocalStore,
    pub(crate) outgoing: Outgoing,
    pub(crate) routing: RouteSettings,
    pub(crate) rules: Arc<Rules<RuleKeys>>,
    /// Other senders towards a relay.
    pub(crate) senders: Arc<SenderRules>,
    /// The addresses that mail leaves from.
    pub(crate) sources: Sources,
    /// The keys that mail is signed with.
    pub(crate) dkim: sign::Keyring,
    /// Why some of them cannot be used. Commands that sign nothing do not care: whoever runs them,
    /// such as a user of `sendmail`, may not read keys.
    unusable_keys: Vec<ConfigError>,
    pub(crate) dns: DnsSettings,
    pub(crate) tls_reports: TlsReportSettings,
    pub(crate) log: LogSettings,
    pub(crate) queue: QueueFiles,
    pub(crate) sendmail: SendmailSettings,
    pub(crate) paths: PathSettings,
    pub(crate) suppression: SuppressionSettings,
    pub(crate) replies: Arc<Replies>,
    /// Who is told what happened.
    pub(crate) events: EventSettings,
    /// What works but deserves a word: shown by `check` and at the start.
    pub(crate) warnings: Vec<String>,
    /// What `check` proposes.
    pub(crate) proposals: Vec<String>,
}

/// How the queue is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFiles {
    pub(crate) segment_bytes: u32,
    pub(crate) reserve_bytes: u64,
    /// How long finished recipients and what was said of them are kept.
    pub(crate) history: Duration,
}

/// How many clients at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    pub(crate) all: usize,
    pub(crate) per_source: usize,
    /// Default: half of all.
    pub(crate) per_network: Option<usize>,
    /// A session that is older ends between two mails.
    pub(crate) age_max: Duration,
    /// Octets of contents that are being received, by whatever way.
    pub(crate) memory: u64,
}

/// Clients that have said something within this time keep their places.
const PATIENCE: Duration = Duration::from_secs(5);

impl ConnectionLimits {
    /// The room for clients.
    pub(crate) fn room(&self) -> net::Room {
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
pub(crate) struct TlsFiles {
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) extra_roots: Vec<PathBuf>,
}

/// Where mail of local domains goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalStore {
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
pub(crate) struct Outgoing {
    pub(crate) enabled: bool,
    pub(crate) plan: Arc<Plan>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) max_connections: u32,
    pub(crate) max_connections_per_site: u32,
    /// Octets of contents that are read back to be sent.
    pub(crate) memory: u64,
    pub(crate) first_mx_only: bool,
    pub(crate) fail_on_5xx_greeting: bool,
    pub(crate) tls: TlsMode,
    pub(crate) published: Published,
    /// Certificate and key that are shown to servers that ask.
    pub(crate) client_identity: Option<(PathBuf, PathBuf)>,
    pub(crate) relay: Option<Relay>,
    pub(crate) failure_messages: bool,
    pub(crate) delay_notice_after: Option<Duration>,
    /// Whether content may be converted for a host though a DKIM signature breaks by it.
    pub(crate) convert_signed: Signatures,
    /// Whether lines of more than 998 octets are encoded.
    pub(crate) short_lines: bool,
    pub(crate) timeouts: Timeouts,
}

/// Which wishes of domains about TLS are obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) dane: bool,
    pub(crate) mta_sts: bool,
    /// The port of policy hosts.
    pub(crate) mta_sts_port: u16,
}

/// Reports on TLS to the domains that want them.
#[derive(Debug, Clone)]
pub(crate) struct TlsReportSettings {
    pub(crate) enabled: bool,
    pub(crate) organization: String,
    pub(crate) contact: String,
    pub(crate) from: Address,
    pub(crate) delay: Duration,
}

/// The relay's login and protection.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) tls: TlsMode,
    pub(crate) credentials: Option<Credentials>,
    /// The provider, where one is named.
    pub(crate) preset: Option<&'static Preset>,
    /// Where the password stands.
    pub(crate) password_file: Option<PathBuf>,
    /// How the token is got that the login is by.
    pub(crate) oauth: Option<Arc<oauth::OauthSettings>>,
}

/// What one rule for a destination may set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RuleKeys {
    pub(crate) via_smtp: Option<Target>,
    pub(crate) additional_resend_attempts: Option<u32>,
    pub(crate) resend_attempts: Option<u32>,
    pub(crate) resend_wait: Option<Duration>,
    pub(crate) plan: Option<Plan>,
    pub(crate) tls: Option<TlsMode>,
    pub(crate) max_connections: Option<u32>,
    pub(crate) max_message_rate: Option<Option<Rate>>,
    pub(crate) max_recipients: Option<u32>,
    /// The pool of addresses that mail leaves from.
    pub(crate) sources: Option<String>,
    /// Extensions of SMTP that are not used.
    pub(crate) ignore: Option<Vec<Extension>>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    pub(crate) detailed: bool,
    pub(crate) json: bool,
    /// `None`: standard output.
    pub(crate) file: Option<PathBuf>,
    pub(crate) rotate_bytes: u64,
    pub(crate) keep: u32,
}

impl Config {
    /// Reads a configuration file, and those that it includes.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
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
    pub(crate) fn parse(text: &str, path: &Path, base: &Path) -> Result<Self, ConfigError> {
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
    pub(crate) fn check_keys(&self) -> Result<(), ConfigError> {
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
