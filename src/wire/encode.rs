//! One expected frame -> the bytes of its `FrameResult` in one form.
//!
//! Boxes are source px on the 1/256 px lattice, exact in f32. Times: marks are monotonic nanoseconds, published instants
//! UNIX nanoseconds. The content of a form depends on the frame and the form alone, never on who listens.

use prost::Message;
use prost::bytes::Bytes;

use super::convert::cut;
use super::{Form, MESSAGE_LIMIT_BYTES, SessionId, v1};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::{Instance, MeasuredFrom, Measurements};
use crate::names::CameraId;
use crate::time::{CaptureTime, Pts};

/// Everything that is said of one expected frame, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct FrameParts<'a> {
    pub camera: &'a CameraId,
    pub session_id: SessionId,
    pub result_number: u64,
    /// 0 = no frame came.
    pub frame_number: u64,
    pub pts: Option<Pts>,
    pub capture_time: Option<CaptureTime>,
    pub clock_state: v1::ClockState,
    pub size: Option<ImageSize>,
    pub outcome: OutcomeParts<'a>,
    pub marks: Marks,
    pub valid_for_nanos: i64,
    /// Absent in a tombstone made before an engine ran.
    pub engine_id: Option<[u8; 16]>,
    pub label_map_id: u32,
    pub degraded: &'a [v1::Degradation],
}

/// What became of the frame.
#[derive(Debug, Clone, Copy)]
pub enum OutcomeParts<'a> {
    Answer {
        instances: &'a [Instance],
        /// The engine's own threshold.
        score_threshold: f32,
    },
    Tombstone {
        reason: v1::TombstoneReason,
        detail: &'a str,
        stalled_for_nanos: i64,
    },
}

/// Monotonic nanoseconds at which the frame passed each border; 0 = it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub arrival: i64,
    pub decoded: i64,
    pub submitted: i64,
    pub preprocessed: i64,
    pub inferred: i64,
    pub instances: i64,
}

/// What is left out of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Instances below are not published.
    pub score_threshold: f32,
    /// More are cut, lowest scores first, and INSTANCES_TRUNCATED is announced.
    pub max_instances: usize,
    /// Larger messages lose masks, then instances, lowest scores first.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            score_threshold: 0.0,
            max_instances: 100,
            message_bytes: MESSAGE_LIMIT_BYTES,
        }
    }
}

/// The instant of publication on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub unix_nanos: i64,
    pub mono_nanos: i64,
}

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// Instances in the message.
    pub instances: usize,
    /// Masks left out for size.
    pub masks_dropped: usize,
    pub published: Published,
    /// 0 without a capture time.
    pub capture_to_published_nanos: i64,
}

/// Room for what is set last: stage times, publish time, two degradations.
const STAMP_BYTES: usize = 112;

/// Encodes `parts` in `form`. `publish` is called once, when nothing but writing the bytes is left to do.
pub fn encode_result(
    parts: &FrameParts<'_>,
    form: Form,
    limits: &Limits,
    publish: impl FnOnce() -> Published,
) -> Encoded {
    let mut degraded: Vec<v1::Degradation> = parts.degraded.to_vec();
    if !form.has_masks() {
        degraded.retain(|d| *d != v1::Degradation::MasksSkipped);
    }
    let mut message = v1::FrameResult {
        header: Some(header(parts)),
        form: v1::Form::from(form).into(),
        stage_times: None,
        publish_time_unix_nanos: 0,
        valid_for_nanos: parts.valid_for_nanos,
        engine_id: parts
            .engine_id
            .map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id)),
        label_map_id: parts.label_map_id,
        calibration_id: 0,
        degraded: Vec::new(),
        outcome: None,
    };
    let mut masks_dropped = 0;
    let mut count = 0;
    message.outcome = Some(match parts.outcome {
        OutcomeParts::Answer {
            instances,
            score_threshold,
        } => {
            let mut answer = answer(instances, score_threshold, parts.size, form, limits, &mut degraded);
            let room = limits
                .message_bytes
                .saturating_sub(message.encoded_len() + STAMP_BYTES + parts.degraded.len());
            masks_dropped = fit(&mut answer, room, &mut degraded);
            count = answer.instances.len();
            v1::frame_result::Outcome::Answer(answer)
        }
        OutcomeParts::Tombstone {
            reason,
            detail,
            stalled_for_nanos,
        } => v1::frame_result::Outcome::Tombstone(v1::Tombstone {
            reason: reason.into(),
            detail: cut(detail, 200).to_owned(),
            stalled_for_nanos,
        }),
    });
    degraded.sort_unstable();
    degraded.dedup();
    message.degraded = degraded.into_iter().map(i32::from).collect();
    let published = publish();
    message.publish_time_unix_nanos = published.unix_nanos;
    message.stage_times = parts
        .capture_time
        .map(|c| stage_times(c.mono_nanos, &parts.marks, published.mono_nanos));
    let capture_to_published_nanos = message.stage_times.map_or(0, |t| t.capture_to_published_nanos);
    Encoded {
        bytes: message.encode_to_vec(),
        instances: count,
        masks_dropped,
        published,
        capture_to_published_nanos,
    }
}

/// Default name of a camera's optical frame.
pub fn optical_frame(camera: &CameraId) -> String {
    format!("{camera}_optical_frame")
}

fn header(parts: &FrameParts<'_>) -> v1::FrameHeader {
    let capture = parts.capture_time;
    v1::FrameHeader {
        camera: parts.camera.to_string(),
        optical_frame: optical_frame(parts.camera),
        session_id: Bytes::copy_from_slice(parts.session_id.as_bytes()),
        result_number: parts.result_number,
        frame_number: parts.frame_number,
        capture_time_unix_nanos: capture.map_or(0, |c| c.unix_nanos),
        capture_time_uncertainty_nanos: capture.map_or(0, |c| c.uncertainty_nanos.max(0)),
        capture_time_source: capture.map_or(0, |c| v1::CaptureTimeSource::from(c.source).into()),
        capture_instant: v1::CaptureInstant::Unspecified.into(),
        capture_mono_nanos: capture.map_or(0, |c| c.mono_nanos),
        pts_nanos: parts.pts.map_or(0, |p| p.nanos),
        clock_state: parts.clock_state.into(),
        width_px: parts.size.map_or(0, |s| s.width),
        height_px: parts.size.map_or(0, |s| s.height),
        original_source: v1::CaptureTimeSource::Unspecified.into(),
    }
}

/// Contiguous intervals: a stage that did not run takes nothing, and its time falls to the next one that did. They add
/// up to `capture_to_published_nanos` exactly, also where the capture time lies in the future.
pub fn stage_times(capture: i64, marks: &Marks, published: i64) -> v1::StageTimes {
    let mut from = capture;
    let mut until = |mark: i64| {
        if mark == 0 || mark <= from {
            return 0;
        }
        let spent = mark.saturating_sub(from);
        from = mark;
        spent
    };
    let [a, b, c, d, e, f] = [
        marks.arrival,
        marks.decoded,
        marks.submitted,
        marks.preprocessed,
        marks.inferred,
        marks.instances,
    ]
    .map(&mut until);
    let g = until(published);
    v1::StageTimes {
        capture_to_arrival_nanos: a,
        arrival_to_decoded_nanos: b,
        decoded_to_submitted_nanos: c,
        submitted_to_preprocessed_nanos: d,
        preprocessed_to_inferred_nanos: e,
        inferred_to_instances_nanos: f,
        instances_to_published_nanos: g,
        capture_to_published_nanos: [a, b, c, d, e, f, g].into_iter().fold(0i64, i64::saturating_add),
    }
}

fn answer(
    instances: &[Instance],
    engine_threshold: f32,
    size: Option<ImageSize>,
    form: Form,
    limits: &Limits,
    degraded: &mut Vec<v1::Degradation>,
) -> v1::Answer {
    let threshold = engine_threshold.max(limits.score_threshold);
    // A NaN score is below every threshold.
    let mut kept: Vec<&Instance> = instances.iter().filter(|i| i.score >= threshold).collect();
    kept.sort_by(|a, b| {
        let corner = |i: &Instance| (i.class_id, i.bounds.x0, i.bounds.y0);
        b.score.total_cmp(&a.score).then_with(|| corner(a).cmp(&corner(b)))
    });
    if kept.len() > limits.max_instances {
        kept.truncate(limits.max_instances);
        degraded.push(v1::Degradation::InstancesTruncated);
    }
    if form.has_masks() && kept.iter().any(|i| i.mask.is_none()) {
        degraded.push(v1::Degradation::MasksSkipped);
    }
    let frame = size.unwrap_or(ImageSize::new(0, 0));
    v1::Answer {
        instances: (1u32..)
            .zip(kept)
            .map(|(index, i)| instance(index, i, frame, form))
            .collect(),
        score_threshold: threshold,
    }
}

fn instance(index: u32, of: &Instance, frame: ImageSize, form: Form) -> v1::Instance {
    let runs = of
        .mask
        .as_ref()
        .and_then(|m| m.runs.as_ref())
        .filter(|_| form.has_masks());
    let measured = runs
        .and_then(|r| Measurements::of_runs(r, frame))
        .unwrap_or_else(|| Measurements::of_box(&of.bounds, frame));
    v1::Instance {
        index,
        class_id: of.class_id,
        score: of.score,
        r#box: Some(wire_box(&of.bounds)),
        measured_from: match measured.measured_from {
            MeasuredFrom::Mask => v1::MeasuredFrom::Mask,
            MeasuredFrom::Box => v1::MeasuredFrom::Box,
        }
        .into(),
        area_px: measured.area_px,
        centroid_x_px: measured.centroid_x_px as f32,
        centroid_y_px: measured.centroid_y_px as f32,
        contact_x_px: measured.contact_x_px as f32,
        contact_y_px: measured.contact_y_px as f32,
        borders: measured.borders.bits(),
        track_id: 0,
        track_age_frames: 0,
        geometry: None,
        mask: runs.map(|r| {
            v1::instance::Mask::Rle(v1::RleMask {
                x_px: r.x,
                y_px: r.y,
                width_px: r.width,
                height_px: r.height,
                counts: Bytes::from(r.to_counts()),
            })
        }),
    }
}

fn wire_box(bounds: &LatticeBox) -> v1::Box {
    let px = bounds.to_px();
    v1::Box {
        x0: px.x0,
        y0: px.y0,
        x1: px.x1,
        y1: px.y1,
    }
}

/// Makes `answer` fit `room` bytes: masks of the lowest scores go first, their boxes and measurements stay; then whole
/// instances. Returns how many masks went.
fn fit(answer: &mut v1::Answer, room: usize, degraded: &mut Vec<v1::Degradation>) -> usize {
    // Length with tag and length prefix, as a field of its parent.
    let framed = |bytes: usize| 1 + prost::length_delimiter_len(bytes) + bytes;
    let mut length = framed(answer.encoded_len());
    let mut dropped = 0;
    for instance in answer.instances.iter_mut().rev() {
        if length <= room {
            break;
        }
        if instance.mask.is_some() {
            let before = framed(instance.encoded_len());
            instance.mask = None;
            length -= before - framed(instance.encoded_len());
            dropped += 1;
        }
    }
    if dropped > 0 {
        degraded.push(v1::Degradation::MasksDroppedForSize);
    }
    let count = answer.instances.len();
    while length > room {
        let Some(last) = answer.instances.pop() else { break };
        length -= framed(last.encoded_len());
    }
    if answer.instances.len() < count {
        degraded.push(v1::Degradation::InstancesTruncated);
    }
    dropped
}

#[cfg(test)]
mod tests;
