//! Commands as values, and their wire form for the client's side (RFC 5321 §4.1).
//!
//! The functions append whole lines, so that a pipelined group of commands is one buffer. What an
//! extension's parameter needs must have been offered by the peer; nothing here looks at that.

mod parse;

use std::fmt;

use bytes::BytesMut;
use mail::{Address, BodyType, ByMode, Notify, Ret, Timestamp};

use crate::reply::append;

pub(crate) use parse::plain;
pub use parse::{Command, ForwardPath, MailFrom, ParseCommandError, RcptTo, is_env_id, is_orcpt};

/// The parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// SIZE in octets (RFC 1870 §6).
    pub size: Option<u64>,
    /// BODY (RFC 6152 §3).
    pub body: Option<BodyType>,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// ENVID in its xtext form (RFC 3461 §4.4).
    pub env_id: Option<String>,
    /// AUTH in its xtext form, or `<>` (RFC 4954 §5).
    pub auth: Option<String>,
    /// REQUIRETLS (RFC 8689 §2).
    pub require_tls: bool,
    /// MT-PRIORITY, -9 to 9 (RFC 6710 §4).
    pub priority: Option<i8>,
    /// BY (RFC 2852 §4).
    pub deliver_by: Option<ByTime>,
    /// HOLDFOR or HOLDUNTIL (RFC 4865 §4).
    pub hold: Option<Hold>,
}

/// The value of BY: a time from now, and what happens then (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByTime {
    /// Seconds from now; at most nine digits, and above 0 where the mail is to be returned.
    pub seconds: i64,
    /// What happens then.
    pub mode: ByMode,
    /// Relaying is to be reported.
    pub trace: bool,
}

impl fmt::Display for ByTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Return => "R",
            ByMode::Notify => "N",
        };
        let trace = if self.trace { "T" } else { "" };
        write!(f, "{};{mode}{trace}", self.seconds)
    }
}

/// When a mail is to be released (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// HOLDFOR: after so many seconds.
    For(u64),
    /// HOLDUNTIL: at this time.
    Until(Timestamp),
}

/// The parameters of RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Notify,
    /// ORCPT: the address type, a semicolon and the address in xtext (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

/// Appends `EHLO name`.
pub fn ehlo(out: &mut BytesMut, name: &str) {
    append(out, format_args!("EHLO {name}\r\n"));
}

/// Appends `LHLO name`, which opens a session of LMTP (RFC 2033 §4.1).
pub fn lhlo(out: &mut BytesMut, name: &str) {
    append(out, format_args!("LHLO {name}\r\n"));
}

/// Appends `HELO name`, for servers that do not know EHLO.
pub fn helo(out: &mut BytesMut, name: &str) {
    append(out, format_args!("HELO {name}\r\n"));
}

/// Appends MAIL; `None` is the null reverse-path. The address is written as it is: whether it
/// needs its A-label form is for the caller to decide.
pub fn mail_from(out: &mut BytesMut, reverse_path: Option<&Address>, params: &MailParams) {
    match reverse_path {
        Some(address) => append(out, format_args!("MAIL FROM:<{address}>")),
        None => append(out, format_args!("MAIL FROM:<>")),
    }
    if let Some(size) = params.size {
        append(out, format_args!(" SIZE={size}"));
    }
    match params.body {
        Some(BodyType::SevenBit) => append(out, format_args!(" BODY=7BIT")),
        Some(BodyType::EightBitMime) => append(out, format_args!(" BODY=8BITMIME")),
        Some(BodyType::BinaryMime) => append(out, format_args!(" BODY=BINARYMIME")),
        None => {}
    }
    if params.smtputf8 {
        append(out, format_args!(" SMTPUTF8"));
    }
    match params.ret {
        Some(Ret::Full) => append(out, format_args!(" RET=FULL")),
        Some(Ret::Headers) => append(out, format_args!(" RET=HDRS")),
        None => {}
    }
    text_parameter(out, "ENVID", params.env_id.as_deref());
    text_parameter(out, "AUTH", params.auth.as_deref());
    if params.require_tls {
        append(out, format_args!(" REQUIRETLS"));
    }
    if let Some(priority) = params.priority {
        append(out, format_args!(" MT-PRIORITY={priority}"));
    }
    if let Some(by) = params.deliver_by {
        append(out, format_args!(" BY={by}"));
    }
    end(out);
}

/// Appends RCPT.
pub fn rcpt_to(out: &mut BytesMut, forward_path: &Address, params: &RcptParams) {
    append(out, format_args!("RCPT TO:<{forward_path}>"));
    text_parameter(out, "NOTIFY", params.notify.parameter().as_deref());
    text_parameter(out, "ORCPT", params.orcpt.as_deref());
    end(out);
}

/// Appends `DATA`.
pub fn data(out: &mut BytesMut) {
    out.extend_from_slice(b"DATA\r\n");
}

/// Appends `BDAT size`, with `LAST` after it for the last chunk; the chunk's octets follow at
/// once (RFC 3030 §2).
pub fn bdat(out: &mut BytesMut, size: usize, last: bool) {
    let last = if last { " LAST" } else { "" };
    append(out, format_args!("BDAT {size}{last}\r\n"));
}

/// Appends `RSET`.
pub fn rset(out: &mut BytesMut) {
    out.extend_from_slice(b"RSET\r\n");
}

/// Appends `NOOP`.
pub fn noop(out: &mut BytesMut) {
    out.extend_from_slice(b"NOOP\r\n");
}

/// Appends `QUIT`.
pub fn quit(out: &mut BytesMut) {
    out.extend_from_slice(b"QUIT\r\n");
}

/// Appends `STARTTLS`.
pub fn starttls(out: &mut BytesMut) {
    out.extend_from_slice(b"STARTTLS\r\n");
}

/// Appends AUTH with its initial response, which is in base 64 already; an empty one is written
/// `=` (RFC 4954 §4).
pub fn auth(out: &mut BytesMut, mechanism: &str, initial: Option<&str>) {
    append(out, format_args!("AUTH {mechanism}"));
    match initial {
        Some("") => append(out, format_args!(" =")),
        Some(initial) => append(out, format_args!(" {initial}")),
        None => {}
    }
    end(out);
}

/// Appends the answer to a 334, in base 64 already.
pub fn auth_response(out: &mut BytesMut, response: &str) {
    append(out, format_args!("{response}\r\n"));
}

/// A value with a space, a line's end or another octet that no parameter may have would forge a
/// command; such a parameter is left out.
fn text_parameter(out: &mut BytesMut, name: &str, value: Option<&str>) {
    let is_safe = |v: &&str| !v.is_empty() && !v.contains(|c: char| c.is_control() || c == ' ');
    if let Some(value) = value.filter(is_safe) {
        append(out, format_args!(" {name}={value}"));
    }
}

fn end(out: &mut BytesMut) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn mail_is_written_with_its_parameters() {
        let plain =
            line(|out| mail_from(out, Some(&address("a@b.example")), &MailParams::default()));
        assert_eq!(plain, "MAIL FROM:<a@b.example>\r\n");
        let params = MailParams {
            size: Some(100),
            body: Some(BodyType::EightBitMime),
            smtputf8: true,
            ret: Some(Ret::Headers),
            env_id: Some("QQ+2B1".into()),
            auth: Some("<>".into()),
            require_tls: true,
            priority: Some(-2),
            deliver_by: Some(ByTime {
                seconds: 120,
                mode: ByMode::Return,
                trace: false,
            }),
            hold: None,
        };
        assert_eq!(
            line(|out| mail_from(out, None, &params)),
            "MAIL FROM:<> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1 AUTH=<> \
             REQUIRETLS MT-PRIORITY=-2 BY=120;R\r\n"
        );
    }

    #[test]
    fn rcpt_is_written_with_its_parameters() {
        let params = RcptParams {
            notify: Notify::SUCCESS.with(Notify::DELAY),
            orcpt: Some("rfc822;a@b".into()),
        };
        assert_eq!(
            line(|out| rcpt_to(out, &address("\"a b\"@c.example"), &params)),
            "RCPT TO:<\"a b\"@c.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b\r\n"
        );
    }

    #[test]
    fn a_value_that_would_forge_a_command_is_left_out() {
        let params = RcptParams {
            orcpt: Some("rfc822;a\r\nDATA".into()),
            ..RcptParams::default()
        };
        let written = line(|out| rcpt_to(out, &address("a@c.example"), &params));
        assert_eq!(written, "RCPT TO:<a@c.example>\r\n");
    }

    #[test]
    fn the_other_commands_are_written() {
        assert_eq!(line(|out| ehlo(out, "me.example")), "EHLO me.example\r\n");
        assert_eq!(line(|out| lhlo(out, "me.example")), "LHLO me.example\r\n");
        assert_eq!(line(|out| bdat(out, 10, false)), "BDAT 10\r\n");
        assert_eq!(line(|out| bdat(out, 0, true)), "BDAT 0 LAST\r\n");
        assert_eq!(
            line(|out| auth(out, "PLAIN", Some("AGE="))),
            "AUTH PLAIN AGE=\r\n"
        );
        assert_eq!(
            line(|out| auth(out, "EXTERNAL", Some(""))),
            "AUTH EXTERNAL =\r\n"
        );
        assert_eq!(line(|out| auth(out, "LOGIN", None)), "AUTH LOGIN\r\n");
    }
}
