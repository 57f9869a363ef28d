//! The configuration as it stands in the file. Each key's comment is its reference entry: meaning,
//! unit, default.

mod http;
mod process;
pub(crate) mod quantity;
mod senders;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::relay::RawRelay;
pub(crate) use http::{Console, Http};
pub(crate) use process::Sandbox;
pub(crate) use quantity::Quantity;
pub(crate) use senders::{ReturnPath, Sender, SenderRewriting};

pub(crate) type Text = Option<Spanned<String>>;
pub(crate) type Number = Option<Spanned<u32>>;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    /// Other files to include here, such as `["conf.d/*.toml"]`: see above. Default: none.
    pub(crate) include: Vec<String>,
    /// This server's name: in EHLO, Received and reports. Default: the computer's name.
    pub(crate) hostname: Text,
    /// Where the queue is kept. Default: `/var/lib/sendoff`; if there is none, an ordinary user's own
    /// `~/.local/state/sendoff` (`$XDG_STATE_HOME/sendoff`).
    pub(crate) data_dir: Text,
    /// The user that the server switches to after root has started it and its ports are open; `root` keeps root's
    /// rights. Default: `sendoff`, if there is such a user.
    pub(crate) user: Option<String>,
    /// Which files the process may access.
    pub(crate) sandbox: Sandbox,
    /// Contact address shown in failure messages. Default: `postmaster@` and the hostname.
    pub(crate) postmaster: Text,
    /// A section with a line for each local name: `root = "you@example.com"`, or a list of addresses. A
    /// name applies at the hostname, at `localhost` and at all local domains; `"info@example.com"` applies
    /// to that address only. The value may be another alias.
    pub(crate) aliases: BTreeMap<String, Spanned<OneOrMany>>,
    /// Addresses where mail is accepted by SMTP; any number. Default: one at 127.0.0.1:2525.
    pub(crate) listener: Option<Vec<Spanned<Listener>>>,
    /// What is corrected in mail submitted by its authors, and what they may do.
    pub(crate) submission: Submission,
    /// How many recipients may be sent to within a period. Counts survive a restart, except those per minute.
    pub(crate) quota: Quota,
    /// Certificates.
    pub(crate) tls: Tls,
    /// Who may log in to send.
    pub(crate) users: Users,
    /// The HTTP API: mail from programs, queue commands, metrics.
    pub(crate) console: Console,
    /// Addresses where HTTP is answered, each with what it answers; any number. With one, the default of
    /// `console.address` is not opened.
    pub(crate) http: Vec<Spanned<Http>>,
    /// Mail for local domains.
    pub(crate) local: Local,
    pub(crate) queue: Queue,
    /// Mail from programs on this computer, sent with the `sendmail` command.
    pub(crate) sendmail: Sendmail,
    /// Limits for incoming mail and connections.
    pub(crate) intake: Intake,
    /// Outgoing mail.
    pub(crate) outgoing: Outgoing,
    /// The sender that other servers see instead of the author, so that bounces come to this server and are
    /// processed; reports of this server still go to the author.
    pub(crate) return_path: ReturnPath,
    /// Sender rewriting (SRS) for mail that comes in for a local domain and leaves again.
    pub(crate) srs: SenderRewriting,
    /// Other senders for mail that goes by a relay (`outgoing.relay`) or the server of a Via SMTP rule, in MAIL and
    /// in From, Sender, Resent-From and Resent-Sender; any number, and the closest match counts. Mail that stays
    /// here, or goes to the hosts of its recipients, keeps its senders.
    pub(crate) sender: Vec<Spanned<Sender>>,
    /// The suppression list: recipients to whom no more mail is sent.
    pub(crate) suppression: Suppression,
    /// How the replies of other servers are understood, and what is done about them.
    pub(crate) replies: Replies,
    /// The DNS servers to use.
    pub(crate) dns: Dns,
    pub(crate) tls_reports: TlsReports,
    /// What happened to mail, for programs: see docs/webhooks.md.
    pub(crate) events: Events,
    /// Webhooks: URLs that get events by HTTP; any number.
    pub(crate) webhook: Vec<Spanned<Webhook>>,
    /// Keys that mail is signed with (DKIM); any number, and all that are in force for an author's
    /// domain sign. `sendoff dkim generate` makes one.
    pub(crate) dkim: Vec<Spanned<Dkim>>,
    /// Addresses that mail leaves from; any number.
    pub(crate) source: Vec<Spanned<Source>>,
    /// Which mail leaves from which pool of them; any number, and the first that matches decides. A
    /// `[[domain]]` rule with `sources` goes before.
    pub(crate) source_rule: Vec<Spanned<SourceRule>>,
    /// Rules for destinations; any number.
    pub(crate) domain: Vec<Spanned<DomainRule>>,
    /// The log.
    pub(crate) log: Log,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listener {
    /// Address and port. Default: `127.0.0.1:2525`.
    pub(crate) address: Text,
    /// `none`, `starttls` or `implicit`. Default: `none`.
    pub(crate) tls: Text,
    /// `required`, `optional` or `none`. Default: `optional`.
    pub(crate) auth: Text,
    /// Networks that may send without a login. Default: `127.0.0.0/8` and `::1`.
    pub(crate) networks: Option<Vec<Spanned<String>>>,
    /// Networks of proxies that report their clients by the PROXY protocol; they must send its header, and
    /// are trusted. From others it is not read. Default: none.
    pub(crate) proxies: Option<Vec<Spanned<String>>>,
    /// Mail comes from its authors, so `[submission]` applies. Default: true, unless `auth` is `none`.
    pub(crate) submission: Option<bool>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Submission {
    /// Add a Date if there is none. Default: true.
    pub(crate) add_date: Option<bool>,
    /// Add a Message-ID if there is none. Default: true.
    pub(crate) add_message_id: Option<bool>,
    /// Remove Bcc fields. Default: true.
    pub(crate) remove_bcc: Option<bool>,
    /// Users may send from their own addresses only (`sendoff user senders`). Default: true.
    pub(crate) check_sender: Option<bool>,
    /// Which addresses a user with own senders may have in the header: `from`, only own addresses in From
    /// and Sender; `sender`, also other authors, with an own address in Sender or Resent-From; `off`,
    /// anything. Default: `from`.
    pub(crate) check_from: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Quota {
    /// Recipients of each user, such as `["500/hour", "2000/day"]`. Default: no limit.
    pub(crate) user: Option<Vec<Spanned<String>>>,
    /// Recipients of each user who logs in by a password, which could be stolen; not of keys, networks and
    /// programs on this computer. `[]`: no limit. Default: `["1000/day"]`, where `user` is not set.
    pub(crate) login: Option<Vec<Spanned<String>>>,
    /// Recipients of each sender's address. Default: no limit.
    pub(crate) address: Vec<Spanned<String>>,
    /// Recipients of each sender's domain. Default: no limit.
    pub(crate) domain: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// PEM file with this server's certificate, followed by its chain.
    pub(crate) certificate: Text,
    /// PEM file with its private key.
    pub(crate) private_key: Text,
    /// PEM files with certificates to trust in addition to the system's.
    pub(crate) extra_roots: Vec<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Users {
    /// The users' file. Default: `users.toml` in `data_dir`.
    pub(crate) file: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Local {
    /// Domains whose mail is delivered here.
    pub(crate) domains: Vec<Spanned<String>>,
    /// `maildir:PATH` with `{domain}` and `{user}`, `lmtp:HOST:PORT` or `lmtp:/SOCKET`.
    pub(crate) deliver: Text,
    /// File of further aliases, such as `/etc/aliases` (`aliases(5)`): addresses and other aliases; programs, files and
    /// included lists are left out. Read at the start and at each reload. Default: none.
    pub(crate) aliases_file: Text,
    /// Create a Maildir when an address gets its first mail; false: only existing mailboxes get mail. Default: true.
    pub(crate) create: Option<bool>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// Size of new queue files. Default: `128MiB`.
    pub(crate) segment_size: Quantity,
    /// Mail is refused while the disk has less free space than this. Default: `512MiB`.
    pub(crate) reserve: Quantity,
    /// How long the history of finished mail is kept. Default: `30d`.
    pub(crate) history: Quantity,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sendmail {
    /// The directory through which `sendmail` submits mail; empty: `sendmail` is off. Default: `drop` in `data_dir`.
    pub(crate) drop_dir: Text,
    /// Whether users may name any sender (`-f`, and From in the header), not only themselves; root always may. With
    /// `false` no client on this computer is trusted by SMTP for its address: it must log in, and may do so without TLS. Default: true.
    pub(crate) any_sender: Option<bool>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Intake {
    /// Client connections at once, limited by the number of files that the process may open. When all are in use, idle connections are closed to make room. Default: 2000.
    pub(crate) max_connections: Option<usize>,
    /// Client connections at once from one address, or one IPv6 /64. Default: 200.
    pub(crate) max_connections_per_source: Option<usize>,
    /// Client connections at once from one network (an IPv4 /24 or an IPv6 /48) that is not in the listener's `networks`. Default: half of `max_connections`.
    pub(crate) max_connections_per_network: Option<usize>,
    /// Memory for mail that is being received, in addition to 1 MiB per connection. One address or user may use a quarter of it, one network half. Default: a quarter of the machine's memory, 128MiB to 1GiB.
    pub(crate) memory: Quantity,
    /// Maximum age of a session; it is closed between two messages. Default: `4h`.
    pub(crate) max_session_age: Quantity,
    /// Recipients per message. Default: 1000.
    pub(crate) max_recipients: Option<usize>,
    /// Octets per line of content. Default: 102400.
    pub(crate) max_line_length: Option<usize>,
    /// Unknown commands allowed before the client is disconnected. Default: 20.
    pub(crate) max_bad_commands: Option<u32>,
    /// Permanently refused recipients allowed before the client is disconnected. Each accepted message halves the count for clients that may send, and reduces it by two for others. Default: 100.
    pub(crate) max_refused_recipients: Option<u32>,
    /// A message with more Received fields than this is refused as a mail loop. Default: 50.
    pub(crate) max_received: Option<usize>,
    /// Minimum rate in octets per second at which a client must send content; it may pause for up to 110 s. 0: no minimum. Default: 100.
    pub(crate) min_rate: Option<u64>,
    /// How long to wait for a command. Default: `5m`.
    pub(crate) command_timeout: Quantity,
    /// How long to wait for more content. Default: `3m`.
    pub(crate) content_timeout: Quantity,
    /// What to do with a bare CR or LF in the content: `refuse` the mail or `normalise` it to CRLF. Clients on this computer that end their first line in LF may end
    /// every line so. Default: `refuse`.
    pub(crate) bare_newline: Text,
    /// What to do with a NUL in content sent by SMTP (except BINARYMIME): `refuse` the mail or `remove` the NUL. Default: `refuse`.
    pub(crate) nul: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Outgoing {
    /// Send mail; false: mail is accepted and waits. Default: true.
    pub(crate) enabled: Option<bool>,
    /// `independent` or `relay`. Default: `independent`.
    pub(crate) mode: Text,
    /// Retries after the first attempt. Default: 5.
    pub(crate) resend_attempts: Number,
    /// The wait between two attempts. Default: `5m`.
    pub(crate) resend_wait: Quantity,
    /// `internet` or a list of waits; instead of the two above.
    pub(crate) plan: Option<Spanned<PlanText>>,
    /// Stop retrying at this age. Default: none.
    pub(crate) lifetime: Quantity,
    /// Connections to other servers at once, or `auto`. Default: `auto`.
    pub(crate) max_connections: Option<Spanned<NumberOrText>>,
    /// Connections at once to one site, or to all hosts of a known provider together. Default: 20.
    pub(crate) max_connections_per_site: Number,
    /// Memory for contents read from the queue to be sent. Default: an eighth of the machine's memory, 64MiB to 4GiB.
    pub(crate) memory: Quantity,
    /// Never connect to mail hosts whose addresses are in these networks. Names you can use: `default` (loopback, unspecified, link-local,
    /// multicast) and `private` (RFC 1918, 100.64.0.0/10, unique local, NAT64's local prefix). An IPv4
    /// address within an IPv6 address (mapped, NAT64) is checked as IPv4. Default: `["default"]`.
    pub(crate) refuse_networks: Option<Vec<Spanned<String>>>,
    /// Pools, sources, or addresses to send from, unless a rule names others. Default: the system chooses.
    pub(crate) source_addresses: Vec<Spanned<String>>,
    /// Try only the first MX host that accepts the connection. Default: false.
    pub(crate) first_mx_only: bool,
    /// If a domain has no MX, use its parent domain's MX. Default: false.
    pub(crate) parent_domain_mx: bool,
    /// The port of MX hosts. Default: 25.
    pub(crate) smtp_port: Option<u16>,
    /// `none`, `opportunistic`, `require` or `verify`. Default: `opportunistic`.
    pub(crate) tls: Text,
    /// Hosts whose domains publish TLSA records, and sign them, must prove themselves by these (DANE,
    /// RFC 7672); a relay, or the server of a Via SMTP rule, by those of its own name. Default: true.
    pub(crate) dane: Option<bool>,
    /// Hosts must meet the policy that their domain publishes (MTA-STS, RFC 8461), where DANE does not
    /// say more. Default: true.
    pub(crate) mta_sts: Option<bool>,
    /// The port of policy hosts. Default: 443.
    pub(crate) mta_sts_port: Option<u16>,
    /// PEM file with a client certificate and its chain, for servers that ask for one.
    pub(crate) client_certificate: Text,
    /// PEM file with its private key.
    pub(crate) client_key: Text,
    /// Maximum size of a message. Default: `50MB`.
    pub(crate) max_message_size: Quantity,
    /// Whether senders get failure messages. Default: true.
    pub(crate) failure_messages: Option<bool>,
    /// Age at which the sender gets a notice that a message is late; empty: never. Default: `4h`.
    pub(crate) delay_notice_after: Quantity,
    /// `defer` or `fail` when every host greets with 5yz. Default: `defer`.
    pub(crate) on_5xx_greeting: Text,
    /// Mail that a host cannot take as it is (8-bit content without 8BITMIME, a header outside
    /// ASCII without SMTPUTF8, a binary body without BINARYMIME) is converted even if it bears a DKIM signature of others, which is then
    /// no longer valid; false: it fails with 5.6.3 or 5.6.7. Signatures by keys of `[[dkim]]`
    /// are made again. Parts signed by S/MIME or PGP are never changed. Default: true.
    pub(crate) convert_signed: Option<bool>,
    /// Lines of more than 998 octets, which some hosts refuse (Exim by default): `encode` them before signing, in
    /// mail from its authors that bears no DKIM signature of others (parts in quoted-printable or base64, header
    /// fields folded); other mail only where a host refuses it for that, as `convert_signed` says. Messages within
    /// and parts signed or encrypted by S/MIME or PGP stay. `keep`: nothing is changed. Default: `encode`.
    pub(crate) long_lines: Text,
    /// How long to wait for a host, at each stage (RFC 5321 §4.5.3.2).
    pub(crate) timeouts: Timeouts,
    /// The server that all mail is sent to in Relay Mode.
    pub(crate) relay: Option<Spanned<RawRelay>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Suppression {
    /// Whether failures and complaints put recipients on the list. Entries that administrators add count in
    /// any case. Default: false.
    pub(crate) enabled: bool,
    /// The enhanced codes of failures that put a recipient on the list. Default: `["5.1.1", "5.1.6", "5.1.10"]`: no
    /// such mailbox, moved, accepts no mail.
    pub(crate) codes: Option<Vec<Spanned<String>>>,
    /// Kinds of failures that put a recipient on the list, whatever their code is, such as `["no_such_user"]`. Default: none.
    pub(crate) kinds: Vec<Spanned<String>>,
    /// The number of failures needed. Default: 1.
    pub(crate) after: Number,
    /// Whether complaints put a recipient on the list. Default: true.
    pub(crate) complaints: Option<bool>,
    /// How long entries stay; empty: until somebody removes them. Default: `30d`.
    pub(crate) expires: Quantity,
    /// The senders that an entry applies to: `sender_domain`, `sender`, `user` or `all`. Default: `sender_domain`.
    pub(crate) scope: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Replies {
    /// A file of rules and actions of your own, in force before those that come with Sendoff; one with
    /// the same `id` takes its place (docs/replies.md). Default: none.
    pub(crate) rules: Text,
    /// Rules and actions that are switched off, by `id`. Default: none.
    pub(crate) disable: Vec<Spanned<String>>,
    /// Whether the actions that come with Sendoff are in force: sites of large providers are slowed for
    /// half an hour when they limit the rate. Default: true.
    pub(crate) actions: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum PlanText {
    Name(String),
    List(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum NumberOrText {
    Number(u32),
    Text(String),
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timeouts {
    /// For the connection. Default: `30s`.
    pub(crate) connect: Quantity,
    /// For the greeting. Default: `5m`.
    pub(crate) greeting: Quantity,
    /// For the answer to EHLO or HELO. Default: `5m`.
    pub(crate) helo: Quantity,
    /// For the answer to MAIL. Default: `5m`.
    pub(crate) mail: Quantity,
    /// For the answer to RCPT. Default: `5m`.
    pub(crate) rcpt: Quantity,
    /// For the answer to DATA. Default: `2m`.
    pub(crate) data_init: Quantity,
    /// For the host to accept more of the content; it starts again whenever the host accepts some. The complete content may take this long plus a second for each 500 octets. Default: `3m`.
    pub(crate) data_block: Quantity,
    /// For the answer to the end of the content. Default: `10m`.
    pub(crate) data_done: Quantity,
    /// How long an idle connection is kept open. Default: `5s`.
    pub(crate) idle: Quantity,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dns {
    /// DNS servers: address, address:port or host name. Default: those of this computer.
    pub(crate) servers: Vec<String>,
    /// Use the computer's DNS servers if those given fail. Default: true.
    pub(crate) detect_if_given_fail: Option<bool>,
    /// How long to wait for an answer. Default: `5s`.
    pub(crate) timeout: Quantity,
    /// Validate answers (DNSSEC) if the servers return signatures. Default: true.
    pub(crate) dnssec: Option<bool>,
    /// A file of DNSKEY records that are trusted for the root. Default: the root's own keys.
    pub(crate) trust_anchor: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dkim {
    /// The domain whose mail is signed: that of the address in From.
    pub(crate) domain: Text,
    /// The key's name: its record is at `SELECTOR._domainkey.DOMAIN`.
    pub(crate) selector: Text,
    /// The private key: RSA from 2048 bits, or Ed25519, in PEM (PKCS #8).
    pub(crate) key_file: Text,
    /// It also signs for subdomains that have no key. Default: false.
    pub(crate) subdomains: bool,
    /// It signs from this time on: a date (midnight UTC) or a time (RFC 3339). Default: immediately.
    pub(crate) from: Text,
    /// It signs until this time; leave its record published for some weeks. Default: no end.
    pub(crate) until: Text,
    /// How long a signature is valid (`x=`). Default: no end.
    pub(crate) lifetime: Quantity,
    /// Of header and body: `relaxed` tolerates changed white space, `simple` does not. Default: `relaxed/relaxed`.
    pub(crate) canonicalization: Text,
    /// Header fields that are covered, and to which none may be added. Default: From, To, Cc,
    /// Subject, Date, Message-ID, Reply-To, In-Reply-To, References, MIME-Version, Content-Type,
    /// Content-Transfer-Encoding.
    pub(crate) sealed_fields: Option<Vec<String>>,
    /// Header fields that are covered if they exist. Default: Sender, the `List-` fields, the
    /// `Resent-` fields, TLS-Required, Auto-Submitted.
    pub(crate) covered_fields: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsReports {
    /// Report to domains that ask for it, once a day, how TLS with their hosts went (TLS-RPT, RFC 8460).
    /// Default: true.
    pub(crate) enabled: Option<bool>,
    /// The organisation that reports. Default: `hostname`.
    pub(crate) organization: Text,
    /// Whom to ask about a report: an address or a URL. Default: `postmaster`.
    pub(crate) contact: Text,
    /// The sender of reports by mail; sign its domain (`[[dkim]]`). Default: `postmaster`.
    pub(crate) from: Text,
    /// Reports are sent at a random time within this period after midnight UTC.
    /// Default: `4h`.
    pub(crate) delay: Quantity,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Events {
    /// How long events are kept for `sendoff events` and `GET /api/v1/events`. Without a webhook and
    /// without this, no events are kept. Default: until every webhook has them.
    pub(crate) keep: Quantity,
    /// How many events may wait for webhooks, about 300 octets on disk each; above that, the oldest are set
    /// aside: logged, and sent only by `sendoff webhook replay`. Default: 2000000.
    pub(crate) max_waiting: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhook {
    /// Its name, in the log and for `sendoff webhook`.
    pub(crate) name: Text,
    /// Where events go by POST: `https://…`; `http://…` is for this computer.
    pub(crate) url: Text,
    /// What bodies are signed with: `whsec_` and the base64 of 24 to 64 octets (`sendoff webhook secret`).
    pub(crate) secret: Text,
    /// A file with such secrets, one per line. Every secret signs, so that one can replace another.
    pub(crate) secret_file: Text,
    /// Which events are sent: `accepted`, `deferred`, `delivered`, `failed`, `bounced`, `complained`,
    /// `suppressed`, `quota`. Default: all.
    pub(crate) events: Option<Vec<Spanned<String>>>,
    /// Only of senders at these domains or below (`.example.com`), and their suppressions. Default: all.
    pub(crate) sender_domains: Vec<Spanned<String>>,
    /// Only of recipients at these domains, or below them. Default: all.
    pub(crate) recipient_domains: Vec<Spanned<String>>,
    /// Maximum number of events in one request, up to 1000. Default: 100.
    pub(crate) batch: Number,
    /// How long to wait for the response. Default: `20s`.
    pub(crate) timeout: Quantity,
    /// Delays after consecutive failures; the last one repeats. A longer Retry-After is obeyed. Default:
    /// `["5s", "30s", "2m", "10m", "30m", "1h"]`.
    pub(crate) waits: Option<Vec<Spanned<String>>>,
    /// Events that could not be sent for this long are set aside: counted, logged, and sent again only by
    /// `sendoff webhook replay`. Default: `3d`.
    pub(crate) give_up: Quantity,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DomainRule {
    /// `domain`, `.domain` for its subdomains, or `*`.
    #[serde(rename = "match")]
    pub(crate) matching: Text,
    /// Deliver by this server; Independent Mode only.
    pub(crate) via_smtp: Text,
    /// Retries in addition to the general number.
    pub(crate) additional_resend_attempts: Number,
    /// Retries after the first attempt, instead of the general number.
    pub(crate) resend_attempts: Number,
    /// The wait between two attempts, instead of the general one.
    pub(crate) resend_wait: Quantity,
    /// `internet` or a list of waits, instead of the general plan.
    pub(crate) plan: Option<Spanned<PlanText>>,
    /// Recipients of the domain become recipients of this one, when mail is accepted.
    pub(crate) convert_domain: Text,
    /// Recipients of the domain become this one.
    pub(crate) convert_address: Text,
    /// `none`, `opportunistic`, `require` or `verify`, instead of the general setting.
    pub(crate) tls: Text,
    /// Connections at once; 0: no limit of its own.
    pub(crate) max_connections: Number,
    /// Messages in a time, such as `100/min`; empty: no limit of its own.
    pub(crate) max_message_rate: Text,
    /// Recipients per transaction; 0: no limit of its own.
    pub(crate) max_recipients: Number,
    /// The pool of `[[source]]` addresses that its mail leaves from, whoever sends it.
    pub(crate) sources: Text,
    /// Extensions of SMTP that are not used even if its hosts offer them, such as `["CHUNKING"]`.
    pub(crate) ignore_extensions: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Source {
    /// Its name, in the log and for administrators. Default: the address.
    pub(crate) name: Text,
    /// An address of this computer, or of the proxy. The pool needs one of IPv4 for hosts with IPv4.
    pub(crate) address: Text,
    /// The name said in EHLO by connections from it; DNS should have it for the address. Default: `hostname`.
    pub(crate) ehlo: Text,
    /// Addresses of one pool replace each other. Default: `default`.
    pub(crate) pool: Text,
    /// Its share of the pool's messages, 0 to 1000; 0: only where no other serves. Default: 1.
    pub(crate) weight: Number,
    /// The first day of its warm-up, in UTC, such as `2026-12-01`. Before that day nothing is sent from it,
    /// and on each day of the plan only a limited number of messages to each site; mail above that is sent
    /// from others of the pool, or waits for the next day if there are none. Default: none, no limit.
    pub(crate) warm_up: Text,
    /// How many messages may be sent to each site on the first day, the second, and so on; after the last
    /// day there is no limit. A message to two recipients at a site counts as two. Default: 50, and twice as many each
    /// day for 12 days.
    pub(crate) warm_up_plan: Vec<Spanned<u32>>,
    /// A proxy that connects from the address: `socks5://ADDRESS:PORT`, or `proxy://ADDRESS:PORT`
    /// for the PROXY protocol (version 2). Default: none.
    pub(crate) proxy: Text,
    /// Log in at the SOCKS5 proxy under this name.
    pub(crate) proxy_username: Text,
    /// The password there.
    pub(crate) proxy_password: Text,
    /// A file that contains the password.
    pub(crate) proxy_password_file: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceRule {
    /// The sender's domain: `domain`, `.domain` for its subdomains, or `*`.
    pub(crate) sender_domain: Text,
    /// The user who submitted the mail.
    pub(crate) user: Text,
    /// A header field, with its value (`X-Stream: news`) or with any (`X-Stream`).
    pub(crate) header: Text,
    /// The pool that such mail leaves from; all conditions above must match.
    pub(crate) pool: Text,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Also log every connection, command, reply and DNS query. Default: false.
    pub(crate) detailed: bool,
    /// `text` or `json`. Default: `text`.
    pub(crate) format: Text,
    /// The file; `-` is standard output. Default: `log/outgoing.log` in `data_dir`.
    pub(crate) file: Text,
    /// Start a new file at this size. Default: `100MB`.
    pub(crate) rotate_at: Quantity,
    /// How many old files to keep. Default: 10.
    pub(crate) keep: Option<u32>,
}
