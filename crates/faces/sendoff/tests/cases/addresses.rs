//! Several addresses for HTTP, each with what it answers, and reverse proxies before them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use lab::{Config, Scratch, Sendoff, free_address};
use serde_json::json;

use crate::scene::{BINARY, SENDER, SOON, Scene, needs_python};
use crate::web::Web;

const MESSAGES: &str = "/api/v1/messages";

/// Nothing leaves, and nothing answers HTTP yet.
fn quiet(scene: &Scene) -> Config {
    let config = scene.config().set("outgoing.enabled", false);
    config.unset("console.address")
}

fn serving<const N: usize>(config: Config, address: &str, serves: [&str; N]) -> Config {
    config.table(
        "http",
        &[("address", address.into()), ("serves", serves.into())],
    )
}

/// The status of a request at a unix socket.
fn status(socket: &Path, path: &str, more: &str) -> u16 {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a time-out");
    let head = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.expect("a status")
}

#[test]
fn each_address_answers_what_it_serves() {
    let scene = Scene::new();
    let (api, metrics, all) = (free_address(), free_address(), free_address());
    let config = serving(quiet(&scene), &api.to_string(), ["api"]);
    let config = serving(config, &metrics.to_string(), ["metrics"]);
    let config = config.set("console.address", all.to_string());
    let server = Sendoff::start(BINARY, config);
    let at = |address| Web::at(address).with_key(&server, "send", &[]);
    let mail = json!({ "from": SENDER, "to": ["bob@there.example"], "text": "Hello." });
    let key = at(all);
    for (address, sends, shows) in [(api, 202, 404), (metrics, 404, 200), (all, 202, 200)] {
        let web = key.at_address(address);
        web.post_json(MESSAGES, &mail).expect(sends);
        web.get("/metrics").expect(shows);
        // However it is written.
        let other = web.get("/%6detrics").status;
        assert!(other == 404 || other == shows, "{other}");
        web.get("/healthz").expect(200);
        web.get("/readyz").expect(200);
        if address == all {
            web.get("/login").expect(200);
            web.get("/").expect(303);
        } else {
            web.get("/").problem(404, "unknown-path");
            web.get("/login").problem(404, "unknown-path");
        }
    }
    let wrong = Web::at(metrics).get("/api/v1/openapi.json");
    let remedy = wrong.problem(404, "unknown-path")["remedy"].to_string();
    assert!(remedy.contains("http.serves"), "{remedy}");
    let line = server.wait_for_log(&[" listening ", &metrics.to_string()], SOON);
    assert!(line.is_some(), "{}", server.log());
    let listening = server.log();
    let lines = listening.lines().filter(|line| line.contains("for=http"));
    assert_eq!(lines.count(), 3);
}

#[test]
fn an_address_of_http_takes_the_place_of_the_default() {
    let scene = Scene::new();
    let address = free_address().to_string();
    let config = serving(quiet(&scene), &address, ["api", "metrics"]);
    let server = Sendoff::start(BINARY, config);
    let line = server.wait_for_log(&[" listening ", "for=http"], SOON);
    assert!(line.is_some_and(|line| line.contains(&address)));
    let log = server.log();
    let of_http = log.lines().filter(|line| line.contains("for=http"));
    assert_eq!(of_http.count(), 1, "{log}");
}

#[test]
fn health_and_metrics_answer_to_any_name_and_the_api_does_not() {
    let scene = Scene::new();
    let (_server, web) = Web::start(&scene, scene.config());
    let strange = web.with_header("Host", "10.1.2.3:8025");
    for path in ["/healthz", "/readyz", "/metrics"] {
        strange.get(path).expect(200);
    }
    for path in ["/api/v1/openapi.json", "/api/v1/stats", "/"] {
        strange.get(path).problem(421, "wrong-host");
    }
}

#[test]
fn a_unix_socket_is_for_owner_and_group_and_one_that_was_left_is_replaced() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let path = scratch.path().join("run/http.sock");
    std::fs::create_dir(scratch.path().join("run")).expect("a directory");
    // Left by a server that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    let config = serving(
        quiet(&scene),
        &format!("unix:{}", path.display()),
        ["metrics"],
    );
    let server = Sendoff::start(BINARY, config);
    let line = server.wait_for_log(&[" listening ", "unix:"], SOON);
    assert!(line.is_some(), "{}", server.log());
    let found = std::fs::metadata(&path).expect("it is there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let own = std::fs::metadata(server.directory()).expect("the data directory");
    assert_eq!(found.uid(), own.uid());
    assert_eq!(status(&path, "/metrics", "Host: any.example\r\n"), 200);
    assert_eq!(status(&path, "/healthz", ""), 200);
    assert_eq!(
        status(&path, "/api/v1/openapi.json", "Host: localhost\r\n"),
        404
    );
    // Where somebody listens nobody else does.
    let second = Scratch::new();
    let file = second.path().join("sendoff.toml");
    let text = format!(
        "data_dir = \"data\"\n[[listener]]\naddress = \"{}\"\n[[http]]\naddress = \"unix:{}\"\n",
        free_address(),
        path.display()
    );
    std::fs::write(&file, text).expect("a file");
    let mut serve = std::process::Command::new(BINARY);
    let output = serve.arg("--config").arg(&file).arg("serve").output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = format!("cannot listen at unix:{} (http.address)", path.display());
    assert!(!output.status.success() && said.contains(&wanted), "{said}");
    assert_eq!(status(&path, "/healthz", ""), 200);
}

/// Opens a TCP and a unix socket as a service manager does, and becomes the server.
const ACTIVATE: &str = r"
import os, socket, sys
host, port = sys.argv[1].split(':')
a = socket.socket()
a.bind((host, int(port)))
b = socket.socket(socket.AF_UNIX)
b.bind(sys.argv[2])
for s in (a, b): s.listen()
fds = [os.dup(s.fileno()) for s in (a, b)]
fds = [os.dup2(fd, 20 + n) for n, fd in enumerate(fds)]
for n, fd in enumerate(fds): os.dup2(fd, 3 + n, inheritable=True)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = '2'
os.execvp(sys.argv[3], sys.argv[3:])
";

#[test]
fn sockets_of_the_service_manager_are_used_for_http_too() {
    needs_python();
    let scene = Scene::new();
    let scratch = Scratch::new();
    let path = scratch.path().join("http.sock");
    let (tcp, unix) = (free_address().to_string(), path.display().to_string());
    let config = serving(quiet(&scene), &tcp, ["api"]);
    let config = serving(config, &format!("unix:{unix}"), ["metrics"]);
    let wrapper = ["python3", "-c", ACTIVATE, &tcp, &unix];
    let _server = Sendoff::start_in(Scratch::new(), BINARY, config, &wrapper);
    Web::at(tcp.parse().expect("an address"))
        .get("/api/v1/openapi.json")
        .expect(200);
    assert_eq!(status(&path, "/metrics", ""), 200);
}

#[test]
fn what_a_proxy_says_of_its_client_is_believed_of_proxies_only() {
    let scene = Scene::new();
    let config = scene.config().set("outgoing.enabled", false);
    let (server, web) = Web::start(&scene, config.clone().set("console.proxies", ["127.0.0.1"]));
    let beyond = |name: &str, value: &str| web.with_header(name, value);
    beyond("X-Forwarded-For", "198.51.100.7")
        .get("/metrics")
        .problem(403, "wrong-network");
    beyond("Forwarded", "for=198.51.100.7")
        .get("/metrics")
        .problem(403, "wrong-network");
    // What the client wrote itself changes nothing.
    beyond("X-Forwarded-For", "127.0.0.1, 198.51.100.7")
        .get("/metrics")
        .problem(403, "wrong-network");
    beyond("X-Forwarded-For", "127.0.0.1")
        .get("/metrics")
        .expect(200);
    web.get("/metrics").expect(200);
    let both = beyond("X-Forwarded-For", "198.51.100.7").with_header("Forwarded", "for=127.0.0.1");
    both.get("/metrics").problem(400, "bad-field");
    // In the log, and for the mail.
    let key = web.with_key(&server, "send", &[]);
    let client = key.with_header("X-Forwarded-For", "198.51.100.7");
    let mail = json!({ "from": SENDER, "to": ["bob@there.example"], "text": "Hello." });
    client.post_json(MESSAGES, &mail).expect(202);
    let accepted = server.wait_for_log(&[" accepted ", "client=198.51.100.7"], SOON);
    assert!(accepted.is_some(), "{}", server.log());
    // Keys do not cross the network in clear.
    let in_clear = client.with_header("X-Forwarded-Proto", "http");
    in_clear
        .post_json(MESSAGES, &mail)
        .problem(403, "needs-tls");
    let by_tls = client.with_header("X-Forwarded-Proto", "https");
    by_tls.post_json(MESSAGES, &mail).expect(202);
    drop(server);

    let (_server, web) = Web::start(&scene, config);
    let unbelieved = web.with_header("X-Forwarded-For", "198.51.100.7");
    unbelieved.get("/metrics").expect(200);
}

#[test]
fn another_address_needs_a_restart_and_the_reload_says_so() {
    let scene = Scene::new();
    let config = serving(quiet(&scene), &free_address().to_string(), ["api"]);
    let mut server = Sendoff::start(BINARY, config);
    server.reconfigure(|config| serving(config, &free_address().to_string(), ["metrics"]));
    let said = server.cli(&["reload"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("[[http]]") && said.contains("needs a restart"),
        "{said}"
    );
}

#[test]
fn check_finds_a_unix_socket_that_cannot_be_made() {
    let scratch = Scratch::new();
    let (file, path) = (
        scratch.path().join("sendoff.toml"),
        scratch.path().join("plain/http.sock"),
    );
    std::fs::write(scratch.path().join("plain"), "").expect("a file");
    let text = format!(
        "data_dir = \"data\"\n[[listener]]\naddress = \"{}\"\n[[http]]\naddress = \"unix:{}\"\n",
        free_address(),
        path.display()
    );
    std::fs::write(&file, text).expect("a file");
    let mut check = std::process::Command::new(BINARY);
    let output = check.arg("--config").arg(&file).arg("check").output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("http.address: the server starts only if"),
        "{said}"
    );
    assert!(said.contains("plain is not a directory"), "{said}");
}
