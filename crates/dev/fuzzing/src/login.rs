//! Logging in: PLAIN, LOGIN and SCRAM, bound to the connection and not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smtp::sasl::{Binding, BindingKind, Evidence, ExchangeError, Keys, Progress, begin, challenge};

use crate::octets::Octets;

/// The longest line of a client.
const LINE_MAX: usize = 12_288;

/// Nobody logs in without a password or a proof; a user's name is one word of text; what is sent
/// to the client is bounded by what it sent.
pub(crate) fn login(input: &[u8]) {
    let mut octets = Octets::new(input);
    let choice = octets.octet();
    let (mechanism, binding) = match choice % 4 {
        0 if choice & 64 != 0 => ("SCRAM-SHA-256-PLUS", Some(binding())),
        0 => ("SCRAM-SHA-256", (choice & 128 != 0).then(binding)),
        1 => ("PLAIN", None),
        2 => ("LOGIN", None),
        _ => ("CRAM-MD5", None),
    };
    let (in_first, raw) = (octets.bit(), octets.bit());
    let response = |octets: &mut Octets<'_>| match raw {
        true => octets.line().to_vec(),
        false => STANDARD.encode(octets.line()).into_bytes(),
    };
    let first = response(&mut octets);
    let initial = String::from_utf8(first).ok().filter(|_| in_first);
    let mut progress = begin(mechanism, initial.as_deref(), binding.as_ref());
    let mut steps = 0;
    loop {
        progress = match progress {
            Ok(Progress::Challenge(said, exchange)) => {
                let octets_said = STANDARD.decode(&said);
                assert!(octets_said.is_ok(), "a challenge is not in base 64: {said}");
                assert!(said.len() < LINE_MAX + input.len() * 2, "a long challenge");
                let line = response(&mut octets);
                exchange.respond(&line)
            }
            Ok(Progress::NeedKeys(client)) => {
                named(&client.user);
                Ok(challenge(*client, keys()))
            }
            Ok(Progress::Complete(login)) => {
                named(&login.user);
                assert_ne!(mechanism, "CRAM-MD5");
                // Nobody here knows the password, so no proof of it can be right.
                assert!(login.evidence != Evidence::Proof(true), "a forged proof");
                let by_proof = matches!(login.evidence, Evidence::Proof(_));
                assert_eq!(by_proof, mechanism.starts_with("SCRAM-"));
                return;
            }
            Err(error) => {
                let reply = error.reply();
                assert!((500..600).contains(&reply.code), "{reply}");
                assert_eq!(error == ExchangeError::Mechanism, mechanism == "CRAM-MD5");
                return;
            }
        };
        steps += 1;
        assert!(steps < 10, "the exchange does not end");
    }
}

fn named(user: &str) {
    assert!(
        !user.is_empty() && !user.contains(char::is_control),
        "{user:?}"
    );
}

/// What a connection that nobody has is bound to.
fn binding() -> Binding {
    Binding {
        kind: BindingKind::TlsExporter,
        data: vec![5; 32],
    }
}

/// Keys of a password that nobody knows.
fn keys() -> Keys {
    Keys {
        salt: b"salt".to_vec(),
        rounds: 4096,
        stored_key: vec![7; 32],
        server_key: vec![9; 32],
        nonce: "server".to_owned(),
    }
}
