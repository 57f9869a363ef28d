//! Verbs that ask other servers something. They change nothing.

use mail::Domain;
use serde::{Deserialize, Serialize};

use super::{Ask, Right};
use crate::malformed::Malformed;
use crate::tools::{MxView, WhatSmtpView};

/// Octets of a server's name with its port.
const SERVER_MAX: usize = 300;

/// Where a domain's mail goes, by the resolver and the rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUpMx(pub String);

impl Ask for LookUpMx {
    type Answer = MxView;
    const NEEDS: Right = Right::Operate;

    fn check(&self) -> Result<(), Malformed> {
        Ok(Domain::parse(&self.0).map(drop)?)
    }
}

/// What a mail server says of itself: its greeting, its extensions, TLS. Nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatSmtp(pub String);

impl Ask for WhatSmtp {
    type Answer = WhatSmtpView;
    const NEEDS: Right = Right::Operate;

    fn check(&self) -> Result<(), Malformed> {
        match self.0.trim().is_empty() || self.0.len() > SERVER_MAX {
            true => Err(Malformed::NoServerToAsk),
            false => Ok(()),
        }
    }
}
