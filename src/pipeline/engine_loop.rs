//! The engine's thread: the next camera's newest frame in, instances out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::admission::Admitted;
use super::events::{DemandBoard, Event};
use super::intake::Intake;
use super::ledger::tombstone;
use super::metrics::Metrics;
use crate::config::Idle;
use crate::frame::Image;
use crate::instances::Instance;
use crate::outlets::Outcome;
use crate::time::Clocks;
use crate::wire::v1::{Degradation, TombstoneReason};

/// Whether the mask branch of the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskBranch {
    Run,
    Skip,
}

/// What an engine made of a picture. Marks are monotonic nanoseconds.
#[derive(Debug, Clone)]
pub struct Segmented {
    /// Source px, descending score.
    pub instances: Vec<Instance>,
    /// The engine found more than it may publish.
    pub truncated: bool,
    pub preprocessed_mono_nanos: i64,
    pub inferred_mono_nanos: i64,
}

/// A loaded network: picture in, instances out.
pub trait Segmenter: Send {
    /// The error names the stage or tensor; the caller adds camera and frame.
    fn segment(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, String>;
    /// Instances below this score are not returned.
    fn score_threshold(&self) -> f32;
}

pub(super) struct EngineLoop {
    pub(super) segmenter: Box<dyn Segmenter>,
    pub(super) clocks: Arc<dyn Clocks>,
    pub(super) intake: Arc<Intake<Admitted>>,
    pub(super) desk: Sender<Event>,
    pub(super) demand: Arc<DemandBoard>,
    pub(super) idle: Idle,
    pub(super) metrics: Arc<Metrics>,
    /// Nanoseconds that the last frames took from submission to instances.
    pub(super) durations: Durations,
    pub(super) failures: u64,
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

impl EngineLoop {
    /// Until the intake is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            match self.intake.take(Duration::from_millis(200)) {
                Some((camera, admitted)) => {
                    let report = self.look(camera, admitted);
                    if self.desk.send(Event::Settled { camera, report }).is_err() {
                        return;
                    }
                }
                None if self.intake.is_closed() => return,
                None => {}
            }
        }
    }

    fn look(&mut self, camera: usize, admitted: Admitted) -> Box<crate::outlets::Report> {
        let Admitted {
            mut report,
            frame,
            deadline_mono_nanos,
        } = admitted;
        let submitted = self.clocks.mono_nanos();
        if let Some(deadline) = deadline_mono_nanos
            && submitted.saturating_add(self.durations.p99()) > deadline
        {
            let age_millis = (submitted - frame.capture_time.mono_nanos) / 1_000_000;
            let need_millis = self.durations.p99() / 1_000_000;
            let detail = format!("{age_millis} ms old, needs {need_millis} ms more");
            report.outcome = tombstone(TombstoneReason::DroppedStale, detail);
            self.durations.forget_slowest();
            return report;
        }
        let demand = self.demand.get(camera);
        let wanted = demand.masks || (!demand.boxes && self.idle == Idle::Masks);
        let masks = if wanted { MaskBranch::Run } else { MaskBranch::Skip };
        report.marks.submitted = submitted;
        let segmenter = &mut self.segmenter;
        let clocks = &*self.clocks;
        // A panic in a library must not take the stream down; the frame is answered with a tombstone.
        let result = catch_unwind(AssertUnwindSafe(|| segmenter.segment(&frame.image, masks, clocks)))
            .unwrap_or_else(|payload| Err(format!("the engine panicked: {}", panic_text(&*payload))));
        match result {
            Ok(segmented) => {
                report.marks.preprocessed = segmented.preprocessed_mono_nanos;
                report.marks.inferred = segmented.inferred_mono_nanos;
                report.marks.instances = self.clocks.mono_nanos();
                self.durations.add(report.marks.instances - submitted);
                if segmented.truncated {
                    report.degraded.push(Degradation::InstancesTruncated);
                }
                report.outcome = Outcome::Answer {
                    instances: Arc::new(segmented.instances),
                    score_threshold: self.segmenter.score_threshold(),
                };
            }
            Err(message) => {
                self.metrics.trouble(format!(
                    "camera {} frame {}: {message}",
                    frame.camera, frame.frame_number
                ));
                self.failures += 1;
                // The first, then each power of two: a permanent fault says this 30 times a second.
                if self.failures.is_power_of_two() {
                    tracing::warn!(camera = %frame.camera, frame = frame.frame_number, failures = self.failures, "{message}");
                }
                report.outcome = tombstone(TombstoneReason::InferenceError, message);
            }
        }
        report
    }
}

/// The last 128 durations, for the 99th percentile.
#[derive(Debug, Default)]
pub(super) struct Durations {
    last: std::collections::VecDeque<i64>,
    p99: i64,
}

impl Durations {
    const KEPT: usize = 128;

    fn add(&mut self, nanos: i64) {
        if self.last.len() == Self::KEPT {
            self.last.pop_front();
        }
        self.last.push_back(nanos);
        self.update();
    }

    /// Called for each frame dropped by prediction: one slow frame must not refuse all those after it.
    fn forget_slowest(&mut self) {
        if let Some((index, _)) = self.last.iter().enumerate().max_by_key(|(_, nanos)| **nanos) {
            self.last.remove(index);
        }
        self.update();
    }

    fn update(&mut self) {
        let mut sorted: Vec<i64> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        self.p99 = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0);
    }

    fn p99(&self) -> i64 {
        self.p99
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_counts_and_is_forgotten_by_drops() {
        let mut durations = Durations::default();
        assert_eq!(durations.p99(), 0);
        durations.add(900);
        for _ in 0..99 {
            durations.add(10);
        }
        assert_eq!(durations.p99(), 900);
        durations.forget_slowest();
        assert_eq!(durations.p99(), 10);
        durations.add(900);
        durations.forget_slowest();
        assert_eq!(durations.p99(), 10, "wherever the slow one stands");
    }
}
