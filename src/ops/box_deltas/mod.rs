//! Box deltas: what the network says of a box is its shift and growth against a reference box (R-CNN, appendix C;
//! torchvision `BoxCoder.decode_single`, Caffe2 `bbox_transform` with corrected coordinates).
//!
//! `[dx, dy, dw, dh]`, each multiplied by its weight in training: centre = reference centre + d / weight * reference side,
//! side = e^(d / weight) * reference side. Inclusive boxes have sides of one more, and a centre half a pixel further.

pub(in crate::ops) mod check;
mod cpu;
pub(in crate::ops) mod launch;

use super::{BoxWidth, NetworkBox};

/// Growth is limited to 1000 / 16, so that e^dw stays finite (torchvision `bbox_xform_clip`): ln(1000 / 16).
pub const GROWTH_LIMIT: f32 = 4.135_166_6;

/// How deltas are scaled and boxes measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxCoder {
    /// Of dx, dy, dw, dh.
    pub weights: [f32; 4],
    pub width: BoxWidth,
}

impl BoxCoder {
    /// The region proposal network's, as torchvision and detectron2 have it.
    pub const RPN: BoxCoder = BoxCoder {
        weights: [1.0; 4],
        width: BoxWidth::Continuous,
    };
    /// The box head's.
    pub const HEADS: BoxCoder = BoxCoder {
        weights: [10.0, 10.0, 5.0, 5.0],
        width: BoxWidth::Continuous,
    };

    /// The box that `deltas` describe against `reference`, not clipped. A delta that is not a number gives edges that are
    /// none.
    pub fn decode(&self, deltas: [f32; 4], reference: &NetworkBox) -> NetworkBox {
        cpu::decode(self, deltas, reference)
    }
}
