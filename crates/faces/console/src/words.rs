//! What serde says is wrong with JSON, in the words of JSON.

use base64::DecodeError;

/// Types of Rust, and what they are for those who write JSON.
const TYPES: [(&str, &str); 13] = [
    ("i8", "a whole number"),
    ("u8", "a whole number"),
    ("u16", "a whole number"),
    ("u32", "a whole number"),
    ("u64", "a whole number"),
    ("usize", "a whole number"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("an array", "a list"),
    ("string or map", "a string"),
];

/// An error about a value, without its place in the text: the field says where it is.
pub(crate) fn of_value(why: &str) -> String {
    let why = why.rsplit_once(" at line ").map_or(why, |(why, _)| why);
    let rest = why.strip_prefix("invalid type: ");
    let rest = rest.or_else(|| why.strip_prefix("invalid value: "));
    if let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!(
            "it must be {}, not {}",
            expected_type(expected),
            found_type(found)
        );
    }
    match why {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "it must be a whole number".to_owned()
        }
        "number too large to fit in target type" => "the number is too large".to_owned(),
        "provided string was not `true` or `false`" => "it must be true or false".to_owned(),
        _ => match why.strip_prefix("duplicate field ") {
            Some(name) => format!("{name} is given twice"),
            None => why.to_owned(),
        },
    }
}

fn expected_type(expected: &str) -> String {
    if expected.starts_with("struct ") {
        return "an object".to_owned();
    }
    let known = TYPES.iter().find(|(name, _)| *name == expected);
    known.map_or(expected, |(_, words)| words).to_owned()
}

fn found_type(found: &str) -> String {
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" | "Option value" => "null".to_owned(),
        _ => match found.split_once(' ') {
            Some(("string", text)) => format!("the string {text}"),
            Some(("boolean", value)) => value.to_owned(),
            Some(("integer", value)) => format!("the number {value}"),
            Some(("floating", value)) => {
                let value = value.strip_prefix("point ").unwrap_or(value);
                format!("the number {value}")
            }
            Some(_) | None => found.to_owned(),
        },
    }
}

/// The field that an error names, which its path does not reach: one that is missing, or there twice.
pub(crate) fn named(why: &str) -> Option<&str> {
    let rest = why.strip_prefix("missing field `");
    let rest = rest.or_else(|| why.strip_prefix("duplicate field `"));
    rest.and_then(|rest| rest.split('`').next())
}

/// What sets a field of the header that cannot be set by its name.
pub(crate) fn instead(lower: &str) -> String {
    match lower {
        "from" | "to" | "cc" | "bcc" | "subject" => format!("Use the JSON key `{lower}`."),
        "reply-to" => "Use the JSON key `reply_to`.".to_owned(),
        "return-path" => "Use the JSON key `envelope_from`.".to_owned(),
        "date" | "message-id" | "sender" => {
            "No JSON key sets it. Leave it out, or submit the message as message/rfc822 with a field of your own."
                .to_owned()
        }
        "mime-version" => "Leave it out: the server writes it.".to_owned(),
        _ if lower.starts_with("content-") => {
            "Leave it out: the server writes it from text, html and attachments.".to_owned()
        }
        _ => "Leave it out: only servers write this field.".to_owned(),
    }
}

/// Why octets in base64 cannot be read.
pub(crate) fn not_base64(why: DecodeError) -> String {
    match why {
        DecodeError::InvalidByte(at, b'-' | b'_') => {
            format!("it is base64url at octet {at}: write + and / instead of - and _")
        }
        DecodeError::InvalidByte(at, b'\r' | b'\n' | b' ') => {
            format!("there is a line break or space at octet {at}: write the base64 in one piece")
        }
        DecodeError::InvalidByte(at, b'=') => {
            format!("the base64 goes on after its end (=) at octet {at}")
        }
        DecodeError::InvalidByte(at, _) => {
            format!("the character at octet {at} is not one of base64 (A-Z a-z 0-9 + /)")
        }
        DecodeError::InvalidLength(_)
        | DecodeError::InvalidLastSymbol { .. }
        | DecodeError::InvalidPadding => {
            "the base64 is cut off, or its padding (=) is wrong".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_the_words_of_json() {
        for (why, words) in [
            (
                "invalid type: map, expected a string at line 1 column 77",
                "it must be a string, not an object",
            ),
            (
                "invalid type: string \"high\", expected i8 at line 1 column 3",
                "it must be a whole number, not the string \"high\"",
            ),
            (
                "invalid value: integer `300`, expected i8",
                "it must be a whole number, not the number `300`",
            ),
            (
                "invalid type: floating point `1.5`, expected u64",
                "it must be a whole number, not the number `1.5`",
            ),
            (
                "invalid type: integer `1`, expected a boolean",
                "it must be true or false, not the number `1`",
            ),
            (
                "duplicate field `to` at line 1 column 9",
                "`to` is given twice",
            ),
            ("missing field `from`", "missing field `from`"),
        ] {
            assert_eq!(of_value(why), words);
        }
    }
}
