//! From a drop to what is handed in: the parts that need this server's settings, and the user's
//! name by the system.

use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use config::Config;
use intake::{FUTURE_MAX, Rights, SenderMatch, Senders, Submission, Wanted};
use mail::{
    Address, Domain, EnhancedCode, Headers, Notify, ParseAddressError, Reply, Ret, Submitter,
    Terms, Timestamp, find_header,
};
use smtp::command::{is_env_id, is_orcpt};

use super::directory::Taken;
use super::form::{Drop, Sender};
use super::{VIA, owner};

/// Octets of a drop's id, which is kept as the token of its mail.
const ID_MAX: usize = 100;
/// The furthest time of DELIVERBY (RFC 2852 §4).
const BY_MAX: Duration = Duration::from_secs(999_999_999);

/// What a drop comes to.
#[derive(Debug)]
pub struct Submit {
    /// As it goes into the queue.
    pub submission: Submission,
    /// Why it is given back whatever its recipients are.
    pub refusal: Option<Reply>,
}

/// What in a drop is no mail.
#[derive(Debug, thiserror::Error)]
pub enum NoMail {
    /// Whoever wrote it cannot be answered.
    #[error("its owner has no address: {0}")]
    Owner(ParseAddressError),
    /// It names a sender that cannot be one.
    #[error("its sender `{0}`: {1}")]
    Sender(String, ParseAddressError),
    /// It names a recipient that cannot be one.
    #[error("its recipient `{0}`: {1}")]
    Recipient(String, ParseAddressError),
    /// It is for nobody.
    #[error("it has no recipients")]
    NoRecipients,
    /// Its name is too long, or could not be shown.
    #[error("its id is not up to {ID_MAX} visible ASCII characters")]
    Id,
    /// Its envelope identifier is none.
    #[error("its ENVID is not up to 100 characters of xtext")]
    EnvId,
    /// An original recipient is none.
    #[error("an ORCPT of it is not an address type and up to 500 characters of xtext")]
    Orcpt,
    /// It is to wait for too long.
    #[error("it is to be sent more than 60 days from now")]
    Future,
    /// Its deadline is out of reach.
    #[error("its deadline for delivery is more than 999999999 seconds away")]
    DeliverBy,
}

/// Reads a drop under these settings; an error says what in it is no mail.
pub fn submit(config: &Config, taken: &Taken) -> Result<Submit, NoMail> {
    let (drop, here) = (&taken.drop, &config.hostname);
    let user = owner::name_of(taken.owner);
    let own = Address::new(&user, here.clone())
        .or_else(|_| Address::new(&format!("uid{}", taken.owner), here.clone()))
        .map_err(NoMail::Owner)?;
    let reverse_path = match &drop.sender {
        Sender::Owner => Some(own.clone()),
        Sender::Null => None,
        Sender::Address(text) => {
            Some(qualified(text, here).map_err(|why| NoMail::Sender(text.clone(), why))?)
        }
    };
    let ours = rustix::process::geteuid().as_raw();
    let may_choose = config.sendmail.any_sender || taken.owner == 0 || taken.owner == ours;
    let posed = match &reverse_path {
        Some(chosen) if *chosen != own && !may_choose => Some(Reply::new(
            550,
            Some(EnhancedCode::new(5, 7, 1)),
            format!("User {user} may send as {own} only (sendmail.any_sender), not as {chosen}"),
        )),
        Some(_) | None => None,
    };
    let mut recipients = Vec::with_capacity(drop.recipients.len());
    for to in &drop.recipients {
        let given = &to.address;
        recipients.push(Wanted {
            address: qualified(given, here).map_err(|why| NoMail::Recipient(given.clone(), why))?,
            notify: Notify::from_bits(to.notify),
            orcpt: to.orcpt.clone(),
        });
    }
    if recipients.is_empty() {
        return Err(NoMail::NoRecipients);
    }
    let content = match find_header(&taken.content, "From") {
        Some(_) => with_domains(&taken.content, here),
        None => {
            let from = reverse_path.as_ref().unwrap_or(&own);
            with_from(from, drop.full_name.as_deref(), &taken.content)
        }
    };
    let submission = Submission {
        is_part: true,
        body_type: mail::BodyType::SevenBit,
        // What is refused goes back to who wrote it, not to whom it claims to be from.
        reverse_path: match posed {
            Some(_) => Some(own.clone()),
            None => reverse_path,
        },
        recipients,
        content,
        is_test: false,
        labels: mail::Labels::default(),
        submitter: Submitter {
            user: Some(user),
            peer: None,
            via: VIA.to_owned(),
        },
        ret: drop.return_full.map(|full| match full {
            true => Ret::Full,
            false => Ret::Headers,
        }),
        env_id: drop.env_id.clone(),
        terms: Terms::from(&drop.asked),
        rights: rights(may_choose, own),
    };
    Ok(Submit {
        submission,
        refusal: posed.or_else(|| taken.too_large.then(|| too_large(config))),
    })
}

/// As whom a user of this computer may write.
fn rights(may_choose: bool, own: Address) -> Rights {
    match may_choose {
        true => Rights::Any,
        false => Rights::Only(Senders::new(vec![SenderMatch::Address(own)])),
    }
}

/// Whoever writes a drop is bound as a client of SMTP is: what comes of it is said to other servers.
pub fn check(drop: &Drop) -> Result<(), NoMail> {
    if drop.id.len() > ID_MAX || !drop.id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(NoMail::Id);
    }
    if drop.env_id.as_ref().is_some_and(|id| !is_env_id(id)) {
        return Err(NoMail::EnvId);
    }
    let mut orcpt = drop.recipients.iter().filter_map(|to| to.orcpt.as_ref());
    if orcpt.any(|orcpt| !is_orcpt(orcpt)) {
        return Err(NoMail::Orcpt);
    }
    let written = Timestamp::from_millis(drop.written).min(net::now());
    let terms = Terms::from(&drop.asked);
    if terms.not_before.is_some_and(|at| at > written + FUTURE_MAX) {
        return Err(NoMail::Future);
    }
    let by = terms.deliver_by.map(|by| by.by);
    if by.is_some_and(|by| by.since(written).max(written.since(by)) > BY_MAX) {
        return Err(NoMail::DeliverBy);
    }
    Ok(())
}

fn too_large(config: &Config) -> Reply {
    let max = config.intake.limits.message_size;
    Reply::new(
        552,
        Some(EnhancedCode::new(5, 3, 4)),
        format!("The message is larger than the limit of {max} octets"),
    )
}

/// An address; a name alone is one at this server.
fn qualified(text: &str, here: &Domain) -> Result<Address, ParseAddressError> {
    match Address::parse(text) {
        Ok(address) => Ok(address),
        Err(error) => Address::new(text, here.clone()).map_err(|_| error),
    }
}

/// The mail with this server's name after a name alone in From and Sender, as for a recipient: cron and others
/// write `From: root`.
fn with_domains(content: &Bytes, here: &Domain) -> Bytes {
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    for field in Headers::new(content) {
        let is_author = field.is("From") || field.is("Sender");
        let mended = is_author.then(|| with_domain(field.value, here)).flatten();
        if let Some(value) = mended {
            let out = out.get_or_insert_with(|| content.get(..at).unwrap_or_default().to_vec());
            out.extend_from_slice(field.name);
            out.extend_from_slice(format!(":{value}\r\n").as_bytes());
        } else if let Some(out) = &mut out {
            out.extend_from_slice(field.raw);
        }
        at += field.raw.len();
    }
    match out {
        None => content.clone(),
        Some(header) => Bytes::from([&header, content.get(at..).unwrap_or_default()].concat()),
    }
}

/// The value of a field that names somebody here alone, with its domain; all else in it stays.
fn with_domain(value: &[u8], here: &Domain) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let listed = mail::listed(value).ok()?;
    let [one] = listed.as_slice() else {
        return None;
    };
    let (name, word) = (&one.name, &one.address);
    if Address::parse(word).is_ok() {
        return None;
    }
    let address = Address::new(word, here.clone()).ok()?.to_string();
    let places = value.match_indices(word.as_str());
    let mut mended = places.map(|(at, _)| {
        let (before, behind) = value.split_at(at);
        let behind = behind.get(word.len()..).unwrap_or_default();
        format!("{before}{address}{behind}")
    });
    // The word may stand in a name or a comment too.
    mended.find(|text| {
        let read = mail::listed(text).unwrap_or_default();
        matches!(read.as_slice(), [one] if one.address == address && one.name == *name)
    })
}

/// The mail with a From field in front.
fn with_from(address: &Address, name: Option<&str>, content: &[u8]) -> Bytes {
    let field = match name.map(phrase).filter(|p| !p.is_empty()) {
        Some(phrase) => format!("From: {phrase} <{address}>\r\n"),
        None => format!("From: <{address}>\r\n"),
    };
    [field.as_bytes(), content].concat().into()
}

/// A name as it may stand in front of an address (RFC 5322 §3.2.5), outside ASCII as an encoded
/// word (RFC 2047).
fn phrase(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    if name.chars().all(is_plain) {
        return name.to_owned();
    }
    if name.is_ascii() {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{escaped}\"");
    }
    // A word is no longer than 75 characters: 45 octets in base 64, and no character is cut.
    let mut words = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(45));
        let encoded = base64::engine::general_purpose::STANDARD.encode(word);
        words.push(format!("=?UTF-8?B?{encoded}?="));
        rest = behind;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_safely_in_front_of_an_address() {
        for (name, expected) in [
            ("Ann Onym", "Ann Onym"),
            (" ", ""),
            ("Onym, Ann", "\"Onym, Ann\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("x\r\nBcc: y", "\"xBcc: y\""),
            ("\u{fc}", "=?UTF-8?B?w7w=?="),
        ] {
            assert_eq!(phrase(name), expected, "{name}");
        }
        let long = phrase(&"\u{fc}".repeat(60));
        assert!(long.split(' ').all(|word| word.len() <= 75), "{long}");
    }

    #[test]
    fn an_author_who_is_a_name_alone_is_one_here() {
        let here = Domain::parse("mail.example").unwrap();
        for (header, expected) in [
            (
                "From: root (Cron root)\r\n",
                "From: root@mail.example (Cron root)\r\n",
            ),
            (
                "From: root <root>\r\n",
                "From: root <root@mail.example>\r\n",
            ),
            (
                "A: b\r\nfrom:\r\n root\r\nC: d\r\n",
                "A: b\r\nfrom:\r\n root@mail.example\r\nC: d\r\n",
            ),
            (
                "From: a@b.example\r\nSender: ann\r\n",
                "From: a@b.example\r\nSender: ann@mail.example\r\n",
            ),
            ("From: a, b\r\n", "From: a, b\r\n"),
            ("From: a b\r\nTo: c\r\n", "From: a b\r\nTo: c\r\n"),
        ] {
            let content = Bytes::from(format!("{header}\r\nFrom: x\r\n"));
            let made = with_domains(&content, &here);
            assert_eq!(made, format!("{expected}\r\nFrom: x\r\n"), "{header}");
        }
    }

    #[test]
    fn a_name_alone_is_an_address_here() {
        let here = Domain::parse("mail.example").unwrap();
        let address = |text: &str| qualified(text, &here).map(|a| a.to_string());
        assert_eq!(address("root").unwrap(), "root@mail.example");
        assert_eq!(address("a@b.example").unwrap(), "a@b.example");
        assert!(address("a b").is_err() && address("a@").is_err());
    }
}
