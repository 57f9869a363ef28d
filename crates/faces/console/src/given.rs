//! How JSON gives what a mail consists of: `null` is as good as absent, and what is written in another form than ours
//! is named with the form that is meant.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::body::Few;

/// Reads `null` as the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An address with its name, as it is written.
#[derive(Debug, Default)]
pub(crate) struct AddressText(pub(crate) String);

impl<'de> Deserialize<'de> for AddressText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = String;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string such as \"Bob <bob@example.net>\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
                Ok(text)
            }
        }
        deserializer.deserialize_string(Text).map(Self)
    }
}

/// An address, or a list of no more than `MAX`.
#[derive(Debug, Default)]
pub(crate) struct OneOrFew<const MAX: usize>(pub(crate) Vec<AddressText>);

impl<'de, const MAX: usize> Deserialize<'de> for OneOrFew<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Entries<MAX> {
            type Value = Vec<AddressText>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    out,
                    "a string such as \"Bob <bob@example.net>\", or a list of up to {MAX} of them"
                )
            }

            fn visit_str<E: serde::de::Error>(self, one: &str) -> Result<Self::Value, E> {
                Ok(vec![AddressText(one.to_owned())])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(list);
                Few::<AddressText, MAX>::deserialize(list).map(|few| few.0)
            }
        }
        deserializer.deserialize_any(Entries::<MAX>).map(Self)
    }
}

/// An object of no more than `MAX` entries, whose values are texts; an entry that is `null` is absent.
#[derive(Debug, Default)]
pub(crate) struct Fields<const MAX: usize>(pub(crate) BTreeMap<String, String>);

impl<'de, const MAX: usize> Deserialize<'de> for Fields<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Entries<MAX> {
            type Value = BTreeMap<String, String>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "an object with up to {MAX} entries")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    let Some(value) = value else {
                        continue;
                    };
                    if found.len() == MAX {
                        return Err(A::Error::custom(format!(
                            "there are more than {MAX} entries"
                        )));
                    }
                    if found.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    found.insert(name, value);
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Entries::<MAX>).map(Self)
    }
}
