//! The addresses of hosts that an administrator has named.

use std::net::IpAddr;

use crate::dns::{Answer, Dns, LookupError};
use crate::system::addresses_by_system;

/// Why a host has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAddresses {
    /// There are none.
    #[error("{0} has no address")]
    None(String),
    /// DNS does not say.
    #[error("the address lookup of {host} failed: {why}")]
    LookUp {
        /// The host.
        host: String,
        /// Why not.
        why: LookupError,
    },
}

/// The addresses of a host that the administrator has named: any will do; where DNS does
/// not know the name, this computer may.
///
/// # Errors
/// Why there are none.
pub async fn addresses_of(dns: &Dns, host: &str) -> Result<Vec<IpAddr>, NoAddresses> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let why = match dns.addresses(host).await.answer {
        Answer::Found(list) => return Ok(list),
        Answer::NoData | Answer::NxDomain => NoAddresses::None(host.to_owned()),
        Answer::Failed(why) => NoAddresses::LookUp {
            host: host.to_owned(),
            why,
        },
    };
    let found = addresses_by_system(host).await.unwrap_or_default();
    match found.is_empty() {
        false => Ok(found),
        true => Err(why),
    }
}
