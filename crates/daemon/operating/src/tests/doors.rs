//! The sockets in the data directory: who may ask, and what becomes of garbage.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ops::line::{self, Heard};
use ops::{Act, Count, List, Pause, Selection, Verb, VerbErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::office::{OFF, Office};
use crate::{own_mail, socket};

/// Longer than any answer takes; without it a test that fails would hang.
const LIMIT: Duration = Duration::from_secs(30);

/// An office whose socket is open.
async fn opened() -> (Office, PathBuf) {
    let office = Office::new(OFF).await;
    let data_dir = office.staging.data_dir();
    let door = socket::open(&data_dir).unwrap();
    tokio::spawn(socket::serve(Arc::clone(&office.operating), door));
    (office, ops::admin_socket(&data_dir))
}

/// What is answered to these octets, to its end.
async fn answer(door: &PathBuf, said: &[u8]) -> String {
    let mut stream = UnixStream::connect(door).await.unwrap();
    // It may be refused before all of it is read.
    drop(stream.write_all(said).await);
    drop(stream.shutdown().await);
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    drop(tokio::time::timeout(LIMIT, read).await.expect("an end"));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_request_of_one_line_has_an_answer_of_one_line() {
    let (office, door) = opened().await;
    office
        .staging
        .mail("ann@a.example", &["bob@b.example"])
        .await;
    let ask = line::request_line(Count(Selection::All)).unwrap();
    let text = answer(&door, ask.as_bytes()).await;
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let Heard::End(Ok(1)) = line::read_answer::<Count>(&text).unwrap() else {
        panic!("{text}");
    };
    let act = Act {
        verb: Verb::Hold,
        selection: Selection::All,
    };
    let ask = line::request_line(act).unwrap();
    let text = answer(&door, ask.as_bytes()).await;
    let last = text.lines().last().unwrap();
    let Heard::End(Ok(acted)) = line::read_answer::<Act>(last).unwrap() else {
        panic!("{text}");
    };
    assert_eq!(acted.changed, 1);
    let line = office.staging.logged("action", &["verb=hold"]).await;
    assert!(
        line.contains("who=uid=") || line.contains("who=\"uid="),
        "{line}"
    );
}

#[tokio::test]
async fn garbage_is_answered_and_harms_nobody() {
    let (office, door) = opened().await;
    let long = format!("{{\"format\":2,\"ask\":\"{}\"}}\n", "x".repeat(2 << 20));
    for said in [
        "",
        "\n",
        "stats\n",
        "{}\n",
        "{\"format\":1,\"ask\":\"stats\"}\n",
        "{\"format\":2}\n",
        "{\"format\":2,\"ask\":{\"fly\":null}}\n",
        "{\"format\":2,\"ask\":{\"count\":{\"filter\":7}}}\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        long.as_str(),
    ] {
        let text = answer(&door, said.as_bytes()).await;
        let heard = line::read_answer::<Count>(&text).unwrap();
        let start = said.get(..40).unwrap_or(said);
        let Heard::End(Err(why)) = heard else {
            panic!("{start}: {text}");
        };
        assert_eq!(why.kind(), VerbErrorKind::Failed, "{start}");
        assert!(
            why.to_string().starts_with("the request is not valid: "),
            "{start}: {why}"
        );
    }
    // Octets that are no text have no line.
    assert_eq!(answer(&door, b"\xff\xfe\x00\n").await, "");
    let ask = line::request_line(Count(Selection::All)).unwrap();
    let text = answer(&door, ask.as_bytes()).await;
    assert!(matches!(
        line::read_answer::<Count>(&text).unwrap(),
        Heard::End(Ok(0))
    ));
    assert!(office.staging.lines("action").await.is_empty());
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_has_ordered_all_the_same() {
    let (office, door) = opened().await;
    let pause = Pause {
        domain: "b.example".to_owned(),
        on: true,
    };
    let ask = line::request_line(pause).unwrap();
    let mut stream = UnixStream::connect(&door).await.unwrap();
    stream.write_all(ask.as_bytes()).await.unwrap();
    drop(stream);
    office.staging.logged("action", &["verb=pause"]).await;
    // And who never ends a line keeps nobody else out.
    let mut silent = UnixStream::connect(&door).await.unwrap();
    silent.write_all(b"{\"format\":2").await.unwrap();
    let ask = line::request_line(ops::Sites).unwrap();
    let text = answer(&door, ask.as_bytes()).await;
    let Heard::End(Ok(sites)) = line::read_answer::<ops::Sites>(&text).unwrap() else {
        panic!("{text}");
    };
    assert_eq!(sites.paused, ["b.example"]);
}

#[tokio::test]
async fn the_sockets_are_for_those_whom_their_modes_let_in_and_replace_old_ones() {
    let office = Office::new(OFF).await;
    let data_dir = office.staging.data_dir();
    let mode = |path: &PathBuf| {
        let mode = std::fs::symlink_metadata(path)
            .unwrap()
            .permissions()
            .mode();
        mode & 0o777
    };
    let admin = ops::admin_socket(&data_dir);
    // A server that was killed has left its own.
    drop(std::os::unix::net::UnixListener::bind(&admin).unwrap());
    let door = socket::open(&data_dir).unwrap();
    assert_eq!(mode(&admin), 0o660);
    let own = ops::own_mail_socket(&data_dir);
    let _own_door = own_mail::open(&data_dir).unwrap();
    assert_eq!(mode(&own), 0o666);
    let serving = tokio::spawn(socket::serve(Arc::clone(&office.operating), door));
    office.staging.node.stopping.cancel();
    tokio::time::timeout(LIMIT, serving)
        .await
        .expect("an end")
        .unwrap();
    // A directory is in the way: nothing is removed, and it is an error.
    std::fs::remove_file(&admin).unwrap();
    std::fs::create_dir(&admin).unwrap();
    assert!(socket::open(&data_dir).is_err());
    assert!(admin.is_dir());
}

#[tokio::test]
async fn a_user_sees_the_mail_that_they_sent_by_sendmail_and_no_other() {
    let office = Office::new(OFF).await;
    let data_dir = office.staging.data_dir();
    let door = own_mail::open(&data_dir).unwrap();
    tokio::spawn(own_mail::serve(Arc::clone(&office.staging.node), door));
    let me = drops::name_of(rustix::process::getuid().as_raw());
    let mail = |user: &str, via: &str, to: &str| {
        let mut mail = staging::submission("ann@a.example", &[to]);
        mail.submitter.user = Some(user.to_owned());
        via.clone_into(&mut mail.submitter.via);
        mail
    };
    for (user, via, to) in [
        (me.as_str(), drops::VIA, "own@b.example"),
        // A login for mail clients of the same name, and another user.
        (me.as_str(), "smtp", "client@b.example"),
        ("somebody-else", drops::VIA, "other@b.example"),
    ] {
        office.staging.hand_in(mail(user, via, to)).await;
    }
    let text = answer(&ops::own_mail_socket(&data_dir), b"").await;
    let Heard::End(Ok(rows)) = line::read_answer::<List>(&text).unwrap() else {
        panic!("{text}");
    };
    let found: Vec<&str> = rows.iter().map(|row| row.recipient.as_str()).collect();
    assert_eq!(found, ["own@b.example"]);
    // What is said to it makes no difference.
    let text = answer(
        &ops::own_mail_socket(&data_dir),
        b"{\"format\":2,\"ask\":\"stats\"}\n",
    )
    .await;
    assert!(line::read_answer::<List>(&text).is_ok(), "{text}");
}
