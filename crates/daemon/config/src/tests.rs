//! Configurations, and what is said of wrong ones.

use std::path::Path;

use mail::Domain;

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("sendoff.toml"), Path::new("/etc/sendoff"))
        .map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_is_a_working_server_on_loopback() {
    let config = parse("").unwrap();
    assert_eq!(config.listeners, ["127.0.0.1:2525".parse().unwrap()]);
    assert_eq!(config.outgoing.plan.resends(), 5);
    assert_eq!(config.outgoing.plan.span(), Duration::from_secs(1500));
    assert!(config.warnings[0].contains("RFC 5321 advises"));
}

#[test]
fn errors_name_file_line_key_and_what_is_allowed() {
    let cases = [
        (
            "hostnam = \"x\"",
            "sendoff.toml:1: unknown key `hostnam`. Did you mean `hostname`? Possible: `include`, `hostname`, `data_dir`",
        ),
        (
            "\n[outgoing]\nmode = \"direct\"",
            "sendoff.toml:3: outgoing.mode: `direct` is not one of \"independent\", \"relay\"",
        ),
        (
            "[outgoing]\nmode = \"relay\"",
            "sendoff.toml:2: outgoing.mode: mode \"relay\" needs a server",
        ),
        (
            "[outgoing]\nresend_wait = \"5x\"",
            "sendoff.toml:2: outgoing.resend_wait: `5x` is not a length of time",
        ),
        (
            "[outgoing]\nresend_attempts = \"5\"",
            "sendoff.toml:2: outgoing.resend_attempts: found \"5\", but a number from 0, without quotation marks, is needed",
        ),
        (
            "[outgoing]\nplan = \"internet\"\nresend_wait = \"5m\"",
            "sendoff.toml:2: outgoing.plan: a plan replaces",
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:25\"\nnetworks = [\n\"10.0.0.0/8\",\n\"0.0.0.0/0\"]",
            "sendoff.toml:5: listener.networks: a network of every address",
        ),
        (
            "[[listener]]\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
            "open relay",
        ),
        ("[[listener]]\nauth = \"required\"", "requires a login"),
        (
            "[[listener]]\naddress = \"25\"",
            "is not an address with a port",
        ),
        (
            "[outgoing.relay]\nhost=\"h\"\nusername=\"u\"\npassword=\"p\"\ntls=\"opportunistic\"",
            "sendoff.toml:3: outgoing.relay.username: a login is never sent unencrypted",
        ),
        (
            "[outgoing.relay]\nhost=\"h\"\nauth=[\"PLAIN\", \"XOAUTH2\"]",
            "sendoff.toml:3: outgoing.relay.auth: `XOAUTH2` is not a mechanism for a login by password",
        ),
        (
            "[outgoing.relay]\nhost=\"h\"\nusername=\"u\"",
            "the password is missing",
        ),
        (
            "[outgoing.relay]\nhost=\"h\"\npassword=12345678",
            "sendoff.toml:3: outgoing.relay.password: its value (not shown) has the wrong type: a text in quotation marks",
        ),
        (
            "[[source]]\naddress=\"192.0.2.1\"\nproxy=\"socks5://ann:secret@192.0.2.9:1080\"",
            "sendoff.toml:3: source.proxy: `***@192.0.2.9:1080` has no address (a login is",
        ),
        ("[[domain]]\nvia_smtp = \"x\"", "needs the key match"),
        (
            "[[domain]]\nmatch = \"x\"\nvia_smtp = \"a b\"",
            "sendoff.toml:3: domain.via_smtp",
        ),
        ("[local]\ndeliver = \"mbox:/x\"", "is not a store"),
        ("x = [", "sendoff.toml:1:"),
    ];
    assert_refused(&cases);
}

#[test]
fn numbers_without_a_unit_are_seconds_and_octets() {
    let text = "hostname = \"a.example\"\n[outgoing]\nresend_wait = 300\nlifetime = \"3600\"\n\
                max_message_size = 1000000\n[outgoing.timeouts]\nidle = 7\n[log]\nrotate_at = 5000\n";
    let config = parse(text).unwrap();
    assert_eq!(config.outgoing.plan.span(), Duration::from_secs(1500));
    assert_eq!(config.outgoing.lifetime, Some(Duration::from_secs(3600)));
    assert_eq!(config.intake.limits.message_size, 1_000_000);
    assert_eq!(config.outgoing.timeouts.idle, Duration::from_secs(7));
    assert_eq!(config.log.rotate_bytes, 5000);
}

#[test]
fn what_is_seldom_meant_is_said() {
    let relay = "hostname = \"a.example\"\n[outgoing.relay]\nhost = \"r.example\"\n";
    let in_force = format!("{relay}port = 465\n[outgoing]\nmode = \"relay\"\n");
    let by_rule =
        format!("{in_force}[[domain]]\nmatch = \"b.example\"\nvia_smtp = \"c.example\"\n");
    for (text, expected) in [
        (
            relay,
            "[outgoing.relay] is filled in, but mail goes directly",
        ),
        (
            &in_force,
            "the relay's port is 465, which uses implicit TLS",
        ),
        (&by_rule, "via_smtp in [[domain]] has no effect"),
        (
            "hostname = \"mail\"",
            "hostname is mail, which is not a full domain name",
        ),
        ("hostname = \"localhost\"", "hostname is localhost"),
        (
            "[local]\ndomains = [\"a.example\"]",
            "mail for a.example is refused: local.domains contains it",
        ),
    ] {
        let warnings = parse(text).unwrap().warnings;
        assert!(
            warnings.iter().any(|w| w.contains(expected)),
            "{text}\n{warnings:?}"
        );
    }
    let good = "hostname = \"a.example\"\n[outgoing]\nmode = \"relay\"\nplan = \"internet\"\n\
                [outgoing.relay]\nhost = \"r.example\"\nport = 465\ntls = \"implicit\"\n";
    assert_eq!(parse(good).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn a_text_without_quotation_marks_is_answered_with_them() {
    assert_refused(&[
        (
            "[outgoing]\nmode = independent # directly",
            "sendoff.toml:2: outgoing.mode: a text needs quotation marks: write mode = \"independent\"",
        ),
        (
            "hostname = mail.example.com",
            "sendoff.toml:1: hostname: a text needs quotation marks: write hostname = \"mail.example.com\"",
        ),
        (
            "[outgoing.relay]\npassword = nothing",
            "sendoff.toml:2: outgoing.relay.password: a text needs quotation marks: write password = \"…\"",
        ),
    ]);
}

#[test]
fn what_newcomers_write_is_answered_with_what_to_write() {
    assert_refused(&[
        (
            "[listener]\naddress = \"0.0.0.0:25\"",
            "sendoff.toml:1: listener: there can be several of these: write [[listener]]",
        ),
        (
            "[outgoing]\nmode = \"independent\"\n[outgoing]\n",
            "sendoff.toml:3: outgoing: this section appears twice: write all its keys under one heading",
        ),
        (
            "hostname = \"a.example\"\nhostname = \"b.example\"",
            "sendoff.toml:2: hostname: it is set twice",
        ),
        (
            "[outgoing]\nresend_wait = -300",
            "sendoff.toml:2: outgoing.resend_wait: found -300, but a number of seconds or octets from 0, or a text \
             with a unit such as \"5m\"",
        ),
        (
            "[outgoing]\nresend_wait = [\"5m\"]",
            "outgoing.resend_wait: found a list, but a number of seconds or octets",
        ),
        (
            "[outgoing]\nenabled = \"yes\"",
            "sendoff.toml:2: outgoing.enabled: found \"yes\", but true or false, without quotation marks, is needed",
        ),
        (
            "[outgoing]\nresend_attempts = -1",
            "sendoff.toml:2: outgoing.resend_attempts: found -1, but a number from 0",
        ),
        (
            "[log]\nhostname = \"a.example\"",
            "sendoff.toml:2: unknown key `hostname` in [log]: it belongs above the first section",
        ),
        (
            "[outgoing]\nresend_wiat = \"5m\"",
            "sendoff.toml:2: unknown key `resend_wiat` in [outgoing]. Did you mean `resend_wait`?",
        ),
    ]);
    assert_refused(&[
        (
            "[[listener]]\naddress = \"127.0.0.1:25\"\n[[listener]]\naddress = \"127.0.0.1:25\"",
            "listener.address: another listener has 127.0.0.1:25 already",
        ),
        (
            "[[listener]]\n[[listener]]\naddress = \"127.0.0.1:465\"\ntls = \"implicit\"",
            "listener.tls: listener 127.0.0.1:465 uses TLS, but there is no certificate",
        ),
        (
            "hostname = \"a.example\"\n[dns]\nservers = [\"8.8.8.8,1.1.1.1\"]",
            "sendoff.toml:3: dns.servers: `8.8.8.8,1.1.1.1` is not one server",
        ),
    ]);
    let missing = Config::load(std::path::Path::new("nope.toml")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "nope.toml: cannot be read: No such file or directory (os error 2)"
    );
    assert!(std::error::Error::source(&missing).is_none());
}

fn assert_refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = parse(text).expect_err(text);
        assert!(
            error.contains(expected),
            "{text}\n said: {error}\n not:  {expected}"
        );
    }
}

#[test]
fn errors_about_source_addresses_do_so_too() {
    assert_refused(&[
        (
            "[[source]]\nname = \"a\"",
            "a [[source]] needs the key address",
        ),
        (
            "[[source]]\naddress = \"mail.example\"",
            "sendoff.toml:2: source.address: `mail.example` is not an address to send from",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nweight = 1001",
            "sendoff.toml:3: source.weight: a weight must be a number from 0 to 1000",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nproxy = \"socks4://10.0.0.1\"",
            "sendoff.toml:3: source.proxy: `socks4://10.0.0.1` is of an unknown kind",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nproxy = \"proxy://10.0.0.1\"",
            "has no address with a port",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nwarm_up = \"tomorrow\"",
            "sendoff.toml:3: source.warm_up: `tomorrow` is not a date",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nwarm_up_plan = [5]",
            "sendoff.toml:3: source.warm_up_plan: a plan needs its first day",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\nwarm_up = \"2026-12-01\"\nwarm_up_plan = [\n5,\n0]",
            "sendoff.toml:6: source.warm_up_plan: 0 would make mail wait",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\n[[source]]\naddress = \"127.0.0.1\"",
            "there are two sources with the name `127.0.0.1`",
        ),
        (
            "[outgoing]\nsource_addresses = [\"news\"]",
            "outgoing.source_addresses: `news` is neither a pool, a [[source]], nor an address",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\n[[source_rule]]\nuser = \"a\"\npool = \"b\"",
            "sendoff.toml:5: source_rule.pool: there is no pool `b`: there are default",
        ),
        (
            "[[source]]\naddress = \"127.0.0.1\"\n[[source_rule]]\npool = \"default\"",
            "needs sender_domain, user or header",
        ),
    ]);
}

#[test]
fn rules_are_merged_key_by_key() {
    let config = parse(
        "[[domain]]\nmatch=\"*\"\nresend_attempts=9\n[[domain]]\nmatch=\"x.example\"\n\
         via_smtp=\"10.0.0.7:26\"\nadditional_resend_attempts=10\nmax_message_rate=\"\"\n",
    )
    .unwrap();
    let found = config.rules.effective(&Domain::parse("x.example").unwrap());
    assert_eq!(
        found.key(|r| r.via_smtp.clone()).unwrap().to_string(),
        "[10.0.0.7]:26"
    );
    assert_eq!(found.key(|r| r.resend_attempts), Some(9));
    assert_eq!(found.key(|r| r.max_message_rate), Some(None));
}

/// Where HTTP is answered, and whether over TLS.
fn http_addresses(text: &str) -> Result<Vec<(String, bool)>, String> {
    let listeners = parse(text).map(|c| c.console.listeners)?;
    let all = listeners.iter().map(|l| (l.address.to_string(), l.tls));
    Ok(all.collect())
}

/// The same, with a certificate.
fn https_addresses(text: &str) -> Result<Vec<(String, bool)>, String> {
    let certificate = "[tls]\ncertificate = \"c\"\nprivate_key = \"k\"\n";
    http_addresses(&format!("{certificate}{text}"))
}

#[test]
fn http_beyond_loopback_needs_a_certificate() {
    let (address, with_tls) = (http_addresses, https_addresses);
    let one = |text: &str, tls| Ok(vec![(text.to_owned(), tls)]);
    assert_eq!(address(""), one("127.0.0.1:8025", false));
    assert_eq!(address("[console]\naddress = \"\""), Ok(Vec::new()));
    let error = address("[console]\naddress = \"0.0.0.0:8025\"").unwrap_err();
    assert!(error.contains("console.address"), "{error}");
    assert!(error.contains("tls.certificate"), "{error}");
    assert_eq!(
        with_tls("[console]\naddress = \"192.0.2.1:443\""),
        one("192.0.2.1:443", true)
    );
    assert!(address("[console]\naddress = \"8025\"").is_err());
    assert!(parse("[console]\nmetrics_networks = [\"x\"]").is_err());
}

#[test]
fn http_has_several_addresses_each_with_tls_or_on_this_computer() {
    let (address, with_tls) = (http_addresses, https_addresses);
    let one = |text: &str, tls| Ok(vec![(text.to_owned(), tls)]);
    let http = |text: &str| format!("[[http]]\naddress = {text}\n");
    assert_eq!(
        with_tls(&http("\"192.0.2.1:443\"")),
        one("192.0.2.1:443", true)
    );
    assert_eq!(
        with_tls(&http("\"[::1]:1\"\ntls = true")),
        one("[::1]:1", true)
    );
    assert_eq!(
        address(&http("\"127.0.0.2:1\"\ntls = false")),
        one("127.0.0.2:1", false)
    );
    assert_eq!(address(&http("\"unix:/run/x\"")), one("unix:/run/x", false));
    let both = format!(
        "{}[console]\naddress = \"127.0.0.1:2\"",
        http("\"127.0.0.1:1\"")
    );
    let two = vec![
        ("127.0.0.1:2".to_owned(), false),
        ("127.0.0.1:1".to_owned(), false),
    ];
    assert_eq!(address(&both), Ok(two));
    for (text, named) in [
        (
            "\"192.0.2.1:80\"\ntls = false",
            "http.tls: addresses other than loopback",
        ),
        ("\"unix:/run/x\"\ntls = true", "http.tls: a unix socket"),
        ("\"unix:\"", "http.address: the path is missing"),
        ("\"8025\"", "http.address: `8025`"),
        (
            "\"127.0.0.1:1\"\nserves = []",
            "http.serves: it serves nothing",
        ),
        (
            "\"127.0.0.1:1\"\nserves = [\"all\"]",
            "http.serves: `all` is not one of",
        ),
        (
            "\"127.0.0.1:1\"\n[[http]]\naddress = \"127.0.0.1:1\"",
            "http.address: 127.0.0.1:1 is already configured",
        ),
        (
            "\"127.0.0.1:1\"\n[[http]]\nserves = [\"api\"]",
            "http.address: needed",
        ),
    ] {
        let error = with_tls(&http(text)).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    let error = address(&http("\"127.0.0.1:1\"\ntls = true")).unwrap_err();
    assert!(
        error.contains("http.tls: TLS needs a certificate"),
        "{error}"
    );
    assert!(
        parse("[console]\nproxies = [\"unix:\", \"10.0.0.0/8\"]")
            .unwrap()
            .console
            .unix_proxies
    );
    assert!(parse("[console]\nproxies = [\"nginx\"]").is_err());
}

#[test]
fn keys_to_sign_with_are_checked_and_only_who_signs_must_read_them() {
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../stages/sign/src/signature/test."
    );
    let table = |file: &str, more: &str| {
        let head = "[[dkim]]\ndomain = \"a.example\"\nselector = \"s\"";
        format!("{head}\nkey_file = \"{key}{file}.pem\"\n{more}\n")
    };
    let wrong = |text: &str| match parse(text) {
        Ok(config) => config.check_keys().unwrap_err().to_string(),
        Err(why) => why,
    };
    for (text, expected) in [
        (
            "[[dkim]]\ndomain = \"a.example\"".to_owned(),
            "sendoff.toml:1: dkim.selector: a [[dkim]] key needs",
        ),
        (table("none", ""), "sendoff.toml:4: dkim.key_file: "),
        (
            table("rsa1024", ""),
            "test.rsa1024.pem: its RSA key has less than 2048 bits",
        ),
        (table("encrypted", ""), "its key is encrypted"),
        (
            table("rsa", "").replace("\"s\"", "\"a b\""),
            "sendoff.toml:3: dkim.selector: `a b` is not a selector",
        ),
        (
            table("rsa", "until = \"soon\""),
            "sendoff.toml:5: dkim.until: `soon` is not a time",
        ),
        (
            table("rsa", "from = \"2026-01-02\"\nuntil = \"2026-01-01\""),
            "the key never signs",
        ),
        (
            table("rsa", "canonicalization = \"nofws\""),
            "is not one of \"relaxed/relaxed\"",
        ),
        (
            table("rsa", "sealed_fields = [\"To\"]"),
            "`From` is missing",
        ),
        (
            table("rsa", "covered_fields = [\"Received\"]"),
            "a signature that covers it would become invalid",
        ),
        (table("rsa", "").repeat(2), "appears here twice"),
    ] {
        let why = wrong(&text);
        assert!(why.contains(expected), "{text}\n{why}");
    }
    let warned = |text: &str, words: &str| {
        let config = parse(text).unwrap();
        assert!(config.check_keys().is_ok());
        config.warnings.iter().any(|w| w.contains(words))
    };
    assert!(warned(&table("ed25519", ""), "only Ed25519 keys"));
    assert!(!warned(&table("rsa", ""), "only Ed25519 keys"));
    let gap = "no key signs the mail of a.example now or later";
    assert!(warned(&table("rsa", "until = \"2020-01-01\""), gap));
    let short = "dkim.lifetime is below 7d";
    assert!(warned(&table("rsa", "lifetime = \"1d\""), short));
    // Who runs `sendmail` may not read the key, and needs not.
    assert!(parse(&table("none", "")).is_ok());
}

const TOKENS: &str = "[outgoing]\nmode = \"relay\"\n[outgoing.relay]\nhost = \"r.example\"\n";

#[test]
fn a_login_by_tokens_says_what_is_missing() {
    for (keys, why) in [
        ("provider = \"microsoft\"", "tenant is missing"),
        (
            "provider = \"microsoft\"\ntenant = \"t\"",
            "client_id is missing",
        ),
        ("provider = \"yahoo\"", "is not one of"),
        (
            "client_id = \"a\"\nclient_secret = \"s\"",
            "token_url is missing",
        ),
        (
            "provider = \"google\"\nclient_id = \"a\"",
            "user, the mailbox, is missing",
        ),
        (
            "token_url = \"http://login.example/\"\nclient_id = \"a\"",
            "https:// is required",
        ),
        (
            "provider = \"google\"\nclient_id = \"a\"\nuser = \"u\"\nclient_secret_expires = \"soon\"",
            "`soon` is not a date",
        ),
    ] {
        let text = format!("{TOKENS}[outgoing.relay.oauth]\n{keys}\n");
        let said = parse(&text).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn providers_have_their_endpoints_and_scopes() {
    let oauth = |keys: &str| {
        let text =
            format!("{TOKENS}[outgoing.relay.oauth]\nuser = \"u\"\nclient_id = \"a\"\n{keys}\n");
        let relay = parse(&text).unwrap().outgoing.relay.unwrap();
        relay.oauth.unwrap()
    };
    let by_secret = oauth("provider = \"microsoft\"\ntenant = \"t\"\nclient_secret = \"s\"");
    let by_person = oauth("provider = \"microsoft\"\ntenant = \"t\"");
    let token = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
    assert_eq!(
        (by_secret.flow.word(), by_secret.at.token.as_str()),
        ("client_credentials", token)
    );
    let scope = |oauth: &oauth::OauthSettings| oauth.at.scope.clone().unwrap();
    assert_eq!(scope(&by_secret), "https://outlook.office365.com/.default");
    assert_eq!(by_person.flow.word(), "device_code");
    assert!(scope(&by_person).contains("offline_access"));
    let google = oauth("provider = \"google\"");
    assert_eq!(
        (google.flow.word(), scope(&google).as_str()),
        ("code", "https://mail.google.com/")
    );
    assert!(!format!("{by_secret:?}").contains("\"s\""));
}

#[test]
fn the_end_of_a_secret_is_told_from_thirty_days_ahead() {
    let text = format!(
        "{TOKENS}[outgoing.relay.oauth]\nuser = \"u\"\nclient_id = \"a\"\nprovider = \"google\"\n\
         client_secret_expires = \"2031-01-31\"\n"
    );
    let oauth = parse(&text).unwrap().outgoing.relay.unwrap().oauth.unwrap();
    let on = |day: &str| {
        oauth.secret_words(mail::Timestamp::parse_rfc3339(&format!("{day}T12:00:00Z")).unwrap())
    };
    assert_eq!(on("2030-12-31"), None);
    assert!(on("2031-01-25").unwrap().contains("in 7 days"));
    assert!(on("2031-01-31").unwrap().contains("in 1 day:"));
    assert!(on("2031-02-01").unwrap().contains("has expired"));
}

#[test]
fn names_among_refused_networks_stand_for_groups() {
    let refuses = |text: &str, ip: &str| {
        let config = parse(&format!("[outgoing]\n{text}")).unwrap();
        let ip = ip.parse().unwrap();
        route::refused_by(ip, &config.routing.refuse_networks).is_some()
    };
    let default = ["127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "ff02::1"];
    let private = ["10.0.0.1", "fd00::1", "64:ff9b::10.0.0.1"];
    for ip in default {
        assert!(refuses("", ip) && refuses("refuse_networks = [\"default\"]", ip));
        assert!(!refuses("refuse_networks = [\"private\"]", ip), "{ip}");
        assert!(!refuses("refuse_networks = []", ip), "{ip}");
    }
    let both = "refuse_networks = [\"default\", \"private\", \"203.0.113.0/24\"]";
    for ip in default.iter().chain(&private).chain(&["203.0.113.9"]) {
        assert!(refuses(both, ip), "{ip}");
    }
    assert!(!private.iter().any(|ip| refuses("", ip)));
    let why = parse("[outgoing]\nrefuse_networks = [\"privat\"]").unwrap_err();
    assert!(
        why.contains("refuse_networks: `privat` is not a network") && why.contains("\"private\""),
        "{why}"
    );
}

#[test]
fn a_server_with_a_public_address_is_proposed_to_refuse_private_networks() {
    let public = "[[listener]]\naddress = \"203.0.113.9:25\"\n[outgoing]\n";
    let proposed = |text: &str| {
        let mut all = parse(&format!("{public}{text}")).unwrap().proposals;
        all.retain(|proposal| proposal.contains("refuse_networks"));
        all
    };
    assert!(
        proposed("")[0].contains("(203.0.113.9)") && proposed("")[0].contains("\"private\"]"),
        "{:?}",
        proposed("")
    );
    assert!(proposed("refuse_networks = [\"default\"]").is_empty());
    assert!(proposed("mode = \"relay\"\n[outgoing.relay]\nhost = \"a.example\"").is_empty());
}

#[test]
fn a_password_has_a_quota_unless_an_administrator_has_said_what_users_may() {
    let login = |text: &str| {
        let config = parse(&format!("[quota]\n{text}")).unwrap();
        let shown = config.intake.quotas.login.iter().map(ToString::to_string);
        shown.collect::<Vec<_>>()
    };
    assert_eq!(login(""), ["1000/day"]);
    assert_eq!(login("domain = [\"9/hour\"]"), ["1000/day"]);
    assert!(login("user = [\"500/hour\"]").is_empty() && login("login = []").is_empty());
    let both = "user = [\"500/hour\"]\nlogin = [\"60/hour\", \"300/day\"]";
    assert_eq!(login(both), ["60/hour", "300/day"]);
    let why = parse("[quota]\nlogin = [\"many\"]").unwrap_err();
    assert!(why.contains("quota.login: `many` is not a quota"), "{why}");
}

#[test]
fn what_nobody_meant_is_warned_of() {
    let warnings = |text: &str| parse(text).unwrap().warnings.join("\n");
    let local = "hostname = \"mail.a.example\"\n[[listener]]\naddress = \"ADDRESS\"\n[local]\n\
                 domains = [\"a.example\"]\ndeliver = \"maildir:/var/mail/{user}\"\ncreate = CREATE\n";
    for (address, create, warned) in [
        ("0.0.0.0:25", "true", true),
        ("0.0.0.0:25", "false", false),
        ("127.0.0.1:25", "true", false),
    ] {
        let said = warnings(&local.replace("ADDRESS", address).replace("CREATE", create));
        assert_eq!(
            said.contains("local.create"),
            warned,
            "{address} {create}: {said}"
        );
    }
    let relay = "hostname = \"mail.a.example\"\n[outgoing]\nmode = \"relay\"\n[outgoing.relay]\n\
                 host = \"relay.b.example\"\n[[sender]]\nmatch = \"@WHAT\"\nas = \"a@b.example\"\n";
    for (what, warned) in [
        ("host.lan", true),
        ("mail.a.example", false),
        (".a.example", false),
    ] {
        let said = warnings(&relay.replace("WHAT", what));
        assert_eq!(
            said.contains("match = \"@mail.a.example\""),
            warned,
            "{what}: {said}"
        );
    }
    let notes = |text: &str| parse(text).unwrap().proposals.join("\n");
    let host = "hostname = \"mail.a.example\"\ndata_dir = \"/var/lib/sendoff\"\n[aliases]\n";
    assert!(notes(host).contains("nobody reads the mail for root"));
    assert!(!notes(&format!("{host}root = \"you@b.example\"\n")).contains("nobody reads"));
}
