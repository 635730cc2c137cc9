//! Launch files: as written (`file`), then as meant (`resolve`): unknown keys refused, units in keys, defaults in one
//! place. Not here: engine recipes' meaning (`model::recipe`), what a source does with its settings (`source`).

mod error;
mod executor;
mod file;
mod resolve;
#[cfg(test)]
mod tests;
mod uri;

pub use error::ConfigError;
pub use executor::Executor;
pub use resolve::{parse, read};
pub use uri::{DEFAULT_SCENE, SourceUriError, redact};

use std::path::PathBuf;
use std::time::Duration;

use crate::geometry::ImageSize;
use crate::names::CameraId;

/// A whole launch file, as meant. Paths are absolute or relative to the working directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The recipe of the engine.
    pub engine: PathBuf,
    pub executor: Executor,
    pub cameras: Vec<Camera>,
    pub outlets: Vec<Outlet>,
    pub publish: Publish,
    pub zenoh: Zenoh,
}

/// One camera, as meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    pub id: CameraId,
    pub uri: SourceUri,
    pub pace: Pace,
    pub repeat: Repeat,
    /// Frames above this rate are skipped before they cost anything; `None` = every frame.
    pub max_rate_hz: Option<f64>,
    /// Do not act on a result older than this.
    pub valid_for: Duration,
    /// Measured delay between exposure and arrival, subtracted from ARRIVAL capture times.
    pub arrival_delay: Duration,
    /// Jitter buffer of RTSP sources.
    pub rtsp_latency: Duration,
    /// No frame for this long: the source is given up and opened again.
    pub stall_timeout: Duration,
}

/// Where pictures come from. Written and read in `uri`.
#[derive(Clone, PartialEq)]
pub enum SourceUri {
    /// `rtsp://` or `rtsps://`, password included: never print it, use [`SourceUri::redacted`].
    Rtsp(String),
    /// `file:///path` or `file://relative/path`.
    File(PathBuf),
    /// `v4l2:///dev/video0`.
    V4l2(PathBuf),
    /// `images://dir`: PNG and JPEG files of a folder in name order.
    Images(PathBuf),
    /// `gst:videotestsrc ! ...`: a pipeline description that ends in raw video.
    Gst(String),
    /// `sim://conveyor?seed=7&objects=12&size=640x480&fps=30`.
    Simulated(SimulatedScene),
}

#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedScene {
    pub seed: u64,
    /// Mean number of objects in view.
    pub objects: u32,
    pub size: ImageSize,
    pub fps: f64,
}

/// How fast a file, image folder or simulated camera is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As a live camera: frames come at their time and are dropped when the engine is busy.
    RealTime,
    /// As fast as the engine takes them; nothing is dropped.
    Unpaced,
}

/// What happens at the end of a file or image folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Once,
    Loop,
}

/// One `[[outlet]]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Outlet {
    AnnotatedVideo(AnnotatedVideo),
}

#[derive(Debug, Clone, PartialEq)]
pub struct AnnotatedVideo {
    pub dir: PathBuf,
    /// Cameras to record; empty = all.
    pub cameras: Vec<CameraId>,
    /// Length of a segment.
    pub segment: Duration,
    /// Size of a segment at most.
    pub segment_bytes: u64,
    /// Frames that may wait for the encoder of one camera.
    pub queue_frames: usize,
    /// Recording stops below this much free disk.
    pub min_free_bytes: u64,
    /// Instances below are not drawn.
    pub score_threshold: f32,
    pub bitrate_kbit: u32,
}

/// `[publish]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    pub key_prefix: String,
    /// Instances below are not published.
    pub score_threshold: f32,
    pub max_instances: usize,
    pub idle: Idle,
    pub demand: DemandPolicy,
}

/// What the network still does while nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    Boxes,
    Masks,
    Off,
}

/// Whether forms are encoded only while somebody matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DemandPolicy {
    Matching,
    Always,
}

/// `[zenoh]`: a json5 file, then single settings over it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Zenoh {
    pub config: Option<PathBuf>,
    /// `peer` or `client`.
    pub mode: Option<String>,
    pub connect: Vec<String>,
    pub listen: Vec<String>,
}
