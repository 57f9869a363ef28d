//! Certificates of ours: for which names they are, and how long they hold.

use std::path::PathBuf;
use std::time::Duration;

use config::Config;
use mail::{Domain, Timestamp};
use net::CertificateFile;

use super::Doubt;

/// A certificate that ends sooner than this is spoken of.
const SOON_DAYS: u64 = 21;
const DAY: Duration = Duration::from_secs(86_400);
/// The key that names the certificate of this server.
pub const SERVER: &str = "tls.certificate";
pub(crate) const CLIENT: &str = "outgoing.client_certificate";

/// A certificate that is shown to others.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The key that names its file.
    pub(crate) key: &'static str,
    pub(crate) path: PathBuf,
    /// What it says.
    pub certificate: CertificateFile,
}

/// The certificates of a configuration, as far as they can be read.
pub fn read(config: &Config) -> Vec<Shown> {
    let files = [
        (SERVER, config.tls.certificate.as_ref()),
        (CLIENT, config.outgoing.client_identity.as_ref()),
    ];
    let read = |(key, files): (&'static str, Option<&(PathBuf, PathBuf)>)| {
        let path = files?.0.clone();
        let certificate = CertificateFile::read(&path).ok()?;
        Some(Shown {
            key,
            path,
            certificate,
        })
    };
    files.into_iter().filter_map(read).collect()
}

impl Shown {
    /// The metric that says until when it holds.
    pub fn metric(&self) -> &'static str {
        match self.key {
            SERVER => "tls_certificate_not_after_timestamp_seconds",
            _ => "client_certificate_not_after_timestamp_seconds",
        }
    }

    /// Its name in `stats`, where its days are counted.
    pub fn figure(&self) -> &'static str {
        match self.key {
            SERVER => "tls_certificate_days_left",
            _ => "client_certificate_days_left",
        }
    }

    /// Whole days until it ends; negative after that.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        let end = i64::try_from(self.certificate.not_after.as_millis()).unwrap_or(i64::MAX);
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        (end - now).div_euclid(86_400_000)
    }

    /// What is to be said of its dates.
    pub fn ends(&self, now: Timestamp) -> Option<Doubt> {
        let file = self.path.display();
        let (from, until) = (self.certificate.not_before, self.certificate.not_after);
        let renew = "renew it, then `sendoff reload`";
        let what = if until <= now {
            format!(
                "the certificate {file} expired on {until}, and other programs refuse it: {renew}"
            )
        } else if from > now {
            format!(
                "the certificate {file} is not valid before {from}: wait until then, or set this computer's clock"
            )
        } else if until < now + DAY * u32::try_from(SOON_DAYS).unwrap_or(u32::MAX) {
            let days = match self.days_left(now) {
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            };
            format!("the certificate {file} expires in {days}, on {until}: {renew}")
        } else {
            return None;
        };
        Some(Doubt::of(self.key, what))
    }

    /// Everything that is to be said of it.
    pub(crate) fn doubts(&self, hostname: &Domain, now: Timestamp) -> Vec<Doubt> {
        let mut doubts: Vec<Doubt> = self.ends(now).into_iter().collect();
        if self.key == SERVER
            && let Err(names) = self.certificate.is_for(hostname.as_str())
        {
            let others = match names.is_empty() {
                true => String::new(),
                false => format!("it is for {}; ", names.join(", ")),
            };
            let what = format!(
                "the certificate {file} is not valid for the name {hostname} (hostname): {others}clients that use \
                 that name refuse it; get one for {hostname}, or set hostname to a name that it has",
                file = self.path.display()
            );
            doubts.push(Doubt::of(self.key, what));
        }
        doubts
    }
}
