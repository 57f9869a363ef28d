//! The protocol: commands, replies, content.

use bytes::BytesMut;
use mail::Reply;
use smtp::command::{self, Command, ForwardPath};
use smtp::data::{BareNewline, ContentError, ContentRules, DataReader};
use smtp::extension::{Extension, Extensions};
use smtp::reply::{ReplyParser, ReplySyntaxError, write};

/// A command reads back as it is written; a refusal has a reply that is one line of ASCII.
pub(crate) fn command(input: &[u8]) {
    let all = Extension::ALL
        .iter()
        .fold(Extensions::none(), |all, extension| all.with(*extension));
    for offered in [&Extensions::none(), &all] {
        match Command::parse(input, offered) {
            Ok(read) => written_and_read(&read, &all),
            Err(error) => {
                let reply = error.reply();
                assert!((500..600).contains(&reply.code) && reply.enhanced.is_some());
                assert!(reply.text.len() <= 400 && reply.text.is_ascii());
                let mut out = BytesMut::new();
                write(&reply, &mut out);
                assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1, "{out:?}");
            }
        }
    }
}

fn written_and_read(read: &Command, all: &Extensions) {
    let mut out = BytesMut::new();
    let mut expected = read.clone();
    match (read, &mut expected) {
        (Command::Mail(mail), Command::Mail(expected)) => {
            command::mail_from(&mut out, mail.reverse_path.as_ref(), &mail.params);
            // The time of a release is not handed on, and an empty value says nothing.
            expected.params.hold = None;
            let params = &mut expected.params;
            for value in [&mut params.env_id, &mut params.auth] {
                value.take_if(|v| v.is_empty());
            }
        }
        (Command::Rcpt(rcpt), Command::Rcpt(_)) => match &rcpt.forward_path {
            ForwardPath::Address(address) => command::rcpt_to(&mut out, address, &rcpt.params),
            ForwardPath::Postmaster => return,
        },
        (Command::Bdat { size, last }, _) => match usize::try_from(*size) {
            Ok(size) => command::bdat(&mut out, size, *last),
            Err(_) => return,
        },
        (Command::Auth { mechanism, initial }, _) => {
            command::auth(&mut out, mechanism, initial.as_deref());
        }
        (Command::Ehlo(name), _) => command::ehlo(&mut out, name),
        (Command::Helo(name), _) => command::helo(&mut out, name),
        _ => return,
    }
    let line = out.strip_suffix(b"\r\n").unwrap_or_default();
    assert!(memchr::memchr2(b'\r', b'\n', line).is_none(), "{out:?}");
    assert_eq!(Command::parse(line, all).as_ref(), Ok(&expected));
}

fn replies(input: &[u8], piece: usize) -> (Vec<Reply>, Option<ReplySyntaxError>) {
    let (mut parser, mut found) = (ReplyParser::new(), Vec::new());
    let mut waiting = BytesMut::new();
    for part in input.chunks(piece) {
        waiting.extend_from_slice(part);
        loop {
            match parser.feed(&mut waiting) {
                Ok(Some(reply)) => found.push(reply),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(waiting.is_empty(), "octets are left behind");
    }
    (found, None)
}

/// The cut of the stream changes nothing; a reply has bounds; written, it is the same reply.
pub(crate) fn reply(input: &[u8]) {
    let (whole, error) = replies(input, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(replies(input, piece), (whole.clone(), error.clone()));
    }
    for reply in whole {
        assert!((200..600).contains(&reply.code));
        assert!(reply.text.len() <= 3 * 64 * 1024);
        assert!(!reply.text.contains(|c: char| c.is_control() && c != '\n'));
        assert!(!reply.to_string().contains(['\r', '\n']));
        let shown = Extensions::parse(&reply);
        assert!(shown.auth.len() <= reply.text.len());
        if reply.text.len() > 2000 {
            continue;
        }
        let again = rewritten(&reply);
        assert_eq!(again.code, reply.code);
        // Of lines with different codes the last counts, and a 3yz has no enhanced code: one in the
        // text may come from a line that was no 3yz, or be left in one that was.
        let first = reply.text.split([' ', '\n']).next().unwrap_or_default();
        let is_mixed = match reply.enhanced {
            Some(_) => (300..400).contains(&reply.code),
            None => first.parse::<mail::EnhancedCode>().is_ok(),
        };
        if !is_mixed {
            assert_eq!(again.enhanced, reply.enhanced);
            assert_eq!(rewritten(&again), again);
        }
        let lines = |reply: &Reply| reply.text.split('\n').count();
        assert_eq!(lines(&again), lines(&reply));
    }
}

fn rewritten(reply: &Reply) -> Reply {
    let mut out = BytesMut::new();
    write(reply, &mut out);
    let read = ReplyParser::new().feed(&mut out);
    assert!(out.is_empty(), "a reply is not one reply: {reply:?}");
    match read {
        Ok(Some(reply)) => reply,
        other => panic!("{reply:?} is read as {other:?}"),
    }
}

/// What a reader makes of a stream cut into pieces: the content or why it is refused, and what it
/// left of the stream; `None` when the end has not come.
type Content = Option<(Result<Vec<u8>, ContentError>, Vec<u8>)>;

fn content(wire: &[u8], bare_newline: BareNewline, piece: usize) -> Content {
    let rules = ContentRules {
        size_max: 4000,
        line_max: 998,
        bare_newline,
        nul: smtp::data::Nul::Keep,
        binary: false,
    };
    let mut reader = DataReader::new(rules, Vec::new(), 0);
    let mut waiting = BytesMut::new();
    let mut parts = wire.chunks(piece);
    while let Some(part) = parts.next() {
        waiting.extend_from_slice(part);
        if reader.read(&mut waiting) {
            waiting.extend_from_slice(&parts.collect::<Vec<_>>().concat());
            return Some((reader.finish().map(|c| c.to_vec()), waiting.to_vec()));
        }
        assert!(waiting.is_empty(), "octets are left behind");
    }
    None
}

/// The cut of the stream changes nothing, what is accepted is canonical and within its limits, and
/// what we send ends where it ends and is read as it was.
pub(crate) fn data(input: &[u8]) {
    for rule in [BareNewline::Refuse, BareNewline::Normalise] {
        let whole = content(input, rule, usize::MAX);
        for piece in [1, 3] {
            assert_eq!(content(input, rule, piece), whole);
        }
        if let Some((Ok(accepted), _)) = &whole {
            assert!(smtp::dot_stuffing::is_canonical(accepted) && accepted.len() <= 4000);
            sent_and_read(accepted);
        }
    }
    let made = smtp::dot_stuffing::canonical(&input.to_vec().into());
    assert!(smtp::dot_stuffing::is_canonical(&made));
    sent_and_read(&made);
}

fn sent_and_read(sent: &[u8]) {
    let wire = smtp::dot_stuffing::stuff(&sent.to_vec().into()).concat();
    let behind = [&wire[..], b"QUIT\r\n"].concat();
    match content(&behind, BareNewline::Refuse, usize::MAX) {
        Some((Ok(read), left)) => {
            assert_eq!(left, b"QUIT\r\n");
            let ended = sent.is_empty() || sent.ends_with(b"\r\n");
            let end: &[u8] = if ended { b"" } else { b"\r\n" };
            assert_eq!(read, [sent, end].concat());
        }
        Some((Err(ContentError::BareNewline), _)) => panic!("a bare CR or LF is sent"),
        // Too large, or a line too long, by the reader's rules: its end must be found all the same.
        Some((Err(_), left)) => assert_eq!(left, b"QUIT\r\n"),
        None => panic!("the content does not end"),
    }
}
