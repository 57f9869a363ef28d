//! Networks that DNS may not send us to: their groups, and what an address is judged as.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix))
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> IpNet {
    let address = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, prefix))
}

/// This computer.
pub const LOOPBACK: [IpNet; 2] = [
    v4(127, 0, 8),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];

/// Where no mail host is, wherever the server stands: unspecified (which leads to this computer), link-local
/// (where clouds keep what their machines may know) and multicast.
pub const NOWHERE: [IpNet; 6] = [
    v4(0, 0, 8),
    v6(0, 0, 0, 128),
    v4(169, 254, 16),
    v6(0xfe80, 0, 0, 10),
    v4(224, 0, 4),
    v6(0xff00, 0, 0, 8),
];

/// What only a network of one's own reaches: RFC 1918, shared addresses of providers (RFC 6598), unique local
/// ones and their forerunners (RFC 4193, RFC 3879), local prefixes of NAT64 (RFC 8215).
pub const PRIVATE: [IpNet; 7] = [
    v4(10, 0, 8),
    v4(172, 16, 12),
    v4(192, 168, 16),
    v4(100, 64, 10),
    v6(0xfc00, 0, 0, 7),
    v6(0xfec0, 0, 0, 10),
    v6(0x0064, 0xff9b, 1, 48),
];

/// NAT64's well-known prefix (RFC 6052): an IPv4 address stands in the last 32 bits.
const NAT64: IpNet = v6(0x0064, 0xff9b, 0, 96);

/// The first of these networks that an address is in. One that stands for an address of IPv4 (mapped, or by
/// NAT64) is in the networks of that, too.
pub fn refused_by(ip: IpAddr, networks: &[IpNet]) -> Option<IpNet> {
    let stands_for = embedded(ip);
    let holds = |net: &&IpNet| net.contains(&ip) || net.contains(&stands_for);
    networks.iter().find(holds).copied()
}

/// Whether everybody on the Internet could mean this address.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    [LOOPBACK.as_slice(), &NOWHERE, &PRIVATE]
        .iter()
        .all(|networks| refused_by(ip, networks).is_none())
}

fn embedded(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&ip) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        plain @ (IpAddr::V4(_) | IpAddr::V6(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(ip: &str, networks: &[IpNet]) -> Option<String> {
        refused_by(ip.parse().unwrap(), networks).map(|net| net.to_string())
    }

    #[test]
    fn an_address_is_judged_as_the_one_that_it_stands_for() {
        for (ip, net) in [
            ("10.1.2.3", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.0.0.0/8"),
            ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
            ("64:ff9b::192.168.0.1", "192.168.0.0/16"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("100.127.0.1", "100.64.0.0/10"),
            ("fd00:ec2::254", "fc00::/7"),
            ("fec0::1", "fec0::/10"),
            ("64:ff9b:1::1", "64:ff9b:1::/48"),
        ] {
            assert_eq!(by(ip, &PRIVATE).as_deref(), Some(net), "{ip}");
            assert_eq!(by(ip, &LOOPBACK), None, "{ip}");
        }
        for ip in [
            "127.0.0.53",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::127.0.0.1",
        ] {
            assert!(by(ip, &LOOPBACK).is_some(), "{ip}");
        }
        let nowhere = [
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "64:ff9b::169.254.169.254",
        ];
        for ip in nowhere.iter().chain(&["fe80::1", "239.1.1.1", "ff02::1"]) {
            assert!(by(ip, &NOWHERE).is_some(), "{ip}");
        }
        // A network that names the prefix itself is obeyed as before.
        assert!(by("64:ff9b::192.0.2.1", &[NAT64]).is_some());
    }

    #[test]
    fn neighbours_of_private_networks_are_public() {
        for ip in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "223.255.255.255",
            "2001:db8::1",
            "64:ff9b::192.0.2.1",
            "::ffff:192.0.2.1",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        assert!(!is_public("64:ff9b::10.0.0.1".parse().unwrap()));
    }
}
