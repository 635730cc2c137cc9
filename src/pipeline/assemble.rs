//! Puts the parts together and takes them apart again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::admission::{Admission, Admitted};
use super::engine_loop::{Durations, EngineLoop, Segmenter};
use super::events::{DESK_CAPACITY, DemandBoard, Event};
use super::intake::Intake;
use super::ledger::tombstone;
use super::metrics::{Metrics, Snapshot};
use super::publishing::Publishing;
use crate::config::{Camera, Idle};
use crate::names::CameraId;
use crate::outlets::Outlet;
use crate::outlets::publish::PublisherHandle;
use crate::source::{self, SourceHandle, SourceState};
use crate::time::Clocks;
use crate::wire::v1::{CameraState, TombstoneReason};

/// Hears of camera states; the publisher, usually. Called on the publishing thread, so in order with the reports.
pub trait CameraStateSink: Send {
    fn camera_state(&mut self, camera: &CameraId, state: SourceState, detail: &str, reconnects: u32);
}

impl CameraStateSink for PublisherHandle {
    fn camera_state(&mut self, camera: &CameraId, state: SourceState, detail: &str, reconnects: u32) {
        let state = match state {
            SourceState::Connecting => CameraState::Connecting,
            SourceState::Streaming => CameraState::Streaming,
            SourceState::Stalled => CameraState::Stalled,
            SourceState::Offline => CameraState::Offline,
        };
        self.set_camera_state(camera, state, detail, reconnects);
    }
}

/// Everything a pipeline runs on.
pub struct Parts {
    pub cameras: Vec<Camera>,
    pub segmenter: Box<dyn Segmenter>,
    /// The first one is the publisher: its end is the end of capture_to_publish.
    pub outlets: Vec<Box<dyn Outlet>>,
    pub states: Box<dyn CameraStateSink>,
    pub idle: Idle,
    pub clocks: Arc<dyn Clocks>,
}

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("cannot start the thread {name}: {source}")]
    Thread { name: String, source: io::Error },
}

/// Engine and publishing thread, without sources: what a scenario test drives by hand.
pub(super) struct Core {
    intake: Arc<Intake<Admitted>>,
    desk: crossbeam_channel::Sender<Event>,
    engine: JoinHandle<()>,
    publishing: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

/// A running pipeline. Dropping it without [`Pipeline::stop`] leaves its threads running.
pub struct Pipeline {
    sources: Vec<SourceHandle>,
    core: Core,
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, PipelineError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|source| PipelineError::Thread {
        name: name.to_owned(),
        source,
    })
}

impl Core {
    /// One door a camera, in the order of `parts.cameras`.
    pub(super) fn start(parts: Parts) -> Result<(Core, Vec<Admission>), PipelineError> {
        let Parts {
            cameras,
            segmenter,
            outlets,
            states,
            idle,
            clocks,
        } = parts;
        let ids: Vec<CameraId> = cameras.iter().map(|c| c.id.clone()).collect();
        let (desk, received) = crossbeam_channel::bounded(DESK_CAPACITY);
        let intake = Arc::new(Intake::new(cameras.len()));
        let demand = Arc::new(DemandBoard::new(cameras.len()));
        let metrics = Arc::new(Metrics::new(ids.iter().cloned()));

        let publishing = Publishing {
            cameras: ids,
            outlets,
            states,
            desk: received,
            demand: Arc::clone(&demand),
            metrics: Arc::clone(&metrics),
            clocks: Arc::clone(&clocks),
            ledgers: HashMap::new(),
        };
        let publishing = thread("publish", move || publishing.run())?;
        let engine = EngineLoop {
            segmenter,
            clocks: Arc::clone(&clocks),
            intake: Arc::clone(&intake),
            desk: desk.clone(),
            demand: Arc::clone(&demand),
            idle,
            metrics: Arc::clone(&metrics),
            durations: Durations::default(),
        };
        let engine = thread("engine", move || engine.run())?;
        let doors = cameras.into_iter().enumerate().map(|(index, camera)| Admission {
            index,
            camera,
            idle,
            intake: Arc::clone(&intake),
            desk: desk.clone(),
            demand: Arc::clone(&demand),
            metrics: Arc::clone(&metrics),
            clocks: Arc::clone(&clocks),
            last_result_number: 0,
        });
        let doors = doors.collect();
        Ok((
            Core {
                intake,
                desk,
                engine,
                publishing,
                metrics,
            },
            doors,
        ))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot()
    }

    /// Refuses new frames and answers what waits with STOPPING.
    pub(super) fn close(&self) {
        for (camera, mut waiting) in self.intake.close() {
            waiting.report.outcome = tombstone(TombstoneReason::Stopping, "shutting down");
            // The publishing thread lives until the last sender is gone, and this one is not.
            let _ = self.desk.send(Event::Settled {
                camera,
                report: waiting.report,
            });
        }
    }

    /// After [`Core::close`] and the end of all doors: drains and closes the outlets.
    pub(super) fn join(self) -> Snapshot {
        let mut troubles = Vec::new();
        if self.engine.join().is_err() {
            troubles.push("the engine thread panicked".to_owned());
        }
        drop(self.desk);
        if self.publishing.join().is_err() {
            troubles.push("the publishing thread panicked".to_owned());
        }
        let mut snapshot = self.metrics.snapshot();
        snapshot.troubles.extend(troubles);
        snapshot
    }
}

impl Pipeline {
    pub fn start(parts: Parts) -> Result<Pipeline, PipelineError> {
        let clocks = Arc::clone(&parts.clocks);
        let (core, doors) = Core::start(parts)?;
        let mut sources = Vec::new();
        for mut door in doors {
            let camera = door.camera.clone();
            let name = format!("source/{}", camera.id);
            let handle = source::spawn(camera, Arc::clone(&clocks), move |event| door.event(event))
                .map_err(|source| PipelineError::Thread { name, source })?;
            sources.push(handle);
        }
        Ok(Pipeline { sources, core })
    }

    pub fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    /// Whether every source is over (files read once) and everything it delivered has been accounted for.
    pub fn is_finished(&self) -> bool {
        let snapshot = self.snapshot();
        snapshot.cameras.values().all(|c| {
            let stalls = |reason: &TombstoneReason| *reason == TombstoneReason::SourceStalled;
            let lost: u64 = c
                .tombstones
                .iter()
                .filter(|(reason, _)| !stalls(reason))
                .map(|(_, n)| n)
                .sum();
            c.ended && c.answers + lost >= c.frames
        })
    }

    /// Stops the sources, answers what is queued with STOPPING, drains and closes the outlets.
    pub fn stop(self) -> Snapshot {
        for source in &self.sources {
            source.stop();
        }
        self.core.close();
        let mut hanging = Vec::new();
        for source in self.sources {
            if !source.join() {
                hanging.push("a source did not stop within its time and was left behind".to_owned());
            }
        }
        // A source that hangs in a driver keeps its door, and so the desk, open: then there is no waiting for the end.
        if hanging.is_empty() {
            return self.core.join();
        }
        let mut snapshot = self.core.snapshot();
        snapshot.troubles.extend(hanging);
        snapshot
    }

    /// Waits until every source is over, `stop_when` says so, or `timeout` has passed; looks every 50 ms.
    pub fn wait(&self, timeout: Option<Duration>, clocks: &dyn Clocks, mut stop_when: impl FnMut(&Snapshot) -> bool) {
        let start = clocks.mono_nanos();
        let limit = timeout.map(crate::time::nanos);
        loop {
            let snapshot = self.snapshot();
            let over = limit.is_some_and(|l| clocks.mono_nanos() - start >= l);
            if over || stop_when(&snapshot) || self.is_finished() {
                return;
            }
            clocks.sleep(Duration::from_millis(50));
        }
    }
}
