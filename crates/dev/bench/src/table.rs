//! The table of a comparison, in Markdown.

use std::fmt::Write;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// One server in one cell.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) server: &'static str,
    /// Octets of a mail.
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) mails: usize,
    /// From the first MAIL to the last 250.
    pub(crate) accepting: Duration,
    /// From the first MAIL to the last arrival.
    pub(crate) delivering: Duration,
    pub(crate) cpu: Duration,
    pub(crate) generator_cpu: Duration,
    pub(crate) sink_cpu: Duration,
    /// Share of the machine that was used by none of the three.
    pub(crate) others_share: f64,
    /// By the disk's own counter, so with whatever others wrote.
    pub(crate) disk_written: u64,
    pub(crate) peak: u64,
    pub(crate) proportional: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) duplicates: usize,
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

/// For figures to be shown.
#[expect(clippy::cast_precision_loss, reason = "what is shown has few digits")]
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(0) as f64
}

impl Row {
    fn mails(&self) -> f64 {
        float(self.mails)
    }

    fn accepted_rate(&self) -> f64 {
        self.mails() / self.accepting.as_secs_f64()
    }

    fn delivered_rate(&self) -> f64 {
        self.mails() / self.delivering.as_secs_f64()
    }

    fn cpu_ms(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1000.0 / self.mails()
    }

    fn per_byte(&self, bytes: u64) -> f64 {
        float(bytes) / (self.mails() * float(self.size))
    }

    /// One line while the run goes on.
    pub(crate) fn progress(&self) -> String {
        format!(
            "{} {} KiB, {} clients: {:.0} mails/s accepted, {:.0} delivered, {:.3} ms CPU a mail\n",
            self.server,
            self.size / 1024,
            self.clients,
            self.accepted_rate(),
            self.delivered_rate(),
            self.cpu_ms(self.cpu)
        )
    }

    fn line(&self) -> String {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        let mut text = format!(
            "| {} KiB | {} | {} | {:.0} | {:.0} | {:.3} |",
            self.size / 1024,
            self.clients,
            self.server,
            self.accepted_rate(),
            self.delivered_rate(),
            self.cpu_ms(self.cpu)
        );
        text += &format!(
            " {:.2} | {} | {:.1} | {:.1} |",
            self.per_byte(self.disk_written),
            self.memory(),
            ms(self.p50),
            ms(self.p99)
        );
        text += &format!(
            " {:.3} | {:.3} | {:.0} % | {} |\n",
            self.cpu_ms(self.generator_cpu),
            self.cpu_ms(self.sink_cpu),
            self.others_share * 100.0,
            self.duplicates
        );
        text
    }

    fn memory(&self) -> String {
        format!("{} / {}", self.peak / MIB, self.proportional / MIB)
    }
}

impl Table {
    /// The table, and below it the ratios of each cell.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "\n| size | clients | server | accepted/s | delivered/s | CPU ms a mail | disk bytes \
             a byte | memory MiB, peak / shared once | p50 ms | p99 ms | \
             generator CPU ms | sink CPU ms | others | twice |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            text += &row.line();
        }
        let mut ratios = String::new();
        for (ours, theirs) in self.rows.iter().zip(self.rows.iter().skip(1)) {
            let same = ours.size == theirs.size && ours.clients == theirs.clients;
            if !same || ours.server == theirs.server {
                continue;
            }
            let line = writeln!(
                ratios,
                "| {} KiB | {} | {:.1} | {:.1} | {:.1} | {:.2} |",
                ours.size / 1024,
                ours.clients,
                ours.accepted_rate() / theirs.accepted_rate(),
                ours.delivered_rate() / theirs.delivered_rate(),
                theirs.cpu_ms(theirs.cpu) / ours.cpu_ms(ours.cpu),
                theirs.per_byte(theirs.disk_written) / ours.per_byte(ours.disk_written),
            );
            // Writing to a String cannot fail.
            debug_assert!(line.is_ok());
        }
        if !ratios.is_empty() {
            text += "\n| size | clients | accepted/s, times Postfix | delivered/s, times Postfix | \
                     Postfix' CPU, times ours | Postfix' disk bytes, times ours |\n\
                     |---|---|---|---|---|---|\n";
            text += &ratios;
        }
        text
    }
}
