//! What ends the sessions of users who are changed, and keeps from where users have logged in.

use std::sync::Arc;
use std::time::Duration;

use crate::Reception;

/// How often the users' file is looked at for changes.
const LOOKED_AT: Duration = Duration::from_secs(2);
/// How often new origins are written.
const WRITTEN: Duration = Duration::from_secs(60);

/// Writes down from where users have logged in, where that has changed.
pub fn write_origins(reception: &Reception) {
    let data_dir = &reception.node.settings().config.data_dir;
    if let Err(error) = accounts::write_origins(&reception.guard, data_dir) {
        let line = reception.node.journal.line(reception.node.now(), "error");
        line.field("what", error.path.display())
            .field("why", error.source)
            .send();
    }
}

/// Tells sessions of users when the users' file has changed, and keeps origins, as long as the server runs.
pub async fn keep(reception: Arc<Reception>) {
    let mut version = None;
    let mut looks = 0u64;
    loop {
        let handles = Arc::clone(&reception);
        looks += 1;
        let writes = looks.is_multiple_of(WRITTEN.as_secs() / LOOKED_AT.as_secs());
        let looked = tokio::task::spawn_blocking(move || {
            if writes {
                write_origins(&handles);
            }
            handles.node.settings().logins.version()
        });
        if let Ok(now) = looked.await
            && now != version
        {
            version = now;
            reception.node.users_changed.send_replace(());
        }
        tokio::time::sleep(LOOKED_AT).await;
    }
}
