//! Values from outside: variables of the environment (`${NAME}`) and credentials of the service manager
//! (`credential:NAME`).
//!
//! Only texts are filled in, after the file was read as TOML: a variable adds no key, and what it holds is not read again.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::texts::whole;

/// What stands before the name of a credential.
const CREDENTIAL: &str = "credential:";
/// The variable by which systemd says where credentials are (`systemd.exec(5)`, "Credentials").
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Where systemd keeps those of the package's unit, for commands that are not started by it.
const USUAL_DIRECTORY: &str = "/run/credentials/sendoff.service";
/// Keys that name a file which is read, besides those that end in `_file`.
const FILES: [&str; 8] = [
    "tls.certificate",
    "tls.private_key",
    "tls.extra_roots",
    "outgoing.client_certificate",
    "outgoing.client_key",
    "dns.trust_anchor",
    "users.file",
    "console.keys",
];

/// The value of a variable, if it is set and is a text.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Fills texts in. What cannot be had stays as it is, and is an error.
pub(super) fn fill(
    table: &mut DeTable<'_>,
    place: &Place<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<ConfigError> {
    let mut filling = Filling {
        place,
        variable,
        errors: Vec::new(),
    };
    filling.table(table, "");
    filling.errors
}

struct Filling<'a> {
    place: &'a Place<'a>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
}

impl Filling<'_> {
    fn table(&mut self, table: &mut DeTable<'_>, section: &str) {
        for (key, value) in table.iter_mut() {
            let name = whole(section, key.get_ref());
            // Included before.
            if name != super::include::KEY {
                self.value(value, &name);
            }
        }
    }

    fn list(&mut self, list: &mut DeArray<'_>, key: &str) {
        list.iter_mut().for_each(|value| self.value(value, key));
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, key: &str) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, key),
            DeValue::Array(list) => self.list(list, key),
            DeValue::String(text) => match self.text(text, key) {
                Ok(Some(filled)) => *text = filled.into(),
                Ok(None) => {}
                Err(Wrong::Unset(name)) => self.errors.push(self.place.unset(span, key, &name)),
                Err(Wrong::Said(why)) => self.errors.push(self.place.key(span, key, why)),
            },
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    /// A text with what its variables hold; nothing where it stays as it is.
    fn text(&self, text: &str, key: &str) -> Result<Option<String>, Wrong> {
        if let Some(name) = text.strip_prefix(CREDENTIAL)
            && (FILES.contains(&key) || key.ends_with("_file"))
        {
            return self.credential(name).map(Some);
        }
        if !text.contains("${") {
            return Ok(None);
        }
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = after;
                continue;
            }
            filled.push_str(before);
            let (name, after) = after.split_once('}').ok_or_else(unended)?;
            if !is_name(name) {
                return Err(Wrong::Said(format!(
                    "`${{{name}}}` is not the name of an environment variable: write ${{NAME}}, or $${{ for the \
                     characters ${{"
                )));
            }
            let value = (self.variable)(name).ok_or_else(|| Wrong::Unset(name.to_owned()))?;
            filled.push_str(&value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(Some(filled))
    }

    /// The file of a credential.
    fn credential(&self, name: &str) -> Result<String, Wrong> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Wrong::Said(format!(
                "`{name}` is not a credential's name: write credential: and the name in LoadCredential="
            )));
        }
        let directory = (self.variable)(DIRECTORY);
        let directory = directory.unwrap_or_else(|| USUAL_DIRECTORY.to_owned());
        let path = Path::new(&directory).join(name);
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Why a text cannot be filled in.
enum Wrong {
    /// A variable is not set.
    Unset(String),
    Said(String),
}

fn unended() -> Wrong {
    Wrong::Said("`${` without `}`: write ${NAME}, or $${ for the characters ${".to_owned())
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, and what is wrong.
    fn filled(text: &str) -> (String, Vec<String>) {
        let place = Place::of(Path::new("c.toml"), text);
        let mut table = DeTable::parse(text).unwrap();
        let variable = |name: &str| match name {
            "NAME" => Some("mail.example".to_owned()),
            "ODD" => Some("\"${NAME}\"\n".to_owned()),
            DIRECTORY => Some("/run/c".to_owned()),
            _ => None,
        };
        let errors = fill(table.get_mut(), &place, &variable);
        let filled = toml::Value::from_table(table.get_ref());
        let errors = errors.iter().map(ToString::to_string).collect();
        (toml::to_string(&filled).unwrap(), errors)
    }

    /// What a test looks at.
    trait FromTable {
        fn from_table(table: &DeTable<'_>) -> Self;
    }

    impl FromTable for toml::Value {
        fn from_table(table: &DeTable<'_>) -> Self {
            let spanned = Spanned::new(0..0, table.clone());
            let read = serde::Deserialize::deserialize(toml::de::Deserializer::from(spanned));
            read.unwrap()
        }
    }

    #[test]
    fn variables_stand_in_texts_and_two_dollars_stand_for_one() {
        for (text, is) in [
            ("a = 'x.${NAME}:25'", "a = \"x.mail.example:25\"\n"),
            ("a = '${NAME}${NAME}'", "a = \"mail.examplemail.example\"\n"),
            ("a = '$${NAME}'", "a = \"${NAME}\"\n"),
            ("a = '$NAME and $$ stay'", "a = \"$NAME and $$ stay\"\n"),
            ("a = [['${NAME}'], 5]", "a = [[\"mail.example\"], 5]\n"),
            ("[[s]]\nb = '${NAME}'", "[[s]]\nb = \"mail.example\"\n"),
            // What a variable holds is not read again.
            ("a = '${ODD}'", "a = \"\"\"\n\"${NAME}\"\n\"\"\"\n"),
            ("include = ['${NAME}']", "include = [\"${NAME}\"]\n"),
        ] {
            assert_eq!(filled(text), (is.to_owned(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn an_unset_variable_is_named_with_its_place_and_nothing_else() {
        let (_, errors) = filled("[a]\nb = 'pass ${WHAT}'\nc = '${NAME'\nd = '${A-B}'");
        let said = [
            "c.toml:2: a.b: the environment variable WHAT is not set: ",
            "c.toml:3: a.c: `${` without `}`: ",
            "c.toml:4: a.d: `${A-B}` is not the name of an environment variable: ",
        ];
        for (error, said) in errors.iter().zip(said) {
            assert!(error.starts_with(said), "{error}");
            assert!(!error.contains("pass"), "{error}");
        }
        assert_eq!(errors.len(), said.len());
    }

    #[test]
    fn a_credential_is_a_file_of_the_service_manager() {
        let is = "[tls]\nprivate_key = \"/run/c/key.pem\"\n";
        for file in ["credential:key.pem", "${CREDENTIALS_DIRECTORY}/key.pem"] {
            let text = format!("[tls]\nprivate_key = '{file}'");
            assert_eq!(filled(&text), (is.to_owned(), Vec::new()));
        }
        // Another key's value is its value.
        let other = "hostname = \"credential:x\"\n";
        assert_eq!(filled(other).0, other);
        let (_, errors) = filled("[[webhook]]\nsecret_file = 'credential:../x'");
        assert!(
            errors[0].contains("is not a credential's name"),
            "{errors:?}"
        );
    }
}
