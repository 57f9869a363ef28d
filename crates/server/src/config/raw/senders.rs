//! The sections about senders: as whom mail leaves.

use serde::Deserialize;
use toml::Spanned;

use super::{Quantity, Text};

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReturnPath {
    /// The domain of the return paths, of its own, whose MX is this server; empty: the author stays
    /// the sender. Default: empty.
    pub(crate) domain: Text,
    /// `recipient`: one for each recipient, each in a transaction of its own, so that a bounce tells
    /// whose it is; `message`: one for a message, whose bounces suppress nobody where it had several recipients.
    /// Default: `recipient`.
    pub(crate) per: Text,
    /// Senders whose mail gets one: addresses, `@domain`, or `*`. Default: `["*"]`.
    pub(crate) senders: Option<Vec<Spanned<String>>>,
    /// Users whose mail gets one, whatever its sender is. Default: none.
    pub(crate) users: Vec<String>,
    /// How long after a mail's acceptance its bounces are taken. Default: `14d`.
    pub(crate) valid: Quantity,
    /// The local part, at `domain`, that takes complaints of feedback loops, from anybody; empty:
    /// none. Default: empty.
    pub(crate) feedback: Text,
    /// Who gets complaints as they come in; empty: they are read and counted only. Default: empty.
    pub(crate) complaints_to: Text,
    /// Secrets in hexadecimal, one a line: the first signs return paths and SRS addresses, each is
    /// believed. Made where it is not there. Default: `return-path.key` in `data_dir`.
    pub(crate) secrets_file: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SenderRewriting {
    /// The domain of the rewritten senders, whose MX is this server; empty: senders stay. It may be
    /// that of `[return_path]`. Default: empty.
    pub(crate) domain: Text,
    /// How long reports are taken for one. Default: `21d`.
    pub(crate) valid: Quantity,
    /// Networks of servers that hand on mail of others: what they send by here is rewritten as well. Default: none.
    pub(crate) relays: Vec<Spanned<String>>,
    /// Domains that this server may send for beside the local ones: their senders stay. Default: none.
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
    /// Answers go to the old author: a mail that names nobody for them gets a Reply-To. Reports never do.
    /// Default: true.
    pub(crate) reply_to: Option<bool>,
}
