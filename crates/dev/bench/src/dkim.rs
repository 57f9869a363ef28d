//! What a signature costs: CPU time of one thread a mail, by the kind of key.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use clap::Args;
use mail::{Domain, Timestamp};
use sign::{Canonicalization, Fields, PrivateKey, Signer};

use crate::content::Content;
use crate::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Size of a mail, in KiB.
    #[arg(long, default_value_t = 10)]
    size: usize,
    /// Mails of each round.
    #[arg(long, default_value_t = 2000)]
    mails: u32,
    /// Rounds; the median is shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Signs the same mail again and again.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let ed25519 = || PrivateKey::from_seed(&[7; 32]);
    let kinds: [(&str, Vec<PrivateKey>); 5] = [
        ("rsa-2048", vec![rsa(KeySize::Rsa2048)?]),
        ("rsa-3072", vec![rsa(KeySize::Rsa3072)?]),
        ("rsa-4096", vec![rsa(KeySize::Rsa4096)?]),
        ("ed25519", vec![ed25519()?]),
        (
            "rsa-2048 and ed25519",
            vec![rsa(KeySize::Rsa2048)?, ed25519()?],
        ),
    ];
    let mut content = Content::new(options.size * 1024);
    let mail = content.of(0);
    say(&format!(
        "{} octets, {} mails a round\n",
        mail.len(),
        options.mails
    ));
    for (name, keys) in kinds {
        let signers = keys.into_iter().map(signer).collect::<Result<Vec<_>>>()?;
        let signers: Vec<&Signer> = signers.iter().collect();
        let mut rounds = Vec::with_capacity(options.rounds);
        for _ in 0..options.rounds.max(1) {
            rounds.push(round(mail, &signers, options.mails.max(1))?);
        }
        rounds.sort();
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
        say(&format!(
            "{name}: {:.1} µs CPU a mail\n",
            median.as_secs_f64() * 1e6
        ));
    }
    Ok(())
}

fn round(mail: &[u8], signers: &[&Signer], mails: u32) -> Result<Duration> {
    let begin = thread_cpu();
    for second in 0..mails {
        let now = Timestamp::from_secs(u64::from(second));
        std::hint::black_box(sign::sign(mail, signers, now)?);
    }
    Ok(thread_cpu().saturating_sub(begin) / mails)
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn rsa(size: KeySize) -> Result<PrivateKey> {
    PrivateKey::from_pkcs8(rsa_der(size)?.as_ref()).context("an RSA key")
}

fn rsa_der(size: KeySize) -> Result<Pkcs8V1Der<'static>> {
    let failed = |_| anyhow!("no RSA key could be made");
    KeyPair::generate(size)
        .and_then(|pair| pair.as_der())
        .map_err(failed)
}

/// A new RSA key of 2048 bits, in PEM.
pub(crate) fn rsa_key() -> Result<String> {
    let der = rsa_der(KeySize::Rsa2048)?;
    let text = BASE64.encode(der.as_ref());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    Ok(format!(
        "-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"
    ))
}

fn signer(key: PrivateKey) -> Result<Signer> {
    Ok(Signer {
        domain: Domain::parse("example.com")?,
        selector: "s2026".parse()?,
        key,
        header: Canonicalization::Relaxed,
        body: Canonicalization::Relaxed,
        fields: Fields::default(),
        lifetime: None,
        subdomains: false,
        from: None,
        until: None,
    })
}
