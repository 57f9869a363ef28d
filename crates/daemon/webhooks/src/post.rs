//! One request to a webhook: its body, its signature, and what came back.

use aws_lc_rs::digest::{SHA256, digest as hash};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail::Timestamp;
use net::{HttpAnswer, HttpError, HttpRequest, KeptHttp, NoAddresses};
use node::targets::Target;
use node::{Node, Settings};
use ops::EventView;
use serde::Serialize;

/// Octets of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;

/// What is sent.
#[derive(Serialize)]
struct Body<'a> {
    /// The version of the events' fields.
    version: u32,
    webhook: &'a str,
    replay: bool,
    events: &'a [EventView],
}

/// The connection to a webhook, and the settings that it was made with.
#[derive(Default)]
pub(super) struct Line {
    http: KeptHttp,
    to: Option<std::sync::Arc<Target>>,
}

/// A request that is ready.
pub(super) struct Prepared {
    /// `webhook-id`: the same for the same events, so that a receiver knows a repetition.
    pub(super) id: String,
    body: Vec<u8>,
}

/// A digest in hexadecimal.
pub(super) fn digest(octets: &[u8]) -> String {
    let digest = hash(&SHA256, octets);
    digest.as_ref().iter().map(|o| format!("{o:02x}")).collect()
}

impl Prepared {
    pub(super) fn new(target: &Target, events: &[EventView], replay: bool) -> Self {
        let webhook = target.settings.name.as_str();
        let mut named = webhook.to_owned();
        for event in events {
            named.push('\n');
            named.push_str(&event.id);
        }
        let body = Body {
            version: EventView::VERSION,
            webhook,
            replay,
            events,
        };
        let id = digest(named.as_bytes());
        Self {
            id: format!("msg_{}", id.get(..32).unwrap_or_default()),
            // Strings and numbers cannot fail to be written.
            body: serde_json::to_vec(&body).unwrap_or_default(),
        }
    }
}

/// The signatures over a body, one for each key (Standard Webhooks: `v1,` and the base64 of the
/// HMAC-SHA256 of id, time and body, joined by dots).
fn signatures(keys: &[hmac::Key], id: &str, seconds: u64, body: &[u8]) -> String {
    let sign = |key: &hmac::Key| {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// Why a receiver gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPosted {
    /// It has no address.
    #[error(transparent)]
    NoAddresses(#[from] NoAddresses),
    /// It does not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Sends it. Any answer is one; an error says that there was none.
pub(super) async fn post(
    node: &Node,
    settings: &Settings,
    target: &std::sync::Arc<Target>,
    line: &mut Line,
    prepared: &Prepared,
) -> Result<HttpAnswer, NotPosted> {
    let same = |to: &std::sync::Arc<Target>| std::sync::Arc::ptr_eq(to, target);
    if !line.to.as_ref().is_some_and(same) {
        *line = Line {
            http: KeptHttp::default(),
            to: Some(std::sync::Arc::clone(target)),
        };
    }
    let url = &target.settings.url;
    let asked = async {
        let addresses = net::addresses_of(&settings.dns, &url.host).await?;
        let seconds = node.now().as_secs();
        let signature = signatures(&target.keys, &prepared.id, seconds, &prepared.body);
        let request = HttpRequest {
            host: &url.host,
            port: url.port,
            tls: url.tls,
            path: &url.path,
            content: Some(("application/json", Bytes::from(prepared.body.clone()))),
            headers: vec![
                ("webhook-id", prepared.id.clone()),
                ("webhook-timestamp", seconds.to_string()),
                ("webhook-signature", signature),
            ],
            answer_max: ANSWER_MAX,
        };
        let limit = target.settings.timeout;
        let asked = line
            .http
            .ask(&settings.client_tls, &addresses, request, limit);
        Ok(asked.await?)
    };
    let limit = target.settings.timeout;
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or(Err(NotPosted::Http(HttpError::Late(limit))))
}

/// When the receiver wants to be asked again: seconds, or a time (RFC 9110 §10.2.3).
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(now + std::time::Duration::from_secs(seconds.into()));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification_s_example() {
        // Standard Webhooks, reference vector of its libraries.
        let secret: config::webhooks::Secret =
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.octets());
        let signed = signatures(
            &[key],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now = Timestamp::from_secs(784_111_700);
        assert_eq!(
            retry_after("120", now),
            Some(Timestamp::from_secs(784_111_820))
        );
        let date = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now);
        assert_eq!(date, Some(Timestamp::from_secs(784_111_777)));
        assert_eq!(retry_after("soon", now), None);
    }
}
