//! Detections: from the box head's outputs to boxes with a class and a score (Fast R-CNN, section 2; torchvision
//! `RoIHeads.postprocess_detections`, Caffe2 `BoxWithNMSLimit`).
//!
//! Scores = softmax over the K classes of a proposal; each foreground class has its own box, decoded and cut to the picture.
//! Kept: score *above* `score_threshold`, sides at least `min_size_px`, NMS within a class, then the `max_detections` best.
//! Ties: the lower (proposal, class).
//!
//! A proposal with a logit that is NaN or positive infinity has no scores; a box with an edge that is not finite is none.

pub mod check;
mod cpu;
mod fast;
pub mod launch;

pub use fast::Detections;

use super::box_deltas::BoxCoder;
use super::exp::exp;

/// What decides which proposals become detections.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSettings {
    pub coder: BoxCoder,
    pub score_threshold: f32,
    pub iou_threshold: f64,
    /// Narrower or lower boxes are dropped, network px: 1e-2 for torchvision, `f32::NEG_INFINITY` (none) for detectron2 and
    /// Caffe2.
    pub min_size_px: f32,
    pub max_detections: usize,
}

impl HeadSettings {
    /// torchvision's `maskrcnn_resnet50_fpn` in evaluation.
    pub fn torchvision() -> HeadSettings {
        HeadSettings {
            coder: BoxCoder::HEADS,
            score_threshold: 0.05,
            iou_threshold: 0.5,
            min_size_px: 1e-2,
            max_detections: 100,
        }
    }
}

/// Why the head's outputs do not fit the proposals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectionsError {
    #[error("{got} class logits for {proposals} proposals: expected the same number, at least 2, for each")]
    Logits { proposals: usize, got: usize },
    #[error("{got} box deltas: expected {expected} for {proposals} proposals and {classes} classes")]
    Deltas {
        proposals: usize,
        classes: usize,
        expected: usize,
        got: usize,
    },
}

/// e^x of each over their sum, with the largest taken out first so that none overflows.
fn softmax(logits: &[f32], out: &mut Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.clear();
    out.extend(logits.iter().map(|v| exp(v - largest)));
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|v| *v /= sum);
}
