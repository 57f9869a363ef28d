//! MTA-STS: a domain's policy, as pure values (RFC 8461). Fetching and keeping it is the shell's.

use std::time::Duration;

use mail::Domain;

/// The longest life of a policy (RFC 8461 §3.2).
const MAX_AGE: Duration = Duration::from_secs(31_557_600);
/// The most octets of a policy (RFC 8461 §3.3).
pub const STS_POLICY_MAX: usize = 64 * 1024;
/// The most patterns for mail hosts; no domain has as many hosts.
const MX_MAX: usize = 500;

/// How seriously a policy is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsMode {
    /// Mail goes to no host that does not meet it.
    Enforce,
    /// Failures are reported, and nothing else.
    Testing,
    /// There is no policy any more.
    None,
}

impl StsMode {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// How seriously it is meant.
    pub mode: StsMode,
    /// Names of its mail hosts, in lower case; `*.` stands for one label.
    pub mx: Vec<String>,
    /// How long it holds.
    pub max_age: Duration,
}

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseStsError {
    /// It is longer than [`STS_POLICY_MAX`].
    #[error("the policy has more than 64 KiB")]
    TooLong,
    /// The version is missing or another one.
    #[error("the policy does not begin with `version: STSv1`")]
    Version,
    /// A key is missing or cannot be read.
    #[error("the policy has no usable `{0}`")]
    Key(&'static str),
}

impl StsPolicy {
    /// Reads a policy (RFC 8461 §3.2). Unknown keys are passed over; of a key that is given twice the
    /// first counts, but for `mx`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &[u8]) -> Result<Self, ParseStsError> {
        if text.len() > STS_POLICY_MAX {
            return Err(ParseStsError::TooLong);
        }
        let text = String::from_utf8_lossy(text);
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let first = |key: &str| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        if first("version") != Some("STSv1") {
            return Err(ParseStsError::Version);
        }
        let mode = match first("mode") {
            Some("enforce") => StsMode::Enforce,
            Some("testing") => StsMode::Testing,
            Some("none") => StsMode::None,
            Some(_) | None => return Err(ParseStsError::Key("mode")),
        };
        let max_age = first("max_age").and_then(|v| v.parse().ok());
        let max_age = max_age.ok_or(ParseStsError::Key("max_age"))?;
        let mx: Vec<String> = pairs
            .iter()
            .filter(|(key, _)| *key == "mx")
            .filter_map(|(_, value)| pattern(value))
            .take(MX_MAX)
            .collect();
        if mx.is_empty() && mode != StsMode::None {
            return Err(ParseStsError::Key("mx"));
        }
        Ok(Self {
            mode,
            mx,
            max_age: Duration::from_secs(max_age).min(MAX_AGE),
        })
    }

    /// Whether it names this mail host (RFC 8461 §4.1).
    #[must_use]
    pub fn names(&self, host: &Domain) -> bool {
        let host = host.to_ascii().unwrap_or_else(|| host.clone());
        let host = host.as_str();
        self.mx
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                Some(rest) => host.split_once('.').is_some_and(|(_, tail)| tail == rest),
                None => pattern == host,
            })
    }
}

fn pattern(value: &str) -> Option<String> {
    let (star, name) = match value.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", value),
    };
    let name = Domain::parse(name.trim_end_matches('.')).ok()?;
    let name = name.to_ascii().filter(|n| n.literal().is_none())?;
    Some(format!("{star}{name}"))
}

/// The id in the TXT records of `_mta-sts.DOMAIN`; `None` where the domain has no policy, or where
/// there is more than one record (RFC 8461 §3.1).
#[must_use]
pub fn sts_id(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter(|t| is_record(t));
    let record = records.next()?;
    if records.next().is_some() {
        return None;
    }
    let id = record.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key.trim() == "id").then(|| value.trim())
    })?;
    let good = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    good.then(|| id.to_owned())
}

fn is_record(text: &str) -> bool {
    text.strip_prefix("v=STSv1")
        .is_some_and(|rest| rest.trim_start().starts_with(';') || rest.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n\
                        mx: *.example.net\r\nmax_age: 604800\r\n";

    #[test]
    fn a_policy_names_hosts_and_one_label_for_a_star() {
        let policy = StsPolicy::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(policy.mode, StsMode::Enforce);
        assert_eq!(policy.max_age, Duration::from_secs(604_800));
        for (host, named) in [
            ("mail.example.com", true),
            ("MAIL.example.com", true),
            ("mail2.example.com", false),
            ("a.example.net", true),
            ("a.b.example.net", false),
            ("example.net", false),
            ("evil-example.net", false),
        ] {
            assert_eq!(policy.names(&Domain::parse(host).unwrap()), named, "{host}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (from, to) in [
            ("version: STSv1", "version: STSv2"),
            ("mode: enforce", "mode: always"),
            ("max_age: 604800", "max_age: soon"),
            ("mx: mail.example.com\r\nmx: *.example.net\r\n", ""),
        ] {
            let text = GOOD.replace(from, to);
            assert!(StsPolicy::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(StsPolicy::parse(&[b'a'; STS_POLICY_MAX + 1]).is_err());
        let none = "version: STSv1\nmode: none\nmax_age: 99999999999\n";
        let none = StsPolicy::parse(none.as_bytes()).unwrap();
        assert_eq!((none.mode, none.max_age), (StsMode::None, MAX_AGE));
    }

    #[test]
    fn the_record_is_one_and_has_an_id() {
        let id = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&t| t.to_owned()).collect();
            sts_id(&texts)
        };
        assert_eq!(
            id(&["v=STSv1; id=20160831085700Z;"]).as_deref(),
            Some("20160831085700Z")
        );
        assert_eq!(id(&["other", "v=STSv1;id=1"]).as_deref(), Some("1"));
        assert_eq!(id(&["v=STSv1; id=1", "v=STSv1; id=2"]), None);
        assert_eq!(id(&["v=STSv10; id=1"]), None);
        assert_eq!(id(&["v=STSv1; id=no-good"]), None);
        assert_eq!(id(&["v=STSv1"]), None);
    }
}
