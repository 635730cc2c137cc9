//! One thread a camera: opens its source, reads it, numbers its frames over all reconnects, and never dies of an error.
//!
//! ```text
//! CONNECTING -> STREAMING <-> STALLED      silence of 3 periods; ticks go out meanwhile
//!      ^            |            |
//!      +-- OFFLINE <+------------+         failure, or silence of `stall_timeout`; back-off
//! ```
//! A source is opened, and a failed one closed, on a thread of its own: both may hang in a driver, and the ticks that
//! tell robots "no frame" must not.

mod handle;
#[cfg(test)]
mod tests;

pub use handle::{SourceHandle, SourceStats, spawn, spawn_with};

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::backoff::{Backoff, RECOVERED_AFTER};
use super::capture_clock::CaptureClock;
use super::pts_line::PtsLine;
use super::rate::RateLimit;
use super::stall::StallWatch;
use super::{Captured, Fault, Flow, Nature, Read, Source, SourceError, SourceEvent, SourceState};
use crate::config::{Camera, Pace, Repeat};
use crate::frame::Frame;
use crate::time::{Clocks, Pts, nanos};
use handle::Shared;

/// A stop is seen within this.
const GLANCE: Duration = Duration::from_millis(50);
/// Connecting and waiting for a key frame take longer than a pause in a stream.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);
/// Nothing from a file that should give frames at once: its disk, or a demuxer, hangs.
const FILE_SILENT_FOR: Duration = Duration::from_secs(30);

/// Opens a source, again after each failure.
pub type Opener = Arc<dyn Fn() -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

/// Asked to stop: from outside, or by the answer to an event.
struct Stopped;

/// Why a stream is over.
enum Over {
    Complete,
    Failed(SourceError),
}

struct Supervisor<F> {
    camera: Camera,
    clocks: Arc<dyn Clocks>,
    open: Opener,
    on_event: F,
    shared: Arc<Shared>,
    state: Option<SourceState>,
    last_frame_number: u64,
    reconnects: u32,
    watch: StallWatch,
    limit: RateLimit,
    pts_line: PtsLine,
    period: Option<Duration>,
    /// Counted by sources that were closed since.
    past_clock_steps: u64,
}

impl<F: FnMut(SourceEvent) -> Flow> Supervisor<F> {
    fn new(camera: Camera, clocks: Arc<dyn Clocks>, open: Opener, on_event: F, shared: Arc<Shared>) -> Self {
        Supervisor {
            watch: StallWatch::new(clocks.mono_nanos()),
            limit: RateLimit::new(camera.max_rate_hz),
            camera,
            clocks,
            open,
            on_event,
            shared,
            state: None,
            last_frame_number: 0,
            reconnects: 0,
            pts_line: PtsLine::default(),
            period: None,
            past_clock_steps: 0,
        }
    }

    fn run(&mut self) -> Result<(), Stopped> {
        let mut backoff = Backoff::new(&self.camera.id, self.clocks.mono_nanos());
        let mut old: Option<Box<dyn Source>> = None;
        loop {
            self.say(SourceState::Connecting, format!("opening {}", self.camera.uri))?;
            let error = match self.reopen(old.take())? {
                Err(error) => error,
                Ok(mut source) => {
                    let opened_at = self.clocks.mono_nanos();
                    self.pts_line.reopened();
                    let over = self.stream(source.as_mut(), opened_at)?;
                    self.past_clock_steps += source.clock_steps();
                    if self.clocks.mono_nanos() - opened_at >= nanos(RECOVERED_AFTER) {
                        backoff.reset();
                    }
                    match over {
                        Over::Complete => {
                            self.say(SourceState::Offline, format!("end of {}", self.camera.uri))?;
                            return self.emit(SourceEvent::Ended { error: None });
                        }
                        Over::Failed(error) => {
                            let is_final = source.nature() == Nature::Stored && self.camera.repeat == Repeat::Once;
                            if is_final {
                                return self.give_up(error);
                            }
                            old = Some(source);
                            error
                        }
                    }
                }
            };
            if error.fault.is_permanent() || self.is_read_once() {
                return self.give_up(error);
            }
            let wait = backoff.wait();
            self.say(
                SourceState::Offline,
                format!("{error}; next attempt in {:.2} s", wait.as_secs_f64()),
            )?;
            self.pause(wait)?;
            self.reconnects = self.reconnects.saturating_add(1);
            self.shared.reconnected(self.reconnects);
        }
    }

    /// Whether the source has an end that is wanted, as known from its URI.
    fn is_read_once(&self) -> bool {
        use crate::config::SourceUri::{File, Gst, Images, Rtsp, Simulated, V4l2};
        match self.camera.uri {
            File(_) | Images(_) | Simulated(_) => self.camera.repeat == Repeat::Once,
            Rtsp(_) | V4l2(_) | Gst(_) => false,
        }
    }

    fn give_up(&mut self, error: SourceError) -> Result<(), Stopped> {
        tracing::error!(camera = %self.camera.id, "{error}");
        self.say(SourceState::Offline, error.to_string())?;
        self.emit(SourceEvent::Ended { error: Some(error) })
    }

    /// Closes the old source, then opens a new one, on another thread; ticks meanwhile.
    fn reopen(&mut self, old: Option<Box<dyn Source>>) -> Result<Result<Box<dyn Source>, SourceError>, Stopped> {
        let (give, take) = bounded(1);
        let open = self.open.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("source/{}/open", self.camera.id))
            .spawn(move || {
                drop(old);
                // Nobody waits any more after a stop: the source is dropped here.
                let _ = give.send(open());
            });
        if let Err(e) = spawned {
            return Ok(Err(Fault::Thread { detail: e.to_string() }.of(&self.camera)));
        }
        loop {
            match take.recv_timeout(GLANCE.min(self.until_tick())) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => self.tick()?,
                Err(RecvTimeoutError::Disconnected) => {
                    let detail = "the thread that opens it died".to_owned();
                    return Ok(Err(Fault::Thread { detail }.of(&self.camera)));
                }
            }
        }
    }

    fn stream(&mut self, source: &mut dyn Source, opened_at: i64) -> Result<Over, Stopped> {
        let mut last_good = opened_at;
        let mut any_frame = false;
        let mut patience = self.camera.stall_timeout.max(FIRST_FRAME_WITHIN);
        loop {
            let read = source.read(GLANCE.min(self.until_tick()));
            self.period = source.nominal_period().or(self.period);
            self.shared.observed(
                self.period,
                source.camera_clock_offset_nanos(),
                self.past_clock_steps + source.clock_steps(),
            );
            match read {
                Err(error) => return Ok(Over::Failed(error)),
                Ok(Read::End) => return Ok(Over::Complete),
                Ok(Read::Frame(captured)) => {
                    self.frame(captured)?;
                    last_good = self.clocks.mono_nanos();
                    patience = self.camera.stall_timeout;
                    any_frame = true;
                }
                Ok(Read::Damaged { detail }) => self.damaged(detail)?,
                Ok(Read::Idle) => {
                    self.tick()?;
                    let silent = self.clocks.mono_nanos().saturating_sub(last_good);
                    let limit = match (source.nature(), self.camera.pace) {
                        (Nature::Live, _) => Some(patience),
                        (Nature::Stored, Pace::Unpaced) => Some(patience.max(FILE_SILENT_FOR)),
                        (Nature::Stored, Pace::RealTime) if !any_frame => Some(patience.max(FILE_SILENT_FOR)),
                        // Its own time stamps say when the next frame is due, be it in an hour.
                        (Nature::Stored, Pace::RealTime) => None,
                    };
                    if let Some(limit) = limit.filter(|limit| silent >= nanos(*limit)) {
                        return Ok(Over::Failed(Fault::Silent { after: limit }.of(&self.camera)));
                    }
                }
            }
        }
    }

    fn frame(&mut self, captured: Captured) -> Result<(), Stopped> {
        self.last_frame_number += 1;
        self.watch.frame(self.clocks.mono_nanos());
        self.say(SourceState::Streaming, String::new())?;
        let period_nanos = nanos(self.period.unwrap_or(Duration::from_millis(1)));
        let pts: Option<Pts> = captured.pts.map(|pts| self.pts_line.place(pts, period_nanos));
        let stamp = pts.map_or(captured.decoded_mono_nanos, |pts| pts.nanos);
        let passes = self.limit.passes(stamp);
        self.shared.frame(passes);
        if !passes {
            return self.look();
        }
        self.emit(SourceEvent::Frame(Frame {
            camera: self.camera.id.clone(),
            frame_number: self.last_frame_number,
            pts,
            capture_time: captured.capture_time,
            arrival_mono_nanos: captured.arrival_mono_nanos,
            decoded_mono_nanos: captured.decoded_mono_nanos,
            image: captured.image,
        }))
    }

    fn damaged(&mut self, detail: String) -> Result<(), Stopped> {
        self.last_frame_number += 1;
        let now = self.clocks.mono_nanos();
        self.watch.frame(now);
        let frame_number = self.last_frame_number;
        // What a damaged buffer says of its time is not trusted: when it reached us is.
        let capture_time = CaptureClock::new(Arc::clone(&self.clocks), self.camera.arrival_delay).arrival(now);
        // The first, then each power of two: a camera with a bad cable says this 30 times a second.
        let count = self.shared.damaged();
        if count.is_power_of_two() {
            tracing::warn!(camera = %self.camera.id, frame_number, count, "damaged frame: {detail}");
        }
        self.emit(SourceEvent::Damaged {
            frame_number,
            capture_time,
            detail,
        })
    }

    /// Says every frame that is overdue, and looks whether to stop.
    fn tick(&mut self) -> Result<(), Stopped> {
        self.look()?;
        if self.camera.pace == Pace::Unpaced {
            return Ok(());
        }
        let now = self.clocks.mono_nanos();
        while self.watch.tick(now, self.period) {
            if self.state == Some(SourceState::Streaming) {
                let silent = now.saturating_sub(self.watch.since()) / 1_000_000;
                self.say(SourceState::Stalled, format!("no frame for {silent} ms"))?;
            }
            self.emit(SourceEvent::Stalled {
                since_mono_nanos: self.watch.since(),
                last_frame_number: self.last_frame_number,
            })?;
        }
        Ok(())
    }

    fn until_tick(&self) -> Duration {
        let left = self.watch.due(self.period).saturating_sub(self.clocks.mono_nanos());
        // Never 0: an unpaced source is never ticked, and must not spin.
        Duration::from_nanos(left.max(1_000_000).unsigned_abs())
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Stopped> {
        let until = self.clocks.mono_nanos().saturating_add(nanos(wait));
        loop {
            let left = until.saturating_sub(self.clocks.mono_nanos());
            if left <= 0 {
                return Ok(());
            }
            let left = Duration::from_nanos(left.unsigned_abs());
            self.clocks.sleep(left.min(GLANCE).min(self.until_tick()));
            self.tick()?;
        }
    }

    fn say(&mut self, state: SourceState, detail: String) -> Result<(), Stopped> {
        if self.state == Some(state) && state != SourceState::Offline {
            return Ok(());
        }
        self.state = Some(state);
        match state {
            SourceState::Offline => tracing::warn!(camera = %self.camera.id, "{state}: {detail}"),
            _ => tracing::info!(camera = %self.camera.id, "{state} {detail}"),
        }
        self.emit(SourceEvent::State {
            state,
            detail,
            reconnects: self.reconnects,
        })
    }

    fn emit(&mut self, event: SourceEvent) -> Result<(), Stopped> {
        self.look()?;
        match (self.on_event)(event) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(Stopped),
        }
    }

    fn look(&self) -> Result<(), Stopped> {
        if self.shared.is_stopping() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }
}
