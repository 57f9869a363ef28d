//! DKIM signatures (RFC 6376, RFC 8301, RFC 8463): which keys sign a mail, the fields that are put in
//! front of it, and what must stand in DNS.
//!
//! Nothing here reads a file, asks DNS or knows the time: keys are texts, and `now` is an argument.
//! Signatures by RSA with SHA-256 and by Ed25519 with SHA-256; SHA-1 is neither made nor accepted.
//!
//! - A signature covers the whole body: `l=` is never used, because it lets anybody append.
//! - Every field that a reader sees or that decides how the body is read is named once more in `h=`
//!   than it is there ([`Fields`]), so that a second one breaks the signature.
//! - `i=` is left out: its default, `@` and the domain of the key, is what a verifier needs.
//! - The fields stand in front of all others, above our own Received. What stands there was made
//!   here: whatever a client sends comes below that Received field.

mod canonical;
mod fields;
mod key;
mod keyring;
mod record;
mod selector;
mod signature;

pub use canonical::{BodyCanonicalizer, Canonicalization, header_field};
pub use fields::{FieldError, Fields};
pub use key::{Algorithm, KeyError, PrivateKey, PublicKey, RSA_BITS_MIN};
pub use keyring::{Gap, Keyring};
pub use record::{Finding, Unreadable, judge};
pub use selector::{ParseSelectorError, Selector};
pub use signature::{InFront, SignError, Signer, in_front, sign};
