//! What a client is told.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::judge::Replay;
use crate::instances::ClassMap;
use crate::wire::attachment::AttachmentError;
use crate::wire::decode::{DecodeError, Decoded, Outcome, SeenInstance};
use crate::wire::v1;

/// One thing that happened, or did not. Every call of `next` gives exactly one, in time.
#[derive(Debug, Clone)]
pub enum Event {
    /// The frame was looked at and is young enough. No instances = looked, found none.
    Answer(Answer),
    /// The frame was not looked at, or not in time. Never "none"; proves the path, not freshness.
    NoAnswer(NoAnswer),
    /// The newest answer is this old (or none came for so long): do not act on it.
    Stale { age: Duration },
    /// The camera, the daemon or the clocks cannot be relied on.
    Lost(LostReason),
    /// Quality changed: the words that hold now, empty = full quality again. The answer they came with follows.
    Degraded(Vec<v1::Degradation>),
    /// A message that must not be acted on.
    Rejected(Rejection),
}

/// A result to act on.
#[derive(Debug, Clone)]
pub struct Answer {
    pub result: Arc<Decoded>,
    /// Checked against `result.label_map_id`; empty where there are no instances.
    pub classes: Arc<ClassMap>,
    /// now - capture time + uncertainty, when it was handed out.
    pub age: Duration,
    /// Messages lost on the way since the one before.
    pub missed: u64,
    /// Messages overwritten in our ring because `next` was called too seldom.
    pub skipped: u64,
    /// When the message arrived, our clock.
    pub received_unix_nanos: i64,
    pub(super) min_score: f32,
}

/// A tombstone.
#[derive(Debug, Clone, PartialEq)]
pub struct NoAnswer {
    /// `Unspecified` for reasons this version does not know.
    pub reason: v1::TombstoneReason,
    pub detail: String,
    pub result_number: u64,
    pub missed: u64,
    pub skipped: u64,
}

/// Why nothing can be said about the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostReason {
    /// No camera of this id holds a token: wrong id, wrong prefix, or not streaming yet.
    NotFound,
    /// The camera's token is gone: it stopped streaming, or the daemon ended.
    CameraGone,
    /// The capture time lies more than 5 ms in our future: the clocks do not agree.
    ClockFault { ahead: Duration },
}

/// Why a message is not acted on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    #[error("no attachment to tell its session and number")]
    NoAttachment,
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("attachment and header disagree on session, number or camera")]
    Mismatch,
    #[error("label map {id:#010x} could not be fetched")]
    UnknownLabelMap { id: u32 },
    #[error("class {class_id} has no name in label map {id:#010x}")]
    UnknownClass { class_id: u32, id: u32 },
    #[error("a replay, and this client was not told to accept one ({0:?})")]
    Replayed(Replay),
    #[error("the uncertainty of the capture time is not known")]
    UncertaintyUnknown,
}

/// What happened since the client was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub answers: u64,
    pub tombstones: u64,
    /// Lost on the way: gaps of the result number that we did not cause.
    pub missed: u64,
    /// Overwritten in our ring.
    pub skipped: u64,
    /// Repeated or out of order.
    pub old: u64,
    /// Of another session while ours is alive.
    pub foreign: u64,
    pub rejected: u64,
    /// Sessions followed: 1 until the daemon restarts.
    pub sessions: u64,
}

/// One instance of an answer, with its class name.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    instance: &'a SeenInstance,
    classes: &'a ClassMap,
}

/// The crop of a mask as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseMask {
    /// Top-left pixel of the crop in the frame.
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// Row-major, 1 = set.
    pub pixels: Vec<u8>,
}

impl Answer {
    /// Instances of at least the client's `min_score`, descending.
    pub fn instances(&self) -> impl Iterator<Item = Seen<'_>> {
        let instances: &[SeenInstance] = match &self.result.outcome {
            Outcome::Answer { instances, .. } => instances,
            Outcome::Tombstone { .. } => &[],
        };
        instances
            .iter()
            .take_while(|i| i.score >= self.min_score)
            .map(|instance| Seen {
                instance,
                classes: &self.classes,
            })
    }
}

impl<'a> Seen<'a> {
    pub fn class_name(&self) -> &'a str {
        self.classes.name(self.instance.class_id).unwrap_or_default()
    }

    /// `None` where the instance has no mask.
    pub fn dense(&self) -> Option<DenseMask> {
        let mask = self.instance.mask.as_ref()?;
        Some(DenseMask {
            x: mask.x,
            y: mask.y,
            width: mask.width,
            height: mask.height,
            pixels: mask.to_dense(),
        })
    }
}

impl Deref for Seen<'_> {
    type Target = SeenInstance;
    fn deref(&self) -> &SeenInstance {
        self.instance
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LostReason::NotFound => f.write_str("no such camera is streaming"),
            LostReason::CameraGone => f.write_str("the camera stopped streaming or the daemon ended"),
            LostReason::ClockFault { ahead } => {
                write!(
                    f,
                    "captured {} ms in our future: the clocks do not agree",
                    ahead.as_millis()
                )
            }
        }
    }
}
