//! The page on TLS names what the library speaks, and nothing else.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::default_provider;

const PAGE: &str = include_str!("../../../../docs/tls.md");

#[test]
fn the_page_lists_the_cipher_suites_and_key_exchanges_in_their_order() {
    let provider = default_provider();
    let suites = provider.cipher_suites.iter();
    let suites: Vec<String> = suites
        .map(SupportedCipherSuite::suite)
        .map(|s| format!("{s:?}"))
        .collect();
    let listed: Vec<&str> = PAGE
        .split('`')
        .filter(|word| word.starts_with("TLS13_") || word.starts_with("TLS_"))
        .collect();
    assert_eq!(listed, suites);
    let line = PAGE.lines().find(|l| l.starts_with("Key exchange:"));
    let listed: Vec<&str> = line
        .unwrap_or_default()
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let groups = provider.kx_groups.iter();
    let groups: Vec<String> = groups.map(|g| format!("{:?}", g.name())).collect();
    assert_eq!(listed, groups);
}
