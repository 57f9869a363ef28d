//! `sendoff dkim`: keys that mail is signed with, and their records in DNS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use config::Config;
use mail::Domain;
use net::{Answer, Dns, LookupError};
use serde_json::{Value, json};
use sign::{Finding, PrivateKey, PublicKey, Selector, Signer, judge};
use terminal::print;

/// The longest string of a TXT record, in octets (RFC 1035 §3.3.14).
const STRING_MAX: usize = 255;

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// Make a key for a domain; print what to publish and what to add to the configuration.
    Generate {
        /// The domain in the From of the mail.
        domain: String,
        /// The key's name. Default: the month, such as s202601.
        #[arg(long)]
        selector: Option<String>,
        /// With both, there are two keys, the selectors of which end in -rsa and -ed25519.
        #[arg(long, value_enum, default_value = "rsa")]
        algorithm: Wanted,
        /// The size of an RSA key. Above 2048, its record needs several strings.
        #[arg(long, default_value = "2048", value_parser = ["2048", "3072", "4096"])]
        bits: String,
        /// Where the key's file goes. Default: dkim in `data_dir`.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Compare the keys with their records in DNS; exit code 1 if an active key would fail.
    Check {
        /// Only this domain's.
        domain: Option<String>,
    },
    /// List the keys, and when they sign.
    List,
}

/// Which keys are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// RSA: every verifier knows it.
    Rsa,
    /// Ed25519: small and quick, unknown to many verifiers.
    Ed25519,
    /// One of each.
    Both,
}

/// Does it.
pub(crate) async fn carry_out(config: &Config, command: DkimCommand, json: bool) -> Result<()> {
    match command {
        DkimCommand::Generate {
            domain,
            selector,
            algorithm,
            bits,
            dir,
        } => {
            let domain = Domain::parse(&domain).with_context(|| format!("`{domain}`"))?;
            let ascii = domain.to_ascii().filter(|d| d.literal().is_none());
            let domain = ascii.ok_or_else(|| anyhow!("`{domain}` is not a domain name"))?;
            let dir = dir.unwrap_or_else(|| config.data_dir.join("dkim"));
            let selector = selector.unwrap_or_else(this_month);
            generate(&domain, &selector, algorithm, &bits, &dir, json)
        }
        DkimCommand::Check { domain } => {
            config.check_keys()?;
            check(config, domain.as_deref(), json).await
        }
        DkimCommand::List => {
            config.check_keys()?;
            list(config, json)
        }
    }
}

/// `s202601`.
fn this_month() -> String {
    let now = net::now().to_string();
    let digits = now.chars().filter(char::is_ascii_digit).take(6);
    format!("s{}", digits.collect::<String>())
}

fn generate(
    domain: &Domain,
    selector: &str,
    wanted: Wanted,
    bits: &str,
    dir: &Path,
    json: bool,
) -> Result<()> {
    let kinds: &[(Wanted, &str)] = match wanted {
        Wanted::Rsa => &[(Wanted::Rsa, "")],
        Wanted::Ed25519 => &[(Wanted::Ed25519, "")],
        Wanted::Both => &[(Wanted::Rsa, "-rsa"), (Wanted::Ed25519, "-ed25519")],
    };
    rights::take_on_for(dir)?;
    let mut made = Vec::with_capacity(kinds.len());
    for (kind, suffix) in kinds {
        let selector: Selector = format!("{selector}{suffix}").parse()?;
        let path = dir.join(format!("{domain}.{selector}.pem"));
        // Of two, none is written when one is there already.
        if path.symlink_metadata().is_ok() {
            return Err(anyhow!(
                "{} exists already, and a key is never overwritten: choose another --selector",
                path.display()
            ));
        }
        made.push((selector, path, pem(*kind, bits)?));
    }
    let mut text = String::new();
    let mut values = Vec::new();
    for (selector, path, pem) in &made {
        let public = PrivateKey::from_pem(pem)?.public();
        let public = public.ok_or_else(|| anyhow!("the new key has no public key"))?;
        net::create_private(path, pem)
            .with_context(|| format!("writing the key {}", path.display()))?;
        let record = Record::new(domain, selector, &public);
        text.push_str(&format!(
            "# The key is in {}. Publish in DNS:\n",
            path.display()
        ));
        text.push_str(&format!("{}\n\n", record.zone_line()));
        text.push_str(&format!(
            "# The same as name and value, for a web form:\n{}\n{}\n\n",
            record.name, record.value
        ));
        values.push(json!({
            "domain": domain.as_str(), "selector": selector.as_str(), "key_file": path,
            "record": record.json(),
        }));
    }
    text.push_str("# Then add to the configuration, `sendoff dkim check`, `sendoff reload`:\n");
    for (selector, path, _) in &made {
        // A path in a TOML string, whatever is in it.
        let file = toml::Value::from(path.display().to_string());
        text.push_str(&format!(
            "[[dkim]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey_file = {file}\n\n"
        ));
    }
    show(json, &json!(values), text.trim_end())
}

/// A new private key in PEM (PKCS #8).
fn pem(kind: Wanted, bits: &str) -> Result<String> {
    let failed = |_| anyhow!("the key could not be made");
    let der: Pkcs8V1Der<'_> = match kind {
        Wanted::Ed25519 => Ed25519KeyPair::generate().map_err(failed)?.as_der(),
        Wanted::Rsa | Wanted::Both => {
            let size = match bits {
                "3072" => KeySize::Rsa3072,
                "4096" => KeySize::Rsa4096,
                _ => KeySize::Rsa2048,
            };
            rsa::KeyPair::generate(size).map_err(failed)?.as_der()
        }
    }
    .map_err(failed)?;
    let base64 = STANDARD.encode(der.as_ref());
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    Ok(text)
}

/// A TXT record to publish.
struct Record {
    name: String,
    value: String,
}

impl Record {
    fn new(domain: &Domain, selector: &Selector, key: &PublicKey) -> Self {
        Self {
            name: format!("{selector}._domainkey.{domain}"),
            value: key.record(),
        }
    }

    fn strings(&self) -> Vec<&str> {
        let mut rest = self.value.as_str();
        let mut strings = Vec::new();
        while !rest.is_empty() {
            // It is ASCII: it can be cut anywhere.
            let (string, behind) = rest.split_at(rest.len().min(STRING_MAX));
            strings.push(string);
            rest = behind;
        }
        strings
    }

    /// As it stands in a zone's file.
    fn zone_line(&self) -> String {
        let quoted: Vec<String> = self.strings().iter().map(|s| format!("\"{s}\"")).collect();
        let name = &self.name;
        match quoted.as_slice() {
            [one] => format!("{name}. IN TXT {one}"),
            several => format!("{name}. IN TXT (\n    {}\n)", several.join("\n    ")),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "strings": self.strings(),
            "zone": self.zone_line(),
        })
    }
}

fn show(json: bool, value: &Value, text: &str) -> Result<()> {
    match json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        false => print(&format!("{text}\n")),
    }
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<()> {
    let now = net::now();
    let one = |signer: &Signer| {
        let public = signer.key.public();
        json!({
            "domain": signer.domain.as_str(), "selector": signer.selector.as_str(),
            "algorithm": signer.key.algorithm().word(), "bits": public.map(|p| p.bits),
            "subdomains": signer.subdomains, "signs_now": signer.is_in_force(now),
            "from": signer.from.map(|t| t.to_string()),
            "until": signer.until.map(|t| t.to_string()),
        })
    };
    let values: Vec<Value> = config.dkim.signers().map(|s| one(s)).collect();
    let line = |signer: &Signer| {
        let bits = signer.key.public().map_or(0, |p| p.bits);
        let subdomains = if signer.subdomains {
            ", subdomains too"
        } else {
            ""
        };
        let (name, how) = (signer.name(), signer.key.algorithm().word());
        format!(
            "{name}  {how}, {bits} bits{subdomains}, {}\n",
            times(signer)
        )
    };
    let mut text: String = config.dkim.signers().map(|s| line(s)).collect();
    if text.is_empty() {
        text.push_str("There are no keys: mail is not signed (`sendoff dkim generate`).\n");
    }
    for gap in config.dkim.gaps(now) {
        text.push_str(&format!("warning: {gap}.\n"));
    }
    show(json, &json!(values), text.trim_end())
}

/// When a key signs.
fn times(signer: &Signer) -> String {
    let now = net::now();
    match (signer.from.filter(|from| *from > now), signer.until) {
        (_, Some(until)) if until <= now => format!("signed until {until}"),
        (Some(from), Some(until)) => format!("signs from {from} until {until}"),
        (Some(from), None) => format!("signs from {from} on"),
        (None, Some(until)) => format!("signs now, until {until}"),
        (None, None) => "signs now".to_owned(),
    }
}

/// What DNS has of a key.
enum Published {
    Found(Vec<Finding>),
    Unknown(String),
}

/// With validation first. Where that is not to be had the record is judged without, as by most verifiers; one
/// that is signed wrongly is not.
async fn look_up([dns, plain]: [&Dns; 2], signer: &Signer) -> Published {
    let name = signer.record_name();
    let mut answer = dns.txt(&name).await.answer;
    if let Answer::Failed(why) = &answer
        && *why != LookupError::Bogus
    {
        let unvalidated = plain.txt(&name).await.answer;
        if let Answer::Found(_) | Answer::NoData | Answer::NxDomain = unvalidated {
            answer = unvalidated;
        }
    }
    let records = match answer {
        Answer::Found(records) => records,
        Answer::NoData | Answer::NxDomain => Vec::new(),
        Answer::Failed(why) => return Published::Unknown(why.to_string()),
    };
    match signer.key.public() {
        Some(public) => Published::Found(judge(&records, &public)),
        None => Published::Unknown("the key has no public key".to_owned()),
    }
}

async fn check(config: &Config, domain: Option<&str>, json: bool) -> Result<()> {
    let domain = domain.map(Domain::parse).transpose()?;
    let domain = domain.map(|d| d.to_ascii().unwrap_or(d));
    let of = |s: &&std::sync::Arc<Signer>| domain.as_ref().is_none_or(|d| s.domain == *d);
    let signers: Vec<_> = config.dkim.signers().filter(of).collect();
    if signers.is_empty() {
        let of = domain.map(|d| format!(" for {d}")).unwrap_or_default();
        return Err(anyhow!(
            "there is no key{of} in the configuration: `sendoff dkim generate` makes one"
        ));
    }
    let dns = Dns::new(&config.dns).await?;
    let plain = net::DnsSettings {
        dnssec: false,
        ..config.dns.clone()
    };
    let plain = Dns::new(&plain).await?;
    let (mut text, mut values) = (String::new(), Vec::new());
    let mut bad = 0;
    for signer in signers {
        let in_use = signer.is_in_force(net::now());
        let published = look_up([&dns, &plain], signer).await;
        let (fails, value) = describe(signer, &published, &mut text);
        bad += usize::from(fails && in_use);
        values.push(value);
    }
    for gap in config.dkim.gaps(net::now()) {
        text.push_str(&format!("warning: {gap}.\n"));
    }
    show(json, &json!(values), text.trim_end())?;
    match bad {
        0 => Ok(()),
        1 => Err(anyhow!("1 active key cannot be used by verifiers")),
        n => Err(anyhow!("{n} active keys cannot be used by verifiers")),
    }
}

/// One key in words; whether its signatures would fail, and the same for programs.
fn describe(signer: &Signer, published: &Published, text: &mut String) -> (bool, Value) {
    let (name, record) = (signer.name(), signer.record_name());
    text.push_str(&format!("{name} ({}), {record}:\n", times(signer)));
    let (fails, findings) = match published {
        Published::Unknown(why) => {
            text.push_str(&format!(
                "  unknown, because DNS gives no answer: {why}\n  Remedy: `sendoff dns test`.\n"
            ));
            (true, vec![json!({ "word": "unknown", "what": why })])
        }
        Published::Found(found) => {
            for finding in found {
                text.push_str(&format!("  {finding}.\n"));
                if let Some(remedy) = finding.remedy() {
                    text.push_str(&format!("  Remedy: {remedy}.\n"));
                }
            }
            let one = |f: &Finding| json!({ "word": f.word(), "what": f.to_string(), "remedy": f.remedy() });
            (
                found.iter().any(Finding::fails),
                found.iter().map(one).collect(),
            )
        }
    };
    let expected = match (fails, signer.key.public()) {
        (true, Some(public)) => Some(Record::new(&signer.domain, &signer.selector, &public)),
        _ => None,
    };
    if let Some(record) = &expected {
        text.push_str(&format!("  It should be:\n  {}\n", record.value));
    }
    let value = json!({
        "domain": signer.domain.as_str(), "selector": signer.selector.as_str(),
        "name": record, "signs_now": signer.is_in_force(net::now()), "fails": fails,
        "findings": findings, "expected": expected.map(|r| r.json()),
    });
    (fails, value)
}
