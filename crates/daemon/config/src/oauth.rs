//! `[outgoing.relay.oauth]`: how the token is got by which a relay is logged in to (OAuth 2, RFC 6749).
//!
//! Nothing is asked here: see `oauth.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mail::Timestamp;
use net::WebUrl;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::raw::Text;
use super::values::choice;

type Result<T> = std::result::Result<T, ConfigError>;

/// A client secret that ends within this time is warned of.
const SECRET_NOTICE: Duration = Duration::from_secs(30 * 86_400);
const KEY: &str = "outgoing.relay.oauth";

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawOauth {
    /// `microsoft` or `google`: sets endpoints and scope. Default: none; then `token_url` is needed.
    pub(crate) provider: Text,
    /// `client_credentials`, `device_code`, `code` or `service_account`. Default: what the other keys make
    /// possible, in this order: a service account, client credentials (not with Google), a login by a person.
    pub(crate) flow: Text,
    /// The mailbox that logs in. Default: `outgoing.relay.username`.
    pub(crate) user: Text,
    /// The tenant of Microsoft 365: its id or one of its domains.
    pub(crate) tenant: Text,
    /// The id of the application, as registered there.
    pub(crate) client_id: Text,
    /// Its secret.
    pub(crate) client_secret: Text,
    /// A file that contains its secret.
    pub(crate) client_secret_file: Text,
    /// The last day of the secret, such as `2027-01-31`: warnings are logged 30, 7 and 1 days before.
    pub(crate) client_secret_expires: Text,
    /// Google: the JSON file of the service account, with its key.
    pub(crate) service_account_file: Text,
    /// The scope of the token. Default: the provider's scope for sending mail by SMTP.
    pub(crate) scope: Text,
    /// The token endpoint. Default: the provider's.
    pub(crate) token_url: Text,
    /// Where a login by device code begins (RFC 8628). Default: the provider's.
    pub(crate) device_url: Text,
    /// Where a person logs in by a browser. Default: the provider's.
    pub(crate) authorize_url: Text,
}

/// How a token is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// By the application's own secret (RFC 6749 §4.4).
    ClientCredentials,
    /// By a key of a service account (RFC 7523).
    ServiceAccount,
    /// A person has logged in, with a code that a device shows (RFC 8628); from then on by refresh token.
    DeviceCode,
    /// A person has logged in by a browser (RFC 8252); from then on by refresh token.
    Code,
}

impl Flow {
    /// Its word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::ServiceAccount => "service_account",
            Self::DeviceCode => "device_code",
            Self::Code => "code",
        }
    }

    /// Whether a person must log in first.
    pub const fn needs_person(self) -> bool {
        matches!(self, Self::DeviceCode | Self::Code)
    }
}

/// The endpoints and the scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// Where tokens are got (RFC 6749 §3.2).
    pub token: String,
    /// Where a device asks for its code (RFC 8628 §3.1).
    pub device: Option<String>,
    /// Where a person allows it in a browser (RFC 6749 §3.1).
    pub authorize: Option<String>,
    /// What is asked for (RFC 6749 §3.3).
    pub scope: Option<String>,
}

/// A service account of Google, as its file says.
#[derive(Clone, Deserialize)]
pub struct ServiceAccount {
    /// The account's own address.
    pub client_email: String,
    /// Its key in PEM, that requests are signed with.
    pub private_key: String,
    /// The name of the key.
    #[serde(default)]
    pub private_key_id: String,
    #[serde(default)]
    token_uri: Option<String>,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceAccount")
    }
}

/// How the token is got.
#[derive(Clone)]
pub struct OauthSettings {
    /// How.
    pub flow: Flow,
    /// As whom the login is.
    pub user: String,
    /// Who this server is towards the provider.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret: Option<String>,
    /// The file that the secret, or the key, stands in.
    pub(crate) secret_file: Option<PathBuf>,
    /// From then on the secret does not hold any more.
    pub secret_ends: Option<Timestamp>,
    /// For the flow that is by such an account.
    pub account: Option<ServiceAccount>,
    /// Where it is asked for.
    pub at: Endpoints,
    /// The secret goes into the body, as large providers want it, and not into the header.
    pub secret_in_body: bool,
}

impl std::fmt::Debug for OauthSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthSettings")
            .field("flow", &self.flow)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl OauthSettings {
    /// Whom and what a token is for: one that was got for something else is not used.
    pub fn subject(&self) -> String {
        let scope = self.at.scope.as_deref().unwrap_or_default();
        let (flow, token) = (self.flow.word(), &self.at.token);
        format!("{flow} {token} {} {} {scope}", self.client_id, self.user)
    }

    /// What is to be said of the secret's end, where it is near or over.
    pub fn secret_words(&self, now: Timestamp) -> Option<String> {
        let ends = self.secret_ends?;
        if now >= ends {
            return Some(format!(
                "the client secret of {KEY} has expired: make a new one there"
            ));
        }
        let left = ends.since(now);
        let days = left.as_secs().div_ceil(86_400);
        let day = if days == 1 { "day" } else { "days" };
        (left <= SECRET_NOTICE).then(|| {
            format!(
                "the client secret of {KEY} expires in {days} {day}: make a new one there in time"
            )
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Microsoft,
    Google,
}

fn endpoints(provider: Option<Provider>, tenant: &str, flow: Flow) -> Endpoints {
    let scope = |text: &str| Some(text.to_owned());
    match provider {
        Some(Provider::Microsoft) => {
            let base = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0");
            Endpoints {
                token: format!("{base}/token"),
                device: Some(format!("{base}/devicecode")),
                authorize: Some(format!("{base}/authorize")),
                scope: match flow.needs_person() {
                    true => scope("https://outlook.office.com/SMTP.Send offline_access"),
                    false => scope("https://outlook.office365.com/.default"),
                },
            }
        }
        Some(Provider::Google) => Endpoints {
            token: "https://oauth2.googleapis.com/token".to_owned(),
            // Its device flow does not give out this scope.
            device: None,
            authorize: Some("https://accounts.google.com/o/oauth2/v2/auth".to_owned()),
            scope: scope("https://mail.google.com/"),
        },
        None => Endpoints::default(),
    }
}

/// Where tokens go must be HTTPS, but for this computer.
fn url(text: &Text, place: &Place<'_>, name: &str) -> Result<Option<String>> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |why: String| place.key(text.span(), &format!("{KEY}.{name}"), why);
    let parsed = WebUrl::parse(text.get_ref()).map_err(|e| wrong(e.to_string()))?;
    if !parsed.tls && !matches!(parsed.host.as_str(), "127.0.0.1" | "[::1]" | "localhost") {
        return Err(wrong(
            "https:// is required, because secrets are sent there".to_owned(),
        ));
    }
    Ok(Some(text.get_ref().clone()))
}

fn read(text: &Spanned<String>, place: &Place<'_>, base: &Path, name: &str) -> Result<String> {
    let path = base.join(text.get_ref());
    std::fs::read_to_string(&path).map_err(|e| {
        let why = format!("{} cannot be read: {e}", path.display());
        place.key(text.span(), &format!("{KEY}.{name}"), why)
    })
}

fn secret(raw: &RawOauth, place: &Place<'_>, base: &Path) -> Result<Option<String>> {
    match (&raw.client_secret, &raw.client_secret_file) {
        (Some(_), Some(file)) => {
            let why = "client_secret and client_secret_file: give one of them";
            Err(place.key(file.span(), &format!("{KEY}.client_secret_file"), why))
        }
        (Some(secret), None) => Ok(Some(secret.get_ref().clone())),
        (None, Some(file)) => {
            let text = read(file, place, base, "client_secret_file")?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    }
}

fn account(raw: &RawOauth, place: &Place<'_>, base: &Path) -> Result<Option<ServiceAccount>> {
    let Some(file) = &raw.service_account_file else {
        return Ok(None);
    };
    let text = read(file, place, base, "service_account_file")?;
    serde_json::from_str(&text).map(Some).map_err(|e| {
        let why = format!("it is not the JSON file of a service account's key: {e}");
        place.key(file.span(), &format!("{KEY}.service_account_file"), why)
    })
}

/// The end of the secret's last day.
fn ends(raw: &RawOauth, place: &Place<'_>) -> Result<Option<Timestamp>> {
    let Some(text) = &raw.client_secret_expires else {
        return Ok(None);
    };
    let day = Timestamp::parse_rfc3339(&format!("{}T00:00:00Z", text.get_ref()));
    day.map(|day| Some(day + Duration::from_secs(86_400)))
        .ok_or_else(|| {
            let why = format!(
                "`{}` is not a date: write one such as \"2027-01-31\"",
                text.get_ref()
            );
            place.key(text.span(), &format!("{KEY}.client_secret_expires"), why)
        })
}

fn flow(raw: &RawOauth, place: &Place<'_>, provider: Option<Provider>) -> Result<Flow> {
    let all = [
        Flow::ClientCredentials,
        Flow::ServiceAccount,
        Flow::DeviceCode,
        Flow::Code,
    ];
    let given = choice(
        &raw.flow,
        place,
        &format!("{KEY}.flow"),
        &all.map(|f| (f.word(), f)),
    )?;
    let has_secret = raw.client_secret.is_some() || raw.client_secret_file.is_some();
    Ok(given.unwrap_or_else(|| match provider {
        _ if raw.service_account_file.is_some() => Flow::ServiceAccount,
        Some(Provider::Google) => Flow::Code,
        Some(Provider::Microsoft) | None if has_secret => Flow::ClientCredentials,
        Some(Provider::Microsoft) => Flow::DeviceCode,
        None if raw.device_url.is_some() || raw.authorize_url.is_none() => Flow::DeviceCode,
        None => Flow::Code,
    }))
}

/// What the flow needs and is not given.
fn lacking(raw: &RawOauth, flow: Flow, at: &Endpoints) -> Option<&'static str> {
    let no_secret = raw.client_secret.is_none() && raw.client_secret_file.is_none();
    let lacks = [
        (at.token.is_empty(), "provider or token_url"),
        (
            flow == Flow::ServiceAccount && raw.service_account_file.is_none(),
            "service_account_file",
        ),
        (
            flow != Flow::ServiceAccount && raw.client_id.is_none(),
            "client_id",
        ),
        (
            flow == Flow::ClientCredentials && no_secret,
            "client_secret or client_secret_file",
        ),
        (
            flow == Flow::DeviceCode && at.device.is_none(),
            "device_url",
        ),
        (
            flow == Flow::Code && at.authorize.is_none(),
            "authorize_url",
        ),
    ];
    let mut lacks = lacks.into_iter();
    lacks.find_map(|(lacks, what)| lacks.then_some(what))
}

/// The settings; `username` is that of the relay.
pub(super) fn settings(
    given: &Spanned<RawOauth>,
    username: Option<&Spanned<String>>,
    place: &Place<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<OauthSettings> {
    let raw = given.get_ref();
    let missing = |what: &str| place.key(given.span(), KEY, format!("{what} is missing"));
    let providers = [
        ("microsoft", Provider::Microsoft),
        ("google", Provider::Google),
    ];
    let provider = choice(&raw.provider, place, &format!("{KEY}.provider"), &providers)?;
    let flow = flow(raw, place, provider)?;
    let text = |text: &Text| text.as_ref().map(|text| text.get_ref().clone());
    let tenant = text(&raw.tenant);
    if provider == Some(Provider::Microsoft) && tenant.is_none() {
        return Err(missing("tenant"));
    }
    let account = account(raw, place, base)?;
    let known = endpoints(provider, &tenant.unwrap_or_default(), flow);
    let token = url(&raw.token_url, place, "token_url")?
        .or_else(|| {
            account
                .as_ref()
                .and_then(|account| account.token_uri.clone())
        })
        .unwrap_or(known.token);
    let at = Endpoints {
        token,
        device: url(&raw.device_url, place, "device_url")?.or(known.device),
        authorize: url(&raw.authorize_url, place, "authorize_url")?.or(known.authorize),
        scope: text(&raw.scope).or(known.scope),
    };
    let client_secret = secret(raw, place, base)?;
    if let Some(what) = lacking(raw, flow, &at) {
        return Err(missing(what));
    }
    let user = raw
        .user
        .as_ref()
        .or(username)
        .ok_or_else(|| missing("user, the mailbox,"))?;
    let file = raw
        .client_secret_file
        .as_ref()
        .or(raw.service_account_file.as_ref());
    let settings = OauthSettings {
        flow,
        user: user.get_ref().clone(),
        client_id: text(&raw.client_id).unwrap_or_default(),
        client_secret,
        secret_file: file.map(|file| base.join(file.get_ref())),
        secret_ends: ends(raw, place)?,
        account,
        at,
        secret_in_body: provider.is_some(),
    };
    warnings.extend(settings.secret_words(net::now()));
    Ok(settings)
}
