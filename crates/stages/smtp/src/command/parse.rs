//! Reading commands on the server's side (RFC 5321 §4.1, §4.5.3.1).
//!
//! What is not a command is an error that says what was expected and carries the reply to send. A
//! parameter is known only when its extension is offered. Source routes are read and ignored
//! (RFC 5321 §3.3); a space after the colon, which the RFC forbids and clients send, is taken.

use mail::{
    Address, BodyType, ByMode, EnhancedCode, Notify, ParseAddressError, Reply, Ret, Timestamp,
};

use super::{ByTime, Hold, MailParams, RcptParams};
use crate::extension::{Extension, Extensions};

/// Octets of an ENVID in xtext (RFC 3461 §4.4).
const ENVID_MAX: usize = 100;
/// Octets of an ORCPT in xtext (RFC 3461 §4.2).
const ORCPT_MAX: usize = 500;
/// Octets of the name after EHLO and HELO (RFC 5321 §4.5.3.1.2).
const HELO_NAME_MAX: usize = 255;
/// Octets of the text of a reply that repeats what a client sent (RFC 5321 §4.5.3.1.5).
const TEXT_MAX: usize = 400;

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// HELO and the client's name.
    Helo(String),
    /// EHLO and the client's name.
    Ehlo(String),
    /// MAIL.
    Mail(MailFrom),
    /// RCPT.
    Rcpt(RcptTo),
    /// DATA.
    Data,
    /// BDAT (RFC 3030 §2).
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// Whether it is the last.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954 §4).
    Auth {
        /// The mechanism in upper case.
        mechanism: String,
        /// The initial response in base 64; `=` is an empty one.
        initial: Option<String>,
    },
}

/// What MAIL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// `None` is the null reverse-path.
    pub reverse_path: Option<Address>,
    /// The parameters.
    pub params: MailParams,
}

/// Where RCPT wants mail to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// A mailbox.
    Address(Address),
    /// `<postmaster>` without a domain (RFC 5321 §4.5.1).
    Postmaster,
}

/// What RCPT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    /// The mailbox.
    pub forward_path: ForwardPath,
    /// The parameters.
    pub params: RcptParams,
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCommandError {
    /// No command begins like this.
    #[error("Command not recognized")]
    Unrecognized,
    /// The line opens a request of another protocol: a browser was tricked into sending it here.
    #[error("This is an SMTP server")]
    OtherProtocol,
    /// Control characters, or octets that are not UTF-8.
    #[error("Commands must be UTF-8 text without control characters")]
    NotText,
    /// The command is known, its form is not.
    #[error("Syntax: {expected}")]
    Syntax {
        /// The form that was expected.
        expected: &'static str,
    },
    /// The reverse-path is not an address.
    #[error("Sender address not valid: {0}")]
    ReversePath(#[source] ParseAddressError),
    /// The forward-path is not an address.
    #[error("Recipient address not valid: {0}")]
    ForwardPath(#[source] ParseAddressError),
    /// An address outside ASCII, and SMTPUTF8 was not asked for (RFC 6531 §3.5).
    #[error("An address with characters outside ASCII needs SMTPUTF8 in the MAIL command")]
    NeedsSmtpUtf8,
    /// A parameter that is not known, or whose extension is not offered.
    #[error("Parameter {0} is not supported")]
    UnknownParameter(String),
    /// A parameter given twice.
    #[error("Parameter {0} is given twice")]
    RepeatedParameter(String),
    /// A parameter whose value is not one.
    #[error("Parameter {name} must be {expected}")]
    ParameterValue {
        /// The parameter.
        name: &'static str,
        /// The values it takes.
        expected: &'static str,
    },
    /// BDAT without a size that can be read: what follows cannot be told from commands.
    #[error("Syntax: BDAT size [LAST]; closing the connection, because the chunk has no known end")]
    Chunk,
    /// BDAT, and CHUNKING is not offered.
    #[error("BDAT is not offered here; closing the connection, because a chunk may follow")]
    ChunkNotOffered,
}

impl ParseCommandError {
    /// The reply to send.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            Self::Unrecognized | Self::NotText => (500, EnhancedCode::new(5, 5, 2)),
            Self::OtherProtocol => (554, EnhancedCode::new(5, 5, 1)),
            Self::ChunkNotOffered => (502, EnhancedCode::new(5, 5, 1)),
            Self::Syntax { .. } | Self::ParameterValue { .. } | Self::RepeatedParameter(_) => {
                (501, EnhancedCode::new(5, 5, 4))
            }
            Self::Chunk => (501, EnhancedCode::new(5, 5, 4)),
            Self::ReversePath(_) => (553, EnhancedCode::new(5, 1, 7)),
            Self::ForwardPath(_) => (553, EnhancedCode::new(5, 1, 3)),
            Self::NeedsSmtpUtf8 => (553, EnhancedCode::new(5, 6, 7)),
            Self::UnknownParameter(_) => (555, EnhancedCode::new(5, 5, 4)),
        };
        // What the client sent is in some of these texts, and a reply line has 512 octets.
        Reply::new(code, Some(enhanced), plain(&self.to_string(), TEXT_MAX))
    }

    /// Whether the session cannot go on, because it is unknown what the next octets are.
    #[must_use]
    pub const fn ends_session(&self) -> bool {
        matches!(
            self,
            Self::OtherProtocol | Self::Chunk | Self::ChunkNotOffered
        )
    }
}

/// Text of a client in a reply of ours: ASCII, because not every client takes more, and cut.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let ascii = |c: char| if c.is_ascii() { c } else { '?' };
    text.chars().take(max).map(ascii).collect()
}

const MAIL_SYNTAX: &str = "MAIL FROM:<address> [parameters]";
const RCPT_SYNTAX: &str = "RCPT TO:<address> [parameters]";

impl Command {
    /// Reads one line, its CRLF taken off, from a client to whom `offered` was offered.
    ///
    /// # Errors
    /// When the line is not a command, or a command in a form that it does not have.
    pub fn parse(line: &[u8], offered: &Extensions) -> Result<Self, ParseCommandError> {
        let text = std::str::from_utf8(line).map_err(|_| ParseCommandError::NotText)?;
        if text.contains(|c: char| c.is_control() && c != '\t') {
            return Err(ParseCommandError::NotText);
        }
        let text = text.trim_ascii_end();
        let (verb, rest) = text
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((text, ""));
        let rest = rest.trim_ascii_start();
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => helo_name(rest, "HELO name").map(Self::Helo),
            "EHLO" => helo_name(rest, "EHLO name").map(Self::Ehlo),
            "MAIL" => mail(rest, offered).map(Self::Mail),
            "RCPT" => rcpt(rest, offered).map(Self::Rcpt),
            "DATA" => alone(rest, Self::Data, "DATA"),
            "BDAT" if offered.has(Extension::Chunking) => bdat(rest),
            "BDAT" => Err(ParseCommandError::ChunkNotOffered),
            "RSET" => alone(rest, Self::Rset, "RSET"),
            "QUIT" => alone(rest, Self::Quit, "QUIT"),
            "STARTTLS" => alone(rest, Self::StartTls, "STARTTLS"),
            "AUTH" => auth(rest),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            "EXPN" => Ok(Self::Expn),
            "HELP" => Ok(Self::Help),
            "GET" | "POST" | "PUT" | "CONNECT" | "OPTIONS" => Err(ParseCommandError::OtherProtocol),
            _ => Err(ParseCommandError::Unrecognized),
        }
    }
}

const fn syntax(expected: &'static str) -> ParseCommandError {
    ParseCommandError::Syntax { expected }
}

fn alone(
    rest: &str,
    command: Command,
    expected: &'static str,
) -> Result<Command, ParseCommandError> {
    match rest.is_empty() {
        true => Ok(command),
        false => Err(syntax(expected)),
    }
}

/// Clients introduce themselves with all kinds of names, so no more is asked than that it is one
/// word.
fn helo_name(rest: &str, expected: &'static str) -> Result<String, ParseCommandError> {
    let is_name = !rest.is_empty()
        && rest.len() <= HELO_NAME_MAX
        && !rest.contains(|c: char| c.is_ascii_whitespace());
    is_name
        .then(|| rest.to_owned())
        .ok_or_else(|| syntax(expected))
}

fn mail(rest: &str, offered: &Extensions) -> Result<MailFrom, ParseCommandError> {
    let (path, parameters) = path_behind("FROM:", rest).ok_or_else(|| syntax(MAIL_SYNTAX))?;
    let reverse_path = match path {
        "" => None,
        path => Some(Address::parse(path).map_err(ParseCommandError::ReversePath)?),
    };
    let params = mail_params(parameters, offered)?;
    if !params.smtputf8 && reverse_path.as_ref().is_some_and(|a| !a.is_ascii()) {
        return Err(ParseCommandError::NeedsSmtpUtf8);
    }
    Ok(MailFrom {
        reverse_path,
        params,
    })
}

fn rcpt(rest: &str, offered: &Extensions) -> Result<RcptTo, ParseCommandError> {
    let (path, parameters) = path_behind("TO:", rest).ok_or_else(|| syntax(RCPT_SYNTAX))?;
    let forward_path = if path.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Address(Address::parse(path).map_err(ParseCommandError::ForwardPath)?)
    };
    Ok(RcptTo {
        forward_path,
        params: rcpt_params(parameters, offered)?,
    })
}

/// The mailbox between the brackets after `keyword`, without a source route, and what follows.
fn path_behind<'a>(keyword: &str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let (found, rest) = rest.split_at_checked(keyword.len())?;
    if !found.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix('<') else {
        // Without brackets, as old devices and scripts write it. An address with a space in it needs them.
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (mailbox, rest) = rest.split_at(end);
        let is_mailbox = mailbox.contains('@') && !mailbox.contains(['<', '>', '"', '\\']);
        return is_mailbox.then_some((mailbox, rest));
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' => return !quoted,
            _ => {}
        }
        false
    })?;
    let (path, rest) = rest.split_at(end);
    let rest = rest.strip_prefix('>')?;
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let mailbox = match path.starts_with('@') {
        true => path.split_once(':')?.1,
        false => path,
    };
    Some((mailbox, rest))
}

/// The parameters as name in upper case and value, refused when one comes twice.
fn parameters(text: &str) -> Result<Vec<(String, Option<&str>)>, ParseCommandError> {
    let mut found: Vec<(String, Option<&str>)> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let name = name.to_ascii_uppercase();
        if found.iter().any(|(n, _)| *n == name) {
            return Err(ParseCommandError::RepeatedParameter(name));
        }
        found.push((name, value));
    }
    Ok(found)
}

fn mail_params(text: &str, offered: &Extensions) -> Result<MailParams, ParseCommandError> {
    let mut params = MailParams::default();
    for (name, value) in parameters(text)? {
        let given = value.unwrap_or_default();
        match name.as_str() {
            "SIZE" if offered.has(Extension::Size) => params.size = Some(size(given)?),
            "BODY" if offered.has(Extension::EightBitMime) => {
                params.body = Some(body(given, offered)?)
            }
            "SMTPUTF8" if offered.has(Extension::SmtpUtf8) && value.is_none() => {
                params.smtputf8 = true;
            }
            "RET" if offered.has(Extension::Dsn) => params.ret = Some(ret(given)?),
            "ENVID" if offered.has(Extension::Dsn) => {
                if !is_env_id(given) {
                    return Err(wrong("ENVID", "up to 100 characters of xtext"));
                }
                params.env_id = Some(given.to_owned());
            }
            "MT-PRIORITY" if offered.has(Extension::MtPriority) => {
                params.priority = Some(priority(given)?);
            }
            "REQUIRETLS" if offered.has(Extension::RequireTls) => {
                if value.is_some() {
                    return Err(wrong("REQUIRETLS", "without a value"));
                }
                params.require_tls = true;
            }
            "BY" if offered.has(Extension::DeliverBy) => params.deliver_by = Some(by_time(given)?),
            "HOLDFOR" | "HOLDUNTIL" if offered.has(Extension::FutureRelease) => {
                if params.hold.is_some() {
                    return Err(wrong("HOLDUNTIL", "used without HOLDFOR"));
                }
                params.hold = Some(hold(&name, given)?);
            }
            // Taken from everyone: a client that knows AUTH sends it whether or not it logged in.
            "AUTH" if is_xtext(given) => params.auth = Some(given.to_owned()),
            _ => return Err(ParseCommandError::UnknownParameter(name)),
        }
    }
    Ok(params)
}

fn rcpt_params(text: &str, offered: &Extensions) -> Result<RcptParams, ParseCommandError> {
    let mut params = RcptParams::default();
    for (name, value) in parameters(text)? {
        let given = value.unwrap_or_default();
        match name.as_str() {
            "NOTIFY" if offered.has(Extension::Dsn) => params.notify = notify(given)?,
            "ORCPT" if offered.has(Extension::Dsn) => {
                if !is_orcpt(given) {
                    return Err(wrong("ORCPT", "an address type, a semicolon and xtext"));
                }
                params.orcpt = Some(given.to_owned());
            }
            _ => return Err(ParseCommandError::UnknownParameter(name)),
        }
    }
    Ok(params)
}

const fn wrong(name: &'static str, expected: &'static str) -> ParseCommandError {
    ParseCommandError::ParameterValue { name, expected }
}

fn size(given: &str) -> Result<u64, ParseCommandError> {
    // RFC 1870 §3: up to 20 digits, more than 64 bits hold.
    let is_number = (1..=20).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return Err(wrong("SIZE", "a number of octets"));
    }
    Ok(given.parse().unwrap_or(u64::MAX))
}

fn body(given: &str, offered: &Extensions) -> Result<BodyType, ParseCommandError> {
    // What is not made of lines can only come in chunks (RFC 3030 §3).
    let binary = offered.has(Extension::BinaryMime) && offered.has(Extension::Chunking);
    match given.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        "BINARYMIME" if binary => Ok(BodyType::BinaryMime),
        "BINARYMIME" => Err(ParseCommandError::UnknownParameter(
            "BODY=BINARYMIME".into(),
        )),
        _ if binary => Err(wrong("BODY", "7BIT, 8BITMIME or BINARYMIME")),
        _ => Err(wrong("BODY", "7BIT or 8BITMIME")),
    }
}

fn ret(given: &str) -> Result<Ret, ParseCommandError> {
    match given.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(wrong("RET", "FULL or HDRS")),
    }
}

fn notify(given: &str) -> Result<Notify, ParseCommandError> {
    let expected = "NEVER, or a list of SUCCESS, FAILURE, DELAY";
    if given.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::NEVER);
    }
    given.split(',').try_fold(Notify::UNSET, |wishes, word| {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => Ok(wishes.with(Notify::SUCCESS)),
            "FAILURE" => Ok(wishes.with(Notify::FAILURE)),
            "DELAY" => Ok(wishes.with(Notify::DELAY)),
            _ => Err(wrong("NOTIFY", expected)),
        }
    })
}

/// RFC 6710 §4: a number from -9 to 9.
fn priority(given: &str) -> Result<i8, ParseCommandError> {
    let number = given.parse::<i8>().ok();
    number
        .filter(|n| (-9..=9).contains(n) && !given.starts_with('+'))
        .ok_or_else(|| wrong("MT-PRIORITY", "a number from -9 to 9"))
}

/// RFC 2852 §4: seconds of up to nine digits, a semicolon, R or N, perhaps T.
fn by_time(given: &str) -> Result<ByTime, ParseCommandError> {
    let expected = "seconds, a semicolon, R (with more than 0 seconds) or N, and optionally T";
    let parsed = given.split_once(';').and_then(|(seconds, mode)| {
        let digits = seconds.trim_start_matches(['+', '-']);
        let is_number = (1..=9).contains(&digits.len())
            && seconds.len() - digits.len() <= 1
            && digits.bytes().all(|b| b.is_ascii_digit());
        let seconds = seconds.parse::<i64>().ok().filter(|_| is_number)?;
        let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
            "R" => (ByMode::Return, false),
            "RT" => (ByMode::Return, true),
            "N" => (ByMode::Notify, false),
            "NT" => (ByMode::Notify, true),
            _ => return None,
        };
        (mode == ByMode::Notify || seconds > 0).then_some(ByTime {
            seconds,
            mode,
            trace,
        })
    });
    parsed.ok_or_else(|| wrong("BY", expected))
}

/// RFC 4865 §4: seconds of up to nine digits, or a time of RFC 3339.
fn hold(name: &str, given: &str) -> Result<Hold, ParseCommandError> {
    if name == "HOLDFOR" {
        let is_number = (1..=9).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_digit());
        let seconds = given.parse().ok().filter(|_| is_number);
        return seconds
            .map(Hold::For)
            .ok_or_else(|| wrong("HOLDFOR", "a number of seconds"));
    }
    Timestamp::parse_rfc3339(given)
        .map(Hold::Until)
        .ok_or_else(|| wrong("HOLDUNTIL", "a time such as 2026-01-31T08:00:00Z"))
}

fn bdat(rest: &str) -> Result<Command, ParseCommandError> {
    let mut words = rest.split_ascii_whitespace();
    let size = words
        .next()
        .filter(|w| w.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|w| w.parse::<u64>().ok())
        .ok_or(ParseCommandError::Chunk)?;
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        (Some(_), _) => return Err(ParseCommandError::Chunk),
    };
    Ok(Command::Bdat { size, last })
}

fn auth(rest: &str) -> Result<Command, ParseCommandError> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next();
    let initial = words.next().map(str::to_owned);
    match (mechanism, words.next()) {
        (Some(mechanism), None) => Ok(Command::Auth {
            mechanism: mechanism.to_ascii_uppercase(),
            initial,
        }),
        _ => Err(syntax("AUTH mechanism [initial-response]")),
    }
}

fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
}

/// RFC 3461 §4: printable characters, where `+` opens two hexadecimal digits in upper case; `=`
/// stands in real use and does no harm. RFC 6533 §3 adds UTF-8.
/// Whether this may stand as ENVID: up to 100 characters of xtext (RFC 3461 §4.4).
#[must_use]
pub fn is_env_id(text: &str) -> bool {
    is_xtext(text) && text.len() <= ENVID_MAX
}

/// Whether this may stand as ORCPT: an address type and an address in xtext, up to 500 characters (RFC 3461 §4.2).
#[must_use]
pub fn is_orcpt(text: &str) -> bool {
    let is_address = text
        .split_once(';')
        .is_some_and(|(kind, address)| is_atom(kind) && is_xtext(address) && !address.is_empty());
    is_address && text.len() <= ORCPT_MAX
}

fn is_xtext(text: &str) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '+' {
            let mut hex = || {
                rest.next()
                    .is_some_and(|c| matches!(c, '0'..='9' | 'A'..='F'))
            };
            if !(hex() && hex()) {
                return false;
            }
        } else if c.is_control() || c.is_whitespace() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
