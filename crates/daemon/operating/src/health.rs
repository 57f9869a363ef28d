//! How the server fares, for whoever watches it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use console::Figures;
use node::event::{Event, Gauges};
use ops::{Healthy, VerbError};
use sources::leaving;
use store::Standing;
use tokio::sync::oneshot;

use crate::{Operating, process, unwritten};

/// The queue's owner answers within this time, or mail is not well taken in.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl Operating {
    /// What the queue's owner says, if it answers in time.
    pub(crate) async fn gauges(&self) -> Option<Gauges> {
        let (ask, told) = oneshot::channel();
        self.node.tell(Event::Gauges(ask));
        tokio::time::timeout(ANSWERS_WITHIN, told).await.ok()?.ok()
    }

    pub(crate) fn trouble(&self, gauges: Option<Gauges>) -> Option<String> {
        let operating = self;
        if operating.node.stopping.is_cancelled() {
            return Some("the server is shutting down".to_owned());
        }
        let health = operating.node.store.health();
        match health.standing {
            Standing::Ready => {}
            Standing::Lost(why) => return Some(format!("the queue's disk has failed: {why}")),
            Standing::Away(why) => {
                return Some(format!("the queue's store cannot be reached: {why}"));
            }
            Standing::Low => {
                return Some("the disk has less free space than queue.reserve".to_owned());
            }
            Standing::Exhausted => return Some("the disk has no space for the queue".to_owned()),
        }
        if let Some(behind) = health.behind {
            return Some(unwritten::trouble(&behind));
        }
        match gauges {
            Some(_) => None,
            None => Some(format!(
                "the scheduler does not answer within {} s",
                ANSWERS_WITHIN.as_secs()
            )),
        }
    }

    /// What is wrong on our side, so that mail waits.
    pub(crate) fn faults(&self) -> Vec<String> {
        let operating = self;
        let config = &operating.node.settings().config;
        let mut words = operating.sending.faults.words();
        words.extend(leaving::faults(&operating.sources, config));
        words
    }

    /// What does not keep mail back, and needs somebody.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let operating = self;
        let now = operating.node.now();
        let settings = operating.node.settings();
        let certificates = &settings.certificates;
        let ending = certificates.iter().filter_map(|c| c.ends(now));
        let ending = ending.map(|doubt| doubt.what);
        operating
            .node
            .reloads
            .refused()
            .into_iter()
            .chain(ending)
            .collect()
    }

    /// Of the configuration: the reload, and until when certificates hold.
    pub(crate) fn of_settings(&self) -> Vec<(&'static str, Vec<u64>)> {
        let operating = self;
        let refused = operating.node.reloads.refused().is_some();
        let mut values = vec![
            ("config_reload_failed", vec![u64::from(refused)]),
            (
                "config_read_timestamp_seconds",
                vec![operating.node.reloads.read()],
            ),
        ];
        values.extend(operating.node.settings().certificates.iter().map(|shown| {
            let until = shown.certificate.not_after.as_millis() / 1000;
            (shown.metric(), vec![until])
        }));
        values
    }

    /// Of those that nothing is sent to, of those who are told what happened, and of faults.
    pub(crate) fn of_lists(&self) -> [(&'static str, Vec<u64>); 6] {
        let listed = self.node.settings().policy.suppressed.len() as u64;
        let (told, unsent, states) = self.webhooks.figures();
        [
            ("suppressed_recipients", vec![listed]),
            ("webhook_events", told.to_vec()),
            ("webhook_unsent_events", vec![unsent]),
            ("webhooks", states.to_vec()),
            ("own_faults", vec![self.sending.faults.count()]),
            ("own_faults_standing", vec![self.faults().len() as u64]),
        ]
    }

    /// Of the queue on disk.
    pub(crate) fn of_spool(&self) -> Vec<(&'static str, Vec<u64>)> {
        let s = self.node.store.figures();
        let log = s.log.unwrap_or_default();
        vec![
            ("queue_recipients", vec![s.waiting]),
            ("queue_messages", vec![s.messages]),
            ("spool_written_bytes", vec![s.bytes_written]),
            ("spool_moved_bytes", vec![log.bytes_moved]),
            ("spool_commits", vec![s.commits]),
            ("spool_syncs", vec![log.syncs]),
            (
                "spool_segments",
                vec![log.hot_segments, log.cold_segments, log.free_segments],
            ),
            ("spool_segments_reclaimed", vec![log.reclaimed]),
            ("spool_damaged", vec![s.damaged]),
            ("spool_index_backlog", vec![s.index_backlog]),
        ]
    }

    pub(crate) fn figures(&self, gauges: Option<Gauges>, oldest_due: u64) -> Figures {
        let ready = self.trouble(gauges).is_none();
        let figures = &self.node.figures;
        let of = |name: &str| {
            let all = figures.all();
            all.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v)
        };
        let (sources, out_of_service) = leaving::counts(&self.sources);
        let mut values = vec![
            ("messages_accepted", vec![of("accepted")]),
            (
                "outcomes",
                ["delivered", "deferred", "failed", "expired"]
                    .map(of)
                    .to_vec(),
            ),
            ("refusals", figures.refusals().to_vec()),
            ("unknown_outcomes", vec![of("unknown_outcomes")]),
            ("messages_signed", vec![of("signed")]),
            (
                "connections",
                ["connections_in", "connections_out"].map(of).to_vec(),
            ),
            ("clear_after_failed_tls", vec![of("clear_after_failed_tls")]),
            (
                "tls_handshakes",
                ["tls_handshakes", "tls_resumptions"].map(of).to_vec(),
            ),
            ("tls_small_hellos", vec![of("small_hellos")]),
            (
                "returned",
                ["bounced", "complained", "unreadable_bounces"]
                    .map(of)
                    .to_vec(),
            ),
            ("sources", vec![sources]),
            ("sources_out_of_service", vec![out_of_service]),
            ("log_lines_lost", vec![self.node.journal.lost()]),
            ("ready", vec![u64::from(ready)]),
            ("oldest_due_seconds", vec![oldest_due]),
        ];
        values.extend(self.of_spool());
        values.extend(process::figures(self.node.now()));
        values.extend(self.of_lists().into_iter().chain(self.of_settings()));
        if let Some(g) = gauges {
            values.extend([
                ("scheduled_recipients", vec![g.recipients]),
                ("due_recipients", vec![g.due]),
                ("future_recipients", vec![g.future]),
                ("sites", vec![g.sites]),
                ("sessions", vec![g.busy, g.idle]),
                ("paused_domains", vec![g.paused]),
            ]);
        }
        let (delays, delays_sum_ms) = figures.delays.read();
        Figures {
            values,
            build: process::version(),
            delays,
            delays_sum_ms,
        }
    }
}

/// What keeps mail from leaving, where mail can be accepted.
///
/// # Errors
/// Why mail would be refused.
pub(crate) async fn health(operating: &Arc<Operating>) -> Result<Healthy, VerbError> {
    let gauges = operating.gauges().await;
    match operating.trouble(gauges) {
        Some(why) => Err(VerbError::unavailable(why)),
        None => Ok(Healthy(operating.faults())),
    }
}
