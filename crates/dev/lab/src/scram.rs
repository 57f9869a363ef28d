//! SCRAM-SHA-256 as RFC 5802 and RFC 7677 write it down, for both sides of the lab.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Octets of what names a connection.
pub(crate) const EXPORTED: usize = 32;

/// What names a connection of TLS 1.3 (RFC 9266).
pub(crate) fn exported<D>(tls: &rustls::ConnectionCommon<D>) -> Option<[u8; EXPORTED]> {
    let label = b"EXPORTER-Channel-Binding";
    tls.export_keying_material([0; EXPORTED], label, None).ok()
}

/// The field of a message that begins with this letter.
pub(crate) fn field(message: &str, letter: char) -> Option<&str> {
    let mut fields = message.split(',');
    fields.find_map(|f| f.strip_prefix(letter)?.strip_prefix('='))
}

/// What both sides hash: the two first messages, and the final one without its proof.
pub(crate) struct Said<'a> {
    pub(crate) first: &'a str,
    pub(crate) challenge: &'a str,
    pub(crate) without_proof: &'a str,
}

impl Said<'_> {
    /// The client's proof, and the server's signature, in base 64.
    pub(crate) fn proofs(&self, password: &str) -> Option<(String, String)> {
        let salt = STANDARD.decode(field(self.challenge, 's')?).ok()?;
        let rounds: u32 = field(self.challenge, 'i')?.parse().ok()?;
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            NonZeroU32::new(rounds)?,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let sign = |key: &[u8], text: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, text)
        };
        let all = [self.first, self.challenge, self.without_proof].join(",");
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), all.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        let of_server = sign(server_key.as_ref(), all.as_bytes());
        Some((STANDARD.encode(proof), STANDARD.encode(of_server)))
    }
}
