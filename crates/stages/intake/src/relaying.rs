//! Who may send where. There is no way around this file: every recipient of every mail that comes
//! by SMTP passes [`judge`], by the address as the client gave it.

use std::net::IpAddr;

use mail::{EnhancedCode, Reply};

use crate::policy::{Auth, Listener};

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Send anywhere.
    Trusted,
    /// Send to local domains.
    Outsider,
    /// Nothing before it logs in.
    MustLogIn,
}

/// From how near a connection comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Near {
    /// From another computer.
    Elsewhere,
    /// From this computer, where any of its users may have made it.
    Here,
    /// From a proxy on this computer, or from one who says that it is.
    ByProxyHere,
}

/// What a client may do at this listener; of one that is `unknown` its address says nothing.
pub(crate) fn standing(
    listener: &Listener,
    peer: IpAddr,
    logged_in: bool,
    unknown: bool,
) -> Standing {
    match listener.auth {
        _ if logged_in => Standing::Trusted,
        Auth::Required => Standing::MustLogIn,
        Auth::Optional | Auth::None if !unknown && is_in(&listener.networks, peer) => {
            Standing::Trusted
        }
        Auth::Optional | Auth::None => Standing::Outsider,
    }
}

impl Listener {
    /// Whether this peer may send without logging in.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        standing(self, peer, false, false) == Standing::Trusted
    }
}

fn is_in(networks: &[ipnet::IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|net| net.contains(&peer))
}

/// Whether a client may send to a recipient, local or not.
pub(crate) fn judge(standing: Standing, is_local: bool, can_log_in: bool) -> Result<(), Reply> {
    match (standing, is_local) {
        (Standing::Trusted, _) | (Standing::Outsider, true) => Ok(()),
        (Standing::Outsider, false) if can_log_in => {
            Err(refusal("Relaying denied: authentication required"))
        }
        (Standing::Outsider, false) => Err(refusal(
            "Relaying denied: your address is not allowed to send to other domains",
        )),
        (Standing::MustLogIn, _) => Err(log_in_first(true)),
    }
}

/// RFC 4954 §6, RFC 3207 §4.
pub(crate) fn log_in_first(tls: bool) -> Reply {
    let text = match tls {
        true => "Authentication required",
        false => "Must issue a STARTTLS command first, then authenticate",
    };
    Reply::new(530, Some(EnhancedCode::new(5, 7, 0)), text)
}

fn refusal(text: &str) -> Reply {
    Reply::new(550, Some(EnhancedCode::new(5, 7, 1)), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing_of(auth: Auth, peer: &str, logged_in: bool) -> Standing {
        let listener = Listener {
            auth,
            networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..Listener::loopback()
        };
        standing(&listener, peer.parse().unwrap(), logged_in, false)
    }

    #[test]
    fn trust_comes_by_login_or_by_network() {
        use Standing::{MustLogIn, Outsider, Trusted};
        let cases = [
            (Auth::Required, "10.1.2.3", false, MustLogIn),
            (Auth::Required, "192.0.2.1", true, Trusted),
            (Auth::Optional, "10.1.2.3", false, Trusted),
            (Auth::Optional, "::ffff:10.1.2.3", false, Trusted),
            (Auth::Optional, "fd00::1", false, Trusted),
            (Auth::Optional, "192.0.2.1", false, Outsider),
            (Auth::Optional, "::ffff:192.0.2.1", false, Outsider),
            (Auth::Optional, "192.0.2.1", true, Trusted),
            (Auth::None, "10.1.2.3", false, Trusted),
            (Auth::None, "192.0.2.1", false, Outsider),
        ];
        for (auth, peer, logged_in, expected) in cases {
            assert_eq!(
                standing_of(auth, peer, logged_in),
                expected,
                "{auth:?} {peer}"
            );
        }
    }

    #[test]
    fn an_outsider_reaches_local_domains_only() {
        assert!(judge(Standing::Outsider, true, true).is_ok());
        assert_eq!(
            judge(Standing::Outsider, false, true).unwrap_err().code,
            550
        );
        assert_eq!(
            judge(Standing::MustLogIn, true, true).unwrap_err().code,
            530
        );
        assert!(judge(Standing::Trusted, false, false).is_ok());
    }
}
