//! How the log keeps notes.

use mail::{QueueId, RecipientKey, Timestamp};
use store::{Book, LaterRow, Note, Record};

use crate::codec::{DecodeError, Reader, put_opt_str, put_str, put_varint};

/// Appends a note's fields.
pub(super) fn put_fields(out: &mut Vec<u8>, note: &Note) {
    match note {
        Note::Entry { name, value } => {
            out.push(0);
            put_str(out, name);
            put_opt_str(out, value.as_deref());
        }
        Note::Later(row) => {
            out.push(1);
            out.extend_from_slice(&row.key.id.as_u64().to_le_bytes());
            put_varint(out, u64::from(row.key.recipient));
            put_varint(out, row.at.as_millis());
            put_str(out, &row.word);
            put_str(out, &row.text);
        }
        Note::Record(record) => {
            out.push(2);
            out.push(record.book.code());
            put_varint(out, record.at.as_millis());
            put_str(out, &record.text);
        }
    }
}

/// Reads [`put_fields`] back.
pub(super) fn get_fields(r: &mut Reader<'_>) -> Result<Note, DecodeError> {
    Ok(match r.u8()? {
        0 => Note::Entry {
            name: r.str()?.to_owned(),
            value: r.opt_str()?.map(str::to_owned),
        },
        1 => Note::Later(LaterRow {
            key: RecipientKey {
                id: QueueId::from_u64(r.u64()?),
                recipient: r.varint_u32()?,
            },
            at: Timestamp::from_millis(r.varint()?),
            word: r.str()?.to_owned(),
            text: r.str()?.to_owned(),
        }),
        2 => Note::Record(Record {
            book: Book::of_code(r.u8()?).ok_or(DecodeError::Unknown("book of records"))?,
            at: Timestamp::from_millis(r.varint()?),
            text: r.str()?.to_owned(),
        }),
        _ => return Err(DecodeError::Unknown("kind of note")),
    })
}
