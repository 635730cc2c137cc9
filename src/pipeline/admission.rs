//! From source events to expected frames: numbers results, fills the intake, accounts for what it pushes out.
//!
//! Runs on the source's thread. A frame becomes expected before it is offered to the engine, so the publishing thread
//! hears of it before its outcome.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::events::{DemandBoard, Event};
use super::intake::{Intake, Offer};
use super::ledger::tombstone;
use super::metrics::Metrics;
use crate::config::{Camera, Idle, Pace, SourceUri};
use crate::frame::Frame;
use crate::outlets::{Outcome, Report, StageMarks};
use crate::source::{Flow, SourceEvent};
use crate::time::{CaptureTime, Clocks, nanos};
use crate::wire::v1::{Degradation, TombstoneReason};

/// A frame on its way to the engine.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) report: Box<Report>,
    pub(super) frame: Frame,
    pub(super) deadline_mono_nanos: Option<i64>,
}

/// One camera's door into the pipeline.
pub(super) struct Admission {
    pub(super) index: usize,
    pub(super) camera: Camera,
    pub(super) idle: Idle,
    pub(super) intake: Arc<Intake<Admitted>>,
    pub(super) desk: Sender<Event>,
    pub(super) demand: Arc<DemandBoard>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clocks: Arc<dyn Clocks>,
    pub(super) last_result_number: u64,
}

impl Admission {
    pub(super) fn event(&mut self, event: SourceEvent) -> Flow {
        match event {
            SourceEvent::Frame(frame) => self.frame(frame),
            SourceEvent::Damaged {
                frame_number,
                capture_time,
                detail,
            } => {
                self.metrics.camera(&self.camera.id, |c| c.frames += 1);
                self.metrics
                    .trouble(format!("camera {} frame {frame_number}: {detail}", self.camera.id));
                self.lost(
                    frame_number,
                    Some(capture_time),
                    tombstone(TombstoneReason::DecodeError, detail),
                )
            }
            SourceEvent::Stalled {
                since_mono_nanos,
                last_frame_number,
            } => {
                let outcome = Outcome::Tombstone {
                    reason: TombstoneReason::SourceStalled,
                    detail: format!("no frame since frame {last_frame_number}"),
                    stalled_for_nanos: self.clocks.mono_nanos().saturating_sub(since_mono_nanos).max(0),
                };
                self.lost(0, None, outcome)
            }
            SourceEvent::State {
                state,
                detail,
                reconnects,
            } => {
                self.metrics.camera(&self.camera.id, |c| {
                    c.state = state.to_string();
                    c.reconnects = reconnects;
                });
                self.send(Event::State {
                    camera: self.index,
                    state,
                    detail,
                    reconnects,
                })
            }
            SourceEvent::Ended { error } => {
                if let Some(error) = error {
                    self.metrics.trouble(error.to_string());
                    self.metrics.camera(&self.camera.id, |c| c.failed = true);
                }
                // Nothing is expected of this source any more; its state has been said before.
                self.metrics.camera(&self.camera.id, |c| c.ended = true);
                Flow::Stop
            }
        }
    }

    fn frame(&mut self, frame: Frame) -> Flow {
        let demand = self.demand.get(self.index);
        if self.idle == Idle::Off && !demand.boxes && !demand.masks {
            return if self.intake.is_closed() {
                Flow::Stop
            } else {
                Flow::Continue
            };
        }
        self.metrics.camera(&self.camera.id, |c| c.frames += 1);
        let deadline_mono_nanos = match self.camera.pace {
            Pace::RealTime => Some(
                frame
                    .capture_time
                    .mono_nanos
                    .saturating_add(nanos(self.camera.valid_for)),
            ),
            Pace::Unpaced => None,
        };
        let mut report = self.report(frame.frame_number);
        report.pts = frame.pts;
        report.capture_time = Some(frame.capture_time);
        report.size = Some(frame.image.size);
        report.marks.arrival = frame.arrival_mono_nanos;
        report.marks.decoded = frame.decoded_mono_nanos;
        report.image = Some(frame.image.clone());
        let newest = frame.frame_number;
        let expected = Event::Expected {
            camera: self.index,
            report: report.clone(),
            deadline_mono_nanos,
        };
        if matches!(self.send(expected), Flow::Stop) {
            return Flow::Stop;
        }
        let admitted = Admitted {
            report,
            frame,
            deadline_mono_nanos,
        };
        let offer = match self.camera.pace {
            Pace::RealTime => self.intake.offer_newest(self.index, admitted),
            Pace::Unpaced => self.intake.offer_and_wait(self.index, admitted),
        };
        match offer {
            Offer::Accepted => Flow::Continue,
            Offer::Replaced(mut older) => {
                let detail = format!("replaced by frame {newest}");
                older.report.outcome = tombstone(TombstoneReason::Overloaded, detail);
                self.send(Event::Settled {
                    camera: self.index,
                    report: older.report,
                })
            }
            Offer::Closed(mut refused) => {
                refused.report.outcome = tombstone(TombstoneReason::Stopping, "shutting down");
                self.send(Event::Settled {
                    camera: self.index,
                    report: refused.report,
                });
                Flow::Stop
            }
        }
    }

    /// A frame that is expected and lost at once.
    fn lost(&mut self, frame_number: u64, capture_time: Option<CaptureTime>, outcome: Outcome) -> Flow {
        let mut report = self.report(frame_number);
        report.capture_time = capture_time;
        report.marks.arrival = capture_time.map_or(0, |t| t.mono_nanos);
        report.outcome = outcome;
        let settled = report.clone();
        let expected = Event::Expected {
            camera: self.index,
            report,
            deadline_mono_nanos: None,
        };
        match self.send(expected) {
            Flow::Stop => Flow::Stop,
            Flow::Continue => self.send(Event::Settled {
                camera: self.index,
                report: settled,
            }),
        }
    }

    fn report(&mut self, frame_number: u64) -> Box<Report> {
        self.last_result_number += 1;
        let simulated = matches!(self.camera.uri, SourceUri::Simulated(_));
        Box::new(Report {
            camera: self.camera.id.clone(),
            result_number: self.last_result_number,
            frame_number,
            pts: None,
            capture_time: None,
            size: None,
            outcome: tombstone(TombstoneReason::Unspecified, ""),
            marks: StageMarks::default(),
            image: None,
            valid_for_nanos: nanos(self.camera.valid_for),
            degraded: if simulated {
                vec![Degradation::Simulated]
            } else {
                Vec::new()
            },
        })
    }

    fn send(&self, event: Event) -> Flow {
        // The publishing thread outlives the sources; a closed desk means that everything is over.
        if self.desk.send(event).is_ok() {
            Flow::Continue
        } else {
            Flow::Stop
        }
    }
}
