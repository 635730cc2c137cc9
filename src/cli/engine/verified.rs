//! What a verification found: as a page, as JSON, and against its limits.

use std::time::Duration;

use serde_json::json;

use crate::cli::eval::engine::Failed;
use crate::engine::ExecutorIdentity;
use crate::evaluate::Kind;
use crate::evaluate::agreement::{Agreement, Worst};

/// Pictures that are named for their little agreement.
const WORST_SHOWN: usize = 5;

/// Something of both engines.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sides<T> {
    pub(super) reference: T,
    pub(super) candidate: T,
}

impl<T> Sides<T> {
    pub(super) fn map<U>(&self, change: impl Fn(&T) -> U) -> Sides<U> {
        Sides {
            reference: change(&self.reference),
            candidate: change(&self.candidate),
        }
    }
}

/// How far the candidate may be from the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Of 100.
    pub(super) ap_drop_points: f64,
    /// Least mean.
    pub(super) mask_iou: f64,
    /// Largest mean.
    pub(super) score_shift: f64,
    /// Largest share.
    pub(super) unmatched: f64,
    /// Largest of all; `None` = any.
    pub(super) edge_shift_px: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Verified {
    engine: String,
    executors: Sides<ExecutorIdentity>,
    pub(super) agreement: Agreement,
    /// A picture each.
    pub(super) took: Sides<Vec<Duration>>,
    pub(super) failed: Vec<Failed>,
    /// Empty without ground truth.
    pub(super) ap: Vec<(Kind, Sides<Option<f64>>)>,
}

impl Verified {
    pub(super) fn new(engine: String, executors: Sides<ExecutorIdentity>) -> Verified {
        Verified {
            engine,
            executors,
            agreement: Agreement::default(),
            took: Sides::default(),
            failed: Vec::new(),
            ap: Vec::new(),
        }
    }

    /// A sentence for each limit that is passed.
    pub(super) fn past(&self, limits: &Limits) -> Vec<String> {
        let totals = self.agreement.totals();
        let mut past = Vec::new();
        match totals.unmatched() {
            None => past.push("neither engine found an object: nothing was compared".to_owned()),
            Some(share) if share > limits.unmatched => past.push(format!(
                "{:.1} % of the objects were found by one engine only, {:.1} % are allowed",
                share * 100.0,
                limits.unmatched * 100.0
            )),
            Some(_) => {}
        }
        if let Some(iou) = totals.mean_mask_iou.filter(|&iou| iou < limits.mask_iou) {
            past.push(format!(
                "the mean mask IoU is {iou:.4}, at least {} is asked for",
                limits.mask_iou
            ));
        }
        if let Some(shift) = totals.mean_score_shift.filter(|&shift| shift > limits.score_shift) {
            past.push(format!(
                "scores change by {shift:.4} in the mean, {} is allowed",
                limits.score_shift
            ));
        }
        if let (Some(shift), Some(most)) = (totals.max_edge_shift_px, limits.edge_shift_px)
            && shift > most
        {
            past.push(format!("a box edge moved by {shift:.3} px, {most} are allowed"));
        }
        for (kind, ap) in &self.ap {
            if let Some(drop) = drop_points(ap).filter(|&drop| drop > limits.ap_drop_points) {
                let (what, most) = (name(*kind), limits.ap_drop_points);
                past.push(format!("{what} AP drops by {drop:.2} points, {most} are allowed"));
            }
        }
        if !self.failed.is_empty() {
            let all = self.failed.len() + totals.pictures;
            past.push(format!("{} of {all} pictures could not be used", self.failed.len()));
        }
        past
    }

    /// Precisions, and executors where there are two.
    fn labels(&self) -> Sides<String> {
        let same = self.executors.reference.name == self.executors.candidate.name;
        self.executors.map(|executor| match same {
            true => executor.precision.to_string(),
            false => format!("{} {}", executor.name, executor.precision),
        })
    }

    pub(super) fn page(&self) -> String {
        let totals = self.agreement.totals();
        let Sides { reference, candidate } = self.labels();
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        let mut page = format!(
            "{} in {candidate} against {reference}, {} pictures\n",
            self.engine, totals.pictures
        );
        let mut line = |what: &str, text: String| page += &format!("{what:<22}{text}\n");
        line(
            "objects",
            format!(
                "{} in both, {} lost, {} added",
                totals.matched, totals.lost, totals.added
            ),
        );
        line(
            "mask IoU",
            format!(
                "mean {}, worst {}",
                number(totals.mean_mask_iou),
                number(totals.worst_mask_iou)
            ),
        );
        line(
            "score change",
            format!(
                "mean {}, largest {}",
                number(totals.mean_score_shift),
                number(totals.max_score_shift)
            ),
        );
        line(
            "box edges moved by",
            format!(
                "mean {} px, 99 of 100 within {}, largest {}",
                number(totals.mean_edge_shift_px),
                number(totals.p99_edge_shift_px),
                number(totals.max_edge_shift_px)
            ),
        );
        for (kind, ap) in &self.ap {
            let drop = drop_points(ap).map_or_else(|| "-".to_owned(), |drop| format!("{drop:+.2}"));
            let values = format!(
                "{} -> {}, drop {drop} points",
                number(ap.reference),
                number(ap.candidate)
            );
            line(&format!("{} AP", name(*kind)), values);
        }
        let took = self.took.map(|all| median_millis(all));
        line(
            "median time",
            format!(
                "{reference} {:.2} ms, {candidate} {:.2} ms: {:.2} times as fast",
                took.reference,
                took.candidate,
                took.reference / took.candidate
            ),
        );
        for worst in self.agreement.worst(WORST_SHOWN) {
            let Worst {
                picture,
                lost,
                added,
                worst_mask_iou,
            } = worst;
            let text = format!(
                "{picture}: {lost} lost, {added} added, worst mask IoU {}",
                number(worst_mask_iou)
            );
            line("least agreement", text);
        }
        page
    }

    pub(super) fn to_json(&self, past: &[String]) -> serde_json::Value {
        let took = self.took.map(|all| median_millis(all));
        let Sides { reference, candidate } = &self.executors;
        let ap = self.ap.iter().map(|(kind, ap)| {
            let key = format!("{}_ap", name(*kind));
            (
                key,
                json!({"reference": ap.reference, "candidate": ap.candidate, "drop_points": drop_points(ap)}),
            )
        });
        let totals = self.agreement.totals();
        json!({
            "engine": self.engine,
            "reference": side(reference, took.reference),
            "candidate": side(candidate, took.candidate),
            "agreement": totals,
            "unmatched_share": totals.unmatched(),
            "ap": ap.collect::<serde_json::Map<_, _>>(),
            "worst": self.agreement.worst(WORST_SHOWN),
            "failed": self.failed.iter().map(|f| json!({"file": f.file, "why": f.why})).collect::<Vec<_>>(),
            "past_limits": past,
        })
    }
}

fn side(executor: &ExecutorIdentity, median_millis: f64) -> serde_json::Value {
    json!({
        "executor": executor.name,
        "executor_version": executor.version,
        "device": executor.device,
        "precision": executor.precision.as_str(),
        "median_millis": median_millis,
    })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boxes => "box",
        Kind::Masks => "mask",
    }
}

fn drop_points(ap: &Sides<Option<f64>>) -> Option<f64> {
    Some((ap.reference? - ap.candidate?) * 100.0)
}

fn median_millis(all: &[Duration]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len() / 2)
        .map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}
