//! Logging in at a relay that says what it likes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deliver::{Credentials, LogIn, LoginStep, Mechanism, Secret};
use mail::{EnhancedCode, Reply};
use smtp::extension::Extensions;
use smtp::sasl::{Binding, BindingKind};

use crate::octets::Octets;

/// The longest line of a login (RFC 4954 §4).
const LINE_MAX: usize = 12_288;
const PASSWORD: &str = "correct horse battery";

/// Every line is one line; a password is told by PLAIN and LOGIN only; a relay that proves nothing is not
/// believed where SCRAM is wanted; and it all ends.
pub(crate) fn relay_login(input: &[u8]) {
    let mut octets = Octets::new(input);
    let (chosen, offered, kinds) = (octets.word(), octets.word(), octets.octet());
    let some = |set: u16| {
        let all = Mechanism::ALL.into_iter().enumerate();
        all.filter_map(move |(at, m)| (set >> at & 1 == 1).then_some(m))
    };
    let names: Vec<&str> = some(offered).map(Mechanism::name).collect();
    let ehlo = Reply::new(250, None, format!("mx\nAUTH {}", names.join(" ")));
    let secret = match kinds & 4 {
        0 => Secret::Password(PASSWORD.to_owned()),
        _ => Secret::Token(PASSWORD.to_owned()),
    };
    let tells = |m: Mechanism| matches!(m, Mechanism::Plain | Mechanism::Login) || m.takes_token();
    let may_tell = some(chosen & offered).any(tells);
    let only_scram = some(chosen & offered).all(|m| m.name().starts_with("SCRAM-"));
    let who = Credentials {
        username: "ann".to_owned(),
        secret,
        mechanisms: some(chosen).collect(),
    };
    let kind = |kind| Binding {
        kind,
        data: vec![7; 32],
    };
    let both = [
        kind(BindingKind::TlsExporter),
        kind(BindingKind::TlsServerEndPoint),
    ];
    let bindings = both.get(..usize::from(kinds & 3).min(2)).unwrap_or(&[]);
    let nonce = "abc".to_owned();
    let mut login = LogIn::new(who, &Extensions::parse(&ehlo), bindings, nonce);
    let mut next = login.begin();
    let mut steps = 0;
    while let Some(step) = next {
        assert!(!format!("{login:?} {step:?}").contains(PASSWORD));
        next = match step {
            LoginStep::Say(line) => {
                check_line(&line, may_tell);
                assert!(!login.shown(&line).contains(PASSWORD));
                Some(login.answer(&reply(&mut octets)))
            }
            LoginStep::Derive(_) => Some(login.derived(&[0; 32])),
            LoginStep::Done => {
                assert!(!only_scram, "a relay that proved nothing is believed");
                None
            }
            LoginStep::Failed(_) => None,
        };
        steps += 1;
        assert!(steps < 100, "the login does not end");
    }
}

fn check_line(line: &[u8], may_tell: bool) {
    let text = line.strip_suffix(b"\r\n").expect("a line ends");
    assert!(!text.contains(&b'\r') && !text.contains(&b'\n'));
    assert!(text.len() < LINE_MAX);
    let response = text.rsplit(|b| *b == b' ').next().unwrap_or_default();
    let said = STANDARD.decode(response).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    assert!(may_tell || !said.contains(PASSWORD), "the password is told");
}

/// A reply: mostly a challenge, in base 64 or not.
fn reply(octets: &mut Octets<'_>) -> Reply {
    let choice = octets.octet();
    let text = octets.text();
    match choice % 8 {
        0 => Reply::new(235, None, text),
        1 => Reply::new(535, Some(EnhancedCode::new(5, 7, 8)), text),
        2 => Reply::new(504, None, text),
        3 => Reply::new(334, None, text),
        // The challenge of SCRAM, with our nonce in front.
        4 => Reply::new(334, None, STANDARD.encode(format!("r=abc{text}"))),
        _ => Reply::new(334, None, STANDARD.encode(text)),
    }
}
