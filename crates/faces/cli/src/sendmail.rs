//! `sendoff sendmail`: mail of programs on this computer, by the command that they all know.
//!
//! It reads a mail (or, with `-bs`, talks SMTP), and drops it (`drops`); it works the same whether
//! the server runs or not, and needs neither its rights nor its configuration, which this user may
//! not be able to read: what depends on settings, such as the domain of a name alone, is done by
//! the server when it takes the drop. Exit codes are those of `sysexits.h`.

mod options;
mod smtp;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Config;
use config::elsewhere::Needs;
use drops::{self, Asked, DepositError, Drop, Sender, To, content};
use mail::{Address, Domain};
use ops::{Act, Ask, List, Order, Selection, Verb};

use options::{Mode, Options};

use crate::ask::{self, Shown};

/// Where the drop directory is unless something says otherwise.
const DROP_DIR: &str = "/var/lib/sendoff/drop";
/// The variable that names another.
const DROP_VARIABLE: &str = "SENDOFF_DROP";
/// Octets of a mail that are read at the most, so that an endless input comes to an end; what is
/// really taken is the server's setting.
const INPUT_MAX: u64 = 1 << 30;

/// A failure, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

/// Codes of `sysexits.h`.
mod code {
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATAERR: u8 = 65;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const OSERR: u8 = 71;
    pub(super) const CANTCREAT: u8 = 73;
    pub(super) const IOERR: u8 = 74;
    pub(super) const TEMPFAIL: u8 = 75;
    pub(super) const NOPERM: u8 = 77;
    pub(super) const CONFIG: u8 = 78;
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

impl From<DepositError> for Failure {
    fn from(error: DepositError) -> Self {
        let code = match &error {
            DepositError::Missing(_) => code::CANTCREAT,
            DepositError::Forbidden(_) => code::NOPERM,
            DepositError::Full(_) => code::TEMPFAIL,
            DepositError::Failed(..) => code::IOERR,
        };
        Self::new(code, error.to_string())
    }
}

/// What a program is called by makes it `sendmail`, `mailq` or `newaliases`; the arguments then,
/// as `sendmail` has them.
pub(crate) fn called_as() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os();
    let name = PathBuf::from(words.next()?);
    let first = match name.file_name()?.to_str()? {
        "sendmail" => None,
        "mailq" => Some("-bp"),
        "newaliases" => Some("-bi"),
        _ => return None,
    };
    Some(first.map(OsString::from).into_iter().chain(words).collect())
}

/// Runs it with these arguments; `config` is a configuration named outside of them.
pub(crate) fn run(arguments: Vec<OsString>, config: Option<&Path>) -> ExitCode {
    let words = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned());
    match Options::parse(words).and_then(|options| carry_out(&options, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let line = format!("sendmail: {}\n", mail::visible(&failure.text));
            // With standard error gone there is nobody to tell but by the code.
            drop(std::io::stderr().write_all(line.as_bytes()));
            ExitCode::from(failure.code)
        }
    }
}

fn carry_out(options: &Options, config: Option<&Path>) -> Result<(), Failure> {
    let named = options.config.as_deref().or(config);
    match options.mode {
        Mode::Deliver => deliver(options, &Settings::find(options, named)?),
        Mode::Smtp => smtp::converse(options, &Settings::find(options, named)?),
        Mode::Queue => queue(named),
        Mode::Retry => {
            let (verb, selection) = (Verb::Retry(None), Selection::All);
            ask(named, Act { verb, selection })
        }
        // There is no database of aliases to rebuild.
        Mode::Aliases => Ok(()),
    }
}

/// Shows the queue: to administrators all of it, to others what they have sent themselves.
fn queue(named: Option<&Path>) -> Result<(), Failure> {
    let request = List {
        selection: Selection::All,
        order: Order::Id,
        descending: false,
        limit: 10_000,
        offset: 0,
    };
    let path = named.map(Path::to_owned);
    let config = crate::load(path.as_ref(), Needs::Places).map(|(config, _)| config);
    let beside_drops = || Some(drop_dir_of_environment()?.parent()?.to_owned());
    let data_dir = match (&config, named) {
        (_, Some(_)) => None,
        (Ok(config), None) => beside_drops().or_else(|| Some(config.data_dir.clone())),
        // The configuration is nothing that every user may read.
        (Err(_), None) => beside_drops().or_else(|| Some(config::DATA_DIR.into())),
    };
    let all = ask(named, request);
    match (all, data_dir.map(|dir| ask::own_mail(&dir))) {
        (Err(_), Some(Ok(own))) => own
            .map_err(anyhow::Error::from)
            .and_then(|rows| ask::print_answer(&rows, false))
            .map_err(|error| Failure::new(code::UNAVAILABLE, format!("{error:#}"))),
        (all, _) => all,
    }
}

/// Asks the running server.
fn ask<A>(config: Option<&Path>, asked: A) -> Result<(), Failure>
where
    A: Ask,
    A::Answer: Shown,
{
    let path = config.map(Path::to_owned);
    let config = crate::load(path.as_ref(), Needs::Places)
        .map(|(config, _)| config)
        .map_err(|error| Failure::new(code::CONFIG, format!("{error:#}")))?;
    ask::show(&config, asked, false)
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("{error:#}")))
}

fn drop_dir_of_environment() -> Option<PathBuf> {
    std::env::var_os(DROP_VARIABLE).map(PathBuf::from)
}

/// What is known of the server's settings.
struct Settings {
    drop_dir: PathBuf,
    /// `None` where this user may not read the configuration, or where it is wrong: that does not
    /// keep mail from being dropped.
    config: Option<Config>,
}

impl Settings {
    fn find(options: &Options, named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.map(Path::to_owned);
        let config = match (
            crate::load(path.as_ref(), Needs::Places).map(|(config, _)| config),
            named,
        ) {
            (Ok(config), _) => Some(config),
            (Err(_), None) => None,
            (Err(error), Some(_)) => {
                return Err(Failure::new(code::CONFIG, format!("{error:#}")));
            }
        };
        let given = options.drop_dir.clone();
        let given = given.or_else(drop_dir_of_environment);
        let drop_dir = match (given, &config) {
            (Some(dir), _) => dir,
            // Programs write to the computer's server, not to one that a user tries out.
            (None, Some(config)) if config.path.is_none() => PathBuf::from(DROP_DIR),
            (None, Some(config)) => config.sendmail.drop_dir.clone().ok_or_else(|| {
                let why =
                    "the server does not accept mail by sendmail (sendmail.drop_dir is empty)";
                Failure::new(code::UNAVAILABLE, why)
            })?,
            (None, None) => PathBuf::from(DROP_DIR),
        };
        Ok(Self { drop_dir, config })
    }
}

fn deliver(options: &Options, settings: &Settings) -> Result<(), Failure> {
    let mut recipients = Vec::new();
    for given in &options.recipients {
        recipients.extend(content::addresses(given).map_err(|why| not_an_address(given, &why))?);
    }
    if recipients.is_empty() && !options.from_header {
        let why = "no recipients: name them, or take them from the header with -t";
        return Err(Failure::new(code::USAGE, why));
    }
    let mut input = Vec::new();
    let read = std::io::stdin()
        .lock()
        .take(INPUT_MAX)
        .read_to_end(&mut input);
    read.map_err(|error| Failure::new(code::IOERR, format!("reading the mail: {error}")))?;
    if input.len() as u64 == INPUT_MAX {
        return Err(Failure::new(code::DATAERR, "the mail is larger than 1 GiB"));
    }
    let text = content::lines(&input, options.dot_ends);
    if options.from_header {
        let named =
            content::recipients(&text).map_err(|(field, why)| not_an_address(&field, &why))?;
        recipients.extend(named);
        if recipients.is_empty() {
            let why = "no recipients in To, Cc and Bcc of the header";
            return Err(Failure::new(code::DATAERR, why));
        }
    }
    for recipient in &recipients {
        is_address(recipient).map_err(|why| not_an_address(recipient, &why))?;
    }
    let now = net::now();
    let to = |address| To {
        address,
        notify: options.notify.bits(),
        orcpt: None,
    };
    let drop = Drop {
        id: new_id()?,
        written: now.as_millis(),
        sender: options.sender()?,
        full_name: options
            .full_name
            .clone()
            .or_else(drops::full_name_of_caller),
        recipients: recipients.into_iter().map(to).collect(),
        return_full: options.return_full,
        env_id: options.env_id.clone(),
        asked: Asked::default(),
    };
    Ok(drops::deposit(
        &settings.drop_dir,
        &drop,
        &content::complete(&text, now),
    )?)
}

fn new_id() -> Result<String, Failure> {
    drops::new_id(net::now()).map_err(|error| Failure::new(code::OSERR, error.to_string()))
}

fn not_an_address(given: &str, why: &str) -> Failure {
    Failure::new(
        code::DATAERR,
        format!("`{given}` is not a recipient: {why}"),
    )
}

/// Whether the server will take this for an address, with or without a domain.
fn is_address(text: &str) -> Result<(), String> {
    let Err(error) = Address::parse(text) else {
        return Ok(());
    };
    let here = Domain::from_ip(std::net::Ipv4Addr::LOCALHOST.into());
    match Address::new(text, here) {
        Ok(_) => Ok(()),
        Err(_) => Err(error.to_string()),
    }
}

impl Options {
    /// The reverse-path.
    fn sender(&self) -> Result<Sender, Failure> {
        let Some(given) = &self.sender_given else {
            return Ok(Sender::Owner);
        };
        let of_list = content::addresses(given);
        let address = match of_list.as_deref() {
            Ok([]) => return Ok(Sender::Null),
            Ok([one]) if is_address(one).is_ok() => one.clone(),
            Ok(_) | Err(_) => {
                let why = format!("`{given}` is not a sender");
                return Err(Failure::new(code::DATAERR, why));
            }
        };
        Ok(Sender::Address(address))
    }
}
