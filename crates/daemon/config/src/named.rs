//! The files that the configuration names, and whether it holds secrets itself.

use std::path::{Path, PathBuf};

use super::error::Place;
use super::raw::{Raw, Text};

/// What else belongs to the configuration.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// Files that are read with it.
    pub files: Vec<NamedFile>,
    /// A key that holds a password or another secret, not the name of a file with it, and the file that it stands in.
    pub secret: Option<(&'static str, PathBuf)>,
}

/// A file that is read.
#[derive(Debug, Clone)]
pub struct NamedFile {
    pub key: &'static str,
    pub path: PathBuf,
    /// Whoever reads it can be somebody that he is not.
    pub is_secret: bool,
}

/// Keys that name a file with a secret.
const SECRET_FILES: [&str; 8] = [
    "tls.private_key",
    "outgoing.client_key",
    "outgoing.relay.password_file",
    "outgoing.relay.oauth.client_secret_file",
    "outgoing.relay.oauth.service_account_file",
    "dkim.key_file",
    "webhook.secret_file",
    "source.proxy_password_file",
];

impl Named {
    /// Whether a key names a file with a secret.
    pub(super) fn is_secret_file(key: &str) -> bool {
        SECRET_FILES.contains(&key)
    }

    pub(super) fn of(raw: &Raw, place: &Place<'_>, base: &Path) -> Self {
        let mut named = Self::default();
        let mut add = |key: &'static str, file: &Text| {
            let text = file.as_ref().map(|text| text.get_ref());
            named
                .files
                .extend(text.filter(|t| !t.is_empty()).map(|t| NamedFile {
                    key,
                    path: base.join(t),
                    is_secret: Self::is_secret_file(key),
                }));
        };
        let (tls, outgoing) = (&raw.tls, &raw.outgoing);
        let relay = outgoing.relay.as_ref().map(|relay| relay.get_ref());
        let oauth = relay.and_then(|relay| Some(relay.oauth.as_ref()?.get_ref()));
        add("tls.certificate", &tls.certificate);
        add("tls.private_key", &tls.private_key);
        let certificate = &outgoing.client_certificate;
        add("outgoing.client_certificate", certificate);
        add("outgoing.client_key", &outgoing.client_key);
        if let Some(relay) = relay {
            add("outgoing.relay.password_file", &relay.password_file);
        }
        if let Some(oauth) = oauth {
            let key = "outgoing.relay.oauth.client_secret_file";
            add(key, &oauth.client_secret_file);
            let key = "outgoing.relay.oauth.service_account_file";
            add(key, &oauth.service_account_file);
        }
        add("dns.trust_anchor", &raw.dns.trust_anchor);
        add("replies.rules", &raw.replies.rules);
        for dkim in &raw.dkim {
            add("dkim.key_file", &dkim.get_ref().key_file);
        }
        for webhook in &raw.webhook {
            add("webhook.secret_file", &webhook.get_ref().secret_file);
        }
        for source in &raw.source {
            let file = &source.get_ref().proxy_password_file;
            add("source.proxy_password_file", file);
        }
        for root in &tls.extra_roots {
            named.files.push(NamedFile {
                key: "tls.extra_roots",
                path: base.join(root),
                is_secret: false,
            });
        }
        named.secret = held(raw, place);
        named
    }
}

/// The first key that holds a secret, and its file.
fn held(raw: &Raw, place: &Place<'_>) -> Option<(&'static str, PathBuf)> {
    let relay = raw.outgoing.relay.as_ref().map(|relay| relay.get_ref());
    let oauth = relay.and_then(|relay| Some(relay.oauth.as_ref()?.get_ref()));
    let webhooks = raw.webhook.iter().map(|w| &w.get_ref().secret);
    let sources = raw.source.iter().map(|s| &s.get_ref().proxy_password);
    let relay = relay.map(|relay| ("outgoing.relay.password", &relay.password));
    let oauth = oauth.map(|oauth| ("outgoing.relay.oauth.client_secret", &oauth.client_secret));
    let all = relay.into_iter().chain(oauth);
    let all = all.chain(webhooks.map(|text| ("webhook.secret", text)));
    let mut all = all.chain(sources.map(|text| ("source.proxy_password", text)));
    all.find_map(|(key, text)| {
        let span = text.as_ref()?.span();
        let written = place.text.get(span.clone()).unwrap_or_default();
        // What the environment holds is not in the file.
        let is_elsewhere = written.replace("$${", "").contains("${");
        (!is_elsewhere).then(|| (key, place.part(span.start).path.to_owned()))
    })
}
