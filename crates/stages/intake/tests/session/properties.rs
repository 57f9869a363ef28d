//! What holds for every listener, every client and every cut of the stream.

use intake::{
    Auth, FixUps, Listener, LocalDomains, Paths, Policy, Quotas, ReturnPaths, RewriteRule,
    Rewriting, Senders, Srs, Tls,
};
use std::time::Duration;

use mail::Message;
use proptest::prelude::*;
use smtp::extension::{Extension, Extensions};

use crate::shell::{ANN, INSIDE, OUTSIDE, Shell, address as address_of, policy};

/// Pieces of sessions, in order and out of it, that need no handshake.
const PIECES: &[&str] = &[
    "EHLO c\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@b.example>\r\n",
    "MAIL FROM:<> BODY=8BITMIME SIZE=10\r\n",
    "MAIL FROM:<a@b.example> SIZE=9999999\r\n",
    "MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n",
    "RCPT TO:<c@d.example>\r\n",
    "RCPT TO:<e@local.example>\r\n",
    "RCPT TO:<\r\n",
    "DATA\r\nS: x\r\n\r\n..x\r\n.\r\n",
    "DATA\r\nx\n.\r\ny\r\n.\r\n",
    "DATA\r\n.\r\n",
    "BDAT 3\r\na\r\n",
    "BDAT 4 LAST\r\nb\r\nc",
    "BDAT 0 LAST\r\n",
    "BDAT 5 LAST\r\n\r\n\n\0\r",
    "BDAT 2\r\n\r\r",
    "RSET\r\n",
    "NOOP\r\n",
    "NOOP\n",
    "VRFY x\r\n",
    "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
    "AUTH LOGIN\r\n",
    "*\r\n",
    "YW5u\r\n",
    "c2VjcmV0\r\n",
    "FROB\r\n",
    "QUIT\r\n",
];

fn session(wire: &[u8], piece: usize, tls: bool) -> (String, Vec<Message>, bool) {
    let mut policy = policy();
    policy.limits.message_size = 1000;
    policy.limits.bad_commands = 5;
    let mut shell = Shell::with_tls(policy, INSIDE, tls);
    wire.chunks(piece).for_each(|part| shell.send(part));
    (shell.heard(), shell.accepted, shell.closed)
}

fn listener() -> impl Strategy<Value = (Tls, Auth, Vec<&'static str>, bool, bool)> {
    (
        prop::sample::select(vec![Tls::None, Tls::StartTls, Tls::Implicit]),
        prop::sample::select(vec![Auth::Required, Auth::Optional, Auth::None]),
        prop::sample::subsequence(
            vec!["10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "192.0.2.8/30"],
            0..4,
        ),
        any::<bool>(),
        any::<bool>(),
    )
}

/// Logins that must not succeed: PLAIN, LOGIN and SCRAM with wrong passwords and proofs, cut short,
/// and answered out of order.
const WRONG_LOGINS: &[&str] = &[
    "AUTH PLAIN AGFubgB3cm9uZw==\r\n",
    "AUTH PLAIN AGFubgA=\r\n",
    "AUTH PLAIN =\r\n",
    "AUTH LOGIN\r\nYW5u\r\nd3Jvbmc=\r\n",
    "AUTH LOGIN YW5u\r\n\r\n",
    "AUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmM=\r\nYz1iaXdzLHI9YWJjbm9uY2UscD1BUUVCQVFFQkFRRUJBUUVCQVFFQkFRRUJBUUVCQVFFQkFRRUJBUUVCQVFFPQ==\r\n\r\n",
    "AUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmM=\r\n\r\n\r\n",
    "AUTH SCRAM-SHA-256\r\nbiwsbj1hbm4scj1hYmM=\r\n*\r\n",
    "AUTH SCRAM-SHA-256\r\nAGFubgBzZWNyZXQ=\r\n",
    "AUTH EXTERNAL YW5u\r\n",
];

/// Settings that have nothing to do with who may send where.
#[derive(Debug, Clone)]
struct Settings {
    proxies: Vec<&'static str>,
    fix_ups: FixUps,
    check_sender: bool,
    senders: Senders,
    quotas: Quotas,
    rules: Vec<RewriteRule>,
    extensions: bool,
    /// Return paths and SRS.
    paths: bool,
}

/// Return paths and SRS, with a secret that no client knows.
fn paths() -> Paths {
    Paths {
        return_paths: Some(ReturnPaths {
            domain: "bounces.example".parse().unwrap(),
            per_recipient: true,
            senders: Senders::any(),
            users: Vec::new(),
            valid: Duration::from_secs(86_400),
            feedback: None,
        }),
        srs: Some(Srs {
            domain: "srs.example".parse().unwrap(),
            valid_days: 1000,
            relays: Vec::new(),
            own_domains: Vec::new(),
        }),
        keys: "8c6f2a9b5d7e1043f6a8b0c2d4e6f801".parse().unwrap(),
    }
}

impl Settings {
    fn put_into(&self, policy: &mut Policy) {
        policy.check_sender = self.check_sender;
        policy.quotas = self.quotas.clone();
        policy.rewriting = Rewriting::new(self.rules.clone());
        policy.fix_ups = self.fix_ups;
        if self.paths {
            policy.paths = paths();
        }
        if self.extensions {
            let all = Extension::ALL.into_iter();
            policy.extensions = all.fold(policy.extensions.clone(), Extensions::with);
        }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let quota = |text: &str| vec![text.parse().unwrap()];
    let rule = |matching: &str, address: Option<&str>, domain: Option<&str>| RewriteRule {
        matching: matching.parse().unwrap(),
        convert_address: address.map(address_of),
        convert_domain: domain.map(|d| d.parse().unwrap()),
    };
    let rules = vec![
        rule("d.example", None, Some("local.example")),
        rule("*", Some("all@local.example"), None),
        rule(".example", None, Some("local.example")),
        rule("local.example", None, Some("partner.example")),
    ];
    (
        prop::sample::subsequence(vec!["192.0.2.0/24", "127.0.0.0/8", "2001:db8::/32"], 0..4),
        prop::sample::select(vec![FixUps::ALL, FixUps::NONE]),
        any::<bool>(),
        prop::sample::select(vec![
            Senders::any(),
            Senders::new(Vec::new()),
            Senders::new(vec!["@local.example".parse().unwrap()]),
        ]),
        prop::sample::select(vec![
            Quotas::default(),
            Quotas {
                user: quota("1000/day"),
                login: quota("3/day"),
                address: quota("1/day"),
                domain: quota("2/hour"),
            },
        ]),
        prop::sample::subsequence(rules, 0..5),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(proxies, fix_ups, check_sender, senders, quotas, rules, extensions, paths)| {
                Settings {
                    proxies,
                    fix_ups,
                    check_sender,
                    senders,
                    quotas,
                    rules,
                    extensions,
                    paths,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_cut_of_the_stream_changes_nothing(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..30),
        piece in 1usize..40,
        tls in any::<bool>(),
    ) {
        let wire = pieces.concat();
        let whole = session(wire.as_bytes(), usize::MAX, tls);
        prop_assert_eq!(&session(wire.as_bytes(), 1, tls), &whole);
        prop_assert_eq!(&session(wire.as_bytes(), piece, tls), &whole);
    }

    #[test]
    fn no_octets_make_a_session_panic(
        wire in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40
    ) {
        session(&wire, piece, false);
    }

    #[test]
    fn nobody_from_outside_sends_anywhere_but_here(
        (tls, auth, networks, tls_available, has_store) in listener(),
        settings in settings(),
        peer in prop::sample::select(vec![OUTSIDE, "[::ffff:192.0.2.7]:25", "[2001:db8::7]:4000"]),
        handshake in any::<bool>(),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6),
        to in prop::sample::select(vec![
            "c@d.example", "c@local.example.d.example", "c@xlocal.example", "\"x@local.example\"@d.example",
            "x%d.example@e.example", "@local.example:c@d.example", "c@[192.0.2.1]", "c@[IPv6:::1]",
            // What only this server may have made, and has not.
            "x@bounces.example", "b+06fhz3m8000.0.0123456789abcdef@bounces.example",
            "SRS0=01234567=AB=d.example=c@srs.example", "SRS1=01234567=d.example==x=AB=e.example=c@srs.example",
            "SRS0=01234567=AB=local.example=c@bounces.example",
        ]),
        logins in prop::collection::vec(prop::sample::select(WRONG_LOGINS.to_vec()), 0..2),
    ) {
        let mut policy = policy();
        policy.tls_available = tls_available;
        policy.local = LocalDomains::new(["local.example".parse().unwrap()], has_store);
        settings.put_into(&mut policy);
        policy.listeners[0] = Listener {
            tls, auth, networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            // The session is given the client that a proxy has named: that the proxy's own address is
            // believed changes nothing for it.
            proxies: settings.proxies.iter().map(|n| n.parse().unwrap()).collect(),
            fix_ups: settings.fix_ups,
        };
        let mut shell = Shell::with_tls(policy, peer, tls == Tls::Implicit);
        shell.senders = settings.senders.clone();
        let noise = pieces.concat().replace(ANN, "AGFubgB3cm9uZw==").replace("c2VjcmV0", "d3Jvbmc=");
        shell.say(&noise);
        shell.say("*\r\n.\r\nRSET\r\nEHLO c\r\n");
        if handshake {
            shell.say("STARTTLS\r\n");
            if shell.handshake {
                shell.start_tls();
                shell.say("EHLO c\r\n");
            }
        }
        for login in logins {
            let said = shell.say(login);
            prop_assert!(!said.contains("235"), "{}", said);
        }
        shell.say("MAIL FROM:<a@local.example>\r\n");
        let said = shell.say(&format!("RCPT TO:<{to}>\r\n"));
        prop_assert!(!said.starts_with('2'), "{}", said);
        shell.say("DATA\r\nx\r\n.\r\n");
        for message in &shell.accepted {
            prop_assert_eq!(&message.envelope.submitter.user, &None);
            for recipient in &message.envelope.recipients {
                // A rule of the administrator may send a local address elsewhere, and none makes an
                // address local that was not.
                let asked = recipient.given.as_ref().unwrap_or(&recipient.address);
                prop_assert_eq!(asked.domain().as_str(), "local.example");
            }
        }
    }

    #[test]
    fn a_mail_reaches_the_spool_as_it_was_sent(
        lines in prop::collection::vec("[ -~]{0,40}|\\.{1,3}", 0..20), chunked in any::<bool>(), piece in 1usize..50
    ) {
        let mut content = format!("S: x\r\n\r\n{}", lines.join("\r\n"));
        if !lines.is_empty() {
            content.push_str("\r\n");
        }
        let mut wire = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n".to_vec();
        if chunked {
            wire.extend(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes());
        } else {
            wire.extend(b"DATA\r\n");
            wire.extend(smtp::dot_stuffing::stuff(&content.clone().into()).concat());
        }
        let (_, accepted, _) = session(&wire, piece, false);
        let kept = &accepted[0].content;
        let (field, kept) = kept.split_at(kept.len() - content.len());
        prop_assert_eq!(kept, content.as_bytes());
        prop_assert!(field.ends_with(b" +0000\r\n"));
    }

    #[test]
    fn a_binary_mail_is_kept_octet_for_octet(
        body in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(0usize..400, 0..4),
        piece in 1usize..50,
    ) {
        let content = [b"S: x\r\n\r\n", body.as_slice()].concat();
        let mut wire = b"EHLO c\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n"
            .to_vec();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(content.len())).collect();
        cuts.sort_unstable();
        let mut at = 0;
        for cut in cuts {
            wire.extend(format!("BDAT {}\r\n", cut - at).as_bytes());
            wire.extend(&content[at..cut]);
            at = cut;
        }
        wire.extend(format!("BDAT {} LAST\r\n", content.len() - at).as_bytes());
        wire.extend(&content[at..]);
        let (_, accepted, _) = session(&wire, piece, false);
        prop_assert_eq!(accepted.len(), 1);
        prop_assert!(accepted[0].content.ends_with(&content));
    }

    #[test]
    fn binary_mail_is_offered_with_chunks_alone_and_taken_where_it_is_offered(
        (tls, auth, networks, tls_available, _) in listener(),
        settings in settings(),
        without in prop::sample::subsequence(
            vec![Extension::Chunking, Extension::BinaryMime, Extension::EightBitMime], 0..3,
        ),
        peer in prop::sample::select(vec![INSIDE, OUTSIDE]),
    ) {
        let mut policy = policy();
        policy.tls_available = tls_available;
        settings.put_into(&mut policy);
        policy.extensions = without.iter().fold(policy.extensions.clone(), |e, x| e.without(*x));
        policy.listeners[0] = Listener {
            tls, auth, networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            proxies: Vec::new(), fix_ups: settings.fix_ups,
        };
        let mut shell = Shell::with_tls(policy, peer, tls == Tls::Implicit);
        let offer = shell.say("EHLO c\r\n");
        let (chunks, binary) = (offer.contains("CHUNKING"), offer.contains("BINARYMIME"));
        prop_assert!(chunks || !binary, "{}", offer);
        let said = shell.say("MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n");
        let unknown = said.starts_with("555");
        prop_assert_eq!(unknown, !binary || without.contains(&Extension::EightBitMime), "{}", said);
    }
}
