//! The forms in which mail is hashed for its signature, and the signatures themselves.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::{Domain, Headers, Timestamp, body_offset};
use sign::{
    BodyCanonicalizer, Canonicalization, Fields, PrivateKey, PublicKey, Signer, header_field,
};

/// However a body is cut, its form is the same, and has no form but itself. What is signed
/// verifies, stands in front as ours, and folds as it must.
pub(crate) fn signed(input: &[u8]) {
    let (cuts, content) = input.split_at(input.len().min(4));
    for how in [Canonicalization::Simple, Canonicalization::Relaxed] {
        let whole = body(how, &[content]);
        assert!(whole.len() <= content.len() + 2);
        let mut pieces = Vec::new();
        let mut rest = content;
        for cut in cuts.iter().cycle().take(64) {
            let (piece, behind) = rest.split_at(rest.len().min(usize::from(*cut % 7)));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        assert_eq!(body(how, &pieces), whole, "the cuts change it");
        assert_eq!(body(how, &[&whole]), whole, "its form has another form");
        // Our own field is in front of every mail that is signed.
        let mail = [b"Received: x\r\n", content].concat();
        verifies(&mail, how);
    }
    // Whatever stands there, looking for authors ends.
    if let Ok(authors) = mail::authors(content) {
        assert!(
            authors
                .signing()
                .is_some_and(|a| authors.all().any(|b| b == a))
        );
    }
}

fn body(how: Canonicalization, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut canonical = BodyCanonicalizer::new(how);
    let mut take = |part: &[u8]| out.extend_from_slice(part);
    for piece in pieces {
        canonical.update(piece, &mut take);
    }
    canonical.finish(&mut take);
    out
}

fn verifies(content: &[u8], how: Canonicalization) {
    let key = PrivateKey::from_seed(&[9; 32]).expect("a key of 32 octets");
    let public = key.public().expect("a public key");
    let signer = Signer {
        domain: Domain::parse("example.com").expect("a domain"),
        selector: "s".parse().expect("a selector"),
        key,
        header: how,
        body: how,
        fields: Fields::default(),
        lifetime: Some(Duration::from_secs(9)),
        subdomains: false,
        from: None,
        until: None,
    };
    let field = sign::sign(content, &[&signer], Timestamp::from_secs(1)).expect("it is signed");
    assert!(field.is_ascii() && field.ends_with("\r\n") && !field.contains("\r\n\r\n"));
    assert!(field.lines().all(|line| line.len() <= 78));
    let mut mail = field.clone().into_bytes();
    mail.extend_from_slice(content);
    let found = sign::in_front(&mail).next().expect("it is found again");
    assert_eq!((found.domain, found.length), ("example.com", field.len()));
    assert_eq!(find(&field, "bh="), STANDARD.encode(hash(how, content)));
    check(&field, content, how, &public);
}

fn hash(how: Canonicalization, content: &[u8]) -> Vec<u8> {
    let text = content.get(body_offset(content)..).unwrap_or_default();
    digest(&SHA256, &body(how, &[text])).as_ref().to_vec()
}

fn find(field: &str, tag: &str) -> String {
    let found = field.split(';').find_map(|t| t.trim().strip_prefix(tag));
    let found = found.expect("the tag is there");
    found.split_ascii_whitespace().collect()
}

fn check(field: &str, content: &[u8], how: Canonicalization, public: &PublicKey) {
    let mut rest: Vec<_> = Headers::new(content).collect();
    let mut signed = Vec::new();
    for name in find(field, "h=").split(':') {
        if let Some(place) = rest.iter().rposition(|f| f.is(name)) {
            header_field(how, &rest.remove(place), &mut signed);
        }
    }
    let (unsigned, _) = field.split_once("\tb=").expect("b= is the last");
    let unsigned = format!("{unsigned}\tb=");
    let own = Headers::new(unsigned.as_bytes()).next().expect("a field");
    header_field(how, &own, &mut signed);
    if how == Canonicalization::Relaxed {
        signed.truncate(signed.len().saturating_sub(2));
    }
    let signature = STANDARD.decode(find(field, "b=")).expect("base64");
    UnparsedPublicKey::new(&ED25519, public.octets())
        .verify(digest(&SHA256, &signed).as_ref(), &signature)
        .expect("the signature verifies");
}
