//! Guessing of passwords, by every way of logging in, and what becomes of sessions when their users change.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::{Client, Scratch, Sendoff};

use crate::scene::{BINARY, SENDER, SOON, Scene, mail};
use crate::ways_in::{add_user, in_tls, with_tls};

/// What answers a wrong password, and what answers when none is looked at any more.
const WRONG: u16 = 535;
const LOCKED: u16 = 454;

struct House {
    scene: Scene,
    scratch: Scratch,
}

impl House {
    fn new() -> Self {
        Self {
            scene: Scene::new(),
            scratch: Scratch::new(),
        }
    }

    fn server(&self) -> Sendoff {
        let server = Sendoff::start(BINARY, with_tls(&self.scene, &self.scratch));
        add_user(&server, "ann");
        server
    }

    fn code(&self, server: &Sendoff, scram: bool, password: &str) -> u16 {
        let mut client = in_tls(&self.scene, server);
        let reply = match scram {
            true => client.auth_scram("ann", password, "n"),
            false => client.auth_plain("ann", password),
        };
        reply.expect("the server answers").code
    }
}

/// Locks the tests' own address out.
fn guess(house: &House, server: &Sendoff, scram: bool) -> Vec<u16> {
    let clients: Vec<Client> = (0..50).map(|_| in_tls(&house.scene, server)).collect();
    let guesses: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                let reply = match scram {
                    true => client.auth_scram("ann", "wrong horse", "n"),
                    false => client.auth_plain("ann", "wrong horse"),
                };
                reply.expect("the server answers").code
            })
        })
        .collect();
    guesses
        .into_iter()
        .map(|guess| guess.join().expect("no panic"))
        .collect()
}

#[test]
fn guesses_at_once_are_no_more_than_guesses_one_by_one() {
    let house = House::new();
    for scram in [false, true] {
        let server = house.server();
        let codes = guess(&house, &server, scram);
        let looked_at = codes.iter().filter(|code| **code == WRONG).count();
        assert_eq!(looked_at, 20, "{codes:?}");
        assert!(codes.iter().all(|code| matches!(*code, WRONG | LOCKED)));
        // The right password is told from a wrong one by none of the ways.
        assert_eq!(house.code(&server, false, "correct horse"), LOCKED);
        assert_eq!(house.code(&server, true, "correct horse"), LOCKED);
    }
}

#[test]
fn a_locked_address_is_given_no_challenge() {
    let house = House::new();
    let server = house.server();
    guess(&house, &server, true);
    let mut client = in_tls(&house.scene, &server);
    let first = STANDARD.encode("n,,n=ann,r=abcdefgh");
    let reply = client.command(&format!("AUTH SCRAM-SHA-256 {first}"));
    assert_eq!(reply.expect("the server answers").code, LOCKED);
}

#[test]
fn right_logins_at_once_are_all_taken() {
    let house = House::new();
    let server = house.server();
    let clients: Vec<Client> = (0..60).map(|_| in_tls(&house.scene, &server)).collect();
    let logins: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || client.auth_scram("ann", "correct horse", "n").unwrap().code)
        })
        .collect();
    let codes: Vec<u16> = logins
        .into_iter()
        .map(|login| login.join().unwrap())
        .collect();
    assert!(codes.iter().all(|code| *code == 235), "{codes:?}");
}

#[test]
fn who_is_not_there_has_the_same_salt_after_a_reload_and_a_restart() {
    let house = House::new();
    let mut server = house.server();
    let salt = |server: &Sendoff| {
        let mut client = in_tls(&house.scene, server);
        let first = STANDARD.encode("n,,n=nobody,r=abcdefgh");
        let reply = client
            .command(&format!("AUTH SCRAM-SHA-256 {first}"))
            .unwrap();
        let challenge = reply.to_string();
        let challenge = challenge.rsplit(' ').next().unwrap_or_default();
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let salt = challenge.split(',').find(|field| field.starts_with("s="));
        salt.expect("a salt").to_owned()
    };
    let before = salt(&server);
    server.run(&["reload"]);
    assert_eq!(salt(&server), before);
    server.terminate();
    server.restart();
    assert_eq!(salt(&server), before);
}

#[test]
fn a_user_who_is_changed_loses_open_sessions() {
    let house = House::new();
    let server = house.server();
    for change in ["senders", "password", "remove"] {
        let mut client = in_tls(&house.scene, &server);
        assert_eq!(client.auth_plain("ann", "correct horse").unwrap().code, 235);
        // One that is in the middle of a mail, too.
        let mut busy = in_tls(&house.scene, &server);
        assert_eq!(busy.auth_plain("ann", "correct horse").unwrap().code, 235);
        busy.expect("MAIL FROM:<>", 250).unwrap();
        let arguments = ["user", change, "ann", "origin.example"];
        match change {
            "senders" => drop(server.run(&["user", "senders", "ann", SENDER])),
            "password" => add_password(&server),
            _ => drop(server.run(&arguments[..3])),
        }
        for client in [&mut client, &mut busy] {
            let said = client.reply().expect("the server says why");
            assert_eq!(said.code, 421, "{said}");
            assert!(
                said.to_string().contains("account has been changed"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_challenge_of_before_is_worth_nothing_after_the_password_has_changed() {
    let house = House::new();
    let server = house.server();
    let mut client = in_tls(&house.scene, &server);
    let reply = client.auth_scram_after("ann", "correct horse", "n", || {
        let set = server.cli_with_input(&["user", "password", "ann"], "another horse\n");
        assert!(set.status.success(), "{set:?}");
    });
    assert_eq!(reply.expect("the server answers").code, WRONG);
    assert_eq!(house.code(&server, true, "another horse"), 235);
}

#[test]
fn an_office_is_not_locked_out_by_one_old_password() {
    let house = House::new();
    let server = house.server();
    add_user(&server, "bob");
    assert_eq!(house.code(&server, false, "correct horse"), 235);
    let guesses: Vec<_> = (0..22)
        .map(|_| in_tls(&house.scene, &server))
        .map(|mut client| {
            thread::spawn(move || client.auth_plain("bob", "old horse").unwrap().code)
        })
        .collect();
    let codes: Vec<u16> = guesses.into_iter().map(|g| g.join().unwrap()).collect();
    assert!(codes.contains(&LOCKED), "{codes:?}");
    assert_eq!(house.code(&server, false, "correct horse"), 235);
    assert_eq!(house.code(&server, true, "correct horse"), 235);
}

fn add_password(server: &Sendoff) {
    let set = server.cli_with_input(&["user", "password", "ann"], "correct horse\n");
    assert!(set.status.success(), "{set:?}");
}

#[test]
fn an_old_session_ends_between_two_mails() {
    let scene = Scene::new();
    let host = scene.world.domain("away.example");
    let config = scene.config().set("intake.max_session_age", "1s");
    let server = Sendoff::start(BINARY, config);
    let mut client = Client::over(TcpStream::connect(server.address()).unwrap()).unwrap();
    client.ehlo().unwrap();
    client
        .expect(&format!("MAIL FROM:<{SENDER}>"), 250)
        .unwrap();
    client.expect("RCPT TO:<a@away.example>", 250).unwrap();
    client.expect("DATA", 354).unwrap();
    // Older than it may become, in the middle of a mail.
    thread::sleep(Duration::from_millis(1500));
    let taken = client.content(mail("x").as_bytes());
    assert_eq!(taken.expect("an answer").code, 250);
    let end = client.reply().expect("it is told to go");
    assert!(
        end.code == 421
            && end
                .to_string()
                .contains("the session has reached its maximum duration"),
        "{end}"
    );
    assert_eq!(host.wait_for(1, SOON).len(), 1);
}
