//! What can be wrong with a source, said with the camera and the redacted URI.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Camera;
use crate::names::CameraId;

/// A fault of one camera.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("camera {camera} ({uri}): {fault}")]
pub struct SourceError {
    pub camera: CameraId,
    /// Without passwords.
    pub uri: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("GStreamer cannot be started: {detail}; install libgstreamer1.0-0 and gstreamer1.0-plugins-base")]
    NoGstreamer { detail: String },
    #[error("this build has no GStreamer: it opens sim://, images:// and GIF files only")]
    BuiltWithoutGstreamer,
    #[error("{} does not exist", path.display())]
    Absent { path: PathBuf },
    #[error("{} is a folder, wanted a file; a folder of pictures is written images://{}", path.display(), path.display())]
    FolderNotFile { path: PathBuf },
    #[error("{} is a file, wanted a folder of PNG or JPEG files; a video is written file://{}", path.display(), path.display())]
    FileNotFolder { path: PathBuf },
    #[error("{} is empty (0 bytes)", path.display())]
    EmptyFile { path: PathBuf },
    #[error("no PNG or JPEG file in {}", path.display())]
    EmptyFolder { path: PathBuf },
    #[error("no file in {} is a readable picture", path.display())]
    NoGoodPicture { path: PathBuf },
    #[error("{} cannot be read: {detail}", path.display())]
    Unreadable { path: PathBuf, detail: String },
    #[error("GStreamer has no {what}; {remedy}")]
    MissingPlugin { what: String, remedy: String },
    #[error("the pipeline description is refused: {detail}")]
    Description { detail: String },
    #[error("there is no video in it")]
    NoVideo,
    #[error("nothing in it can be played: it is cut short, or of another kind than its name says")]
    Unplayable,
    #[error("it ended without a single frame")]
    NoFrames,
    #[error("{} is cut short: {bytes} bytes of the {announced} it announces", path.display())]
    Truncated { path: PathBuf, announced: u64, bytes: u64 },
    #[error("not reached: {detail}")]
    NotReached { detail: String },
    #[error("{detail}")]
    Stream { detail: String },
    #[error("the picture cannot be used: {detail}")]
    Picture { detail: String },
    #[error("no frame for {:.1} s", after.as_secs_f64())]
    Silent { after: Duration },
    #[error("the stream ended")]
    LiveEnded,
    #[error("{detail}")]
    Scene { detail: String },
    #[error("cannot be opened: {detail}")]
    Thread { detail: String },
}

impl Fault {
    /// Trying again cannot help: only a person can.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Fault::NoGstreamer { .. }
                | Fault::BuiltWithoutGstreamer
                | Fault::MissingPlugin { .. }
                | Fault::Description { .. }
                | Fault::Scene { .. }
        )
    }

    pub(super) fn of(self, camera: &Camera) -> SourceError {
        SourceError {
            camera: camera.id.clone(),
            uri: camera.uri.redacted(),
            fault: self,
        }
    }

    /// A fault in another's words, which may repeat the URI with its password.
    #[cfg(feature = "gstreamer")]
    pub(super) fn stream(detail: &str) -> Fault {
        Fault::Stream {
            detail: crate::config::redact(detail),
        }
    }
}
