//! What a policy makes of an address that stands for others.

use mail::{Address, Destination, Envelope, Recipient};

use crate::aliases::key;
use crate::policy::Policy;

impl Policy {
    /// The addresses that get an address's mail by an alias.
    #[must_use]
    pub fn alias(&self, address: &Address) -> Option<&[Address]> {
        let aliases = &self.aliases;
        if aliases.is_empty() {
            return None;
        }
        let by_address = aliases.addresses.get(&key(address));
        let by_name = || {
            let domain = address.domain();
            let is_here = aliases.is_own(domain) || self.local.contains(domain);
            let name = is_here.then(|| address.local().to_lowercase())?;
            aliases.names.get(&name)
        };
        by_address.or_else(by_name).map(Vec::as_slice)
    }

    /// Whether this server has nowhere to deliver an address's mail: it is at one of its own names, which is not a local
    /// domain, and no alias names it.
    #[must_use]
    pub fn is_unread(&self, address: &Address) -> bool {
        let domain = address.domain();
        self.aliases.is_own(domain)
            && !self.local.contains(domain)
            && !self.paths.contains(domain)
            && self.alias(address).is_none()
    }

    /// Adds the further addresses of aliases that have several; each address gets the mail once.
    pub(crate) fn expand(&self, envelope: &mut Envelope) {
        if self.aliases.is_empty() {
            return;
        }
        let mut further = Vec::new();
        for recipient in &envelope.recipients {
            let given = recipient.given.as_ref();
            let targets = given.and_then(|given| self.alias(given));
            for target in targets.unwrap_or_default().iter().skip(1) {
                further.push(Recipient {
                    address: target.clone(),
                    destination: self.destination_of_own(target),
                    ..recipient.clone()
                });
            }
        }
        for recipient in further {
            if envelope
                .recipients
                .iter()
                .all(|r| r.address != recipient.address)
            {
                envelope.recipients.push(recipient);
            }
        }
    }

    /// Decides where mail of this server itself goes: a report to a local name follows its alias, one to a local
    /// domain stays here.
    pub fn address_own(&self, envelope: &mut Envelope) {
        for recipient in &mut envelope.recipients {
            let first = self.alias(&recipient.address).and_then(<[_]>::first);
            if let Some(first) = first {
                let given = std::mem::replace(&mut recipient.address, first.clone());
                recipient.given = Some(given);
            }
            recipient.destination = self.destination_of_own(&recipient.address);
        }
        self.expand(envelope);
    }

    fn destination_of_own(&self, address: &Address) -> Destination {
        match self.local.contains(address.domain()) {
            true => Destination::Local,
            false => Destination::Outgoing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aliases::{Alias, Aliases};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn policy() -> Policy {
        let mut policy = Policy::new("mx.example.org", address("postmaster@mx.example.org"));
        policy.local = crate::LocalDomains::new(["example.com".parse().unwrap()], true);
        policy.aliases = Aliases::new(["mx.example.org".parse().unwrap()]);
        let name = |text: &str| Alias::Name(text.to_owned());
        let aliases = &mut policy.aliases;
        aliases.insert(name("root"), vec![address("ann@example.net")]);
        let team = ["bob@example.com", "cleo@example.net", "ann@example.net"];
        aliases.insert(name("team"), team.map(address).to_vec());
        let one = Alias::Address(address("Info@example.ORG"));
        aliases.insert(one, vec![address("ann@example.net")]);
        policy
    }

    #[test]
    fn a_name_stands_at_this_servers_name_and_at_local_domains() {
        let policy = policy();
        let ann = [address("ann@example.net")];
        for given in [
            "root@mx.example.org",
            "ROOT@MX.EXAMPLE.ORG",
            "root@example.com",
            "info@example.org",
        ] {
            assert_eq!(policy.alias(&address(given)), Some(&ann[..]), "{given}");
        }
        for given in ["root@example.net", "info@mx.example.org", "bob@example.com"] {
            assert_eq!(policy.alias(&address(given)), None, "{given}");
        }
    }

    #[test]
    fn what_nobody_reads_is_known() {
        let policy = policy();
        assert!(policy.is_unread(&address("daemon@mx.example.org")));
        for read in ["root@mx.example.org", "x@example.com", "x@example.net"] {
            assert!(!policy.is_unread(&address(read)), "{read}");
        }
    }

    #[test]
    fn an_alias_with_several_addresses_gives_each_of_them_the_mail_once() {
        let policy = policy();
        let mut envelope = Envelope {
            recipients: vec![
                Recipient::new(address("team@mx.example.org")),
                Recipient::new(address("root@mx.example.org")),
            ],
            ..Envelope::default()
        };
        policy.address_own(&mut envelope);
        let found: Vec<_> = envelope
            .recipients
            .iter()
            .map(|r| (r.address.to_string(), r.destination))
            .collect();
        let expected = [
            ("bob@example.com", Destination::Local),
            ("ann@example.net", Destination::Outgoing),
            ("cleo@example.net", Destination::Outgoing),
        ];
        assert_eq!(found, expected.map(|(a, d)| (a.to_owned(), d)));
    }
}
