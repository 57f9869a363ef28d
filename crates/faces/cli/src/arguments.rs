//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::elsewhere::Needs;

use crate::check::CheckArgs;
use crate::{dkim, keys};

/// Sendoff sends mail: it accepts mail, stores it safely, and delivers it.
#[derive(Debug, Parser)]
#[command(name = "sendoff", version = version::VERSION, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 it failed, for the reason given; 2 the command line or \
                        the configuration is wrong; 3 the server cannot be reached."
)]
pub(super) struct Cli {
    /// The configuration file; without one, and with none at /etc/sendoff/sendoff.toml, the
    /// defaults.
    #[arg(long, global = true, env = "SENDOFF_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server until it is stopped.
    Serve,
    /// Run the real server in a simulated world on this computer, and watch what happens. Not in releases.
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Check the configuration, and report everything that is wrong, with file and line.
    ///
    /// Errors are what `serve` refuses; warnings are what will hurt. Exit code 2 where there are errors. With `--json`
    /// a list of objects: `severity` (`error`, `warning`, `note`), `file`, `line`, `key`, `message`, `remedy`.
    Check(CheckArgs),
    /// Make the running server read its configuration again.
    Reload,
    /// Look at, and change, what waits.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look at, pause and resume, where mail goes.
    #[command(subcommand)]
    Site(SiteCommand),
    /// Look at the addresses that mail leaves from.
    #[command(subcommand, alias = "sources")]
    Source(SourceCommand),
    /// Rules that hold new mail.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Explain where the mail for an address would go now, and why; nothing is sent.
    Explain {
        /// The address.
        address: String,
        /// Ask the mail host as well, up to RCPT.
        #[arg(long)]
        probe: bool,
    },
    /// Look up the mail hosts of a domain, with the server's own settings.
    Mx {
        /// The domain.
        domain: String,
    },
    /// Look at the DNS servers.
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Keys that mail is signed with (DKIM), and their records in DNS.
    #[command(subcommand)]
    Dkim(dkim::DkimCommand),
    /// Ask a mail server what it is and what it offers.
    WhatSmtp {
        /// HOST or HOST:PORT; port 25 unless given.
        host: String,
    },
    /// The server that mail is handed to in Relay Mode: known providers, and the login by a token (OAuth 2).
    #[command(subcommand)]
    Relay(super::relay::RelayCommand),
    /// Users who may log in to send.
    #[command(subcommand)]
    User(UserCommand),
    /// Keys for programs that use the server by HTTP.
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// The console: a link into it, its accounts, and who changed what.
    #[command(subcommand)]
    Console(super::console::ConsoleCommand),
    /// Print the OpenAPI document of the HTTP interface.
    Openapi,
    /// The log of the running server.
    #[command(subcommand)]
    Log(LogCommand),
    /// What is known of other servers' answers, and done about them.
    #[command(subcommand)]
    Replies(super::replies::RepliesCommand),
    /// Recipients that nothing is sent to any more.
    #[command(subcommand)]
    Suppression(super::suppression::SuppressionCommand),
    /// Programs that are told by HTTP what happened.
    #[command(subcommand)]
    Webhook(super::webhook::WebhookCommand),
    /// List events that are kept: what happened to each recipient, in order.
    Events(super::webhook::Events),
    /// Metrics of the running server.
    Stats,
    /// Whether the server runs and accepts mail: for containers and monitoring. Exit code 0 if so, 1 if mail would be
    /// refused, 3 if no server answers.
    Health,
    /// Copy the queue and what belongs to it into a new directory, while the server runs or not.
    Backup {
        /// The directory; it is created if it does not exist, and must be empty.
        directory: PathBuf,
    },
    /// Check a backup and restore its queue, if there is no queue yet; waiting mail is held until it is
    /// released.
    Restore(Restore),
    /// Write a man page for each command into a directory.
    Man {
        /// The directory; it is created if it does not exist.
        #[arg(required_unless_present = "markdown")]
        directory: Option<PathBuf>,
        /// Print everything as one page in Markdown instead.
        #[arg(long, conflicts_with = "directory")]
        markdown: bool,
    },
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Submit mail as programs do: the sendmail command, with its own options.
    #[command(disable_help_flag = true)]
    Sendmail {
        /// Options and recipients, as sendmail accepts them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

impl Command {
    /// What it needs of the configuration.
    pub(super) const fn needs(&self) -> Needs {
        match self {
            Self::Serve
            | Self::Mx { .. }
            | Self::Dns(_)
            | Self::Dkim(_)
            | Self::WhatSmtp { .. }
            | Self::Relay(_)
            | Self::Restore(_) => Needs::Everything,
            Self::Queue(_)
            | Self::Source(_)
            | Self::Site(_)
            | Self::Hold(_)
            | Self::Explain { .. }
            | Self::Console(_)
            | Self::Events(_)
            | Self::Stats
            | Self::Health => Needs::Server,
            #[cfg(feature = "demo")]
            Self::Demo(_) => Needs::Places,
            Self::User(_)
            | Self::Key(_)
            | Self::Log(_)
            | Self::Replies(_)
            | Self::Suppression(_)
            | Self::Webhook(_)
            | Self::Backup { .. }
            | Self::Check(_)
            | Self::Reload
            | Self::Openapi
            | Self::Man { .. }
            | Self::Completions { .. }
            | Self::Sendmail { .. } => Needs::Places,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The directory of the backup.
    pub(super) directory: PathBuf,
    /// Do not hold waiting mail: it is sent when the server starts, including mail that was delivered after
    /// the backup was made.
    #[arg(long)]
    pub(super) send: bool,
    /// Restore the undamaged part of a damaged backup.
    #[arg(long)]
    pub(super) damaged: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// List waiting recipients, and why they wait.
    List {
        #[command(flatten)]
        selected: Selected,
        /// Only mail that its submitter wants sent later, in the order of its time.
        #[arg(long, conflicts_with_all = ["ids", "all"])]
        future: bool,
        /// The order. Default: by id.
        #[arg(long, value_enum)]
        sort: Option<Sort>,
        /// The largest, or latest, first.
        #[arg(long)]
        reverse: bool,
        /// Maximum number of entries.
        #[arg(long, default_value_t = 1000)]
        limit: u64,
        /// How many entries to skip.
        #[arg(long, default_value_t = 0)]
        offset: u64,
        /// Only the number.
        #[arg(long)]
        count: bool,
    },
    /// Count waiting mail: domains by age, last answers, submitters.
    Summary {
        /// Maximum number of domains, answers and submitters each.
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
    /// Show one message with its recipients.
    Show {
        /// Its id.
        id: String,
    },
    /// Show everything that happened to one message, including the SMTP sessions.
    Trace {
        /// Its id.
        id: String,
    },
    /// Hold messages: they stay in the queue and are not tried.
    Hold(Change),
    /// Release held messages.
    Release(Change),
    /// Try messages now, or at a given time.
    Retry {
        #[command(flatten)]
        change: Change,
        /// When to try: after a duration such as 2h, or at a time such as 2026-01-31T08:00:00Z.
        #[arg(long, value_parser = later)]
        at: Option<u64>,
    },
    /// Send messages by another server than the rules say, now and from now on.
    Reroute {
        #[command(flatten)]
        change: Change,
        /// The server that takes them.
        // As a comment, the brackets would be a link.
        #[arg(
            long,
            required_unless_present = "by_rules",
            help = "The server: host, host:port, [address] or [address]:port"
        )]
        to: Option<String>,
        /// Undo a reroute: follow the rules again.
        #[arg(long, conflicts_with = "to")]
        by_rules: bool,
    },
    /// Give messages up, with a failure message to their senders.
    Fail(Change),
    /// Remove messages from the queue, without a failure message.
    Remove(Change),
    /// List finished recipients, the latest first.
    History(History),
    /// Print a message as it will be sent.
    Export {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Selected {
    /// Message ids, or id/number for one recipient.
    pub(super) ids: Vec<String>,
    /// A filter, such as 'domain:example.com age>1h'.
    #[arg(long, conflicts_with = "ids", allow_hyphen_values = true)]
    pub(super) filter: Option<String>,
    /// Everything.
    #[arg(long, conflicts_with_all = ["ids", "filter"])]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    #[command(flatten)]
    pub(super) selected: Selected,
    /// Do not ask.
    #[arg(long, short)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only with this outcome: delivered, failed or expired.
    #[arg(long)]
    pub(super) outcome: Option<String>,
    /// Only at this domain, or below it with a dot in front.
    #[arg(long)]
    pub(super) domain: Option<String>,
    /// Only from this sender.
    #[arg(long)]
    pub(super) sender: Option<String>,
    /// Only to this address.
    #[arg(long)]
    pub(super) recipient: Option<String>,
    /// Only of the message with this Message-ID.
    #[arg(long)]
    pub(super) message_id: Option<String>,
    /// Only what this user, key (key=NAME) or client submitted.
    #[arg(long)]
    pub(super) user: Option<String>,
    /// Only of messages with this tag; several: with all of them.
    #[arg(long = "tag")]
    pub(super) tags: Vec<String>,
    /// Only of messages with this metadata; several: with all of it.
    #[arg(long = "meta", value_name = "NAME=VALUE")]
    pub(super) metadata: Vec<String>,
    /// Only what finished since then: how long ago, such as 2h.
    #[arg(long, value_parser = mail::parse_duration)]
    pub(super) since: Option<std::time::Duration>,
    /// Maximum number of entries.
    #[arg(long, default_value_t = 100)]
    pub(super) limit: u64,
    /// How many entries to skip.
    #[arg(long, default_value_t = 0)]
    pub(super) offset: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Sort {
    Id,
    Due,
    Domain,
    Size,
    Attempts,
}

#[derive(Debug, Subcommand)]
pub(super) enum SiteCommand {
    /// List the sites: those with the most waiting recipients first, then by name.
    List,
    /// Show where a domain's mail goes at present, and how that stands.
    Show {
        /// The domain.
        domain: String,
    },
    /// Limit the mail for a domain, without a change of the configuration.
    Slow {
        /// The domain.
        domain: String,
        /// Messages in a time, such as 10/min.
        #[arg(long)]
        rate: Option<String>,
        /// Connections at once.
        #[arg(long)]
        connections: Option<u32>,
        /// Remove these limits; limits of the rules stay.
        #[arg(long, conflicts_with_all = ["rate", "connections"])]
        off: bool,
    },
    /// Stop sending to a domain; its mail waits.
    Pause {
        /// The domain.
        domain: String,
    },
    /// Send to a paused domain again.
    Resume {
        /// The domain.
        domain: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SourceCommand {
    /// List the source addresses, and which are out of service and why.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// List the rules.
    List,
    /// Hold new mail that a filter matches.
    Add {
        /// A name for the rule.
        name: String,
        /// The filter, such as 'from:newsletter@ domain:example.com'.
        filter: String,
    },
    /// Remove a rule; mail that it has held stays held.
    Remove {
        /// The rule's name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DnsCommand {
    /// List the DNS servers in the order in which they are asked.
    List,
    /// Test whether the DNS servers can be used to send mail.
    Test,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input.
    Add {
        /// The name.
        name: String,
        #[command(flatten)]
        hashed: Hashed,
        /// Change nothing if there is such a user already.
        #[arg(long)]
        if_missing: bool,
    },
    /// Print what the users' file keeps of a password, as lines for that file or as JSON; the password is asked for, or
    /// read from standard input. Changes nothing.
    Hash,
    /// List the users.
    List,
    /// Show or set the addresses that a user may send from.
    Senders {
        /// The name.
        name: String,
        /// Addresses, @domain for a domain's addresses, or * for all; none: show them.
        senders: Vec<String>,
        /// The domain in the user's name again, or this server's domains.
        #[arg(long, conflicts_with = "senders")]
        own: bool,
    },
    /// Set another password.
    Password {
        /// The name.
        name: String,
        #[command(flatten)]
        hashed: Hashed,
    },
    /// Remove a user.
    Remove {
        /// The name.
        name: String,
        /// Do not complain if there is no such user.
        #[arg(long)]
        if_exists: bool,
    },
}

/// What is kept of a password, instead of the password.
#[derive(Debug, Args)]
pub(super) struct Hashed {
    /// Instead of a password its Argon2 hash (`$argon2id$…`), from `sendoff user hash`.
    #[arg(long)]
    pub(super) hash: Option<String>,
    /// With --hash: the keys for SCRAM-SHA-256 (`SCRAM-SHA-256$…`), from `sendoff user hash`. Without them logins by
    /// SCRAM fail, which some clients prefer.
    #[arg(long, requires = "hash")]
    pub(super) scram: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Switch the detailed log on or off, without a restart.
    Detailed {
        /// on or off.
        #[arg(value_parser = ["on", "off"])]
        state: String,
        /// Only for this domain, sender or message id.
        #[arg(long)]
        only: Option<String>,
        /// Switch it off automatically after this time, such as 10m.
        #[arg(long = "for", value_parser = mail::parse_duration)]
        time: Option<std::time::Duration>,
    },
    /// Print the end of the log, then new lines as they come.
    Tail {
        /// Only lines with all of these words.
        words: Vec<String>,
        /// How many existing lines.
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        /// Exit after them, and do not wait for new lines.
        #[arg(long)]
        no_follow: bool,
    },
    /// Print the lines of the log that have all of these words, also from rotated files.
    Search {
        /// The words, such as a message id, an address, or an event like deferred.
        words: Vec<String>,
        /// Only since then: how long ago, such as 2h, or a time such as 2026-01-31T08:00:00Z.
        #[arg(long)]
        since: Option<String>,
        /// Maximum number of lines; the last ones are printed.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
}

/// A time to come: in so long, or then. Milliseconds since 1970.
fn later(text: &str) -> Result<u64, String> {
    let at = match (
        mail::parse_duration(text),
        mail::Timestamp::parse_rfc3339(text),
    ) {
        (Ok(time), _) => net::now() + time,
        (Err(_), Some(at)) => at,
        (Err(_), None) => {
            return Err("write a time such as 2h, or 2026-01-31T08:00:00Z".to_owned());
        }
    };
    Ok(at.as_millis())
}

/// The demonstration's options.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep running until Ctrl-C, so that you can send your own mail and try the other commands.
    #[arg(long)]
    pub keep: bool,
}
