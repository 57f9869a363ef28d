//! The lab's own promises: DNS answers by both protocols, hosts talk SMTP and record it.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::{Resolver, TokioResolver};
use lab::{Blackhole, Client, Dns, Stage, StartTls, Verb, World, runtime};

const SOON: Duration = Duration::from_secs(10);

fn resolver(dns: &Dns, protocols: &[ProtocolConfig]) -> TokioResolver {
    let connection = |protocol: &ProtocolConfig| {
        let mut connection = ConnectionConfig::new(protocol.clone());
        connection.port = dns.address().port();
        connection
    };
    let connections = protocols.iter().map(connection).collect();
    let server = NameServerConfig::new(dns.address().ip(), true, connections);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.build().expect("a resolver")
}

fn hosts(resolver: &TokioResolver, name: &str) -> Vec<String> {
    let found = runtime().block_on(resolver.lookup(name, RecordType::MX));
    let found = found.expect("an answer");
    found.answers().iter().map(|r| r.data.to_string()).collect()
}

#[test]
fn dns_answers_by_udp_and_by_tcp() {
    let dns = Dns::start();
    dns.mx("good.example", 10, "mx1.good.example");
    dns.mx("good.example", 20, "mx2.good.example");
    for protocol in [ProtocolConfig::Udp, ProtocolConfig::Tcp] {
        let mut found = hosts(&resolver(&dns, &[protocol]), "Good.Example.");
        found.sort();
        assert_eq!(found, ["10 mx1.good.example.", "20 mx2.good.example."]);
    }
    let asked = ("good.example".to_owned(), "MX".to_owned());
    assert_eq!(dns.questions(), [asked.clone(), asked]);
}

#[test]
fn an_answer_too_large_for_udp_is_had_by_tcp() {
    let dns = Dns::start();
    for n in 0..100 {
        dns.mx(
            "many.example",
            n,
            &format!("mail-exchanger-{n}.many.example"),
        );
    }
    let both = resolver(&dns, &[ProtocolConfig::Udp, ProtocolConfig::Tcp]);
    assert_eq!(hosts(&both, "many.example.").len(), 100);
    let udp = resolver(&dns, &[ProtocolConfig::Udp]);
    let found = runtime().block_on(udp.lookup("many.example.", RecordType::MX));
    assert!(found.map_or(true, |l| l.answers().is_empty()));
}

#[test]
fn dns_tells_names_without_data_from_names_that_do_not_exist() {
    let dns = Dns::start();
    dns.a("host.example", Ipv4Addr::LOCALHOST);
    dns.cname("alias.example", "host.example");
    dns.servfail("broken.example");
    let resolver = resolver(&dns, &[ProtocolConfig::Udp]);
    let ask = |name: &str, kind| runtime().block_on(resolver.lookup(name, kind));
    let error = ask("host.example.", RecordType::MX).unwrap_err();
    assert!(error.is_no_records_found() && !error.is_nx_domain());
    assert!(
        ask("other.example.", RecordType::MX)
            .unwrap_err()
            .is_nx_domain()
    );
    let error = ask("broken.example.", RecordType::MX).unwrap_err();
    assert!(!error.is_no_records_found() && !error.is_nx_domain());
    let alias = ask("alias.example.", RecordType::A).unwrap();
    assert_eq!(alias.answers().len(), 2);
}

#[test]
fn a_host_records_mails_and_what_came_in_one_write() {
    let world = World::new();
    let host = world.domain("good.example");
    host.set(|b| {
        b.extension("CHUNKING");
        b.reply(
            Verb::Rcpt,
            "<bad@",
            "550-5.1.1 no such user\n550 5.1.1 go away",
        );
    });
    let mut client = Client::connect(host.address()).unwrap();
    assert!(client.ehlo().unwrap().offers("CHUNKING"));
    let bad = client.send_mail("a@x", &["bad@y"], b"").unwrap();
    assert_eq!((bad.code, bad.lines.len()), (550, 2));
    let fine = client.send_mail("a@x", &["b@y"], b"Subject: one\r\n\r\n.\r\n..\r\nend\r\n");
    assert_eq!(fine.unwrap().code, 250);
    let batch = b"MAIL FROM:<a@x> SIZE=4\r\nRCPT TO:<b@y>\r\nBDAT 4 LAST\r\nhi\r\n";
    client.send_raw(batch).unwrap();
    for _ in 0..3 {
        assert_eq!(client.reply().unwrap().code, 250);
    }
    let mails = host.wait_for(2, SOON);
    assert_eq!(
        mails[0].content,
        &b"Subject: one\r\n\r\n.\r\n..\r\nend\r\n"[..]
    );
    assert_eq!(mails[0].header("subject").as_deref(), Some("one"));
    assert_eq!(
        (&mails[1].content[..], mails[1].chunked),
        (&b"hi\r\n"[..], true)
    );
    assert_eq!(mails[1].mail_params, "SIZE=4");
    let connections = host.connections();
    let writes = connections[0].writes();
    let last = writes.last().unwrap();
    assert_eq!(
        last,
        &["MAIL FROM:<a@x> SIZE=4", "RCPT TO:<b@y>", "BDAT 4 LAST"]
    );
    assert!(writes[..writes.len() - 1].iter().all(|w| w.len() == 1));
}

#[test]
fn a_host_shakes_hands_and_checks_passwords() {
    let world = World::new();
    let host = world.domain("tls.example");
    host.set(|b| {
        b.starttls = StartTls::Good;
        b.login = Some(("ann".to_owned(), "secret".to_owned()));
        b.login_in_tls_only = true;
    });
    let mut client = Client::connect(host.address()).unwrap();
    assert!(!client.ehlo().unwrap().offers("AUTH"));
    let inside = client.starttls("mx.tls.example", &world.ca).unwrap();
    assert!(inside.offers("AUTH") && !inside.offers("STARTTLS"));
    assert_eq!(client.auth_plain("ann", "wrong").unwrap().code, 535);
    assert_eq!(client.auth_login("ann", "secret").unwrap().code, 235);
    client.send_mail("a@x", &["b@y"], b"hello\r\n").unwrap();
    let mail = &host.received()[0];
    assert_eq!((mail.tls, mail.user.as_deref()), (true, Some("ann")));
    assert!(host.logins().iter().all(|l| l.tls));

    host.set(|b| b.starttls = StartTls::WrongName);
    let mut client = Client::connect(host.address()).unwrap();
    assert!(client.starttls("mx.tls.example", &world.ca).is_err());
}

#[test]
fn a_host_drops_connections_stops_and_comes_back() {
    let world = World::new();
    let host = world.host("mx.example");
    host.set(|b| {
        b.drop_at(Stage::Final, 1);
    });
    let mut client = Client::connect(host.address()).unwrap();
    assert!(client.send_mail("a@x", &["b@y"], b"hello\r\n").is_err());
    assert_eq!((host.count(), host.unanswered().len()), (0, 1));
    let mut client = Client::connect(host.address()).unwrap();
    host.stop();
    // What was being talked about at that moment may still be answered.
    let is_gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        client.command("NOOP").is_err()
    });
    assert!(is_gone);
    assert!(TcpStream::connect(host.address()).is_err());
    host.start();
    let mut client = Client::connect(host.address()).unwrap();
    let reply = client.send_mail("a@x", &["b@y"], b"hello\r\n").unwrap();
    assert_eq!((reply.code, host.connection_count()), (250, 3));
}

#[test]
fn worlds_have_addresses_of_their_own() {
    let worlds: Vec<World> = (0..20).map(|_| World::new()).collect();
    let mut networks: Vec<[u8; 3]> = Vec::new();
    for world in &worlds {
        let [a, b, c, _] = world.address().octets();
        networks.push([a, b, c]);
        let host = world.host("mx.example");
        assert!(Client::connect(host.address()).is_ok());
        if world.has_v6() {
            assert!(Client::connect(world.host_v6("mx6.example").address()).is_ok());
        }
    }
    networks.sort_unstable();
    networks.dedup();
    assert_eq!(networks.len(), 20);
}

#[test]
fn a_blackhole_answers_nobody() {
    let world = World::new();
    let address = (IpAddr::V4(world.address()), world.port()).into();
    let _hole = Blackhole::on(address).unwrap();
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn the_demo_has_a_host_for_every_domain_that_has_an_mx() {
    let demo = lab::demo_world();
    assert!(demo.mails.len() >= 10);
    let down = demo.hosts.iter().find(|h| h.name() == "mx.down.example");
    assert!(TcpStream::connect(down.unwrap().address()).is_err());
}
