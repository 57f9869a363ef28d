//! How the history keeps events, and where messages came from.

use std::net::IpAddr;

use mail::{Destination, Envelope, Labels, QueueId, RecipientKey, Timestamp};
use store::{Event, EventAbout, Happened, Origin};

use super::{get_labels, put_labels, verdict_bytes, verdict_from};
use crate::change::MessageMeta;
use crate::codec::{DecodeError, Reader, put_bytes, put_opt_str, put_str, put_varint};

fn put_origin(out: &mut Vec<u8>, origin: &Origin) {
    put_opt_str(out, origin.user.as_deref());
    match origin.peer {
        None => out.push(0),
        Some(IpAddr::V4(ip)) => put_bytes(out, &ip.octets()),
        Some(IpAddr::V6(ip)) => put_bytes(out, &ip.octets()),
    }
    put_str(out, &origin.via);
    put_opt_str(out, origin.env_id.as_deref());
}

fn get_origin(r: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    Ok(Origin {
        user: r.opt_str()?.map(str::to_owned),
        peer: match r.bytes()? {
            [] => None,
            octets => Some(match <[u8; 4]>::try_from(octets) {
                Ok(v4) => IpAddr::from(v4),
                Err(_) => IpAddr::from(
                    <[u8; 16]>::try_from(octets)
                        .map_err(|_| DecodeError::Unknown("kind of address"))?,
                ),
            }),
        },
        via: r.str()?.to_owned(),
        env_id: r.opt_str()?.map(str::to_owned),
    })
}

/// The origin of a message as the index keeps it.
pub(crate) fn origin_bytes(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    put_origin(&mut out, &Origin::of(envelope));
    out
}

/// Reads [`origin_bytes`] back; what an older release left out is unknown.
pub(crate) fn origin_from(bytes: Option<&[u8]>) -> Result<Origin, DecodeError> {
    bytes.map_or_else(
        || Ok(Origin::default()),
        |bytes| get_origin(&mut Reader::new(bytes)),
    )
}

/// The recipient of this number, and its message.
pub(crate) fn about(meta: &MessageMeta, n: u32) -> Option<EventAbout> {
    let recipient = meta.envelope.recipients.get(n as usize)?;
    Some(EventAbout {
        key: RecipientKey {
            id: meta.id,
            recipient: n,
        },
        sender: meta.envelope.sender(),
        recipient: recipient.address.to_string(),
        accepted: meta.accepted,
        size: meta.size,
        submitter: meta.envelope.submitter.name(),
        origin: Origin::of(&meta.envelope),
        destination: recipient.destination,
        labels: meta.labels.clone(),
    })
}

fn put_about(out: &mut Vec<u8>, about: &EventAbout) {
    out.extend_from_slice(&about.key.id.as_u64().to_le_bytes());
    put_varint(out, u64::from(about.key.recipient));
    out.push(about.destination.code());
    put_str(out, &about.sender);
    put_str(out, &about.recipient);
    put_varint(out, about.accepted.as_millis());
    put_varint(out, about.size);
    put_str(out, &about.submitter);
    put_origin(out, &about.origin);
}

fn get_about(r: &mut Reader<'_>) -> Result<EventAbout, DecodeError> {
    let key = RecipientKey {
        id: QueueId::from_u64(r.u64()?),
        recipient: r.varint_u32()?,
    };
    let destination = Destination::of_code(r.u8()?).ok_or(DecodeError::Unknown("destination"))?;
    Ok(EventAbout {
        key,
        sender: r.str()?.to_owned(),
        recipient: r.str()?.to_owned(),
        accepted: Timestamp::from_millis(r.varint()?),
        size: r.varint()?,
        submitter: r.str()?.to_owned(),
        origin: get_origin(r)?,
        destination,
        labels: Labels::default(),
    })
}

/// An event as the history keeps it.
pub(crate) fn event_bytes(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match &event.about {
        None => out.push(0),
        Some(about) => {
            out.push(1);
            put_about(&mut out, about);
        }
    }
    match &event.what {
        Happened::Accepted => out.push(0),
        Happened::Deferred {
            attempts,
            due,
            verdict,
        } => {
            out.push(1);
            put_varint(&mut out, u64::from(*attempts));
            put_varint(&mut out, due.unwrap_or(Timestamp::MAX).as_millis());
            put_bytes(&mut out, &verdict_bytes(verdict));
        }
        Happened::Ended { attempts, verdict } => {
            out.push(2);
            put_varint(&mut out, u64::from(*attempts));
            put_bytes(&mut out, &verdict_bytes(verdict));
        }
        Happened::Later { at, word, text } => {
            out.push(3);
            put_varint(&mut out, at.as_millis());
            put_str(&mut out, word);
            put_str(&mut out, text);
        }
        Happened::Entry { name, value } => {
            out.push(4);
            put_str(&mut out, name);
            put_str(&mut out, value);
        }
    }
    // After all that an earlier release wrote.
    if let Some(about) = &event.about {
        put_labels(&mut out, &about.labels);
    }
    out
}

/// Reads [`event_bytes`] back.
pub(crate) fn event_from(bytes: &[u8]) -> Result<Event, DecodeError> {
    let r = &mut Reader::new(bytes);
    let mut about = match r.u8()? {
        0 => None,
        _ => Some(get_about(r)?),
    };
    let what = match r.u8()? {
        0 => Happened::Accepted,
        1 => Happened::Deferred {
            attempts: r.varint_u32()?,
            due: Some(Timestamp::from_millis(r.varint()?)).filter(|t| *t != Timestamp::MAX),
            verdict: Box::new(verdict_from(r.bytes()?)?),
        },
        2 => Happened::Ended {
            attempts: r.varint_u32()?,
            verdict: Box::new(verdict_from(r.bytes()?)?),
        },
        3 => Happened::Later {
            at: Timestamp::from_millis(r.varint()?),
            word: r.str()?.to_owned(),
            text: r.str()?.to_owned(),
        },
        4 => Happened::Entry {
            name: r.str()?.to_owned(),
            value: r.str()?.to_owned(),
        },
        _ => return Err(DecodeError::Unknown("kind of event")),
    };
    if let Some(about) = about.as_mut().filter(|_| !r.is_empty()) {
        about.labels = get_labels(r)?;
    }
    Ok(Event { about, what })
}

#[cfg(test)]
mod tests {
    use mail::{Labels, Timestamp};

    use super::*;

    #[test]
    fn an_event_of_an_earlier_release_has_no_labels() {
        let labels = Labels {
            subject: Some("s".to_owned()),
            tags: vec!["news".to_owned()],
            report_of: Some(QueueId::from_u64(7)),
            ..Labels::default()
        };
        let about = EventAbout {
            key: RecipientKey {
                id: QueueId::from_u64(1),
                recipient: 2,
            },
            sender: "a@b.example".to_owned(),
            recipient: "c@d.example".to_owned(),
            accepted: Timestamp::from_secs(3),
            size: 4,
            submitter: "key=web".to_owned(),
            origin: Origin::default(),
            destination: Destination::Local,
            labels: labels.clone(),
        };
        let event = Event {
            about: Some(about),
            what: Happened::Accepted,
        };
        let bytes = event_bytes(&event);
        assert_eq!(event_from(&bytes).unwrap(), event);
        let mut written = Vec::new();
        put_labels(&mut written, &labels);
        let before = bytes.get(..bytes.len() - written.len()).unwrap();
        let read = event_from(before).unwrap().about.unwrap();
        assert_eq!(read.labels, Labels::default());
    }
}
