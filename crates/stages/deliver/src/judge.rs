//! What an answer means: stage × reply → class, outcome, and what is tried next.
//!
//! This is the one place where it is decided; session and attempt only carry it out.
//!
//! | stage | 4yz | 5yz | connection lost |
//! |---|---|---|---|
//! | connect, greeting, EHLO, TLS | host, next host | host, next host | host, next host |
//! | TLS as a policy wants it | policy, next host | policy, next host, final | host, next host |
//! | login | policy, next host | policy, no other host | host, next host |
//! | MAIL | message, next host | message, final | host, next host |
//! | RCPT | recipient, next host | recipient, final | host, next host |
//! | DATA | message, next host | message, final | host, next host |
//! | after the content | message, next host | message, final | message, unknown: no other host |
//!
//! By LMTP the answer to the content is about one recipient, and means what it would by SMTP (RFC 2033 §4).
//!
//! Exceptions: a refusal for reputation is tried from elsewhere first (another address family, another
//! address of ours); "too many
//! recipients" after accepted ones opens a further transaction and charges nothing; a content or
//! an address that this host cannot take is tried at the next host, which may.
//!
//! What the book of rules knows of a reply comes on top ([`known`]):
//!
//! | the book says | answer of a host | becomes |
//! |---|---|---|
//! | `treat_as = "deferred"` | final | deferred, next host |
//! | `treat_as = "failed"` | deferred | final |
//! | kind `blocked` | final | another address family first |
//! | another kind but `auth_policy`, `policy`, `unknown` | final, for reputation by its code | final at once |

use mail::{Class, EnhancedCode, Outcome, Reply, ReplyKind};

use crate::replies::{Known, TreatAs};

/// Where in the dialogue an answer came, or failed to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// TCP.
    Connect,
    /// The host's first line.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    Tls,
    /// What DANE, MTA-STS or REQUIRETLS ask of the connection.
    Policy,
    /// AUTH.
    Login,
    /// MAIL.
    Mail,
    /// RCPT; `accepted` recipients of the same transaction were taken before.
    Rcpt {
        /// The number of events.
        accepted: usize,
    },
    /// DATA, before the content.
    Data,
    /// The answer to the content.
    Content,
    /// What the host declares it cannot take (SIZE, 8BITMIME, SMTPUTF8): not even tried.
    Fit,
}

/// What happens next with a recipient in the same attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The verdict stands.
    Stands,
    /// The next host is tried; the verdict stands if there is none.
    NextHost,
    /// The same host is tried over another address family or from another address of ours, if there
    /// is one; else it stands.
    OtherFamily,
    /// A further transaction in the same session; nothing is charged.
    Again,
}

/// The meaning of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whom it concerns.
    pub class: Class,
    /// How the attempt ends if nothing else is tried.
    pub outcome: Outcome,
    /// What is tried.
    pub fate: Fate,
}

const fn judgement(class: Class, outcome: Outcome, fate: Fate) -> Judgement {
    Judgement {
        class,
        outcome,
        fate,
    }
}

/// What `reply` means at `stage`. A reply of ours (code 0) stands for "no answer": connection
/// refused, lost, timed out.
#[must_use]
pub fn judge(stage: Stage, reply: &Reply) -> Judgement {
    use Fate::{Again, NextHost, OtherFamily, Stands};
    use Outcome::{Deferred, Delivered, Failed};
    let no_answer = reply.code == 0;
    let permanent = reply.is_permanent();
    match stage {
        Stage::Connect | Stage::Greeting | Stage::Ehlo | Stage::Tls => {
            judgement(Class::Host, Deferred, NextHost)
        }
        Stage::Policy => {
            let outcome = if permanent { Failed } else { Deferred };
            judgement(Class::Policy, outcome, NextHost)
        }
        Stage::Fit => {
            let outcome = if permanent { Failed } else { Deferred };
            judgement(Class::Message, outcome, NextHost)
        }
        Stage::Content if reply.is_positive() => judgement(Class::Message, Delivered, Stands),
        Stage::Content if no_answer => judgement(Class::Message, Deferred, Stands),
        _ if no_answer => judgement(Class::Host, Deferred, NextHost),
        // A refused login is our configuration's fault: the mail waits for the administrator.
        Stage::Login if permanent => judgement(Class::Policy, Deferred, Stands),
        Stage::Login => judgement(Class::Policy, Deferred, NextHost),
        Stage::Rcpt { accepted } if accepted > 0 && too_many_recipients(reply) => {
            judgement(Class::Recipient, Deferred, Again)
        }
        Stage::Mail | Stage::Data | Stage::Content | Stage::Rcpt { .. } => {
            let class = match stage {
                Stage::Rcpt { .. } => Class::Recipient,
                Stage::Mail
                | Stage::Data
                | Stage::Content
                | Stage::Fit
                | Stage::Connect
                | Stage::Greeting
                | Stage::Ehlo
                | Stage::Tls
                | Stage::Policy
                | Stage::Login => Class::Message,
            };
            match permanent {
                true if by_reputation(reply) => judgement(class, Failed, OtherFamily),
                true => judgement(class, Failed, Stands),
                false => judgement(class, Deferred, NextHost),
            }
        }
    }
}

/// A judgement about a message or a recipient, with what the book of rules knows of the reply.
/// Whatever is not a refusal by a host (a success, a lost connection, what was not even tried), and what
/// opens a further transaction, stays as it is.
#[must_use]
pub fn known(before: Judgement, reply: &Reply, known: Known<'_>) -> Judgement {
    let about = matches!(before.class, Class::Message | Class::Recipient);
    if !about || reply.code < 400 || before.fate == Fate::Again {
        return before;
    }
    let treat_as = known.rule.and_then(|rule| rule.treat_as);
    match (before.outcome, treat_as) {
        (Outcome::Failed, Some(TreatAs::Deferred)) => {
            judgement(before.class, Outcome::Deferred, Fate::NextHost)
        }
        (Outcome::Deferred, Some(TreatAs::Failed)) => {
            judgement(before.class, Outcome::Failed, Fate::Stands)
        }
        (Outcome::Failed, _) => {
            let fate = match known.kind {
                ReplyKind::Blocked => Fate::OtherFamily,
                // Reverse DNS and SPF are about the address, too.
                ReplyKind::Policy | ReplyKind::AuthPolicy | ReplyKind::Unknown => before.fate,
                ReplyKind::Greylisted
                | ReplyKind::RateLimited
                | ReplyKind::Content
                | ReplyKind::MailboxFull
                | ReplyKind::NoSuchUser
                | ReplyKind::InactiveUser
                | ReplyKind::RelayDenied
                | ReplyKind::MessageTooLarge
                | ReplyKind::Dns
                | ReplyKind::Tls
                | ReplyKind::ServerTrouble => Fate::Stands,
            };
            Judgement { fate, ..before }
        }
        (Outcome::Deferred | Outcome::Delivered | Outcome::Expired, _) => before,
    }
}

/// 452, and 552 from servers that follow RFC 821 (RFC 5321 §4.5.3.1.10), unless the text or the
/// enhanced code speaks of something else, such as a full mailbox.
fn too_many_recipients(reply: &Reply) -> bool {
    let text = reply.text.to_ascii_lowercase();
    let says_so = text.contains("too many") && text.contains("recipient");
    match (reply.code, reply.enhanced) {
        (452 | 552, Some(e)) => (e.subject, e.detail) == (5, 3) || says_so,
        (452, None) => !text.contains("storage") && !text.contains("quota"),
        (552, None) => says_so,
        _ => false,
    }
}

/// The host refuses us rather than the mail: another of our addresses may be welcome.
fn by_reputation(reply: &Reply) -> bool {
    let code = reply.enhanced.map(|e| (e.subject, e.detail));
    // 5.7.25 to 5.7.27: reverse DNS, several checks, null MX of the sender (RFC 7372, RFC 7505).
    matches!(reply.code, 550 | 553 | 554) && matches!(code, Some((7, 1 | 25 | 26)))
}

/// The enhanced code for a host that does not answer (RFC 3463 §3.5).
pub const NO_ANSWER: EnhancedCode = EnhancedCode::new(4, 4, 1);
/// The connection was lost in mid-session.
pub(crate) const LOST: EnhancedCode = EnhancedCode::new(4, 4, 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{ReplyBook, RuleFile, read_reply};

    #[test]
    fn the_table_holds() {
        use Class::{Host, Message, Policy, Recipient};
        use Fate::{Again, NextHost, OtherFamily, Stands};
        use Outcome::{Deferred, Delivered, Failed};
        let rcpt = |accepted| Stage::Rcpt { accepted };
        let cases = [
            (Stage::Connect, "0 4.4.1 refused", Host, Deferred, NextHost),
            (Stage::Greeting, "554 go away", Host, Deferred, NextHost),
            (Stage::Greeting, "421 busy", Host, Deferred, NextHost),
            (
                Stage::Login,
                "535 5.7.8 bad password",
                Policy,
                Deferred,
                Stands,
            ),
            (Stage::Login, "454 4.7.0 later", Policy, Deferred, NextHost),
            (Stage::Mail, "451 later", Message, Deferred, NextHost),
            (Stage::Mail, "550 no", Message, Failed, Stands),
            (
                rcpt(0),
                "450 4.2.0 greylisted",
                Recipient,
                Deferred,
                NextHost,
            ),
            (rcpt(0), "550 5.1.1 who", Recipient, Failed, Stands),
            (rcpt(0), "550 5.7.1 blocked", Recipient, Failed, OtherFamily),
            (rcpt(0), "452 4.5.3 too many", Recipient, Deferred, NextHost),
            (rcpt(5), "452 4.5.3 too many", Recipient, Deferred, Again),
            (
                rcpt(5),
                "452 4.2.2 mailbox full",
                Recipient,
                Deferred,
                NextHost,
            ),
            (
                rcpt(5),
                "552 too many recipients",
                Recipient,
                Deferred,
                Again,
            ),
            (rcpt(5), "552 5.2.2 over quota", Recipient, Failed, Stands),
            (
                Stage::Data,
                "554 no valid recipients",
                Message,
                Failed,
                Stands,
            ),
            (Stage::Content, "250 ok", Message, Delivered, Stands),
            (Stage::Content, "451 later", Message, Deferred, NextHost),
            (Stage::Content, "0 4.4.2 lost", Message, Deferred, Stands),
            (Stage::Data, "0 4.4.2 lost", Host, Deferred, NextHost),
            (Stage::Fit, "0 5.3.4 too big", Message, Failed, NextHost),
        ];
        for (stage, text, class, outcome, fate) in cases {
            let (code, rest) = text.split_once(' ').unwrap();
            let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            let reply = match first.parse() {
                Ok(enhanced) => Reply::new(code.parse().unwrap(), Some(enhanced), tail),
                Err(_) => Reply::new(code.parse().unwrap(), None, rest),
            };
            assert_eq!(
                judge(stage, &reply),
                judgement(class, outcome, fate),
                "{stage:?} {text}"
            );
        }
    }

    #[test]
    fn what_the_book_knows_comes_on_top_of_the_table() {
        use Fate::{NextHost, OtherFamily, Stands};
        use Outcome::{Deferred, Delivered, Failed};
        let built_in = ReplyBook::built_in().unwrap().rules;
        let own = "[[rule]]\nid = \"x\"\nkind = \"policy\"\ntext = [\"never again\"]\ntreat_as = \"failed\"";
        let own = RuleFile::parse(own).unwrap().rules;
        let book = ReplyBook::new(own, built_in, &[]);
        let cases = [
            (
                "550 5.7.1 Greylisted, try again in 5 minutes",
                Deferred,
                NextHost,
            ),
            ("451 4.7.1 never again", Failed, Stands),
            ("451 4.7.1 Greylisted", Deferred, NextHost),
            (
                "554 5.7.1 blocked using zen.spamhaus.org",
                Failed,
                OtherFamily,
            ),
            ("550 blocked using zen.spamhaus.org", Failed, OtherFamily),
            ("550 5.7.25 no reverse DNS", Failed, OtherFamily),
            ("550 5.7.1 no such user", Failed, Stands),
            ("550 5.7.1 go away", Failed, OtherFamily),
            ("250 2.0.0 never again", Delivered, Stands),
        ];
        for (text, outcome, fate) in cases {
            let reply = read_reply(text);
            let before = judge(Stage::Content, &reply);
            let after = known(before, &reply, book.classify(&reply, None));
            assert_eq!((after.outcome, after.fate), (outcome, fate), "{text}");
            assert_eq!(after.class, before.class);
        }
        // Whose host nobody could talk to, or whose session was lost, is not spoken of by a rule.
        let lost = Reply::own(LOST, "never again");
        let before = judge(Stage::Content, &lost);
        assert_eq!(known(before, &lost, book.classify(&lost, None)), before);
        let many = read_reply("452 4.5.3 Too many recipients");
        let before = judge(Stage::Rcpt { accepted: 5 }, &many);
        assert_eq!(known(before, &many, book.classify(&many, None)), before);
    }

    #[test]
    fn a_policy_rules_out_a_host_and_not_the_next_one() {
        for (code, outcome) in [(4, Outcome::Deferred), (5, Outcome::Failed)] {
            let reply = Reply::own(EnhancedCode::new(code, 7, 5), "not protected");
            let expected = judgement(Class::Policy, outcome, Fate::NextHost);
            assert_eq!(judge(Stage::Policy, &reply), expected);
        }
    }
}
