//! What `mailq` shows to users of this computer who may not use the administrator's socket: the mail that they have
//! sent by `sendmail` and that waits. Who asks is what the system says of the socket's other end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mail::QueueId;
use node::{Node, blocking};
use ops::line;
use ops::{List, QueuedView, Selection, VerbError};
use store::Page;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::admin;

/// Recipients that are shown.
const ROWS_MAX: u64 = 200;
/// Octets of mail that are read to know who sent it.
const READ_MAX: u64 = 64 << 20;
/// Users who are answered at once.
const AT_ONCE: usize = 4;
/// How long one of them is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Opens the socket, for everybody.
pub(crate) fn open(data_dir: &Path) -> io::Result<UnixListener> {
    admin::open_socket(&ops::own_mail_socket(data_dir), 0o666)
}

/// Answers until the server stops.
pub(crate) async fn serve(node: Arc<Node>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Some(stream) = admin::accepted(&node, &listener).await else {
            return;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            // Who does not listen in time is not answered.
            drop(timeout(ANSWERED_WITHIN, converse(&node, stream)).await);
            drop(place);
        });
    }
}

async fn converse(node: &Arc<Node>, stream: UnixStream) {
    let Ok(peer) = stream.peer_cred() else { return };
    // The user database may be a server's.
    let user = blocking(node, move |_| Ok(drops::name_of(peer.uid())));
    let rows = async { list(node, user.await?).await };
    let line = line::answer_line_of::<List>(&rows.await);
    let (_, mut write_to) = stream.into_split();
    admin::write(&mut write_to, &line).await;
}

async fn list(node: &Arc<Node>, user: String) -> Result<Vec<QueuedView>, VerbError> {
    let selection = Selection::Filter(format!("user:{user}"));
    let page = Page {
        limit: ROWS_MAX,
        ..Page::ALL
    };
    let rows = admin::list(node, selection, page).await?;
    blocking(node, move |node| {
        let mut left = READ_MAX;
        let mut last: Option<(QueueId, bool)> = None;
        let mut own = Vec::new();
        for row in rows {
            let id: QueueId = row.id.parse().map_err(VerbError::failed)?;
            let is_own = match last {
                Some((known, is_own)) if known == id => is_own,
                Some(_) | None if row.size > left => false,
                Some(_) | None => {
                    left -= row.size;
                    // A login for mail clients may have the same name and be somebody else's.
                    let read = node.store.read(id)?;
                    read.is_some_and(|message| {
                        let by = &message.envelope.submitter;
                        by.via == drops::VIA && by.user.as_deref() == Some(user.as_str())
                    })
                }
            };
            last = Some((id, is_own));
            if is_own {
                own.push(row);
            }
        }
        Ok(own)
    })
    .await
}
