//! What the HTTP side asks of the server behind it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use intake::{Refusal, Submission};
use ipnet::IpNet;
use mail::QueueId;
use ops::{Answer, Request, VerbError};

use crate::metrics::Figures;

/// What a backend answers when it is ready.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The server as HTTP sees it.
pub trait Backend: Send + Sync + 'static {
    /// Megabytes for mails that are being received.
    fn memory(&self) -> &Arc<net::Shares>;

    /// The settings as they are now.
    fn settings(&self) -> Settings;

    /// Makes a mail durable. With a token that another mail was accepted with, that mail is the
    /// answer and nothing is accepted. Carried out to its end even when nobody waits for it.
    ///
    /// # Errors
    /// What refuses the mail as a whole.
    fn hand_in(
        &self,
        submission: Submission,
        token: Option<String>,
    ) -> Later<'_, Result<HandedIn, Refusal>>;

    /// The token that begins with `prefix` of a mail that was accepted, and the mail.
    ///
    /// # Errors
    /// Why the queue cannot say.
    fn token_beginning(
        &self,
        prefix: String,
    ) -> Later<'_, Result<Option<(String, QueueId)>, VerbError>>;

    /// Carries out an administrator's verb for `who`, and logs it.
    ///
    /// # Errors
    /// Why it was not done.
    fn carry_out(&self, request: Request, who: String) -> Later<'_, Result<Answer, VerbError>>;

    /// What is measured, now.
    fn figures(&self) -> Later<'_, Figures>;

    /// Why mail cannot be taken in at present; `None` when it can.
    fn trouble(&self) -> Later<'_, Option<String>>;

    /// Faults on our side that keep mail from leaving, in words; mail is taken in nevertheless.
    fn faults(&self) -> Vec<String>;

    /// What keeps no mail back and needs somebody, in words: a reload that was refused, a certificate that ends.
    fn warnings(&self) -> Vec<String>;

    /// Writes a line about a request that was refused.
    fn log_refused(&self, client: IpAddr, key: Option<&str>, why: &str);
}

/// What of the configuration matters here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's name.
    pub hostname: String,
    /// Names, besides this and those of loopback, that requests may be addressed to.
    pub hosts: Vec<String>,
    /// The keys' file.
    pub keys: PathBuf,
    /// Who may read figures and health without a key.
    pub metrics_networks: Vec<IpNet>,
    /// Networks of reverse proxies, whose word about a request's client is believed.
    pub proxies: Vec<IpNet>,
    /// Whether that of every client of a unix socket is believed.
    pub unix_proxies: bool,
    /// Octets of a message.
    pub message_size: u64,
    /// Connections at once.
    pub max_connections: usize,
    /// The certificate, if there is one.
    pub tls: Option<net::ServerTls>,
}

/// A mail that is in the queue.
#[derive(Debug, Clone)]
pub struct HandedIn {
    /// Its name.
    pub id: QueueId,
    /// What became of each recipient, in the order in which they were asked for; empty for a
    /// duplicate.
    pub recipients: Vec<Result<(), Refusal>>,
    /// It was there already, under the same token.
    pub duplicate: bool,
}
