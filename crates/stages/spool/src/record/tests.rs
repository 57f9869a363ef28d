//! Records read back as they were written, and damaged ones are refused.

use super::*;
use mail::{BodyType, ByMode, DeliverBy, Outcome, Status, Terms};
use store::conformance::{message, verdict};

#[test]
fn every_record_is_read_back_as_written() {
    let mut m = message(
        7,
        &["a@one.example", "b@two.example"],
        b"Subject: x\r\n\r\nbody\r\n",
    );
    m.envelope.body_type = BodyType::BinaryMime;
    m.envelope.terms = Terms {
        not_before: Some(Timestamp::from_secs(50)),
        deliver_by: Some(DeliverBy {
            by: Timestamp::from_secs(60),
            mode: ByMode::Return,
            trace: true,
        }),
        priority: -3,
        require_tls: true,
    };
    let state = RecipientState {
        status: Status::Held,
        attempts: 3,
        due: Timestamp::from_secs(99),
        delay_notified: true,
        route: Some("[192.0.2.1]:26".into()),
        last: Some(verdict(Outcome::Deferred, "not now")),
    };
    let mut out = Vec::new();
    put_message(
        &mut out,
        &MessageParts {
            id: m.id,
            accepted: m.accepted,
            envelope: &m.envelope,
            token: Some("drop-1"),
            states: &[Some(state.clone()), None],
            from: 4,
            labels: &m.labels,
            body: Body::Inline(&m.content),
        },
    );
    let key = RecipientKey {
        id: m.id,
        recipient: 1,
    };
    put_recipient_state(&mut out, key, &state, Some("C: EHLO"));
    put_done(&mut out, key, 2, &verdict(Outcome::Failed, "no"), None);
    put_control(&mut out, "pause", Some("all"));
    put_gone(&mut out, m.id);
    assert!(are_whole(&out));
    let read: Vec<_> = records(&out).map(|(_, _, r)| r.unwrap()).collect();
    let Some(Record::Message(back)) = read.first() else {
        panic!("{read:?}");
    };
    assert_eq!(back.states, [Some(state.clone()), None]);
    assert_eq!(back.envelope, m.envelope);
    assert_eq!(back.body, Body::Inline(&m.content));
    assert_eq!((back.token.as_deref(), back.from), (Some("drop-1"), 4));
    assert!(matches!(&read[1], Record::State { transcript: Some(t), .. } if t == "C: EHLO"));
    assert!(
        matches!(&read[2], Record::Done { attempts: 2, verdict: v, .. } if v.reply.text == "no")
    );
    assert!(matches!(&read[3], Record::Control { value: Some(v), .. } if v == "all"));
    assert_eq!(read[4], Record::Gone { id: m.id });
}

#[test]
fn notes_are_read_back_as_written() {
    let key = RecipientKey {
        id: QueueId::from_u64(9),
        recipient: 1,
    };
    let mut out = Vec::new();
    let notes = [
        Note::Entry {
            name: "book/a".to_owned(),
            value: None,
        },
        Note::Later(store::LaterRow {
            key,
            at: Timestamp::from_secs(70),
            word: "bounced".to_owned(),
            text: "550 no".to_owned(),
        }),
    ];
    notes.iter().for_each(|note| put_note(&mut out, note));
    let read: Vec<_> = records(&out).map(|(_, _, r)| r.unwrap()).collect();
    assert_eq!(read, notes.map(Record::Note));
}

#[test]
fn a_record_with_fields_of_a_later_release_is_still_read() {
    let mut out = Vec::new();
    framed(&mut out, KIND_GONE, |out| {
        out.extend_from_slice(&9u64.to_le_bytes());
        out.extend_from_slice(b"new field");
    });
    framed(&mut out, 200, |out| out.push(1));
    let read: Vec<_> = records(&out).map(|(_, _, r)| r.unwrap()).collect();
    let id = QueueId::from_u64(9);
    assert_eq!(read, [Record::Gone { id }, Record::Other]);
}

#[test]
fn any_flipped_bit_is_noticed() {
    let mut out = Vec::new();
    put_control(&mut out, "name", Some("value"));
    for bit in 0..out.len() * 8 {
        let mut bad = out.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // Octets 0 to 3 of the header are under the frame's checksum, not the record's.
        assert!(bit < 32 || !are_whole(&bad), "bit {bit}");
    }
}
