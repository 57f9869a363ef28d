//! How an MX host behaves: a value that can be exchanged at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A rule that applies for ever.
const ALWAYS: usize = usize::MAX;

/// How an MX host behaves. The default is a host that takes every mail, with PIPELINING,
/// 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES and SIZE of 50 MB, and without TLS.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and any combination has a meaning"
)]
pub struct Behaviour {
    /// The greeting. One whose code is not 220 closes the connection, except that QUIT is waited
    /// for after 554 (RFC 5321 §3.1).
    pub greeting: String,
    /// How long the greeting is held back.
    pub greeting_delay: Duration,
    /// How long every reply is held back.
    pub reply_delay: Duration,
    /// Accepts connections and never says a word.
    pub tarpit: bool,
    /// Greets with 421 while more connections than this are open.
    pub busy_above: Option<usize>,
    /// Extensions, as in the EHLO reply. STARTTLS and AUTH stand there by themselves.
    pub extensions: Vec<String>,
    /// Extensions inside TLS, where they differ.
    pub extensions_in_tls: Option<Vec<String>>,
    /// Whether and how STARTTLS works.
    pub starttls: StartTls,
    /// TLS from the first octet on, with the lab CA's certificate.
    pub implicit_tls: bool,
    /// The user and password that AUTH accepts; none: AUTH is not offered.
    pub login: Option<(String, String)>,
    /// The mechanisms that are offered: PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS,
    /// XOAUTH2 and OAUTHBEARER are known.
    pub mechanisms: Vec<String>,
    /// The reply to a wrong password or token.
    pub login_refusal: String,
    /// The rounds of hashing that SCRAM asks for.
    pub scram_rounds: u32,
    /// SCRAM proves that it knows another password than the client's.
    pub scram_lies: bool,
    /// AUTH is offered inside TLS only.
    pub login_in_tls_only: bool,
    /// MAIL needs a login first.
    pub login_required: bool,
    /// The only senders that are taken beside the null one; none: all are.
    pub senders: Vec<String>,
    /// Replies in place of the usual ones; the first that applies counts.
    pub rules: Vec<Rule>,
    /// The first RCPT of a sender and recipient is answered with 451, until this time is over.
    pub greylist: Option<Duration>,
    /// MAIL after so many mails in a connection is answered with 421.
    pub mails_per_connection: Option<usize>,
    /// Without a command for so long after a mail, the connection ends, without a word.
    pub idle: Option<Duration>,
    /// RCPT after so many recipients of a mail is answered with 452.
    pub recipients_per_mail: Option<usize>,
    /// A content with a longer line is refused, in the words of Exim.
    pub line_max: Option<usize>,
    /// Contents are kept in the records. Off for the bench.
    pub keep_content: bool,
    /// Lines and reads of connections are kept in the records. Off for the bench.
    pub keep_dialogue: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        let extensions = [
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "SIZE 50000000",
        ];
        Self {
            greeting: "220 lab ESMTP".to_owned(),
            greeting_delay: Duration::ZERO,
            reply_delay: Duration::ZERO,
            tarpit: false,
            busy_above: None,
            extensions: extensions.map(str::to_owned).to_vec(),
            extensions_in_tls: None,
            starttls: StartTls::NotOffered,
            implicit_tls: false,
            login: None,
            login_refusal: "535 5.7.8 wrong user or password".to_owned(),
            mechanisms: ["PLAIN", "LOGIN"].map(str::to_owned).to_vec(),
            scram_rounds: 4096,
            scram_lies: false,
            login_in_tls_only: false,
            login_required: false,
            senders: Vec::new(),
            rules: Vec::new(),
            greylist: None,
            mails_per_connection: None,
            idle: None,
            recipients_per_mail: None,
            line_max: None,
            keep_content: true,
            keep_dialogue: true,
        }
    }
}

impl Behaviour {
    /// Offers exactly these extensions.
    pub fn extensions(&mut self, list: &[&str]) -> &mut Self {
        self.extensions = list.iter().map(|&e| e.to_owned()).collect();
        self
    }

    /// Wants a login, and offers exactly these mechanisms for it.
    pub fn mechanisms(&mut self, list: &[&str]) -> &mut Self {
        self.mechanisms = list.iter().map(|&m| m.to_owned()).collect();
        self
    }

    /// Offers an extension more.
    pub fn extension(&mut self, line: &str) -> &mut Self {
        self.extensions.push(line.to_owned());
        self
    }

    /// Answers a command with `reply` where its argument holds `text` (letter case is ignored; an
    /// empty text is in every argument).
    pub fn reply(&mut self, verb: Verb, text: &str, reply: &str) -> &mut Self {
        self.rules.push(Rule::new(verb, text, reply, ALWAYS));
        self
    }

    /// As [`Self::reply`], the first `times` times only.
    pub fn reply_times(&mut self, verb: Verb, text: &str, reply: &str, times: usize) -> &mut Self {
        self.rules.push(Rule::new(verb, text, reply, times));
        self
    }

    /// Drops the connection at a stage, the first `times` times.
    pub fn drop_at(&mut self, stage: Stage, times: usize) -> &mut Self {
        self.rules.push(Rule::new(Verb::Drop(stage), "", "", times));
        self
    }

    /// The extensions in force inside or outside TLS.
    pub(crate) fn extensions_for(&self, tls: bool) -> &[String] {
        match &self.extensions_in_tls {
            Some(list) if tls => list,
            Some(_) | None => &self.extensions,
        }
    }

    pub(crate) fn offers(&self, keyword: &str, tls: bool) -> bool {
        let same = |line: &String| {
            let word = line.split(' ').next().unwrap_or_default();
            word.eq_ignore_ascii_case(keyword)
        };
        self.extensions_for(tls).iter().any(same)
    }

    /// The reply of the first rule for a command, which is used up by that.
    pub(crate) fn ruled(&self, verb: Verb, argument: &str) -> Option<&str> {
        let rule = self.rules.iter().find(|r| r.applies(verb, argument))?;
        rule.take().then_some(rule.reply.as_str())
    }

    pub(crate) fn drops(&self, stage: Stage) -> bool {
        self.ruled(Verb::Drop(stage), "").is_some()
    }
}

/// How STARTTLS works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// It is not in the EHLO reply, and is refused.
    NotOffered,
    /// With a certificate of the lab's CA for the host's name.
    Good,
    /// With a certificate that nobody vouches for.
    SelfSigned,
    /// With a certificate of the lab's CA for another name.
    WrongName,
    /// With the certificate that the test gave ([`MxHost::identify`](crate::MxHost::identify)).
    Given,
    /// The usual first message of TLS, which is larger than a packet, is met with silence and the end
    /// of the connection; a small one with the lab CA's certificate.
    SmallHelloOnly,
    /// Offered, and refused with 454.
    Refused,
    /// After 220 come octets that are no TLS.
    Garbage,
    /// After 220 the connection is closed.
    Closed,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// EHLO, with its argument.
    Ehlo,
    /// HELO, with its argument.
    Helo,
    /// STARTTLS.
    StartTls,
    /// AUTH, with its argument.
    Auth,
    /// MAIL, with its argument: `FROM:<…> …`.
    Mail,
    /// RCPT, with its argument: `TO:<…> …`.
    Rcpt,
    /// DATA: the reply in place of 354.
    Data,
    /// BDAT: the reply of a host that does not know it, and takes what follows for commands.
    Bdat,
    /// The end of the content, by DATA or BDAT, with all recipients: `<…> <…>`.
    Final,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// The connection is dropped at a stage; such a rule has no reply.
    Drop(Stage),
}

/// Where a connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In place of the greeting.
    Greeting,
    /// After the greeting, in place of the reply to EHLO.
    Ehlo,
    /// In place of the reply to MAIL.
    Mail,
    /// In place of the reply to RCPT.
    Rcpt,
    /// After 354, before any content is read.
    Data,
    /// All content is read, no reply is given.
    Final,
}

/// A reply in place of the usual one.
#[derive(Debug, Clone)]
pub struct Rule {
    verb: Verb,
    text: String,
    reply: String,
    left: Arc<AtomicUsize>,
}

impl Rule {
    /// Answers a command whose argument holds `text` with `reply`, so many times.
    #[must_use]
    pub fn new(verb: Verb, text: &str, reply: &str, times: usize) -> Self {
        Self {
            verb,
            text: text.to_ascii_lowercase(),
            reply: reply.to_owned(),
            left: Arc::new(AtomicUsize::new(times)),
        }
    }

    fn applies(&self, verb: Verb, argument: &str) -> bool {
        self.verb == verb
            && self.left.load(Ordering::Relaxed) > 0
            && (self.text.is_empty() || argument.to_ascii_lowercase().contains(&self.text))
    }

    fn take(&self) -> bool {
        let less = |left: usize| match left {
            ALWAYS => Some(ALWAYS),
            left => left.checked_sub(1),
        };
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}
