//! What a session's mails take from the quotas.

use mail::{Address, QueueId, Reply, Timestamp};

use super::Session;
use crate::Charged;
use crate::relaying::Standing;

/// What a mail that is being saved has taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: QueueId,
    sender: Option<Address>,
    /// Recipients that leave.
    outgoing: u64,
    /// Quotas that are nearly used up with it.
    pub(super) near: Vec<String>,
}

impl Session {
    /// Under which names recipients are counted. Whoever has logged in has done so by a password.
    pub(super) fn charged<'a>(&'a self, sender: Option<&'a Address>) -> Charged<'a> {
        Charged {
            user: self.user(),
            by_password: true,
            sender,
        }
    }

    /// Takes a mail's recipients from the quotas before it is saved.
    pub(super) fn take(
        &self,
        now: Timestamp,
        id: QueueId,
        sender: Option<Address>,
        outgoing: u64,
    ) -> Result<Taken, Reply> {
        let near = match self.standing() {
            Standing::Trusted => {
                let charged = self.charged(sender.as_ref());
                let usage = &self.policy.usage;
                usage.take(now, &self.policy.quotas, &charged, outgoing)?
            }
            Standing::Outsider | Standing::MustLogIn => Vec::new(),
        };
        Ok(Taken {
            id,
            sender,
            outgoing,
            near,
        })
    }

    /// The mail was not saved.
    pub(super) fn give_back(&self, now: Timestamp, taken: &Taken) {
        if self.standing() == Standing::Trusted {
            let charged = self.charged(taken.sender.as_ref());
            let usage = &self.policy.usage;
            usage.give_back(now, &self.policy.quotas, &charged, taken.outgoing);
        }
    }
}
