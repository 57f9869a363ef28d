//! SCRAM on the client's side (RFC 5802, RFC 7677), bound to the connection where it has a name.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smtp::sasl::{Binding, ScramHash, is_same, prepare, xor};

/// Rounds that a relay may ask for. Fewer make guessing too easy for whoever gets hold of what was said
/// (RFC 7677 §4); more are not protection, but a way to keep us busy.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// What is said of channel binding (RFC 5802 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flag {
    /// There is nothing here to bind to.
    Unable,
    /// We could, and believe that the relay cannot. One that can then knows that somebody took it out
    /// of its offer.
    NotOffered,
    /// The login is bound to this.
    Bound(Binding),
}

impl Flag {
    /// The gs2-header.
    fn header(&self) -> String {
        match self {
            Self::Unable => "n,,".to_owned(),
            Self::NotOffered => "y,,".to_owned(),
            Self::Bound(binding) => format!("p={},,", binding.kind.name()),
        }
    }

    /// What is repeated after the challenge: header and binding.
    fn repeated(&self) -> Vec<u8> {
        let mut repeated = self.header().into_bytes();
        if let Self::Bound(binding) = self {
            repeated.extend_from_slice(&binding.data);
        }
        repeated
    }
}

/// Our first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct First {
    hash: ScramHash,
    flag: Flag,
    nonce: String,
    bare: String,
}

/// The slow part: the key of a password, by the salt and the rounds that the relay asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Derivation {
    hash: ScramHash,
    password: String,
    salt: Vec<u8>,
    rounds: NonZeroU32,
}

impl std::fmt::Debug for Derivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derivation")
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

impl Derivation {
    /// The key. This takes up to a second of a processor: not for a thread that others wait for.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let password = prepare(&self.password);
        self.hash.salted(&password, &self.salt, self.rounds)
    }
}

/// The challenge has come, and the password's key is being computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenged {
    first: First,
    challenge: String,
    nonce: String,
}

/// Why the exchange cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The relay knows another kind of channel binding only.
    BindingKind,
    /// In words.
    Other(String),
}

impl First {
    pub(super) fn new(hash: ScramHash, user: &str, nonce: String, flag: Flag) -> Self {
        let bare = format!("n={},r={nonce}", escaped(&prepare(user)));
        Self {
            hash,
            flag,
            nonce,
            bare,
        }
    }

    pub(super) fn message(&self) -> String {
        format!("{}{}", self.flag.header(), self.bare)
    }

    /// Takes the relay's first message.
    pub(super) fn challenged(
        self,
        challenge: &str,
        password: &str,
    ) -> Result<(Challenged, Derivation), Trouble> {
        let wrong =
            || Trouble::Other("the relay's challenge is not a valid SCRAM message".to_owned());
        if let Some(error) = challenge.strip_prefix("e=") {
            return Err(refused(error));
        }
        let mut fields = challenge.split(',');
        // An extension that must be understood (`m=`) would stand first.
        let mut field = |name| fields.next().and_then(|f| f.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (field("r="), field("s="), field("i="))
        else {
            return Err(wrong());
        };
        let is_ours = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        let salt = STANDARD.decode(salt).map_err(|_| wrong())?;
        let rounds: u32 = rounds.parse().map_err(|_| wrong())?;
        if !is_ours || salt.is_empty() {
            return Err(wrong());
        }
        let rounds = NonZeroU32::new(rounds).filter(|rounds| ROUNDS.contains(&rounds.get()));
        let rounds = rounds.ok_or_else(|| {
            let (min, max) = (ROUNDS.start(), ROUNDS.end());
            Trouble::Other(format!(
                "the relay asks for an unreasonable number of hash iterations (allowed: {min} to {max})"
            ))
        })?;
        let derivation = Derivation {
            hash: self.hash,
            password: password.to_owned(),
            salt,
            rounds,
        };
        let challenged = Challenged {
            challenge: challenge.to_owned(),
            nonce: nonce.to_owned(),
            first: self,
        };
        Ok((challenged, derivation))
    }
}

impl Challenged {
    /// Our final message, and the relay's signature that must follow.
    pub(super) fn proof(&self, key: &[u8]) -> (String, Vec<u8>) {
        let First {
            hash, flag, bare, ..
        } = &self.first;
        let repeated = STANDARD.encode(flag.repeated());
        let without = format!("c={repeated},r={}", self.nonce);
        let said = format!("{bare},{},{without}", self.challenge);
        let client_key = hash.sign(key, b"Client Key");
        let signature = hash.sign(&hash.hash(&client_key), said.as_bytes());
        // Both are as long as the hash.
        let proof = xor(&client_key, &signature).unwrap_or_default();
        let expected = hash.sign(&hash.sign(key, b"Server Key"), said.as_bytes());
        (format!("{without},p={}", STANDARD.encode(proof)), expected)
    }
}

/// Takes the relay's final message, by which it proves that it knows the password's keys.
pub(super) fn check_signature(said: &str, expected: &[u8]) -> Result<(), Trouble> {
    if let Some(error) = said.strip_prefix("e=") {
        return Err(refused(error));
    }
    let signature = said.strip_prefix("v=").and_then(|v| v.split(',').next());
    match signature.and_then(|v| STANDARD.decode(v).ok()) {
        Some(signature) if is_same(&signature, expected) => Ok(()),
        Some(_) | None => Err(Trouble::Other(UNPROVEN.to_owned())),
    }
}

/// What is said of a relay that gives no right signature.
pub(super) const UNPROVEN: &str = "the relay did not prove that it knows the password, as SCRAM requires: it may \
                                   not be the server that it claims to be";

fn refused(error: &str) -> Trouble {
    let error = error.split(',').next().unwrap_or_default();
    match error {
        "unsupported-channel-binding-type" => Trouble::BindingKind,
        error => Trouble::Other(format!("the relay ended the login: {error}")),
    }
}

/// `=` and `,` in a name are written `=3D` and `=2C` (RFC 5802 §5.1).
pub(super) fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::sasl::BindingKind;

    struct Example {
        hash: ScramHash,
        nonce: &'static str,
        challenge: &'static str,
        proof: &'static str,
        signature: &'static str,
    }

    /// RFC 5802 §5 and RFC 7677 §3: user `user`, password `pencil`.
    const EXAMPLES: [Example; 2] = [
        Example {
            hash: ScramHash::Sha1,
            nonce: "fyko+d2lbbFgONRv9qkxdawL",
            challenge: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                        s=QSXCR+Q6sek8bf92,i=4096",
            proof: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                    p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            signature: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        },
        Example {
            hash: ScramHash::Sha256,
            nonce: "rOprNGfwEbeRWgbNEkqO",
            challenge: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            proof: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            signature: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        },
    ];

    #[test]
    fn the_examples_of_the_standards_hold() {
        for example in EXAMPLES {
            let first = First::new(example.hash, "user", example.nonce.into(), Flag::Unable);
            assert_eq!(first.message(), format!("n,,n=user,r={}", example.nonce));
            let (challenged, derivation) = first.challenged(example.challenge, "pencil").unwrap();
            let (proof, expected) = challenged.proof(&derivation.key());
            assert_eq!(proof, example.proof);
            assert_eq!(check_signature(example.signature, &expected), Ok(()));
            for wrong in ["v=", "v=AAAA", "", "x=1", "v=*"] {
                let found = check_signature(wrong, &expected);
                assert_eq!(found, Err(Trouble::Other(UNPROVEN.to_owned())), "{wrong}");
            }
        }
    }

    #[test]
    fn header_and_binding_are_repeated() {
        let binding = Binding {
            kind: BindingKind::TlsExporter,
            data: vec![1, 2],
        };
        for (flag, header, repeated) in [
            (Flag::NotOffered, "y,,n=a=2C=3D,r=x", "c=eSws,r=xy,p="),
            // `p=tls-exporter,,` followed by the octets 1 and 2.
            (
                Flag::Bound(binding),
                "p=tls-exporter,,n=a=2C=3D,r=x",
                "c=cD10bHMtZXhwb3J0ZXIsLAEC,r=xy,p=",
            ),
        ] {
            let first = First::new(ScramHash::Sha256, "a,=", "x".into(), flag);
            assert_eq!(first.message(), header);
            let (challenged, _) = first.challenged("r=xy,s=AAAA,i=4096", "p").unwrap();
            assert!(challenged.proof(&[0; 32]).0.starts_with(repeated));
        }
    }

    #[test]
    fn a_challenge_that_is_none_is_not_answered() {
        let first = First::new(ScramHash::Sha1, "u", "abc".into(), Flag::Unable);
        for challenge in [
            "",
            "r=abc,s=AAAA,i=4096",
            "r=abX1,s=AAAA,i=4096",
            "r=abc1,s=,i=4096",
            "r=abc1,s=*,i=4096",
            "r=abc1,s=AAAA",
            "r=abc1,s=AAAA,i=4095",
            "r=abc1,s=AAAA,i=1000001",
            "r=abc1,s=AAAA,i=99999999999",
            "m=x,r=abc1,s=AAAA,i=4096",
            "e=other-error",
        ] {
            let answered = first.clone().challenged(challenge, "p");
            assert!(
                matches!(answered, Err(Trouble::Other(_))),
                "{challenge}: {answered:?}"
            );
        }
        let refused = first.challenged("e=unsupported-channel-binding-type", "p");
        assert_eq!(refused, Err(Trouble::BindingKind));
    }
}
