//! What administrators ask is carried out here, by whatever way they ask; nothing is decided about mail.

mod acts;
mod admin;
mod explain;
mod health;
pub mod http;
pub mod later;
mod log;
mod orders;
pub mod own_mail;
mod people;
mod process;
mod replies;
pub mod socket;
mod summary;
mod tools;
pub mod unwritten;
mod verbs;
mod watching;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use accounts::ConsoleAccounts;
use dispatch::Dispatch;
use local::Local;
use node::{self, Node};
use protection::Protection;
use reception::Reception;
use returns::Returns;
use sending::Sending;
use sources::Sources;
use tokio::sync::Semaphore;
use webhooks::Webhooks;

use crate::process::OldestDue;
use crate::tools::Asked;

/// The rooms, for verbs that an administrator may ask of any of them.
pub struct Operating {
    /// What every room may hold.
    pub node: Arc<Node>,
    /// Routes and their protection.
    pub protection: Arc<Protection>,
    /// The addresses that mail leaves from.
    pub sources: Arc<Sources>,
    /// What comes back.
    pub returns: Arc<Returns>,
    /// Mail on its way out.
    pub sending: Arc<Sending>,
    /// The queue's owner.
    pub dispatch: Arc<Dispatch>,
    /// The ways in.
    pub reception: Arc<Reception>,
    /// Who is told what happened.
    pub webhooks: Arc<Webhooks>,
    /// Who may use the console.
    pub accounts: Arc<ConsoleAccounts>,
    pub(crate) oldest_due: OldestDue,
    pub(crate) asked: Asked,
    /// Turns to search the log.
    pub(crate) log_searches: Semaphore,
    pub(crate) later: later::Orders,
}

impl Operating {
    /// All rooms of a server, with what the node has.
    pub fn new(node: Arc<Node>, accounts: ConsoleAccounts) -> Self {
        let protection = Arc::new(Protection::new(&node));
        let sources = Arc::new(Sources::new(&node));
        let returns = Arc::new(Returns::new(&node));
        let local = Arc::new(Local::new(&node, &returns));
        let sending = Arc::new(Sending::new(&node, &protection, &sources, &local));
        Self {
            dispatch: Arc::new(Dispatch::new(&node, &protection, &returns, &sending)),
            reception: Arc::new(Reception::new(&node, &local)),
            sending,
            protection,
            sources,
            returns,
            webhooks: Arc::new(Webhooks::new(&node)),
            accounts: Arc::new(accounts),
            oldest_due: OldestDue::default(),
            asked: Asked::default(),
            log_searches: Semaphore::new(log::SEARCHES_MAX),
            later: later::Orders::default(),
            node,
        }
    }
}
