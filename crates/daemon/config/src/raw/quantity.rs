//! Lengths of time and sizes: texts with a unit, or plain numbers of seconds and octets.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use toml::Spanned;

/// What is expected, in the words of the documentation.
pub(crate) const EXPECTED: &str = "a time or a size";

/// A length of time or a size, as it is written.
pub(crate) type Quantity = Option<Spanned<Written>>;

/// A number with or without a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) String);

impl Written {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Written, E> {
                Ok(Written(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Written, E> {
                let found = Unexpected::Signed(number);
                let number = u64::try_from(number).map_err(|_| E::invalid_value(found, &self))?;
                self.visit_u64(number)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
