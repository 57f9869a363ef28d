//! What is kept about users beside their file: a secret, and from where they have logged in; and what ends their
//! sessions when they are changed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::guard::Origins;
use crate::secrets;
use crate::shared::Shared;

/// By this users are made up who are not there.
const SECRET: &str = "login-secret";
/// What is shorter could be guessed.
const SECRET_MIN: usize = 32;
/// From where users have logged in.
const ORIGINS: &str = "login-origins.json";
/// How often the users' file is looked at for changes.
const LOOKED_AT: Duration = Duration::from_secs(2);
/// How often new origins are written.
const WRITTEN: Duration = Duration::from_secs(60);

/// The secret by which users are made up who are not there; made where there is none. It stays the same over
/// restarts: who asks twice for a user who is not there must not see another salt.
pub(crate) fn secret(data_dir: &Path) -> io::Result<Vec<u8>> {
    let secret = secrets::kept(&data_dir.join(SECRET))?.trim().to_owned();
    if secret.len() < SECRET_MIN {
        let why = format!(
            "it has less than {SECRET_MIN} characters; remove it, and a new one is created"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(secret.into_bytes())
}

/// From where users have logged in before.
pub(crate) fn origins(data_dir: &Path) -> Origins {
    // What is lost by a damaged file is that strangers can lock out a user for 15 minutes.
    let text = std::fs::read_to_string(data_dir.join(ORIGINS)).unwrap_or_default();
    Origins::read(&text)
}

/// Writes down from where users have logged in, where that has changed.
pub(crate) fn write_origins(shared: &Shared) {
    let Some(text) = shared.guard.changed_origins() else {
        return;
    };
    let path = shared.settings().config.data_dir.join(ORIGINS);
    if let Err(error) = net::write_private(&path, &text) {
        let line = shared.journal.line(net::now(), "error");
        line.field("what", path.display())
            .field("why", error)
            .send();
    }
}

/// Tells sessions of users when the users' file has changed, and keeps origins, as long as the server runs.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut version = None;
    let mut looks = 0u64;
    loop {
        let handles = Arc::clone(&shared);
        looks += 1;
        let writes = looks.is_multiple_of(WRITTEN.as_secs() / LOOKED_AT.as_secs());
        let looked = tokio::task::spawn_blocking(move || {
            if writes {
                write_origins(&handles);
            }
            handles.settings().logins.version()
        });
        if let Ok(now) = looked.await
            && now != version
        {
            version = now;
            shared.users_changed.send_replace(());
        }
        tokio::time::sleep(LOOKED_AT).await;
    }
}
