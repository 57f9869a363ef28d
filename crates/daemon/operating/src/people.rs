//! Who may use the console.

use std::sync::Arc;

use accounts::{ConsoleError, Session, ShownAccount};
use ops::{AccountView, ConsoleLinkView, Done, SessionView, SetAccount, VerbError, VerbErrorKind};

use crate::Operating;

/// Minutes that a link lives.
const LINK_MINUTES: u64 = 30;

fn refused(error: ConsoleError) -> VerbError {
    let kind = match &error {
        ConsoleError::Unknown(_) => VerbErrorKind::NotFound,
        ConsoleError::Name(_) | ConsoleError::Short | ConsoleError::Long => {
            VerbErrorKind::Malformed
        }
        ConsoleError::Wrong | ConsoleError::Last(_) => VerbErrorKind::Conflict,
        ConsoleError::Io { .. } | ConsoleError::Damaged { .. } | ConsoleError::NoSecret => {
            VerbErrorKind::Failed
        }
    };
    VerbError::new(kind, error)
}

pub(crate) fn accounts(operating: &Operating) -> Vec<AccountView> {
    let view = |account: ShownAccount| AccountView {
        name: account.name,
        role: account.role,
        totp: account.totp,
    };
    operating.accounts.list().into_iter().map(view).collect()
}

/// # Errors
/// Why it was not done.
pub(crate) async fn set(operating: &Arc<Operating>, ask: SetAccount) -> Result<Done, VerbError> {
    let accounts = Arc::clone(&operating.accounts);
    let name = ask.name.clone();
    let set = move || accounts.set(&ask.name, ask.role, ask.password.as_deref());
    let done = tokio::task::spawn_blocking(set).await;
    done.map_err(VerbError::failed)?.map_err(refused)?;
    Ok(Done(format!("The account `{name}` is set.")))
}

/// # Errors
/// Why it was not done.
pub(crate) async fn remove(operating: &Arc<Operating>, name: String) -> Result<Done, VerbError> {
    let accounts = Arc::clone(&operating.accounts);
    let gone = name.clone();
    let done = tokio::task::spawn_blocking(move || accounts.remove(&gone)).await;
    done.map_err(VerbError::failed)?.map_err(refused)?;
    Ok(Done(format!("The account `{name}` is removed.")))
}

pub(crate) fn sessions(operating: &Operating) -> Vec<SessionView> {
    let view = |session: Session| SessionView {
        id: session.id,
        name: session.name,
        role: session.role,
        peer: session.peer,
        since: session.since.to_string(),
        used: session.used.to_string(),
    };
    let now = operating.node.now();
    let sessions = operating.accounts.sessions(now).into_iter();
    sessions.map(view).collect()
}

/// # Errors
/// When there is no such session.
pub(crate) fn end(operating: &Operating, id: &str) -> Result<Done, VerbError> {
    match operating.accounts.end(id) {
        true => Ok(Done("The session is ended.".to_owned())),
        false => Err(VerbError::not_found("there is no such session")),
    }
}

/// # Errors
/// When no link can be made, or the console is not served.
pub(crate) fn link(operating: &Operating) -> Result<ConsoleLinkView, VerbError> {
    let settings = operating.node.settings();
    let listeners = settings.config.console.listeners.iter();
    let hostname = settings.config.hostname.as_str();
    let at = listeners.filter_map(|listener| listener.console_url(hostname));
    let at: Vec<String> = at.collect();
    if at.is_empty() {
        let why = "no address serves the console: set http.address, such as \"127.0.0.1:8025\"";
        return Err(VerbError::conflict(why));
    }
    let token = operating.accounts.link(operating.node.now());
    let token = token.map_err(refused)?;
    Ok(ConsoleLinkView {
        path: format!("/enter?link={token}"),
        at,
        minutes: LINK_MINUTES,
    })
}
