//! What can go wrong while recording. Each names the camera, the directory or the file.

use std::io;
use std::path::PathBuf;

use crate::geometry::ImageSize;
use crate::names::CameraId;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("recording directory {dir}: cannot {doing}: {source}")]
    Directory {
        dir: PathBuf,
        /// Such as `create it`.
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "camera {camera}: recording stopped: {free_bytes} bytes free in {dir}, {min_free_bytes} must stay free \
         (min_free_bytes); it resumes when there is space"
    )]
    TooLittleSpace {
        camera: CameraId,
        dir: PathBuf,
        free_bytes: u64,
        min_free_bytes: u64,
    },
    #[error("camera {camera}: recording stopped: the disk of {dir} is full; it resumes when there is space")]
    DiskFull { camera: CameraId, dir: PathBuf },
    #[error("camera {camera}: {file}: {detail}")]
    Write {
        camera: CameraId,
        file: PathBuf,
        detail: String,
    },
    #[error("GStreamer element {element} is missing: install {package}")]
    MissingElement {
        element: &'static str,
        package: &'static str,
    },
    #[error(
        "no H.264 encoder works here (tried {tried}): install gstreamer1.0-plugins-ugly for x264enc or \
         gstreamer1.0-plugins-bad for openh264enc"
    )]
    NoEncoder { tried: String },
    #[error("camera {camera}: encoder {encoder} for {size} failed: {detail}")]
    Encoder {
        camera: CameraId,
        encoder: String,
        size: ImageSize,
        detail: String,
    },
    #[error("this build has no GStreamer: it records no annotated video")]
    BuiltWithoutGstreamer,
    #[error("GStreamer does not start: {0}")]
    GStreamer(String),
    #[error("camera {camera}: cannot start the recording thread: {source}")]
    Thread { camera: CameraId, source: io::Error },
}
