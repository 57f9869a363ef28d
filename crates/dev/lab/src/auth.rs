//! AUTH on an MX host: PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, and by token XOAUTH2 and OAUTHBEARER.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::behaviour::{Behaviour, Verb};
use crate::record::Login;
use crate::scram::{Said, field};
use crate::session::{Next, Session, reply};

impl Session<'_> {
    pub(crate) async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Next> {
        if let Some(text) = behaviour.ruled(Verb::Auth, argument) {
            return Ok(reply(text));
        }
        let (mechanism, first) = argument.split_once(' ').unwrap_or((argument, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        if !behaviour.mechanisms.contains(&mechanism) {
            return Ok(reply("504 5.5.4 no such mechanism"));
        }
        let given = match mechanism.as_str() {
            "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => {
                return self.scram(behaviour, mechanism, first).await;
            }
            "PLAIN" => {
                let response = self.response(first, "334 ").await?;
                let mut words = response.split('\0').skip(1);
                let mut word = || words.next().unwrap_or_default().to_owned();
                (word(), word())
            }
            "LOGIN" => {
                let user = self.response(first, "334 VXNlcm5hbWU6").await?;
                (user, self.response("", "334 UGFzc3dvcmQ6").await?)
            }
            "XOAUTH2" | "OAUTHBEARER" => by_token(&self.response(first, "334 ").await?),
            _ => return Ok(reply("504 5.5.4 no such mechanism")),
        };
        let accepted = behaviour.login.as_ref() == Some(&given);
        let (user, password) = given;
        if !accepted && matches!(mechanism.as_str(), "XOAUTH2" | "OAUTHBEARER") {
            // The refusal is a challenge, which the client acknowledges (RFC 7628 §3.2.3).
            let why = STANDARD.encode(r#"{"status":"400","schemes":"Bearer","scope":"mail"}"#);
            self.response("", &format!("334 {why}")).await?;
        }
        self.user = accepted.then(|| user.clone());
        self.shared.note_login(Login {
            mechanism,
            user,
            password,
            flag: String::new(),
            tls: self.wire.tls(),
            accepted,
        });
        Ok(reply(match accepted {
            true => "235 2.7.0 welcome",
            false => behaviour.login_refusal.as_str(),
        }))
    }

    async fn scram(
        &mut self,
        behaviour: &Behaviour,
        mechanism: String,
        first: &str,
    ) -> io::Result<Next> {
        let message = self.response(first, "334 ").await?;
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (flag, _identity, bare) = (part(), part(), part());
        let user = field(&bare, 'n').unwrap_or_default().to_owned();
        let nonce = format!("{}lab", field(&bare, 'r').unwrap_or_default());
        let salt = STANDARD.encode("salt of the lab");
        let challenge = format!("r={nonce},s={salt},i={}", behaviour.scram_rounds);
        let asked = format!("334 {}", STANDARD.encode(&challenge));
        let answer = self.response("", &asked).await?;
        let (without_proof, proof) = answer.rsplit_once(",p=").unwrap_or_default();
        let said = Said {
            first: &bare,
            challenge: &challenge,
            without_proof,
        };
        let mut bound = format!("{flag},,").into_bytes();
        if mechanism.ends_with("-PLUS") {
            bound.extend_from_slice(self.wire.exported());
        }
        let offers_plus = behaviour.mechanisms.iter().any(|m| m.ends_with("-PLUS"));
        let fits = match flag.as_str() {
            "p=tls-exporter" => mechanism.ends_with("-PLUS"),
            "y" => !offers_plus,
            flag => flag == "n" && mechanism == "SCRAM-SHA-256",
        };
        let known = behaviour.login.as_ref().filter(|(name, _)| *name == user);
        let proofs = known.and_then(|(_, password)| said.proofs(password));
        let is_proved = proofs.as_ref().is_some_and(|(right, _)| right == proof);
        let repeated = format!("c={},r={nonce}", STANDARD.encode(bound));
        let mut accepted = fits && is_proved && repeated == without_proof;
        if let Some((_, signature)) = proofs.filter(|_| accepted) {
            let signature = match behaviour.scram_lies {
                true => said.proofs("another").unwrap_or_default().1,
                false => signature,
            };
            self.wire.put(&format!(
                "334 {}",
                STANDARD.encode(format!("v={signature}"))
            ));
            accepted = self.wire.line().await?.as_deref() == Some("");
        }
        self.user = accepted.then(|| user.clone());
        self.shared.note_login(Login {
            mechanism,
            user,
            password: String::new(),
            flag,
            tls: self.wire.tls(),
            accepted,
        });
        Ok(reply(match accepted {
            true => "235 2.7.0 welcome",
            false => "535 5.7.8 wrong user or proof",
        }))
    }

    async fn response(&mut self, first: &str, challenge: &str) -> io::Result<String> {
        let mut encoded = first.to_owned();
        if encoded.is_empty() {
            self.wire.put(challenge);
            encoded = self.wire.line().await?.unwrap_or_default();
        }
        let octets = STANDARD.decode(encoded.trim()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }
}

/// User and token of a login (RFC 7628 §3.1, and the way from before).
fn by_token(message: &str) -> (String, String) {
    let fields = || message.split(['\u{1}', ',']);
    let field = |name| fields().find_map(|field| field.strip_prefix(name));
    let user = field("user=").or_else(|| field("a="));
    let token = field("auth=Bearer ");
    let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
    (owned(user), owned(token))
}
