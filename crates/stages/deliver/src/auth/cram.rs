//! CRAM-MD5 on the client's side (RFC 2195).
//!
//! MD5 is broken as a hash, and used for nothing else here: the exchange keeps the password from a relay
//! that knows nothing better.

use md5::{Digest, Md5};

/// Octets that MD5 takes at once.
const BLOCK: usize = 64;

/// The answer to a challenge.
pub(super) fn response(user: &str, password: &str, challenge: &[u8]) -> String {
    let digest = u128::from_be_bytes(hmac(password.as_bytes(), challenge));
    format!("{user} {digest:032x}")
}

/// HMAC over MD5 (RFC 2104), which the library of all other cryptography here leaves out on purpose.
fn hmac(key: &[u8], said: &[u8]) -> [u8; 16] {
    let mut block = [0; BLOCK];
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..16].copy_from_slice(&Md5::digest(key)),
    }
    let padded = |pad: u8| block.map(|octet| octet ^ pad);
    let inner = Md5::new().chain_update(padded(0x36)).chain_update(said);
    let outer = Md5::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standards_hold() {
        // RFC 2195 §2.
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(
            response("tim", "tanstaaftanstaaf", challenge),
            "tim b913a602c7eda7a495b4e6e7334d3890"
        );
        // RFC 2202 §2, cases 1, 6 and 7: a short key, and such as are longer than a block.
        let hex = |key: &[u8], said: &str| {
            let octets = hmac(key, said.as_bytes());
            u128::from_be_bytes(octets)
        };
        assert_eq!(
            hex(&[0x0b; 16], "Hi There"),
            0x9294_727a_3638_bb1c_13f4_8ef8_158b_fc9d
        );
        assert_eq!(
            hex(
                &[0xaa; 80],
                "Test Using Larger Than Block-Size Key - Hash Key First"
            ),
            0x6b1a_b7fe_4bd7_bf8f_0b62_e6ce_61b9_d0cd
        );
        let long = "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
        assert_eq!(
            hex(&[0xaa; 80], long),
            0x6f63_0fad_67cd_a0ee_1fb1_f562_db3a_a53e
        );
    }
}
