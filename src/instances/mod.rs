//! What was seen in a frame. Belongs here: the instance, its mask and the mask codecs every client needs. Not here:
//! messages (`wire`), the fast paste of the pipeline (`ops::paste_masks`), drawing (`outlets::overlay`).
//!
//! One mask, one truth: a [`SoftMask`] is what the network gave, on the published lattice; [`MaskRuns`] are the pixels the
//! paste rule sets, and everything else (RLE bytes, measurements, overlays) is computed from those.

mod decode;
mod labels;
mod measure;
mod merge;
mod rle;
mod sets;
mod soft;

pub use decode::{DecodeError, Detection, GridValues, Limits, MaskGrids, decode};
pub use labels::class_rgb;
pub use measure::{Borders, MeasuredFrom, Measurements};
pub use merge::merge_tiles;
pub use rle::{RleError, Span};
pub use soft::{SoftMaskError, paste};

use crate::geometry::LatticeBox;

/// One object in one frame, in source px.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// 0-based foreground class.
    pub class_id: u32,
    /// [0, 1].
    pub score: f32,
    /// Inside the frame, 1/256 px.
    pub bounds: LatticeBox,
    /// `None` when the mask branch did not run.
    pub mask: Option<InstanceMask>,
}

/// A mask as the network gave it and as pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceMask {
    /// `None` when the pixels are those of several tiles put together: no one grid holds them.
    pub soft: Option<SoftMask>,
    /// `None` when the paste rule sets no pixel.
    pub runs: Option<MaskRuns>,
}

/// The network's mask, unpasted: `side * side` probabilities over `roi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftMask {
    /// Where the grid lies; may reach beyond the frame.
    pub roi: LatticeBox,
    /// 1..=256; 28 for Mask R-CNN.
    pub side: u32,
    /// Row-major, `round(255 * probability)`.
    pub values: Vec<u8>,
}

/// Set pixels of a mask: a tight crop, column-major runs, the first of zeros (maybe empty), as COCO counts them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MaskRuns {
    /// Top-left pixel of the crop.
    pub x: u32,
    pub y: u32,
    /// Crop size > 0.
    pub width: u32,
    pub height: u32,
    /// Lengths; they add up to `width * height`; only the first may be 0; zeros, ones, zeros, ...
    pub runs: Vec<u32>,
}

/// Class names in order of class id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    pub names: Vec<String>,
}
