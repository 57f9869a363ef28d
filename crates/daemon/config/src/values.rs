//! Values that stand in several sections: choices, durations, sizes, networks.

use std::time::Duration;

use ipnet::IpNet;
use mail::parse_duration;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::{Quantity, Text};

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn choice<T: Copy>(
    text: &Text,
    place: &Place<'_>,
    key: &str,
    allowed: &[(&str, T)],
) -> Result<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    let found = allowed.iter().find(|(name, _)| name == text.get_ref());
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let names: Vec<String> = allowed
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let given = text.get_ref();
        place.key(
            text.span(),
            key,
            format!("`{given}` is not one of {}", names.join(", ")),
        )
    })
}

/// A length of time, a plain number in seconds; an empty text is as none.
pub(super) fn duration(text: &Quantity, place: &Place<'_>, key: &str) -> Result<Option<Duration>> {
    match text {
        Some(text) if !text.get_ref().as_str().is_empty() => {
            parse_duration(text.get_ref().as_str())
                .map(Some)
                .map_err(|e| place.key(text.span(), key, e))
        }
        Some(_) | None => Ok(None),
    }
}

/// A size, a plain number in octets.
pub(super) fn size(text: &Quantity, place: &Place<'_>, key: &str) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let given = text.get_ref().as_str().trim();
    let digits = given
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(given.len());
    let (number, unit) = given.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let value = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0);
    value.map(Some).ok_or_else(|| {
        let why = format!("`{given}` is not a size: write a number and a unit, such as \"50MB\"");
        place.key(text.span(), key, why)
    })
}

pub(super) fn networks(
    list: &[Spanned<String>],
    place: &Place<'_>,
    key: &str,
) -> Result<Vec<IpNet>> {
    let parse = |text: &Spanned<String>| {
        let given = text.get_ref();
        let single = || given.parse::<std::net::IpAddr>().map(IpNet::from);
        given.parse::<IpNet>().or_else(|_| single()).map_err(|_| {
            let why = format!("`{given}` is not a network: write \"192.0.2.0/24\" or an address");
            place.key(text.span(), key, why)
        })
    };
    list.iter().map(parse).collect()
}
