//! Figures that change on an open page, as server-sent events: looked up once a second for all who look, and only while
//! somebody does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use crate::error::PageError;
use crate::filters::number;
use crate::session::User;
use crate::state::Web;

/// How often figures are looked up.
const EVERY: Duration = Duration::from_secs(1);

/// Sends figures until the browser goes away, or the session ends.
pub(crate) async fn stream(user: User, State(web): State<Web>) -> Result<Response, PageError> {
    let place = Arc::clone(&web.0.live.places).try_acquire_owned();
    let place = place.map_err(|_| PageError::unavailable("too many pages are live"))?;
    let frames = WatchStream::new(web.0.live.frames.subscribe());
    let (accounts, id) = (web.clone(), user.session.id.clone());
    begin(&web, user);
    let held: Arc<OwnedSemaphorePermit> = Arc::new(place);
    let stands = move |_: &_| accounts.0.accounts.stands(&id, accounts.now());
    let events = frames.take_while(stands).filter_map(move |frame| {
        // The place is free again when the stream goes.
        let _held = &held;
        frame.map(|frame| Ok::<_, Infallible>(Event::default().data(frame)))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

/// Looks figures up until nobody looks any more. `user` is whoever came first: all roles may look.
fn begin(web: &Web, user: User) {
    {
        let mut running = web.0.live.is_running.lock();
        if std::mem::replace(&mut *running, true) {
            return;
        }
    }
    let web = web.clone();
    tokio::spawn(async move {
        while somebody_looks(&web) {
            let frame = frame(&web, &user).await;
            web.0.live.frames.send_replace(frame);
            tokio::time::sleep(EVERY).await;
        }
    });
}

/// Whether anybody looks. Whoever comes at this moment either is seen here, or sees that nobody looks figures up.
fn somebody_looks(web: &Web) -> bool {
    let mut running = web.0.live.is_running.lock();
    *running = web.0.live.frames.receiver_count() > 0;
    *running
}

/// One frame: a value for each place on the page that shows it.
async fn frame(web: &Web, user: &User) -> Option<String> {
    let overview = web.ask(user, ops::Overview).await.ok()?;
    let frame = serde_json::json!({
        "at": overview.at,
        "state": crate::overview::state_words(&overview.state),
        "state_class": overview.state,
        "sentence": overview.sentence,
        "waiting": number(overview.waiting),
        "due": number(overview.due),
        "sessions": number(overview.sessions),
        "hour_accepted": number(overview.hour.accepted),
        "hour_delivered": number(overview.hour.delivered),
        "hour_deferred": number(overview.hour.deferred),
        "hour_failed": number(overview.hour.failed + overview.hour.expired),
        "troubles": overview.troubles.len(),
        "changes": overview.day.accepted + overview.day.delivered + overview.day.deferred
            + overview.day.failed + overview.day.expired,
    });
    Some(frame.to_string())
}
