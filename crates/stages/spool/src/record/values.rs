//! The mail values inside records: envelopes, states, verdicts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail::{
    Address, BodyType, ByMode, Class, DeliverBy, Destination, Domain, EnhancedCode, Envelope,
    Labels, Notify, Outcome, PeerHost, QueueId, Recipient, RecipientState, Reply, Ret, Status,
    Submitter, Terms, Timestamp, TlsUsed, Verdict,
};

use crate::codec::{DecodeError, Reader, put_opt_str, put_str, put_varint};

pub(super) fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    put_opt_address(out, envelope.reverse_path.as_ref());
    out.push(match envelope.body_type {
        BodyType::SevenBit => 0,
        BodyType::EightBitMime => 1,
        BodyType::BinaryMime => 2,
    });
    out.push(u8::from(envelope.smtputf8));
    out.push(match envelope.ret {
        None => 0,
        Some(Ret::Full) => 1,
        Some(Ret::Headers) => 2,
    });
    put_opt_str(out, envelope.env_id.as_deref());
    put_opt_str(out, envelope.submitter.user.as_deref());
    put_opt_ip(out, envelope.submitter.peer);
    put_str(out, &envelope.submitter.via);
    put_varint(out, envelope.recipients.len() as u64);
    for recipient in &envelope.recipients {
        put_address(out, &recipient.address);
        put_opt_address(out, recipient.given.as_ref());
        put_opt_str(out, recipient.orcpt.as_deref());
        out.push(recipient.notify.bits());
        out.push(recipient.destination.code());
    }
}

pub(super) fn get_envelope(r: &mut Reader<'_>) -> Result<Envelope, DecodeError> {
    let reverse_path = get_opt_address(r)?;
    let body_type = match r.u8()? {
        0 => BodyType::SevenBit,
        1 => BodyType::EightBitMime,
        2 => BodyType::BinaryMime,
        _ => return Err(DecodeError::Unknown("body type")),
    };
    let smtputf8 = r.u8()? != 0;
    let ret = match r.u8()? {
        0 => None,
        1 => Some(Ret::Full),
        2 => Some(Ret::Headers),
        _ => return Err(DecodeError::Unknown("RET")),
    };
    let env_id = r.opt_str()?.map(str::to_owned);
    let submitter = Submitter {
        user: r.opt_str()?.map(str::to_owned),
        peer: get_opt_ip(r)?,
        via: r.str()?.to_owned(),
    };
    let mut recipients = Vec::new();
    for _ in 0..r.varint()? {
        recipients.push(Recipient {
            address: get_address(r)?,
            given: get_opt_address(r)?,
            orcpt: r.opt_str()?.map(str::to_owned),
            notify: Notify::from_bits(r.u8()?),
            destination: Destination::of_code(r.u8()?)
                .ok_or(DecodeError::Unknown("destination"))?,
        });
    }
    Ok(Envelope {
        reverse_path,
        recipients,
        body_type,
        smtputf8,
        ret,
        env_id,
        terms: Terms::default(),
        submitter,
    })
}

pub(crate) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_opt_str(out, labels.message_id.as_deref());
    put_opt_str(out, labels.subject.as_deref());
    put_given(out, labels);
}

pub(crate) fn get_labels(r: &mut Reader<'_>) -> Result<Labels, DecodeError> {
    let message_id = r.opt_str()?.map(str::to_owned);
    let subject = r.opt_str()?.map(str::to_owned);
    let mut labels = Labels {
        message_id,
        subject,
        ..Labels::default()
    };
    get_given(r, &mut labels)?;
    Ok(labels)
}

/// What follows the metadata, where anything does.
const GIVEN_REPORT_OF: u8 = 1;

fn put_given(out: &mut Vec<u8>, labels: &Labels) {
    put_varint(out, labels.tags.len() as u64);
    labels.tags.iter().for_each(|tag| put_str(out, tag));
    put_varint(out, labels.metadata.len() as u64);
    for (name, value) in &labels.metadata {
        put_str(out, name);
        put_str(out, value);
    }
    if let Some(id) = labels.report_of {
        out.push(GIVEN_REPORT_OF);
        out.extend_from_slice(&id.as_u64().to_le_bytes());
    }
}

/// Reads what [`put_given`] wrote at the end of a record; an earlier release wrote no more than the metadata.
fn get_given(r: &mut Reader<'_>, labels: &mut Labels) -> Result<(), DecodeError> {
    for _ in 0..r.varint()? {
        labels.tags.push(r.str()?.to_owned());
    }
    for _ in 0..r.varint()? {
        let name = r.str()?.to_owned();
        labels.metadata.insert(name, r.str()?.to_owned());
    }
    if !r.is_empty() && r.u8()? & GIVEN_REPORT_OF != 0 {
        labels.report_of = Some(QueueId::from_u64(r.u64()?));
    }
    Ok(())
}

/// What is known of a message beyond its content, on its own, as the index and the history keep it; `None` when
/// that is nothing.
pub(crate) fn given_bytes(labels: &Labels) -> Option<Vec<u8>> {
    if labels.has_none_given() {
        return None;
    }
    let mut out = Vec::new();
    put_given(&mut out, labels);
    Some(out)
}

/// Reads [`given_bytes`] back into labels.
pub(crate) fn given_from(bytes: &[u8], labels: &mut Labels) -> Result<(), DecodeError> {
    get_given(&mut Reader::new(bytes), labels)
}

const TERMS_NOT_BEFORE: u8 = 1;
const TERMS_BY: u8 = 2;
const TERMS_BY_RETURN: u8 = 4;
const TERMS_BY_TRACE: u8 = 8;
const TERMS_REQUIRE_TLS: u8 = 16;

pub(super) fn put_terms(out: &mut Vec<u8>, terms: &Terms) {
    let mut flags = 0;
    if terms.not_before.is_some() {
        flags |= TERMS_NOT_BEFORE;
    }
    if let Some(by) = &terms.deliver_by {
        flags |= TERMS_BY;
        if by.mode == ByMode::Return {
            flags |= TERMS_BY_RETURN;
        }
        if by.trace {
            flags |= TERMS_BY_TRACE;
        }
    }
    if terms.require_tls {
        flags |= TERMS_REQUIRE_TLS;
    }
    out.push(flags);
    out.extend_from_slice(&terms.priority.to_le_bytes());
    let times = [terms.not_before, terms.deliver_by.map(|by| by.by)];
    for time in times.into_iter().flatten() {
        put_varint(out, time.as_millis());
    }
}

pub(super) fn get_terms(r: &mut Reader<'_>) -> Result<Terms, DecodeError> {
    let flags = r.u8()?;
    let priority = i8::from_le_bytes([r.u8()?]);
    let mut time = |flag| match flags & flag != 0 {
        true => r.varint().map(|ms| Some(Timestamp::from_millis(ms))),
        false => Ok(None),
    };
    let not_before = time(TERMS_NOT_BEFORE)?;
    let by = time(TERMS_BY)?;
    Ok(Terms {
        not_before,
        deliver_by: by.map(|by| DeliverBy {
            by,
            mode: match flags & TERMS_BY_RETURN != 0 {
                true => ByMode::Return,
                false => ByMode::Notify,
            },
            trace: flags & TERMS_BY_TRACE != 0,
        }),
        priority,
        require_tls: flags & TERMS_REQUIRE_TLS != 0,
    })
}

/// Terms on their own, as the index keeps them; nothing when they are the default.
pub(crate) fn terms_bytes(terms: &Terms) -> Option<Vec<u8>> {
    if terms.is_default() {
        return None;
    }
    let mut out = Vec::with_capacity(16);
    put_terms(&mut out, terms);
    Some(out)
}

/// Reads [`terms_bytes`] back.
pub(crate) fn terms_from(bytes: &[u8]) -> Result<Terms, DecodeError> {
    get_terms(&mut Reader::new(bytes))
}

fn put_address(out: &mut Vec<u8>, address: &Address) {
    put_str(out, address.local());
    put_str(out, address.domain().as_str());
}

fn get_address(r: &mut Reader<'_>) -> Result<Address, DecodeError> {
    let local = r.str()?;
    let domain = Domain::parse(r.str()?).map_err(|_| DecodeError::Address)?;
    Address::new(local, domain).map_err(|_| DecodeError::Address)
}

fn put_opt_address(out: &mut Vec<u8>, address: Option<&Address>) {
    out.push(u8::from(address.is_some()));
    if let Some(address) = address {
        put_address(out, address);
    }
}

fn get_opt_address(r: &mut Reader<'_>) -> Result<Option<Address>, DecodeError> {
    match r.u8()? {
        0 => Ok(None),
        _ => get_address(r).map(Some),
    }
}

fn put_opt_ip(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    match ip {
        None => out.push(0),
        Some(IpAddr::V4(v4)) => {
            out.push(4);
            out.extend_from_slice(&v4.octets());
        }
        Some(IpAddr::V6(v6)) => {
            out.push(6);
            out.extend_from_slice(&v6.octets());
        }
    }
}

fn get_opt_ip(r: &mut Reader<'_>) -> Result<Option<IpAddr>, DecodeError> {
    Ok(match r.u8()? {
        0 => None,
        4 => {
            let octets: [u8; 4] = r.take(4)?.try_into().map_err(|_| DecodeError::Short)?;
            Some(IpAddr::from(octets))
        }
        6 => {
            let octets: [u8; 16] = r.take(16)?.try_into().map_err(|_| DecodeError::Short)?;
            Some(IpAddr::from(octets))
        }
        _ => return Err(DecodeError::Unknown("kind of address")),
    })
}

const STATE_HELD: u8 = 1;
const STATE_DELAY_NOTIFIED: u8 = 2;
const STATE_HAS_LAST: u8 = 4;
const STATE_HAS_ROUTE: u8 = 8;

pub(super) fn put_state(out: &mut Vec<u8>, state: &RecipientState) {
    let mut flags = 0;
    if state.status == Status::Held {
        flags |= STATE_HELD;
    }
    if state.delay_notified {
        flags |= STATE_DELAY_NOTIFIED;
    }
    if state.last.is_some() {
        flags |= STATE_HAS_LAST;
    }
    if state.route.is_some() {
        flags |= STATE_HAS_ROUTE;
    }
    out.push(flags);
    put_varint(out, u64::from(state.attempts));
    put_varint(out, state.due.as_millis());
    if let Some(last) = &state.last {
        put_verdict(out, last);
    }
    if let Some(route) = &state.route {
        put_str(out, route);
    }
}

pub(super) fn get_state(r: &mut Reader<'_>) -> Result<RecipientState, DecodeError> {
    let flags = r.u8()?;
    let attempts = r.varint_u32()?;
    let due = Timestamp::from_millis(r.varint()?);
    let last = if flags & STATE_HAS_LAST != 0 {
        Some(get_verdict(r)?)
    } else {
        None
    };
    let route = match flags & STATE_HAS_ROUTE != 0 {
        true => Some(r.str()?.to_owned()),
        false => None,
    };
    Ok(RecipientState {
        status: if flags & STATE_HELD != 0 {
            Status::Held
        } else {
            Status::Waiting
        },
        attempts,
        due,
        delay_notified: flags & STATE_DELAY_NOTIFIED != 0,
        route,
        last,
    })
}

const VERDICT_UNKNOWN_OUTCOME: u8 = 1;
const VERDICT_HAS_HOST: u8 = 2;
const VERDICT_HAS_ENHANCED: u8 = 4;

pub(super) fn put_verdict(out: &mut Vec<u8>, v: &Verdict) {
    let mut flags = 0;
    if v.unknown_outcome {
        flags |= VERDICT_UNKNOWN_OUTCOME;
    }
    if v.host.is_some() {
        flags |= VERDICT_HAS_HOST;
    }
    if v.reply.enhanced.is_some() {
        flags |= VERDICT_HAS_ENHANCED;
    }
    out.extend_from_slice(&[
        flags,
        outcome_code(v.outcome),
        class_code(v.class),
        tls_code(v.tls),
    ]);
    put_varint(out, v.at.as_millis());
    for part in [v.timing.queued, v.timing.connecting, v.timing.wire] {
        put_varint(out, u64::try_from(part.as_micros()).unwrap_or(u64::MAX));
    }
    put_varint(out, u64::from(v.reply.code));
    if let Some(enhanced) = v.reply.enhanced {
        out.push(enhanced.class);
        put_varint(out, u64::from(enhanced.subject));
        put_varint(out, u64::from(enhanced.detail));
    }
    put_str(out, &v.reply.text);
    if let Some(host) = &v.host {
        put_str(out, &host.name);
        put_opt_ip(out, host.address.map(|a| a.ip()));
        out.extend_from_slice(&host.address.map_or(0, |a| a.port()).to_le_bytes());
    }
}

pub(super) fn get_verdict(r: &mut Reader<'_>) -> Result<Verdict, DecodeError> {
    let flags = r.u8()?;
    let outcome = outcome_of(r.u8()?)?;
    let class = class_of(r.u8()?)?;
    let tls = tls_of(r.u8()?)?;
    let at = Timestamp::from_millis(r.varint()?);
    let timing = mail::Timing {
        queued: Duration::from_micros(r.varint()?),
        connecting: Duration::from_micros(r.varint()?),
        wire: Duration::from_micros(r.varint()?),
    };
    let narrow = |n: u64| u16::try_from(n).map_err(|_| DecodeError::Overflow);
    let code = narrow(r.varint()?)?;
    let enhanced = if flags & VERDICT_HAS_ENHANCED != 0 {
        let class = r.u8()?;
        Some(EnhancedCode::new(
            class,
            narrow(r.varint()?)?,
            narrow(r.varint()?)?,
        ))
    } else {
        None
    };
    let text = r.str()?.to_owned();
    let host = if flags & VERDICT_HAS_HOST != 0 {
        let name = r.str()?.to_owned();
        let ip = get_opt_ip(r)?;
        let port = r.u16()?;
        Some(PeerHost {
            name,
            address: ip.map(|ip| SocketAddr::new(ip, port)),
        })
    } else {
        None
    };
    Ok(Verdict {
        outcome,
        class,
        reply: Reply {
            code,
            enhanced,
            text,
        },
        host,
        at,
        tls,
        timing,
        unknown_outcome: flags & VERDICT_UNKNOWN_OUTCOME != 0,
    })
}

pub(crate) const fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Delivered => 0,
        Outcome::Deferred => 1,
        Outcome::Failed => 2,
        Outcome::Expired => 3,
    }
}

pub(crate) const fn outcome_of(code: u8) -> Result<Outcome, DecodeError> {
    Ok(match code {
        0 => Outcome::Delivered,
        1 => Outcome::Deferred,
        2 => Outcome::Failed,
        3 => Outcome::Expired,
        _ => return Err(DecodeError::Unknown("outcome")),
    })
}

const fn class_code(class: Class) -> u8 {
    match class {
        Class::Host => 0,
        Class::Message => 1,
        Class::Recipient => 2,
        Class::Policy => 3,
        Class::Dns => 4,
    }
}

const fn class_of(code: u8) -> Result<Class, DecodeError> {
    Ok(match code {
        0 => Class::Host,
        1 => Class::Message,
        2 => Class::Recipient,
        3 => Class::Policy,
        4 => Class::Dns,
        _ => return Err(DecodeError::Unknown("class")),
    })
}

const fn tls_code(tls: TlsUsed) -> u8 {
    match tls {
        TlsUsed::None => 0,
        TlsUsed::FellBack => 1,
        TlsUsed::Encrypted => 2,
        TlsUsed::Verified => 3,
        TlsUsed::Dane => 4,
    }
}

const fn tls_of(code: u8) -> Result<TlsUsed, DecodeError> {
    Ok(match code {
        0 => TlsUsed::None,
        1 => TlsUsed::FellBack,
        2 => TlsUsed::Encrypted,
        3 => TlsUsed::Verified,
        4 => TlsUsed::Dane,
        _ => return Err(DecodeError::Unknown("TLS state")),
    })
}

/// A verdict on its own, as the history keeps it.
pub(crate) fn verdict_bytes(verdict: &Verdict) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    put_verdict(&mut out, verdict);
    out
}

/// Reads [`verdict_bytes`] back.
pub(crate) fn verdict_from(bytes: &[u8]) -> Result<Verdict, DecodeError> {
    get_verdict(&mut Reader::new(bytes))
}
