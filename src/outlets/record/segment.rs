//! One video file: H.264 access units into Matroska, on disk as they come.
//!
//! `appsrc ! matroskamux ! filesink buffer-mode=unbuffered`, one such pipeline a file. Not `splitmuxsink`: that holds
//! back a whole second of video (it decides at key frames), and a killed process loses it; measured over 6.5 s at 30
//! frames/s it kept 150 of 195 frames, this keeps all.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::RecordError;
use super::encoder::{element, error_text};
use super::files::{self, PART, Recording};
use crate::names::CameraId;

/// Encoded video that may wait for the disk; beyond it the encoder waits.
const WAITING_BYTES: u64 = 8 << 20;

/// What is known of a frame besides its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Time in the whole recording.
    pub(super) time_nanos: i64,
    pub(super) frame_number: u64,
    pub(super) result_number: u64,
    /// 0 = not known.
    pub(super) capture_unix_nanos: i64,
}

/// A file being written.
pub(super) struct Segment {
    camera: CameraId,
    /// `..._0000.mkv`, its name once finished.
    video: PathBuf,
    pub(super) part: PathBuf,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    index: File,
    pub(super) start_nanos: i64,
    pub(super) bytes: u64,
    frames: u64,
    first: Option<Row>,
    last: Option<Row>,
    /// Writing has failed: there is no tail to write any more.
    broken: bool,
}

impl Segment {
    /// `caps`: of the access units; `start_nanos`: time of the first in the whole recording.
    pub(super) fn create(
        recording: &Recording,
        camera: &CameraId,
        number: u32,
        caps: &gst::Caps,
        start_nanos: i64,
    ) -> Result<Segment, RecordError> {
        let video = recording.dir.join(format!("{camera}_{number:04}.mkv"));
        let part = recording.dir.join(format!("{camera}_{number:04}.mkv.{PART}"));
        let index_path = recording.dir.join(format!("{camera}_{number:04}.idx.csv"));
        let make = |path: &PathBuf| {
            let made = OpenOptions::new().write(true).create_new(true).open(path);
            made.map_err(|source| write_error(camera, recording, path, &source))
        };
        make(&part)?; // never over an existing file, which filesink would do
        let index = make(&index_path).and_then(|mut index| {
            let head = index.write_all(b"pts_nanos,frame_number,result_number,capture_time_unix_nanos\n");
            head.map_err(|source| write_error(camera, recording, &index_path, &source))?;
            Ok(index)
        });
        let index = index.inspect_err(|_| {
            // Nothing is in them, and a full disk is tried again and again.
            let _ = std::fs::remove_file(&part);
            let _ = std::fs::remove_file(&index_path);
        })?;

        let source = gst_app::AppSrc::builder()
            .caps(caps)
            .format(gst::Format::Time)
            .block(true)
            .max_bytes(WAITING_BYTES)
            .max_buffers(0)
            .build();
        let mux = element("matroskamux", "gstreamer1.0-plugins-good")?;
        mux.set_property("writing-app", concat!("maskcast ", env!("CARGO_PKG_VERSION")));
        let sink = element("filesink", "gstreamer1.0-plugins-base")?;
        sink.set_property_from_str("buffer-mode", "unbuffered");
        sink.set_property("location", &part);
        sink.set_property("sync", false);
        sink.set_property("async", false);
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &mux, &sink];
        let segment = Segment {
            camera: camera.clone(),
            video,
            part,
            pipeline,
            source: source.clone(),
            index,
            start_nanos,
            bytes: 0,
            frames: 0,
            first: None,
            last: None,
            broken: false,
        };
        let built = segment
            .pipeline
            .add_many(chain)
            .and_then(|()| gst::Element::link_many(chain));
        built.map_err(|e| segment.failed(e.to_string()))?;
        if segment.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(segment.fault(Duration::from_millis(200)));
        }
        Ok(segment)
    }

    /// Appends one access unit.
    pub(super) fn push(&mut self, unit: &gst::BufferRef, row: Row) -> Result<(), RecordError> {
        let appended = self.append(unit, row);
        self.broken |= appended.is_err();
        appended
    }

    fn append(&mut self, unit: &gst::BufferRef, row: Row) -> Result<(), RecordError> {
        let time_nanos = row.time_nanos - self.start_nanos;
        let mut unit = unit.to_owned();
        {
            let unit = unit.make_mut();
            unit.set_pts(gst::ClockTime::from_nseconds(time_nanos.max(0).unsigned_abs()));
            unit.set_dts(gst::ClockTime::NONE);
            unit.set_duration(gst::ClockTime::NONE);
        }
        self.bytes += unit.size() as u64;
        if self.source.push_buffer(unit).is_err() {
            return Err(self.fault(Duration::from_millis(200)));
        }
        if let Some(bus) = self.pipeline.bus()
            && let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
        {
            return Err(self.error_of(&message));
        }
        let Row {
            frame_number,
            result_number,
            capture_unix_nanos,
            ..
        } = row;
        let line = format!("{time_nanos},{frame_number},{result_number},{capture_unix_nanos}\n");
        if let Err(source) = self.index.write_all(line.as_bytes()) {
            return Err(match source.kind() {
                std::io::ErrorKind::StorageFull => self.disk_full(),
                _ => self.failed(format!("its index: {source}")),
            });
        }
        self.frames += 1;
        self.first = self.first.or(Some(row));
        self.last = Some(row);
        Ok(())
    }

    /// Writes the tail, puts everything on the disk, gives the file its name and a line in `index.jsonl`. A file whose
    /// tail cannot be written keeps all its frames and gets its name, too; the error is given afterwards.
    pub(super) fn finish(self, recording: &Recording, patience: Duration) -> Result<(), RecordError> {
        let ended = if self.broken { Ok(()) } else { self.end(patience) };
        let _ = self.pipeline.set_state(gst::State::Null);
        let named = self.settle(recording);
        ended.and(named)
    }

    fn end(&self, patience: Duration) -> Result<(), RecordError> {
        let Some(bus) = self.pipeline.bus() else { return Ok(()) };
        if self.source.end_of_stream().is_err() {
            return Err(self.fault(Duration::from_millis(200)));
        }
        let wait = gst::ClockTime::from_nseconds(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        match bus.timed_pop_filtered(wait, &[gst::MessageType::Eos, gst::MessageType::Error]) {
            Some(message) if message.type_() == gst::MessageType::Eos => Ok(()),
            Some(message) => Err(self.error_of(&message)),
            None => Err(self.failed(format!("not closed within {} ms", patience.as_millis()))),
        }
    }

    fn settle(&self, recording: &Recording) -> Result<(), RecordError> {
        if std::fs::metadata(&self.part).is_ok_and(|file| file.len() == 0) {
            // The disk was full before the first byte.
            let _ = std::fs::remove_file(self.video.with_extension("idx.csv"));
            let _ = std::fs::remove_file(&self.part);
            return Ok(());
        }
        let io = |source: std::io::Error| write_error(&self.camera, recording, &self.part, &source);
        let synced = File::open(&self.part).and_then(|file| file.sync_data()).map_err(io);
        std::fs::rename(&self.part, &self.video).map_err(io)?;
        let _ = File::open(&recording.dir).and_then(|dir| dir.sync_all()); // the new name; not every file system can
        self.index.sync_data().map_err(io)?;
        synced?;
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Ok(());
        };
        let expected = last.result_number.saturating_sub(first.result_number) + 1;
        recording.log_segment(&serde_json::json!({
            "name": self.video.file_name().and_then(|name| name.to_str()),
            "sha256": files::sha256(&self.video).map_err(io)?,
            "frames": self.frames,
            "gaps": expected.saturating_sub(self.frames),
            "first_result_number": first.result_number,
            "last_result_number": last.result_number,
            "first_capture_time_unix_nanos": first.capture_unix_nanos,
            "last_capture_time_unix_nanos": last.capture_unix_nanos,
            "duration_nanos": last.time_nanos - first.time_nanos,
        }))
    }

    fn fault(&self, patience: Duration) -> RecordError {
        let wait = gst::ClockTime::from_mseconds(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let message = self
            .pipeline
            .bus()
            .and_then(|bus| bus.timed_pop_filtered(wait, &[gst::MessageType::Error]));
        message.map_or_else(|| self.failed("writing stopped".to_owned()), |m| self.error_of(&m))
    }

    fn error_of(&self, message: &gst::Message) -> RecordError {
        match message.view() {
            gst::MessageView::Error(e) if e.error().matches(gst::ResourceError::NoSpaceLeft) => self.disk_full(),
            _ => self.failed(error_text(message)),
        }
    }

    fn disk_full(&self) -> RecordError {
        RecordError::DiskFull {
            camera: self.camera.clone(),
            dir: self.part.parent().map(PathBuf::from).unwrap_or_default(),
        }
    }

    fn failed(&self, detail: String) -> RecordError {
        RecordError::Write {
            camera: self.camera.clone(),
            file: self.part.clone(),
            detail,
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn write_error(
    camera: &CameraId,
    recording: &Recording,
    file: &std::path::Path,
    source: &std::io::Error,
) -> RecordError {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return RecordError::DiskFull {
            camera: camera.clone(),
            dir: recording.dir.clone(),
        };
    }
    RecordError::Write {
        camera: camera.clone(),
        file: file.to_owned(),
        detail: source.to_string(),
    }
}
