//! Access units into files: when a file is full the next one begins, at a key frame, and the old one is closed on a
//! thread of its own. Runs on the encoder's thread.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use gstreamer as gst;

use super::RecordError;
use super::files::Recording;
use super::segment::{Row, Segment};
use super::status::{Shared, held};

/// How long a file may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(4);

/// Frames on their way through the encoder, oldest first.
pub(super) type Underway = Arc<Mutex<VecDeque<Row>>>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    recording: Arc<Recording>,
    underway: Underway,
    segment_nanos: i64,
    segment_bytes: u64,
    current: Option<Segment>,
    next_number: u32,
    /// Ends when the file is closed.
    closing: Vec<Receiver<Result<(), RecordError>>>,
    /// The first file that could not be closed as it should.
    unclosed: Option<RecordError>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        recording: Arc<Recording>,
        underway: Underway,
        segment: Duration,
        segment_bytes: u64,
        first_number: u32,
    ) -> Writer {
        Writer {
            shared,
            recording,
            underway,
            segment_nanos: crate::time::nanos(segment),
            segment_bytes,
            current: None,
            next_number: first_number,
            closing: Vec::new(),
            unclosed: None,
        }
    }

    /// Number of the file after the last one.
    pub(super) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// One access unit as the encoder gives it.
    pub(super) fn accept(&mut self, sample: &gst::Sample) -> Result<(), RecordError> {
        let (Some(unit), Some(caps)) = (sample.buffer(), sample.caps()) else {
            return Ok(());
        };
        let Some(row) = self.row_of(sample, unit) else {
            return Ok(());
        };
        let stored = self.store(unit, caps, row);
        let counter = match stored {
            Ok(()) => &self.shared.frames_written,
            Err(_) => &self.shared.frames_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        stored
    }

    fn store(&mut self, unit: &gst::BufferRef, caps: &gst::CapsRef, row: Row) -> Result<(), RecordError> {
        let is_key = !unit.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let full = self.current.as_ref().is_some_and(|segment| {
            row.time_nanos - segment.start_nanos >= self.segment_nanos || segment.bytes >= self.segment_bytes
        });
        if is_key
            && full
            && let Some(segment) = self.current.take()
        {
            self.close(segment);
        }
        let segment = match &mut self.current {
            Some(segment) => segment,
            None => {
                let number = self.next_number;
                self.next_number += 1;
                let caps = caps.to_owned();
                let made = Segment::create(&self.recording, &self.shared.camera, number, &caps, row.time_nanos)?;
                self.shared.set_part(Some(made.part.clone()));
                self.current.insert(made)
            }
        };
        segment.push(unit, row)?;
        self.shared
            .bytes_written
            .fetch_add(unit.size() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The frame an access unit belongs to. Encoders may shift PTS as a whole (x264enc adds 1000 hours and says so in
    /// the segment): running time is what stays.
    fn row_of(&self, sample: &gst::Sample, unit: &gst::BufferRef) -> Option<Row> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let time = i64::try_from(segment.to_running_time(unit.pts()?)?.nseconds()).ok()?;
        let mut underway = held(&self.underway);
        while let Some(row) = underway.pop_front() {
            if row.time_nanos == time {
                return Some(row);
            }
            if row.time_nanos > time {
                underway.push_front(row);
                break;
            }
        }
        None
    }

    /// Closes the current file, if any, and waits for all that are closing, at most `patience`; the first error.
    pub(super) fn finish(&mut self, patience: Duration) -> Result<(), RecordError> {
        if let Some(segment) = self.current.take() {
            self.close(segment);
        }
        self.shared.set_part(None);
        for closing in std::mem::take(&mut self.closing) {
            if let Ok(Err(error)) = closing.recv_timeout(patience) {
                self.unclosed.get_or_insert(error);
            }
        }
        self.unclosed.take().map_or(Ok(()), Err)
    }

    fn close(&mut self, segment: Segment) {
        let (done, closing) = bounded(1);
        let (recording, shared) = (Arc::clone(&self.recording), Arc::clone(&self.shared));
        let name = format!("close/{}", shared.camera);
        let close = move || {
            let outcome = segment.finish(&recording, CLOSE_PATIENCE);
            match &outcome {
                Ok(()) => {
                    shared.segments_finished.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => tracing::error!(camera = %shared.camera, %error, "closing a recorded file"),
            }
            let _ = done.send(outcome);
        };
        match std::thread::Builder::new().name(name).spawn(close) {
            Ok(_) => self.closing.push(closing),
            // The file stays a `.part`, as after a kill, and is named at the next start.
            Err(error) => tracing::error!(camera = %self.shared.camera, %error, "no thread to close a file on"),
        }
        let mut waiting = std::mem::take(&mut self.closing);
        waiting.retain(|closing| match closing.try_recv() {
            Ok(Err(error)) => {
                self.unclosed.get_or_insert(error);
                false
            }
            Ok(Ok(())) | Err(TryRecvError::Disconnected) => false,
            Err(TryRecvError::Empty) => true,
        });
        self.closing = waiting;
    }
}
