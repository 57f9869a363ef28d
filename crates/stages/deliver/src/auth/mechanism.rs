//! The mechanisms of logging in, and which are tried, in which order.

use std::collections::VecDeque;

use smtp::extension::Extensions;
use smtp::sasl::Binding;

use super::scram::Flag;
use super::{Credentials, Secret};

/// A mechanism of logging in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Both sides prove that they know the password, in this connection (RFC 7677).
    ScramSha256Plus,
    /// The same with SHA-1 (RFC 5802).
    ScramSha1Plus,
    /// Both sides prove that they know the password (RFC 7677).
    ScramSha256,
    /// The same with SHA-1 (RFC 5802).
    ScramSha1,
    /// We prove that we know the password (RFC 2195).
    CramMd5,
    /// The password is sent (RFC 4616).
    Plain,
    /// The password is sent, by an older way that no standard describes.
    Login,
    /// A token is sent (RFC 7628).
    OauthBearer,
    /// A token is sent, by the way from before the standard.
    Xoauth2,
}

impl Mechanism {
    /// All, the strongest first.
    pub const ALL: [Self; 9] = [
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
        Self::OauthBearer,
        Self::Xoauth2,
    ];

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanism of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// Whether it takes a token; the others take a password.
    #[must_use]
    pub const fn takes_token(self) -> bool {
        matches!(self, Self::OauthBearer | Self::Xoauth2)
    }

    const fn binds(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }
}

/// What can be tried, the strongest first.
pub(super) fn choices(
    credentials: &Credentials,
    offered: &Extensions,
    bindings: &[Binding],
) -> VecDeque<(Mechanism, Flag)> {
    let by_token = matches!(credentials.secret, Secret::Token(_));
    let may = |m: &Mechanism| m.takes_token() == by_token && credentials.mechanisms.contains(m);
    let all = || Mechanism::ALL.into_iter();
    let both = || all().filter(|m| may(m) && offered.has_auth(m.name()));
    let mut choices = VecDeque::new();
    for mechanism in both().filter(|m| m.binds()) {
        let flags = bindings.iter().cloned().map(Flag::Bound);
        choices.extend(flags.map(|flag| (mechanism, flag)));
    }
    // A relay that offers binding of a kind that we may not use must not take us for deceived.
    let can_bind = !bindings.is_empty() && all().any(|m| m.binds() && may(&m));
    let is_offered = all().any(|m| m.binds() && offered.has_auth(m.name()));
    let unbound = match can_bind && (!is_offered || !choices.is_empty()) {
        true => Flag::NotOffered,
        false => Flag::Unable,
    };
    choices.extend(both().filter(|m| !m.binds()).map(|m| (m, unbound.clone())));
    choices
}
