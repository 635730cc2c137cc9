//! The engine's thread: the cameras' newest frames in, instances out. While one batch is computed the next is brought to
//! the device, where the network takes two.

use std::collections::VecDeque;
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
use crate::frame::{Frame, Image};
use crate::instances::Instance;
use crate::outlets::Outcome;
use crate::time::Clocks;
use crate::wire::v1::{Degradation, TombstoneReason};

/// How long an idle engine waits before it looks whether it is to stop.
const IDLE_PATIENCE: Duration = Duration::from_millis(200);

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

/// A picture to be looked at.
#[derive(Debug, Clone)]
pub struct Asked {
    pub image: Image,
    pub masks: MaskBranch,
}

/// How much a network takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Pictures of different cameras that are looked at together.
    pub pictures: usize,
    /// Batches that may be on their way at a time: with 2, one is brought to the device while another is computed.
    pub batches: usize,
}

impl Capacity {
    /// One picture at a time.
    pub const ONE: Capacity = Capacity {
        pictures: 1,
        batches: 1,
    };
}

/// Which batch an answer belongs to: a panic in a library must not shift all that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A loaded network: pictures in, instances out, in the order they were given.
pub trait Segmenter: Send {
    /// Starts on at least one and at most [`Capacity::pictures`] pictures. Tickets rise.
    fn submit(&mut self, ticket: Ticket, asked: Vec<Asked>, clocks: &dyn Clocks);
    /// Waits for the batch of `ticket`: one answer a picture, none when it was never whole. What was submitted before it
    /// and not collected is forgotten. An error names the stage or tensor; the caller adds camera and frame.
    fn collect(&mut self, ticket: Ticket, clocks: &dyn Clocks) -> Vec<Result<Segmented, String>>;
    fn capacity(&self) -> Capacity {
        Capacity::ONE
    }
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
    pub(super) last_ticket: u64,
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// A batch on its way through the network.
struct Flight {
    ticket: Ticket,
    frames: Vec<Flying>,
    /// The network never got it.
    failed: Option<String>,
}

struct Flying {
    camera: usize,
    report: Box<crate::outlets::Report>,
    frame: Frame,
    submitted: i64,
}

impl EngineLoop {
    /// Until the intake is closed and empty.
    pub(super) fn run(mut self) {
        let capacity = self.segmenter.capacity();
        let (pictures, batches) = (capacity.pictures.max(1), capacity.batches.max(1));
        let mut flights: VecDeque<Flight> = VecDeque::with_capacity(batches);
        loop {
            if flights.len() < batches {
                // While the network is busy, only what waits already is worth a second batch.
                let patience = if flights.is_empty() {
                    IDLE_PATIENCE
                } else {
                    Duration::ZERO
                };
                let taken = self.intake.take_some(patience, pictures);
                if taken.is_empty() && flights.is_empty() && self.intake.is_closed() {
                    return;
                }
                match self.depart(taken) {
                    Ok(Some(flight)) => {
                        flights.push_back(flight);
                        continue;
                    }
                    Ok(None) => {}
                    Err(DeskClosed) => return,
                }
            }
            if let Some(flight) = flights.pop_front()
                && self.arrive(flight).is_err()
            {
                return;
            }
        }
    }

    /// Hands frames to the network. Those that cannot be done in time are answered at once.
    fn depart(&mut self, taken: Vec<(usize, Admitted)>) -> Result<Option<Flight>, DeskClosed> {
        let (mut frames, mut asked) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        for (camera, admitted) in taken {
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
                self.settle(camera, report)?;
                continue;
            }
            let demand = self.demand.get(camera);
            let wanted = demand.masks || (!demand.boxes && self.idle == Idle::Masks);
            report.marks.submitted = submitted;
            asked.push(Asked {
                image: frame.image.clone(),
                masks: if wanted { MaskBranch::Run } else { MaskBranch::Skip },
            });
            frames.push(Flying {
                camera,
                report,
                frame,
                submitted,
            });
        }
        if frames.is_empty() {
            return Ok(None);
        }
        let (segmenter, clocks) = (&mut self.segmenter, &*self.clocks);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let failed = guarded(|| segmenter.submit(ticket, asked, clocks)).err();
        Ok(Some(Flight { ticket, frames, failed }))
    }

    /// Waits for the network's answers and settles the frames.
    fn arrive(&mut self, flight: Flight) -> Result<(), DeskClosed> {
        let (segmenter, clocks) = (&mut self.segmenter, &*self.clocks);
        let answers = match flight.failed {
            None => guarded(|| segmenter.collect(flight.ticket, clocks)),
            Some(message) => Err(message),
        };
        let (mut answers, missing) = match answers {
            Ok(answers) => (answers.into_iter(), "the engine gave no answer".to_owned()),
            Err(message) => (Vec::new().into_iter(), message),
        };
        for Flying {
            camera,
            mut report,
            frame,
            submitted,
        } in flight.frames
        {
            match answers.next().unwrap_or_else(|| Err(missing.clone())) {
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
                    self.failed(&frame, &message);
                    report.outcome = tombstone(TombstoneReason::InferenceError, message);
                }
            }
            self.settle(camera, report)?;
        }
        Ok(())
    }

    fn failed(&mut self, frame: &Frame, message: &str) {
        let (camera, number) = (&frame.camera, frame.frame_number);
        self.metrics
            .trouble(format!("camera {camera} frame {number}: {message}"));
        self.failures += 1;
        // The first, then each power of two: a permanent fault says this 30 times a second.
        if self.failures.is_power_of_two() {
            tracing::warn!(%camera, frame = number, failures = self.failures, "{message}");
        }
    }

    fn settle(&self, camera: usize, report: Box<crate::outlets::Report>) -> Result<(), DeskClosed> {
        let sent = self.desk.send(Event::Settled { camera, report });
        sent.map_err(|_| DeskClosed)
    }
}

/// The publishing thread is gone, so nobody waits for answers.
struct DeskClosed;

/// A panic in a library must not take the stream down; its frames are answered with a tombstone.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| format!("the engine panicked: {}", panic_text(&*payload)))
}

/// The last 128 durations, for the 99th percentile.
#[derive(Debug, Default)]
pub(super) struct Durations {
    last: VecDeque<i64>,
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
