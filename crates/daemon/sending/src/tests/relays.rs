//! Relays: logins, tokens, faults that are ours, and what is read again when it was mended.

use std::net::IpAddr;
use std::time::Duration;

use deliver::{Credentials, Secret};
use lab::{Config, MxHost, StartTls, WebAnswer, WebHost};
use mail::Outcome;

use super::yard::{HOUR, Land, MINUTE, Yard, transcript, verdict};
use crate::token;

const USER: &str = "ann@a.example";
const BOB: &str = "bob@b.example";
const TOKENS: &str = "login.example";

/// A relay with a login, that proves its address.
fn relay(land: &Land) -> MxHost {
    let ip = IpAddr::V4(land.world.address());
    let host = land.world.host_at(&ip.to_string(), ip);
    host.set(|b| {
        b.login = Some((USER.to_owned(), "secret".to_owned()));
        b.login_required = true;
        b.starttls = StartTls::Good;
    });
    host
}

fn by(land: &Land, relay: &MxHost) -> Config {
    land.config()
        .set("outgoing.mode", "relay")
        .set("outgoing.relay.host", relay.ip().to_string())
        .set("outgoing.relay.port", relay.address().port())
}

fn by_password(land: &Land, relay: &MxHost, password: &str) -> Config {
    by(land, relay)
        .set("outgoing.relay.username", USER)
        .set("outgoing.relay.password", password)
}

/// When a fault of ours is tried again.
fn ours(finished: &node::event::Finished) -> Option<mail::Timestamp> {
    finished.report.site_failure.as_ref()?.ours_until
}

#[tokio::test]
async fn a_login_that_is_refused_is_our_fault_and_mended_when_it_is_taken() {
    let land = Land::new();
    let relay = relay(&land);
    let mut yard = Yard::new(&by_password(&land, &relay, "wrong")).await;
    let begun = yard.staging.now();
    let finished = yard.mail(BOB).await;
    assert_eq!(ours(&finished), Some(begun + 5 * MINUTE));
    let said = transcript(&finished);
    assert!(
        !said.contains("wrong") && !said.contains("d3Jvbmc"),
        "{said}"
    );
    let words = yard.sending.faults.words();
    assert!(
        words[0].contains("535") && words[0].contains("next try at 2026-12-01T08:05"),
        "{words:?}"
    );
    yard.staging.logged("our-fault", &["535", "remedy="]).await;
    let finished = yard.retry(5 * MINUTE).await;
    assert_eq!(
        ours(&finished),
        Some(begun + 20 * MINUTE),
        "it is waited longer"
    );
    assert_eq!(yard.sending.faults.count(), 2);
    relay.set(|b| b.login = Some((USER.to_owned(), "wrong".to_owned())));
    let finished = yard.retry(15 * MINUTE).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    assert!(yard.sending.faults.words().is_empty());
    yard.staging.logged("our-fault", &["what=mended"]).await;
    assert_eq!(relay.received()[0].user.as_deref(), Some(USER));
}

#[tokio::test]
async fn a_password_file_that_is_changed_is_read_at_once() {
    let land = Land::new();
    let relay = relay(&land);
    let file = land.files.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let config = by(&land, &relay)
        .set("outgoing.relay.username", USER)
        .set("outgoing.relay.password_file", file.display().to_string());
    let mut yard = Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert!(ours(&finished).is_some());
    std::fs::write(&file, "secret").unwrap();
    let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_times(times).unwrap();
    // No connection is open: only the look at the file is waited for.
    tokio::time::pause();
    let wanted = yard.staging.wanted.recv().await.unwrap();
    tokio::time::resume();
    assert_eq!(wanted.because, "the relay's password_file changed");
    yard.staging.reload(&config.text()).await;
    yard.sending.faults.forget();
    let finished = yard.retry(HOUR).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_server_that_is_not_the_one_that_was_named_is_our_fault() {
    let land = Land::new();
    let relay = relay(&land);
    for starttls in [StartTls::SelfSigned, StartTls::WrongName] {
        relay.set(|b| b.starttls = starttls);
        let mut yard = Yard::new(&by_password(&land, &relay, "secret")).await;
        let finished = yard.mail(BOB).await;
        assert!(
            ours(&finished).is_some(),
            "{starttls:?}: {finished:?}",
            finished = verdict(&finished)
        );
        assert!(relay.logins().is_empty(), "nobody else hears the password");
    }
    // One that does not answer is not.
    relay.stop();
    let mut yard = Yard::new(&by_password(&land, &relay, "secret")).await;
    let finished = yard.mail(BOB).await;
    assert!(finished.report.site_failure.is_some() && ours(&finished).is_none());
    assert_eq!(yard.sending.faults.count(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_exist_is_our_fault() {
    let land = Land::new();
    let config = land
        .config()
        .rule("b.example", "via_smtp", "nowhere.example");
    let mut yard = Yard::new(&config).await;
    let finished = yard.mail(BOB).await;
    assert!(ours(&finished).is_some());
    let words = yard.sending.faults.words();
    assert!(
        words[0].contains("nowhere.example does not exist"),
        "{words:?}"
    );
}

#[tokio::test]
async fn what_a_relay_takes_is_counted_against_what_its_provider_takes() {
    let land = Land::new();
    let relay = relay(&land);
    let config = by_password(&land, &relay, "secret").set("outgoing.relay.preset", "brevo");
    let mut yard = Yard::new(&config).await;
    let to: Vec<String> = (0..81).map(|n| format!("r{n}@b.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let preset = yard
        .staging
        .node
        .settings()
        .config
        .outgoing
        .relay
        .as_ref()
        .unwrap()
        .preset;
    let explained = |yard: &Yard| yard.sending.relayed.explained(preset.unwrap()).unwrap();
    assert!(explained(&yard).contains("it has accepted 0 messages, 0 recipients today"));
    for _ in 0..3 {
        let message = yard.staging.message("ann@a.example", &to);
        yard.send(message).await;
    }
    let words = explained(&yard);
    assert!(
        words.contains("it has accepted 3 messages, 243 recipients today"),
        "{words}"
    );
    yard.staging
        .logged(
            "warning",
            &["80 % of the provider's daily limit", "243 recipients"],
        )
        .await;
    // What is refused is not counted.
    relay.set(|b| {
        b.reply(lab::Verb::Rcpt, "", "550 5.7.1 no");
    });
    yard.mail(BOB).await;
    assert_eq!(explained(&yard), words);
    yard.staging.advance(24 * HOUR);
    assert!(explained(&yard).contains("0 recipients today"));
}

/// Who gives out tokens, and a relay that takes them.
struct Tokens {
    land: Land,
    relay: MxHost,
    web: WebHost,
}

fn token(token: &str, seconds: u32) -> WebAnswer {
    let text = format!(
        "{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}"
    );
    WebAnswer {
        content: text.into_bytes(),
        ..WebAnswer::status(200)
    }
    .with("Content-Type: application/json")
}

impl Tokens {
    fn new() -> Self {
        let land = Land::new();
        let relay = relay(&land);
        relay.set(|b| {
            b.login = Some((USER.to_owned(), "one".to_owned()));
            b.mechanisms(&["XOAUTH2"]);
        });
        let web = land.world.web(&[TOKENS]);
        Self { land, relay, web }
    }

    fn config(&self) -> Config {
        let url = format!("https://{TOKENS}:{}/token", self.land.world.port());
        by(&self.land, &self.relay)
            .set("outgoing.relay.oauth.token_url", url)
            .set("outgoing.relay.oauth.client_id", "app")
            .set("outgoing.relay.oauth.client_secret", "s3cret")
            .set("outgoing.relay.oauth.user", USER)
    }

    fn asked(&self) -> usize {
        self.web.requests().len()
    }
}

/// The token that a login would be by now.
async fn filled(yard: &Yard) -> Result<String, String> {
    let settings = yard.staging.node.settings();
    let relay = settings.config.outgoing.relay.as_ref().unwrap();
    let mut login: Credentials = relay.credentials.clone().unwrap();
    match token::fill(&yard.sending, &settings, Some(&mut login)).await {
        Ok(token) => {
            let token = token.unwrap();
            assert!(matches!(&login.secret, Secret::Token(filled) if *filled == token));
            Ok(token)
        }
        Err(failure) => {
            assert!(failure.ours);
            Err(failure.reply.text)
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_renewed_before_its_end() {
    let tokens = Tokens::new();
    let answers = vec![
        token("one", 1000),
        token("two", 1000),
        WebAnswer::status(500),
    ];
    tokens.web.answer_in_turn(TOKENS, "/token", answers);
    let mut yard = Yard::new(&tokens.config()).await;
    let finished = yard.mail(BOB).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    for _ in 0..3 {
        assert_eq!(filled(&yard).await.as_deref(), Ok("one"));
    }
    assert_eq!(tokens.asked(), 1);
    yard.staging.advance(Duration::from_secs(800));
    assert_eq!(filled(&yard).await.as_deref(), Ok("two"));
    // The next cannot be had: the old one holds to its end, and it is not asked all the time.
    yard.staging.advance(Duration::from_secs(800));
    assert_eq!(filled(&yard).await.as_deref(), Ok("two"));
    assert_eq!(filled(&yard).await.as_deref(), Ok("two"));
    assert_eq!(tokens.asked(), 3);
    yard.staging.advance(Duration::from_secs(200));
    let why = filled(&yard).await.unwrap_err();
    assert!(why.starts_with("no token for the relay: "), "{why}");
    yard.staging.logged("oauth", &["no token"]).await;
}

#[tokio::test]
async fn who_comes_right_after_a_failure_is_told_of_it_without_asking_again() {
    let tokens = Tokens::new();
    tokens.web.answer(TOKENS, "/token", WebAnswer::status(500));
    let yard = Yard::new(&tokens.config()).await;
    let first = filled(&yard).await.unwrap_err();
    assert_eq!(filled(&yard).await.unwrap_err(), first);
    assert_eq!(tokens.asked(), 1);
    tokens.web.answer(TOKENS, "/token", token("one", 1000));
    yard.staging.advance(Duration::from_secs(5));
    assert_eq!(filled(&yard).await.as_deref(), Ok("one"));
    // A new configuration is tried at once.
    let yard = Yard::new(&tokens.config()).await;
    tokens.web.answer(TOKENS, "/token", WebAnswer::status(500));
    assert!(filled(&yard).await.is_err());
    tokens.web.answer(TOKENS, "/token", token("one", 1000));
    yard.sending.oauth.begin_anew().await;
    assert!(filled(&yard).await.is_ok());
}

#[tokio::test]
async fn a_token_is_kept_for_the_next_start_in_a_file_of_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let tokens = Tokens::new();
    tokens.web.answer(TOKENS, "/token", token("one", 1000));
    let yard = Yard::new(&tokens.config()).await;
    filled(&yard).await.unwrap();
    let file = yard.staging.data_dir().join("relay-token.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = Yard::new(&tokens.config()).await;
    std::fs::copy(&file, other.staging.data_dir().join("relay-token.json")).unwrap();
    assert_eq!(filled(&other).await.as_deref(), Ok("one"));
    assert_eq!(tokens.asked(), 1);
    // Of another client it is none, and garbage is none either.
    let stranger = Yard::new(
        &tokens
            .config()
            .set("outgoing.relay.oauth.client_id", "other"),
    )
    .await;
    std::fs::copy(&file, stranger.staging.data_dir().join("relay-token.json")).unwrap();
    filled(&stranger).await.unwrap();
    assert_eq!(tokens.asked(), 2);
    let broken = Yard::new(&tokens.config()).await;
    std::fs::write(
        broken.staging.data_dir().join("relay-token.json"),
        "{\"subject\":",
    )
    .unwrap();
    filled(&broken).await.unwrap();
    assert_eq!(tokens.asked(), 3);
}

#[tokio::test]
async fn a_token_that_the_relay_refuses_is_not_used_again() {
    let tokens = Tokens::new();
    let answers = vec![token("zero", 1000), token("one", 1000)];
    tokens.web.answer_in_turn(TOKENS, "/token", answers);
    let mut yard = Yard::new(&tokens.config()).await;
    let finished = yard.mail(BOB).await;
    assert!(ours(&finished).is_some());
    assert!(
        !transcript(&finished).contains("zero"),
        "{}",
        transcript(&finished)
    );
    let file = yard.staging.data_dir().join("relay-token.json");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("zero"));
    let finished = yard.retry(5 * MINUTE).await;
    assert_eq!(verdict(&finished).outcome, Outcome::Delivered);
    let accepted: Vec<bool> = tokens
        .relay
        .logins()
        .iter()
        .map(|login| login.accepted)
        .collect();
    assert_eq!(accepted, [false, true]);
    assert_eq!(tokens.asked(), 2);
}
