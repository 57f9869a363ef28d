//! Logins against relays that answer as the test says.

use smtp::sasl::BindingKind;

use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEk";

fn password() -> Credentials {
    Credentials {
        username: "user".into(),
        secret: Secret::Password("pencil".into()),
        mechanisms: Mechanism::ALL.to_vec(),
    }
}

fn token(token: &str) -> Credentials {
    Credentials {
        username: "a,b@c.example".into(),
        secret: Secret::Token(token.into()),
        ..password()
    }
}

fn offering(mechanisms: &str) -> Extensions {
    Extensions::parse(&Reply::new(250, None, format!("mx\nAUTH {mechanisms}")))
}

fn exporter() -> Vec<Binding> {
    vec![Binding {
        kind: BindingKind::TlsExporter,
        data: vec![7; 32],
    }]
}

fn both_kinds() -> Vec<Binding> {
    let end_point = Binding {
        kind: BindingKind::TlsServerEndPoint,
        data: vec![8; 32],
    };
    exporter().into_iter().chain([end_point]).collect()
}

fn login(who: Credentials, offered: &str, bindings: &[Binding]) -> LogIn {
    LogIn::new(who, &offering(offered), bindings, NONCE.into())
}

/// What is sent, the responses in clear text.
fn said(step: &LoginStep) -> String {
    let LoginStep::Say(line) = step else {
        return shown(step);
    };
    let line = String::from_utf8(line.to_vec()).unwrap();
    let line = line.strip_suffix("\r\n").unwrap();
    let decode = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    match line.strip_prefix("AUTH ").map(|rest| rest.split_once(' ')) {
        Some(Some((mechanism, initial))) => format!("{mechanism} {}", decode(initial)),
        Some(None) => line.to_owned(),
        None if line == "*" => line.to_owned(),
        None => format!("> {}", decode(line)),
    }
}

fn shown(step: &LoginStep) -> String {
    match step {
        LoginStep::Say(_) => said(step),
        LoginStep::Derive(_) => "derive".into(),
        LoginStep::Done => "done".into(),
        LoginStep::Failed(reply) => reply.to_string(),
    }
}

fn challenge(text: &str) -> Reply {
    Reply::new(334, None, STANDARD.encode(text))
}

fn reply(code: u16, enhanced: (u16, u16), text: &str) -> Reply {
    let class = u8::try_from(code / 100).unwrap();
    let enhanced = EnhancedCode::new(class, enhanced.0, enhanced.1);
    Reply::new(code, Some(enhanced), text)
}

fn mechanism_refused() -> Reply {
    reply(504, (5, 4), "no such mechanism")
}

/// What is tried in turn by a relay that refuses each mechanism.
fn tried(who: Credentials, offered: &str, bindings: &[Binding]) -> Vec<String> {
    let mut login = login(who, offered, bindings);
    let mut tried = Vec::new();
    let mut step = login.begin();
    while let Some(LoginStep::Say(line)) = step {
        let said = said(&LoginStep::Say(line));
        let said = said.trim_start_matches("AUTH ");
        let (mechanism, flag) = match said.split_once(',') {
            Some((first, _)) => first.split_once(' ').unwrap_or((first, "")),
            None => (said.split(' ').next().unwrap_or_default(), ""),
        };
        tried.push(format!("{mechanism} {flag}").trim_end().to_owned());
        step = Some(login.answer(&mechanism_refused()));
    }
    tried
}

#[test]
fn the_strongest_mechanism_that_both_have_is_tried_first() {
    let all = "LOGIN PLAIN XOAUTH2 CRAM-MD5 SCRAM-SHA-1 OAUTHBEARER SCRAM-SHA-256 \
               SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS DIGEST-MD5";
    let passwords = [
        "SCRAM-SHA-256-PLUS p=tls-exporter",
        "SCRAM-SHA-1-PLUS p=tls-exporter",
        "SCRAM-SHA-256 y",
        "SCRAM-SHA-1 y",
        "CRAM-MD5",
        "PLAIN",
    ];
    let found = tried(password(), all, &exporter());
    assert_eq!(found[..6], passwords, "{found:?}");
    assert_eq!(found.len(), 7);
    let found = tried(token("t"), all, &exporter());
    assert_eq!(found, ["OAUTHBEARER n", "XOAUTH2 user=a"]);
    assert_eq!(tried(password(), "XOAUTH2 DIGEST-MD5", &[]), [""; 0]);
}

#[test]
fn the_flag_says_what_we_believe_of_the_relay() {
    let plus = "SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    assert_eq!(
        tried(password(), "SCRAM-SHA-256", &exporter()),
        ["SCRAM-SHA-256 y"]
    );
    // Without a binding there is none to speak of, whatever the relay offers.
    assert_eq!(tried(password(), plus, &[]), ["SCRAM-SHA-256 n"]);
    let two = tried(password(), plus, &both_kinds());
    let expected = [
        "SCRAM-SHA-256-PLUS p=tls-exporter",
        "SCRAM-SHA-256-PLUS p=tls-server-end-point",
        "SCRAM-SHA-256 y",
    ];
    assert_eq!(two, expected);
    // Who may not bind by configuration does not suspect the relay for it.
    let only = |mechanisms: &[Mechanism]| Credentials {
        mechanisms: mechanisms.to_vec(),
        ..password()
    };
    let pinned = only(&[Mechanism::ScramSha256, Mechanism::Plain]);
    assert_eq!(tried(pinned, plus, &exporter()), ["SCRAM-SHA-256 n"]);
    let sha1 = only(&[Mechanism::ScramSha1, Mechanism::ScramSha1Plus]);
    let offered = "SCRAM-SHA-1 SCRAM-SHA-256-PLUS";
    assert_eq!(tried(sha1, offered, &exporter()), ["SCRAM-SHA-1 n"]);
}

/// The exchange of RFC 7677 §3, up to our proof; its nonce ends in another way than ours.
fn proved(login: &mut LogIn) -> (String, Vec<u8>) {
    let step = login.begin().unwrap();
    let first = said(&step);
    let bare = first.split_once(",,").unwrap().1.to_owned();
    assert_eq!(bare, format!("n=user,r={NONCE}1"));
    let server = format!("r={NONCE}1srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let LoginStep::Derive(derivation) = login.answer(&challenge(&server)) else {
        panic!("no key is asked for");
    };
    let key = derivation.key();
    let answer = said(&login.derived(&key));
    let without = answer.strip_prefix("> ").and_then(|a| a.split_once(",p="));
    let without = without.unwrap().0;
    let hash = ScramHash::Sha256;
    let server_key = hash.sign(&key, b"Server Key");
    let signature = hash.sign(&server_key, format!("{bare},{server},{without}").as_bytes());
    (without.to_owned(), signature)
}

#[test]
fn a_relay_proves_itself_before_it_is_believed() {
    let mut good = login(password(), "SCRAM-SHA-256", &[]);
    let (without, signature) = proved(&mut good);
    assert_eq!(without, format!("c=biws,r={NONCE}1srv"));
    let signature = format!("v={}", STANDARD.encode(signature));
    assert_eq!(said(&good.answer(&challenge(&signature))), "> ");
    assert_eq!(good.answer(&reply(235, (7, 0), "welcome")), LoginStep::Done);

    // A wrong proof ends the exchange, whatever the relay says then.
    for signature in ["v=AAAA", "e=other-error", ""] {
        let mut wrong = login(password(), "SCRAM-SHA-256 PLAIN", &[]);
        proved(&mut wrong);
        assert_eq!(said(&wrong.answer(&challenge(signature))), "*");
        let LoginStep::Failed(why) = wrong.answer(&reply(235, (7, 0), "welcome")) else {
            panic!("it is believed");
        };
        assert_eq!(why.code, 0, "{why}");
    }
    // And so does none.
    let mut none = login(password(), "SCRAM-SHA-256 PLAIN", &[]);
    proved(&mut none);
    let step = none.answer(&reply(235, (7, 0), "welcome"));
    assert!(shown(&step).contains("did not prove"), "{}", shown(&step));
    let mut none = login(password(), "SCRAM-SHA-256 PLAIN", &[]);
    none.begin();
    let step = none.answer(&reply(235, (7, 0), "welcome"));
    assert!(shown(&step).contains("did not prove"), "{}", shown(&step));
}

#[test]
fn a_refused_password_is_not_tried_by_another_mechanism() {
    let mut wrong = login(password(), "SCRAM-SHA-256 PLAIN", &[]);
    proved(&mut wrong);
    let refusal = reply(535, (7, 8), "wrong password");
    assert_eq!(wrong.answer(&refusal), LoginStep::Failed(refusal.clone()));
    let mut wrong = login(password(), "CRAM-MD5 PLAIN", &[]);
    assert_eq!(said(&wrong.begin().unwrap()), "AUTH CRAM-MD5");
    wrong.answer(&challenge("<1@mx.example>"));
    assert_eq!(wrong.answer(&refusal), LoginStep::Failed(refusal));
}

#[test]
fn a_refused_mechanism_makes_room_for_the_next() {
    for refusal in [
        mechanism_refused(),
        reply(534, (7, 9), "too weak"),
        reply(535, (7, 4), "not this"),
        Reply::new(504, None, "what"),
    ] {
        let mut login = login(password(), "CRAM-MD5 PLAIN", &[]);
        login.begin();
        let next = login.answer(&refusal);
        assert_eq!(said(&next), "PLAIN \0user\0pencil", "{refusal}");
        assert_eq!(login.answer(&refusal), LoginStep::Failed(refusal));
    }
}

#[test]
fn a_relay_that_binds_in_another_way_is_asked_for_that() {
    let mut login = login(password(), "SCRAM-SHA-256-PLUS PLAIN", &both_kinds());
    assert!(said(&login.begin().unwrap()).contains("p=tls-exporter,,"));
    let unsupported = challenge("e=unsupported-channel-binding-type");
    assert_eq!(said(&login.answer(&unsupported)), "*");
    let next = login.answer(&reply(501, (7, 0), "cancelled"));
    let first = said(&next);
    // Another exchange has another nonce.
    assert!(
        first.contains("p=tls-server-end-point,,") && first.ends_with(&format!("{NONCE}2")),
        "{first}"
    );
    // That it knows neither is no reason to tell it the password.
    assert_eq!(said(&login.answer(&unsupported)), "*");
    let end = login.answer(&reply(501, (7, 0), "cancelled"));
    assert!(shown(&end).contains("no type that is known"), "{end:?}");
}

#[test]
fn cram_md5_answers_with_a_digest() {
    let who = Credentials {
        username: "tim".into(),
        secret: Secret::Password("tanstaaftanstaaf".into()),
        mechanisms: vec![Mechanism::CramMd5],
    };
    let mut login = login(who, "CRAM-MD5", &[]);
    assert_eq!(said(&login.begin().unwrap()), "AUTH CRAM-MD5");
    // RFC 2195 §2.
    let asked = challenge("<1896.697170952@postoffice.reston.mci.net>");
    assert_eq!(
        said(&login.answer(&asked)),
        "> tim b913a602c7eda7a495b4e6e7334d3890"
    );
    assert_eq!(login.answer(&reply(235, (7, 0), "in")), LoginStep::Done);
}

#[test]
fn a_refused_token_keeps_the_relays_reason() {
    let reason = "{\"status\":\"invalid_token\"}";
    for (offered, first, answer) in [
        (
            "OAUTHBEARER",
            "OAUTHBEARER n,a=a=2Cb@c.example,\u{1}auth=Bearer geheim\u{1}\u{1}",
            "> \u{1}",
        ),
        (
            "XOAUTH2",
            "XOAUTH2 user=a,b@c.example\u{1}auth=Bearer geheim\u{1}\u{1}",
            "> ",
        ),
    ] {
        let mut login = login(token("geheim"), offered, &[]);
        assert_eq!(said(&login.begin().unwrap()), first);
        assert_eq!(said(&login.answer(&challenge(reason))), answer);
        let step = login.answer(&reply(535, (7, 8), "no"));
        assert_eq!(shown(&step), format!("535 5.7.8 no ({reason})"));
        assert!(!format!("{login:?} {:?}", token("geheim")).contains("geheim"));
    }
}

#[test]
fn a_long_token_waits_until_it_is_asked_for() {
    let long = "t".repeat(1000);
    let mut login = login(token(&long), "XOAUTH2", &[]);
    assert_eq!(said(&login.begin().unwrap()), "AUTH XOAUTH2");
    let step = login.answer(&Reply::new(334, None, ""));
    let expected = format!("> user=a,b@c.example\u{1}auth=Bearer {long}\u{1}\u{1}");
    assert_eq!(said(&step), expected);
    assert_eq!(said(&login.answer(&challenge("{}"))), "> ");
    let refused = login.answer(&reply(535, (7, 8), "no"));
    assert_eq!(shown(&refused), "535 5.7.8 no ({})");
}

#[test]
fn what_is_no_challenge_ends_the_exchange() {
    let no_base64 = Reply::new(334, None, "Username:");
    let mut plain = login(password(), "PLAIN", &[]);
    plain.begin();
    assert_eq!(said(&plain.answer(&challenge("more?"))), "*");
    assert!(matches!(
        plain.answer(&no_base64),
        LoginStep::Failed(Reply { code: 0, .. })
    ));
    let mut scram = login(password(), "SCRAM-SHA-1", &[]);
    scram.begin();
    assert_eq!(said(&scram.answer(&no_base64)), "*");
    // Who asks for name and password in clear text is understood.
    let mut by_name = login(password(), "LOGIN", &[]);
    by_name.begin();
    assert_eq!(said(&by_name.answer(&no_base64)), "> user");
    assert_eq!(said(&by_name.answer(&no_base64)), "> pencil");
}
