//! How much memory waiting recipients take in the scheduler: `memory [RECIPIENTS]`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::sync::Arc;
use std::time::Duration;

use mail::{Destination, Domain, QueueId, RecipientKey, RecipientState, Timestamp};
use schedule::{NewRecipient, Plan, Policy, Scheduler, Settings};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS"));
    line.and_then(|l| l.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default()
}

fn main() {
    let recipients: u64 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000_000);
    let plan = Arc::new(Plan::fixed(5, Duration::from_secs(300)));
    let policy = move |_: &Domain, _| Policy {
        plan: Arc::clone(&plan),
        lifetime: None,
        connections_max: 20,
        recipients_max: 100,
        rate: None,
    };
    let mut scheduler = Scheduler::new(Settings::default(), Box::new(policy));
    let now = Timestamp::from_secs(1_800_000_000);
    let domains: Vec<Domain> = (0..1000)
        .filter_map(|n| Domain::parse(&format!("d{n}.example")).ok())
        .collect();
    let before = resident_kib();
    for (n, domain) in (0..recipients).zip(domains.iter().cycle()) {
        let new = NewRecipient {
            key: RecipientKey {
                id: QueueId::from_u64((now.as_millis() << 12) + n),
                recipient: 0,
            },
            domain: domain.clone(),
            destination: Destination::Outgoing,
            submitter: "bulk".to_owned(),
            accepted: now,
            terms: mail::Terms::default(),
            state: RecipientState {
                due: now + Duration::from_millis(n % 300_000 + 1),
                attempts: 1,
                ..RecipientState::default()
            },
        };
        scheduler.insert(now, &new);
    }
    let kib = resident_kib() - before;
    println!(
        "{} recipients waiting for their time: {kib} KiB, {} octets each",
        scheduler.len(),
        kib * 1024 / recipients.max(1)
    );
}
