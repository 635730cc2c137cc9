//! One camera's recorder: takes reports from its queue, draws, encodes. Owns the thread `record/<camera>`.
//!
//! Nothing that fails here ends the thread: the recording stops with an error everybody can read, what is finished
//! stays, and after a while it is tried again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::encoder::{self, CANDIDATES, Candidate, Encoder};
use super::files::{self, Recording};
use super::segment::Row;
use super::status::{Shared, held};
use super::timeline::{Stamps, Timeline};
use super::writer::{Underway, Writer};
use super::{RecordError, RecordingInfo};
use crate::config::AnnotatedVideo;
use crate::frame::{Image, YuvMatrix};
use crate::geometry::ImageSize;
use crate::outlets::overlay::{Canvas, Caption, Painter, Rgb, Space, Style};
use crate::outlets::{Outcome, Report};
use crate::time::Clocks;

/// First and longest wait before recording is tried again.
const FIRST_RETRY_NANOS: i64 = 1_000_000_000;
const LONGEST_RETRY_NANOS: i64 = 16_000_000_000;
/// Space that must be there beyond `min_free_bytes` before a full disk is tried again, at least.
const RETRY_FREE_BYTES: u64 = 256 << 10;
/// How often free space is looked at.
const SPACE_CHECK_NANOS: i64 = 1_000_000_000;
/// How long encoder and files may take to finish.
const FINISH_PATIENCE: Duration = Duration::from_secs(4);
/// How dark the last picture becomes when there is no newer one, of 256.
const STALE_VEIL: u16 = 150;

/// A report and when it came, monotonic nanoseconds.
pub(super) struct Delivery {
    pub(super) report: Arc<Report>,
    pub(super) mono_nanos: i64,
}

pub(super) struct Recorder {
    settings: AnnotatedVideo,
    info: Arc<RecordingInfo>,
    clocks: Arc<dyn Clocks>,
    shared: Arc<Shared>,
    /// Set when time is up: what still waits is not written any more.
    abandon: Arc<AtomicBool>,
    canvas: Canvas,
    painter: Painter,
    last_image: Option<Image>,
    timeline: Timeline,
    recording: Option<Arc<Recording>>,
    encoder_choice: Option<Candidate>,
    session: Option<Session>,
    next_number: u32,
    next_space_check: i64,
    retry: Retry,
}

/// An encoder for one picture size and the files it fills.
struct Session {
    encoder: Encoder,
    writer: Arc<Mutex<Writer>>,
    underway: Underway,
    /// Time in the recording of the session's first frame.
    start_nanos: Option<i64>,
}

/// When recording may be tried again.
#[derive(Debug, Default)]
struct Retry {
    not_before: i64,
    wait: i64,
}

impl Retry {
    fn later(&mut self, now: i64) {
        self.wait = (2 * self.wait).clamp(FIRST_RETRY_NANOS, LONGEST_RETRY_NANOS);
        self.not_before = now + self.wait;
    }
}

impl Recorder {
    pub(super) fn new(
        settings: AnnotatedVideo,
        info: Arc<RecordingInfo>,
        clocks: Arc<dyn Clocks>,
        shared: Arc<Shared>,
        abandon: Arc<AtomicBool>,
    ) -> Recorder {
        Recorder {
            settings,
            info,
            clocks,
            shared,
            abandon,
            canvas: Canvas::blank(ImageSize::new(16, 16), Space::Video),
            painter: Painter::new(Style::default()),
            last_image: None,
            timeline: Timeline::default(),
            recording: None,
            encoder_choice: None,
            session: None,
            next_number: 0,
            next_space_check: i64::MIN,
            retry: Retry::default(),
        }
    }

    /// Until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Receiver<Delivery>) {
        for delivery in queue {
            if self.abandon.load(Ordering::Relaxed) {
                self.count(&self.shared.frames_failed, 1);
                continue;
            }
            self.handle(&delivery);
        }
        if let Err(error) = self.close_session() {
            self.report_failure(&error);
        }
    }

    fn handle(&mut self, delivery: &Delivery) {
        let report = &*delivery.report;
        if let Some(image) = &report.image {
            self.last_image = Some(image.clone());
        }
        let Some(image) = &self.last_image else {
            self.count(&self.shared.frames_without_picture, 1);
            return;
        };
        let now = self.clocks.mono_nanos();
        if self.session.is_none() && now < self.retry.not_before {
            self.count(&self.shared.frames_failed, 1);
            return;
        }
        self.canvas.load(image, Space::Video);
        if report.image.is_none() {
            self.canvas.veil(Rgb::BLACK, STALE_VEIL);
        }
        if let Err(error) = self.record(delivery, now) {
            self.fail(&error, now);
        }
    }

    /// Draws the report over the picture in the canvas and encodes it.
    fn record(&mut self, delivery: &Delivery, now: i64) -> Result<(), RecordError> {
        let report = &*delivery.report;
        self.check_space(now)?;
        let matrix = self.canvas.matrix().unwrap_or(YuvMatrix::Bt601Limited);
        if self
            .session
            .as_ref()
            .is_some_and(|s| !s.encoder.fits(self.canvas.size(), matrix))
        {
            // A camera came back with another size: the next file has it.
            self.close_session()?;
        }
        if self.session.is_none() {
            self.session = Some(self.open_session(matrix)?);
            self.shared.set_error(None);
        }
        self.draw(delivery);

        let time_nanos = self.timeline.next(Stamps::of(report, delivery.mono_nanos));
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let time_nanos = time_nanos - *session.start_nanos.get_or_insert(time_nanos);
        held(&session.underway).push_back(Row {
            time_nanos,
            frame_number: report.frame_number,
            result_number: report.result_number,
            capture_unix_nanos: report.capture_time.map_or(0, |t| t.unix_nanos),
        });
        session.encoder.push(&self.canvas, time_nanos)?;
        self.retry = Retry::default();
        Ok(())
    }

    fn draw(&mut self, delivery: &Delivery) {
        let report = &*delivery.report;
        let caption = Caption::of_report(report, &self.info.engine_name, delivery.mono_nanos);
        let instances = match &report.outcome {
            Outcome::Answer { instances, .. } => instances.as_slice(),
            Outcome::Tombstone { .. } => &[],
        };
        let threshold = self.settings.score_threshold;
        let drawn = &instances[..instances.iter().take_while(|i| i.score >= threshold).count()];
        self.painter.draw(&mut self.canvas, drawn, &self.info.classes, &caption);
        if matches!(report.outcome, Outcome::Answer { .. }) {
            let merit = drawn.iter().map(|instance| instance.score).sum();
            self.shared
                .offer_still(&self.canvas, report.frame_number, drawn.len(), merit);
        }
    }

    fn check_space(&mut self, now: i64) -> Result<(), RecordError> {
        if now < self.next_space_check && self.session.is_some() {
            return Ok(());
        }
        self.next_space_check = now.saturating_add(SPACE_CHECK_NANOS);
        let dir = &self.settings.dir;
        let free_bytes = files::free_bytes(dir)?;
        // Going on needs a little more than what stops it: no switching on and off at the limit.
        let margin = if self.session.is_none() && self.retry.wait > 0 {
            (self.settings.min_free_bytes / 16).max(RETRY_FREE_BYTES)
        } else {
            0
        };
        if free_bytes < self.settings.min_free_bytes.saturating_add(margin) {
            return Err(RecordError::TooLittleSpace {
                camera: self.shared.camera.clone(),
                dir: dir.clone(),
                free_bytes,
                min_free_bytes: self.settings.min_free_bytes,
            });
        }
        Ok(())
    }

    fn open_session(&mut self, matrix: YuvMatrix) -> Result<Session, RecordError> {
        let (camera, size, kbit) = (&self.shared.camera, self.canvas.size(), self.settings.bitrate_kbit);
        let choice = match self.encoder_choice {
            Some(choice) => choice,
            None => {
                let choice = encoder::choose(&CANDIDATES, size, kbit)?;
                self.shared.set_encoder(choice.factory);
                tracing::info!(%camera, encoder = choice.factory, %size, "recording annotated video");
                *self.encoder_choice.insert(choice)
            }
        };
        let recording = match &self.recording {
            Some(recording) => Arc::clone(recording),
            None => {
                let start = self.clocks.unix_nanos();
                let made = Recording::create(&self.settings.dir, camera, start, &self.info)?;
                self.shared.set_dir(made.dir.clone());
                Arc::clone(self.recording.insert(Arc::new(made)))
            }
        };
        let underway = Underway::default();
        let writer = Arc::new(Mutex::new(Writer::new(
            Arc::clone(&self.shared),
            recording,
            Arc::clone(&underway),
            self.settings.segment,
            self.settings.segment_bytes,
            self.next_number,
        )));
        let taker = Arc::clone(&writer);
        let take = Box::new(move |sample: &gstreamer::Sample| held(&taker).accept(sample));
        let encoder = Encoder::start(camera, &choice, size, matrix, kbit, take)?;
        Ok(Session {
            encoder,
            writer,
            underway,
            start_nanos: None,
        })
    }

    /// Encodes what is underway and closes the files.
    fn close_session(&mut self) -> Result<(), RecordError> {
        match self.session.take() {
            None => Ok(()),
            Some(mut session) => {
                let encoded = session.encoder.finish(FINISH_PATIENCE);
                encoded.and(self.settle(session))
            }
        }
    }

    /// Closes the files of a session; nothing more is encoded.
    fn settle(&mut self, session: Session) -> Result<(), RecordError> {
        drop(session.encoder);
        let mut writer = held(&session.writer);
        self.next_number = writer.next_number();
        let written = writer.finish(FINISH_PATIENCE);
        self.count(&self.shared.frames_failed, held(&session.underway).len() as u64);
        written
    }

    /// Stops recording with an error, to be tried again later.
    fn fail(&mut self, error: &RecordError, now: i64) {
        let second = match (error, self.session.take()) {
            // There is still room for what is underway and for the tail of the file.
            (RecordError::TooLittleSpace { .. }, Some(mut session)) => {
                self.count(&self.shared.frames_failed, 1);
                let encoded = session.encoder.finish(FINISH_PATIENCE);
                encoded.and(self.settle(session))
            }
            // The picture in hand is among those underway.
            (_, Some(session)) => self.settle(session),
            (_, None) => {
                self.count(&self.shared.frames_failed, 1);
                Ok(())
            }
        };
        if let Err(second) = second {
            tracing::warn!(error = %second, "closing the files of a recording that failed");
        }
        self.report_failure(error);
        self.retry.later(now);
    }

    fn report_failure(&self, error: &RecordError) {
        let text = error.to_string();
        // Each new state once; retries that find the same are silent.
        if self.shared.snapshot().error.as_deref() != Some(text.as_str()) {
            tracing::error!(%error, "recording");
        }
        self.shared.set_error(Some(text));
    }

    fn count(&self, counter: &AtomicU64, frames: u64) {
        counter.fetch_add(frames, Ordering::Relaxed);
    }
}
