//! The last word of a run: goal, measured, ratio, met or missed. Read from the records, whoever wrote them; what no record
//! holds was not measured, and is never guessed.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::record::{NOT_YET, Record};
use super::{cameras, layers, network};
use crate::engine::replace;

/// A figure of a record: `(step, row)`.
#[derive(Debug, Clone)]
struct Figure(&'static str, String);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    AtMost(f64),
    AtLeast(f64),
    /// Shown, not judged.
    Nothing,
}

struct Goal {
    what: String,
    measured: Figure,
    /// The goal is for `measured / against` where there is one.
    against: Option<Figure>,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Met,
    Missed,
    NotYetMeasured,
    /// No goal.
    Shown,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    what: String,
    /// How `goal` is meant.
    bound: Option<&'static str>,
    goal: Option<f64>,
    measured: Option<f64>,
    unit: String,
    against: Option<f64>,
    ratio: Option<f64>,
    verdict: Verdict,
    /// Why something is missing.
    note: String,
}

const AT_MOST: &str = "at most";
const AT_LEAST: &str = "at least";

fn goals() -> Vec<Goal> {
    use Wanted::{AtLeast, AtMost, Nothing};
    let goal = |what: &str, measured: Figure, against: Option<Figure>, wanted| Goal {
        what: what.to_owned(),
        measured,
        against,
        wanted,
    };
    let torch = |name: &str| Some(Figure("torch", name.to_owned()));
    let net = |batch| Figure("network", network::name(batch));
    let op = |name: &str| Figure("ops", name.to_owned());
    let mut goals = vec![
        goal("batch 1, ms", net(1), None, AtMost(3.2)),
        goal(
            "batch 1 / torchvision eager AMP",
            net(1),
            torch("eager AMP, batch 1"),
            AtMost(0.15),
        ),
        goal(
            "batch 1 / compiled parts, eager rest",
            net(1),
            torch("compiled parts, eager rest, batch 1"),
            AtMost(0.35),
        ),
        goal("batch 1 / roofline", net(1), torch("roofline, batch 1"), AtMost(3.5)),
        goal("batch 8, ms", net(8), None, AtMost(14.0)),
        goal(
            "batch 8 / torchvision eager AMP",
            net(8),
            torch("eager AMP, batch 8"),
            AtMost(0.35),
        ),
        goal(
            "batch 8 / compiled parts, eager rest",
            net(8),
            torch("compiled parts, eager rest, batch 8"),
            AtMost(0.6),
        ),
        goal("batch 8 / roofline", net(8), torch("roofline, batch 8"), AtMost(2.0)),
        goal(
            "box RoIAlign / torchvision, half",
            op("roi_align 7x7, 1000 RoIs"),
            torch("roi_align 7x7, 1000 RoIs"),
            AtMost(0.4),
        ),
        goal(
            "mask RoIAlign / torchvision, half",
            op("roi_align 14x14, 100 RoIs"),
            torch("roi_align 14x14, 100 RoIs"),
            Nothing,
        ),
        goal(
            "proposals / torchvision",
            op("proposals, 1000 kept"),
            torch("proposals, 1000 kept"),
            Nothing,
        ),
        goal(
            "copy inside the device, TB/s",
            op("copy inside the device"),
            None,
            Nothing,
        ),
    ];
    for batch in network::BATCHES {
        let [measured, best] = layers::names(batch);
        let what = format!("{measured} / at best");
        goals.push(goal(
            &what,
            Figure("layers", measured),
            Some(Figure("layers", best)),
            Nothing,
        ));
    }
    for (cameras, wanted) in [(1, AtLeast(0.8)), (4, Nothing), (16, AtLeast(0.9))] {
        let [pipeline, engine] = cameras::names(cameras);
        let what = format!("{pipeline} / engine alone");
        let engine = Some(Figure("cameras", engine));
        goals.push(goal(&what, Figure("cameras", pipeline), engine, wanted));
    }
    for tool in ["memcheck", "racecheck"] {
        let what = format!("compute-sanitizer {tool}, errors");
        goals.push(goal(&what, Figure("sanitizer", tool.to_owned()), None, AtMost(0.0)));
    }
    goals
}

/// Prints the table and writes `table.json`. False when a goal was missed or a kernel differs.
pub(super) fn run(folder: &Path) -> anyhow::Result<bool> {
    let mut lines = vec![kernels(folder)];
    lines.extend(goals().iter().map(|goal| judge(folder, goal)));
    replace(
        &folder.join("table.json"),
        serde_json::to_string_pretty(&lines)?.as_bytes(),
    )?;
    crate::cli::answer(text(folder, &lines))?;
    Ok(!lines.iter().any(|line| line.verdict == Verdict::Missed))
}

fn kernels(folder: &Path) -> Line {
    let mut line = Line {
        what: "kernels that differ from the host".to_owned(),
        bound: Some(AT_MOST),
        goal: Some(0.0),
        measured: None,
        unit: String::new(),
        against: None,
        ratio: None,
        verdict: Verdict::NotYetMeasured,
        note: String::new(),
    };
    match Record::read(folder, "kernels").filter(|record| !record.rows.is_empty()) {
        None => line.note = "no record kernels.json".to_owned(),
        Some(record) => {
            let different = record.rows.iter().filter(|row| row.note != "equal").count();
            line.measured = Some(different as f64);
            line.verdict = match (different, record.finished) {
                (0, true) => Verdict::Met,
                (0, false) => Verdict::NotYetMeasured, // what was not reached may differ
                _ => Verdict::Missed,
            };
            let cut = if record.finished { "" } else { ", cut short" };
            line.note = format!("{} checks{cut}", record.rows.len());
        }
    }
    line
}

fn judge(folder: &Path, goal: &Goal) -> Line {
    let mut notes = Vec::new();
    let mut unit = String::new();
    let mut look = |figure: &Figure| {
        let record = Record::read(folder, figure.0);
        let row = record.as_ref().and_then(|record| record.row(&figure.1));
        let value = row.and_then(|row| row.value).filter(|value| value.is_finite());
        match row {
            Some(row) if value.is_some() => unit.clone_from(&row.unit),
            Some(row) => notes.push(row.note.clone()),
            None => notes.push(format!("no {} in {}.json", figure.1, figure.0)),
        }
        value
    };
    let measured = look(&goal.measured);
    let against = goal.against.as_ref().and_then(&mut look);
    let ratio = measured.zip(against.filter(|a| *a > 0.0)).map(|(m, a)| m / a);
    let judged = if goal.against.is_some() { ratio } else { measured };
    let (bound, wanted, verdict) = match (goal.wanted, judged) {
        (Wanted::AtMost(most), judged) => (Some(AT_MOST), Some(most), judged.map(|got| got <= most)),
        (Wanted::AtLeast(least), judged) => (Some(AT_LEAST), Some(least), judged.map(|got| got >= least)),
        (Wanted::Nothing, judged) => (None, None, judged.map(|_| true)),
    };
    Line {
        what: goal.what.clone(),
        bound,
        goal: wanted,
        measured,
        unit,
        against,
        ratio,
        verdict: match (goal.wanted, verdict) {
            (_, None) => Verdict::NotYetMeasured,
            (Wanted::Nothing, _) => Verdict::Shown,
            (_, Some(true)) => Verdict::Met,
            (_, Some(false)) => Verdict::Missed,
        },
        note: notes.join("; "),
    }
}

fn text(folder: &Path, lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "goal", "measured", "against", "ratio", ""]);
    let number = |value: Option<f64>| {
        let text = value.map_or(String::new(), |v| format!("{v:.3}"));
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    for line in lines {
        let verdict = match line.verdict {
            Verdict::Met => "met".to_owned(),
            Verdict::Missed => "MISSED".to_owned(),
            Verdict::NotYetMeasured => NOT_YET.to_owned(),
            Verdict::Shown => String::new(),
        };
        table.add_row([
            line.what.clone(),
            format!("{} {}", line.bound.unwrap_or_default(), number(line.goal)),
            match line.measured {
                Some(_) => format!("{} {}", number(line.measured), line.unit).trim_end().to_owned(),
                None => String::new(),
            },
            number(line.against),
            number(line.ratio),
            verdict,
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let table: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let table = table.join("\n");
    let kernels = Record::read(folder, "kernels");
    let machine = match kernels {
        Some(record) if record.stand_in => format!("{}\nstand-in: no timings", record.machine),
        Some(record) => record.machine,
        None => "no record of the card".to_owned(),
    };
    format!("{machine}\n{table}")
}

#[cfg(test)]
mod tests {
    use super::super::record::Row;
    use super::*;

    #[test]
    fn what_no_record_holds_is_not_measured_and_ratios_are_of_one_run() {
        let dir = tempfile::tempdir().expect("dir");
        let verdicts = || -> Vec<(String, Verdict)> {
            goals()
                .iter()
                .map(|goal| judge(dir.path(), goal))
                .map(|l| (l.what, l.verdict))
                .collect()
        };
        assert!(verdicts().iter().all(|(_, v)| *v == Verdict::NotYetMeasured));
        assert_eq!(kernels(dir.path()).verdict, Verdict::NotYetMeasured);

        let mut checks = Record::begin(dir.path(), "kernels", None).expect("begins");
        let equal = Row {
            note: "equal".to_owned(),
            ..Row::measured("nms", "different values", 0.0)
        };
        checks.add(equal).expect("writes");
        assert_eq!(
            kernels(dir.path()).verdict,
            Verdict::NotYetMeasured,
            "cut short proves nothing"
        );
        checks.finish().expect("writes");
        assert_eq!(kernels(dir.path()).verdict, Verdict::Met);

        let mut network = Record::begin(dir.path(), "network", None).expect("begins");
        network.add(Row::measured(network::name(1), "ms", 3.0)).expect("writes");
        network
            .add(Row::missing(network::name(8), "ms", "no memory"))
            .expect("writes");
        let mut torch = Record::begin(dir.path(), "torch", None).expect("begins");
        torch
            .add(Row::measured("eager AMP, batch 1", "ms", 15.0))
            .expect("writes");
        torch
            .add(Row::measured("eager AMP, batch 8", "ms", 50.0))
            .expect("writes");
        let of = |what: &str| judge(dir.path(), goals().iter().find(|g| g.what == what).expect("a goal"));
        assert_eq!(of("batch 1, ms").verdict, Verdict::Met);
        let eager = of("batch 1 / torchvision eager AMP");
        assert_eq!((eager.ratio, eager.verdict), (Some(0.2), Verdict::Missed));
        let absent = of("batch 8 / torchvision eager AMP");
        assert_eq!(
            (absent.verdict, absent.note.as_str()),
            (Verdict::NotYetMeasured, "no memory")
        );
        assert_eq!(of("batch 1 / roofline").verdict, Verdict::NotYetMeasured);
    }
}
