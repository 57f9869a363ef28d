//! SCRAM-SHA-256 on the server's side (RFC 5802, RFC 7677), bound to its TLS connection where the client
//! wants that (SCRAM-SHA-256-PLUS, RFC 9266).
//!
//! The server keeps keys from which the password cannot be had; the client proves that it knows
//! the password, and the server that it knows the keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Binding, ExchangeError, ScramHash, is_same, prepare, xor};

/// Whether the exchange is bound to its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// It is not, and could not be: SCRAM-SHA-256-PLUS is not offered here.
    Unknown,
    /// It is not, but SCRAM-SHA-256-PLUS is offered.
    Unbound,
    /// The client said SCRAM-SHA-256-PLUS: to this.
    Bound(Binding),
}

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who it claims to be.
    pub user: String,
    /// The part in front that says whether channels are bound, with the binding after it: what the client
    /// repeats in its final message.
    bound: Vec<u8>,
    /// The message without that part.
    bare: String,
    nonce: String,
}

/// What the server keeps of a user (RFC 5802 §3), and its nonce for this exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The salt.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub rounds: u32,
    /// StoredKey.
    pub stored_key: Vec<u8>,
    /// ServerKey.
    pub server_key: Vec<u8>,
    /// Printable, without a comma, and never used twice.
    pub nonce: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// An exchange whose challenge has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenged {
    first: ClientFirst,
    challenge: String,
    keys: Keys,
}

/// The client's proof was right: who it is, and the server's own proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proved {
    pub(super) user: String,
    pub(super) signature: String,
}

impl ClientFirst {
    pub(super) fn parse(text: &str, channel: &Channel) -> Result<Self, ExchangeError> {
        // gs2-header: channel binding, and the identity to act for.
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ExchangeError::Malformed);
        };
        let mut bound = format!("{flag},{identity},").into_bytes();
        bound.extend_from_slice(binding(flag, channel)?);
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|f| f.strip_prefix("n="));
        let nonce = fields.next().and_then(|f| f.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else {
            return Err(ExchangeError::Malformed);
        };
        let user = super::clean(&prepare(&unescape(user)?))?;
        if nonce.is_empty() {
            return Err(ExchangeError::Malformed);
        }
        if !identity.is_empty() {
            let identity = identity.strip_prefix("a=");
            let identity = unescape(identity.ok_or(ExchangeError::Malformed)?)?;
            if prepare(&identity) != user {
                return Err(ExchangeError::OtherIdentity);
            }
        }
        Ok(Self {
            bound,
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
            user,
        })
    }

    /// The challenge, not yet in base 64.
    pub(super) fn challenge(self, keys: Keys) -> (String, Challenged) {
        let challenge = format!(
            "r={}{},s={},i={}",
            self.nonce,
            keys.nonce,
            STANDARD.encode(&keys.salt),
            keys.rounds
        );
        let challenged = Challenged {
            first: self,
            challenge: challenge.clone(),
            keys,
        };
        (challenge, challenged)
    }
}

/// What the client must know of the connection, by the first flag of its message (RFC 5802 §6, §7).
fn binding<'a>(flag: &str, channel: &'a Channel) -> Result<&'a [u8], ExchangeError> {
    match (flag, channel) {
        ("n", Channel::Unknown | Channel::Unbound) | ("y", Channel::Unknown) => Ok(&[]),
        // It could bind, and believes that we cannot: somebody has taken that out of what we offered.
        ("y", Channel::Unbound) => Err(ExchangeError::Downgraded),
        (flag, Channel::Bound(binding)) if flag.starts_with("p=") => match flag.get(2..) {
            Some(kind) if kind == binding.kind.name() => Ok(&binding.data),
            Some(_) | None => Err(ExchangeError::BindingKind),
        },
        _ => Err(ExchangeError::Malformed),
    }
}

/// `,` and `=` are written `=2C` and `=3D` in a name.
fn unescape(name: &str) -> Result<String, ExchangeError> {
    let mut parts = name.split('=');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(ExchangeError::Malformed),
        };
        out.push(c);
        out.push_str(rest);
    }
    Ok(out)
}

impl Challenged {
    /// Who claims to be whom.
    pub(super) fn user(&self) -> &str {
        &self.first.user
    }

    /// Takes the client's final message; `None` when its proof is wrong.
    pub(super) fn check(&self, text: &str) -> Result<Option<Proved>, ExchangeError> {
        let malformed = ExchangeError::Malformed;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|f| f.strip_prefix("c="));
        let nonce = fields.next().and_then(|f| f.strip_prefix("r="));
        let (Some(binding), Some(nonce)) = (binding, nonce) else {
            return Err(malformed);
        };
        let is_ours = nonce
            .strip_prefix(self.first.nonce.as_str())
            .is_some_and(|rest| rest == self.keys.nonce);
        if !is_ours {
            return Err(malformed);
        }
        let bound = STANDARD.decode(binding).map_err(|_| malformed)?;
        if !is_same(&bound, &self.first.bound) {
            return Err(ExchangeError::Binding);
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed)?;
        let said = format!("{},{},{without_proof}", self.first.bare, self.challenge);
        let hash = ScramHash::Sha256;
        let signature = hash.sign(&self.keys.stored_key, said.as_bytes());
        let client_key = xor(&signature, &proof).ok_or(malformed)?;
        if !is_same(&hash.hash(&client_key), &self.keys.stored_key) {
            return Ok(None);
        }
        let server = hash.sign(&self.keys.server_key, said.as_bytes());
        Ok(Some(Proved {
            user: self.first.user.clone(),
            signature: format!("v={}", STANDARD.encode(server)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3: user `user`, password `pencil`.
    fn example() -> (ClientFirst, Keys) {
        let first =
            ClientFirst::parse("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &Channel::Unbound).unwrap();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let hash = ScramHash::Sha256;
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        let salted = hash.salted("pencil", &salt, rounds);
        let keys = Keys {
            salt,
            rounds: 4096,
            stored_key: hash.hash(&hash.sign(&salted, b"Client Key")),
            server_key: hash.sign(&salted, b"Server Key"),
            nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        };
        (first, keys)
    }

    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_example_of_the_standard_holds() {
        let (first, keys) = example();
        let (challenge, challenged) = first.challenge(keys);
        assert_eq!(
            challenge,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let proved = challenged.check(FINAL).unwrap().unwrap();
        assert_eq!(proved.user, "user");
        assert_eq!(
            proved.signature,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_wrong_proof_nonce_or_binding_is_refused() {
        let (first, keys) = example();
        let challenged = first.challenge(keys).1;
        let wrong = FINAL.replace("p=dH", "p=eH");
        assert_eq!(challenged.check(&wrong), Ok(None));
        for broken in [
            FINAL.replace("hNlF$k0", "hNlF$k1"),
            FINAL.replace("dHzb", "dHz"),
            FINAL.replace(",p=", ",q="),
            String::new(),
        ] {
            assert_eq!(challenged.check(&broken), Err(ExchangeError::Malformed));
        }
        let other = FINAL.replace("c=biws", "c=eSws");
        assert_eq!(challenged.check(&other), Err(ExchangeError::Binding));
    }

    fn bound(data: &[u8]) -> Channel {
        Channel::Bound(Binding {
            kind: super::super::BindingKind::TlsExporter,
            data: data.to_vec(),
        })
    }

    /// The client's final message of the example's user, for what it has bound.
    fn final_of(first: &ClientFirst, challenge: &str, keys: &Keys, bound: &[u8]) -> String {
        let hash = ScramHash::Sha256;
        let rounds = std::num::NonZeroU32::new(keys.rounds).unwrap();
        let salted = hash.salted("pencil", &keys.salt, rounds);
        let nonce = format!("{}{}", first.nonce, keys.nonce);
        let without = format!("c={},r={nonce}", STANDARD.encode(bound));
        let said = format!("{},{challenge},{without}", first.bare);
        let client_key = hash.sign(&salted, b"Client Key");
        let signature = hash.sign(&hash.hash(&client_key), said.as_bytes());
        let proof = xor(&client_key, &signature).unwrap();
        format!("{without},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn a_proof_counts_in_its_own_connection_only() {
        let keys = example().1;
        let first = "p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let first = ClientFirst::parse(first, &bound(b"here")).unwrap();
        let (challenge, challenged) = first.clone().challenge(keys.clone());
        let answer = |bound: &[u8]| challenged.check(&final_of(&first, &challenge, &keys, bound));
        assert_eq!(
            answer(b"p=tls-exporter,,here").unwrap().unwrap().user,
            "user"
        );
        for elsewhere in [&b"p=tls-exporter,,there"[..], b"p=tls-exporter,,", b"n,,"] {
            assert_eq!(answer(elsewhere), Err(ExchangeError::Binding));
        }
    }

    #[test]
    fn a_flag_must_go_with_the_mechanism_and_with_what_is_offered() {
        use ExchangeError::{BindingKind, Downgraded, Malformed};
        let bound = bound(b"x");
        for (flag, channel, expected) in [
            ("n", &Channel::Unknown, None),
            ("n", &Channel::Unbound, None),
            ("y", &Channel::Unknown, None),
            ("y", &Channel::Unbound, Some(Downgraded)),
            ("p=tls-exporter", &bound, None),
            ("p=tls-unique", &bound, Some(BindingKind)),
            ("p=tls-exporter", &Channel::Unbound, Some(Malformed)),
            ("n", &bound, Some(Malformed)),
            ("y", &bound, Some(Malformed)),
            ("", &Channel::Unknown, Some(Malformed)),
        ] {
            let parsed = ClientFirst::parse(&format!("{flag},,n=a,r=x"), channel);
            assert_eq!(parsed.err(), expected, "{flag} {channel:?}");
        }
    }

    #[test]
    fn names_are_unescaped_and_other_identities_refused() {
        let first =
            ClientFirst::parse("y,a=a=2Cb=3D,n=a=2Cb=3D,r=x,ext", &Channel::Unknown).unwrap();
        assert_eq!(
            (first.user.as_str(), first.bound.as_slice()),
            ("a,b=", &b"y,a=a=2Cb=3D,"[..])
        );
        let wrong = [
            "p=tls-exporter,,n=a,r=x",
            "n,,n=a=2c,r=x",
            "n,,n=,r=x",
            "n,,n=a,r=",
            "n,,m=x,n=a,r=x",
            "n,",
        ];
        for text in wrong {
            assert_eq!(
                ClientFirst::parse(text, &Channel::Unknown),
                Err(ExchangeError::Malformed),
                "{text}"
            );
        }
        let other = ClientFirst::parse("n,a=b,n=a,r=x", &Channel::Unknown);
        assert_eq!(other, Err(ExchangeError::OtherIdentity));
    }
}
