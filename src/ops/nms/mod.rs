//! Non-maximum suppression: of boxes that overlap more than `iou_threshold`, only the best score is kept (torchvision
//! `ops.nms`, `ops.batched_nms`).
//!
//! In order of descending score, ties by ascending index, a box is dropped when its IoU with a box already kept *exceeds* the
//! threshold. IoU in f32 without the `+ 1` of older code: intersection / (area + area - intersection), and two empty boxes,
//! 0 / 0, do not suppress. Groups (FPN levels, classes) do not see each other; torchvision moves them apart by an offset,
//! which costs bits of the coordinates, here they are simply kept apart.

mod cpu;
mod fast;

pub use cpu::nms;
pub use fast::Nms;
