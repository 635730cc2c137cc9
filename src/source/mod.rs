//! Cameras: from a URI to numbered frames with capture times.
//!
//! Belongs here: opening sources, pacing them, capture times, stalls, reconnects, the simulated camera. Not here: queues
//! and what is dropped from them (`pipeline`), colour conversion (`preprocess`), states on the wire (`outlets`).
//!
//! ```text
//! Source (gst | gif | images | simulated)  -> supervisor: numbers, rate limit, stalls, reconnects  -> SourceEvent
//! ```

mod backoff;
#[cfg_attr(
    not(feature = "gstreamer"),
    allow(dead_code, reason = "camera clocks come by GStreamer")
)]
mod capture_clock;
mod error;
mod gif;
#[cfg(feature = "gstreamer")]
mod gst;
mod images;
mod jpeg;
mod pacer;
#[cfg_attr(
    not(feature = "gstreamer"),
    allow(dead_code, reason = "rates are announced by GStreamer")
)]
mod period;
mod pts_line;
mod rate;
pub mod simulated;
mod simulated_camera;
mod stall;
mod still;
mod supervisor;
#[cfg(test)]
mod tests;

pub use error::{Fault, SourceError};
pub use simulated_camera::Film;
pub use still::{Orientation, StillError, read_still};
pub use supervisor::{SourceHandle, SourceStats, spawn, spawn_with};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Camera, SourceUri};
use crate::device::DeviceShare;
use crate::frame::{Frame, Image};
use crate::time::{CaptureTime, Clocks, Pts};

/// One source, pulled on its own thread. Dropping it closes it.
pub trait Source: Send {
    /// The next thing it has to say, waiting at most about `timeout`. After an error, or [`Read::End`], it is used up.
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError>;

    /// Time between two frames as announced or measured, `None` until known.
    fn nominal_period(&self) -> Option<Duration>;

    fn nature(&self) -> Nature;

    /// Camera UTC minus host UTC, of the last frame that carried a camera time.
    fn camera_clock_offset_nanos(&self) -> Option<i64> {
        None
    }

    /// How often the host's UTC has jumped since this source was opened.
    fn clock_steps(&self) -> u64 {
        0
    }
}

/// What a missing frame, or the end, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Has no end: an end is a fault, and silence is given up after `stall_timeout`.
    Live,
    /// Has an end, and may be silent as long as its time stamps say.
    Stored,
}

/// What one [`Source::read`] gives.
#[derive(Debug)]
pub enum Read {
    Frame(Captured),
    /// A frame that came but cannot be shown; the stream goes on.
    Damaged {
        detail: String,
    },
    /// Nothing within the timeout.
    Idle,
    /// All frames were given. Only from [`Nature::Stored`] sources that are read once.
    End,
}

/// A picture as a source gives it; the supervisor adds camera and number.
#[derive(Debug)]
pub struct Captured {
    pub image: Image,
    /// The source's own; may start again after a loop or a reconnect.
    pub pts: Option<Pts>,
    pub capture_time: CaptureTime,
    /// Monotonic: first byte in the process.
    pub arrival_mono_nanos: i64,
    /// Monotonic: pixels available.
    pub decoded_mono_nanos: i64,
}

/// Where a camera stands. Same words as `maskcast.v1.CameraState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// Being opened; no frame yet.
    Connecting,
    Streaming,
    /// Open, but nothing came for three periods.
    Stalled,
    /// Failed or ended: waiting for the next attempt, if there is one.
    Offline,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceState::Connecting => "CONNECTING",
            SourceState::Streaming => "STREAMING",
            SourceState::Stalled => "STALLED",
            SourceState::Offline => "OFFLINE",
        })
    }
}

/// What a supervised source says.
#[derive(Debug)]
pub enum SourceEvent {
    /// A frame that passed the rate limit. Numbers count every frame the source delivered, over loops and reconnects:
    /// damaged ones and those above the rate limit take a number too.
    Frame(Frame),
    /// A delivered frame that cannot be shown.
    Damaged {
        frame_number: u64,
        capture_time: CaptureTime,
        detail: String,
    },
    /// An expected frame did not come: once nothing came for max(3 periods, 150 ms) since the last frame or since
    /// attach, one every max(period, 100 ms). Never from unpaced sources.
    Stalled {
        since_mono_nanos: i64,
        /// 0 = none yet.
        last_frame_number: u64,
    },
    /// On every change, and on every failed attempt. `reconnects` counts attempts after the first.
    State {
        state: SourceState,
        detail: String,
        reconnects: u32,
    },
    /// The last event of a source that gives no frame any more: `None` = all were given, else why not. A source that is
    /// stopped from outside says nothing more.
    Ended { error: Option<SourceError> },
}

/// What a supervised source does after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

/// Whether only GStreamer can open it.
pub fn needs_gstreamer(uri: &SourceUri) -> bool {
    match uri {
        SourceUri::File(path) => !gif::is_gif(path),
        SourceUri::Rtsp(_) | SourceUri::V4l2(_) | SourceUri::Gst(_) => true,
        SourceUri::Images(_) | SourceUri::Simulated(_) => false,
    }
}

/// Opens the source of `camera`, unsupervised: whoever reads it handles ends and errors. May take as long as a device
/// takes; connecting to a server is left to the first reads.
pub fn open(camera: &Camera, clocks: &Arc<dyn Clocks>) -> Result<Box<dyn Source>, SourceError> {
    open_on(camera, clocks, None)
}

/// The same; pictures that a decoder makes on the GPU of `share` stay there. Others come through host memory as ever.
pub fn open_on(
    camera: &Camera,
    clocks: &Arc<dyn Clocks>,
    share: Option<&DeviceShare>,
) -> Result<Box<dyn Source>, SourceError> {
    #[cfg(not(feature = "gstreamer"))]
    let _ = share;
    match &camera.uri {
        SourceUri::File(path) if gif::is_gif(path) => Ok(Box::new(gif::GifSource::open(camera, path, clocks)?)),
        #[cfg(feature = "gstreamer")]
        SourceUri::Rtsp(_) | SourceUri::File(_) | SourceUri::V4l2(_) | SourceUri::Gst(_) => {
            Ok(Box::new(gst::GstSource::open(camera, clocks, share)?))
        }
        #[cfg(not(feature = "gstreamer"))]
        SourceUri::Rtsp(_) | SourceUri::File(_) | SourceUri::V4l2(_) | SourceUri::Gst(_) => {
            Err(Fault::BuiltWithoutGstreamer.of(camera))
        }
        SourceUri::Images(dir) => Ok(Box::new(images::ImagesSource::open(camera, dir, clocks)?)),
        SourceUri::Simulated(scene) => Ok(Box::new(simulated_camera::SimulatedCamera::open(
            camera, scene, None, clocks,
        )?)),
    }
}

/// As [`open`], but a simulated camera shows `film` instead of rendering.
pub fn open_with_film(camera: &Camera, film: &Film, clocks: &Arc<dyn Clocks>) -> Result<Box<dyn Source>, SourceError> {
    match &camera.uri {
        SourceUri::Simulated(scene) => Ok(Box::new(simulated_camera::SimulatedCamera::open(
            camera,
            scene,
            Some(film.clone()),
            clocks,
        )?)),
        _ => open(camera, clocks),
    }
}
