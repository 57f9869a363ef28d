//! `sendoff check`: everything that is wrong, judged as the server would. *Errors* are what `serve` refuses, *warnings*
//! what will hurt, *notes* proposals.
//!
//! Root becomes the server's user before it opens what that user must be able to open; addresses are looked at before,
//! as `serve` does. Nothing is made or changed.

mod finding;
mod listening;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use config::judged::{Judged, judge, judge_texts};
use config::{Config, ConfigError, Texts};
use doubts::{self, Doubt};
use node::{loading, targets};
use terminal::print;

use finding::{Finding, Severity, Source};

use crate::Ends;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Exit with code 2 also if there are only warnings.
    #[arg(long)]
    strict: bool,
    /// Check with the rights of this user; only root can do this. Default for root: the owner of data_dir.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Check the file alone, where it is written and not where it is used (CI): files with passwords, keys
    /// and certificates need not exist, and nothing else on this computer is checked.
    #[arg(long, conflicts_with = "user")]
    without_secrets: bool,
}

/// Checks the configuration, and says what is wrong.
pub(crate) fn carry_out(path: Option<&PathBuf>, asked: &CheckArgs, json: bool) -> Result<()> {
    let path = crate::configuration(path);
    let (source, findings) = look(path.as_deref(), asked)?;
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&findings)?));
    } else {
        for finding in &findings {
            print(&finding.text());
        }
        let name = source.path.display();
        print(&format!("{name}: {}.\n", counted(errors, warnings)));
    }
    match errors > 0 || (asked.strict && warnings > 0) {
        true => Err(Ends(2).into()),
        false => Ok(()),
    }
}

fn counted(errors: usize, warnings: usize) -> String {
    let number = |n: usize, what: &str| match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    match warnings {
        0 => number(errors, "error"),
        n => format!("{}, {}", number(errors, "error"), number(n, "warning")),
    }
}

fn look(path: Option<&Path>, asked: &CheckArgs) -> Result<(Source, Vec<Finding>)> {
    let mut source = Source {
        path: path.map_or_else(
            || PathBuf::from("the defaults (there is no configuration file)"),
            Path::to_owned,
        ),
        lines: BTreeMap::new(),
    };
    let mut findings = Vec::new();
    let first = match read(path, asked.without_secrets) {
        Ok(judged) => judged,
        Err(error) => {
            let found = vec![source.error(&error)];
            return Ok((source, found));
        }
    };
    source.lines = first.lines.clone();
    let mut judged = first;
    if !asked.without_secrets
        && let Some(config) = &judged.config
    {
        for (doubt, severity) in listening::judge(config) {
            findings.push(source.doubt(severity, &doubt));
        }
        rights::take_on_the_servers(config, asked.user.as_deref())?;
        judged = match read(path, asked.without_secrets) {
            Ok(judged) => judged,
            Err(error) => {
                findings.push(source.error(&error));
                return Ok((source, findings));
            }
        };
    }
    findings.extend(judged.errors.iter().map(|error| source.error(error)));
    if let Some(config) = &judged.config {
        judge_config(config, asked, &source, &mut findings);
    }
    let first = source.path.display().to_string();
    findings.sort_by_key(|finding| {
        let is_included = finding.file != first;
        (
            finding.severity,
            is_included,
            finding.file.clone(),
            finding.line,
        )
    });
    findings.dedup();
    Ok((source, findings))
}

/// Reads the configuration, and judges it.
pub(crate) fn read(path: Option<&Path>, without_secrets: bool) -> Result<Judged, ConfigError> {
    let Some(path) = path else {
        let (path, base) = (Path::new(crate::CONFIG), Path::new("/etc/sendoff"));
        return Ok(judge("", path, base, without_secrets));
    };
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut judged = judge_texts(&Texts::read(path)?, &base, without_secrets);
    if let Some(config) = &mut judged.config {
        config.path = Some(path.to_owned());
    }
    Ok(judged)
}

/// What is said of a configuration that can be read.
fn judge_config(config: &Config, asked: &CheckArgs, source: &Source, findings: &mut Vec<Finding>) {
    let mut add = |severity, key: Option<&str>, what: &str| {
        findings.push(source.finding(severity, key, what));
    };
    for doubt in loads(config, asked.without_secrets) {
        add(Severity::Error, doubt.key, &doubt.what);
    }
    for warning in &config.warnings {
        add(Severity::Warning, None, warning);
    }
    for proposal in &config.proposals {
        add(Severity::Note, None, proposal);
    }
    let mut doubts = doubts::of(config, net::now());
    if asked.without_secrets {
        // What is there is judged; where it will be is another computer.
        doubts.retain(|doubt| doubt.key.is_some_and(|key| key.ends_with("certificate")));
    } else {
        if let Err(error) = rights::check_data_dir(config) {
            add(Severity::Error, Some("data_dir"), &format!("{error:#}"));
        } else {
            for doubt in doubts::unusable(config) {
                add(Severity::Error, doubt.key, &doubt.what);
            }
        }
        for doubt in doubts::read_only(config) {
            add(Severity::Warning, doubt.key, &doubt.what);
        }
    }
    for doubt in doubts {
        add(Severity::Warning, doubt.key, &doubt.what);
    }
}

/// What cannot be loaded of what the configuration names.
fn loads(config: &Config, without_secrets: bool) -> Vec<Doubt> {
    let mut found = Vec::new();
    let mut add = |key, what: String| {
        found.push(Doubt {
            key: Some(key),
            what,
        });
    };
    let mut of_tls = |error: net::TlsLoadError, usual: &'static str| {
        let file = error.file().map(Path::to_owned);
        let is_absent = file.as_ref().is_some_and(|file| !file.exists());
        let named = config.named.files.iter();
        let mut named = named.filter(|named| file.as_ref() == Some(&named.path));
        let key = named.next().map_or(usual, |named| named.key);
        if !(without_secrets && is_absent) {
            add(key, error.to_string());
        }
    };
    if let Some((certificate, key)) = &config.tls.certificate
        && let Err(error) = net::ServerTls::load(certificate, key)
    {
        of_tls(error, doubts::certificates::SERVER);
    }
    if let Err(error) = loading::load_client_tls(config) {
        of_tls(error, "tls.extra_roots");
    }
    if let Err(why) = config.dns.check() {
        add("dns.trust_anchor", why.to_string());
    }
    if let Err(error) = targets::load(&config.events)
        && !without_secrets
    {
        add("webhook.secret_file", format!("{error:#}"));
    }
    found
}
