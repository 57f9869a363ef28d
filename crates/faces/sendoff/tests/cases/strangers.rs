//! What strangers may cost: connections, memory, time and lines of the log, each attack against the real server
//! over real sockets. Who attacks comes from other loopback addresses than who is served meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Client, Config, Scratch, Sendoff};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, mail_of, send};
use crate::ways_in::{add_user, in_tls, with_tls};
use crate::web::Web;

/// A connection from this address of the loopback network.
fn from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own = IpAddr::from(Ipv4Addr::new(127, 0, 7, last));
    let bound = socket.bind(&SockAddr::from(SocketAddr::new(own, 0)));
    bound.expect("all of 127.0.0.0/8 is this computer");
    socket.connect(&to.into()).expect("it is listened");
    let stream = TcpStream::from(socket);
    let set = stream.set_read_timeout(Some(SOON));
    set.expect("a time-out can be set");
    stream
}

/// What the server says within the time-out, up to this text.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut said = Vec::new();
    let mut octets = [0; 4096];
    while !String::from_utf8_lossy(&said).contains(text) {
        match stream.read(&mut octets) {
            Ok(count @ 1..) => said.extend(octets.iter().take(count)),
            Ok(0) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What the server says within this time.
fn said_within(stream: &mut TcpStream, time: Duration) -> String {
    let until = Instant::now() + time;
    let mut said = Vec::new();
    let mut octets = [0; 4096];
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let set = stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
        set.expect("a time-out can be set");
        if let Ok(count) = stream.read(&mut octets) {
            said.extend(octets.iter().take(count));
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Resident memory in megabytes.
fn resident(server: &Sendoff) -> u64 {
    let pid = server.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes = kilobytes.and_then(|n| n.parse::<u64>().ok());
    kilobytes.expect("a number") / 1024
}

/// A server with few places, so that a test can take them all.
fn small(scene: &Scene, places: i32) -> Config {
    scene
        .config()
        .set("intake.max_connections", places)
        .set("intake.max_connections_per_source", places / 2)
}

#[test]
fn idle_connections_close_the_door_to_nobody() {
    let scene = Scene::new();
    let host = scene.world.domain("away.example");
    let server = Sendoff::start(BINARY, small(&scene, 40));
    let idle: Vec<TcpStream> = (0..40).map(|n| from(n % 8 + 1, server.address())).collect();
    thread::sleep(Duration::from_secs(6));
    // All places are taken, by clients that have done nothing for more than five seconds.
    for n in 0..10 {
        send(&server, &format!("u{n}@away.example"));
    }
    assert_eq!(host.wait_for(10, SOON).len(), 10, "{}", server.log());
    let mut gone = 0;
    for mut stream in idle {
        stream.set_nonblocking(true).expect("it can be");
        let mut said = String::new();
        drop(stream.read_to_string(&mut said));
        gone += u32::from(said.contains("421 4.3.2") && said.contains("yours was idle"));
    }
    assert!((1..=10).contains(&gone), "{gone} made room");
}

#[test]
fn content_of_one_client_leaves_memory_for_others() {
    let scene = Scene::new();
    let host = scene.world.domain("away.example");
    let config = scene
        .config()
        .set("intake.max_connections_per_source", 1000)
        .set("outgoing.max_message_size", "20MB");
    let server = Sendoff::start(BINARY, config);
    let start = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@away.example>\r\nDATA\r\n";
    // 300 MB in all if nothing held it: more than the share of one client.
    let content = mail_of("unfinished", 5_000_000);
    let began: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = from(1, server.address());
            stream.write_all(start.as_bytes()).expect("it is taken");
            read_until(&mut stream, "354");
            let short = stream.set_write_timeout(Some(Duration::from_millis(200)));
            short.expect("a time-out can be set");
            drop(stream.write_all(content.as_bytes()));
            stream
        })
        .collect();
    let held = resident(&server);
    assert!(held < 700, "{held} MB");
    let mut client = Client::connect(server.address()).expect("a greeting");
    client.ehlo().expect("an answer");
    let large = mail_of("large", 8_000_000);
    let reply = client.send_mail(SENDER, &["b@away.example"], large.as_bytes());
    assert_eq!(reply.expect("an answer").code, 250);
    assert_eq!(host.wait_for(1, SOON).len(), 1, "{}", server.log());
    drop(began);
}

#[test]
fn a_busy_application_server_gets_its_large_mails_in_one_after_the_other() {
    let scene = Scene::new();
    let server = Sendoff::start(
        BINARY,
        scene.config().set("outgoing.max_message_size", "20MB"),
    );
    // 400 MB at once, more than the share of one client.
    let content = mail_of("large", 10_000_000);
    let start = format!(
        "EHLO c\r\nMAIL FROM:<> SIZE={}\r\nRCPT TO:<a@nowhere.example>\r\nDATA\r\n",
        content.len()
    );
    let sending: Vec<(TcpStream, &[u8])> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).expect("it is listened");
            stream.write_all(start.as_bytes()).expect("it is taken");
            read_until(&mut stream, "354");
            (stream, content.as_bytes())
        })
        .collect();
    let began = Instant::now();
    for said in begin_and_end(sending, b".\r\n") {
        assert!(said.starts_with("250"), "{said}");
    }
    assert!(
        began.elapsed() < SOON * 2,
        "nobody waited for others in vain"
    );
}

#[test]
fn a_busy_program_gets_its_large_mails_in_by_http_one_after_the_other() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let key = server.run(&["key", "add", "app", "--scope", "send"]);
    // 320 MB at once, and as much again thrice while they are read: more than the share of one key.
    let content =
        mail_of("large", 8_000_000).replace("Subject:", "To: a@nowhere.example\r\nSubject:");
    let start = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: message/rfc822\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        key.trim(),
        content.len()
    );
    let sending: Vec<(TcpStream, &[u8])> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(web.address()).expect("it is listened");
            stream.write_all(start.as_bytes()).expect("it is taken");
            (stream, content.as_bytes())
        })
        .collect();
    let began = Instant::now();
    for said in begin_and_end(sending, b"") {
        assert!(said.starts_with("HTTP/1.1 202"), "{said}");
    }
    assert!(
        began.elapsed() < SOON * 2,
        "nobody waited for others in vain"
    );
}

/// Begins all of these, which get as far as they are let, and then ends them; what is answered.
fn begin_and_end(mut sending: Vec<(TcpStream, &[u8])>, end: &[u8]) -> Vec<String> {
    for (stream, rest) in &mut sending {
        let short = stream.set_write_timeout(Some(Duration::from_millis(100)));
        short.expect("a time-out can be set");
        while rest.len() > 1_000_000
            && let Ok(written @ 1..) = stream.write(rest.get(..65_536).unwrap_or_default())
        {
            *rest = rest.get(written..).unwrap_or_default();
        }
    }
    let ends: Vec<_> = sending
        .into_iter()
        .map(|(mut stream, rest)| {
            let rest = [rest, end].concat();
            thread::spawn(move || {
                let wait = Some(SOON * 3);
                let long = stream
                    .set_write_timeout(wait)
                    .and_then(|()| stream.set_read_timeout(wait));
                // Who is refused is not read to the end.
                drop(long.and_then(|()| stream.write_all(&rest)));
                read_until(&mut stream, "\r\n")
            })
        })
        .collect();
    ends.into_iter()
        .map(|end| end.join().expect("no panic"))
        .collect()
}

#[test]
fn a_body_is_counted_as_it_comes_and_lists_end() {
    let scene = Scene::new();
    let (server, web) = Web::start(&scene, scene.config());
    let web = web.with_key(&server, "send", &[]);
    let before = resident(&server);
    let many = vec!["a@b.example"; 1_500_000];
    let answer = web.post_json(
        "/api/v1/messages",
        &json!({"from": SENDER, "to": many, "subject": "x", "text": "x"}),
    );
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("10000"), "{}", answer.text());
    let list = "a@b.example,".repeat(1_500_000);
    let text = json!({"from": SENDER, "to": [list], "subject": "x", "text": "x"});
    let answer = web.post_json("/api/v1/messages", &text);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let list = "a@b.example,\r\n ".repeat(1_200_000);
    let whole = format!("From: {SENDER}\r\nTo: {list}\r\n\r\nx\r\n");
    let answer = web.post("/api/v1/messages", "message/rfc822", whole.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());
    let more = resident(&server).saturating_sub(before);
    assert!(more < 200, "{more} MB for lists of 18 MB");
}

#[test]
fn half_open_requests_do_not_keep_health_from_answering() {
    let scene = Scene::new();
    let config = scene.config().set("console.max_connections", 20);
    let (_server, web) = Web::start(&scene, config);
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(web.address()).expect("it is listened");
        drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "));
        open.push(stream);
    }
    thread::sleep(Duration::from_millis(600));
    let began = Instant::now();
    web.get("/healthz").expect(200);
    assert!(began.elapsed() < Duration::from_secs(3));
    drop(open);
}

#[test]
fn who_guesses_addresses_is_slowed_down_and_stays_so() {
    let scene = Scene::new();
    let config = scene.config().set("intake.max_bad_commands", 100_000);
    let server = Sendoff::start(
        BINARY,
        config.in_table("listener", "networks", ["192.0.2.0/24"]),
    );
    let guesses: String = (0..500)
        .map(|n| format!("RCPT TO:<u{n}@b.example>\r\n"))
        .collect();
    let start = "EHLO c\r\nMAIL FROM:<>\r\n";
    let answered = |stream: &mut TcpStream| {
        let all = format!("{start}{guesses}");
        stream.write_all(all.as_bytes()).expect("it is taken");
        said_within(stream, Duration::from_secs(3))
            .matches("550 5.7.1")
            .count()
    };
    let first = answered(&mut from(1, server.address()));
    assert!((10..=14).contains(&first), "{first} answers");
    // Another connection finds no better treatment.
    let again = answered(&mut from(1, server.address()));
    assert!(again <= 2, "{again} answers");
    // Others do.
    let mut other = from(2, server.address());
    other
        .write_all(format!("{start}RCPT TO:<u@b.example>\r\n").as_bytes())
        .expect("it is taken");
    assert!(read_until(&mut other, "550 5.7.1").contains("550 5.7.1"));
}

#[test]
fn who_lost_its_place_is_told_no_more_about_addresses() {
    let scene = Scene::new();
    let config = small(&scene, 8).set("intake.max_bad_commands", 100_000);
    let server = Sendoff::start(
        BINARY,
        config.in_table("listener", "networks", ["192.0.2.0/24"]),
    );
    let guesses: String = (0..90)
        .map(|n| format!("RCPT TO:<u{n}@b.example>\r\n"))
        .collect();
    let start = format!("EHLO c\r\nMAIL FROM:<>\r\n{guesses}");
    let guessing = || -> Vec<TcpStream> {
        let four = (0..4).map(|_| {
            let mut stream = from(1, server.address());
            stream.write_all(start.as_bytes()).expect("it is taken");
            stream
        });
        four.collect()
    };
    let mut first = guessing();
    thread::sleep(Duration::from_millis(5500));
    // Its own places, taken anew.
    let _more = guessing();
    let mut answers = 0;
    for stream in &mut first {
        let said = said_within(stream, Duration::from_secs(1));
        assert!(said.contains("yours was idle"), "{said}");
        answers += said.matches("550 5.7.1").count();
    }
    assert!(answers < 25, "{answers} answers");
}

#[test]
fn who_takes_nothing_in_keeps_no_connection_without_a_place() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, small(&scene, 8));
    let descriptors = || {
        let pid = server.pid().expect("it runs");
        std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count)
    };
    let deaf = || -> Vec<TcpStream> {
        let four = (0..4).map(|_| {
            let mut stream = from(1, server.address());
            stream.set_nonblocking(true).expect("it can be");
            // Until nothing is taken from it any more, for it reads no answer.
            let until = Instant::now() + Duration::from_secs(5);
            let mut refused = 0;
            while refused < 20 && Instant::now() < until {
                match stream.write(&b"EHLO c\r\n".repeat(1000)) {
                    Ok(1..) => refused = 0,
                    Ok(0) | Err(_) => {
                        refused += 1;
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            stream
        });
        four.collect()
    };
    let first = deaf();
    let before = descriptors().expect("it runs");
    thread::sleep(Duration::from_millis(5500));
    let second = deaf();
    let within = |limit| {
        eventually("old ones are gone", limit, || {
            descriptors().expect("it runs") <= before
        })
    };
    within(Duration::from_secs(10));
    drop((first, second));
}

#[test]
fn a_chunk_that_nobody_wants_keeps_no_place() {
    let scene = Scene::new();
    let server = Sendoff::start(BINARY, small(&scene, 8));
    let mut kept: Vec<TcpStream> = (0..4).map(|_| from(1, server.address())).collect();
    for stream in &mut kept {
        let begun = stream.write_all(b"EHLO c\r\nBDAT 60000000\r\n");
        begun.expect("it is taken");
    }
    for _ in 0..6 {
        thread::sleep(Duration::from_secs(1));
        for stream in &mut kept {
            stream.write_all(&[b'x'; 200]).expect("it is taken");
        }
    }
    let mut new = from(1, server.address());
    let said = read_until(&mut new, "\r\n");
    assert!(said.starts_with("220"), "{said}");
}

#[test]
fn one_network_does_not_fill_the_log() {
    let scene = Scene::new();
    let config = scene.config().set("intake.max_connections_per_source", 5);
    let server = Sendoff::start(BINARY, config);
    let before = server.log().len();
    let kept: Vec<TcpStream> = (0..5).map(|_| from(1, server.address())).collect();
    let begun = Instant::now();
    // A line each would be 900 kB, and half as much again for what each says.
    for _ in 0..6000 {
        drop(from(1, server.address()));
    }
    // On a busy computer it takes longer, and more is allowed.
    let allowed = 400_000 + 16_384 * begun.elapsed().as_secs() as usize;
    let more = server.log().len() - before;
    assert!(more < allowed, "{more} octets of log");
    let what = ["client=127.0.7.0/24", "were left out", "turned-away"];
    let told = server.wait_for_log(&what, SOON);
    assert!(told.is_some(), "{}", server.log());
    drop(kept);
}

#[test]
fn who_has_logged_in_keeps_the_place_that_strangers_lose() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let config = with_tls(&scene, &scratch)
        .set("intake.max_connections", 10)
        .set("intake.max_connections_per_source", 10);
    let server = Sendoff::start(BINARY, config);
    add_user(&server, "ann");
    let mut client = in_tls(&scene, &server);
    let reply = client.auth_plain("ann", "correct horse");
    assert_eq!(reply.expect("an answer").code, 235);
    let idle: Vec<TcpStream> = (0..9).map(|n| from(n + 1, server.address())).collect();
    thread::sleep(Duration::from_secs(6));
    for n in 0..9 {
        let mut stream = from(20 + n, server.address());
        assert!(read_until(&mut stream, "220").contains("220"), "{n}");
        drop(stream);
    }
    // The strangers had to go; the user is still there.
    assert_eq!(client.command("NOOP").expect("an answer").code, 250);
    drop(idle);
}
