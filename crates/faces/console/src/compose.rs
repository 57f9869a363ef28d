//! A mail from its parts in JSON to its content: header, MIME structure, encodings.
//!
//! The structure is as small as the parts allow: `mixed` around attachments, `alternative` around
//! text and HTML, `related` around HTML and what it shows by `cid:`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use intake::{FUTURE_MAX, Wanted};
use mail::{
    Address, BodyType, ByMode, DeliverBy, Labels, Mailbox, MailboxError, Notify, Ret, Terms,
    Timestamp, xtext,
};
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Written;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Few;
use crate::given::{AddressText, Fields, OneOrFew, or_default};
use crate::problem::Problem;
use crate::words;

/// Recipients that one request may name; the limit of intake may be lower.
const RECIPIENTS_MAX: usize = 10_000;
/// Attachments, and other small parts, of one mail.
const PARTS_MAX: usize = 1000;
/// Octets of ENVID in its xtext form (RFC 3461 §4.4).
const ENV_ID_MAX: usize = 100;
/// Octets of one mailbox with its name.
const MAILBOX_MAX: usize = 2000;
/// Fields that are made from other parts of the request, or that say what only servers may say.
const OURS: [&str; 14] = [
    "from",
    "sender",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "received",
    "return-path",
    "dkim-signature",
    "authentication-results",
];
/// Beginnings of such fields.
const OUR_BEGINNINGS: [&str; 3] = ["content-", "resent-", "arc-"];

/// A message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "from": "Ann <ann@example.com>",
    "to": ["bob@example.net"],
    "subject": "Hello",
    "text": "Hello Bob.\n"
}))]
pub(crate) struct NewMessage {
    /// The author: `ann@example.com` or `Ann <ann@example.com>`.
    #[schema(value_type = String)]
    pub(crate) from: AddressText,
    /// Recipients, each in the form of `from`; a single one may be given without a list.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Addresses>)]
    pub(crate) to: OneOrFew<RECIPIENTS_MAX>,
    /// Recipients of a copy.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Addresses>)]
    pub(crate) cc: OneOrFew<RECIPIENTS_MAX>,
    /// Recipients of a blind copy, not visible to others.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Addresses>)]
    pub(crate) bcc: OneOrFew<RECIPIENTS_MAX>,
    /// Where replies go.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Addresses>)]
    pub(crate) reply_to: OneOrFew<RECIPIENTS_MAX>,
    /// The subject.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<String>)]
    pub(crate) subject: String,
    /// The body as plain text. A message needs a body: `text`, `html` or `attachments`.
    pub(crate) text: Option<String>,
    /// The body as HTML; if `text` is set too, the mail program of the reader chooses.
    pub(crate) html: Option<String>,
    /// Files.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Vec<Attachment>>)]
    pub(crate) attachments: Few<Attachment, PARTS_MAX>,
    /// More header fields, such as `List-Unsubscribe`. Fields that other keys set, and fields that only
    /// servers write, are refused.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Option<String>>>)]
    pub(crate) headers: Fields<PARTS_MAX>,
    /// Words by which you can find and count messages: at most 32 of at most 256 octets, without commas.
    /// They are not sent with the message.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Vec<String>>, max_items = 32, example = json!(["invoice", "2026-01"]))]
    pub(crate) tags: Few<String, { Labels::TAGS_MAX }>,
    /// Your own names and values, which events and lists show: at most 32 entries. A name has at most 64 letters,
    /// digits and `-` `_` `.`, and is the same in upper and lower case; a value has at most 256 octets. They do not
    /// leave this server with the mail.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Option<String>>>, example = json!({ "order": "4711" }))]
    pub(crate) metadata: Fields<{ Labels::METADATA_MAX }>,
    /// The reverse-path, to which failure messages are sent; empty: no failure messages are sent. Default: the
    /// address of `from`.
    pub(crate) envelope_from: Option<String>,
    /// When the sender is notified about the delivery (RFC 3461). Default: of failures and delays.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Vec<NotifyOn>>)]
    pub(crate) notify: Few<NotifyOn, PARTS_MAX>,
    /// How much of the mail a failure message returns.
    pub(crate) ret: Option<Returned>,
    /// Your own id, which failure messages and events contain (ENVID, RFC 3461): at most 100 visible ASCII
    /// characters; `+` and `=` count as three.
    #[schema(max_length = 100)]
    pub(crate) envid: Option<String>,
    /// Not sent before this time (RFC 3339), which is at most 60 days away; a time in the past: at once.
    #[schema(format = DateTime, example = "2026-01-31T08:00:00Z")]
    pub(crate) send_at: Option<String>,
    /// If it is not delivered by this time (RFC 3339), the sender gets a failure message.
    #[schema(format = DateTime, example = "2026-01-31T09:00:00Z")]
    pub(crate) deliver_by: Option<String>,
    /// From -9 to 9: mail of a higher priority goes first (RFC 6710). Default: 0.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<i8>, minimum = -9, maximum = 9)]
    pub(crate) priority: i8,
    /// Send it only to servers that prove their name and support REQUIRETLS (RFC 8689) themselves; if there
    /// is no such server, it is returned to the sender. Default: false.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    pub(crate) require_tls: bool,
}

/// One address, or a list of them.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is how the document describes `OneOrFew`")]
pub(crate) enum Addresses {
    /// One address.
    One(String),
    /// A list of addresses.
    Several(Vec<String>),
}

/// A file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attachment {
    /// Its name.
    pub(crate) filename: String,
    /// Its media type. Default: `application/octet-stream`.
    pub(crate) content_type: Option<String>,
    /// Its octets in base64.
    #[schema(content_encoding = "base64")]
    pub(crate) content: String,
    /// HTML shows it by `cid:` and this name; without HTML it is a file as any.
    pub(crate) content_id: Option<String>,
}

/// When the sender is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotifyOn {
    /// Of nothing; stands alone.
    Never,
    /// That it was delivered.
    Success,
    /// That it was not.
    Failure,
    /// That it is late.
    Delay,
}

/// How much a failure message returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Returned {
    /// The whole mail.
    Full,
    /// Its header.
    Headers,
}

impl From<Returned> for Ret {
    fn from(returned: Returned) -> Self {
        match returned {
            Returned::Full => Self::Full,
            Returned::Headers => Self::Headers,
        }
    }
}

/// A mail that is ready to be handed in.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) reverse_path: Option<Address>,
    /// Every address that the mail says to be from.
    pub(crate) authors: Vec<Address>,
    pub(crate) recipients: Vec<Wanted>,
    pub(crate) content: Bytes,
    pub(crate) body_type: BodyType,
    pub(crate) ret: Option<Ret>,
    /// ENVID in its xtext form.
    pub(crate) env_id: Option<String>,
    pub(crate) terms: Terms,
    /// Tags and metadata.
    pub(crate) labels: Labels,
}

/// Makes the mail. `message_id` has no angle brackets.
pub(crate) fn compose(
    mut message: NewMessage,
    now: Timestamp,
    message_id: &str,
) -> Result<Composed, Problem> {
    let from = mailbox("from", &message.from.0)?;
    let to = mailboxes("to", &message.to.0)?;
    let cc = mailboxes("cc", &message.cc.0)?;
    let bcc = mailboxes("bcc", &message.bcc.0)?;
    let reply_to = mailboxes("reply_to", &message.reply_to.0)?;
    let reverse_path = match message.envelope_from.as_deref() {
        None => Some(from.address.clone()),
        Some("") => None,
        Some(text) => {
            Some(Address::parse(text).map_err(|e| Problem::field("envelope_from", e.to_string()))?)
        }
    };
    let notify = notify(&message.notify.0)?;
    let terms = terms(&message, now)?;
    let labels = labels(&message)?;
    let env_id = env_id(message.envid.as_deref())?;
    let recipients = wanted([&to, &cc, &bcc], notify)?;
    if recipients.is_empty() {
        let problem = Problem::field("to", "the message has no recipients");
        return Err(problem.remedy("Name at least one in to, cc or bcc."));
    }
    plain("subject", &message.subject)?;
    let mut builder = MessageBuilder::new()
        .header("Date", Raw::new(now.rfc5322()))
        .header("Message-ID", Raw::new(format!("<{message_id}>")))
        .from(written(&from));
    for (name, list) in [("To", &to), ("Cc", &cc), ("Reply-To", &reply_to)] {
        if !list.is_empty() {
            let list = Written::new_list(list.iter().map(written).collect());
            builder = builder.header(name, list);
        }
    }
    if !message.subject.is_empty() {
        builder = builder.subject(std::mem::take(&mut message.subject));
    }
    for (name, value) in std::mem::take(&mut message.headers.0) {
        check_header(&name, &value)?;
        builder = match name.to_ascii_lowercase().as_str() {
            "in-reply-to" | "references" => builder.header(name, Raw::new(value)),
            _ => builder.header(name, Text::new(value)),
        };
    }
    let ret = message.ret.map(Into::into);
    let content = builder.body(body(message)?).write_to_vec();
    let content = content.map_err(|e| Problem::unavailable(e.to_string()))?;
    Ok(Composed {
        body_type: BodyType::SevenBit,
        reverse_path,
        authors: vec![from.address],
        recipients,
        content: content.into(),
        ret,
        env_id,
        terms,
        labels,
    })
}

/// ENVID as SMTP has it (RFC 3461 §4.4).
fn env_id(text: Option<&str>) -> Result<Option<String>, Problem> {
    let encode = |text: &str| {
        let encoded = xtext(text);
        let fits = (1..=ENV_ID_MAX).contains(&encoded.len());
        let good = fits && text.bytes().all(|b| b.is_ascii_graphic());
        good.then_some(encoded).ok_or_else(|| {
            let why = "it must have 1 to 100 visible ASCII characters; + and = count as three";
            Problem::field("envid", why)
        })
    };
    text.map(encode).transpose()
}

/// The tags and metadata.
fn labels(message: &NewMessage) -> Result<Labels, Problem> {
    let mut labels = Labels::default();
    for (n, tag) in message.tags.0.iter().enumerate() {
        let added = labels.add_tag(tag);
        added.map_err(|why| Problem::field(format!("tags[{n}]"), why.to_string()))?;
    }
    for (name, value) in &message.metadata.0 {
        let added = labels.add_metadata(name, value);
        added.map_err(|why| Problem::field(format!("metadata.{name}"), why.to_string()))?;
    }
    Ok(labels)
}

/// What is asked about time and order.
fn terms(message: &NewMessage, now: Timestamp) -> Result<Terms, Problem> {
    let time = |field: &str, text: Option<&String>| match text {
        None => Ok(None),
        Some(text) => Timestamp::parse_rfc3339(text).map(Some).ok_or_else(|| {
            let why = "write an RFC 3339 time, such as 2026-01-31T08:00:00Z";
            Problem::field(field, why)
        }),
    };
    let not_before = time("send_at", message.send_at.as_ref())?;
    if not_before.is_some_and(|at| at > now + FUTURE_MAX) {
        return Err(Problem::field(
            "send_at",
            "it must be at most 60 days in the future",
        ));
    }
    let by = time("deliver_by", message.deliver_by.as_ref())?;
    if by.is_some_and(|by| by <= not_before.map_or(now, |at| at.max(now))) {
        let why = "this is before the time from which the message may be sent";
        return Err(Problem::field("deliver_by", why));
    }
    if !(-9..=9).contains(&message.priority) {
        return Err(Problem::field(
            "priority",
            "a priority is a number from -9 to 9",
        ));
    }
    Ok(Terms {
        not_before: not_before.filter(|at| *at > now),
        deliver_by: by.map(|by| DeliverBy {
            by,
            mode: ByMode::Return,
            trace: false,
        }),
        priority: message.priority,
        require_tls: message.require_tls,
    })
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, Problem> {
    plain(field, text)?;
    if text.len() > MAILBOX_MAX {
        let why = format!("an address with its name may have at most {MAILBOX_MAX} octets");
        return Err(Problem::field(field, why));
    }
    mail::mailbox(text).map_err(|why| not_one(field, text, &why))
}

/// What is wrong with a text that is no address, and how it is meant to be written.
fn not_one(field: &str, text: &str, why: &MailboxError) -> Problem {
    let several = mail::mailboxes(text).map_or(0, |list| list.len());
    let is_list = field.ends_with(']');
    if several > 1 {
        let problem = Problem::field(field, format!("there are {several} addresses in one text"));
        return match field {
            "from" => problem.remedy("Name one author."),
            _ => problem.remedy(
                "Write a list with a text for each: [\"bob@example.net\", \"carl@example.net\"].",
            ),
        };
    }
    // `Shop, Inc. <a@b>` reads as two addresses.
    let name = text.split_once('<').map(|(name, _)| name.trim());
    let special =
        |name: &&str| !name.contains('"') && name.contains([',', ';', ':', '@', '(', ')']);
    let problem = Problem::field(field, why.to_string());
    match name.filter(special) {
        Some(name) => problem.remedy(format!(
            "Put the name in double quotes: \"{name}\" <…>; within JSON each of them is written as \\\"."
        )),
        None if is_list => problem.remedy("Write bob@example.net or Bob <bob@example.net>."),
        None => problem.remedy("Write ann@example.com or Ann <ann@example.com>."),
    }
}

fn mailboxes(field: &str, list: &[AddressText]) -> Result<Vec<Mailbox>, Problem> {
    let parse = |(n, text): (usize, &AddressText)| {
        let field = format!("{field}[{n}]");
        mailbox(&field, &text.0)
    };
    list.iter().enumerate().map(parse).collect()
}

/// Everyone who gets the mail, once.
pub(crate) fn wanted<'a>(
    lists: impl IntoIterator<Item = &'a Vec<Mailbox>>,
    notify: Notify,
) -> Result<Vec<Wanted>, Problem> {
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for mailbox in lists.into_iter().flatten() {
        if seen.insert(&mailbox.address) {
            found.push(Wanted {
                address: mailbox.address.clone(),
                notify,
                orcpt: None,
            });
        }
    }
    if found.len() > RECIPIENTS_MAX {
        let why = format!("a message may have at most {RECIPIENTS_MAX} recipients");
        return Err(Problem::field("to", why).remedy("Send several messages."));
    }
    Ok(found)
}

fn notify(list: &[NotifyOn]) -> Result<Notify, Problem> {
    if list.contains(&NotifyOn::Never) && list.iter().any(|on| *on != NotifyOn::Never) {
        return Err(Problem::field(
            "notify",
            "`never` cannot be combined with other values",
        ));
    }
    let bit = |on: &NotifyOn| match on {
        NotifyOn::Never => Notify::NEVER,
        NotifyOn::Success => Notify::SUCCESS,
        NotifyOn::Failure => Notify::FAILURE,
        NotifyOn::Delay => Notify::DELAY,
    };
    Ok(list
        .iter()
        .map(bit)
        .fold(Notify::UNSET, |all, on| all.with(on)))
}

fn written(mailbox: &Mailbox) -> Written<'static> {
    Written::new_address(mailbox.name.clone(), mailbox.address.to_string())
}

/// A text that goes into a header has no control characters: a line's end would begin a field of
/// its own.
fn plain(field: &str, text: &str) -> Result<(), Problem> {
    if text.contains(char::is_control) {
        let why = "it contains a control character, such as a line break";
        return Err(Problem::field(field, why));
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), Problem> {
    let field = format!("headers.{name}");
    let is_name = |b: u8| b.is_ascii_graphic() && b != b':';
    if name.is_empty() || name.len() > 76 || !name.bytes().all(is_name) {
        let why =
            "the name of a header field must have 1 to 76 visible ASCII characters and no colon";
        return Err(Problem::field(field, why));
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || OUR_BEGINNINGS.iter().any(|b| lower.starts_with(b)) {
        let problem = Problem::field(field, format!("`{name}` cannot be set in `headers`"));
        return Err(problem.remedy(words::instead(&lower)));
    }
    plain(&field, value)
}

fn body(message: NewMessage) -> Result<MimePart<'static>, Problem> {
    let mut files = Vec::new();
    let mut shown = Vec::new();
    let has_html = message.html.is_some();
    for (n, attachment) in message.attachments.0.into_iter().enumerate() {
        let is_shown = has_html && attachment.content_id.is_some();
        let part = part(&format!("attachments[{n}]"), attachment, is_shown)?;
        if is_shown {
            shown.push(part);
        } else {
            files.push(part);
        }
    }
    let html = message.html.map(|html| {
        let html = MimePart::new("text/html", html);
        if shown.is_empty() {
            return html;
        }
        let kind = ContentType::new("multipart/related").attribute("type", "text/html");
        let mut parts = vec![html];
        parts.append(&mut shown);
        MimePart::new(kind, parts)
    });
    let text = message.text.map(|text| MimePart::new("text/plain", text));
    let body = match (text, html) {
        (Some(text), Some(html)) => Some(MimePart::new("multipart/alternative", vec![text, html])),
        (one, other) => one.or(other),
    };
    if files.is_empty() {
        return body.ok_or_else(|| {
            let problem = Problem::field("text", "the message has no body");
            problem.remedy("Set text, html or attachments; an empty text is allowed.")
        });
    }
    let mut parts: Vec<MimePart<'static>> = body.into_iter().collect();
    parts.append(&mut files);
    Ok(MimePart::new("multipart/mixed", parts))
}

fn part(field: &str, attachment: Attachment, is_shown: bool) -> Result<MimePart<'static>, Problem> {
    plain(&format!("{field}.filename"), &attachment.filename)?;
    let kind = attachment.content_type.as_deref();
    let kind = content_type(kind.unwrap_or("application/octet-stream"))
        .map_err(|why| Problem::field(format!("{field}.content_type"), why.to_string()))?;
    let content = STANDARD
        .decode(&attachment.content)
        .map_err(|why| Problem::field(format!("{field}.content"), words::not_base64(why)))?;
    let disposition = if is_shown { "inline" } else { "attachment" };
    let disposition = ContentType::new(disposition).attribute("filename", attachment.filename);
    let mut part = MimePart::new(kind, content).header("Content-Disposition", disposition);
    if let Some(id) = attachment.content_id {
        let visible = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>');
        if id.is_empty() || id.len() > 200 || !id.bytes().all(visible) {
            let why = "it must have 1 to 200 visible ASCII characters, without angle brackets";
            return Err(Problem::field(format!("{field}.content_id"), why));
        }
        part = part.header("Content-ID", Raw::new(format!("<{id}>")));
    }
    Ok(part)
}

/// What is wrong with the type of an attachment.
#[derive(Debug, thiserror::Error)]
enum WrongType {
    #[error("`{0}` is not a media type such as image/png")]
    NoType(String),
    #[error("a file of the type {0} cannot be attached, because MIME forbids base64 for this type")]
    Forbidden(String),
    #[error("`{0}` is not a parameter such as charset=utf-8")]
    Parameter(String),
}

/// `type/subtype` with parameters of the simple form.
fn content_type(text: &str) -> Result<ContentType<'static>, WrongType> {
    let token = |text: &str| {
        let special = |b: u8| b"()<>@,;:\\\"/[]?=".contains(&b);
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !special(b))
    };
    let mut pieces = text.split(';').map(str::trim);
    let name = pieces.next().unwrap_or_default();
    let is_type = name
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub));
    if !is_type {
        return Err(WrongType::NoType(text.to_owned()));
    }
    let kind = name.to_ascii_lowercase();
    if kind.starts_with("multipart/") || kind.starts_with("message/") {
        return Err(WrongType::Forbidden(kind));
    }
    let mut found = ContentType::new(name.to_owned());
    for piece in pieces {
        let parameter = piece
            .split_once('=')
            .filter(|(n, v)| token(n) && token(v.trim_matches('"')));
        let (name, value) = parameter.ok_or_else(|| WrongType::Parameter(piece.to_owned()))?;
        found = found.attribute(name.to_owned(), value.trim_matches('"').to_owned());
    }
    Ok(found)
}
