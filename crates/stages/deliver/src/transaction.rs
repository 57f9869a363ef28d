//! What is said to a host about one message.

use bytes::Bytes;
use mail::{Address, BodyType, Notify, Ret};
use smtp::command::ByTime;

use crate::obstacle::Obstacle;

/// What is to be handed over.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// MAIL FROM.
    pub reverse_path: Option<Address>,
    /// RCPT TO, in this order.
    pub recipients: Vec<TransactionRecipient>,
    /// Header and body.
    pub content: Bytes,
    /// What the content needs to be carried.
    pub body: BodyType,
    /// The header has, so that only SMTPUTF8 can carry it.
    pub utf8_header: bool,
    /// What was done to the content for this host, or why it could not be.
    pub conversion: Option<Result<String, Obstacle>>,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, in xtext.
    pub env_id: Option<String>,
    /// MT-PRIORITY.
    pub priority: Option<i8>,
    /// BY.
    pub deliver_by: Option<ByTime>,
    /// REQUIRETLS.
    pub require_tls: bool,
}

/// One recipient of it.
#[derive(Debug, Clone)]
pub struct TransactionRecipient {
    /// The caller's number for it.
    pub number: u32,
    /// RCPT TO.
    pub address: Address,
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT.
    pub orcpt: Option<String>,
}
