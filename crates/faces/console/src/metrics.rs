//! The figures for Prometheus, in the OpenMetrics text format.
//!
//! Every metric stands in one table, which docs/metrics.md repeats. Labels are from closed sets:
//! nothing that comes from mail is ever a label.

use ops::DELAY_BOUNDS;
use std::fmt;

use mail::ReplyKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What kind of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, from the start of the server.
    Counter,
    /// The same, of time: given in milliseconds, written in seconds.
    Time,
    /// It rises and falls.
    Gauge,
}

/// A metric.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its name, without the prefix `sendoff_` and, for counters, the suffix `_total`.
    pub(crate) name: &'static str,
    /// Its kind.
    pub(crate) kind: Kind,
    /// What it counts.
    pub(crate) help: &'static str,
    /// The name of its one label and that label's values, in the order of the figures.
    pub(crate) label: Option<(&'static str, &'static [&'static str])>,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
        label: None,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
        label: None,
    }
}

/// Every metric but the histogram of delays and the version.
pub(crate) const METRICS: [Metric; 46] = [
    counter(
        "messages_accepted",
        "Messages accepted into the queue, including reports of this server",
    ),
    Metric {
        name: "outcomes",
        kind: Kind::Counter,
        help: "Results of delivery attempts, one for each recipient",
        label: Some(("outcome", &["delivered", "deferred", "failed", "expired"])),
    },
    Metric {
        name: "refusals",
        kind: Kind::Counter,
        help: "Unsuccessful delivery attempts, one for each recipient, by what the answer was about",
        label: Some(("kind", &ReplyKind::WORDS)),
    },
    counter(
        "unknown_outcomes",
        "Messages that were sent completely, but the host did not answer",
    ),
    counter(
        "messages_signed",
        "Messages signed with DKIM when they were accepted or generated",
    ),
    Metric {
        name: "connections",
        kind: Kind::Counter,
        help: "Connections: from SMTP clients (in) and to other servers (out)",
        label: Some(("direction", &["in", "out"])),
    },
    counter(
        "clear_after_failed_tls",
        "Sessions that continued unencrypted because TLS had failed",
    ),
    Metric {
        name: "tls_handshakes",
        kind: Kind::Counter,
        help: "TLS sessions with other servers: with a full handshake, or resumed",
        label: Some(("kind", &["full", "resumed"])),
    },
    counter(
        "tls_small_hellos",
        "TLS handshakes with a smaller first message, for hosts that do not answer the usual one",
    ),
    Metric {
        name: "returned",
        kind: Kind::Counter,
        help: "Mail to the return paths of this server: bounces, complaints, and mail that could not be read",
        label: Some(("kind", &["bounced", "complained", "unreadable"])),
    },
    gauge("suppressed_recipients", "Entries of the suppression list"),
    Metric {
        name: "webhook_events",
        kind: Kind::Counter,
        help: "Events that were sent to webhooks, and events that were set aside",
        label: Some(("what", &["sent", "put_aside"])),
    },
    gauge(
        "webhook_unsent_events",
        "Unsent events of the webhook that has the most",
    ),
    Metric {
        name: "webhooks",
        kind: Kind::Gauge,
        help: "Webhooks, by their state",
        label: Some(("state", &["up", "failing", "paused", "stopped"])),
    },
    gauge(
        "queue_recipients",
        "Waiting recipients in the queue on disk",
    ),
    gauge("queue_messages", "Messages in the queue on disk"),
    gauge(
        "scheduled_recipients",
        "Recipients loaded into the scheduler",
    ),
    gauge(
        "due_recipients",
        "Recipients that are due and wait for a connection",
    ),
    gauge(
        "oldest_due_seconds",
        "How long the most overdue recipient has been due, held ones excluded; 0 if none is due",
    ),
    gauge(
        "future_recipients",
        "Recipients with a first attempt scheduled for later",
    ),
    gauge("sites", "Sites that mail goes to"),
    gauge("sources", "Source addresses in the configuration"),
    gauge(
        "sources_out_of_service",
        "Source addresses that cannot be used at present",
    ),
    Metric {
        name: "sessions",
        kind: Kind::Gauge,
        help: "Open SMTP sessions with other servers",
        label: Some(("state", &["busy", "idle"])),
    },
    gauge("paused_domains", "Domains that are paused"),
    counter("spool_written_bytes", "Octets written to the queue's log"),
    counter(
        "spool_moved_bytes",
        "Octets of these that were written to move live data out of old segments",
    ),
    counter("spool_commits", "Commits to the queue's log"),
    counter("spool_syncs", "Syncs of the queue's log"),
    Metric {
        name: "spool_segments",
        kind: Kind::Gauge,
        help: "Segments of the queue's log",
        label: Some(("lane", &["hot", "cold", "free"])),
    },
    counter(
        "spool_segments_reclaimed",
        "Segments of the queue's log that were reused",
    ),
    counter("spool_damaged", "Damaged places found on disk"),
    gauge(
        "spool_index_backlog",
        "Changes not yet written to the index",
    ),
    counter(
        "log_lines_lost",
        "Lines missing from the log because it could not be written, or not fast enough",
    ),
    counter(
        "own_faults",
        "Attempts that ended with a fault on this side: a refused login, or a configured server that does not \
         exist or does not prove its name",
    ),
    gauge(
        "own_faults_standing",
        "Faults on this side that prevent mail from leaving, including source addresses out of service",
    ),
    gauge(
        "config_reload_failed",
        "Whether the last reload of the configuration was refused: 1 or 0",
    ),
    gauge(
        "config_read_timestamp_seconds",
        "When the active configuration was read (Unix time)",
    ),
    gauge(
        "tls_certificate_not_after_timestamp_seconds",
        "When the certificate of the listeners expires (tls.certificate, Unix time); missing if there is no \
         certificate",
    ),
    gauge(
        "client_certificate_not_after_timestamp_seconds",
        "When the certificate shown to other servers expires (outgoing.client_certificate, Unix time); missing if \
         there is no certificate",
    ),
    gauge("ready", "Whether mail can be accepted: 1 or 0"),
    gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process",
    ),
    Metric {
        name: "process_cpu_seconds",
        kind: Kind::Time,
        help: "CPU time of the process, user and system",
        label: None,
    },
    gauge("process_open_fds", "Open files and sockets of the process"),
    gauge(
        "process_max_fds",
        "Limit of open files and sockets; missing if there is no limit",
    ),
    gauge(
        "process_start_time_seconds",
        "When the process was started (Unix time)",
    ),
];

/// The name of the histogram.
pub(crate) const DELAY: &str = "delivery_delay_seconds";
/// What it counts.
pub(crate) const DELAY_HELP: &str = "Time from acceptance to delivery, one for each recipient";

/// The name of what tells the version.
pub(crate) const BUILD: &str = "build_info";
/// What it says.
pub(crate) const BUILD_HELP: &str =
    "Always 1; its labels are the version, and the commit that a release was built from";

/// What is measured, now.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The values of each metric of `METRICS` by its name: one, or one for each value of its
    /// label.
    pub values: Vec<(&'static str, Vec<u64>)>,
    /// The version, and the commit; empty where that is not known.
    pub build: (&'static str, &'static str),
    /// Deliveries within each of [`DELAY_BOUNDS`] and above the one before, and those above all.
    pub delays: [u64; DELAY_BOUNDS.len() + 1],
    /// The sum of all delays, in milliseconds.
    pub delays_sum_ms: u64,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &METRICS {
            let kind = match metric.kind {
                Kind::Counter | Kind::Time => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let values = self.values.iter().find(|(name, _)| *name == metric.name);
            let values = values.map(|(_, v)| v.as_slice()).unwrap_or_default();
            let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            let Some((label, names)) = metric.label else {
                if let Some(value) = values.first() {
                    encode_value(&mut encoder, metric.kind, *value)?;
                }
                continue;
            };
            for (name, value) in names.iter().zip(values) {
                let labels = [(label, *name)];
                let mut encoder = encoder.encode_family(&labels)?;
                encode_value(&mut encoder, metric.kind, *value)?;
            }
        }
        let (version, commit) = self.build;
        let labels = [("version", version), ("commit", commit)];
        let mut build = encoder.encode_descriptor(BUILD, BUILD_HELP, None, MetricType::Gauge)?;
        build.encode_family(&labels)?.encode_gauge(&1i64)?;
        let buckets: Vec<(f64, u64)> = DELAY_BOUNDS
            .iter()
            .map(|bound| *bound as f64)
            .chain([f64::INFINITY])
            .zip(self.delays)
            .collect();
        let name = DELAY.trim_end_matches("_seconds");
        let mut encoder = encoder.encode_descriptor(
            name,
            DELAY_HELP,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let sum = self.delays_sum_ms as f64 / 1000.0;
        let count = self.delays.iter().sum();
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}

fn encode_value(
    encoder: &mut prometheus_client::encoding::MetricEncoder<'_>,
    kind: Kind,
    value: u64,
) -> fmt::Result {
    match kind {
        Kind::Counter => encoder.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None),
        Kind::Time => {
            let seconds = value as f64 / 1000.0;
            encoder.encode_counter::<[(&str, &str); 0], f64, f64>(&seconds, None)
        }
        Kind::Gauge => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}

/// The figures as text.
pub(crate) fn text(figures: &Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sendoff");
    registry.register_collector(Box::new(figures.clone()));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/metrics.md");

    #[test]
    fn the_page_says_what_there_is() {
        let row = |metric: &Metric| {
            let (kind, suffix) = match metric.kind {
                Kind::Counter | Kind::Time => ("counter", "_total"),
                Kind::Gauge => ("gauge", ""),
            };
            let label = metric.label.map(|(name, values)| {
                let values: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
                format!("`{name}`: {}", values.join(", "))
            });
            let label = label.unwrap_or_default();
            let (name, help) = (metric.name, metric.help);
            format!("| `sendoff_{name}{suffix}` | {kind} | {label} | {help} |")
        };
        let mut rows: Vec<String> = METRICS.iter().map(row).collect();
        rows.push(format!(
            "| `sendoff_{BUILD}` | gauge | `version`, `commit` | {BUILD_HELP} |"
        ));
        let bounds: Vec<String> = DELAY_BOUNDS.iter().map(u64::to_string).collect();
        let bounds = bounds.join(", ");
        rows.push(format!(
            "| `sendoff_{DELAY}` | histogram | `le`: {bounds}, +Inf | {DELAY_HELP} |"
        ));
        let found: Vec<&str> = PAGE.lines().filter(|l| l.starts_with("| `")).collect();
        assert_eq!(found, rows, "\n{}\n", rows.join("\n"));
    }

    #[test]
    fn every_metric_is_written() {
        let values = |m: &Metric| (m.name, vec![7; m.label.map_or(1, |(_, v)| v.len())]);
        let figures = Figures {
            values: METRICS.iter().map(values).collect(),
            build: ("1.2.3", "abc"),
            delays: [1; DELAY_BOUNDS.len() + 1],
            delays_sum_ms: 2500,
        };
        let text = text(&figures).unwrap();
        for expected in [
            "# TYPE sendoff_messages_accepted counter\nsendoff_messages_accepted_total 7\n",
            "sendoff_outcomes_total{outcome=\"deferred\"} 7\n",
            "# TYPE sendoff_queue_recipients gauge\nsendoff_queue_recipients 7\n",
            "sendoff_delivery_delay_seconds_bucket{le=\"5.0\"} 2\n",
            "sendoff_delivery_delay_seconds_bucket{le=\"+Inf\"} 10\n",
            "sendoff_delivery_delay_seconds_sum 2.5\n",
            "sendoff_build_info{version=\"1.2.3\",commit=\"abc\"} 1\n",
            "sendoff_process_cpu_seconds_total 0.007\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    const ALERTS: &str = include_str!("../../../../packaging/monitoring/alerts.yml");
    const DASHBOARD: &str = include_str!("../../../../packaging/monitoring/grafana.json");

    /// The names of all series.
    fn series() -> Vec<String> {
        let name = |metric: &Metric| match metric.kind {
            Kind::Counter | Kind::Time => format!("sendoff_{}_total", metric.name),
            Kind::Gauge => format!("sendoff_{}", metric.name),
        };
        let ends = ["bucket", "sum", "count"];
        let delay = ends.map(|end| format!("sendoff_{DELAY}_{end}"));
        let all = METRICS.iter().map(name).chain(delay);
        all.chain([format!("sendoff_{BUILD}")]).collect()
    }

    #[test]
    fn alerts_and_dashboard_use_metrics_that_there_are() {
        let series = series();
        for (file, text) in [("alerts.yml", ALERTS), ("grafana.json", DASHBOARD)] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let used: Vec<&str> = words.filter(|w| w.starts_with("sendoff_")).collect();
            assert!(used.len() > 10, "{file} uses {used:?}");
            for name in used {
                assert!(series.iter().any(|known| known == name), "{file}: {name}");
            }
        }
        serde_json::from_str::<serde_json::Value>(DASHBOARD).unwrap();
    }

    #[test]
    fn each_alert_says_what_it_is_and_what_to_do() {
        // The form that is used here; `promtool check rules` reads the whole language.
        let mut rules = ALERTS.split("\n      - alert: ");
        assert!(
            rules
                .next()
                .is_some_and(|head| head.ends_with("\n    rules:"))
        );
        let mut names = Vec::new();
        for rule in rules {
            names.push(rule.lines().next());
            for key in ["expr", "labels", "annotations", "  summary", "  action"] {
                let key = format!("\n        {key}:");
                assert_eq!(rule.matches(&key).count(), 1, "{key} in {rule}");
            }
            assert!(rule.contains("{severity: "), "{rule}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert!(count > 5);
    }
}
