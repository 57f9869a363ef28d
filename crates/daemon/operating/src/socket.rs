//! The administrator's door: requests over a socket in the data directory, one line of JSON each.
//!
//! Who may connect is a matter of the socket's mode (0660); who did is logged with every change.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use node::Node;
use ops::line;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::Operating;
use crate::verbs::Carrier;

/// A request's line is no longer than this: ten thousand ids fit.
const REQUEST_MAX: u64 = 1 << 20;

/// Opens the socket. A socket left by a server that was killed is replaced: the lock on the data
/// directory, which is held by now, says that no other server lives.
pub fn open(data_dir: &Path) -> io::Result<UnixListener> {
    open_socket(&ops::admin_socket(data_dir), 0o660)
}

/// Opens a socket of this mode in the data directory.
pub(crate) fn open_socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Answers until the server stops.
pub async fn serve(operating: Arc<Operating>, listener: UnixListener) {
    while let Some(stream) = accepted(&operating.node, &listener).await {
        tokio::spawn(converse(Arc::clone(&operating), stream));
    }
}

/// The next connection; `None` when the server stops.
pub(crate) async fn accepted(node: &Node, listener: &UnixListener) -> Option<UnixStream> {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => return Some(stream),
                // No file descriptor is free, perhaps; that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            () = node.stopping.cancelled() => return None,
        }
    }
}

async fn converse(operating: Arc<Operating>, stream: UnixStream) {
    use tokio::io::AsyncReadExt;
    let who = match stream.peer_cred() {
        Ok(peer) => format!("uid={}", peer.uid()),
        Err(_) => "unknown".to_owned(),
    };
    let (read, mut write_to) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_MAX));
    if read.read_line(&mut line).await.is_err() {
        return;
    }
    let line = match line::read_request(&line) {
        Ok(request) => {
            let (progress, mut made) = mpsc::unbounded_channel();
            let carrier = Carrier {
                operating: &operating,
                who: &who,
                progress: Some(&progress),
            };
            let answer = ops::carry_out(&carrier, request);
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    answer = &mut answer => break line::answer_line(&answer),
                    Some((done, of)) = made.recv() => {
                        write(&mut write_to, &line::progress_line(done, of)).await;
                    }
                }
            }
        }
        Err(why) => line::unreadable_line(&why),
    };
    write(&mut write_to, &line).await;
}

pub(crate) async fn write(to: &mut OwnedWriteHalf, line: &str) {
    // Whoever asked may have hung up.
    drop(to.write_all(line.as_bytes()).await);
}
