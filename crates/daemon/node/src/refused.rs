//! Recipients that a mail was submitted for and not accepted for: kept beside its life, so that its status says
//! what its submitter was answered. They are no recipients of the mail, and have no events.

use intake::Refusal;
use mail::{QueueId, RecipientKey, Timestamp};
use ops::RefusedView;
use store::{LaterRow, Note, Op};

/// The word of these notes.
const WORD: &str = "refused";
/// Recipients of a mail that are kept.
const MAX: usize = 1000;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 300;

/// What keeps them, in the commit that accepts the mail. `taken`: how many recipients it has.
pub(crate) fn notes<'a>(
    id: QueueId,
    taken: usize,
    refused: impl Iterator<Item = (String, &'a Refusal)>,
    at: Timestamp,
) -> Vec<Op> {
    // Numbers that no recipient of the mail has.
    let numbers = u32::try_from(taken).unwrap_or(u32::MAX)..u32::MAX;
    let note = |(recipient, (address, refusal)): (u32, (String, &Refusal))| {
        let reason: String = refusal.text().chars().take(REASON_MAX).collect();
        Op::Note(Note::Later(LaterRow {
            key: RecipientKey { id, recipient },
            at,
            word: WORD.to_owned(),
            text: format!(
                "{address}\n{} {}\n{reason}",
                refusal.reply.code,
                refusal.reason.word()
            ),
        }))
    };
    numbers.zip(refused).take(MAX).map(note).collect()
}

/// Takes them out of what is known of a mail.
pub fn take(later: &mut Vec<LaterRow>) -> Vec<RefusedView> {
    let found = later.extract_if(.., |row| row.word == WORD);
    let view = |row: LaterRow| {
        let mut parts = row.text.splitn(3, '\n');
        let address = parts.next().unwrap_or_default().to_owned();
        let code = parts.next().unwrap_or_default();
        // Earlier builds wrote the code alone.
        let (code, refusal) = code.split_once(' ').unwrap_or((code, "refused"));
        RefusedView {
            address,
            code: code.parse().unwrap_or_default(),
            reason: parts.next().unwrap_or_default().to_owned(),
            refusal: refusal.to_owned(),
        }
    };
    found.map(view).collect()
}

#[cfg(test)]
mod tests {
    use mail::Reply;

    use super::*;

    #[test]
    fn what_was_refused_is_read_as_it_was_kept() {
        let id = QueueId::from_u64(1);
        let refusal = Refusal::from(Reply::new(550, None, "no\nsuch user"));
        let address = "\"a b\"@c.example".to_owned();
        let ops = notes(
            id,
            2,
            [(address.clone(), &refusal)].into_iter(),
            Timestamp::ZERO,
        );
        let Some(Op::Note(Note::Later(row))) = ops.into_iter().next() else {
            panic!("a note");
        };
        assert_eq!(row.key.recipient, 2);
        let mut later = vec![row.clone()];
        let refused = take(&mut later);
        assert!(later.is_empty());
        let expected = RefusedView {
            address,
            code: 550,
            reason: "no\nsuch user".to_owned(),
            refusal: "refused".to_owned(),
        };
        assert_eq!(refused, [expected]);
        let mut before = vec![LaterRow {
            text: "a@b.example\n550\ngone".to_owned(),
            ..row
        }];
        let refused = take(&mut before);
        let view = refused.first().expect("a view");
        assert_eq!((view.code, view.refusal.as_str()), (550, "refused"));
    }
}
