//! Listeners that a reload opens, closes and changes.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};

use lab::{Client, Config, Scratch, Sendoff, Value, free_address};

use crate::scene::{BINARY, SENDER, SOON, Scene, eventually, log_lines, mail, not_tested};

/// A configuration with these listeners alone.
fn with(config: Config, listeners: &[(SocketAddr, &[(&str, Value)])]) -> Config {
    let mut config = config.without("listener");
    for (address, more) in listeners {
        let own = [("address", address.to_string().into())];
        config = config.table("listener", &[&own, *more].concat());
    }
    config
}

fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn a_reload_opens_and_closes_listeners_and_sessions_go_on() {
    let scene = Scene::new();
    let host = scene.world.domain("there.example");
    let (stays, goes, comes) = (free_address(), free_address(), free_address());
    let plain: &[(&str, Value)] = &[];
    let closed: &[(&str, Value)] = &[("networks", ["192.0.2.0/24"].into())];
    let first = scene.config().server();
    let listeners = [(first, plain), (stays, closed), (goes, plain)];
    let mut server = Sendoff::start(BINARY, with(scene.config(), &listeners));
    let relays = |address: SocketAddr| {
        let mut client = Client::connect(address).expect("it listens");
        client.expect("EHLO a.example", 250).expect("EHLO is taken");
        let mail = format!("MAIL FROM:<{SENDER}>");
        client.expect(&mail, 250).expect("MAIL is taken");
        let reply = client.command("RCPT TO:<bob@there.example>");
        reply.expect("the server answers").code == 250
    };
    assert!(!relays(stays) && relays(goes) && refuses(comes));
    let mut session = Client::connect(goes).expect("it listens");
    session
        .expect("EHLO a.example", 250)
        .expect("EHLO is taken");

    // In another order: each keeps what is set for it.
    let listeners = [(comes, closed), (stays, plain), (first, plain)];
    server.reconfigure(|config| with(config, &listeners));
    server.run(&["reload"]);
    assert!(relays(stays) && !relays(comes) && relays(first));
    eventually("it is closed", SOON, || refuses(goes));
    let goes = goes.to_string();
    let said = || log_lines(&server, &[" listening ", &goes, "what=closed"]).len();
    eventually("it is said", SOON, || said() > 0);
    assert_eq!(said(), 1);
    let reply = session.send_mail(SENDER, &["bob@there.example"], mail("late").as_bytes());
    assert_eq!(reply.expect("the session goes on").code, 250);
    assert_eq!(host.wait_for(1, SOON).len(), 1);
    // What is open is known to check.
    let checked = server.run(&["check"]);
    assert!(checked.contains(": no errors"), "{checked}");
}

#[test]
fn a_listener_that_cannot_be_opened_refuses_the_reload_as_a_whole() {
    let scene = Scene::new();
    let mut server = scene.start();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (taken, comes) = (other.local_addr().expect("an address"), free_address());
    let first = scene.config().server();
    let listeners: [(SocketAddr, &[(&str, Value)]); 2] = [(comes, &[]), (taken, &[])];
    server.reconfigure(|config| with(config, &listeners).set("hostname", "other.lab"));
    let said = server.cli(&["reload"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let wanted = format!("cannot listen at {taken} (listener.address)");
    assert!(
        said.contains(&wanted) && said.contains("nothing was changed"),
        "{said}"
    );
    assert!(refuses(comes));
    let mut client = Client::connect(first).expect("it still listens");
    let greeted = client
        .command("EHLO a.example")
        .expect("the server answers");
    assert!(greeted.to_string().contains("sendoff.lab"), "{greeted}");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], first.port()));
    let listeners: [(SocketAddr, &[(&str, Value)]); 1] = [(everywhere, &[])];
    server.reconfigure(|config| with(config, &listeners));
    // In the place of one address of them: the new socket is open before the old one is closed.
    server.run(&["reload"]);
    eventually("all addresses answer", SOON, || {
        !refuses(first) && !refuses(([127, 0, 0, 2], first.port()).into())
    });
}

#[test]
fn with_the_units_capability_a_reload_opens_a_low_port_and_without_it_says_so() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("only root can give a capability");
    }
    let scene = Scene::new();
    let low = (600..1024).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let low = low.rev().find(|address| TcpListener::bind(address).is_ok());
    let low = low.expect("a free port below 1024");
    let user = 45_680;
    let start = |more: &[&str]| {
        let scratch = Scratch::new();
        chown(scratch.path(), Some(user), Some(user)).expect("root may");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), mode).expect("root may");
        let id = user.to_string();
        let as_user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        Sendoff::start_in(scratch, BINARY, scene.config(), &[&as_user, more].concat())
    };
    let first = scene.config().server();
    let listeners: [(SocketAddr, &[(&str, Value)]); 2] = [(first, &[]), (low, &[])];
    let capability = "+net_bind_service";
    let mut server = start(&["--inh-caps", capability, "--ambient-caps", capability]);
    let pid = server.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in ["CapPrm:\t0000000000000400", "CapAmb:\t0000000000000000"] {
        assert!(status.contains(line), "{status}");
    }
    server.reconfigure(|config| with(config, &listeners));
    server.run(&["reload"]);
    assert!(!refuses(low));
    drop(server);
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if lowest.is_ok_and(|lowest| lowest.trim() != "1024") {
        return not_tested("everybody may open low ports here");
    }
    let mut server = start(&[]);
    server.reconfigure(|config| with(config, &listeners));
    let said = server.cli(&["reload"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let wanted = format!("no longer has the right to open port {}", low.port());
    assert!(
        said.contains(&wanted) && said.contains("needs a restart"),
        "{said}"
    );
}

#[test]
fn one_address_and_all_addresses_have_listeners_of_their_own_at_one_port() {
    let scene = Scene::new();
    let own = free_address();
    let all: SocketAddr = ([0, 0, 0, 0], own.port()).into();
    let first = scene.config().server();
    let closed: &[(&str, Value)] = &[("networks", ["192.0.2.0/24"].into())];
    let relays = |ip: [u8; 4]| {
        let mut client = Client::connect((ip, own.port()).into()).expect("it listens");
        client.expect("EHLO a.example", 250).expect("EHLO is taken");
        let mail = format!("MAIL FROM:<{SENDER}>");
        client.expect(&mail, 250).expect("MAIL is taken");
        let reply = client.command("RCPT TO:<bob@there.example>");
        reply.expect("the server answers").code == 250
    };
    for order in [
        [(own, &[][..]), (all, closed)],
        [(all, closed), (own, &[][..])],
    ] {
        let listeners = [&[(first, &[][..])], &order[..]].concat();
        let server = Sendoff::start(BINARY, with(scene.config(), &listeners));
        assert!(relays([127, 0, 0, 1]) && !relays([127, 0, 0, 2]));
        // A second server finds the port taken, though it is the same user's.
        let second = Scratch::new();
        let file = second.path().join("sendoff.toml");
        let text = format!(
            "data_dir = \"data\"\nconsole.address = \"\"\n[[listener]]\naddress = \"{own}\"\n"
        );
        fs::write(&file, text).expect("a file");
        let mut serve = std::process::Command::new(BINARY);
        let output = serve.arg("--config").arg(&file).arg("serve").output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("cannot listen"),
            "{said}"
        );
        drop(server);
    }
    // By a reload, too.
    let only = [(first, &[][..]), (own, &[][..])];
    let mut server = Sendoff::start(BINARY, with(scene.config(), &only));
    let both = [(first, &[][..]), (own, &[][..]), (all, closed)];
    server.reconfigure(|config| with(config, &both));
    server.run(&["reload"]);
    assert!(relays([127, 0, 0, 1]) && !relays([127, 0, 0, 2]));
}
