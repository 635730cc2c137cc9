//! Non-maximum suppression: of boxes that overlap more than `iou_threshold`, only the best score is kept (torchvision
//! `ops.nms`, `ops.batched_nms`).
//!
//! In order of descending score, ties by ascending index, a box is dropped when its IoU with a box already kept *exceeds* the
//! threshold. IoU in f32: intersection / (area + area - intersection), with sides measured by a [`BoxWidth`]; two empty
//! boxes, 0 / 0, do not suppress, nor does a box with an edge that is not a number. Groups (FPN levels, classes) do not see
//! each other; torchvision moves them apart by an offset, which costs bits of the coordinates, here they are simply kept
//! apart.

mod cpu;
mod fast;
pub(in crate::ops) mod launch;

pub use cpu::nms;
pub use fast::Nms;

use super::{BoxWidth, NetworkBox};

/// A comparison, not `f32::min`: it becomes one instruction, and both forms of the op agree on NaN.
#[inline(always)]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn area(width: BoxWidth, bounds: &NetworkBox) -> f32 {
    let (w, h) = width.sides(bounds);
    w * h
}

/// Pixels of both boxes, each given as [x0, y0, x1, y1]; `extra` as [`BoxWidth::extra`].
#[inline(always)]
fn intersection(a: [f32; 4], b: [f32; 4], extra: f32) -> f32 {
    let width = most(least(a[2], b[2]) - most(a[0], b[0]) + extra, 0.0);
    let height = most(least(a[3], b[3]) - most(a[1], b[1]) + extra, 0.0);
    width * height
}
