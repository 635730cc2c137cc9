//! What a step found: rows of figures, written to `<step>.json` after each row, so that a run cut short keeps what it has.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::engine::replace;

/// What stands where a figure is missing.
pub(super) const NOT_YET: &str = "not yet measured";

/// Why nothing is timed there.
pub(super) const STAND_IN: &str = "stand-in: no timings";

/// One figure. Scripts beside this program write the same form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: String,
    /// The median, where there were rounds. Absent: not measured, and `note` says why.
    pub(super) value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p10: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p90: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rounds: Option<usize>,
    /// Of the bytes a kernel left, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) note: String,
}

impl Row {
    pub(super) fn measured(name: impl Into<String>, unit: &str, value: f64) -> Row {
        Row {
            name: name.into(),
            unit: unit.to_owned(),
            value: Some(value),
            ..Row::default()
        }
    }

    pub(super) fn missing(name: impl Into<String>, unit: &str, why: impl Into<String>) -> Row {
        Row {
            name: name.into(),
            unit: unit.to_owned(),
            note: why.into(),
            ..Row::default()
        }
    }

    /// Median and spread of `values`, of which there is at least one.
    pub(super) fn median(name: impl Into<String>, unit: &str, mut values: Vec<f64>) -> Row {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = values.len().saturating_sub(1);
            values.get((share * last as f64).round() as usize).copied()
        };
        Row {
            value: at(0.5),
            p10: at(0.1),
            p90: at(0.9),
            rounds: Some(values.len()),
            ..Row::missing(name, unit, "")
        }
    }
}

/// The file of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) step: String,
    /// For people: the card and its driver.
    pub(super) machine: String,
    /// The kernels ran on the host: nothing was timed.
    #[serde(default)]
    pub(super) stand_in: bool,
    /// The step came to its end.
    #[serde(default)]
    pub(super) finished: bool,
    pub(super) rows: Vec<Row>,
    #[serde(skip)]
    path: PathBuf,
}

impl Record {
    /// An empty record of `step` in `folder`, written at once: an older one is no answer of this run.
    pub(super) fn begin(folder: &Path, step: &str, device: Option<&Device>) -> anyhow::Result<Record> {
        let machine = device.map_or_else(String::new, |device| {
            let facts = device.facts();
            let (major, minor) = facts.driver_version;
            let sm = format!("sm_{}", facts.sm);
            let name = facts.name.trim_end_matches(&format!(", {sm}"));
            format!("{name}, {sm}, driver for CUDA {major}.{minor}")
        });
        let record = Record {
            step: step.to_owned(),
            machine,
            stand_in: device.is_some_and(is_stand_in),
            finished: false,
            rows: Vec::new(),
            path: folder.join(format!("{step}.json")),
        };
        record.write()?;
        Ok(record)
    }

    /// No time of the stand-in gets into a record.
    pub(super) fn add(&mut self, row: Row) -> anyhow::Result<()> {
        let row = match row.value {
            Some(_) if self.stand_in && row.hash.is_none() => Row::missing(row.name, &row.unit, STAND_IN),
            _ => row,
        };
        say!("  {}", line_of(&row));
        self.keep(row)
    }

    /// A row of too many to be shown.
    pub(super) fn keep(&mut self, row: Row) -> anyhow::Result<()> {
        self.rows.push(row);
        self.write()
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.finished = true;
        self.write()
    }

    /// The row of that name is from now on called otherwise.
    pub(super) fn rename(&mut self, name: &str, to: String) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.name = to;
        }
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// A whole file at all times, whenever the run is killed.
    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        replace(&self.path, text.as_bytes()).with_context(|| self.path.display().to_string())
    }

    /// The record of `step` in `folder`; `None` when there is no whole one.
    pub(super) fn read(folder: &Path, step: &str) -> Option<Record> {
        let text = std::fs::read_to_string(folder.join(format!("{step}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Whether "the card" is the driver of the tests, which runs kernels on the host.
pub(super) fn is_stand_in(device: &Device) -> bool {
    device.facts().name.contains("stand-in")
}

fn line_of(row: &Row) -> String {
    let value = row.value.map_or(NOT_YET.to_owned(), |v| format!("{v:.4} {}", row.unit));
    let spread = match (row.p10, row.p90) {
        (Some(low), Some(high)) => format!("  [{low:.4} {high:.4}]"),
        _ => String::new(),
    };
    format!("{:<44} {value}{spread}  {}", row.name, row.note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_cut_short_keeps_its_rows() {
        let dir = tempfile::tempdir().expect("dir");
        let mut record = Record::begin(dir.path(), "ops", None).expect("begins");
        record
            .add(Row::median("nms", "ms", vec![3.0, 1.0, 2.0]))
            .expect("writes");
        record.add(Row::missing("paste", "ms", "no kernel")).expect("writes");
        let read = Record::read(dir.path(), "ops").expect("a whole file");
        assert_eq!(read.rows, record.rows);
        let nms = read.row("nms").expect("row");
        assert_eq!(
            (nms.value, nms.p10, nms.p90, nms.rounds),
            (Some(2.0), Some(1.0), Some(3.0), Some(3))
        );
        assert_eq!(read.row("paste").and_then(|row| row.value), None);
        std::fs::write(dir.path().join("ops.json"), "{\"step\": ").expect("writes");
        assert_eq!(Record::read(dir.path(), "ops"), None);
    }
}
