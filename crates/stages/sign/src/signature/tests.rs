//! The vector of RFC 8463, keys in their forms, and that what is signed verifies and is sealed.

use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use mail::find_header;

use super::*;
use crate::Algorithm;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn signer(key: PrivateKey) -> Signer {
    Signer {
        domain: Domain::parse("example.com").unwrap(),
        selector: "s1".parse().unwrap(),
        key,
        header: Canonicalization::Relaxed,
        body: Canonicalization::Relaxed,
        fields: Fields::default(),
        lifetime: None,
        subdomains: false,
        from: None,
        until: None,
    }
}

fn ed25519() -> Signer {
    signer(PrivateKey::from_seed(&[7; 32]).unwrap())
}

fn rsa() -> Signer {
    signer(PrivateKey::from_pem(include_str!("test.rsa.pem")).unwrap())
}

#[test]
fn the_signature_of_rfc_8463_comes_out_as_it_is_there() {
    // RFC 8463 §A.2 and §A.3: the key, the mail, and the signature over both.
    let seed = STANDARD
        .decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        .unwrap();
    let key = PrivateKey::from_seed(&seed).unwrap();
    let public = key.public().unwrap().record();
    assert_eq!(
        public,
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
    let mail = "From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n\
        Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    let (header, body) = mail.split_at(body_offset(mail.as_bytes()));
    let hash = STANDARD.encode(body_hash(Canonicalization::Relaxed, body.as_bytes()));
    assert_eq!(hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    let mut signed = Vec::new();
    let order = ["from", "to", "subject", "date", "message-id"];
    for name in order.iter().chain(["from", "subject", "date"].iter()) {
        let place = order.iter().position(|n| n == name).unwrap();
        // Each is there once, and was named twice.
        if signed.iter().filter(|b| **b == b'\n').count() == place {
            let field = find_header(header.as_bytes(), name).unwrap();
            header_field(Canonicalization::Relaxed, &field, &mut signed);
        }
    }
    let own = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
        d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
        subject : date : message-id : from : subject : date;\r\n bh={hash};\r\n b="
    );
    let field = find_header(own.as_bytes(), NAME).unwrap();
    header_field(Canonicalization::Relaxed, &field, &mut signed);
    signed.truncate(signed.len() - 2);
    assert_eq!(
        STANDARD.encode(key.sign(&signed).unwrap()),
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    );
}

/// What a verifier does, in as few words as for our own fields is possible.
fn verifies(mail: &str, public: &crate::PublicKey, canonical: Canonicalization) -> bool {
    let field = find_header(mail.as_bytes(), NAME).unwrap();
    let text = std::str::from_utf8(field.raw).unwrap();
    let tag = |name: &str| {
        let found = text.split(';').find_map(|t| {
            let (tag, value) = t.split_once('=')?;
            (tag.trim_start_matches("DKIM-Signature:").trim() == name).then_some(value)
        });
        found.unwrap().split_ascii_whitespace().collect::<String>()
    };
    let body = &mail.as_bytes()[body_offset(mail.as_bytes())..];
    if STANDARD.encode(body_hash(canonical, body)) != tag("bh") {
        return false;
    }
    let mut rest: Vec<_> = Headers::new(mail.as_bytes()).skip(1).collect();
    let mut signed = Vec::new();
    for name in tag("h").split(':') {
        if let Some(place) = rest.iter().rposition(|f| f.is(name)) {
            header_field(canonical, &rest.remove(place), &mut signed);
        }
    }
    let (unsigned, _) = text.split_once("\tb=").unwrap();
    let unsigned = format!("{unsigned}\tb=");
    let own = Headers::new(unsigned.as_bytes()).next().unwrap();
    header_field(canonical, &own, &mut signed);
    if canonical == Canonicalization::Relaxed {
        signed.truncate(signed.len() - 2);
    }
    let signature = STANDARD.decode(tag("b")).unwrap();
    let digest = digest::digest(&SHA256, &signed);
    let (how, message): (&'static dyn VerificationAlgorithm, &[u8]) = match public.algorithm {
        Algorithm::RsaSha256 => (&RSA_PKCS1_2048_8192_SHA256, &signed),
        Algorithm::Ed25519Sha256 => (&ED25519, digest.as_ref()),
    };
    UnparsedPublicKey::new(how, public.octets())
        .verify(message, &signature)
        .is_ok()
}

const MAIL: &str = "Received: by us\r\nFrom: A <a@example.com>\r\nTo: b@example.net\r\n\
    Subject: a subject\r\n that is  folded\r\nX-Other: y\r\n\r\nHello  you. \r\n\r\n\r\n";

#[test]
fn what_is_signed_verifies_and_what_a_reader_sees_is_sealed() {
    for signer in [rsa(), ed25519()] {
        let public = signer.key.public().unwrap();
        let field = sign(MAIL.as_bytes(), &[&signer], NOW).unwrap();
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        let holds = |mail: &str| {
            verifies(
                &format!("{field}{mail}"),
                &public,
                Canonicalization::Relaxed,
            )
        };
        assert!(holds(MAIL), "{field}");
        // What is done to mail on the way.
        assert!(holds(&format!(
            "Received: by others\r\nX-Spam: no\r\n{MAIL}"
        )));
        assert!(holds(&MAIL.replace(
            "a subject\r\n that is  folded",
            "a  subject that\r\n\tis folded"
        )));
        assert!(holds(MAIL.trim_end()));
        for (from, to) in [
            ("Hello", "Hallo"),
            ("a@example.com", "x@example.com"),
            ("Subject:", "Cc: c@example.net\r\nSubject:"),
            ("From:", "From: x@example.org\r\nFrom:"),
            ("X-Other", "Subject: another\r\nX-Other"),
            ("X-Other", "Content-Type: text/html\r\nX-Other"),
            ("To: b@example.net\r\n", ""),
            ("\r\n\r\n\r\n", "\r\nmore\r\n"),
        ] {
            let changed = MAIL.replacen(from, to, 1);
            assert_ne!(changed, MAIL);
            assert!(!holds(&changed), "{from} to {to}");
        }
    }
}

#[test]
fn every_form_verifies_and_says_what_it_is() {
    for how in [Canonicalization::Simple, Canonicalization::Relaxed] {
        let mut signer = rsa();
        (signer.header, signer.body) = (how, how);
        signer.lifetime = Some(Duration::from_secs(60));
        signer.fields = Fields::new(
            Some(vec!["From".to_owned()]),
            Some(vec![
                "from".to_owned(),
                "X-Other".to_owned(),
                "X-None".to_owned(),
            ]),
        )
        .unwrap();
        let field = sign(MAIL.as_bytes(), &[&signer], NOW).unwrap();
        let public = signer.key.public().unwrap();
        assert!(verifies(&format!("{field}{MAIL}"), &public, how));
        let words = format!("c={0}/{0};", how.word());
        let tags = [
            words.as_str(),
            "t=1700000000;",
            "x=1700000060;",
            "h=From:From:X-Other;",
        ];
        assert!(tags.iter().all(|tag| field.contains(tag)), "{field}");
        assert!(!field.contains("l="), "{field}");
    }
}

#[test]
fn signatures_made_here_are_known_by_their_place() {
    let fields = sign(MAIL.as_bytes(), &[&rsa(), &ed25519()], NOW).unwrap();
    let content = format!("{fields}{MAIL}");
    let found: Vec<_> = in_front(content.as_bytes()).collect();
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|f| (f.domain, f.selector) == ("example.com", "s1"))
    );
    assert_eq!(found.iter().map(|f| f.length).sum::<usize>(), fields.len());
    let below = format!("Received: x\r\n{content}");
    assert_eq!(in_front(below.as_bytes()).count(), 0);
    assert_eq!(in_front(b"DKIM-Signature: v=1\r\n\r\n").count(), 0);
}

#[test]
fn keys_are_read_in_their_forms_and_bad_ones_named() {
    use crate::KeyError;
    let read = |text: &str| PrivateKey::from_pem(text).map(|key| key.algorithm());
    assert_eq!(read(include_str!("test.rsa.pem")), Ok(Algorithm::RsaSha256));
    assert_eq!(
        read(include_str!("test.pkcs1.pem")),
        Ok(Algorithm::RsaSha256)
    );
    assert_eq!(
        read(include_str!("test.ed25519.pem")),
        Ok(Algorithm::Ed25519Sha256)
    );
    assert_eq!(
        read(include_str!("test.rsa1024.pem")),
        Err(KeyError::TooShort)
    );
    assert_eq!(
        read(include_str!("test.encrypted.pem")),
        Err(KeyError::Encrypted)
    );
    assert_eq!(read(""), Err(KeyError::NoPem));
    assert_eq!(
        read("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
        Err(KeyError::NoPem)
    );
    for body in ["", "AAAA", "%%%"] {
        let text = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        assert_eq!(read(&text), Err(KeyError::Unknown), "{body}");
    }
}
