//! What can be read of a recorder: plain values, in every build.

use std::path::{Path, PathBuf};

use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::outlets::overlay::{self, Canvas, StillError};

/// What a recording says about where its results come from.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingInfo {
    /// Short name of the engine, shown in the picture.
    pub engine_name: String,
    /// Canonical JSON of the engine's identity, kept in the manifest.
    pub engine_identity: String,
    pub classes: ClassMap,
}

/// How the recording of one camera stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSnapshot {
    pub camera: CameraId,
    /// Frames handed to a file.
    pub frames_written: u64,
    /// Frames that found the queue full.
    pub frames_dropped: u64,
    /// Frames that came while recording could not go on (see `error`), or were lost when it failed.
    pub frames_failed: u64,
    /// Reports before the first picture: nothing to draw on.
    pub frames_without_picture: u64,
    /// Encoded video.
    pub bytes_written: u64,
    pub segments_finished: u64,
    /// Files of an earlier, killed run that got their proper name at start (counted once, for the whole directory).
    pub segments_repaired: u64,
    /// Why nothing is being written right now.
    pub error: Option<String>,
    /// Directory of this recording, once there is one.
    pub dir: Option<PathBuf>,
    /// Name of the H.264 encoder in use.
    pub encoder: Option<String>,
}

/// An annotated picture worth keeping.
#[derive(Debug, Clone)]
pub struct Still {
    pub canvas: Canvas,
    pub frame_number: u64,
    /// Instances drawn.
    pub instances: usize,
    /// Sum of their scores: what makes one still better than another.
    pub merit: f32,
}

impl Still {
    /// Writes the annotated picture as PNG.
    pub fn write_png(&self, path: &Path) -> Result<(), StillError> {
        overlay::save_png(&self.canvas, path)
    }
}
