//! `outgoing.relay.preset`: what is known of providers that mail is handed to, and what deserves a word about
//! them. The file is `rules/relays.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use deliver::{Secret, SenderRules};
use route::{Mode, RouteSettings};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Relay;
use super::error::{ConfigError, Place};
use super::raw::{self, OneOrMany, Text};
use super::relay::RawRelay;

const FILE: &str = include_str!("../rules/relays.toml");

/// By their names; a test reads the file.
static ALL: LazyLock<BTreeMap<String, Preset>> =
    LazyLock::new(|| toml::from_str(FILE).unwrap_or_default());

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// None: each customer has one of his own.
    pub host: Option<String>,
    /// The port to connect to.
    pub port: u16,
    /// The value for `tls`.
    pub tls: String,
    /// What a login is made with.
    pub login: Login,
    /// Which senders it takes.
    pub sender: Sender,
    /// Messages and recipients that it takes a day.
    pub messages: Option<u32>,
    /// Recipients that it takes a day.
    pub recipients: Option<u32>,
    /// Whose limits these are.
    pub(crate) account: Option<String>,
    /// What the name at the login is, where it is not the mail address.
    pub username: Option<String>,
    /// What else a customer must know.
    pub note: Option<String>,
}

/// What a login is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The account's password.
    Password,
    /// A password made for this use alone.
    AppPassword,
    /// A token made at the provider's console.
    Token,
    /// OAuth 2.
    Oauth,
}

impl Login {
    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::AppPassword => "app password",
            Self::Token => "token",
            Self::Oauth => "OAuth 2 only",
        }
    }
}

/// Which senders are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The login's own alone.
    MustMatch,
    /// Any, which the provider replaces by the login's.
    Replaced,
    /// Those that were verified with the provider.
    Verified,
}

impl Sender {
    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::MustMatch => "the login's own",
            Self::Replaced => "any, replaced by the login's",
            Self::Verified => "verified ones",
        }
    }
}

impl Preset {
    /// What it takes a day; empty: it is not known.
    pub fn limits(&self) -> String {
        let one = |n: Option<u32>, what: &str| n.map(|n| format!("{n} {what}"));
        let both = [
            one(self.messages, "messages"),
            one(self.recipients, "recipients"),
        ];
        let text = both.into_iter().flatten().collect::<Vec<_>>().join(", ");
        match &self.account {
            Some(account) => format!("{text} ({account})"),
            None => text,
        }
    }
}

/// All of them, in order.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Preset)> {
    ALL.iter().map(|(name, preset)| (name.as_str(), preset))
}

/// The preset that is named, if one is.
pub(super) fn named(
    relay: &RawRelay,
    place: &Place<'_>,
) -> Result<Option<&'static Preset>, ConfigError> {
    let Some(name) = &relay.preset else {
        return Ok(None);
    };
    let found = ALL.get(name.get_ref().as_str()).ok_or_else(|| {
        let names: Vec<&str> = all().map(|(name, _)| name).collect();
        let why = format!(
            "`{}` is not a known preset: use one of {}",
            name.get_ref(),
            names.join(", ")
        );
        place.key(name.span(), "outgoing.relay.preset", why)
    });
    found.map(Some)
}

/// Puts what the preset knows where nothing is given.
pub(super) fn fill(outgoing: &mut raw::Outgoing, place: &Place<'_>) -> Result<(), ConfigError> {
    let Some(relay) = outgoing.relay.as_mut().map(Spanned::get_mut) else {
        return Ok(());
    };
    let (Some(preset), Some(name)) = (named(relay, place)?, relay.preset.clone()) else {
        return Ok(());
    };
    let text = |value: &str| -> Text { Some(Spanned::new(name.span(), value.to_owned())) };
    match (relay.port, &relay.tls) {
        (None, None) => {
            relay.port = Some(preset.port);
            relay.tls = text(&preset.tls);
        }
        // TLS from the first octet has a port of its own, and the port says so.
        (Some(port), None) => relay.tls = text(if port == 465 { "implicit" } else { "verify" }),
        (_, Some(_)) => {}
    }
    if relay.host.is_none() {
        let host = preset.host.as_ref().ok_or_else(|| {
            let note = preset
                .note
                .as_deref()
                .unwrap_or("it differs from customer to customer");
            let why = format!("`{}` needs outgoing.relay.host: {note}", name.get_ref());
            place.key(name.span(), "outgoing.relay.preset", why)
        })?;
        relay.host = Some(Spanned::new(name.span(), OneOrMany::One(host.clone())));
    }
    Ok(())
}

/// What an administrator should know of the provider, with these settings.
pub(super) fn notes(
    routing: &RouteSettings,
    relay: Option<&Relay>,
    senders: &SenderRules,
    warnings: &mut Vec<String>,
) {
    let Some((relay, preset)) = relay.and_then(|r| Some((r, r.preset?))) else {
        return;
    };
    if !matches!(routing.mode, Mode::Relay(_)) {
        let note = "outgoing.relay.preset does nothing unless outgoing.mode = \"relay\"";
        return warnings.push(note.to_owned());
    }
    let by_password = relay
        .credentials
        .as_ref()
        .is_some_and(|c| matches!(c.secret, Secret::Password(_)));
    if let Some(note) = preset
        .note
        .as_ref()
        .filter(|_| by_password && preset.login != Login::Token)
    {
        warnings.push(format!(
            "the relay's login uses a password; note on its provider: {note}"
        ));
    }
    let uncovered: Vec<&str> = senders
        .names()
        .filter(|name| !senders.cover(name))
        .map(mail::Domain::as_str)
        .collect();
    if !uncovered.is_empty() && preset.sender != Sender::Replaced {
        let whom = match preset.sender {
            Sender::MustMatch => "only the addresses of the login",
            Sender::Verified | Sender::Replaced => "only verified addresses and domains",
        };
        warnings.push(format!(
            "the relay accepts {whom} as senders, but no [[sender]] rule covers all addresses at {}: their mail, \
             and reports of this server, may be refused",
            uncovered.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("x.toml"), Path::new("/"))
    }

    fn with(keys: &str) -> String {
        format!("hostname = \"host.lan\"\n[outgoing]\nmode = \"relay\"\n[outgoing.relay]\n{keys}")
    }

    #[test]
    fn the_file_is_read_and_each_preset_is_a_configuration() {
        let read: BTreeMap<String, Preset> = toml::from_str(FILE).unwrap();
        assert!(read.len() >= 23, "{}", read.len());
        for (name, preset) in all() {
            let host = match preset.host {
                Some(_) => String::new(),
                None => "host = \"mail.example\"\n".to_owned(),
            };
            let text = with(&format!("{host}preset = \"{name}\""));
            let config = parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            let Mode::Relay(targets) = &config.routing.mode else {
                panic!("{name}");
            };
            let target = targets.first().unwrap().to_string();
            assert!(
                target.ends_with(&preset.port.to_string()),
                "{name}: {target}"
            );
            let implicit = config.outgoing.relay.unwrap().tls == deliver::TlsMode::Implicit;
            assert_eq!(implicit, preset.port == 465, "{name}");
        }
    }

    #[test]
    fn a_key_that_is_given_wins() {
        for (keys, host, implicit) in [
            ("preset = \"gmail\"", "smtp.gmail.com:587", false),
            ("preset = \"gmail\"\nport = 465", "smtp.gmail.com:465", true),
            (
                "preset = \"gmail\"\ntls = \"implicit\"",
                "smtp.gmail.com:465",
                true,
            ),
            (
                "preset = \"yahoo\"\ntls = \"verify\"",
                "smtp.mail.yahoo.com:587",
                false,
            ),
            (
                "preset = \"gmail\"\nhost = \"other.example\"",
                "other.example:587",
                false,
            ),
        ] {
            let config = parse(&with(keys)).unwrap();
            let Mode::Relay(targets) = &config.routing.mode else {
                panic!("{keys}");
            };
            assert_eq!(targets.first().unwrap().to_string(), host, "{keys}");
            let tls = config.outgoing.relay.unwrap().tls;
            assert_eq!(tls == deliver::TlsMode::Implicit, implicit, "{keys}");
        }
        for (keys, why) in [
            (
                "preset = \"nobody\"",
                "is not a known preset: use one of brevo, fastmail",
            ),
            ("preset = \"ses\"", "needs outgoing.relay.host"),
        ] {
            let error = parse(&with(keys)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn check_says_whose_senders_are_refused_and_which_passwords_have_ended() {
        let login = "username = \"a@b.example\"\npassword = \"x\"\n";
        let covered = "[[sender]]\nmatch = \"@host.lan\"\nas = \"a@b.example\"\n";
        for (preset, rule, words) in [
            (
                "gmx",
                "",
                &["only the addresses of the login", "host.lan"][..],
            ),
            ("gmx", covered, &[]),
            ("postmark", "", &["only verified addresses"]),
            ("gmail", "", &["app password"]),
            ("microsoft365", covered, &["end of December 2026"]),
        ] {
            let config = parse(&with(&format!("preset = \"{preset}\"\n{login}{rule}"))).unwrap();
            let said = config.warnings.join("\n");
            for word in words {
                assert!(said.contains(word), "{preset}: {said}");
            }
            if words.is_empty() || preset == "gmail" {
                assert!(!said.contains("[[sender]]"), "{preset}: {said}");
            }
        }
    }

    #[test]
    fn a_sender_rule_needs_both_texts_and_names_the_wrong_one() {
        for (rule, why) in [
            ("match = \"@host.lan\"", "needs the keys match and as"),
            ("match = \"@\"\nas = \"a@b.example\"", "sender.match"),
            ("match = \"root\"\nas = \"b\"", "sender.as"),
        ] {
            let error = parse(&format!("[[sender]]\n{rule}"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
