//! How a token is asked for: by a secret, by a key, or for a person who has logged in (RFC 6749, 7523, 8628).

use std::fmt::Display;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use config::oauth::{Flow, OauthSettings};
use deliver::Masked;
use net::{ClientTls, Dns, HttpRequest, WebUrl, http};
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    DeviceAuthorizationUrl, EndpointNotSet, EndpointSet, ErrorResponseType, HttpResponse,
    PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardDeviceAuthorizationResponse, StandardErrorResponse, TokenResponse, TokenUrl,
};

use super::words;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Octets of an answer that are read.
const ANSWER_MAX: usize = 256 << 10;
/// How long a token holds whose life nobody tells.
const LIFE: Duration = Duration::from_secs(3600);
/// How long what a service account signs holds.
const ASSERTION_LIFE: u64 = 3600;
/// Where a browser is sent after the login: nobody listens there, and its address tells the code (RFC 8252 §7.3).
const REDIRECT: &str = "http://127.0.0.1/";

/// What requests are made by.
pub struct Web<'w> {
    /// TLS towards the provider.
    pub tls: &'w ClientTls,
    /// Who is asked for its addresses.
    pub dns: &'w Dns,
}

/// What was given out.
pub struct Got {
    pub(crate) access: String,
    pub(crate) life: Duration,
    /// By this the next one is got (RFC 6749 §1.5).
    pub refresh: Option<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The server does not give it.
    #[error("{0}")]
    Refused(String),
    /// There was no answer, or none of use.
    #[error("the token server cannot be used: {0}")]
    NoAnswer(String),
}

impl Trouble {
    fn masked(self, masked: &Masked) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(masked.text(&why).into_owned()),
            Self::NoAnswer(why) => Self::NoAnswer(masked.text(&why).into_owned()),
        }
    }
}

/// There was no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(Box<dyn std::error::Error + Send + Sync>);

impl Unanswered {
    fn new(why: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(why.into())
    }
}

type Client =
    BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

type Answered<'c> = Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send + 'c>>;

impl<'c> AsyncHttpClient<'c> for Web<'_> {
    type Error = Unanswered;
    type Future = Answered<'c>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

impl Web<'_> {
    async fn ask(&self, request: oauth2::HttpRequest) -> Result<HttpResponse, Unanswered> {
        let url = WebUrl::parse(&request.uri().to_string()).map_err(Unanswered::new)?;
        let (parts, body) = request.into_parts();
        let given = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let kind = given("content-type").unwrap_or("application/x-www-form-urlencoded");
        let headers = ["accept", "authorization"].into_iter();
        let headers = headers.filter_map(|name| Some((name, given(name)?.to_owned())));
        let asked = HttpRequest {
            host: &url.host,
            port: url.port,
            tls: url.tls,
            path: &url.path,
            content: Some((kind, Bytes::from(body))),
            headers: headers.collect(),
            answer_max: ANSWER_MAX,
        };
        let found: Vec<IpAddr> = net::addresses_of(self.dns, &url.host)
            .await
            .map_err(Unanswered::new)?;
        let answer = http(self.tls, &found, asked, LIMIT)
            .await
            .map_err(Unanswered::new)?;
        oauth2::http::Response::builder()
            .status(answer.status)
            .header("content-type", answer.content_type)
            .body(answer.content.to_vec())
            .map_err(Unanswered::new)
    }
}

/// What went wrong, in words.
fn trouble<T: ErrorResponseType + Display>(
    error: RequestTokenError<Unanswered, StandardErrorResponse<T>>,
) -> Trouble {
    match error {
        RequestTokenError::ServerResponse(said) => {
            let code = said.error().to_string();
            Trouble::Refused(words::of_token(
                &code,
                said.error_description().map_or("", |d| d),
            ))
        }
        RequestTokenError::Request(error) => Trouble::NoAnswer(error.to_string()),
        RequestTokenError::Parse(error, _) => {
            Trouble::NoAnswer(format!("its answer cannot be read: {error}"))
        }
        RequestTokenError::Other(why) => Trouble::NoAnswer(why),
    }
}

fn wrong_url(error: impl Display) -> Trouble {
    Trouble::NoAnswer(format!("its URL: {error}"))
}

fn got(answer: &BasicTokenResponse) -> Got {
    Got {
        access: answer.access_token().secret().clone(),
        life: answer.expires_in().unwrap_or(LIFE),
        refresh: answer.refresh_token().map(|token| token.secret().clone()),
    }
}

fn client(oauth: &OauthSettings) -> Result<Client, Trouble> {
    let token = TokenUrl::new(oauth.at.token.clone()).map_err(wrong_url)?;
    let client = BasicClient::new(ClientId::new(oauth.client_id.clone())).set_token_uri(token);
    let client = client.set_auth_type(match oauth.secret_in_body {
        true => AuthType::RequestBody,
        false => AuthType::BasicAuth,
    });
    Ok(match &oauth.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.clone())),
        None => client,
    })
}

fn scopes(oauth: &OauthSettings) -> impl Iterator<Item = Scope> {
    let scope = oauth.at.scope.as_deref().unwrap_or_default();
    scope
        .split_whitespace()
        .map(|scope| Scope::new(scope.to_owned()))
}

/// Asks for a token. What the server says about it repeats no secret.
pub async fn get(
    web: &Web<'_>,
    oauth: &OauthSettings,
    refresh: Option<&str>,
) -> Result<Got, Trouble> {
    let secrets = oauth.client_secret.as_deref().into_iter().chain(refresh);
    let masked = Masked::of(secrets);
    asked(web, oauth, refresh)
        .await
        .map_err(|trouble| trouble.masked(&masked))
}

async fn asked(
    web: &Web<'_>,
    oauth: &OauthSettings,
    refresh: Option<&str>,
) -> Result<Got, Trouble> {
    let answer = match (oauth.flow, refresh) {
        (Flow::ServiceAccount, _) => return by_assertion(web, oauth).await,
        (Flow::ClientCredentials, _) => {
            let client = client(oauth)?;
            let asked = client
                .exchange_client_credentials()
                .add_scopes(scopes(oauth));
            asked.request_async(web).await
        }
        (Flow::DeviceCode | Flow::Code, Some(refresh)) => {
            let refresh = RefreshToken::new(refresh.to_owned());
            client(oauth)?
                .exchange_refresh_token(&refresh)
                .request_async(web)
                .await
        }
        (Flow::DeviceCode | Flow::Code, None) => {
            let why = "nobody has logged in yet: run `sendoff relay login`";
            return Err(Trouble::Refused(why.to_owned()));
        }
    };
    answer.map(|answer| got(&answer)).map_err(trouble)
}

/// What a service account signs (RFC 7523 §2.1, §3).
fn assertion(oauth: &OauthSettings, now: u64) -> Result<String, String> {
    let account = oauth
        .account
        .as_ref()
        .ok_or("no service account is configured")?;
    let pem = account
        .private_key
        .lines()
        .filter(|line| !line.starts_with("-----"));
    let der = STANDARD
        .decode(pem.collect::<String>())
        .map_err(|e| e.to_string())?;
    let key = KeyPair::from_pkcs8(&der).map_err(|e| e.to_string())?;
    let head = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = serde_json::json!({
        "iss": account.client_email,
        "sub": oauth.user,
        "scope": oauth.at.scope,
        "aud": oauth.at.token,
        "iat": now,
        "exp": now + ASSERTION_LIFE,
    });
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(head), encoded(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|e| e.to_string())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

async fn by_assertion(web: &Web<'_>, oauth: &OauthSettings) -> Result<Got, Trouble> {
    let signed = assertion(oauth, net::now().as_secs()).map_err(|why| {
        Trouble::Refused(format!(
            "the key of the service account cannot be used: {why}"
        ))
    })?;
    // Nothing in it has to be encoded further.
    let body = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={signed}"
    );
    let request = oauth2::http::Request::builder()
        .uri(&oauth.at.token)
        .body(body.into_bytes())
        .map_err(wrong_url)?;
    let answer = web
        .ask(request)
        .await
        .map_err(|e| Trouble::NoAnswer(e.to_string()))?;
    if let Ok(answer) = serde_json::from_slice::<BasicTokenResponse>(answer.body()) {
        return Ok(got(&answer));
    }
    match serde_json::from_slice::<oauth2::basic::BasicErrorResponse>(answer.body()) {
        Ok(said) => Err(trouble(RequestTokenError::ServerResponse(said))),
        Err(error) => {
            let status = answer.status().as_u16();
            Err(Trouble::NoAnswer(format!(
                "it answered {status}, which cannot be read: {error}"
            )))
        }
    }
}

/// A person logs in on another device (RFC 8628); `show` says where and with which code.
pub async fn by_device(
    web: &Web<'_>,
    oauth: &OauthSettings,
    show: impl Fn(&str, &str),
) -> Result<Got, Trouble> {
    let url = oauth.at.device.clone().unwrap_or_default();
    let url = DeviceAuthorizationUrl::new(url).map_err(wrong_url)?;
    let client = client(oauth)?.set_device_authorization_url(url);
    let asked = client.exchange_device_code().add_scopes(scopes(oauth));
    let masked = Masked::of(oauth.client_secret.as_deref());
    let details: StandardDeviceAuthorizationResponse = asked
        .request_async(web)
        .await
        .map_err(|e| trouble(e).masked(&masked))?;
    show(
        details.verification_uri().as_str(),
        details.user_code().secret(),
    );
    let asked = client.exchange_device_access_token(&details);
    let answer = asked.request_async(web, tokio::time::sleep, None).await;
    answer
        .map(|answer| got(&answer))
        .map_err(|error| trouble(error).masked(&masked))
}

/// A person logs in by a browser (RFC 8252, with PKCE, RFC 7636). `ask` shows the URL, and gives the address that
/// the browser was sent to in the end.
pub async fn by_code(
    web: &Web<'_>,
    oauth: &OauthSettings,
    ask: impl Fn(&str) -> String,
) -> Result<Got, Trouble> {
    let url = AuthUrl::new(oauth.at.authorize.clone().unwrap_or_default()).map_err(wrong_url)?;
    let redirect = RedirectUrl::new(REDIRECT.to_owned()).map_err(wrong_url)?;
    let client = client(oauth)?.set_auth_uri(url).set_redirect_uri(redirect);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scopes(scopes(oauth))
        .set_pkce_challenge(challenge)
        // Without these Google gives no refresh token; others pass over the first.
        .add_extra_param("access_type", "offline")
        .add_extra_param("prompt", "consent")
        .url();
    let pasted = ask(url.as_str());
    let pasted = oauth2::url::Url::parse(pasted.trim())
        .map_err(|e| Trouble::Refused(format!("this is not a URL: {e}")))?;
    let value = |wanted: &str| {
        let mut pairs = pasted.query_pairs();
        pairs
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    if let Some(error) = value("error") {
        let words = words::of_token(&error, &value("error_description").unwrap_or_default());
        return Err(Trouble::Refused(words));
    }
    if value("state").as_ref() != Some(state.secret()) {
        let why = "this URL does not belong to this login: its state is different";
        return Err(Trouble::Refused(why.to_owned()));
    }
    let code =
        value("code").ok_or_else(|| Trouble::Refused("the URL contains no code".to_owned()))?;
    let asked = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(verifier);
    let answer = asked.request_async(web).await;
    let masked = Masked::of(oauth.client_secret.as_deref());
    answer
        .map(|answer| got(&answer))
        .map_err(|error| trouble(error).masked(&masked))
}
