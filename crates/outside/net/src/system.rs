//! What the system itself knows of names: the one door to its resolver.

use std::io;
use std::net::IpAddr;

/// The addresses of a host as the system's own resolver finds them: by `/etc/hosts`, and by whatever else
/// `/etc/nsswitch.conf` names.
///
/// A binary that is linked statically reads `/etc/hosts` alone: the system's resolver would load libraries, which such a
/// program cannot.
///
/// # Errors
/// When there is no such name, or the system cannot say.
#[cfg(not(target_feature = "crt-static"))]
pub async fn addresses_by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((host, 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

/// The addresses of a host by `/etc/hosts`: this binary is linked statically, and the system's resolver would load
/// libraries, which such a program cannot.
///
/// # Errors
/// When there is no such name, or the file cannot be read.
#[cfg(target_feature = "crt-static")]
pub async fn addresses_by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let host = host.to_owned();
    let looked_up = move || by_hosts(&hickory_resolver::Hosts::from_system()?, &host);
    tokio::task::spawn_blocking(looked_up).await?
}

#[cfg(any(test, target_feature = "crt-static"))]
fn by_hosts(hosts: &hickory_resolver::Hosts, host: &str) -> io::Result<Vec<IpAddr>> {
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let name = Name::from_utf8(host).map_err(io::Error::other)?;
    let of_type = |of: RecordType| hosts.lookup_static_host(&Query::query(name.clone(), of));
    let found = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(of_type);
    let addresses: Vec<IpAddr> = found
        .flat_map(|lookup| {
            let records = lookup.answers().iter();
            records.filter_map(|r| r.data.ip_addr()).collect::<Vec<_>>()
        })
        .collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no such name in /etc/hosts (this binary is linked statically and asks nothing else of the system)",
        )),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_binary_finds_what_the_hosts_file_has() {
        let mut hosts = hickory_resolver::Hosts::default();
        let file = b"192.0.2.7 relay.example.com relay # the relay\n2001:db8::7 relay\n".as_slice();
        hosts.read_hosts_conf(file).expect("it is read");
        let found = |host| by_hosts(&hosts, host).map_err(|e| e.kind());
        let v4: IpAddr = "192.0.2.7".parse().expect("an address");
        let v6: IpAddr = "2001:db8::7".parse().expect("an address");
        assert_eq!(found("Relay.example.com"), Ok(vec![v4]));
        assert_eq!(found("relay"), Ok(vec![v4, v6]));
        assert_eq!(found("192.0.2.7"), Ok(vec![v4]));
        assert_eq!(found("other.example.com"), Err(io::ErrorKind::NotFound));
    }
}
