//! What holds for every listener, every client and every cut of the stream.

use intake::{Auth, Listener, LocalDomains, Tls};
use mail::Message;
use proptest::prelude::*;

use crate::shell::{ANN, INSIDE, OUTSIDE, Shell, policy};

/// Pieces of sessions, in order and out of it, that need no handshake.
const PIECES: &[&str] = &[
    "EHLO c\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@b.example>\r\n",
    "MAIL FROM:<> BODY=8BITMIME SIZE=10\r\n",
    "MAIL FROM:<a@b.example> SIZE=9999999\r\n",
    "RCPT TO:<c@d.example>\r\n",
    "RCPT TO:<e@local.example>\r\n",
    "RCPT TO:<\r\n",
    "DATA\r\nS: x\r\n\r\n..x\r\n.\r\n",
    "DATA\r\nx\n.\r\ny\r\n.\r\n",
    "DATA\r\n.\r\n",
    "BDAT 3\r\na\r\n",
    "BDAT 4 LAST\r\nb\r\nc",
    "BDAT 0 LAST\r\n",
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
        v6 in any::<bool>(),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6),
        to in prop::sample::select(vec![
            "c@d.example", "c@local.example.d.example", "c@xlocal.example", "\"x@local.example\"@d.example",
            "x%d.example@e.example", "@local.example:c@d.example", "c@[192.0.2.1]", "c@[IPv6:::1]",
        ]),
        wrong_login in any::<bool>(),
    ) {
        let mut policy = policy();
        policy.tls_available = tls_available;
        policy.local = LocalDomains::new(["local.example".parse().unwrap()], has_store);
        policy.listeners[0] = Listener {
            tls, auth, networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            proxies: Vec::new(),
            fix_ups: intake::FixUps::ALL,
        };
        let peer = if v6 { "[::ffff:192.0.2.7]:25" } else { OUTSIDE };
        let mut shell = Shell::with_tls(policy, peer, tls == Tls::Implicit);
        let noise = pieces.concat().replace(ANN, "AGFubgB3cm9uZw==").replace("c2VjcmV0", "d3Jvbmc=");
        shell.say(&noise);
        shell.say("*\r\n.\r\nRSET\r\nEHLO c\r\n");
        if wrong_login {
            shell.say("AUTH PLAIN AGFubgB3cm9uZw==\r\n");
        }
        shell.say("MAIL FROM:<a@local.example>\r\n");
        let said = shell.say(&format!("RCPT TO:<{to}>\r\n"));
        prop_assert!(!said.starts_with('2'), "{}", said);
        shell.say("DATA\r\nx\r\n.\r\n");
        for message in &shell.accepted {
            for recipient in &message.envelope.recipients {
                prop_assert_eq!(recipient.address.domain().as_str(), "local.example");
            }
        }
    }

    #[test]
    fn a_mail_reaches_the_spool_as_it_was_sent(
        lines in prop::collection::vec("[ -~]{0,40}|\\.{1,3}", 0..20), chunked in any::<bool>(), piece in 1usize..50
    ) {
        let mut content: String = lines.join("\r\n");
        if !content.is_empty() {
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
}
