//! One mail a token at a time.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// Tokens of mails that are being handed in.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    busy: Mutex<HashSet<String>>,
    left: tokio::sync::Notify,
}

/// The turn of one mail under its token; given back when dropped.
#[derive(Debug)]
pub struct TokenTurn {
    tokens: Arc<Tokens>,
    pub(crate) token: String,
}

impl Tokens {
    /// Waits until no other mail is being handed in under this token.
    pub(crate) async fn enter(self: &Arc<Self>, token: &str) -> TokenTurn {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // From here on nobody's leaving is missed.
            left.as_mut().enable();
            if self.take(token) {
                return TokenTurn {
                    tokens: Arc::clone(self),
                    token: token.to_owned(),
                };
            }
            left.await;
        }
    }

    /// Whether the token was free. On its own, so that no lock is held over a wait.
    fn take(&self, token: &str) -> bool {
        let mut busy = self.busy.lock();
        busy.insert(token.to_owned())
    }
}

impl Drop for TokenTurn {
    fn drop(&mut self) {
        let busy = &self.tokens.busy;
        let mut busy = busy.lock();
        busy.remove(&self.token);
        drop(busy);
        self.tokens.left.notify_waiters();
    }
}
