//! Tells the service manager that the server lives, only when the queue's owner has answered.

use std::sync::Arc;
use std::time::Duration;

use node::event::Event;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::shared::Shared;

/// How often the state is told where nobody watches.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Tells the manager that the server lives, as long as its queue's owner answers.
pub(crate) async fn keep_telling(shared: Arc<Shared>) {
    if shared.manager.socket.is_none() {
        return;
    }
    let watchdog = shared.manager.watchdog;
    let every = watchdog.map_or(TOLD_EVERY, |limit| TOLD_EVERY.min(limit / 3));
    loop {
        let (answer, waiting) = oneshot::channel();
        shared.operating.node.tell(Event::Alive(answer));
        if let Ok(Ok(waiting)) = timeout(every, waiting).await {
            let status = format!("STATUS=Mail for {waiting} recipients is in the queue");
            shared.manager.tell(&match watchdog {
                Some(_) => format!("WATCHDOG=1\n{status}"),
                None => status,
            });
        }
        tokio::select! {
            () = sleep(every) => {}
            () = shared.operating.node.stopping.cancelled() => return,
        }
    }
}
