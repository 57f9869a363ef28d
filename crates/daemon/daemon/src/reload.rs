//! Reading the configuration again while the server runs.

use std::sync::Arc;

use config::Config;
use journal::Journal;
use mail::Timestamp;
use node::event::Event;
use node::loading::settings;
use node::reloads::Wanted;
use reception::listening;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::shared::Shared;

/// Reads the configuration again as often as somebody wants it, one time after another.
pub(crate) async fn serve(shared: Arc<Shared>, mut wanted: UnboundedReceiver<Wanted>) {
    while let Some(wanted) = wanted.recv().await {
        let came = reload(&shared, &wanted.because).await;
        // It is logged too, for whoever has gone.
        drop(wanted.told.send(came));
    }
}

/// Reads the configuration again and puts it in force, as a whole or not at all; logs what came of it.
async fn reload(shared: &Arc<Shared>, because: &str) -> Result<String, String> {
    shared.manager.reloading();
    // Settings are large, and whoever asks is not to hold room for two of them.
    let result = Box::pin(read_again(shared)).await;
    // The old settings are in force where the new ones were refused: ready in either case.
    shared.manager.ready();
    let now = shared.operating.node.now();
    let line = shared
        .operating
        .node
        .journal
        .line(now, "reload")
        .field("because", because);
    match &result {
        Ok(_) => line.field("result", "done").send(),
        Err(why) => line.field("result", "refused").field("why", why).send(),
    }
    let came = result.as_ref().map(|_| ()).map_err(Clone::clone);
    shared.operating.node.reloads.came(came, now);
    result
}

async fn read_again(shared: &Arc<Shared>) -> Result<String, String> {
    let old = shared.operating.node.settings();
    let path = old.config.path.clone();
    let path = path.ok_or("this server runs without a configuration file")?;
    let sandbox = old.config.sandbox.in_force.clone();
    let config = Config::load(&path).map_err(|e| rights::explain(&sandbox, &e.to_string()))?;
    let mut words = vec!["The configuration is in force.".to_owned()];
    let fixed = [
        (config.data_dir != old.config.data_dir, "data_dir"),
        (
            config.console.listeners != old.config.console.listeners,
            "console.address or [[http]]",
        ),
        (config.user != old.config.user, "user"),
        (
            config.sandbox.enabled != old.config.sandbox.enabled,
            "sandbox.enabled",
        ),
        (config.log.file != old.config.log.file, "log.file"),
        (
            config.queue.segment_bytes != old.config.queue.segment_bytes
                || config.queue.reserve_bytes != old.config.queue.reserve_bytes,
            "queue.segment_size or queue.reserve",
        ),
    ];
    if let Some((_, what)) = fixed.iter().find(|(changed, _)| *changed) {
        return Err(format!(
            "{what} changed, which needs a restart; nothing was changed"
        ));
    }
    if let Some(why) = rights::lacks(&sandbox, &config) {
        return Err(format!("{why}; nothing was changed"));
    }
    // Dropped, and closed again, where something else is wrong.
    let prepared = shared
        .operating
        .reception
        .listening
        .prepare(&config.listeners);
    let prepared = prepared.map_err(|why| format!("{why}; nothing was changed"))?;
    let mut config = config;
    config.sandbox.in_force = sandbox.clone();
    // What was used of a quota stays used.
    config.intake.usage = Arc::clone(&old.policy.usage);
    config.intake.suppressed = Arc::clone(&old.policy.suppressed);
    let settings = settings(config).await;
    let settings = settings.map_err(|e| rights::explain(&sandbox, &format!("{e:#}")))?;
    rights::set_umask(&settings.config);
    let node = &shared.operating.node;
    words.extend(warn(&node.journal, &settings.config, node.now()));
    if settings.config.log.detailed != old.config.log.detailed {
        // Otherwise what an administrator switched by hand stays.
        let until = settings.config.log.detailed.then_some(Timestamp::MAX);
        shared.operating.node.journal.set_detailed(None, until);
    }
    shared.operating.node.replace_settings(settings);
    listening::change(&shared.operating.reception, prepared);
    shared.operating.sources.states.forget_troubles();
    shared.operating.sending.faults.forget();
    shared.operating.sending.oauth.begin_anew().await;
    shared.operating.protection.policies.forget_failures();
    shared.operating.webhooks.reload();
    shared.operating.node.tell(Event::Reloaded);
    Ok(words.join("\n"))
}

/// Logs what works and will hurt; as lines for whoever asked for a reload.
pub(crate) fn warn(journal: &Journal, config: &Config, now: Timestamp) -> Vec<String> {
    let doubts = doubts::of(config, now).into_iter().map(|doubt| doubt.what);
    let all = config.warnings.iter().cloned().chain(doubts);
    let log = |what: String| {
        journal.line(now, "warning").field("what", &what).send();
        format!("warning: {what}.")
    };
    all.map(log).collect()
}
