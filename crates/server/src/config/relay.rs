//! `[outgoing.relay]`: how to talk to the relay, and the login there.

use std::path::Path;

use deliver::{Credentials, Mechanism, Secret, TlsMode};
use toml::Spanned;

use super::Relay;
use super::error::{ConfigError, Place};
use super::raw;
use super::sections::TLS;
use super::values::choice;

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn relay_settings(
    raw: &Spanned<raw::Relay>,
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
    let password = password(relay, place, base)?;
    let mechanisms = mechanisms(relay, place)?;
    let credentials = match (&relay.username, password) {
        (Some(username), Some(password)) => {
            if matches!(tls, TlsMode::None | TlsMode::Opportunistic) {
                let why = "a login is never sent in clear: set outgoing.relay.tls to \"verify\", \
                           \"implicit\" or \"require\"";
                return Err(place.key(username.span(), "outgoing.relay.username", why));
            }
            if tls == TlsMode::Require {
                warnings.push(
                    "outgoing.relay.tls = \"require\" sends the login to whoever answers: \"verify\" \
                     makes the relay prove its name"
                        .to_owned(),
                );
            }
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
                "a password without a username",
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
    })
}

fn password(relay: &raw::Relay, place: &Place<'_>, base: &Path) -> Result<Option<String>> {
    match (&relay.password, &relay.password_file) {
        (Some(_), Some(file)) => {
            let why = "password and password_file: give one of them";
            Err(place.key(file.span(), "outgoing.relay.password_file", why))
        }
        (Some(password), None) => Ok(Some(password.get_ref().clone())),
        (None, Some(file)) => {
            let path = base.join(file.get_ref());
            let text = std::fs::read_to_string(&path).map_err(|e| {
                let why = format!("{} cannot be read: {e}", path.display());
                place.key(file.span(), "outgoing.relay.password_file", why)
            })?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// The mechanisms that may be used: those named, or all.
fn mechanisms(relay: &raw::Relay, place: &Place<'_>) -> Result<Vec<Mechanism>> {
    let with_password = || Mechanism::ALL.into_iter().filter(|m| !m.takes_token());
    if relay.auth.is_empty() {
        return Ok(with_password().collect());
    }
    let parse = |text: &Spanned<String>| {
        let found = Mechanism::named(text.get_ref()).filter(|m| !m.takes_token());
        found.ok_or_else(|| {
            let names: Vec<&str> = with_password().map(Mechanism::name).collect();
            let why = format!(
                "`{}` is no mechanism that logs in by a password: there are {}",
                text.get_ref(),
                names.join(", ")
            );
            place.key(text.span(), "outgoing.relay.auth", why)
        })
    };
    relay.auth.iter().map(parse).collect()
}
