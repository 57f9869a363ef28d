//! SCRAM-SHA-256 on the server's side (RFC 5802, RFC 7677), without channel binding.
//!
//! The server keeps keys from which the password can not be had; the client proves that it knows
//! the password, and the server that it knows the keys.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ExchangeError;

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who it claims to be.
    pub user: String,
    /// The part in front, that says whether channels are bound.
    header: String,
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
    pub(super) fn parse(text: &str) -> Result<Self, ExchangeError> {
        // gs2-header: channel binding (`n`: the client has none, `y`: it thinks that we have none),
        // and the identity to act for.
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(identity), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(ExchangeError::Malformed);
        };
        if !matches!(binding, "n" | "y") {
            return Err(ExchangeError::Malformed);
        }
        let mut fields = bare.split(',');
        let user = fields.next().and_then(|f| f.strip_prefix("n="));
        let nonce = fields.next().and_then(|f| f.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else {
            return Err(ExchangeError::Malformed);
        };
        let user = super::clean(&unescape(user)?)?;
        if nonce.is_empty() {
            return Err(ExchangeError::Malformed);
        }
        if !identity.is_empty() {
            let identity = identity.strip_prefix("a=");
            let identity = unescape(identity.ok_or(ExchangeError::Malformed)?)?;
            if identity != user {
                return Err(ExchangeError::OtherIdentity);
            }
        }
        Ok(Self {
            header: format!("{binding},{},", text.split(',').nth(1).unwrap_or_default()),
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
        if binding != STANDARD.encode(&self.first.header) || !is_ours {
            return Err(malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed)?;
        let said = format!("{},{},{without_proof}", self.first.bare, self.challenge);
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let signature = hmac::sign(&key(&self.keys.stored_key), said.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return Err(malformed);
        }
        let client_key: Vec<u8> = signature
            .as_ref()
            .iter()
            .zip(&proof)
            .map(|(a, b)| a ^ b)
            .collect();
        let stored = digest::digest(&digest::SHA256, &client_key);
        if constant_time::verify_slices_are_equal(stored.as_ref(), &self.keys.stored_key).is_err() {
            return Ok(None);
        }
        let server = hmac::sign(&key(&self.keys.server_key), said.as_bytes());
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
        let first = ClientFirst::parse("n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0; 32];
        aws_lc_rs::pbkdf2::derive(
            aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256,
            std::num::NonZeroU32::new(4096).unwrap(),
            &salt,
            b"pencil",
            &mut salted,
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let keys = Keys {
            salt,
            rounds: 4096,
            stored_key: digest::digest(&digest::SHA256, client_key.as_ref())
                .as_ref()
                .to_vec(),
            server_key: hmac::sign(&key, b"Server Key").as_ref().to_vec(),
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
            FINAL.replace("c=biws", "c=eSws"),
            FINAL.replace("hNlF$k0", "hNlF$k1"),
            FINAL.replace("dHzb", "dHz"),
            FINAL.replace(",p=", ",q="),
            String::new(),
        ] {
            assert_eq!(challenged.check(&broken), Err(ExchangeError::Malformed));
        }
    }

    #[test]
    fn names_are_unescaped_and_other_identities_refused() {
        let first = ClientFirst::parse("y,a=a=2Cb=3D,n=a=2Cb=3D,r=x,ext").unwrap();
        assert_eq!(
            (first.user.as_str(), first.header.as_str()),
            ("a,b=", "y,a=a=2Cb=3D,")
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
                ClientFirst::parse(text),
                Err(ExchangeError::Malformed),
                "{text}"
            );
        }
        let other = ClientFirst::parse("n,a=b,n=a,r=x");
        assert_eq!(other, Err(ExchangeError::OtherIdentity));
    }
}
