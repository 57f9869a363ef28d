//! AUTH PLAIN and AUTH LOGIN on an MX host.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::behaviour::{Behaviour, Verb};
use crate::record::Login;
use crate::session::{Next, Session, reply};

impl Session<'_> {
    pub(crate) async fn auth(&mut self, behaviour: &Behaviour, argument: &str) -> io::Result<Next> {
        if let Some(text) = behaviour.ruled(Verb::Auth, argument) {
            return Ok(reply(text));
        }
        let (mechanism, first) = argument.split_once(' ').unwrap_or((argument, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        let given = match mechanism.as_str() {
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
            _ => return Ok(reply("504 5.5.4 no such mechanism")),
        };
        let accepted = behaviour.login.as_ref() == Some(&given);
        let (user, password) = given;
        self.user = accepted.then(|| user.clone());
        self.shared.note_login(Login {
            mechanism,
            user,
            password,
            tls: self.wire.tls(),
            accepted,
        });
        Ok(reply(match accepted {
            true => "235 2.7.0 welcome",
            false => "535 5.7.8 wrong user or password",
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
