//! What runs between the dense parts of the network. Belongs here: one folder an op, `mod.rs` its contract (shapes, units,
//! source), `cpu.rs` plain loops which are the specification, `fast.rs` where measurement says that it pays. Not here: the
//! order in which a network calls them (`model`), run lengths and the paste rule itself (`instances`).
//!
//! ```text
//! trunk --(proposals, roi_align 7)--> box head --(detections, roi_align 14)--> mask head --(mask_select, paste_masks)
//! ```
//!
//! Letters: R regions, C channels, H W rows and columns of a feature map, A anchors a cell, K classes with the background at
//! 0, S side of a pooled region. Tensors are row-major slices in the order their shape is written, channels last; features
//! are f32, bf16 or f16, everything else f32. Boxes are network px and stay f32 whatever the features are: a half has no bits
//! left for a quarter pixel at 800. Objects hold scratch memory: one a worker, reused for each frame.
//!
//! What is not a number is nobody's box: a logit, delta or edge that is NaN, or an edge that is infinite, is left out, never
//! an error and never a panic.

pub mod bench;
pub mod box_deltas;
pub mod detections;
pub mod device;
pub mod encode_rle;
pub mod mask_select;
pub mod nms;
pub mod overlay;
pub mod paste_masks;
pub mod proposals;
pub mod roi_align;
pub mod roi_pool;

mod element;
mod exp;
mod lanes;

#[cfg(test)]
mod goldens;

pub use element::Element;

use crate::geometry::{ImageSize, NetworkPx, PixelBox};

/// All kernels of this room.
pub const KERNEL_SOURCES: &[crate::device::KernelSource] = &[
    proposals::launch::SOURCE,
    roi_align::launch::SOURCE,
    detections::launch::SOURCE,
    mask_select::launch::SOURCE,
    paste_masks::launch::SOURCE,
    encode_rle::launch::SOURCE,
    roi_pool::launch::SOURCE,
    overlay::launch::SOURCE,
];

/// A box in the pixels of the network's input.
pub type NetworkBox = PixelBox<NetworkPx>;

/// f32 bits such that unsigned order is descending order of value; the zeros are equal, NaN with a clear sign comes first.
fn descending_key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits(); // -0 + 0 = 0
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

/// Undoes [`descending_key`].
fn value_of_key(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key } else { !key & !(1 << 31) })
}

/// 1 / (1 + e^-x).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp::exp(-x))
}

/// How wide a box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxWidth {
    /// `x1 - x0`; the picture reaches from 0 to its width.
    Continuous,
    /// `x1 - x0 + 1`: the last pixel belongs to the box, the picture reaches from 0 to its width - 1. Detectron and older
    /// networks were trained so (Caffe2 `GenerateProposals`, `BoxWithNMSLimit`).
    Inclusive,
}

impl BoxWidth {
    /// What is added to `x1 - x0`.
    #[inline(always)]
    const fn extra(self) -> f32 {
        match self {
            BoxWidth::Continuous => 0.0,
            BoxWidth::Inclusive => 1.0,
        }
    }

    /// Width and height.
    #[inline(always)]
    fn sides(self, bounds: &NetworkBox) -> (f32, f32) {
        (bounds.width() + self.extra(), bounds.height() + self.extra())
    }

    /// `decoded` cut to the picture, when its edges are finite and what is left is at least `min_size_px` wide and high.
    ///
    /// A box far to one side is flattened on the border rather than cut away; a least side drops it, negative infinity
    /// keeps it. Caffe2 asks further that the centre be in the picture, which after the cut it is.
    fn cut(self, decoded: &NetworkBox, picture: ImageSize, min_size_px: f32) -> Option<NetworkBox> {
        let last = |side: u32| (side as f32 - self.extra()).max(0.0);
        let (w, h) = (last(picture.width), last(picture.height));
        let NetworkBox { x0, y0, x1, y1, .. } = *decoded;
        if ![x0, y0, x1, y1].iter().all(|edge| edge.is_finite()) {
            return None;
        }
        let cut = NetworkBox::new(x0.clamp(0.0, w), y0.clamp(0.0, h), x1.clamp(0.0, w), y1.clamp(0.0, h));
        let (width, height) = self.sides(&cut);
        (width >= min_size_px && height >= min_size_px).then_some(cut)
    }
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
            -1.0,
            -1e20,
            f32::NEG_INFINITY,
        ];
        let keys = falling.map(descending_key);
        assert!(keys.is_sorted() && keys.windows(2).all(|w| w[0] < w[1]), "{keys:x?}");
        assert_eq!(keys.map(value_of_key), falling);
        assert_eq!(descending_key(-0.0), descending_key(0.0));
    }

    #[test]
    fn boxes_are_cut_to_the_picture() {
        let picture = ImageSize::new(20, 10);
        let wide = NetworkBox::new(-5.0, 2.0, 30.0, 30.0);
        let cut = |width: BoxWidth, b, least| width.cut(&b, picture, least);
        assert_eq!(
            cut(BoxWidth::Continuous, wide, 1.0),
            Some(NetworkBox::new(0.0, 2.0, 20.0, 10.0))
        );
        assert_eq!(
            cut(BoxWidth::Inclusive, wide, 1.0),
            Some(NetworkBox::new(0.0, 2.0, 19.0, 9.0))
        );
        // 8 px high by the one, 8 by the other too: 9 - 2 + 1.
        assert_eq!(cut(BoxWidth::Continuous, wide, 8.1), None);
        assert_eq!(cut(BoxWidth::Inclusive, wide, 8.1), None);
    }

    #[test]
    fn flat_boxes_stay_only_without_a_least_side() {
        let picture = ImageSize::new(20, 10);
        let beyond = NetworkBox::new(30.0, 2.0, 40.0, 5.0);
        let flat = NetworkBox::new(20.0, 2.0, 20.0, 5.0);
        assert_eq!(
            BoxWidth::Continuous.cut(&beyond, picture, f32::NEG_INFINITY),
            Some(flat)
        );
        assert_eq!(BoxWidth::Continuous.cut(&beyond, picture, f32::MIN_POSITIVE), None);
        assert_eq!(
            BoxWidth::Inclusive.cut(&beyond, picture, 1.0),
            Some(NetworkBox::new(19.0, 2.0, 19.0, 5.0)),
            "one pixel wide"
        );
        for edge in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let b = NetworkBox::new(1.0, 2.0, edge, 5.0);
            assert_eq!(BoxWidth::Continuous.cut(&b, picture, f32::NEG_INFINITY), None);
        }
    }
}
