//! What runs between the dense parts of the network. Belongs here: one folder an op, `mod.rs` its contract (shapes, units,
//! source), `cpu.rs` plain loops which are the specification, `fast.rs` where measurement says that it pays. Not here: the
//! order in which a network calls them (`model`), run lengths and the paste rule itself (`instances`).
//!
//! ```text
//! trunk --(proposals, roi_align 7)--> box head --(detections, roi_align 14)--> mask head --(mask_select, paste_masks)
//! ```
//!
//! Letters: R regions, C channels, H W rows and columns of a feature map, A anchors a cell, K classes with the background at
//! 0, S side of a pooled region. Tensors are row-major f32 slices in the order their shape is written. Boxes are network px
//! and stay f32 whatever the features are: a half has no bits left for a quarter pixel at 800. Objects hold scratch memory:
//! one a worker, reused for each frame.

pub mod box_deltas;
pub mod detections;
pub mod mask_select;
pub mod nms;
pub mod paste_masks;
pub mod proposals;
pub mod roi_align;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod goldens;

use crate::geometry::{NetworkPx, PixelBox};

/// A box in the pixels of the network's input.
pub type NetworkBox = PixelBox<NetworkPx>;

/// f32 bits such that unsigned order is descending order of value; NaN with a clear sign comes first.
fn descending_key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

/// 1 / (1 + e^-x).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Whether the box is at least `min_size_px` wide and high; false when a coordinate is not a number (torchvision
/// `remove_small_boxes`).
fn is_at_least(bounds: &NetworkBox, min_size_px: f32) -> bool {
    bounds.width() >= min_size_px && bounds.height() >= min_size_px
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_floats_downwards() {
        let falling = [
            f32::INFINITY,
            1e20,
            1.5,
            1.0,
            f32::MIN_POSITIVE,
            0.0,
            -0.0,
            -1.0,
            -1e20,
            f32::NEG_INFINITY,
        ];
        let keys = falling.map(descending_key);
        assert!(keys.is_sorted() && keys.windows(2).all(|w| w[0] < w[1]), "{keys:x?}");
    }
}
