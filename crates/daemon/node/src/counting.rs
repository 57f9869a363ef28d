//! Series: the names that the store counts under, and what keeps them small.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mail::{Outcome, Timestamp, Verdict};
use store::series::{Naming, Step};
use store::{Book, StoreError};
use tokio::time::sleep;

use crate::{Node, known};

/// How often it is counted what waits.
const SAMPLED: Duration = Duration::from_secs(60);

/// Counting takes no more than this part of the time: with millions waiting it looks less often.
const SHARE: u32 = 100;

/// How long records of acts, and old versions of settings, are kept.
const RECORDS_KEPT: Duration = Duration::from_secs(366 * 86_400);

/// Records removed at once.
const RECORDS_AT_ONCE: u64 = 1000;

struct Names(Weak<Node>);

impl Naming for Names {
    fn site(&self, host: &str) -> String {
        site_of(host)
    }

    fn refusal(&self, verdict: &Verdict) -> Option<&'static str> {
        if verdict.outcome == Outcome::Delivered {
            return None;
        }
        let node = self.0.upgrade()?;
        let settings = node.settings();
        Some(known::of(&settings, verdict).kind.word())
    }
}

/// Whose host this is: the provider, or else the domain that somebody registered.
pub fn site_of(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if let Some(provider) = route::provider_of(&host) {
        return provider.to_owned();
    }
    match psl::domain_str(&host) {
        Some(domain) if !host.starts_with('[') => domain.to_owned(),
        Some(_) | None => host,
    }
}

/// Counts under these names from now on.
pub fn begin(node: &Arc<Node>) {
    let names = Names(Arc::downgrade(node));
    node.store.name_series(Arc::new(names));
}

/// Keeps counting what waits, and forgets what is old.
pub async fn keep(node: Arc<Node>) {
    let mut folded = None;
    loop {
        let began = node.instant();
        let now = node.now();
        let hour = Step::Hour.begin(now);
        // What is deleted because of its age is not while the clock is doubted.
        let fold = folded != Some(hour) && node.clock.is_believed();
        let handles = Arc::clone(&node);
        let step = move || sample(&handles, now, fold);
        let done = tokio::task::spawn_blocking(step).await;
        match done {
            Ok(Ok(())) => folded = if fold { Some(hour) } else { folded },
            Ok(Err(error)) => tell(&node, &error),
            Err(_) => return,
        }
        let took = node.instant().since(began);
        sleep(SAMPLED.max((took * SHARE).min(Step::Hour.length()))).await;
    }
}

fn sample(node: &Node, now: Timestamp, fold: bool) -> Result<(), StoreError> {
    node.store.sample_waiting(now)?;
    if fold {
        node.store.fold_series(now)?;
        for book in Book::ALL {
            let before = now - RECORDS_KEPT;
            (node.store).forget_records(book, before, RECORDS_AT_ONCE)?;
        }
    }
    Ok(())
}

fn tell(node: &Node, error: &StoreError) {
    let line = node.journal.line(node.now(), "error");
    line.field("what", "series").field("why", error).send();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_provider_or_a_registered_domain() {
        for (host, site) in [
            ("example-com.mail.protection.outlook.com", "microsoft"),
            ("MX1.Mail.Example.co.uk.", "example.co.uk"),
            ("mx.example.com", "example.com"),
            ("localhost", "localhost"),
            ("[192.0.2.1]", "[192.0.2.1]"),
        ] {
            assert_eq!(site_of(host), site);
        }
    }
}
