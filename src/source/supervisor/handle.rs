//! The thread of a source as its owner holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::super::{Flow, SourceEvent, open};
use super::{Opener, Supervisor};
use crate::config::Camera;
use crate::names::CameraId;
use crate::time::{Clocks, nanos};

/// Closing a source takes milliseconds unless its driver hangs.
const JOIN_WITHIN: Duration = Duration::from_secs(5);
const UNKNOWN: i64 = i64::MIN;

/// What a source has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceStats {
    /// Delivered and whole, those above the rate limit included.
    pub frames: u64,
    pub damaged: u64,
    /// Of `frames`, those that the rate limit skipped.
    pub rate_limited: u64,
    pub reconnects: u32,
    pub nominal_period: Option<Duration>,
    /// Camera UTC at capture minus host UTC at arrival.
    pub camera_clock_offset_nanos: Option<i64>,
    /// Jumps of this host's UTC.
    pub clock_steps: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    stop: AtomicBool,
    frames: AtomicU64,
    damaged: AtomicU64,
    rate_limited: AtomicU64,
    reconnects: AtomicU64,
    period: AtomicI64,
    camera_clock_offset: AtomicI64,
    clock_steps: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared {
            stop: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            period: AtomicI64::new(UNKNOWN),
            camera_clock_offset: AtomicI64::new(UNKNOWN),
            clock_steps: AtomicU64::new(0),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn frame(&self, passes: bool) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        if !passes {
            self.rate_limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many so far, this one included.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn reconnected(&self, times: u32) {
        self.reconnects.store(u64::from(times), Ordering::Relaxed);
    }

    pub(super) fn observed(&self, period: Option<Duration>, camera_offset: Option<i64>, clock_steps: u64) {
        self.period.store(period.map_or(UNKNOWN, nanos), Ordering::Relaxed);
        self.camera_clock_offset
            .store(camera_offset.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.clock_steps.store(clock_steps, Ordering::Relaxed);
    }

    fn stats(&self) -> SourceStats {
        let known = |cell: &AtomicI64| Some(cell.load(Ordering::Relaxed)).filter(|v| *v != UNKNOWN);
        SourceStats {
            frames: self.frames.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            rate_limited: self.rate_limited.load(Ordering::Relaxed),
            reconnects: u32::try_from(self.reconnects.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            nominal_period: known(&self.period).map(|n| Duration::from_nanos(n.unsigned_abs())),
            camera_clock_offset_nanos: known(&self.camera_clock_offset),
            clock_steps: self.clock_steps.load(Ordering::Relaxed),
        }
    }
}

/// A running source.
#[derive(Debug)]
pub struct SourceHandle {
    camera: CameraId,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// Closed when the thread is through.
    done: Receiver<()>,
}

impl SourceHandle {
    pub fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// Asks the source to stop, and returns at once. After the event it is in, none follows.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Stops, and waits until the source is closed, 5 s at most. `false`: its thread hangs in a driver, or in the
    /// callback, and was left behind.
    pub fn join(self) -> bool {
        self.stop();
        if let Err(crossbeam_channel::RecvTimeoutError::Timeout) = self.done.recv_timeout(JOIN_WITHIN) {
            tracing::error!(camera = %self.camera, "source does not stop, its thread is left behind");
            return false;
        }
        if self.thread.join().is_err() {
            tracing::error!(camera = %self.camera, "the thread of the source died");
        }
        true
    }

    /// Ended or stopped.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn stats(&self) -> SourceStats {
        self.shared.stats()
    }
}

/// Runs the source of `camera` on a thread `source/<camera>` until it ends or is stopped. `on_event` runs on that
/// thread. For paced and live sources it must return quickly; for an unpaced one, the time it takes is the back-pressure.
pub fn spawn(
    camera: Camera,
    clocks: Arc<dyn Clocks>,
    on_event: impl FnMut(SourceEvent) -> Flow + Send + 'static,
) -> std::io::Result<SourceHandle> {
    let (opened, opening_clocks) = (camera.clone(), clocks.clone());
    spawn_with(
        camera,
        clocks,
        Arc::new(move || open(&opened, &opening_clocks)),
        on_event,
    )
}

/// As [`spawn`], with a source of the caller's.
pub fn spawn_with(
    camera: Camera,
    clocks: Arc<dyn Clocks>,
    open: Opener,
    on_event: impl FnMut(SourceEvent) -> Flow + Send + 'static,
) -> std::io::Result<SourceHandle> {
    let shared = Arc::new(Shared::new());
    let (closed_on_exit, done) = bounded::<()>(0);
    let mut supervisor = Supervisor::new(camera.clone(), clocks, open, on_event, shared.clone());
    let thread = std::thread::Builder::new()
        .name(format!("source/{}", camera.id))
        .spawn(move || {
            let _closed_on_exit = closed_on_exit;
            // Stopped or ended: nothing is left to say either way.
            let _ = supervisor.run();
        })?;
    Ok(SourceHandle {
        camera: camera.id,
        shared,
        thread,
        done,
    })
}
