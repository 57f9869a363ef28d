//! Ports for servers that are started later, or twice.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below those that a system gives to connections and to port 0 (Linux: from 32768), above those of services.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

/// An address of 127.0.0.1 that is free, at every local address, and that stays so: no connection is given its port while
/// the server that shall have it is down.
///
/// # Panics
/// When none is found.
#[must_use]
pub fn free_address() -> SocketAddr {
    let chance = RandomState::new();
    let count = u64::from(PORTS.end - PORTS.start);
    let mut tries = (0..1000_u32).map(|n| PORTS.start + (chance.hash_one(n) % count) as u16);
    let port = tries.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok());
    (Ipv4Addr::LOCALHOST, port.expect("a free port")).into()
}
