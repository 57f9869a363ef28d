//! Filters over the queue.

use mail::{Destination, QueueId, RecipientKey, Status, Timestamp};
use store::{Filter, Row};

use crate::octets::Octets;

/// Terms are joined by "and", a term behind `-` is its opposite, and what is refused says why.
pub(crate) fn filter(input: &[u8]) {
    let mut octets = Octets::new(input);
    let row = row(&mut octets);
    let now = Timestamp::from_secs(u64::from(octets.word()) * 60);
    let (one, other) = (octets.text(), octets.text());
    let parsed = [Filter::parse(&one), Filter::parse(&other)];
    for (text, filter) in [&one, &other].into_iter().zip(&parsed) {
        match filter {
            Ok(filter) => {
                assert_eq!(
                    filter.terms().is_empty(),
                    text.trim().is_empty() || only_quotes(text)
                );
                let all = filter.terms().iter().all(|(wanted, term)| {
                    let single = match wanted {
                        true => Filter::all().and(term.clone()),
                        false => Filter::all().and_not(term.clone()),
                    };
                    let opposite = match wanted {
                        true => Filter::all().and_not(term.clone()),
                        false => Filter::all().and(term.clone()),
                    };
                    assert_ne!(single.matches(&row, now), opposite.matches(&row, now));
                    single.matches(&row, now)
                });
                assert_eq!(filter.matches(&row, now), all);
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!said.is_empty() && said.len() < text.len() * 4 + 400);
            }
        }
    }
    let both = Filter::parse(&format!("{one} {other}"));
    if let [Ok(one), Ok(other)] = &parsed {
        let both = both.expect("two filters are one");
        assert_eq!(both.terms(), [one.terms(), other.terms()].concat());
    }
}

fn only_quotes(text: &str) -> bool {
    text.chars().all(|c| c == '"' || c.is_whitespace())
}

fn row(octets: &mut Octets<'_>) -> Row {
    Row {
        key: RecipientKey {
            id: QueueId::from_u64(u64::from(octets.word())),
            recipient: 0,
        },
        sender: octets.text(),
        recipient: octets.text(),
        domain: octets.text(),
        destination: match octets.bit() {
            true => Destination::Local,
            false => Destination::Outgoing,
        },
        status: match octets.bit() {
            true => Status::Held,
            false => Status::Waiting,
        },
        attempts: u32::from(octets.word()),
        due: Timestamp::from_secs(u64::from(octets.word()) * 60),
        accepted: Timestamp::from_secs(u64::from(octets.word()) * 60),
        size: u64::from(octets.word()) << (octets.octet() % 40),
        last_reply: octets.text(),
        last_host: None,
        submitter: octets.text(),
        route: None,
        labels: mail::Labels {
            message_id: octets.bit().then(|| octets.text()),
            subject: octets.bit().then(|| octets.text()),
            tags: (0..octets.octet() % 3).map(|_| octets.text()).collect(),
            metadata: (0..octets.octet() % 3)
                .map(|_| (octets.text(), octets.text()))
                .collect(),
            ..mail::Labels::default()
        },
    }
}
