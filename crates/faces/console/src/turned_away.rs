//! What a connection hears for which there is no place: that, in clear, and nothing that costs a place.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::IntoResponse as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// So many hear it at the same time, as each has a descriptor beyond those of `console.max_connections`; further ones are
/// only closed.
const AT_ONCE: usize = 16;
/// How long a connection is heard after its answer: closed at once, it could lose the answer to a request that is on
/// its way.
const HEARD: Duration = Duration::from_millis(500);
/// Octets of such a request that are taken in.
const PASSED_OVER: u64 = 64 << 10;

/// Answers connections for which there is no place.
#[derive(Debug)]
pub(crate) struct TurnedAway {
    permits: Arc<Semaphore>,
}

impl Default for TurnedAway {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl TurnedAway {
    /// Says on a connection in clear that there is no place for it, and closes it.
    pub(crate) fn answer<S>(&self, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return;
        };
        tokio::spawn(tokio::time::timeout(HEARD, async move {
            stream.write_all(text().as_bytes()).await?;
            stream.shutdown().await?;
            let mut rest = stream.take(PASSED_OVER);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            drop(permit);
            Ok::<_, std::io::Error>(())
        }));
    }
}

/// The answer.
fn text() -> String {
    let problem = Problem::unavailable("too many connections (console.max_connections)");
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let response = problem.into_response();
    let of = |headers: &HeaderMap, name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let kind = of(response.headers(), header::CONTENT_TYPE);
    let after = of(response.headers(), header::RETRY_AFTER);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {kind}\r\nRetry-After: {after}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
