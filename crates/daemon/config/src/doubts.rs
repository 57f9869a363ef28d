//! What works and is seldom meant: said by `check` and at the start.

use route::Mode;

use super::{Config, LocalStore, raw};

#[derive(Default)]
struct Doubts(Vec<String>);

impl Doubts {
    fn add(&mut self, applies: bool, what: String) {
        if applies {
            self.0.push(what);
        }
    }
}

/// The doubts about this configuration.
pub(super) fn of(config: &Config, has_via_smtp: bool) -> Vec<String> {
    let mut doubts = Doubts::default();
    let name = config.hostname.as_str();
    doubts.add(
        !name.contains('.') && !name.starts_with('['),
        format!(
            "hostname is {name}, which is not a full domain name: many servers refuse mail from it; set hostname \
             to the name that DNS has for this server's address, such as mail.example.com"
        ),
    );
    let relay = config.outgoing.relay.as_ref();
    match &config.routing.mode {
        Mode::Independent => doubts.add(
            relay.is_some_and(|relay| relay.preset.is_none()),
            "[outgoing.relay] is filled in, but mail goes directly to its recipients' servers: add mode = \"relay\" \
             to [outgoing] to use the relay"
                .to_owned(),
        ),
        Mode::Relay(targets) => {
            doubts.add(
                has_via_smtp,
                "via_smtp in [[domain]] has no effect with outgoing.mode = \"relay\": everything goes to the relay"
                    .to_owned(),
            );
            let by_starttls = relay.is_some_and(|relay| relay.tls != deliver::TlsMode::Implicit);
            doubts.add(
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
    doubts.add(
        !local.is_empty() && config.local == LocalStore::None,
        format!(
            "mail for {} is refused: local.domains contains it, but local.deliver is not set",
            local.join(", ")
        ),
    );
    of_mail_from_here(config, &mut doubts);
    doubts.0
}

/// Doubts about local mail, and mail of this server's own.
fn of_mail_from_here(config: &Config, doubts: &mut Doubts) {
    let name = config.hostname.as_str();
    doubts.add(
        can_make_mailboxes(config),
        "every name at a local domain is taken and gets a Maildir of its own, also from outside and also a misspelled \
         one (local.create is true): set local.create = false and make the mailboxes"
            .to_owned(),
    );
    doubts.add(
        is_unsigned_here(config),
        format!(
            "no [[dkim]] key signs for {name}, so reports of this server and mail of its own users (root) are not \
             signed: add subdomains = true to the key of the domain above it, or a key for {name}"
        ),
    );
    let senders = &config.senders;
    doubts.add(
        config.outgoing.relay.is_some() && !senders.is_empty() && !senders.name_any(&config.hostname),
        format!(
            "no [[sender]] rule is about {name}, which mail of this computer's users (root) comes from: the relay may \
             refuse it; add a rule with match = \"@{name}\""
        ),
    );
}

/// What this server might have besides.
pub(super) fn proposals(config: &Config) -> Vec<String> {
    let is_read = |name: &str| {
        let address = mail::Address::new(name, config.hostname.clone());
        let stays = config.intake.local.contains(&config.hostname);
        stays || address.is_ok_and(|address| config.intake.alias(&address).is_some())
    };
    // Programs of a whole computer send by the server that has the usual place.
    let is_the_systems = config.data_dir == std::path::Path::new(super::DATA_DIR);
    let unread = is_the_systems && !is_read("root") && !is_read("postmaster");
    let proposal = "nobody reads the mail for root and postmaster, such as that of cron: set root = \"you@example.com\" \
                    in [aliases]";
    unread.then(|| proposal.to_owned()).into_iter().collect()
}

/// Whether mail is signed, and what comes from this server itself is not.
fn is_unsigned_here(config: &Config) -> bool {
    !config.dkim.is_empty() && !config.dkim.covers(&config.hostname)
}

/// Whether strangers can have mailboxes made: Maildirs are made for every name, and a listener is open to others.
fn can_make_mailboxes(config: &Config) -> bool {
    let makes = matches!(config.local, LocalStore::Maildir(_)) && !config.intake.local.store_knows;
    makes
        && config
            .listeners
            .iter()
            .any(|address| !address.ip().is_loopback())
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
