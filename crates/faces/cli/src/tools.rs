//! Tools that need no running server: MX lookup, DNS servers, what a mail server is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::BytesMut;
use config::{Config, RuleKeys};
use mail::Domain;
use net::{Answer, Dns};
use node::answers::answer;
use route::{MxRecord, Router, Step, Target};
use serde_json::json;
use smtp::extension::Extensions;
use smtp::reply::ReplyParser;
use terminal::print;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Ends;

/// How long a server is waited for.
const WAIT: Duration = Duration::from_secs(30);
/// How long a DNS server is waited for that is tried.
const DNS_TRIED: Duration = Duration::from_secs(10);

async fn dns(config: &Config) -> Result<Dns> {
    Ok(Dns::new(&config.dns).await?)
}

fn show(json: bool, value: &serde_json::Value, text: &str) -> Result<()> {
    match json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        false => print(text),
    }
    Ok(())
}

/// Where the mail of a domain would go, with this configuration.
pub(crate) async fn mx(config: &Config, domain: &str, json: bool) -> Result<()> {
    let domain = Domain::parse(domain)?;
    let dns = dns(config).await?;
    let via = config
        .rules
        .effective(&domain)
        .key(|r: &RuleKeys| r.via_smtp.clone());
    let (mut router, mut step) = Router::begin(&config.routing, &domain, via.as_ref(), net::now());
    let next = loop {
        step = match step {
            Step::Go(next) => break next,
            Step::No(verdict) => {
                let value = json!({"domain": domain.as_str(), "error": verdict.reply.to_string()});
                show(json, &value, &format!("{domain}: {}\n", verdict.reply))?;
                return Err(Ends(1).into());
            }
            Step::AskMx(name) => {
                router.mx_answer(answer(dns.mx(name.as_str()).await.answer, |mx| MxRecord {
                    preference: mx.preference,
                    exchange: mx.exchange,
                }))
            }
            Step::AskAddress(name) => {
                router.address_answer(answer(dns.addresses(name.as_str()).await.answer, |ip| ip))
            }
        };
    };
    let how = match (next.relay, next.configured) {
        (true, _) => "Relay Mode: everything goes to",
        (false, true) => "a Via SMTP rule sends it to",
        (false, false) => "DNS sends it to",
    };
    let mut text = format!("{domain}: {how}\n");
    let mut hosts = Vec::new();
    for host in &next.hosts {
        let found = match host.addresses {
            route::HostAddresses::Literal(ip) => Ok(vec![ip]),
            route::HostAddresses::LookUp => match dns.addresses(host.name.as_str()).await.answer {
                Answer::Found(list) => {
                    let usable = config.routing.usable(&next, host, &list);
                    usable.map_err(|why| why.to_string())
                }
                Answer::NoData | Answer::NxDomain => Err("it has no address".to_owned()),
                Answer::Failed(why) => Err(why.to_string()),
            },
        };
        let shown = match &found {
            Ok(list) => list
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Err(why) => format!("not used: {why}"),
        };
        text.push_str(&format!(
            "{:>6} {}:{} {shown}\n",
            host.preference, host.name, host.port
        ));
        hosts.push(json!({
            "preference": host.preference, "host": host.name.as_str(), "port": host.port,
            "addresses": found.clone().unwrap_or_default(), "error": found.err(),
        }));
    }
    show(
        json,
        &json!({"domain": domain.as_str(), "hosts": hosts}),
        &text,
    )
}

/// The DNS servers in the order in which they are asked.
pub(crate) async fn dns_list(config: &Config, json: bool) -> Result<()> {
    let dns = dns(config).await?;
    let mut text = String::new();
    let mut list = Vec::new();
    for server in dns.servers() {
        let from = if server.given {
            "given"
        } else {
            "found on this computer"
        };
        text.push_str(&format!("{}  {from}\n", server.address));
        list.push(json!({"address": server.address.to_string(), "given": server.given}));
    }
    for why in dns.trouble() {
        text.push_str(&format!("{why}\n"));
        list.push(json!({"error": why}));
    }
    if list.is_empty() {
        text.push_str("There is no DNS server: set dns.servers, or the computer's network.\n");
    }
    show(json, &json!(list), &text)
}

/// What a DNS server is good for.
struct Tried {
    usable: bool,
    what: String,
    took: u128,
    /// Nothing where it does not answer.
    dnssec: Option<&'static str>,
}

/// Asks every server by itself, all at once, what sending mail needs.
pub(crate) async fn dns_test(config: &Config, json: bool) -> Result<()> {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for server in dns(config).await?.servers() {
        // One that is given may be the computer's as well.
        if !servers.contains(&server.address) {
            servers.push(server.address);
        }
    }
    if servers.is_empty() {
        return Err(anyhow!(
            "there is no DNS server: set dns.servers, or the computer's network"
        ));
    }
    let ask = |server: &SocketAddr| {
        let mut settings = config.dns.clone();
        settings.servers = vec![server.to_string()];
        settings.detect_if_given_fail = false;
        tokio::spawn(try_server(settings))
    };
    let asked: Vec<_> = servers.iter().map(ask).collect();
    let mut text = String::new();
    let mut list = Vec::new();
    let mut usable = false;
    for (server, asked) in servers.iter().zip(asked) {
        let tried = asked.await??;
        usable |= tried.usable;
        let dnssec = tried.dnssec.map(|word| format!("; {word}"));
        let dnssec = dnssec.unwrap_or_default();
        text.push_str(&format!(
            "{server}  {} in {} ms{dnssec}\n",
            tried.what, tried.took
        ));
        list.push(json!({
            "address": server.to_string(), "usable": tried.usable, "what": tried.what,
            "ms": u64::try_from(tried.took).unwrap_or(u64::MAX), "dnssec": tried.dnssec,
        }));
    }
    show(json, &json!(list), &text)?;
    match usable {
        true => Ok(()),
        false => Err(anyhow!(
            "none of these DNS servers can be used to send mail now: check whether they run and whether this computer \
             reaches them, or name others in dns.servers"
        )),
    }
}

async fn try_server(settings: net::DnsSettings) -> Result<Tried> {
    let one = Dns::new(&settings).await?;
    let began = Instant::now();
    // A name that no one can own (RFC 6761 §6.5): an honest server says that it is not there. Not one
    // under .invalid, which the resolver answers by itself.
    let honest = tokio::time::timeout(DNS_TRIED, one.mx("sendoff-test.example")).await;
    let took = began.elapsed().as_millis();
    let (usable, what) = match honest.map(|found| found.answer) {
        Ok(Answer::NxDomain) => (true, "answers".to_owned()),
        Ok(Answer::NoData) => (
            true,
            "answers (but hides that a name does not exist)".to_owned(),
        ),
        Ok(Answer::Found(_)) => (
            false,
            "invents answers for names that do not exist".to_owned(),
        ),
        Ok(Answer::Failed(why)) => (false, format!("cannot be used: {why}")),
        Err(_) => (false, "does not answer".to_owned()),
    };
    let dnssec = match usable {
        true => Some(one.dnssec().await.word()),
        false => None,
    };
    Ok(Tried {
        usable,
        what,
        took,
        dnssec,
    })
}

/// What a mail server says of itself.
pub(crate) async fn what_smtp(config: &Config, host: &str, json: bool) -> Result<()> {
    let target = Target::parse(host, 25)?;
    let addresses = match target.host.literal() {
        Some(ip) => vec![ip],
        None => match dns(config)
            .await?
            .addresses(target.host.as_str())
            .await
            .answer
        {
            Answer::Found(list) => list,
            Answer::NoData | Answer::NxDomain | Answer::Failed(_) => {
                net::addresses_by_system(target.host.as_str())
                    .await
                    .map_err(|e| anyhow!("{} cannot be found: {e}", target.host))?
            }
        },
    };
    let began = Instant::now();
    let mut stream = net::connect(&addresses, target.port, WAIT).await?;
    let peer = stream.peer_addr()?;
    let connected = began.elapsed().as_millis();
    let mut input = BytesMut::new();
    let greeting = read(&mut stream, &mut input).await?;
    let greeted = began.elapsed().as_millis();
    stream
        .write_all(format!("EHLO {}\r\n", config.hostname).as_bytes())
        .await?;
    let ehlo = read(&mut stream, &mut input).await?;
    stream.write_all(b"QUIT\r\n").await?;
    let offered = Extensions::parse(&ehlo).to_string();
    let text = format!(
        "{target} is {peer}, connected in {connected} ms, greeted in {greeted} ms\n\
         Greeting: {greeting}\nOffers: {}\n",
        offered.replace('\n', ", ")
    );
    let value = json!({
        "address": peer.to_string(), "greeting": greeting.to_string(),
        "offers": offered.lines().collect::<Vec<_>>(),
    });
    show(json, &value, &text)
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> Result<mail::Reply> {
    let mut parser = ReplyParser::new();
    loop {
        if let Some(reply) = parser.feed(input)? {
            return Ok(reply);
        }
        let read = tokio::time::timeout(WAIT, stream.read_buf(input)).await;
        if read.map_err(|_| anyhow!("it does not answer within {} s", WAIT.as_secs()))?? == 0 {
            return Err(anyhow!("it closed the connection"));
        }
    }
}
