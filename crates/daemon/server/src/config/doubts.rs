//! What works and is seldom meant: said by `check` and at the start.

use route::Mode;

use super::{Config, LocalStore, raw};

/// The doubts about this configuration.
pub(super) fn of(config: &Config, has_via_smtp: bool) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut doubt = |applies: bool, what: String| {
        if applies {
            doubts.push(what);
        }
    };
    let name = config.hostname.as_str();
    doubt(
        !name.contains('.') && !name.starts_with('['),
        format!(
            "hostname is {name}, which is not a full domain name: many servers refuse mail from it; set hostname \
             to the name that DNS has for this server's address, such as mail.example.com"
        ),
    );
    let relay = config.outgoing.relay.as_ref();
    match &config.routing.mode {
        Mode::Independent => doubt(
            relay.is_some_and(|relay| relay.preset.is_none()),
            "[outgoing.relay] is filled in, but mail goes directly to its recipients' servers: add mode = \"relay\" \
             to [outgoing] to use the relay"
                .to_owned(),
        ),
        Mode::Relay(targets) => {
            doubt(
                has_via_smtp,
                "via_smtp in [[domain]] has no effect with outgoing.mode = \"relay\": everything goes to the relay"
                    .to_owned(),
            );
            let by_starttls = relay.is_some_and(|relay| relay.tls != deliver::TlsMode::Implicit);
            doubt(
                by_starttls && targets.iter().any(|target| target.port == 465),
                "the relay's port is 465, which uses implicit TLS: set outgoing.relay.tls = \"implicit\", or use \
                 port 587"
                    .to_owned(),
            );
        }
    }
    let local: Vec<&str> = config
        .intake
        .local
        .domains()
        .map(mail::Domain::as_str)
        .collect();
    doubt(
        !local.is_empty() && config.local == LocalStore::None,
        format!(
            "mail for {} is refused: local.domains contains it, but local.deliver is not set",
            local.join(", ")
        ),
    );
    doubts
}

/// Whether a rule sends mail by a server of its own.
pub(super) fn has_via_smtp(raw: &raw::Raw) -> bool {
    let mut rules = raw.domain.iter();
    rules.any(|rule| {
        rule.get_ref()
            .via_smtp
            .as_ref()
            .is_some_and(|t| !t.get_ref().is_empty())
    })
}
