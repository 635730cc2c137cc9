//! Where results go. An outlet sees frames and instances, never the engine, the model or the source.

pub mod overlay;
pub mod publish; // zenoh
#[cfg(feature = "gstreamer")]
pub mod record; // annotated video
#[cfg(not(feature = "gstreamer"))]
#[path = "record/absent.rs"]
pub mod record;

use std::sync::Arc;

use crate::frame::Image;
use crate::geometry::ImageSize;
use crate::instances::Instance;
use crate::names::CameraId;
use crate::time::{CaptureTime, Pts};
use crate::wire::v1::{Degradation, TombstoneReason};

/// What became of one expected frame: exactly one a frame, in frame order a camera.
#[derive(Debug, Clone)]
pub struct Report {
    pub camera: CameraId,
    /// 1, 2, 3 ... per camera and session.
    pub result_number: u64,
    /// 0 = no frame came (SOURCE_STALLED).
    pub frame_number: u64,
    pub pts: Option<Pts>,
    pub capture_time: Option<CaptureTime>,
    pub size: Option<ImageSize>,
    pub outcome: Outcome,
    pub marks: StageMarks,
    /// Absent for tombstones without pixels.
    pub image: Option<Image>,
    pub valid_for_nanos: i64,
    pub degraded: Vec<Degradation>,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    /// The frame was looked at; descending score. Empty = looked, found none.
    Answer {
        instances: Arc<Vec<Instance>>,
        score_threshold: f32,
    },
    /// The frame was not looked at, or not in time.
    Tombstone {
        reason: TombstoneReason,
        detail: String,
        stalled_for_nanos: i64,
    },
}

/// Monotonic nanoseconds at which a frame passed each border; 0 = it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageMarks {
    pub arrival: i64,
    pub decoded: i64,
    pub submitted: i64,
    pub preprocessed: i64,
    pub inferred: i64,
    pub instances: i64,
}

/// What somebody wants of a camera right now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub boxes: bool,
    pub masks: bool,
}

/// A consumer of reports. Called on the publishing thread: it must not block; slow work belongs behind a bounded queue
/// with counted drops.
pub trait Outlet: Send {
    /// For logs and metrics.
    fn name(&self) -> &str;
    /// What this outlet needs of the camera's next frame.
    fn demand(&self, camera: &CameraId) -> Demand;
    fn deliver(&mut self, report: &Arc<Report>);
    /// Drains queues and closes files. Nothing is delivered afterwards.
    fn finish(&mut self);
}
