//! Loading what a configuration names: certificates, secrets, the resolver.

use std::sync::Arc;

use accounts::Logins;
use anyhow::{Context, Result, anyhow};
use config::Config;
use mail::Domain;
use net::{ClientTls, Dns, ServerTls};

use crate::{Settings, targets};

/// TLS towards other servers, as the configuration has it.
pub fn load_client_tls(config: &Config) -> Result<ClientTls, net::TlsLoadError> {
    let identity = config.outgoing.client_identity.as_ref();
    let identity = identity.map(|(c, k)| (c.as_path(), k.as_path()));
    ClientTls::new(&config.tls.extra_roots, identity)
}

/// The same, with an error that names the keys.
pub fn client_tls(config: &Config) -> Result<ClientTls> {
    load_client_tls(config)
        .context("tls.extra_roots, outgoing.client_certificate and outgoing.client_key")
}

/// Loads everything that the configuration names.
pub async fn settings(config: Config) -> Result<Settings> {
    config.check_keys()?;
    let dns = Dns::new(&config.dns)
        .await
        .map_err(|e| anyhow!(e))
        .context("dns.servers")?;
    let client_tls = client_tls(&config)?;
    let server_tls = match &config.tls.certificate {
        Some((certificate, key)) => {
            Some(ServerTls::load(certificate, key).context("tls.certificate and tls.private_key")?)
        }
        None => None,
    };
    let secret = accounts::secret(&config.data_dir).context("data_dir: login-secret")?;
    let logins = Logins::new(config.users_file.clone(), own_domains(&config), &secret);
    let mut policy = config.intake.clone();
    if !policy.paths.is_empty() {
        let text = accounts::kept(&config.paths.secrets).map_err(anyhow::Error::from);
        policy.paths.keys = text.and_then(|text| Ok(text.parse()?)).with_context(|| {
            format!(
                "return_path.secrets_file {}",
                config.paths.secrets.display()
            )
        })?;
    }
    let policy = Arc::new(policy);
    let webhooks = targets::load(&config.events)?;
    let certificates = doubts::certificates::read(&config);
    Ok(Settings {
        config,
        certificates,
        webhooks,
        policy,
        dns,
        client_tls,
        server_tls,
        logins,
    })
}

/// Where users whose names have no domain may send from: the domains that are delivered to here,
/// the postmaster's, this server's own name and the domain above that.
pub fn own_domains(config: &Config) -> Vec<Domain> {
    let hostname = &config.hostname;
    let above = hostname
        .as_str()
        .split_once('.')
        .filter(|(_, above)| psl::domain_str(above).is_some());
    let above = above.and_then(|(_, above)| Domain::parse(above).ok());
    let mut all: Vec<Domain> = config.intake.local.domains().cloned().collect();
    all.extend([config.postmaster.domain().clone(), hostname.clone()]);
    all.extend(above);
    all.dedup();
    all
}
