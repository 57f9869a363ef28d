//! `[[dkim]]`: keys to sign with, read from their files.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mail::{Domain, Timestamp};
use sign::{Algorithm, Canonicalization, Fields, Keyring, PrivateKey, Selector, Signer};
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{self, Quantity, Text};
use super::values::{choice, duration};

type Result<T> = std::result::Result<T, ConfigError>;

/// The largest file that is read as a key, in octets.
const KEY_FILE_MAX: u64 = 64 * 1024;
/// A mail may wait so long on its way; a signature that ends before fails then.
const USUAL_WAIT: Duration = Duration::from_secs(7 * 86_400);

/// All keys, and why those that cannot be used are not among them; what deserves a word goes to
/// `warnings`.
pub(super) fn keyring(
    list: &[Spanned<raw::Dkim>],
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<(Keyring, Vec<ConfigError>)> {
    let mut signers: Vec<Arc<Signer>> = Vec::with_capacity(list.len());
    let mut unusable = Vec::new();
    for entry in list {
        let signer = match signer(entry, place, base, warnings)? {
            Ok(signer) => signer,
            Err(why) => {
                unusable.push(why);
                continue;
            }
        };
        if signers.iter().any(|s| s.name() == signer.name()) {
            let why = format!("the key {} appears here twice", signer.name());
            return Err(place.key(entry.span(), "dkim.selector", why));
        }
        signers.push(Arc::new(signer));
    }
    for signer in &signers {
        let is_rsa = |s: &Arc<Signer>| {
            s.domain == signer.domain && s.key.algorithm() == Algorithm::RsaSha256
        };
        let why = format!(
            "{} has only Ed25519 keys (dkim), which many verifiers do not support: for them its mail is unsigned; \
             add an RSA key",
            signer.domain
        );
        if !signers.iter().any(is_rsa) && !warnings.contains(&why) {
            warnings.push(why);
        }
    }
    let keyring = Keyring::new(signers);
    if !keyring.is_empty() {
        let gaps = keyring.gaps(net::now());
        warnings.extend(
            gaps.iter()
                .map(|gap| format!("{gap} (dkim.from, dkim.until)")),
        );
    }
    Ok((keyring, unusable))
}

/// A key; within, why its file cannot be used.
fn signer(
    entry: &Spanned<raw::Dkim>,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<std::result::Result<Signer, ConfigError>> {
    let raw = entry.get_ref();
    let missing = |key: &str| {
        let why = "a [[dkim]] key needs domain, selector and key_file (`sendoff dkim generate`)";
        place.key(entry.span(), key, why)
    };
    let domain = raw.domain.as_ref().ok_or_else(|| missing("dkim.domain"))?;
    let name = Domain::parse(domain.get_ref()).ok();
    let name = name
        .filter(|d| d.literal().is_none())
        .and_then(|d| d.to_ascii());
    let name = name.ok_or_else(|| {
        let why = format!("`{}` is not a domain name", domain.get_ref());
        place.key(domain.span(), "dkim.domain", why)
    })?;
    let selector = raw
        .selector
        .as_ref()
        .ok_or_else(|| missing("dkim.selector"))?;
    let file = raw
        .key_file
        .as_ref()
        .ok_or_else(|| missing("dkim.key_file"))?;
    let (header, body) = canonicalization(&raw.canonicalization, place)?;
    let from = time(&raw.from, place, "dkim.from")?;
    let until = time(&raw.until, place, "dkim.until")?;
    if let (Some(from), Some(until), Some(text)) = (from, until, &raw.until)
        && until <= from
    {
        let why = "it is not later than `from`, so the key never signs";
        return Err(place.key(text.span(), "dkim.until", why));
    }
    let selector = selector
        .get_ref()
        .parse::<Selector>()
        .map_err(|e| place.key(selector.span(), "dkim.selector", e))?;
    let fields = Fields::new(raw.sealed_fields.clone(), raw.covered_fields.clone())
        .map_err(|e| place.key(entry.span(), "dkim.sealed_fields", e))?;
    let lifetime = lifetime(&raw.lifetime, place, warnings)?;
    let key = key(&base.join(file.get_ref()), warnings);
    let key = key.map_err(|e| place.key(file.span(), "dkim.key_file", e));
    Ok(key.map(|key| Signer {
        domain: name,
        selector,
        key,
        header,
        body,
        fields,
        lifetime,
        subdomains: raw.subdomains,
        from,
        until,
    }))
}

/// Why a file is no key to sign with.
#[derive(Debug, thiserror::Error)]
enum UnusableKey {
    #[error(
        "{path} cannot be read: {1}; it must exist, and be readable by the user that the server runs as",
        path = .0.display()
    )]
    Unread(PathBuf, std::io::Error),
    #[error("{path}: {1}", path = .0.display())]
    Wrong(PathBuf, sign::KeyError),
}

fn key(path: &PathBuf, warnings: &mut Vec<String>) -> std::result::Result<PrivateKey, UnusableKey> {
    let name = path.display();
    let unread = |why| UnusableKey::Unread(path.clone(), why);
    let file = std::fs::File::open(path).map_err(unread)?;
    let mode = file.metadata().map_err(unread)?.mode();
    let mut text = String::new();
    file.take(KEY_FILE_MAX)
        .read_to_string(&mut text)
        .map_err(unread)?;
    if mode & 0o007 != 0 {
        warnings.push(format!(
            "every user of this computer can read the key {name}: chmod 600 {name}"
        ));
    }
    PrivateKey::from_pem(&text).map_err(|why| UnusableKey::Wrong(path.clone(), why))
}

fn canonicalization(
    text: &Text,
    place: &Place<'_>,
) -> Result<(Canonicalization, Canonicalization)> {
    use Canonicalization::{Relaxed, Simple};
    let all = [
        ("relaxed/relaxed", (Relaxed, Relaxed)),
        ("relaxed/simple", (Relaxed, Simple)),
        ("simple/relaxed", (Simple, Relaxed)),
        ("simple/simple", (Simple, Simple)),
    ];
    let found = choice(text, place, "dkim.canonicalization", &all)?;
    Ok(found.unwrap_or_default())
}

fn lifetime(
    text: &Quantity,
    place: &Place<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Duration>> {
    let found = duration(text, place, "dkim.lifetime")?;
    if found.is_some_and(|lifetime| lifetime < USUAL_WAIT) {
        let why = "dkim.lifetime is below 7d: a message that waits longer arrives with an expired signature";
        if !warnings.iter().any(|w| w == why) {
            warnings.push(why.to_owned());
        }
    }
    Ok(found)
}

/// A time, or a date, which begins at midnight UTC.
fn time(text: &Text, place: &Place<'_>, key: &str) -> Result<Option<Timestamp>> {
    let Some(text) = text.as_ref().filter(|t| !t.get_ref().is_empty()) else {
        return Ok(None);
    };
    let given = text.get_ref();
    let found = Timestamp::parse_rfc3339(given)
        .or_else(|| Timestamp::parse_rfc3339(&format!("{given}T00:00:00Z")));
    found.map(Some).ok_or_else(|| {
        let why = format!(
            "`{given}` is not a time: write a date such as \"2026-01-31\", or \"2026-01-31T08:00:00Z\""
        );
        place.key(text.span(), key, why)
    })
}
