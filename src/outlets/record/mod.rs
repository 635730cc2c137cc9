//! Annotated video on disk. Belongs here: the recorder of each camera with its queue and thread, the H.264 encoder,
//! Matroska files, their names, repair after a kill, and what the disk has to say. Not here: what is drawn
//! (`outlets::overlay`), messages (`outlets::publish`).
//!
//! ```text
//! deliver() -> queue (bounded, newest dropped and counted) -> record/<camera>: draw -> encoder -> file -> file ...
//! ```
//!
//! Odd pictures are one repeated column or row wider in the video (see `overlay::coded_size`).

mod encoder;
mod error;
mod files;
mod recorder;
mod segment;
mod snapshot;
mod status;
mod timeline;
mod writer;

pub use error::RecordError;
pub use snapshot::{RecorderSnapshot, RecordingInfo, Still};
pub use status::RecorderStatuses;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, after, bounded, select};

use self::recorder::{Delivery, Recorder};
use self::status::Shared;
use super::{Demand, Outlet, Report};
use crate::config::AnnotatedVideo;
use crate::names::CameraId;
use crate::time::Clocks;

/// How long [`Outlet::finish`] waits in all; after half of it what still waits in queues is given up.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);
/// How often files being written are put on the disk, against loss of power.
const SYNC_PERIOD: Duration = Duration::from_secs(5);

/// Records the annotated video of one or more cameras.
#[derive(Debug)]
pub struct AnnotatedVideoOutlet {
    recorders: Vec<Running>,
    clocks: Arc<dyn Clocks>,
    abandon: Arc<AtomicBool>,
    /// Closing it ends the thread that syncs files.
    sync_stop: Option<Sender<()>>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    /// `None` once finished.
    queue: Option<Sender<Delivery>>,
    /// Closed when the thread is done.
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl AnnotatedVideoOutlet {
    /// Checks the directory, names what a killed run left in it, and starts a recorder for each of `cameras` that
    /// `settings` wants. Files appear with the first frame.
    pub fn open(
        settings: &AnnotatedVideo,
        cameras: &[CameraId],
        info: RecordingInfo,
        clocks: Arc<dyn Clocks>,
    ) -> Result<AnnotatedVideoOutlet, RecordError> {
        gstreamer::init().map_err(|e| RecordError::GStreamer(e.to_string()))?;
        files::check_writable(&settings.dir)?;
        let repaired = files::repair(&settings.dir)?;
        for video in &repaired {
            tracing::warn!(video = %video.display(), "a killed run left this unfinished: it is readable up to its end");
        }
        let (info, abandon) = (Arc::new(info), Arc::new(AtomicBool::new(false)));
        let mut recorders = Vec::new();
        for camera in cameras {
            if !settings.cameras.is_empty() && !settings.cameras.contains(camera) {
                continue;
            }
            let shared = Arc::new(Shared::new(camera.clone(), repaired.len() as u64));
            let recorder = Recorder::new(
                settings.clone(),
                Arc::clone(&info),
                Arc::clone(&clocks),
                Arc::clone(&shared),
                Arc::clone(&abandon),
            );
            recorders.push(Running::start(shared, recorder, settings.queue_frames.max(1))?);
        }
        let sync_stop = start_sync(recorders.iter().map(|running| Arc::clone(&running.shared)).collect());
        Ok(AnnotatedVideoOutlet {
            recorders,
            clocks,
            abandon,
            sync_stop,
        })
    }

    /// A view of all counters and errors; stays good after [`Outlet::finish`].
    pub fn status(&self) -> RecorderStatuses {
        RecorderStatuses {
            shared: self
                .recorders
                .iter()
                .map(|running| Arc::clone(&running.shared))
                .collect(),
        }
    }
}

impl Running {
    fn start(shared: Arc<Shared>, recorder: Recorder, queue_frames: usize) -> Result<Running, RecordError> {
        let (sender, receiver) = bounded::<Delivery>(queue_frames);
        let (done_sender, done) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name(format!("record/{}", shared.camera))
            .spawn(move || {
                let _done = done_sender;
                recorder.run(&receiver);
            })
            .map_err(|source| RecordError::Thread {
                camera: shared.camera.clone(),
                source,
            })?;
        Ok(Running {
            shared,
            queue: Some(sender),
            done,
            thread: Some(thread),
        })
    }

    /// Waits until the thread is done or `timer` has fired, once or earlier.
    fn is_done_before(&self, timer: &mut Timer) -> bool {
        if !timer.fired {
            select! {
                recv(self.done) -> _ => return true,
                recv(timer.channel) -> _ => timer.fired = true,
            }
        }
        self.done.try_recv() == Err(TryRecvError::Disconnected)
    }
}

/// Fires once; remembers that it has.
struct Timer {
    channel: Receiver<std::time::Instant>,
    fired: bool,
}

impl Timer {
    fn new(duration: Duration) -> Timer {
        Timer {
            channel: after(duration),
            fired: false,
        }
    }
}

/// Starts the thread that puts files on the disk while they are written. Without it only a loss of power costs more.
fn start_sync(recorders: Vec<Arc<Shared>>) -> Option<Sender<()>> {
    let (stop, stopped) = bounded::<()>(0);
    let sync = move || {
        while stopped.recv_timeout(SYNC_PERIOD) == Err(RecvTimeoutError::Timeout) {
            for part in recorders.iter().filter_map(|shared| shared.part()) {
                sync_file(&part);
            }
        }
    };
    match std::thread::Builder::new().name("record/sync".to_owned()).spawn(sync) {
        Ok(_) => Some(stop),
        Err(error) => {
            tracing::warn!(%error, "no thread that syncs recordings");
            None
        }
    }
}

/// Any descriptor of the file will do. It may have been renamed meanwhile: then it is synced already.
fn sync_file(path: &Path) {
    if let Ok(file) = std::fs::File::open(path)
        && let Err(error) = file.sync_data()
    {
        tracing::warn!(file = %path.display(), %error, "cannot put a recording on the disk");
    }
}

impl Outlet for AnnotatedVideoOutlet {
    fn name(&self) -> &str {
        "annotated_video"
    }

    fn demand(&self, camera: &CameraId) -> Demand {
        let wanted = self.recorders.iter().any(|running| running.shared.camera == *camera);
        Demand {
            boxes: wanted,
            masks: wanted,
        }
    }

    fn deliver(&mut self, report: &Arc<Report>) {
        let Some(running) = self
            .recorders
            .iter()
            .find(|running| running.shared.camera == report.camera)
        else {
            return;
        };
        let Some(queue) = &running.queue else { return };
        let delivery = Delivery {
            report: Arc::clone(report),
            mono_nanos: self.clocks.mono_nanos(),
        };
        match queue.try_send(delivery) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                running.shared.frames_dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => {
                running.shared.frames_failed.fetch_add(1, Ordering::Relaxed);
                running
                    .shared
                    .set_error(Some("the recording thread has ended".to_owned()));
            }
        }
    }

    fn finish(&mut self) {
        self.sync_stop = None;
        for running in &mut self.recorders {
            running.queue = None;
        }
        let (mut half, mut end) = (Timer::new(FINISH_PATIENCE / 2), Timer::new(FINISH_PATIENCE));
        for running in &mut self.recorders {
            let mut done = running.is_done_before(&mut half);
            if !done {
                self.abandon.store(true, Ordering::Relaxed);
                done = running.is_done_before(&mut end);
            }
            let Some(thread) = running.thread.take() else { continue };
            if !done {
                tracing::error!(
                    camera = %running.shared.camera,
                    "recording did not finish within {FINISH_PATIENCE:?}: its last file is named at the next start"
                );
            } else if thread.join().is_err() {
                tracing::error!(camera = %running.shared.camera, "the recording thread panicked");
            }
        }
    }
}

impl Drop for AnnotatedVideoOutlet {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests;
