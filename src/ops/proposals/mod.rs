//! Proposals: from the region proposal network's maps to the boxes worth a closer look (Faster R-CNN, section 3.1;
//! torchvision `AnchorGenerator` and `RegionProposalNetwork.filter_proposals`).
//!
//! For each level: the `pre_nms_top_n` best anchors by logit, their deltas decoded (weights 1), clipped to the picture,
//! those under `min_size_px` dropped, NMS within the level. Over all levels: the `post_nms_top_n` best by score. Equal
//! logits: the lower index in torchvision's flattened order (row, column, anchor).

mod anchors;
mod cpu;

pub use anchors::{Anchors, base_anchors};
pub use cpu::Proposals;

use crate::geometry::ImageSize;

/// What decides which anchors become proposals.
#[derive(Debug, Clone, PartialEq)]
pub struct RpnSettings {
    /// Anchor sizes, network px: one list a level, usually of one.
    pub anchor_sizes_px: Vec<Vec<f32>>,
    /// Height / width, the same for all levels.
    pub anchor_ratios: Vec<f32>,
    /// Kept before NMS, a level.
    pub pre_nms_top_n: usize,
    /// Kept after NMS, in total.
    pub post_nms_top_n: usize,
    pub iou_threshold: f64,
    /// Narrower or lower boxes are dropped.
    pub min_size_px: f32,
}

impl RpnSettings {
    /// torchvision's `maskrcnn_resnet50_fpn` in evaluation.
    pub fn torchvision() -> RpnSettings {
        RpnSettings {
            anchor_sizes_px: [32.0, 64.0, 128.0, 256.0, 512.0].map(|s| vec![s]).to_vec(),
            anchor_ratios: vec![0.5, 1.0, 2.0],
            pre_nms_top_n: 1000,
            post_nms_top_n: 1000,
            iou_threshold: 0.7,
            min_size_px: 1e-3,
        }
    }
}

/// The head's two maps of one level.
#[derive(Debug, Clone, Copy)]
pub struct LevelOutput<'a> {
    /// W x H of the feature map.
    pub grid: ImageSize,
    /// [1, A, H, W], objectness.
    pub logits: &'a [f32],
    /// [1, 4 A, H, W]: for each anchor dx, dy, dw, dh.
    pub deltas: &'a [f32],
}

/// Why the maps do not fit the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalsError {
    #[error("{got} levels of the region proposal network: expected {expected}, one for each list of anchor sizes")]
    Levels { expected: usize, got: usize },
    #[error("level {level}: grid {grid} is empty or larger than the network input {network}")]
    Grid {
        level: usize,
        grid: ImageSize,
        network: ImageSize,
    },
    #[error("level {level}: {got} {tensor}: expected {expected} for {anchors} anchors in each cell of {grid}")]
    Values {
        level: usize,
        tensor: &'static str,
        expected: u64,
        got: usize,
        anchors: usize,
        grid: ImageSize,
    },
}
