//! The addresses of hosts that an administrator has named.

use std::net::IpAddr;

use crate::dns::{Answer, Dns};
use crate::system::addresses_by_system;

/// The addresses of a host that the administrator has named: any will do; where DNS does
/// not know the name, this computer may.
///
/// # Errors
/// Why there are none.
pub async fn addresses_of(dns: &Dns, host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let why = match dns.addresses(host).await.answer {
        Answer::Found(list) => return Ok(list),
        Answer::NoData | Answer::NxDomain => format!("{host} has no address"),
        Answer::Failed(why) => format!("the address lookup of {host} failed: {why}"),
    };
    let found = addresses_by_system(host).await.unwrap_or_default();
    match found.is_empty() {
        false => Ok(found),
        true => Err(why),
    }
}
