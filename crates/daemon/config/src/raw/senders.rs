//! The sections about senders: as whom mail leaves.

use serde::Deserialize;
use toml::Spanned;

use super::{Quantity, Text};

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReturnPath {
    /// The domain of the return paths: a separate domain with this server as its MX; empty: the author
    /// stays the sender. Default: empty.
    pub(crate) domain: Text,
    /// `recipient`: one for each recipient, each in its own transaction, so that a bounce shows which
    /// recipient it is about; `message`: one for each message; its bounces suppress nobody if it had
    /// several recipients.
    /// Default: `recipient`.
    pub(crate) per: Text,
    /// Senders whose mail gets one: addresses, `@domain`, or `*`. Default: `["*"]`.
    pub(crate) senders: Option<Vec<Spanned<String>>>,
    /// Users whose mail gets one, whatever its sender is. Default: none.
    pub(crate) users: Vec<String>,
    /// How long after a message was accepted its bounces are accepted. Default: `14d`.
    pub(crate) valid: Quantity,
    /// The local part, at `domain`, that accepts complaints of feedback loops, from anybody; empty: none. Default: empty.
    pub(crate) feedback: Text,
    /// Who gets a copy of each complaint; empty: they are only processed and counted. Default: empty.
    pub(crate) complaints_to: Text,
    /// Secrets in hexadecimal, one per line: the first signs return paths and SRS addresses, all are
    /// accepted. Created if it does not exist. Default: `return-path.key` in `data_dir`.
    pub(crate) secrets_file: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SenderRewriting {
    /// The domain of the rewritten senders, with this server as its MX; empty: senders stay. It may be
    /// that of `[return_path]`. Default: empty.
    pub(crate) domain: Text,
    /// How long reports to a rewritten address are accepted. Default: `21d`.
    pub(crate) valid: Quantity,
    /// Networks of servers that forward mail of others through this server: their mail is rewritten as
    /// well. Default: none.
    pub(crate) relays: Vec<Spanned<String>>,
    /// Domains that this server may send for, in addition to the local ones: their senders stay. Default: none.
    pub(crate) own_domains: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sender {
    /// `user@example.com`; `user`, at `hostname` or a local domain; `@example.com` for everybody there;
    /// `@.example.com` for everybody below.
    #[serde(rename = "match")]
    pub(crate) matching: Text,
    /// The address in its place, such as `office@provider.example`; `@provider.example`: the local part stays.
    #[serde(rename = "as")]
    pub(crate) becomes: Text,
    /// Replies go to the original author: a message without a Reply-To gets one. Reports never do.
    /// Default: true.
    pub(crate) reply_to: Option<bool>,
}
