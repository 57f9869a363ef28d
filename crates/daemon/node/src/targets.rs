//! The receivers of events as they are configured, with the keys that what they are told is signed by.

use std::sync::Arc;

use anyhow::{Context, Result};
use config::EventSettings;
use config::webhooks::{Secret, WebhookSettings};

/// A webhook as it is configured, with the keys that sign.
pub struct Target {
    /// As the configuration has it.
    pub settings: WebhookSettings,
    /// What is sent is signed by each of them.
    pub keys: Vec<aws_lc_rs::hmac::Key>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// Loads the secrets. Blocks on the disk.
///
/// # Errors
/// When one cannot be used.
pub fn load(settings: &EventSettings) -> Result<Vec<Arc<Target>>> {
    let load = |hook: &WebhookSettings| {
        let secrets = hook.secrets();
        let secrets = secrets.with_context(|| format!("webhook.secret_file of {}", hook.name))?;
        let key = |secret: &Secret| {
            aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.octets())
        };
        Ok(Arc::new(Target {
            settings: hook.clone(),
            keys: secrets.iter().map(key).collect(),
        }))
    };
    settings.webhooks.iter().map(load).collect()
}
