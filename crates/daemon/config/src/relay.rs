//! `[outgoing.relay]`: how to talk to the relay, and the login there.

use std::path::Path;
use std::sync::Arc;

use deliver::{Credentials, Mechanism, Secret, TlsMode};
use serde::Deserialize;
use toml::Spanned;

use super::Relay;
use super::error::{ConfigError, Place};
use super::oauth::{self, RawOauth};
use super::raw::{OneOrMany, Text};
use super::sections::TLS;
use super::values::choice;

type Result<T> = std::result::Result<T, ConfigError>;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRelay {
    /// A provider by its name (`sendoff relay presets`): it sets `host`, `port` and `tls`, unless they are
    /// given. Default: none.
    pub(crate) preset: Text,
    /// The server, or several in the order of preference.
    pub(crate) host: Option<Spanned<OneOrMany>>,
    /// Its port. Default: 587, or 465 with `tls = "implicit"`.
    pub(crate) port: Option<u16>,
    /// `none`, `opportunistic`, `require`, `verify` or `implicit`. Default: `verify`.
    pub(crate) tls: Text,
    /// Log in with this name; never unencrypted.
    pub(crate) username: Text,
    /// The password.
    pub(crate) password: Text,
    /// A file that contains the password.
    pub(crate) password_file: Text,
    /// Mechanisms that may be used; the strongest one that the server offers is used. Default: all that
    /// Sendoff supports.
    pub(crate) auth: Vec<Spanned<String>>,
    /// Log in by a token instead of a password (OAuth 2): see docs/oauth.md.
    pub(crate) oauth: Option<Spanned<RawOauth>>,
}

pub(super) fn relay_settings(
    raw: &Spanned<RawRelay>,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<Relay> {
    let relay = raw.get_ref();
    let modes: Vec<(&str, TlsMode)> = TLS
        .into_iter()
        .chain([("implicit", TlsMode::Implicit)])
        .collect();
    let tls = choice(&relay.tls, place, "outgoing.relay.tls", &modes)?.unwrap_or(TlsMode::Verify);
    if let Some(given) = &relay.oauth {
        return by_token(relay, given, tls, place, base, warnings);
    }
    let password = password(relay, place, base)?;
    let mechanisms = mechanisms(relay, false, place)?;
    let credentials = match (&relay.username, password) {
        (Some(username), Some(password)) => {
            protected(tls, warnings)
                .map_err(|why| place.key(username.span(), "outgoing.relay.username", why))?;
            Some(Credentials {
                username: username.get_ref().clone(),
                secret: Secret::Password(password),
                mechanisms,
            })
        }
        (Some(username), None) => {
            let why = "the password is missing: give password or password_file";
            return Err(place.key(username.span(), "outgoing.relay.username", why));
        }
        (None, Some(_)) => {
            return Err(place.key(
                raw.span(),
                "outgoing.relay",
                "a password is set, but no username",
            ));
        }
        (None, None) => None,
    };
    let password_file = relay.password_file.as_ref();
    Ok(Relay {
        preset: super::presets::named(relay, place)?,
        tls,
        credentials,
        password_file: password_file.map(|file| base.join(file.get_ref())),
        oauth: None,
    })
}

/// A login by a token, which is got when a session begins: here it is empty.
fn by_token(
    relay: &RawRelay,
    given: &Spanned<RawOauth>,
    tls: TlsMode,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<Relay> {
    let key = "outgoing.relay.oauth";
    if let Some(text) = relay.password.as_ref().or(relay.password_file.as_ref()) {
        return Err(place.key(
            text.span(),
            key,
            "both a password and a token are set: give one of them",
        ));
    }
    protected(tls, warnings).map_err(|why| place.key(given.span(), key, why))?;
    let oauth = oauth::settings(given, relay.username.as_ref(), place, base, warnings)?;
    Ok(Relay {
        tls,
        credentials: Some(Credentials {
            username: oauth.user.clone(),
            secret: Secret::Token(String::new()),
            mechanisms: mechanisms(relay, true, place)?,
        }),
        password_file: oauth.secret_file.clone(),
        oauth: Some(Arc::new(oauth)),
        preset: super::presets::named(relay, place)?,
    })
}

/// A login is sent inside TLS only; why not, otherwise.
fn protected(tls: TlsMode, warnings: &mut Vec<String>) -> std::result::Result<(), &'static str> {
    if matches!(tls, TlsMode::None | TlsMode::Opportunistic) {
        return Err(
            "a login is never sent unencrypted: set outgoing.relay.tls to \"verify\", \"implicit\" or \"require\"",
        );
    }
    if tls == TlsMode::Require {
        warnings.push(
            "outgoing.relay.tls = \"require\" does not verify the relay's name, so the login may go to another \
             server: use \"verify\""
                .to_owned(),
        );
    }
    Ok(())
}

fn password(relay: &RawRelay, place: &Place<'_>, base: &Path) -> Result<Option<String>> {
    match (&relay.password, &relay.password_file) {
        (Some(_), Some(file)) => {
            let why = "both password and password_file are set: give one of them";
            Err(place.key(file.span(), "outgoing.relay.password_file", why))
        }
        (Some(password), None) => Ok(Some(password.get_ref().clone())),
        (None, Some(file)) => {
            let path = base.join(file.get_ref());
            let text = std::fs::read_to_string(&path).map_err(|e| {
                let why = format!("{} cannot be read: {e}", path.display());
                place.key(file.span(), "outgoing.relay.password_file", why)
            })?;
            let password = text.trim_end_matches(['\r', '\n']);
            if password.is_empty() {
                let why = format!(
                    "there is no password in {}: write it into the file",
                    path.display()
                );
                return Err(place.key(file.span(), "outgoing.relay.password_file", why));
            }
            Ok(Some(password.to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// The mechanisms that may be used, of those that take a token or do not: those named, or all.
fn mechanisms(relay: &RawRelay, by_token: bool, place: &Place<'_>) -> Result<Vec<Mechanism>> {
    let fitting = || {
        let all = Mechanism::ALL.into_iter();
        all.filter(move |m| m.takes_token() == by_token)
    };
    if relay.auth.is_empty() {
        return Ok(fitting().collect());
    }
    let parse = |text: &Spanned<String>| {
        let found = Mechanism::named(text.get_ref()).filter(|m| m.takes_token() == by_token);
        found.ok_or_else(|| {
            let names: Vec<&str> = fitting().map(Mechanism::name).collect();
            let why = format!(
                "`{}` is not a mechanism for a login by {}: use {}",
                text.get_ref(),
                if by_token { "token" } else { "password" },
                names.join(", ")
            );
            place.key(text.span(), "outgoing.relay.auth", why)
        })
    };
    relay.auth.iter().map(parse).collect()
}
