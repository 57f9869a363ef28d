//! Arguments of MAIL and RCPT, judged strictly: a parameter that was not offered is refused, so
//! that a client which ignores EHLO does not go unnoticed.

use crate::behaviour::Behaviour;

/// Parameters of MAIL and RCPT, and the extension that each belongs to.
const PARAMS: &[(&str, &str)] = &[
    ("SIZE", "SIZE"),
    ("BODY", "8BITMIME"),
    ("SMTPUTF8", "SMTPUTF8"),
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("NOTIFY", "DSN"),
    ("ORCPT", "DSN"),
    ("AUTH", "AUTH"),
    ("MT-PRIORITY", "MT-PRIORITY"),
    ("REQUIRETLS", "REQUIRETLS"),
    ("BY", "DELIVERBY"),
];

/// The refusal of parameters that were not offered, or of a SIZE above the limit.
pub(crate) fn refusal(behaviour: &Behaviour, params: &str, tls: bool) -> Option<&'static str> {
    for param in params.split_ascii_whitespace() {
        let (word, value) = param.split_once('=').unwrap_or((param, ""));
        let known = PARAMS.iter().find(|(p, _)| word.eq_ignore_ascii_case(p));
        let offered = known.is_some_and(|(_, extension)| {
            behaviour.offers(extension, tls) || (*extension == "AUTH" && behaviour.login.is_some())
        });
        if !offered {
            return Some("555 5.5.4 a parameter that was not offered");
        }
        let binary = value.eq_ignore_ascii_case("BINARYMIME");
        if binary && !(behaviour.offers("BINARYMIME", tls) && behaviour.offers("CHUNKING", tls)) {
            return Some("555 5.5.4 BINARYMIME was not offered");
        }
        let too_large = || Some(value.parse::<u64>().ok()? > size_limit(behaviour, tls)?);
        if word.eq_ignore_ascii_case("SIZE") && too_large() == Some(true) {
            return Some("552 5.3.4 too large");
        }
    }
    None
}

/// The path of MAIL or RCPT without its brackets, and the parameters.
pub(crate) fn path(argument: &str) -> Option<(&str, &str)> {
    let (_, rest) = argument.split_once('<')?;
    let (path, params) = rest.split_once('>')?;
    Some((path, params.trim()))
}

fn size_limit(behaviour: &Behaviour, tls: bool) -> Option<u64> {
    let line = behaviour
        .extensions_for(tls)
        .iter()
        .find_map(|e| e.strip_prefix("SIZE "))?;
    line.trim().parse().ok().filter(|n| *n > 0)
}
