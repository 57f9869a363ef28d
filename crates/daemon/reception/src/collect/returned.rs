//! Giving back what was dropped and cannot be sent: `sendmail` has ended with 0 long before, so
//! the sender hears of it by a failure message, like of any mail that fails.

use std::sync::Arc;

use intake::{Submission, Wanted};
use mail::{Class, Envelope, Message, Outcome, Recipient, Reply, Timestamp, Verdict};
use node::event::Event;
use node::hand_in::log_report;
use node::reporting::reporter;
use node::{Node, signing};
use notify::{Kind, Reported};
use store::{Op, Remedy};

/// What became of the attempt to tell the sender.
#[derive(Debug)]
pub(super) enum Told {
    /// The failure message is in the queue.
    Yes,
    /// Nobody is to be told: no reverse-path, NOTIFY=NEVER, or failure messages are off.
    Nobody,
    /// The queue does not take it at present.
    Later(String),
}

/// Puts a failure message about these recipients into the queue, once for each `token`. Blocks.
pub(super) fn give_back(
    node: &Arc<Node>,
    submission: &Submission,
    failed: &[(Wanted, Reply)],
    written: Timestamp,
    token: &str,
) -> Told {
    match node.store.find_token(token) {
        Ok(Some(_)) => return Told::Yes,
        Ok(None) => {}
        Err(error) => return Told::Later(error.to_string()),
    }
    let (reporter, wanted) = reporter(node);
    let now = node.now();
    let original = Message {
        id: node.next_id(now),
        accepted: written,
        envelope: Envelope {
            reverse_path: submission.reverse_path.clone(),
            recipients: failed.iter().map(|(to, _)| recipient(to)).collect(),
            ret: submission.ret,
            env_id: submission.env_id.clone(),
            submitter: submission.submitter.clone(),
            ..Envelope::default()
        },
        labels: mail::Labels::of(&submission.content),
        content: submission.content.clone(),
    };
    let verdicts: Vec<Verdict> = failed
        .iter()
        .map(|(_, reply)| Verdict::own(Outcome::Failed, Class::Policy, reply.clone(), now))
        .collect();
    let reported: Vec<Reported<'_>> = original
        .envelope
        .recipients
        .iter()
        .zip(&verdicts)
        .map(|(recipient, verdict)| Reported {
            passed_on: false,
            recipient,
            verdict,
            attempts: 0,
            retry_until: None,
        })
        .collect();
    let report = reporter.report(Kind::Failed, &original, &reported, node.next_id(now), now);
    let Some(mut report) = report.filter(|_| wanted) else {
        return Told::Nobody;
    };
    let settings = node.settings();
    settings.policy.address_own(&mut report.envelope);
    let report = signing::own(node, report);
    let op = Op::Accept {
        states: vec![report.initial_state(); report.envelope.recipients.len()],
        message: report.clone(),
        token: Some(token.to_owned()),
    };
    if let Err(error) = node.store.commit_wait(vec![op]) {
        if error.remedy() == Remedy::Stop {
            node.tell(Event::Fatal(error.to_string()));
        }
        return Told::Later(error.to_string());
    }
    log_report(node, original.id, &report);
    node.tell(Event::Accepted(Arc::new(report), Vec::new()));
    Told::Yes
}

fn recipient(to: &Wanted) -> Recipient {
    Recipient {
        notify: to.notify,
        orcpt: to.orcpt.clone(),
        ..Recipient::new(to.address.clone())
    }
}
