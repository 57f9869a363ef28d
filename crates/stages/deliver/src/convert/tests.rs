//! What contents look like for a host that takes ASCII only, and that they say the same.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

fn converted(content: impl Into<Vec<u8>>, conversion: Conversion) -> Result<Converted, Obstacle> {
    let content = Bytes::from(content.into());
    let done = convert(&content, conversion, Signatures::MayBreak)?;
    let again = convert(&done.content, conversion, Signatures::MayBreak)?;
    assert_eq!(again.content, done.content, "a second time changes nothing");
    Ok(done)
}

/// Converted as a whole; all of it is ASCII then, in lines that every host takes.
fn whole(content: impl Into<Vec<u8>>) -> String {
    let done = converted(content, Conversion::Whole).unwrap();
    assert!(!done.eight_bit);
    let text = String::from_utf8(done.content.to_vec()).unwrap();
    assert!(text.is_ascii(), "{text}");
    text
}

/// A header field, converted.
fn field(line: &str) -> String {
    let text = whole(format!("{line}\r\n\r\n"));
    text.strip_suffix("\r\n\r\n").unwrap().to_owned()
}

#[test]
fn ascii_stays_as_it_is() {
    for content in [
        "",
        "\r\n",
        "no header at all",
        "A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nbody \r\n.\r\n",
    ] {
        assert_eq!(whole(content), content);
    }
}

#[test]
fn text_without_mime_gets_what_says_how_to_read_it() {
    assert_eq!(
        whole("Subject: hi\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\nblank \r\n"),
        "Subject: hi\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n\
         Gr=C3=BC=C3=9Fe\r\n=2E\r\nblank=20\r\n"
    );
    let unknown = whole(&b"Subject: hi\r\n\r\nGr\xfc\xdfe\r\n"[..]);
    assert!(unknown.contains("charset=unknown-8bit"), "{unknown}");
    assert!(unknown.ends_with("\r\n\r\nGr=FC=DFe\r\n"), "{unknown}");
}

#[test]
fn a_label_is_replaced_where_it_stands_and_all_else_is_kept() {
    assert_eq!(
        whole(
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 8bit\r\nX-Odd :  kept \r\n\r\n\u{fc}\r\n"
        ),
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"utf-8\"\r\n\
         Content-Transfer-Encoding: quoted-printable\r\nX-Odd :  kept \r\n\r\n=C3=BC\r\n"
    );
    assert_eq!(
        whole("MIME-Version: 1.0\r\nContent-Type: text/plain; format=flowed;\r\n\r\n\u{fc}\r\n"),
        "MIME-Version: 1.0\r\nContent-Type: text/plain; format=flowed;\r\n charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n"
    );
}

#[test]
fn text_goes_in_quoted_printable_and_all_else_in_base64() {
    let part = |kind: &str, body: &[u8]| {
        let mut content = format!("MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
        content.extend_from_slice(body);
        let text = whole(content);
        text.split("Content-Transfer-Encoding: ")
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        part("application/pdf", b"\xff\x00\r\n"),
        "base64\r\n\r\n/wANCg==\r\n"
    );
    assert_eq!(
        part("text/html; charset=iso-8859-1", b"<p>\xfc</p>"),
        "quoted-printable\r\n\r\n<p>=FC</p>"
    );
    // Of text that is hardly readable anyway the shorter form is sent.
    let chinese = "\u{4f60}\u{597d}".repeat(20);
    assert!(part("text/plain; charset=utf-8", chinese.as_bytes()).starts_with("base64"));
    assert!(part("text/plain; charset=utf-16", b"a\x00\xfc\x00").starts_with("base64"));
    assert!(part("no type", "\u{fc} in text".as_bytes()).starts_with("quoted-printable"));
}

const NESTED: &str = "From: <a@x.example>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=\"out er\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    pr\u{e9}amble\r\n--out er\r\nContent-Type: multipart/alternative;\r\n boundary=in\r\n\
    Content-Transfer-Encoding: 8BIT\r\n\r\n--in\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\n\u{fc}\r\n\r\n--in \r\n\r\nASCII\r\n--in--\r\n\
    --out er\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Subject: \u{e4}\r\n\r\ninner \u{f6}\r\n--out er\r\n\r\n\u{df}--out er\r\n--out er--\r\n\u{e9}";

#[test]
fn nested_parts_are_encoded_each_and_composites_become_7bit() {
    assert_eq!(
        whole(NESTED),
        "From: <a@x.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"out er\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         pr??amble\r\n--out er\r\nContent-Type: multipart/alternative;\r\n boundary=in\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n--in\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n\r\n--in \r\n\r\nASCII\r\n--in--\r\n\
         --out er\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Subject: =?UTF-8?Q?=C3=A4?=\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         inner =C3=B6\r\n--out er\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=9F--out er\r\n--out er--\r\n??"
    );
    let header = converted(NESTED, Conversion::Header).unwrap();
    assert_eq!(header.content, NESTED, "its first header is ASCII already");
    assert!(header.eight_bit);
}

#[test]
fn encodings_with_octets_that_they_may_not_have_are_mended() {
    let part = |encoding: &str, body: &str| {
        let text = whole(format!(
            "MIME-Version: 1.0\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}"
        ));
        assert!(text.contains(encoding), "{text}");
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(
        part("Quoted-Printable", "a=\r\n=3D\u{fc}\r\n"),
        "a=\r\n=3D=C3=BC\r\n"
    );
    assert_eq!(part("base64", "YW\u{fc}Jj\r\n"), "YWJj\r\n");
    let long = part("quoted-printable", &"\u{fc}".repeat(40));
    assert!(long.lines().all(|l| l.len() <= 76), "{long}");
    assert_eq!(long.replace("=\r\n", ""), "=C3=BC".repeat(40));
}

#[test]
fn reports_keep_their_form() {
    assert_eq!(
        whole(
            "MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; x\r\n\r\nDiagnostic-Code: smtp; 550 \u{fc}ber\r\nStatus: 5.0.0\r\n"
        ),
        "MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; x\r\n\r\nDiagnostic-Code: smtp; 550 =?UTF-8?Q?=C3=BCber?=\r\n\
         Status: 5.0.0\r\n"
    );
}

#[test]
fn what_must_not_or_cannot_be_changed_is_refused() {
    let mime =
        |kind: &str, body: &str| format!("MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n{body}");
    for (content, why) in [
        (
            mime(
                "multipart/signed; boundary=b",
                "--b\r\n\r\n\u{fc}\r\n--b--\r\n",
            ),
            "signed",
        ),
        (
            mime("multipart/mixed", "--b\r\n\r\n\u{fc}\r\n--b--\r\n"),
            "boundary",
        ),
        (
            mime("multipart/mixed; boundary=c", "--b\r\n\r\n\u{fc}\r\n"),
            "no part",
        ),
        (mime("message/partial; id=1", "\u{fc}"), "fragment"),
        (
            "Content-Transfer-Encoding: x-uuencode\r\n\r\n\u{fc}".to_owned(),
            "encoding",
        ),
        (
            "Subject: a\r\nno field: \u{fc}\r\n\r\n".to_owned(),
            "not a header field",
        ),
        ("S\u{fc}bject: a\r\n\r\n".to_owned(), "name"),
        (
            format!("Subject: {}\r\n\r\n", "\u{fc}".repeat(200_000)),
            "too long",
        ),
    ] {
        let refused = converted(content.clone(), Conversion::Whole).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}: {content}");
    }
    // A signed part that is ASCII is not an obstacle.
    let text = whole(format!(
        "Subject: \u{fc}\r\n{}",
        mime(
            "multipart/signed; boundary=b",
            "--b\r\n\r\nmine\r\n--b--\r\n"
        )
    ));
    assert!(text.ends_with("--b\r\n\r\nmine\r\n--b--\r\n"), "{text}");
}

#[test]
fn a_mail_with_a_dkim_signature_is_converted_as_the_administrator_says() {
    let content = Bytes::from("DKIM-Signature: v=1\r\n\r\n\u{fc}\r\n");
    let done = convert(&content, Conversion::Whole, Signatures::MayBreak).unwrap();
    assert!(done.signed);
    assert!(done.to_string().contains("1 part encoded"), "{done}");
    assert!(done.to_string().contains("DKIM"), "{done}");
    let refused = convert(&content, Conversion::Whole, Signatures::Hold).unwrap_err();
    assert!(refused.to_string().contains("convert_signed"), "{refused}");
}

#[test]
fn structures_without_end_are_bounded() {
    let deep = (0..200).fold(String::new(), |text, n| {
        text + &format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")
    });
    let refused = converted(format!("{deep}\r\n\u{fc}"), Conversion::Whole).unwrap_err();
    assert!(refused.to_string().contains("deep"), "{refused}");
    let parts = "--b\r\n\r\n\u{fc}\r\n".repeat(20_000);
    let many = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    assert!(converted(many, Conversion::Whole).is_err());
    // Anything slower than in proportion to the content would take hours here.
    let report = "Content-Type: message/delivery-status\r\n\r\n";
    for lines in ["a:\r\n", "\r\n", "--b\r\n", "(", "\"", ";", "<", "=?"] {
        let lines = lines.repeat(200_000);
        for start in [report, "\r\n", "Content-Type: text/plain;"] {
            drop(converted(
                format!("{start}{lines}\u{fc}"),
                Conversion::Whole,
            ));
            drop(converted(
                format!("To: {lines}\r\n\r\n\u{fc}"),
                Conversion::Whole,
            ));
        }
    }
}

#[test]
fn header_fields_are_put_into_ascii_by_their_grammar() {
    for (given, expected) in [
        (
            "Subject: Gr\u{fc}\u{df}e aus Wien",
            "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= aus Wien",
        ),
        // The blank between encoded words is not shown, so it stands inside.
        ("Subject: \u{e4} \u{f6}", "Subject: =?UTF-8?B?w6Qgw7Y=?="),
        (
            "X-Any: =?UTF-8?Q?a?= \u{f6}",
            "X-Any: =?UTF-8?Q?a?= =?UTF-8?B?IMO2?=",
        ),
        (
            "From: J\u{fc}rgen (der \u{c4}ltere) <j@b\u{fc}cher.example>",
            "From: =?UTF-8?Q?J=C3=BCrgen?= <j@xn--bcher-kva.example> (\r\n =?UTF-8?Q?der_=C3=84ltere?=)",
        ),
        (
            "To: \"M\u{fc}ller, \\\"J\\\"\" <m@x.example>, a@x.example,\r\n b@\u{fc}.example",
            "To: =?UTF-8?Q?M=C3=BCller=2C_=22J=22?= <m@x.example>, a@x.example,\r\n b@xn--tda.example",
        ),
        // RFC 6857: who has no address in ASCII is shown, and cannot be answered.
        (
            "Cc: \u{fc}@x.example, b@x.example",
            "Cc: =?UTF-8?Q?=C3=BC=40x=2Eexample?=:;, b@x.example",
        ),
        (
            "Cc: Ann <\u{fc}@x.example>",
            "Cc: Ann =?UTF-8?Q?=3C=C3=BC=40x=2Eexample=3E?=:;",
        ),
        (
            "To: B\u{fc}ro: a@x.example, \u{fc}@x.example, \u{d6} <c@x.example>;",
            "To: =?UTF-8?Q?B=C3=BCro_=C3=BC=40x=2Eexample?=: a@x.example,\r\n \
             =?UTF-8?Q?=C3=96?= <c@x.example>;",
        ),
        (
            "Message-ID: <\u{fc}@x.example>",
            "Downgraded-Message-ID: =?UTF-8?Q?=3C=C3=BC=40x=2Eexample=3E?=",
        ),
        (
            "Date: Mon, 1 Jan 2024 00:00:00 +0100 (M\u{e9}z)",
            "Date: Mon, 1 Jan 2024 00:00:00 +0100 (=?UTF-8?Q?M=C3=A9z?=)",
        ),
        (
            "Content-Disposition: attachment; filename=\"\u{dc}ber (1).txt\"; size=3",
            "Content-Disposition: attachment; filename*=UTF-8''%C3%9Cber%20%281%29.txt;\r\n size=3",
        ),
        (
            "List-Unsubscribe: <https://x.example/\u{fc}>",
            "List-Unsubscribe: <https://x.example/%C3%BC>",
        ),
        (
            "Received: from b\u{fc}cher.example by y with UTF8SMTP id 1\r\n\tfor <\u{fc}@x>; now",
            "Received: from xn--bcher-kva.example by y with UTF8SMTP id 1; now",
        ),
        (
            "List-Id: Gr\u{fc}n <l.example>",
            "List-Id: =?UTF-8?Q?Gr=C3=BCn?= <l.example>",
        ),
    ] {
        assert_eq!(field(given), expected, "{given}");
    }
}

#[test]
fn long_values_are_split_between_characters() {
    let text = field(&format!("Subject: {}", "\u{1f600}\u{fc}".repeat(60)));
    assert!(text.lines().all(|l| l.len() <= 76), "{text}");
    let name = "\u{fc}".repeat(90);
    let text = field(&format!(
        "Content-Disposition: attachment; filename={name}.txt"
    ));
    assert!(text.contains("filename*0*=UTF-8''%C3"), "{text}");
    assert!(text.contains("filename*1*=%"), "{text}");
    let read = judged(&[format!("{text}\r\n\r\nbody").into_bytes()]);
    assert_eq!(read[0].name, format!("{name}.txt"));
}

#[test]
fn a_host_without_smtputf8_alone_gets_its_body_as_it_is() {
    let content = "Subject: \u{fc}\r\nDate: x\r\n\r\n\u{f6}\r\n";
    let done = converted(content, Conversion::Header).unwrap();
    let expected = "Subject: =?UTF-8?Q?=C3=BC?=\r\nDate: x\r\n\r\n\u{f6}\r\n";
    assert_eq!(
        (done.content.as_ref(), done.eight_bit),
        (expected.as_bytes(), true)
    );
}

/// Text of the kinds that make trouble.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z.=?_ \t-]{0,20}",
        2 => "[\u{e4}\u{4f60}\u{1f600} ]{1,12}",
        1 => Just("\r\n".to_owned()),
        1 => Just(" \r\n.\r\n\r\n--".to_owned()),
        1 => Just("x".repeat(200)),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// A header value: no line ends, no blanks at its ends, nothing that is an encoded word already.
fn value() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9,.;:<>()\"@\u{e4}\u{4f60}\u{1f600}]([a-zA-Z ,.\u{e4}\u{4f60}\u{1f600}]{0,90}[a-z\u{e4}])?"
}

/// What Python's `email` package reads in a mail.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    subject: String,
    name: String,
    /// The display names and addresses of To.
    to: String,
    /// The octets of each leaf; text with line ends as LF.
    leaves: Vec<Vec<u8>>,
    defects: String,
}

/// Mails come in by their lengths; for each one line goes out, its values in hexadecimal.
const JUDGE: &str = r#"
import email, email.policy, sys
read = sys.stdin.buffer
for line in iter(read.readline, b""):
    m = email.message_from_bytes(read.read(int(line)), policy=email.policy.default)
    leaves = [p for p in m.walk() if not p.is_multipart()]
    def octets(p):
        if p.get_content_maintype() != "text":
            return p.get_payload(decode=True)
        text = p.get_payload(decode=True).decode(p.get_content_charset("ascii"))
        return text.replace("\r\n", "\n").encode()
    to = m["to"].addresses if m["to"] else []
    values = [
        str(m["subject"] or "").encode(),
        (m.get_filename() or "").encode(),
        "|".join(a.display_name + "|" + a.addr_spec for a in to).encode(),
        repr([d for p in m.walk() for d in p.defects]).encode(),
    ] + [octets(p) for p in leaves]
    print(" ".join(v.hex() or "-" for v in values))
"#;

fn judged(mails: &[Vec<u8>]) -> Vec<Judged> {
    let mut python = Command::new("python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = python.stdin.take().expect("a pipe to python3");
    let mails = mails.to_vec();
    let writer = std::thread::spawn(move || {
        for mail in mails {
            let length = format!("{}\n", mail.len());
            stdin
                .write_all(&[length.as_bytes(), &mail].concat())
                .expect("python3 reads");
        }
    });
    let output = python.wait_with_output().expect("python3 ends");
    writer.join().unwrap();
    assert!(output.status.success());
    let octets = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len() / 2).map(|n| &hex[2 * n..2 * n + 2]);
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    };
    let text = |hex: &str| String::from_utf8(octets(hex)).unwrap();
    let read = |line: &str| {
        let values: Vec<&str> = line.split(' ').collect();
        Judged {
            subject: text(values[0]),
            name: text(values[1]),
            to: text(values[2]),
            defects: text(values[3]),
            leaves: values[4..].iter().map(|hex| octets(hex)).collect(),
        }
    };
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(read)
        .collect()
}

/// So many values of a strategy, others in each run.
fn samples<S: Strategy>(strategy: S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::default();
    let mut sample = || strategy.new_tree(&mut runner).expect("a value").current();
    (0..count).map(|_| sample()).collect()
}

const SAMPLES: usize = 400;

#[test]
fn a_converted_text_reads_the_same() {
    let samples = samples((value(), text()), SAMPLES);
    let mails: Vec<Vec<u8>> = samples
        .iter()
        .map(|(subject, body)| {
            let head = format!("Subject: {subject}\r\nFrom: <a@x.example>\r\n\r\n");
            let text = whole(format!("{head}{body}\r\n\u{e4}\r\n"));
            let (header, encoded) = text.split_once("\r\n\r\n").unwrap();
            assert!(header.lines().all(|l| l.len() <= 200), "{header}");
            assert!(encoded.lines().all(|l| l.len() <= 76), "{encoded}");
            text.into_bytes()
        })
        .collect();
    for (read, (subject, body)) in judged(&mails).into_iter().zip(samples) {
        assert_eq!(read.subject, subject);
        let body = format!("{body}\r\n\u{e4}\r\n").replace("\r\n", "\n");
        assert_eq!(String::from_utf8(read.leaves[0].clone()).unwrap(), body);
        assert_eq!(read.defects, "[]", "{subject}");
    }
}

#[test]
fn parts_read_the_same() {
    let octets = prop::collection::vec(any::<u8>(), 0..300);
    let samples = samples((text(), octets), SAMPLES);
    let mails: Vec<Vec<u8>> = samples
        .iter()
        .map(|(first, second)| {
            let mut content = b"MIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=BOUND\r\n\r\n\
                --BOUND\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                .to_vec();
            content.extend_from_slice(first.as_bytes());
            content
                .extend_from_slice(b"\xc3\xbc\r\n--BOUND\r\nContent-Type: application/x\r\n\r\n");
            content.extend_from_slice(second);
            content.extend_from_slice(b"\xff\r\n--BOUND--\r\n");
            whole(content).into_bytes()
        })
        .collect();
    for (read, (first, mut second)) in judged(&mails).into_iter().zip(samples) {
        let first = format!("{first}\u{fc}").replace("\r\n", "\n");
        assert_eq!(String::from_utf8(read.leaves[0].clone()).unwrap(), first);
        second.push(0xff);
        assert_eq!(read.leaves[1], second);
        assert_eq!(read.defects, "[]");
    }
}

#[test]
fn addresses_keep_their_names() {
    let name = "[a-zA-Z\u{e4}\u{4f60}][a-zA-Z, .\u{e4}\u{4f60}]{0,60}[\u{e4}]";
    let samples = samples(name, SAMPLES);
    let line = |name: &String| {
        let text = field(&format!("To: \"{name}\" <a@x.example>, <b@x.example>"));
        format!("{text}\r\n\r\n").into_bytes()
    };
    let mails: Vec<Vec<u8>> = samples.iter().map(line).collect();
    // This reader shows a blank between two encoded words of a name, against RFC 2047 §6.2.
    let bare = |text: &str| text.replace(' ', "");
    for (read, name) in judged(&mails).into_iter().zip(samples) {
        let expected = format!("{name}|a@x.example||b@x.example");
        assert_eq!(bare(&read.to), bare(&expected));
    }
}

/// Converted for a host that takes lines of 8 bits, and for one that takes 7.
fn lines(content: impl Into<Vec<u8>>) -> [Vec<u8>; 2] {
    let content = content.into();
    [Conversion::Lines, Conversion::LinesInAscii].map(|conversion| {
        let out = converted(content.clone(), conversion).unwrap().content;
        assert!(mail::are_lines(&out) && out.ends_with(b"\r\n"), "{out:?}");
        assert!(conversion == Conversion::Lines || out.is_ascii(), "{out:?}");
        out.to_vec()
    })
}

#[test]
fn of_a_binary_text_the_line_ends_are_mended() {
    let mail = |body: &str| {
        let kind = "text/plain; charset=utf-8";
        let head = format!("MIME-Version: 1.0\r\nContent-Type: {kind}\r\n");
        lines(format!(
            "{head}Content-Transfer-Encoding: binary\r\n\r\n{body}"
        ))
        .map(|out| {
            let text = String::from_utf8(out).unwrap();
            text.split_once("Encoding: ").unwrap().1.to_owned()
        })
    };
    let long = "x".repeat(999);
    for (body, eight, seven) in [
        ("a\nb\r\n.\n", "7bit\r\n\r\na\r\nb\r\n.\r\n", None),
        (
            "an \u{fc}",
            "8bit\r\n\r\nan \u{fc}\r\n",
            Some("quoted-printable\r\n\r\nan =C3=BC\r\n"),
        ),
        ("a\rb", "quoted-printable\r\n\r\na=0Db\r\n", None),
        ("a\0b", "base64\r\n\r\nYQBi\r\n", None),
    ] {
        let [got_eight, got_seven] = mail(body);
        assert_eq!(got_eight, eight);
        assert_eq!(got_seven, seven.unwrap_or(eight));
    }
    let [eight, _] = mail(&long);
    assert!(eight.starts_with("quoted-printable"), "{eight}");
    assert_eq!(
        eight.replace("=\r\n", ""),
        format!("quoted-printable\r\n\r\n{long}\r\n")
    );
}

#[test]
fn what_is_lines_already_loses_nothing_but_its_label() {
    let mail = |label: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
             Content-Transfer-Encoding: {label}\r\n\r\n--b\r\nContent-Type: text/plain\r\n\
             Content-Transfer-Encoding: {label}\r\n\r\nBinary words\r\n--b--\r\n"
        )
    };
    for out in lines(mail("BINARY")) {
        let text = String::from_utf8(out).unwrap();
        let composite = match text.contains("8bit") {
            true => mail("7bit").replacen("7bit", "8bit", 1),
            false => mail("7bit"),
        };
        assert_eq!(text, composite);
    }
    for out in lines(mail("7bit")) {
        assert_eq!(String::from_utf8(out).unwrap(), mail("7bit"));
    }
}

#[test]
fn signed_parts_in_a_binary_mail_stay_or_stand_in_the_way() {
    let signed = |text: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
             Content-Type: multipart/signed; boundary=b; protocol=\"application/pkcs7-signature\"\r\n\
             Content-Transfer-Encoding: binary\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\n{text}\r\n\
             --b\r\nContent-Type: application/pkcs7-signature\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n\
             --o\r\nContent-Type: application/x\r\n\r\n\0\n\r\n--o--\r\n"
        )
    };
    for out in lines(signed("mine")) {
        let text = String::from_utf8(out).unwrap();
        let whole = signed("mine");
        let part = whole.split("--o\r\n").nth(1).unwrap();
        assert!(text.contains(part), "{text}");
        assert!(text.contains("base64\r\n\r\nAAo="), "{text}");
    }
    for text in ["bare\nlf", "nul\0", "cr\r."] {
        let refused = converted(signed(text), Conversion::Lines).unwrap_err();
        assert!(refused.to_string().contains("signed"), "{refused}");
    }
}

#[test]
fn an_opaque_signature_is_encoded_and_stays_the_same_octets() {
    // S/MIME whose text is inside (RFC 8551 §3.5.2): the octets count, not how they travel.
    let octets: Vec<u8> = (0..=255).collect();
    let mut mail = b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; \
        smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        .to_vec();
    mail.extend_from_slice(&octets);
    for read in judged(&lines(mail)) {
        assert_eq!(read.leaves.concat(), octets);
        assert_eq!(read.defects, "[]");
    }
}

#[test]
fn a_multipart_whose_lines_end_in_lf_alone_is_understood() {
    let mail = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\nContent-Type: text/plain\n\none\ntwo\n--b\nContent-Type: message/rfc822\n\n\
        Subject: in\n\ninner\n--b--\n";
    for out in lines(mail) {
        assert_eq!(
            String::from_utf8(out)
                .unwrap()
                .replace("Content-Transfer-Encoding: 7bit\r\n", ""),
            mail.replace("\r\n", "\n").replace('\n', "\r\n")
        );
    }
    // In a part of a multipart that has its own ends, an LF and what looks like a delimiter is data.
    let inside = "text\n--b\nmore";
    let mail = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n{inside}\r\n--b--\r\n"
    );
    for read in judged(&lines(mail)) {
        assert_eq!(read.leaves, [inside.as_bytes()]);
    }
}

#[test]
fn a_header_with_a_nul_in_a_nested_message_is_an_obstacle() {
    let mail = "Content-Type: message/rfc822\r\n\r\nSubject: a\0b\r\n\r\ntext\n";
    let refused = converted(mail, Conversion::Lines).unwrap_err();
    assert!(refused.to_string().contains("NUL"), "{refused}");
}

#[test]
fn parts_of_a_binary_mail_read_the_same() {
    let octets = prop::collection::vec(any::<u8>(), 0..300);
    let samples = samples((text(), octets), SAMPLES);
    let build = |first: &str, second: &[u8]| {
        let mut content = b"MIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=BOUND\r\n\r\n\
            --BOUND\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            .to_vec();
        content.extend_from_slice(first.replace("\r\n", "\n").as_bytes());
        content.extend_from_slice(
            b"\xc3\xbc\r\n--BOUND\r\nContent-Type: application/x\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n",
        );
        content.extend_from_slice(second);
        content.extend_from_slice(b"\0\r\n--BOUND--");
        content
    };
    let mails: Vec<Vec<u8>> = samples
        .iter()
        .flat_map(|(first, second)| lines(build(first, second)))
        .collect();
    let expected = samples
        .into_iter()
        .flat_map(|sample| [sample.clone(), sample]);
    for (read, (first, mut second)) in judged(&mails).into_iter().zip(expected) {
        let first = format!("{first}\u{fc}").replace("\r\n", "\n");
        assert_eq!(String::from_utf8(read.leaves[0].clone()).unwrap(), first);
        second.push(0);
        assert_eq!(read.leaves[1], second);
        assert_eq!(read.defects, "[]");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_leave_an_octet(
        pieces in prop::collection::vec(prop_oneof![
            Just(&b"Content-Type: multipart/mixed; boundary=b\r\n"[..]),
            Just(&b"Content-Type: message/rfc822\r\n"[..]),
            Just(&b"Content-Type: message/delivery-status\r\n"[..]),
            Just(&b"Content-Transfer-Encoding: quoted-printable\r\n"[..]),
            Just(&b"Content-Disposition: a; b=\"\xc3\xbc\\"[..]),
            Just(&b"\r\n"[..]), Just(&b"\n"[..]), Just(&b"--b\r\n"[..]), Just(&b"--b--\r\n"[..]),
            Just(&b"To: \xc3\xbc <\xff@\xc3\xbc.example>, (("[..]),
            Just(&b"Received: for <\xc3\xbc@x> \xff"[..]),
            Just(&b"Subject: =?"[..]), Just(&b"\xff = \xc3"[..]), Just(&b"x: \xc3\xbc:;,<"[..]),
        ], 0..30),
        octets in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let content = [pieces.concat(), octets].concat();
        for conversion in [Conversion::Whole, Conversion::Header, Conversion::LinesInAscii] {
            if let Ok(done) = converted(content.clone(), conversion) {
                prop_assert!(conversion == Conversion::Header || done.content.is_ascii());
            }
        }
    }
}

fn short(content: impl Into<Vec<u8>>) -> Converted {
    converted(content, Conversion::Short).unwrap()
}

fn long(n: usize) -> String {
    "0123456789".repeat(n / 10)
}

#[test]
fn parts_with_long_lines_are_encoded_and_the_others_stay() {
    let text = |parts: &[String]| {
        format!(
            "From: a@x.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\n{}\r\n--b--\r\n",
            parts.join("\r\n--b\r\n")
        )
    };
    let plain = "Content-Type: text/plain\r\n\r\nshort \u{fc}\r\n".to_owned();
    let html = format!(
        "Content-Type: text/html; charset=utf-8\r\n\r\n<p>\u{fc} = {}</p>\r\n",
        long(1200)
    );
    let data = format!("Content-Type: application/json\r\n\r\n[{}]", long(3000));
    let inner = format!(
        "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n{}\r\n",
        long(1000)
    );
    let before = text(&[plain.clone(), html, data.clone(), inner.clone()]);
    let made = short(before);
    assert_eq!((made.parts, made.fields), (2, 0));
    let out = std::str::from_utf8(&made.content).unwrap();
    assert!(out.contains(&plain) && out.contains(&inner), "{out}");
    assert!(
        out.contains("Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=BC =3D 0123"),
        "{out}"
    );
    assert!(
        out.contains("application/json\r\nContent-Transfer-Encoding: base64\r\n\r\nWzAx"),
        "{out}"
    );
    assert!(made.eight_bit, "what need not change stays");
    let only = short(text(&[plain, data]));
    assert!(!mail::has_long_line(&only.content));
    assert_eq!(
        only.to_string(),
        "content converted: 1 part encoded, 0 header fields folded, for lines of more than 998 octets"
    );
}

#[test]
fn short_lines_are_left_alone_whatever_else_is_strange() {
    for content in [
        "",
        "x",
        "a: b",
        NESTED,
        "Content-Type: multipart/mixed\r\n\r\nx\r\n",
    ] {
        let made = short(content);
        assert_eq!((&made.content[..], made.parts), (content.as_bytes(), 0));
    }
}

#[test]
fn what_is_signed_or_encrypted_as_a_part_keeps_its_long_lines() {
    let kinds = [
        "multipart/signed; boundary=b; protocol=x",
        "multipart/encrypted; boundary=b",
        "message/rfc822",
        "message/delivery-status",
        "multipart/mixed",
    ];
    for kind in kinds {
        let content = format!(
            "MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n--b\r\n\r\n{}\r\n--b--\r\n",
            long(2000)
        );
        let made = short(content.clone());
        assert_eq!(
            (&made.content[..], made.parts),
            (content.as_bytes(), 0),
            "{kind}"
        );
    }
    let strange = format!("Content-Transfer-Encoding: x-uue\r\n\r\n{}", long(2000));
    assert_eq!(short(strange.clone()).content, strange);
}

#[test]
fn encoded_parts_with_long_lines_are_broken_anew() {
    let quoted = format!(
        "Content-Transfer-Encoding: Quoted-Printable\r\n\r\n=41{}\r\n",
        long(1500)
    );
    let made = short(quoted.clone());
    let body = &made.content[mail::body_offset(&made.content)..];
    let before = &quoted.as_bytes()[mail::body_offset(quoted.as_bytes())..];
    assert!(body.split(|b| *b == b'\n').all(|l| l.len() <= 77));
    assert_eq!(
        mail::from_quoted_printable(body),
        mail::from_quoted_printable(before)
    );
    let base64 = format!(
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        "QUJD".repeat(500)
    );
    let made = short(base64.clone());
    assert!(!mail::has_long_line(&made.content));
    assert_eq!(
        String::from_utf8_lossy(&made.content).replace("\r\n", ""),
        base64.replace("\r\n", "")
    );
}

#[test]
fn text_that_could_be_broken_into_a_delimiter_goes_in_base64() {
    let content = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{}--b--\r\n--b--\r\n",
        "x".repeat(75 * 20)
    );
    let made = short(content);
    let out = String::from_utf8_lossy(&made.content);
    assert!(out.contains("Content-Transfer-Encoding: base64"), "{out}");
}

#[test]
fn long_header_fields_are_folded_and_what_they_say_stays() {
    let list = (0..80).map(|n| format!("Name {n} <user{n}@x.example>"));
    let to = format!("To: {}", list.collect::<Vec<_>>().join(", "));
    let content = format!(
        "{to}\r\nSubject: \u{fc} x\r\nX: {}\r\n\r\nbody\r\n",
        long(1100)
    );
    let made = short(content);
    assert_eq!((made.parts, made.fields), (0, 2));
    let out = std::str::from_utf8(&made.content).unwrap();
    assert_eq!(
        out.split("\r\nSubject").next().unwrap().replace("\r\n", ""),
        to
    );
    assert!(out.contains("\r\nSubject: \u{fc} x\r\n"));
    // A word as long as that has no place to be folded but in front of it.
    assert!(mail::has_long_line(out.as_bytes()));
}

#[test]
fn refusals_for_the_length_of_lines_are_known() {
    let is = |code: u16, text: &str| is_about_line_length(&mail::Reply::new(code, None, text));
    for text in [
        "maximum allowed line length is 998 octets, got 1210",
        "Lines in message were longer than user-supplied maximum.",
        "Line too long",
        "Message has lines longer than 998 characters (RFC 5322)",
        "header line limit exceeded",
    ] {
        assert!(is(550, text), "{text}");
        assert!(!is(450, text), "{text}");
    }
    for text in [
        "message too long",
        "see our guidelines on the rate limit",
        "no such user",
        "online limit",
    ] {
        assert!(!is(550, text), "{text}");
    }
}
