//! The live line of long work, on standard error, and the tables at its end.

use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::{Latency, Snapshot};

/// One line that is redrawn on a terminal; elsewhere a line every five seconds.
pub(super) struct LiveLine {
    bar: ProgressBar,
    terminal: bool,
    last_said: f64,
}

impl LiveLine {
    pub(super) fn new() -> LiveLine {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new_spinner();
        if !terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        LiveLine {
            bar,
            terminal,
            last_said: f64::NEG_INFINITY,
        }
    }

    pub(super) fn say(&mut self, elapsed_seconds: f64, text: String) {
        if self.terminal {
            self.bar.set_message(text);
            self.bar.tick();
        } else if elapsed_seconds - self.last_said >= 5.0 {
            self.last_said = elapsed_seconds;
            say!("{text}");
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over `count` things called `what`.
pub(super) fn bar(count: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// `12.3 s  356 frames  29.4/s  p50 31 ms  p99 55 ms  dropped 3`.
pub(super) fn live_text(snapshot: &Snapshot, elapsed_seconds: f64) -> String {
    let answers = snapshot.answers();
    let dropped: u64 = snapshot.cameras.values().flat_map(|c| c.tombstones.values()).sum();
    let rate = answers as f64 / elapsed_seconds.max(1e-3);
    let latency = snapshot.capture_to_publish;
    format!(
        "{elapsed_seconds:5.1} s  {answers} answers  {rate:.1}/s  capture to publish p50 {}  p99 {}  without answer {dropped}",
        millis(latency.p50),
        millis(latency.p99),
    )
}

pub(super) fn millis(d: Duration) -> String {
    format!("{:.1} ms", d.as_secs_f64() * 1e3)
}

fn latency_text(latency: Latency) -> String {
    if latency.count == 0 {
        return "-".to_owned();
    }
    format!(
        "{} / {} / {}",
        millis(latency.p50),
        millis(latency.p95),
        millis(latency.p99)
    )
}

pub(super) fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table
}

pub(super) fn row(table: &mut Table, name: &str, value: impl ToString) {
    table.add_row([
        Cell::new(name),
        Cell::new(value.to_string()).set_alignment(CellAlignment::Right),
    ]);
}

/// What a run did, a row a figure.
pub(super) fn summary_table(snapshot: &Snapshot, seconds: f64) -> Table {
    let mut table = table();
    for (id, camera) in &snapshot.cameras {
        row(&mut table, &format!("{id}: frames delivered"), camera.frames);
        row(&mut table, &format!("{id}: answers"), camera.answers);
        for (reason, count) in &camera.tombstones {
            let name = reason.as_str_name().trim_start_matches("TOMBSTONE_REASON_");
            row(&mut table, &format!("{id}: no answer, {name}"), count);
        }
        if camera.reconnects > 0 {
            row(&mut table, &format!("{id}: reconnects"), camera.reconnects);
        }
    }
    row(
        &mut table,
        "answers a second",
        format!("{:.1}", snapshot.answers() as f64 / seconds.max(1e-3)),
    );
    row(
        &mut table,
        "capture to publish p50 / p95 / p99",
        latency_text(snapshot.capture_to_publish),
    );
    row(
        &mut table,
        "engine (preprocess + network) p50 / p95 / p99",
        latency_text(snapshot.engine),
    );
    row(
        &mut table,
        "after the engine p50 / p95 / p99",
        latency_text(snapshot.after_engine),
    );
    table
}
