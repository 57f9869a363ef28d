//! A transaction that ends with RCPT: does the host take mail for this recipient?

use bytes::BytesMut;
use mail::{Address, Reply};
use smtp::command::{self, MailParams, RcptParams};
use smtp::extension::{Extension, Extensions};

use crate::judge::Stage;

/// A question under way, by the command whose answer is waited for.
#[derive(Debug)]
pub(crate) enum Question {
    /// RSET, which ends the transaction before.
    Rset(Address),
    /// MAIL, from the null reverse-path: the answer to RCPT is to be about the recipient.
    Mail(Address),
    /// RCPT.
    Rcpt,
}

/// What an answer leads to.
pub(crate) enum Asked {
    /// The question goes on.
    On(Question),
    /// This is the answer, to this command.
    Over(Stage),
}

impl Question {
    /// Writes the first command; `rset`: an earlier transaction is to be ended first.
    pub(crate) fn begin(
        recipient: Address,
        rset: bool,
        host: &Extensions,
        out: &mut BytesMut,
    ) -> Self {
        if rset {
            command::rset(out);
            return Self::Rset(recipient);
        }
        Self::mail(recipient, host, out)
    }

    fn mail(recipient: Address, host: &Extensions, out: &mut BytesMut) -> Self {
        let params = MailParams {
            smtputf8: !recipient.is_ascii() && host.has(Extension::SmtpUtf8),
            ..MailParams::default()
        };
        command::mail_from(out, None, &params);
        Self::Mail(recipient)
    }

    /// Which command the answer that is waited for is about.
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::Rset(_) | Self::Mail(_) => Stage::Mail,
            Self::Rcpt => Stage::Rcpt { accepted: 0 },
        }
    }

    /// An answer has come; writes the next command.
    pub(crate) fn answered(self, reply: &Reply, host: &Extensions, out: &mut BytesMut) -> Asked {
        match self {
            Self::Rset(recipient) => Asked::On(Self::mail(recipient, host, out)),
            Self::Mail(recipient) if reply.is_positive() => {
                command::rcpt_to(out, &recipient, &RcptParams::default());
                Asked::On(Self::Rcpt)
            }
            Self::Mail(_) | Self::Rcpt => Asked::Over(self.stage()),
        }
    }
}
