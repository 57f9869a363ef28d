//! Starting, reloading and stopping the server.

use std::sync::Arc;

use accounts::ConsoleAccounts;
use anyhow::{Context, Result, anyhow};
use backup::opening;
use config::Config;
use dispatch::queue::{Ended, Owner};
use journal::Journal;
use mail::{Domain, Timestamp};
use node::clock::{self, JudgedClock};
use node::event::Event;
use node::reloads::Reloads;
use node::{Node, counting, loading, quotas};
use operating::{Operating, http, later, own_mail, socket, unwritten};
use protection::tls_reports;
use reception::{collect, floods, listening, user_sessions};
use returns::suppression;
use sending::token;
use sources::warm_up;
use spool::{HistoryFound, Recovered};
use store::{Standing, Store};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::Manager;
use crate::shared::Shared;
use crate::started::Started;
use crate::{alive, forgetting, reload, welcome};

/// How often damage that was found on disk is told.
const DAMAGE_LOOKED_FOR: std::time::Duration = std::time::Duration::from_secs(10);

/// How often it is said which certificates end soon.
const CERTIFICATES_LOOKED_AT: std::time::Duration = std::time::Duration::from_secs(86_400);

/// How often the history is looked through for what is older.
const HISTORY_LOOKED_AT: std::time::Duration = std::time::Duration::from_secs(3600);

/// Opens everything, serves until a signal or until `stop`, and ends in order.
pub async fn serve(started: Started, stop: CancellationToken) -> Result<()> {
    let manager = Manager::find().context("the service manager (NOTIFY_SOCKET)")?;
    let Started { config, .. } = started;
    rights::close_to_others(&config)?;
    let journal = Journal::open(&config.log).with_context(|| {
        let file = config.log.file.as_deref().map(|f| f.display().to_string());
        let file = file.unwrap_or_else(|| "standard output".to_owned());
        format!("opening the log {file} (log.file): is this user allowed to write there")
    })?;
    let (spool, recovered) = opening::open_spool(&config)?;
    let clock = net::system_clock();
    let start = clock.now();
    let line = journal
        .line(start, "start")
        .field("version", version::VERSION);
    line.field("hostname", &config.hostname)
        .field("waiting", recovered.waiting)
        .send();
    log_recovery(&journal, &recovered, start);
    log_space(&journal, &spool, &config, start);
    let warnings = reload::warn(&journal, &config, start);
    let mut config = config;
    config.intake.usage = quotas::restore(&config.data_dir, &journal, start);
    let accounts = ConsoleAccounts::open(&config.data_dir).context("the console's accounts")?;
    let settings = loading::settings(config).await?;
    let (events, received) = mpsc::unbounded_channel();
    let clock = JudgedClock::new(clock, &recovered.controls);
    let (reloads, wanted) = Reloads::new(clock.handle().now());
    let queue = Arc::new(spool);
    let node = Node::new(
        settings,
        queue,
        journal,
        events,
        clock,
        console::COPIES,
        reloads,
    );
    let operating = Arc::new(Operating::new(Arc::new(node), accounts));
    let shared = Arc::new(Shared { operating, manager });
    counting::begin(&shared.operating.node);
    warm_up::begin(&shared.operating.sources);
    let tasks = TaskTracker::new();
    let owner = restore(&shared, &recovered, &tasks).await?;
    webhooks::begin(&shared.operating.webhooks)
        .await
        .context("webhooks")?;
    // Whoever has been answered may stop it at once: a signal that nobody listens for would kill it.
    let signals = Signals::listen().context("listening for signals")?;
    open_doors(&shared)?;
    collect::prepare(&shared.operating.node);
    tasks.spawn(collect::collect(Arc::clone(&shared.operating.reception)));
    listening::begin(&shared.operating.reception, started.listeners, &tasks)?;
    let (accounts, clock) = (&shared.operating.accounts, &shared.operating.node.clock);
    let pages = |backend: &_| web::pages(backend, accounts, clock.handle());
    http::open(&shared.operating, started.http, pages, &tasks)?;
    watch(&shared, &tasks);
    tokio::spawn(reload::serve(Arc::clone(&shared), wanted));
    tokio::spawn(obey(signals, Arc::clone(&shared), stop));
    welcome::show(&shared.operating.node.settings().config, &warnings);
    shared.manager.ready();
    tokio::spawn(alive::keep_telling(Arc::clone(&shared)));
    let ended = owner.run(received).await;
    finish(&shared, &tasks, ended).await
}

/// Begins what goes on beside the mail: watching, telling, forgetting.
fn watch(shared: &Arc<Shared>, tasks: &TaskTracker) {
    let operating = &shared.operating;
    tokio::spawn(look_at_dns(Arc::clone(&operating.node)));
    tokio::spawn(look_for_damage(Arc::clone(&operating.node)));
    tokio::spawn(token::keep(Arc::clone(&operating.sending)));
    tokio::spawn(unwritten::watch(Arc::clone(&operating.node)));
    tokio::spawn(forget_history(Arc::clone(shared)));
    tokio::spawn(end_details(Arc::clone(&operating.node)));
    tokio::spawn(floods::keep_telling(Arc::clone(&operating.reception)));
    tokio::spawn(tell_of_certificates(Arc::clone(shared)));
    tokio::spawn(user_sessions::keep(Arc::clone(&operating.reception)));
    tokio::spawn(quotas::keep(Arc::clone(&operating.node)));
    tokio::spawn(later::keep(Arc::clone(operating)));
    tokio::spawn(counting::keep(Arc::clone(&operating.node)));
    tasks.spawn(tls_reports::keep(Arc::clone(&operating.protection)));
    tokio::spawn(tls_reports::send(Arc::clone(&operating.protection)));
}

/// Opens the sockets of the data directory: for administrators, and for every user.
fn open_doors(shared: &Arc<Shared>) -> Result<()> {
    let data_dir = &shared.operating.node.settings().config.data_dir;
    let door = socket::open(data_dir).context("opening the admin socket")?;
    tokio::spawn(socket::serve(Arc::clone(&shared.operating), door));
    let door = own_mail::open(data_dir).context("opening the socket of mailq")?;
    tokio::spawn(own_mail::serve(Arc::clone(&shared.operating.node), door));
    Ok(())
}

fn log_recovery(journal: &Journal, recovered: &Recovered, now: Timestamp) {
    for damaged in &recovered.quarantined {
        let what = match damaged.unreadable {
            true => {
                "the disk cannot read part of the queue; mail in it may be lost. Check the disk and replace it"
            }
            false => "part of the queue is damaged and was set aside; mail in it may be lost",
        };
        let line = journal.line(now, "error").field("what", what);
        line.field(
            "where",
            format_args!(
                "{}, octets {} to {}, kept in {}",
                damaged.segment, damaged.from, damaged.to, damaged.file
            ),
        )
        .send();
    }
    for missing in &recovered.missing {
        let what = "part of the queue is missing; mail in it is lost. Put the file back if you have it: stop \
                    the server first";
        let line = journal.line(now, "error").field("what", what);
        line.field("where", missing).send();
    }
    for id in &recovered.lost {
        let what = "waiting mail is missing from both the queue and the history";
        let line = journal.line(now, "error").field("what", what);
        let kept = recovered.old_index.as_deref().unwrap_or("nothing");
        line.field("id", id).field("known-by", kept).send();
    }
    let lost = match &recovered.history {
        HistoryFound::There => None,
        HistoryFound::New => Some("the queue's history (spool/history.db) is missing".to_owned()),
        HistoryFound::SetAside(kept) => Some(format!(
            "the queue's history was damaged and is kept as spool/{kept}"
        )),
    };
    if let Some(lost) = lost {
        let what = "lost with it: what was delivered and failed, the suppression list, which messages were submitted \
                    under a key before, and which events were sent to webhooks. A new one was started";
        let line = journal.line(now, "error").field("what", lost);
        line.field("why", what).send();
    }
    if recovered.gave_up_ballast {
        let what = "the disk is full; the space that the queue reserves for this case was used to start. Free some \
                    space: until then mail is refused, but deliveries continue";
        journal.line(now, "error").field("what", what).send();
    }
    if recovered.index_rebuilt {
        journal
            .line(now, "warning")
            .field("what", "the queue's index was rebuilt from the log")
            .send();
    }
    if recovered.torn_bytes > 0 {
        let line = journal.line(now, "recovered");
        line.field(
            "what",
            "an incomplete write from before a crash was removed; nothing in it had been accepted",
        )
        .field("bytes", recovered.torn_bytes)
        .send();
    }
}

/// Says when there is less room than the reserve: mail is refused then.
fn log_space(journal: &Journal, store: &dyn Store, config: &Config, now: Timestamp) {
    if matches!(store.health().standing, Standing::Low | Standing::Exhausted) {
        let what = "the queue's disk has less free space than queue.reserve: mail is refused until there is more";
        let line = journal.line(now, "warning").field("what", what);
        line.field("reserve", config.queue.reserve_bytes).send();
    }
}

/// What waits, as it waited before the restart.
async fn restore(
    shared: &Arc<Shared>,
    recovered: &Recovered,
    tasks: &TaskTracker,
) -> Result<Owner> {
    for (name, value) in &recovered.controls {
        shared.operating.node.controls.restore(name, value);
        shared.operating.dispatch.reactions.restore(name, value);
        later::restore(&shared.operating, name, Some(value));
    }
    let handles = Arc::clone(shared);
    tokio::task::spawn_blocking(move || suppression::restore(&handles.operating.node))
        .await?
        .context("loading the suppression list")?;
    let mut owner = Owner::new(Arc::clone(&shared.operating.dispatch), tasks.clone());
    for name in recovered.controls.keys() {
        if let Some(domain) = name
            .strip_prefix("pause:")
            .and_then(|d| Domain::parse(d).ok())
        {
            owner.restore_pause(shared.operating.node.now(), &domain);
        }
    }
    let behind = clock::behind(&shared.operating.node, recovered.highest);
    let now = shared.operating.node.now();
    let (owner, result) = tokio::task::spawn_blocking(move || {
        let result = owner.restore(now, behind.unwrap_or_default());
        (owner, result)
    })
    .await?;
    if let Some(by) = behind {
        clock::tell_behind(&shared.operating.node, by);
    }
    result.context("loading waiting mail")?;
    let line = shared
        .operating
        .node
        .journal
        .line(shared.operating.node.now(), "restored");
    line.field("recipients", owner.recipients()).send();
    Ok(owner)
}

/// Says what of the queue was found damaged, when it is found.
async fn look_for_damage(node: Arc<Node>) {
    loop {
        // A thread of the queue's may fail without anybody's commit failing.
        if let Standing::Lost(why) = node.store.health().standing {
            return node.tell(Event::Fatal(why.to_string()));
        }
        clock::watch(&node);
        for damaged in node.store.take_damaged() {
            let line = node
                .journal
                .line(node.now(), "error")
                .field("what", "damage on disk");
            line.field("why", damaged).send();
        }
        tokio::time::sleep(DAMAGE_LOOKED_FOR).await;
    }
}

/// Says every day which certificates in use end soon.
async fn tell_of_certificates(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CERTIFICATES_LOOKED_AT) => {}
            () = shared.operating.node.stopping.cancelled() => return,
        }
        let settings = shared.operating.node.settings();
        let now = shared.operating.node.now();
        for doubt in settings.certificates.iter().filter_map(|c| c.ends(now)) {
            let line = shared.operating.node.journal.line(now, "warning");
            line.field("what", doubt.what).send();
        }
    }
}

/// Ends detailed logging that was switched on for a time.
async fn end_details(node: Arc<Node>) {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if node.journal.has_detail() {
            node.journal.expire_detail(node.now());
        }
    }
}

/// Forgets what finished long ago, so that the history does not grow for ever.
async fn forget_history(shared: Arc<Shared>) {
    loop {
        if !shared.operating.node.clock.is_believed() {
            let what = "the system clock is far ahead of the times in the queue: nothing is deleted because of its \
                        age until the clock has run for a day without being changed";
            shared
                .operating
                .node
                .journal
                .line(shared.operating.node.now(), "warning")
                .field("what", what)
                .send();
            tokio::time::sleep(HISTORY_LOOKED_AT).await;
            continue;
        }
        let before =
            shared.operating.node.now() - shared.operating.node.settings().config.queue.history;
        let done = forgetting::forget(&shared.operating.node, before).await;
        let handles = Arc::clone(&shared);
        let over = tokio::task::spawn_blocking(move || {
            let now = handles.operating.node.now();
            handles.operating.protection.sts.sweep(now);
            suppression::expire(&handles.operating.returns)
        });
        let over = over.await;
        if let Ok(Err(why)) = over {
            let line = shared
                .operating
                .node
                .journal
                .line(shared.operating.node.now(), "error");
            line.field("what", "suppression list")
                .field("why", why)
                .send();
        }
        if let Err(error) = done {
            let line = shared
                .operating
                .node
                .journal
                .line(shared.operating.node.now(), "error")
                .field("what", "history");
            line.field("why", error).send();
        }
        tokio::time::sleep(HISTORY_LOOKED_AT).await;
    }
}

/// Whether the DNS servers are of use, for the log. Mail never waits for this.
async fn look_at_dns(node: Arc<Node>) {
    let settings = node.settings();
    let servers: Vec<String> = settings
        .dns
        .servers()
        .iter()
        .map(|s| s.address.to_string())
        .collect();
    if matches!(settings.config.routing.mode, route::Mode::Relay(_)) {
        return;
    }
    for why in settings.dns.trouble() {
        node.journal
            .line(node.now(), "dns")
            .field("what", why)
            .send();
    }
    let line = node.journal.line(node.now(), "dns");
    if servers.is_empty() {
        let what =
            "no DNS server is configured or found: mail waits until there is one (dns.servers)";
        return line.field("what", what).send();
    }
    let what = settings.dns.dnssec().await.word();
    line.field("servers", servers.join(","))
        .field("what", what)
        .send();
}

/// What the server is told by signals. One that comes before this is made ends the process or is lost.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

async fn obey(signals: Signals, shared: Arc<Shared>, stop: CancellationToken) {
    let Signals {
        mut term,
        mut int,
        mut hup,
    } = signals;
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            () = stop.cancelled() => break,
            _ = hup.recv() => {
                // It is logged, and shown to those who watch.
                drop(shared.operating.node.reloads.reload("SIGHUP").await);
            }
        }
    }
    shared
        .operating
        .node
        .journal
        .line(shared.operating.node.now(), "stopping")
        .field("why", "signal")
        .send();
    shared.manager.stopping();
    shared.operating.node.stopping.cancel();
    shared.operating.node.tell(Event::Stop);
}

async fn finish(shared: &Arc<Shared>, tasks: &TaskTracker, ended: Ended) -> Result<()> {
    if let Ended::Fatal(why) = ended {
        let line = shared
            .operating
            .node
            .journal
            .line(shared.operating.node.now(), "fatal")
            .field("what", &why);
        line.field(
            "remedy",
            "check the disk, then start again: nothing accepted is lost",
        )
        .send();
        shared.operating.node.journal.close();
        return Err(anyhow!("{why}"));
    }
    tasks.close();
    // What is still on the wire has had its time; its state is durable, and it will be re-sent.
    drop(tokio::time::timeout(std::time::Duration::from_secs(5), tasks.wait()).await);
    let handles = Arc::clone(shared);
    let flushed = tokio::task::spawn_blocking(move || {
        // Every outcome that was reported is on disk, and in the log, before the end.
        handles.operating.node.store.drain();
        warm_up::end(&handles.operating.sources);
        user_sessions::write_origins(&handles.operating.reception);
        quotas::end(&handles.operating.node);
        handles.operating.node.store.catch_up()
    })
    .await;
    if let Ok(Err(error)) = flushed {
        shared
            .operating
            .node
            .journal
            .line(shared.operating.node.now(), "error")
            .field("what", "index")
            .field("why", error)
            .send();
    }
    shared
        .operating
        .node
        .journal
        .line(shared.operating.node.now(), "stopped")
        .send();
    shared.operating.node.journal.close();
    Ok(())
}
