//! Sources that GStreamer reads: RTSP, files, v4l2 and pipelines of the user's own.
//!
//! Capture times. RTSP: the camera's own, once it has sent a sender report, before that the arrival of the frame's first
//! packet. v4l2: the driver's stamp. Files and the rest: ARRIVAL, which for a paced file is the moment its frame is due,
//! as if a camera had sent it then, and for an unpaced one the moment it is read.

mod bus;
mod container;
mod damage;
mod on_device;
mod pipeline;
mod sample;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use super::capture_clock::CaptureClock;
use super::period::PeriodEstimate;
use super::{Captured, Fault, Nature, Read, Source, SourceError};
use crate::config::{Camera, Pace, Repeat, SourceUri};
use crate::device::DeviceShare;
use crate::time::{CaptureTime, Clocks, Pts, nanos};
use bus::Heard;
use pipeline::{Built, Turn};
use sample::Layout;

/// From the NTP era (1900) to the UNIX epoch.
const NTP_TO_UNIX_NANOS: i64 = 2_208_988_800 * 1_000_000_000;
/// A frame does not stay longer than this between arrival and decoder; if so, the stamp is of another clock.
const LONGEST_INSIDE_NANOS: i64 = 5_000_000_000;

/// A demuxer that reads nothing this long after the start has given up.
const PLUGGED_WITHIN_NANOS: i64 = 1_000_000_000;

/// What a buffer's time stamp is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    /// Creation, on the pipeline's clock; of RTSP a smoothed arrival, which may be 15 ms early after a burst.
    Arrival,
    Driver,
    /// A place in a file.
    Place,
}

pub(super) struct GstSource {
    camera: Camera,
    clocks: Arc<dyn Clocks>,
    built: Built,
    /// Where pictures may stay; dropped after what was built, which uses its context.
    share: Option<DeviceShare>,
    heard: Heard,
    turn: Turn,
    stamp: Stamp,
    nature: Nature,
    layout: Option<Layout>,
    /// Pulled, but damaged frames come before it.
    held: Option<gst::Sample>,
    /// Since the start of this pass through the file.
    frames: u64,
    /// Monotonic.
    started_at: i64,
    /// Monotonic, the last frame.
    last_given: i64,
    period: PeriodEstimate,
    clock: CaptureClock,
}

impl GstSource {
    pub(super) fn open(
        camera: &Camera,
        clocks: &Arc<dyn Clocks>,
        share: Option<&DeviceShare>,
    ) -> Result<GstSource, SourceError> {
        let of = |fault: Fault| fault.of(camera);
        gst::init().map_err(|e| of(Fault::NoGstreamer { detail: e.to_string() }))?;
        let turn = Turn::AsTheyAre;
        let built = build(camera, turn, clocks, share).map_err(of)?;
        let (stamp, nature) = match camera.uri {
            SourceUri::V4l2(_) => (Stamp::Driver, Nature::Live),
            SourceUri::File(_) => (Stamp::Place, Nature::Stored),
            _ => (Stamp::Arrival, Nature::Live),
        };
        let mut source = GstSource {
            camera: camera.clone(),
            clocks: clocks.clone(),
            built,
            share: share.cloned(),
            heard: Heard::default(),
            turn,
            stamp,
            nature,
            layout: None,
            held: None,
            frames: 0,
            started_at: clocks.mono_nanos(),
            last_given: clocks.mono_nanos(),
            period: PeriodEstimate::default(),
            clock: CaptureClock::new(clocks.clone(), camera.arrival_delay),
        };
        source.start().map_err(of)?;
        Ok(source)
    }

    fn start(&mut self) -> Result<(), Fault> {
        let pipeline = self.built.pipeline.clone();
        let paused = pipeline.set_state(gst::State::Paused);
        if let SourceUri::Gst(_) = self.camera.uri {
            // Only a running description says whether it is live.
            let is_live = paused == Ok(gst::StateChangeSuccess::NoPreroll);
            let is_device = self.built.elements().any(|name| name == "v4l2src");
            (self.stamp, self.nature) = match (is_live, is_device) {
                (true, true) => (Stamp::Driver, Nature::Live),
                (true, false) => (Stamp::Arrival, Nature::Live),
                (false, _) => (Stamp::Place, Nature::Stored),
            };
        }
        // Live frames are taken as they come; those of a file, paced, when GStreamer's clock says it is their time.
        let waits = self.nature == Nature::Stored && self.camera.pace == Pace::RealTime;
        self.built.sink.set_sync(waits);
        if paused.is_err() || pipeline.set_state(gst::State::Playing).is_err() {
            self.listen();
            return Err(self.heard.fault.take().unwrap_or_else(|| Fault::NotReached {
                detail: "the pipeline does not start".to_owned(),
            }));
        }
        Ok(())
    }

    fn listen(&mut self) {
        self.heard
            .listen(&self.built.pipeline, &self.built.facts.damage, self.frames > 0);
        if self.awaits_key_frame() {
            self.built.facts.damage.forget_refused();
        }
    }

    /// A stream that is joined in its middle gives nothing until its next key frame: that is still connecting.
    fn awaits_key_frame(&self) -> bool {
        self.nature == Nature::Live && self.frames == 0
    }

    /// No sample within the timeout: why?
    fn idle(&mut self, timeout: Duration) -> Result<Read, Fault> {
        let eos = self.built.sink.is_eos();
        self.listen();
        if let Some(damage) = self.built.facts.damage.next_until(None) {
            return Ok(Read::Damaged { detail: damage.detail });
        }
        if self.built.facts.no_video.load(Ordering::Acquire) {
            return Err(self.heard.missing().unwrap_or(Fault::NoVideo));
        }
        if let Some(fault) = self.heard.fault.take() {
            // What a demuxer says whose streams nobody took.
            let unlinked = self.built.has_no_video_yet() && fault.to_string().contains("not-linked");
            return Err(if unlinked { Fault::NoVideo } else { fault });
        }
        if !eos {
            if self.frames == 0 && self.is_given_up() {
                return Err(self.heard.missing().unwrap_or(Fault::Unplayable));
            }
            return Ok(Read::Idle);
        }
        if self.nature == Nature::Live {
            return Err(Fault::LiveEnded);
        }
        if self.frames == 0 {
            return Err(self.heard.missing().unwrap_or(Fault::NoFrames));
        }
        if let Some(fault) = self.cut_short() {
            match self.camera.repeat {
                Repeat::Once => return Err(fault),
                Repeat::Loop => tracing::warn!(camera = %self.camera.id, "{fault}"),
            }
        }
        match self.camera.repeat {
            Repeat::Once => Ok(Read::End),
            Repeat::Loop if self.shows_last_frame(timeout) => Ok(Read::Idle),
            Repeat::Loop => self.rewind(),
        }
    }

    /// decodebin swallows errors of a demuxer that come while it is being plugged: all that is left to see is that
    /// nothing is read any more though no video was found.
    fn is_given_up(&self) -> bool {
        let waited = self.clock.now().saturating_sub(self.started_at);
        waited > PLUGGED_WITHIN_NANOS && self.built.has_demuxer_given_up()
    }

    fn cut_short(&self) -> Option<Fault> {
        let SourceUri::File(path) = &self.camera.uri else {
            return None;
        };
        let (announced, bytes) = container::cut_short(path)?;
        Some(Fault::Truncated {
            path: path.clone(),
            announced,
            bytes,
        })
    }

    /// The sink hears of the end when the last frame is shown: that, too, is shown for a period before a loop goes on.
    fn shows_last_frame(&self, timeout: Duration) -> bool {
        if self.camera.pace == Pace::Unpaced {
            return false;
        }
        let until = self
            .last_given
            .saturating_add(nanos(self.period.period().unwrap_or_default()));
        let left = until.saturating_sub(self.clock.now());
        if left > 0 {
            self.clocks
                .sleep(Duration::from_nanos(left.unsigned_abs()).min(timeout));
        }
        left > nanos(timeout)
    }

    fn rewind(&mut self) -> Result<Read, Fault> {
        self.frames = 0;
        self.built.facts.damage.clear();
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
        // libav's demuxers accept a seek and then give nothing.
        let by_libav = self.built.elements().any(|name| name.starts_with("avdemux_"));
        if by_libav || self.built.pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_err() {
            self.rebuild()?;
        }
        Ok(Read::Idle)
    }

    fn rebuild(&mut self) -> Result<(), Fault> {
        // The old one first: a device is opened by one at a time.
        let _ = self.built.pipeline.set_state(gst::State::Null);
        self.built = build(&self.camera, self.turn, &self.clocks, self.share.as_ref())?;
        self.heard = Heard::default();
        self.held = None;
        self.started_at = self.clock.now();
        self.start()
    }

    fn sample(&mut self, sample: gst::Sample) -> Result<Read, Fault> {
        let decoded = self.clock.now();
        if self.turn == Turn::AsTheyAre && self.frames == 0 && self.built.facts.is_turned.load(Ordering::Acquire) {
            // The tag comes before the first frame, and only now is known.
            self.turn = Turn::AsTagged;
            self.rebuild()?;
            return Ok(Read::Idle);
        }
        let pts = sample
            .buffer()
            .and_then(gst::BufferRef::pts)
            .map(gst::ClockTime::nseconds);
        self.listen();
        if let Some(damage) = self.built.facts.damage.next_until(pts) {
            if damage.pts.is_none() || damage.pts != pts {
                self.held = Some(sample);
            }
            return Ok(Read::Damaged { detail: damage.detail });
        }
        let (Some(caps), Some(buffer)) = (sample.caps(), sample.buffer_owned()) else {
            return Ok(Read::Damaged {
                detail: "GStreamer gave a sample without picture or format".to_owned(),
            });
        };
        let is_corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        if is_corrupted && self.awaits_key_frame() {
            return Ok(Read::Idle);
        }
        self.frames += 1;
        self.last_given = decoded;
        if is_corrupted {
            return Ok(Read::Damaged {
                detail: "the decoder marked it as corrupted".to_owned(),
            });
        }
        if self.layout.as_ref().is_none_or(|layout| !layout.is_of(caps)) {
            let layout = Layout::of(caps.to_owned())?;
            let (frames, seconds) = layout.fps();
            self.period.announce(frames, seconds);
            self.layout = Some(layout);
        }
        if let Some(pts) = pts {
            self.period.frame(pts as i64);
        }
        let (arrival, capture_time) = self.times(&sample, &buffer, decoded);
        let Some(layout) = &self.layout else {
            return Ok(Read::Idle);
        };
        let image = match &self.share {
            Some(share) if layout.is_on_device() => on_device::image(layout, buffer, share),
            _ => layout.image(buffer),
        };
        Ok(match image {
            Ok(image) => Read::Frame(Captured {
                image,
                pts: pts.map(|nanos| Pts { nanos: nanos as i64 }),
                capture_time,
                arrival_mono_nanos: arrival,
                decoded_mono_nanos: decoded,
            }),
            Err(fault) => Read::Damaged {
                detail: fault.to_string(),
            },
        })
    }

    /// Arrival, monotonic, and capture time.
    fn times(&mut self, sample: &gst::Sample, buffer: &gst::Buffer, decoded: i64) -> (i64, CaptureTime) {
        let stamp = self.stamp_mono(sample, buffer);
        let noted = buffer.pts().and_then(|pts| self.built.facts.arrival(pts.nseconds()));
        match self.stamp {
            Stamp::Place => (decoded, self.clock.arrival(decoded)),
            Stamp::Driver => {
                let arrival = noted.unwrap_or(decoded).min(decoded);
                match stamp {
                    Some(stamp) => (arrival, self.clock.driver(stamp, arrival)),
                    None => (arrival, self.clock.arrival(arrival)),
                }
            }
            Stamp::Arrival => {
                let inside = |at: &i64| (0..LONGEST_INSIDE_NANOS).contains(&(decoded - at));
                let arrival = noted.or(stamp).filter(inside).unwrap_or(decoded);
                match camera_unix_nanos(buffer) {
                    Some(unix) => (arrival, self.clock.camera(unix, arrival)),
                    None => (arrival, self.clock.arrival(arrival)),
                }
            }
        }
    }

    /// The buffer's stamp on the monotonic clock, on which the pipeline's runs.
    fn stamp_mono(&self, sample: &gst::Sample, buffer: &gst::Buffer) -> Option<i64> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let running = segment.to_running_time(buffer.pts()?)?;
        let base = self.built.pipeline.base_time()?;
        i64::try_from((base + running).nseconds()).ok()
    }
}

/// The camera's own UTC at capture, from RTCP sender reports.
fn camera_unix_nanos(buffer: &gst::BufferRef) -> Option<i64> {
    let ntp = buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|meta| {
            meta.reference()
                .structure(0)
                .is_some_and(|s| s.name() == "timestamp/x-ntp")
        })?
        .timestamp();
    i64::try_from(ntp.nseconds()).ok()?.checked_sub(NTP_TO_UNIX_NANOS)
}

fn build(camera: &Camera, turn: Turn, clocks: &Arc<dyn Clocks>, share: Option<&DeviceShare>) -> Result<Built, Fault> {
    let built = build_on_host(camera, turn, clocks)?;
    if let Some(share) = share {
        on_device::share(&built.pipeline, &built.sink, share);
    }
    Ok(built)
}

fn build_on_host(camera: &Camera, turn: Turn, clocks: &Arc<dyn Clocks>) -> Result<Built, Fault> {
    match &camera.uri {
        SourceUri::Rtsp(uri) => pipeline::rtsp(uri, turn, camera.rtsp_latency, clocks),
        SourceUri::File(path) => {
            readable(path)?;
            pipeline::file(path, turn)
        }
        SourceUri::V4l2(device) if !device.exists() => Err(Fault::Absent { path: device.clone() }),
        SourceUri::V4l2(device) => pipeline::v4l2(device, turn, clocks),
        SourceUri::Gst(description) => pipeline::described(description, turn, clocks),
        SourceUri::Images(_) | SourceUri::Simulated(_) => Err(Fault::Description {
            detail: "not a source of GStreamer's".to_owned(),
        }),
    }
}

/// Says of a file what GStreamer would say less clearly.
fn readable(path: &Path) -> Result<(), Fault> {
    let path = path.to_owned();
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Fault::Absent { path }),
        Err(e) => {
            return Err(Fault::Unreadable {
                path,
                detail: e.to_string(),
            });
        }
    };
    if meta.is_dir() {
        return Err(Fault::FolderNotFile { path });
    }
    if meta.is_file() && meta.len() == 0 {
        return Err(Fault::EmptyFile { path });
    }
    match std::fs::File::open(&path) {
        Ok(_) => Ok(()),
        Err(e) => Err(Fault::Unreadable {
            path,
            detail: e.to_string(),
        }),
    }
}

impl Source for GstSource {
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError> {
        let wait = gst::ClockTime::try_from(timeout).unwrap_or(gst::ClockTime::SECOND);
        let sample = match self.held.take() {
            Some(sample) => Some(sample),
            None => self.built.sink.try_pull_sample(wait),
        };
        match sample {
            Some(sample) => self.sample(sample),
            None => self.idle(timeout),
        }
        .map_err(|fault| fault.of(&self.camera))
    }

    fn nominal_period(&self) -> Option<Duration> {
        self.period.period()
    }

    fn nature(&self) -> Nature {
        self.nature
    }

    fn camera_clock_offset_nanos(&self) -> Option<i64> {
        self.clock.camera_offset_nanos()
    }

    fn clock_steps(&self) -> u64 {
        self.clock.steps()
    }
}
