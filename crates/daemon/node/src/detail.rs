//! What the detailed log says of a message and of look-ups.

use mail::{Domain, Message, PeerHost};
use net::{Answer, DnsFinding};

use crate::Node;

/// Whether the talk about a message is logged: for its name, its sender, or one of its recipients' domains.
pub fn is_detailed(node: &Node, message: &Message) -> bool {
    if !node.journal.has_detail() {
        return false;
    }
    let sender = message.envelope.sender();
    let recipients = message.envelope.recipients.iter().take(10);
    let domains = recipients.map(|r| r.address.domain().as_str());
    let id = message.id.to_string();
    let names: Vec<&str> = domains.chain([sender.as_str(), id.as_str()]).collect();
    node.journal.is_detailed(&names)
}

/// Logs a line that was said about a message, by us or by the host.
pub fn log_said(node: &Node, message: &Message, host: &PeerHost, ours: bool, line: &str) {
    let entry = node
        .journal
        .line(node.now(), "smtp")
        .field("id", message.id);
    let entry = entry.field("host", host);
    entry
        .field(if ours { "sent" } else { "received" }, line)
        .send();
}

/// An answer of DNS in a few words.
pub fn words<T>(found: &Answer<T>, show: impl Fn(&T) -> String) -> String {
    match found {
        Answer::Found(list) => list.iter().map(show).collect::<Vec<_>>().join(","),
        Answer::NoData => "none".to_owned(),
        Answer::NxDomain => "no such domain".to_owned(),
        Answer::Failed(why) => format!("failed: {why}"),
    }
}

/// Logs an address lookup where the detailed log is wanted.
pub fn log_addresses(
    node: &Node,
    domain: &Domain,
    name: &str,
    found: &DnsFinding<std::net::IpAddr>,
) {
    if node.journal.is_detailed(&[domain.as_str()]) {
        let addresses = words(&found.answer, ToString::to_string);
        let line = node.journal.line(node.now(), "dns").field("domain", domain);
        line.field("name", name)
            .field("addresses", addresses)
            .send();
    }
}
