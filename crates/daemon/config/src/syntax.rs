//! What the TOML reader finds wrong, in the words of the documentation: the whole key, what stands there, what is
//! needed, and what may have been meant.

use std::ops::Range;

use super::error::{ConfigError, Place};

/// Keys that stand above the first section.
const TOP: [&str; 5] = ["include", "hostname", "data_dir", "postmaster", "user"];
/// How alike a name must be to be proposed.
const ALIKE: f64 = 0.85;

/// The error, at its place; nothing else of the reader's is needed than its words and the span.
pub(super) fn error(place: &Place<'_>, words: &str, span: Option<Range<usize>>) -> ConfigError {
    let span = span.unwrap_or(0..0);
    let part = place.part(span.start);
    let before = part.text.get(..span.start - part.start).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    let rest = part.text.get(start..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default().trim();
    let message = words.replace('\n', " ");
    let is_header = line.starts_with('[');
    let section = match is_header {
        true => heading(line),
        false => before
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| line.starts_with('['))
            .map_or("", heading),
    };
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let full = match (is_header, key) {
        (false, Some(key)) if section.is_empty() => key.to_owned(),
        (false, Some(key)) => format!("{section}.{key}"),
        (true, _) | (false, None) => section.to_owned(),
    };
    let why = if message.contains("unknown field") {
        return place.unknown(span, &full, unknown(&message, section));
    } else if message.contains("duplicate key") {
        match is_header {
            true => "this section appears twice: write all its keys under one heading".to_owned(),
            false => "it is set twice".to_owned(),
        }
    } else if message.contains("invalid type: map, expected a sequence") {
        format!("there can be several of these: write [[{full}]]")
    } else if let Some((key, text)) = line.split_once('=').and_then(unquoted)
        && !message.starts_with("invalid type")
        && !message.starts_with("invalid value")
    {
        match is_secret(key) {
            true => format!("a text needs quotation marks: write {key} = \"…\""),
            false => format!("a text needs quotation marks: write {key} = \"{text}\""),
        }
    } else {
        kinds(&message, key.is_some_and(is_secret))
    };
    match full.is_empty() {
        true => place.wrong(span, why),
        false => place.key(span, &full, why),
    }
}

/// The key and the value of a line whose value is a text without quotation marks.
fn unquoted<'a>((key, value): (&'a str, &'a str)) -> Option<(&'a str, &'a str)> {
    let value = value.split(" #").next().unwrap_or_default().trim();
    let is_bare = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_text =
        is_bare && !["true", "false", "inf", "nan"].contains(&value) && !value.contains('"');
    is_text.then_some((key.trim(), value))
}

/// The name of a section in its heading.
fn heading(line: &str) -> &str {
    let name = line.trim_start_matches('[').split(']').next();
    name.unwrap_or_default().trim()
}

fn is_secret(key: &str) -> bool {
    ["password", "secret", "token", "key"]
        .iter()
        .any(|s| key.contains(s))
}

/// A value of another kind than is needed.
fn kinds(message: &str, is_secret: bool) -> String {
    let found = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = found.and_then(|found| found.split_once(", expected ")) else {
        return match message.split_once(", expected ") {
            // A password without quotation marks is no reason to show it.
            Some((_, expected)) if is_secret => hidden(expected),
            _ => message.to_owned(),
        };
    };
    if is_secret {
        return hidden(expected);
    }
    let found = match found.split_once(' ') {
        Some(("integer" | "boolean" | "string", value)) => value.trim_matches('`').to_owned(),
        Some(("floating", value)) => value
            .trim_start_matches("point ")
            .trim_matches('`')
            .to_owned(),
        _ if found == "map" => "a section".to_owned(),
        _ if found == "sequence" => "a list".to_owned(),
        _ => found.to_owned(),
    };
    format!("found {found}, but {} is needed", needed(expected))
}

fn hidden(expected: &str) -> String {
    format!(
        "its value (not shown) has the wrong type: {} is needed",
        needed(expected)
    )
}

fn needed(expected: &str) -> String {
    match expected {
        "a string" => {
            "a text in quotation marks".to_owned()
        }
        super::raw::quantity::EXPECTED => {
            "a number of seconds or octets from 0, or a text with a unit such as \"5m\" or \"50MB\",".to_owned()
        }
        "a boolean" => "true or false, without quotation marks,".to_owned(),
        "a sequence" => "a list [ … ]".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => {
            "a number from 0, without quotation marks,".to_owned()
        }
        other => other.to_owned(),
    }
}

/// A key that is not known: what may have been meant, and what is possible.
fn unknown(message: &str, section: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let given = names.next().unwrap_or_default();
    let possible: Vec<&str> = names.collect();
    if !section.is_empty() && TOP.contains(&given) {
        return format!(
            "unknown key `{given}` in [{section}]: it belongs above the first section of the file"
        );
    }
    let alike = possible
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), *name));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = match best {
        Some((alike, name)) if alike >= ALIKE => format!(" Did you mean `{name}`?"),
        Some(_) | None => String::new(),
    };
    let place = match section.is_empty() {
        true => String::new(),
        false => format!(" in [{section}]"),
    };
    let possible: Vec<String> = possible.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "unknown key `{given}`{place}.{meant} Possible: {}",
        possible.join(", ")
    )
}
