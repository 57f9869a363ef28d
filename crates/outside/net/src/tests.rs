//! What needs no lab: parsing of the computer's settings, and connecting on loopback.

use std::net::IpAddr;
use std::time::Duration;

use crate::connect;
use crate::dns::parse_resolv_conf;

#[test]
fn a_line_that_is_no_address_does_not_hide_the_others() {
    let text = "# made by hand\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n\
                search example\nnameserver 2001:db8::53\noptions edns0\n";
    let found: Vec<String> = parse_resolv_conf(text)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, ["192.0.2.53:53", "[2001:db8::53]:53"]);
}

#[tokio::test]
async fn a_refused_address_does_not_hold_up_the_one_that_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses: [IpAddr; 2] = ["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let stream = connect(&addresses, port, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(stream.peer_addr().unwrap().ip(), addresses[1]);
    drop(listener);
    let error = connect(&addresses, port, Duration::from_secs(10))
        .await
        .unwrap_err();
    assert_eq!(error.why.matches("connection refused").count(), 2);
}
