//! The server under a service manager: what it tells, and sockets that it is given.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use lab::{Client, Config, Scratch, Sendoff};

use crate::scene::{BINARY, SOON, Scene, needs_python, send_many};

/// Opens a socket at this address as a service manager does, and becomes the server.
const ACTIVATE: &str = r"
import os, socket, sys
host, port = sys.argv[1].split(':')
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((host, int(port)))
s.listen()
if s.fileno() != 3:
    os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = '1'
os.execvp(sys.argv[2], sys.argv[2:])
";

/// A service manager's ear.
struct Manager {
    socket: UnixDatagram,
    heard: String,
}

impl Manager {
    fn new(scratch: &Scratch) -> (Self, String) {
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a time-out");
        let heard = String::new();
        (Self { socket, heard }, path.display().to_string())
    }

    /// Listens until it has heard this, behind what it waited for before.
    fn wait_for(&mut self, what: &str) {
        loop {
            if let Some(at) = self.heard.find(what) {
                self.heard.drain(..at + what.len());
                return;
            }
            let mut octets = [0; 4096];
            match self.socket.recv(&mut octets) {
                Ok(count) => {
                    self.heard.push_str(&String::from_utf8_lossy(
                        octets.get(..count).unwrap_or_default(),
                    ));
                    self.heard.push('\n');
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no {what} ({error}) in: {}", self.heard),
            }
        }
    }
}

#[test]
fn v01_the_service_manager_hears_what_the_server_does() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let (mut manager, path) = Manager::new(&scratch);
    let socket = format!("NOTIFY_SOCKET={path}");
    let wrapper = ["env", &socket, "WATCHDOG_USEC=300000"];
    let config = scene.config();
    let mut server = Sendoff::start_in(Scratch::new(), BINARY, config, &wrapper);
    manager.wait_for("READY=1\n");
    manager.wait_for("WATCHDOG=1\nSTATUS=Mail for 0 recipients is in the queue\n");
    manager.wait_for("WATCHDOG=1\n");
    server.run(&["reload"]);
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=");
    manager.wait_for("READY=1\n");
    server.terminate();
    manager.wait_for("STOPPING=1\n");
}

/// Another address of the same world.
fn another(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

#[test]
fn v02_sockets_of_the_service_manager_are_used() {
    let scene = Scene::new();
    let config = scene.config();
    let address = config.server();
    let own = another(address);
    let config = config.table("listener", &[("address", own.to_string().into())]);
    let given = address.to_string();
    needs_python();
    let wrapper = ["python3", "-c", ACTIVATE, &given];
    let server = Sendoff::start_in(Scratch::new(), BINARY, config, &wrapper);
    Client::connect(server.address()).expect("the given socket is served");
    Client::connect(own).expect("the other listener is opened by the server");
}

#[test]
fn v03_a_socket_without_a_listener_is_explained() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let address = scene.world.server();
    let other = another(address);
    let file = scratch.path().join("sendoff.toml");
    let config = Config::new(address);
    let config = config.set(
        "data_dir",
        scratch.path().join("data").display().to_string(),
    );
    std::fs::write(&file, config.text()).expect("a configuration file");
    let output = Command::new("python3")
        .args([
            "-c",
            ACTIVATE,
            &other.to_string(),
            BINARY,
            "serve",
            "--config",
        ])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let what = format!("has opened {other}, but no [[listener]] or [[http]] has that address");
    assert!(said.contains(&what), "{said}");
}

#[test]
fn v05_a_service_manager_that_does_not_listen_holds_up_neither_mail_nor_the_end() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let scratch = Scratch::new();
    let (_deaf, path) = Manager::new(&scratch);
    let socket = format!("NOTIFY_SOCKET={path}");
    // Told a hundred times a second: soon more than waits for a reader.
    let wrapper = ["env", &socket, "WATCHDOG_USEC=30000"];
    let mut server = Sendoff::start_in(Scratch::new(), BINARY, scene.config(), &wrapper);
    for n in 1..=20 {
        send_many(&server, 1, |_| format!("u{n}@there.example"));
        assert_eq!(there.wait_for(n, SOON).len(), n);
    }
    let status = server.terminate().expect("it ends");
    assert!(status.success(), "{status}");
}

/// Makes standard output and standard error a pipe that nobody reads, and becomes the server.
const UNREAD: &str = r"
import fcntl, os, sys
unread, end = os.pipe()
os.set_inheritable(unread, True)
fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
os.dup2(end, 1)
os.dup2(end, 2)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn v04_a_log_that_nobody_reads_holds_up_neither_mail_nor_the_end() {
    let scene = Scene::new();
    let there = scene.world.domain("there.example");
    let config = scene.config().set("log.file", "-");
    let config = config.set("log.detailed", true);
    needs_python();
    let wrapper = ["python3", "-c", UNREAD];
    let mut server = Sendoff::start_in(Scratch::new(), BINARY, config, &wrapper);
    // Of each some lines are logged: far more than the pipe holds.
    send_many(&server, 50, |n| format!("u{n}@there.example"));
    assert_eq!(there.wait_for(50, SOON).len(), 50);
    let status = server.terminate().expect("it ends");
    assert!(status.success(), "{status}");
}

#[test]
fn health_is_told_by_exit_code() {
    let scene = Scene::new();
    let mut server = scene.start();
    let said = server.run(&["health"]);
    assert_eq!(said, "ok: the server accepts mail\n");
    assert_eq!(server.run(&["health", "--json"]), "[]\n");
    server.terminate();
    assert_eq!(server.cli(&["health"]).status.code(), Some(3));
}
