//! Counters of one recorder, readable by others while it works and after it has finished.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{RecorderSnapshot, Still};
use crate::names::CameraId;
use crate::outlets::overlay::Canvas;

/// What a recorder shares with its readers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) camera: CameraId,
    pub(super) frames_written: AtomicU64,
    pub(super) frames_dropped: AtomicU64,
    pub(super) frames_failed: AtomicU64,
    pub(super) frames_without_picture: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) segments_finished: AtomicU64,
    pub(super) segments_repaired: AtomicU64,
    words: Mutex<Words>,
    still: Mutex<Option<Still>>,
}

#[derive(Debug, Default)]
struct Words {
    error: Option<String>,
    dir: Option<PathBuf>,
    encoder: Option<String>,
    part: Option<PathBuf>,
}

impl Shared {
    pub(super) fn new(camera: CameraId, segments_repaired: u64) -> Shared {
        Shared {
            camera,
            frames_written: AtomicU64::new(0),
            frames_dropped: AtomicU64::new(0),
            frames_failed: AtomicU64::new(0),
            frames_without_picture: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            segments_finished: AtomicU64::new(0),
            segments_repaired: AtomicU64::new(segments_repaired),
            words: Mutex::default(),
            still: Mutex::default(),
        }
    }

    pub(super) fn set_error(&self, error: Option<String>) {
        held(&self.words).error = error;
    }

    pub(super) fn set_dir(&self, dir: PathBuf) {
        held(&self.words).dir = Some(dir);
    }

    pub(super) fn set_encoder(&self, encoder: &str) {
        held(&self.words).encoder = Some(encoder.to_owned());
    }

    /// The file being written.
    pub(super) fn set_part(&self, part: Option<PathBuf>) {
        held(&self.words).part = part;
    }

    pub(super) fn part(&self) -> Option<PathBuf> {
        held(&self.words).part.clone()
    }

    /// Keeps the picture if it is better than the one kept so far.
    pub(super) fn offer_still(&self, canvas: &Canvas, frame_number: u64, instances: usize, merit: f32) {
        let mut still = held(&self.still);
        if still.as_ref().is_none_or(|kept| merit > kept.merit) {
            *still = Some(Still {
                canvas: canvas.clone(),
                frame_number,
                instances,
                merit,
            });
        }
    }

    pub(super) fn still(&self) -> Option<Still> {
        held(&self.still).clone()
    }

    pub(super) fn snapshot(&self) -> RecorderSnapshot {
        let words = held(&self.words);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecorderSnapshot {
            camera: self.camera.clone(),
            frames_written: read(&self.frames_written),
            frames_dropped: read(&self.frames_dropped),
            frames_failed: read(&self.frames_failed),
            frames_without_picture: read(&self.frames_without_picture),
            bytes_written: read(&self.bytes_written),
            segments_finished: read(&self.segments_finished),
            segments_repaired: read(&self.segments_repaired),
            error: words.error.clone(),
            dir: words.dir.clone(),
            encoder: words.encoder.clone(),
        }
    }
}

/// The recorders of one outlet. Cheap to clone; stays readable after the outlet has finished.
#[derive(Debug, Clone)]
pub struct RecorderStatuses {
    pub(super) shared: Vec<Arc<Shared>>,
}

impl RecorderStatuses {
    /// One a camera, in the order the cameras were given.
    pub fn snapshot(&self) -> Vec<RecorderSnapshot> {
        self.shared.iter().map(|shared| shared.snapshot()).collect()
    }

    /// The annotated picture with the most, most certain instances so far.
    pub fn best_still(&self, camera: &CameraId) -> Option<Still> {
        self.shared.iter().find(|shared| shared.camera == *camera)?.still()
    }
}

/// What the lock guards stays meaningful when a thread panicked while it held it.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
