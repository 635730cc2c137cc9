//! Bytes -> a checked result. Strict: what a robot may not act on is an error here, and nothing panics or allocates by a
//! number that the bytes merely claim.
//!
//! An unknown enum value is treated as the worst known one: an unknown degradation still degrades, an unknown
//! tombstone reason is still no answer. An unknown form cannot be read and is refused.

use prost::Message;

use super::{Form, MESSAGE_LIMIT_BYTES, SessionId, SessionIdError, v1};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::{MaskRuns, RleError};
use crate::names::{CameraId, CameraIdError};

/// A checked `FrameResult`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub header: Header,
    pub form: Form,
    pub outcome: Outcome,
    /// Checked: non-negative, and they add up.
    pub stage_times: Option<v1::StageTimes>,
    pub publish_time_unix_nanos: i64,
    /// 0 = no limit given.
    pub valid_for_nanos: i64,
    pub engine_id: Option<[u8; 16]>,
    pub label_map_id: u32,
    pub calibration_id: u32,
    /// `Unspecified` stands for words this version does not know. Empty = full quality.
    pub degraded: Vec<v1::Degradation>,
}

/// Whose frame it was and when light hit the sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub camera: CameraId,
    pub optical_frame: String,
    pub session_id: SessionId,
    /// >= 1.
    pub result_number: u64,
    /// 0 = no frame.
    pub frame_number: u64,
    /// 0 only when there was no frame.
    pub capture_time_unix_nanos: i64,
    /// 0 = not known.
    pub capture_time_uncertainty_nanos: i64,
    pub capture_time_source: v1::CaptureTimeSource,
    pub capture_mono_nanos: i64,
    pub pts_nanos: i64,
    pub clock_state: v1::ClockState,
    /// `None` when the frame was not decoded; always there in an answer.
    pub size: Option<ImageSize>,
    pub original_source: v1::CaptureTimeSource,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The frame was looked at. No instances = looked, found none.
    Answer {
        /// Descending score.
        instances: Vec<SeenInstance>,
        score_threshold: f32,
    },
    /// The frame was not looked at, or not in time. Never "none".
    Tombstone {
        reason: v1::TombstoneReason,
        detail: String,
        stalled_for_nanos: i64,
    },
}

/// One instance as received, source px.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenInstance {
    /// 1, 2, 3 ... in the message.
    pub index: u32,
    pub class_id: u32,
    /// [0, 1].
    pub score: f32,
    /// Inside the frame.
    pub bounds: LatticeBox,
    /// Checked: well formed and inside the frame. Absent in `boxes`, for a mask without a pixel, or when a degradation
    /// says so.
    pub mask: Option<MaskRuns>,
    pub measured_from: v1::MeasuredFrom,
    /// 0 when measured from the box.
    pub area_px: u32,
    pub centroid_px: (f32, f32),
    pub contact_px: (f32, f32),
    /// OR of `v1::Border`.
    pub borders: u32,
    /// 0 = no tracker.
    pub track_id: u64,
}

/// Why bytes are no result a robot may act on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("message of {0} bytes, the limit is {MESSAGE_LIMIT_BYTES}")]
    TooLarge(usize),
    #[error("not a FrameResult: {0}")]
    Protobuf(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("neither an answer nor a tombstone")]
    NeitherOutcome,
    #[error(transparent)]
    Camera(#[from] CameraIdError),
    #[error(transparent)]
    Session(#[from] SessionIdError),
    #[error("form {0} is not one this version reads (1 rle, 2 boxes)")]
    Form(i32),
    #[error("{field}: expected {expected}, got {got}")]
    Range {
        field: &'static str,
        expected: &'static str,
        got: String,
    },
    #[error("instance {index}: {field}: expected {expected}, got {got}")]
    Instance {
        index: usize,
        field: &'static str,
        expected: &'static str,
        got: String,
    },
    #[error("instance {index}: mask: {why}")]
    Mask { index: usize, why: RleError },
}

/// Most pixels a frame may claim: a crop is never larger, so that no mask of a hostile message unpacks to more.
const MAX_FRAME_PX: u64 = 1 << 28;

/// Reads and checks one `FrameResult`.
pub fn decode_result(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.len() > MESSAGE_LIMIT_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let message = v1::FrameResult::decode(bytes).map_err(|e| DecodeError::Protobuf(e.to_string()))?;
    let header = header(message.header.ok_or(DecodeError::Missing("header"))?)?;
    let form = match v1::Form::try_from(message.form) {
        Ok(v1::Form::Rle) => Form::Rle,
        Ok(v1::Form::Boxes) => Form::Boxes,
        _ => return Err(DecodeError::Form(message.form)),
    };
    let outcome = match message.outcome {
        Some(v1::frame_result::Outcome::Answer(answer)) => self::answer(answer, &header, form)?,
        Some(v1::frame_result::Outcome::Tombstone(t)) => Outcome::Tombstone {
            reason: v1::TombstoneReason::try_from(t.reason).unwrap_or(v1::TombstoneReason::Unspecified),
            detail: t.detail,
            stalled_for_nanos: t.stalled_for_nanos,
        },
        None => return Err(DecodeError::NeitherOutcome),
    };
    if let Some(times) = &message.stage_times {
        check_times(times)?;
    }
    within(
        message.valid_for_nanos >= 0,
        "valid_for_nanos",
        ">= 0",
        message.valid_for_nanos,
    )?;
    let engine_id = match message.engine_id.len() {
        0 => None,
        _ => Some(
            <[u8; 16]>::try_from(&message.engine_id[..]).map_err(|_| DecodeError::Range {
                field: "engine_id",
                expected: "0 or 16 bytes",
                got: message.engine_id.len().to_string(),
            })?,
        ),
    };
    Ok(Decoded {
        header,
        form,
        outcome,
        stage_times: message.stage_times,
        publish_time_unix_nanos: message.publish_time_unix_nanos,
        valid_for_nanos: message.valid_for_nanos,
        engine_id,
        label_map_id: message.label_map_id,
        calibration_id: message.calibration_id,
        degraded: degradations(&message.degraded),
    })
}

/// Words of a `degraded` field; unknown ones become `Unspecified`, so that the list is never empty by ignorance.
pub fn degradations(values: &[i32]) -> Vec<v1::Degradation> {
    values
        .iter()
        .map(|d| v1::Degradation::try_from(*d).unwrap_or(v1::Degradation::Unspecified))
        .collect()
}

fn within(holds: bool, field: &'static str, expected: &'static str, got: impl ToString) -> Result<(), DecodeError> {
    if holds {
        return Ok(());
    }
    Err(DecodeError::Range {
        field,
        expected,
        got: got.to_string(),
    })
}

fn header(h: v1::FrameHeader) -> Result<Header, DecodeError> {
    within(h.result_number >= 1, "result_number", ">= 1", h.result_number)?;
    within(
        h.frame_number == 0 || h.capture_time_unix_nanos > 0,
        "capture_time_unix_nanos",
        "> 0 where there is a frame",
        h.capture_time_unix_nanos,
    )?;
    let doubt = h.capture_time_uncertainty_nanos;
    within(doubt >= 0, "capture_time_uncertainty_nanos", ">= 0", doubt)?;
    let size = ImageSize::new(h.width_px, h.height_px);
    let absent = size == ImageSize::new(0, 0);
    // Boxes are exact in [0, 65536).
    let sane = size.width < 65536 && size.height < 65536 && (1..=MAX_FRAME_PX).contains(&size.area());
    within(
        absent || sane,
        "frame size",
        "sides 1 to 65535, at most 268435456 px",
        size,
    )?;
    let source = |v: i32| v1::CaptureTimeSource::try_from(v).unwrap_or(v1::CaptureTimeSource::Unspecified);
    Ok(Header {
        camera: CameraId::new(&h.camera)?,
        optical_frame: h.optical_frame,
        session_id: SessionId::try_from(&h.session_id[..])?,
        result_number: h.result_number,
        frame_number: h.frame_number,
        capture_time_unix_nanos: h.capture_time_unix_nanos,
        capture_time_uncertainty_nanos: doubt,
        capture_time_source: source(h.capture_time_source),
        capture_mono_nanos: h.capture_mono_nanos,
        pts_nanos: h.pts_nanos,
        clock_state: v1::ClockState::try_from(h.clock_state).unwrap_or(v1::ClockState::Unsynced),
        size: (!absent).then_some(size),
        original_source: source(h.original_source),
    })
}

fn answer(answer: v1::Answer, header: &Header, form: Form) -> Result<Outcome, DecodeError> {
    let size = header.size.ok_or(DecodeError::Missing("the frame size of an answer"))?;
    within(
        header.frame_number >= 1,
        "frame_number",
        ">= 1 in an answer",
        header.frame_number,
    )?;
    within(
        (0.0..=1.0).contains(&answer.score_threshold),
        "score_threshold",
        "0 to 1",
        answer.score_threshold,
    )?;
    let mut instances: Vec<SeenInstance> = Vec::with_capacity(answer.instances.len());
    let mut previous = 1.0f32;
    for (at, received) in answer.instances.into_iter().enumerate() {
        let seen = instance(at, received, size, form, previous)?;
        previous = seen.score;
        instances.push(seen);
    }
    Ok(Outcome::Answer {
        instances,
        score_threshold: answer.score_threshold,
    })
}

fn instance(
    at: usize,
    i: v1::Instance,
    frame: ImageSize,
    form: Form,
    highest: f32,
) -> Result<SeenInstance, DecodeError> {
    let wrong = |field: &'static str, expected: &'static str, got: String| DecodeError::Instance {
        index: at + 1,
        field,
        expected,
        got,
    };
    if usize::try_from(i.index) != Ok(at + 1) {
        return Err(wrong("index", "its place in the message", i.index.to_string()));
    }
    if !(0.0..=highest).contains(&i.score) {
        return Err(wrong("score", "0 to 1, descending", i.score.to_string()));
    }
    let b = i.r#box.ok_or_else(|| wrong("box", "a box", "none".to_owned()))?;
    let bounds = lattice(&b, frame).ok_or_else(|| {
        wrong(
            "box",
            "inside the frame on the 1/256 px lattice",
            format!("{b:?} in {frame}"),
        )
    })?;
    let mask = match i.mask {
        None => None,
        Some(v1::instance::Mask::Rle(m)) if form == Form::Rle => Some(rle(at, &m, frame)?),
        Some(_) => return Err(wrong("mask", "one of the message's form", "another".to_owned())),
    };
    let measured_from = v1::MeasuredFrom::try_from(i.measured_from).unwrap_or(v1::MeasuredFrom::Unspecified);
    if let Some(mask) = &mask
        && (mask.area() != i.area_px || measured_from != v1::MeasuredFrom::Mask)
    {
        return Err(wrong("area_px", "the set pixels of the mask", i.area_px.to_string()));
    }
    let (w, h) = (frame.width as f32, frame.height as f32);
    for (field, x, y) in [
        ("centroid", i.centroid_x_px, i.centroid_y_px),
        ("contact", i.contact_x_px, i.contact_y_px),
    ] {
        // `contains` is false for NaN.
        if !(0.0..=w).contains(&x) || !(0.0..=h).contains(&y) {
            return Err(wrong(
                field,
                "a point inside the frame",
                format!("({x}, {y}) in {frame}"),
            ));
        }
    }
    Ok(SeenInstance {
        index: i.index,
        class_id: i.class_id,
        score: i.score,
        bounds,
        mask,
        measured_from,
        area_px: i.area_px,
        centroid_px: (i.centroid_x_px, i.centroid_y_px),
        contact_px: (i.contact_x_px, i.contact_y_px),
        borders: i.borders,
        track_id: i.track_id,
    })
}

/// The box in 1/256 px; `None` off the lattice, empty, or outside the frame.
fn lattice(b: &v1::Box, frame: ImageSize) -> Option<LatticeBox> {
    let step = |v: f32, side: u32| {
        let q = f64::from(v) * f64::from(LatticeBox::STEPS);
        // Below 65536 px the product is exact in f64 and fits i32; NaN fails every comparison.
        let exact = q >= 0.0 && q <= f64::from(side) * f64::from(LatticeBox::STEPS) && q.fract() == 0.0;
        exact.then_some(q as i32)
    };
    let bounds = LatticeBox {
        x0: step(b.x0, frame.width)?,
        y0: step(b.y0, frame.height)?,
        x1: step(b.x1, frame.width)?,
        y1: step(b.y1, frame.height)?,
    };
    (bounds.x0 < bounds.x1 && bounds.y0 < bounds.y1).then_some(bounds)
}

fn rle(at: usize, m: &v1::RleMask, frame: ImageSize) -> Result<MaskRuns, DecodeError> {
    let index = at + 1;
    let inside =
        |start: u32, extent: u32, side: u32| extent >= 1 && start.checked_add(extent).is_some_and(|end| end <= side);
    if !inside(m.x_px, m.width_px, frame.width) || !inside(m.y_px, m.height_px, frame.height) {
        return Err(DecodeError::Instance {
            index,
            field: "mask crop",
            expected: "inside the frame",
            got: format!("{}x{} at ({}, {}) in {frame}", m.width_px, m.height_px, m.x_px, m.y_px),
        });
    }
    MaskRuns::from_counts(m.x_px, m.y_px, m.width_px, m.height_px, &m.counts)
        .map_err(|why| DecodeError::Mask { index, why })
}

fn check_times(t: &v1::StageTimes) -> Result<(), DecodeError> {
    let stages = [
        t.capture_to_arrival_nanos,
        t.arrival_to_decoded_nanos,
        t.decoded_to_submitted_nanos,
        t.submitted_to_preprocessed_nanos,
        t.preprocessed_to_inferred_nanos,
        t.inferred_to_instances_nanos,
        t.instances_to_published_nanos,
    ];
    let negative = stages.into_iter().find(|v| *v < 0);
    within(negative.is_none(), "stage_times", ">= 0", negative.unwrap_or(0))?;
    let sum: i128 = stages.into_iter().map(i128::from).sum();
    let off = sum - i128::from(t.capture_to_published_nanos);
    within(
        off.abs() <= 1000,
        "stage_times",
        "a sum within 1000 ns of capture_to_published",
        off,
    )
}

#[cfg(test)]
mod tests;
