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
use crate::source::{self, Source, SourceError, SourceHandle, SourceState, SourceStats};
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

/// Opens the source of a camera.
pub type OpenSource = Arc<dyn Fn(&Camera, &Arc<dyn Clocks>) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

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

fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, PipelineError> {
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
            waiting_states: std::collections::VecDeque::new(),
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
            failures: 0,
            last_ticket: 0,
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

    /// Whether engine and publishing thread still run; neither ends by itself.
    fn is_alive(&self) -> bool {
        !self.engine.is_finished() && !self.publishing.is_finished()
    }

    /// After [`Core::close`]: drains and closes the outlets, even if a source hangs and keeps its door open.
    pub(super) fn join(self) -> Snapshot {
        let mut faults = Vec::new();
        let step = Duration::from_millis(20);
        let mut patience = ENGINE_PATIENCE;
        while !self.engine.is_finished() && patience > Duration::ZERO {
            std::thread::sleep(step);
            patience = patience.saturating_sub(step);
        }
        if !self.engine.is_finished() {
            faults.push("the engine did not stop within its time and was left behind".to_owned());
        } else if self.engine.join().is_err() {
            faults.push("the engine thread panicked".to_owned());
        }
        // A closed desk means that the publishing thread is gone: its end is judged below.
        let _ = self.desk.send(Event::Close);
        if self.publishing.join().is_err() {
            faults.push("the publishing thread panicked".to_owned());
        }
        let mut snapshot = self.metrics.snapshot();
        snapshot.faults.extend(faults);
        snapshot
    }
}

/// The engine may be busy with a frame when it is told to stop.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

impl Pipeline {
    pub fn start(parts: Parts) -> Result<Pipeline, PipelineError> {
        Pipeline::start_with(parts, Arc::new(source::open))
    }

    /// As [`Pipeline::start`], with sources of the caller's.
    pub fn start_with(parts: Parts, open: OpenSource) -> Result<Pipeline, PipelineError> {
        let clocks = Arc::clone(&parts.clocks);
        let (core, doors) = Core::start(parts)?;
        let mut sources = Vec::new();
        for mut door in doors {
            let camera = door.camera.clone();
            let name = format!("source/{}", camera.id);
            let (open, opened, opening_clocks) = (Arc::clone(&open), camera.clone(), Arc::clone(&clocks));
            let opener = Arc::new(move || open(&opened, &opening_clocks));
            let handle = source::spawn_with(camera, Arc::clone(&clocks), opener, move |event| door.event(event))
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
        // Side by side: each source has its own time to stop, and a hung one must not use up that of the others.
        let joins: Vec<_> = self
            .sources
            .into_iter()
            .map(|source| thread("source/join", move || source.join()))
            .collect();
        let mut hanging = 0;
        for join in joins {
            let stopped = join.map(|handle| handle.join().unwrap_or(false)).unwrap_or(false);
            hanging += u32::from(!stopped);
        }
        let mut snapshot = self.core.join();
        if hanging > 0 {
            snapshot.faults.push(format!(
                "{hanging} sources did not stop within their time and were left behind"
            ));
        }
        snapshot
    }

    /// A source whose thread ended without a word (a panic) has failed, and is said so at once.
    fn note_dead_sources(&self) {
        for source in self.sources.iter().filter(|s| s.is_finished()) {
            let id = source.camera();
            self.core.metrics.camera(id, |c| c.orphaned = !c.ended);
            if self.snapshot().cameras.get(id).is_some_and(|c| c.orphaned) {
                self.core
                    .metrics
                    .trouble(format!("camera {id}: the thread of its source died"));
                self.core.metrics.camera(id, |c| (c.ended, c.failed) = (true, true));
            }
        }
    }

    /// What each source counts, by camera.
    pub fn source_stats(&self) -> Vec<(CameraId, SourceStats)> {
        self.sources.iter().map(|s| (s.camera().clone(), s.stats())).collect()
    }

    /// Waits until every source is over, `stop_when` says so, or `timeout` has passed; looks every 50 ms.
    pub fn wait(&self, timeout: Option<Duration>, clocks: &dyn Clocks, mut stop_when: impl FnMut(&Snapshot) -> bool) {
        let start = clocks.mono_nanos();
        let limit = timeout.map(crate::time::nanos);
        loop {
            self.note_dead_sources();
            let snapshot = self.snapshot();
            let over = limit.is_some_and(|l| clocks.mono_nanos() - start >= l);
            if over || stop_when(&snapshot) || self.is_finished() || !self.core.is_alive() {
                return;
            }
            clocks.sleep(Duration::from_millis(50));
        }
    }
}
