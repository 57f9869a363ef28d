//! Who asks through a reverse proxy, as the proxy says: X-Forwarded-For or Forwarded (RFC 7239), and X-Forwarded-Proto.
//!
//! Each proxy adds whom it was asked by at the end. So the list is read from its end, and only as long as a proxy of
//! ours has written it: what stands before the first other address was written by that client.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue};

use crate::backend::Settings;
use crate::connection::Connection;
use crate::problem::Problem;

const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED: &str = "Forwarded";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// A proxy says that it was asked without TLS.
    pub(crate) in_clear: bool,
}

/// The client of a request.
///
/// # Errors
/// What a proxy says cannot be read, or its two ways of saying it differ.
pub(crate) fn client(
    headers: &HeaderMap,
    connection: &Connection,
    settings: &Settings,
) -> Result<Client, Problem> {
    let is_ours = |ip: &IpAddr| settings.proxies.iter().any(|net| net.contains(ip));
    let is_proxy = match connection.is_unix {
        true => settings.unix_proxies,
        false => is_ours(&connection.peer),
    };
    if !is_proxy {
        let (ip, in_clear) = (connection.peer, false);
        return Ok(Client { ip, in_clear });
    }
    let ip = match (
        first_other(headers, FORWARDED_FOR, address, is_ours)?,
        first_other(headers, FORWARDED, of_element, is_ours)?,
    ) {
        // A proxy writes one of them, and lets the other pass as its client wrote it.
        (Some(one), Some(other)) if one != other => {
            let why = "X-Forwarded-For and Forwarded name different clients";
            return Err(Problem::field(FORWARDED, why).remedy(
                "The reverse proxy must remove the header that it does not set itself, because clients can forge \
                 it.",
            ));
        }
        (one, other) => one.or(other).unwrap_or(connection.peer),
    };
    let given = last(headers, FORWARDED_PROTO).map(|word| word.eq_ignore_ascii_case("http"));
    let in_clear = given.unwrap_or_else(|| last(headers, FORWARDED).is_some_and(is_http));
    Ok(Client { ip, in_clear })
}

/// The entries of a header, the last first; several fields of one name are one list (RFC 9110, section 5.3).
fn entries<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).iter().rev();
    // What is not ASCII is no address either.
    let texts = fields.map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    texts.flat_map(|text| text.rsplit(',').map(str::trim))
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    entries(headers, name).next()
}

/// The last address that is no proxy of ours; where all are, the first.
fn first_other(
    headers: &HeaderMap,
    name: &str,
    read: impl Fn(&str) -> Option<IpAddr>,
    is_ours: impl Fn(&IpAddr) -> bool,
) -> Result<Option<IpAddr>, Problem> {
    let mut found = None;
    for entry in entries(headers, name) {
        let ip = read(entry).ok_or_else(|| {
            let why = format!("`{}` is not an IP address", entry.escape_debug());
            Problem::field(name, why).remedy(
                "A reverse proxy listed in console.proxies must write the address of its client there.",
            )
        })?;
        found = Some(ip);
        if !is_ours(&ip) {
            break;
        }
    }
    Ok(found)
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|with: SocketAddr| with.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The client's address in an element of Forwarded.
fn of_element(text: &str) -> Option<IpAddr> {
    let element = rfc7239::parse(text).next()?.ok()?;
    element.forwarded_for?.ip().map(IpAddr::to_canonical)
}

/// Whether an element of Forwarded says that the proxy was asked without TLS.
fn is_http(text: &str) -> bool {
    let element = rfc7239::parse(text).next().and_then(Result::ok);
    let protocol = element.and_then(|element| element.protocol);
    protocol.is_some_and(|word| word.trim_matches('"').eq_ignore_ascii_case("http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let net = |text: &str| text.parse().unwrap();
        Settings {
            hostname: "mail.example".to_owned(),
            hosts: Vec::new(),
            keys: "keys.toml".into(),
            metrics_networks: Vec::new(),
            proxies: vec![net("10.0.0.0/8"), net("2001:db8::/64")],
            unix_proxies: true,
            message_size: 1,
            max_connections: 1,
            tls: None,
        }
    }

    /// The client of a request with these fields, or the field that is wrong.
    fn found(
        peer: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Result<(String, bool), Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let connection = Connection {
            is_tls: false,
            peer: peer.parse().unwrap_or_else(|_| [127, 0, 0, 1].into()),
            is_unix: peer == "unix",
            serves: crate::Serves {
                api: true,
                metrics: true,
                pages: true,
            },
        };
        let client = client(&headers, &connection, &settings())?;
        Ok((client.ip.to_string(), client.in_clear))
    }

    #[test]
    fn a_client_is_whom_the_last_proxy_of_ours_names() {
        let xff = "x-forwarded-for";
        for (peer, fields, expected) in [
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("unix", vec![], "127.0.0.1"),
            ("192.0.2.1", vec![(xff, "198.51.100.1")], "192.0.2.1"),
            ("10.0.0.1", vec![(xff, "198.51.100.1")], "198.51.100.1"),
            ("unix", vec![(xff, "198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                vec![(xff, "127.0.0.1, 198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec![(xff, "junk, 198.51.100.1:77, 10.9.9.9")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                vec![(xff, "127.0.0.1"), (xff, "198.51.100.1")],
                "198.51.100.1",
            ),
            ("10.0.0.1", vec![(xff, "10.2.2.2, 10.9.9.9")], "10.2.2.2"),
            (
                "10.0.0.1",
                vec![(xff, "[2001:db9::1]:80,::ffff:10.1.1.1")],
                "2001:db9::1",
            ),
            (
                "10.0.0.1",
                vec![(
                    "forwarded",
                    "for=127.0.0.1, For=\"[2001:db9::1]:4711\";proto=https;by=_x",
                )],
                "2001:db9::1",
            ),
            (
                "2001:db8::1",
                vec![("forwarded", "for=198.51.100.1"), (xff, "198.51.100.1")],
                "198.51.100.1",
            ),
        ] {
            let client = found(peer, &fields).unwrap();
            assert_eq!(client, (expected.to_owned(), false), "{peer} {fields:?}");
        }
    }

    #[test]
    fn what_a_proxy_says_and_cannot_be_read_is_refused() {
        for fields in [
            vec![("x-forwarded-for", "198.51.100.1, unknown")],
            vec![("x-forwarded-for", "")],
            vec![("forwarded", "proto=https")],
            vec![("forwarded", "for=_hidden")],
            vec![
                ("x-forwarded-for", "198.51.100.1"),
                ("forwarded", "for=127.0.0.1"),
            ],
        ] {
            assert_eq!(
                found("10.0.0.1", &fields).unwrap_err().status(),
                400,
                "{fields:?}"
            );
            // Who is no proxy may write what it likes.
            assert_eq!(found("192.0.2.1", &fields).unwrap().0, "192.0.2.1");
        }
    }

    #[test]
    fn a_proxy_says_that_it_was_asked_without_tls() {
        let name = "x-forwarded-proto";
        for (fields, expected) in [
            (vec![(name, "http")], true),
            (vec![(name, "https")], false),
            (vec![(name, "http, https")], false),
            (vec![("forwarded", "for=198.51.100.1;proto=http")], true),
            (
                vec![
                    ("forwarded", "for=198.51.100.1;proto=\"HTTP\""),
                    (name, "https"),
                ],
                false,
            ),
        ] {
            assert_eq!(
                found("10.0.0.1", &fields).unwrap().1,
                expected,
                "{fields:?}"
            );
        }
    }
}
