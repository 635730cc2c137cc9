//! Proposals: from the region proposal network's maps to the boxes worth a closer look (Faster R-CNN, section 3.1;
//! torchvision `AnchorGenerator` and `RegionProposalNetwork.filter_proposals`, Caffe2 `GenerateProposals`).
//!
//! For each level: the `pre_nms_top_n` best anchors by logit, their deltas decoded, cut to the picture, those under
//! `min_size_px` dropped, NMS within the level. Over all levels: the `post_nms_top_n` best by score. Equal logits: the lower
//! index in the flattened order (row, column, anchor).
//!
//! An anchor whose logit is not a number, or whose box has an edge that is not finite, is never proposed.

mod anchors;
pub mod check;
mod cpu;
mod fast;
pub mod launch;

pub use anchors::{AnchorRounding, Anchors, base_anchors};
pub use fast::Proposals;

use super::NetworkBox;
use super::box_deltas::BoxCoder;
use crate::geometry::ImageSize;

/// What decides which anchors become proposals.
#[derive(Debug, Clone, PartialEq)]
pub struct RpnSettings {
    /// Anchors of a cell around (0, 0), network px: one list a level.
    pub base_anchors: Vec<Vec<NetworkBox>>,
    pub strides: Strides,
    pub coder: BoxCoder,
    /// Kept before NMS, a level.
    pub pre_nms_top_n: usize,
    /// Kept after NMS, in total.
    pub post_nms_top_n: usize,
    pub iou_threshold: f64,
    /// Narrower or lower boxes are dropped: 1e-3 for torchvision, `f32::MIN_POSITIVE` (any area) for detectron2.
    pub min_size_px: f32,
}

/// Network px from one cell of a level to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strides {
    /// Network side / grid side rounded down, each way: torchvision.
    Whole,
    /// One a level.
    Fixed(Vec<u32>),
}

impl RpnSettings {
    /// torchvision's `maskrcnn_resnet50_fpn` in evaluation.
    pub fn torchvision() -> RpnSettings {
        let anchors = |size: f32| base_anchors(&[size], &[0.5, 1.0, 2.0], AnchorRounding::WholePixels);
        RpnSettings {
            base_anchors: [32.0, 64.0, 128.0, 256.0, 512.0].map(anchors).to_vec(),
            strides: Strides::Whole,
            coder: BoxCoder::RPN,
            pre_nms_top_n: 1000,
            post_nms_top_n: 1000,
            iou_threshold: 0.7,
            min_size_px: 1e-3,
        }
    }

    /// The anchors of level `level`, which [`Self::check`] has seen.
    fn anchors(&self, level: usize, grid: ImageSize, network: ImageSize) -> Anchors<'_> {
        Anchors::new(&self.base_anchors[level], self.strides_px(level, grid, network))
    }

    /// Network px from a cell to the next, across and down.
    fn strides_px(&self, level: usize, grid: ImageSize, network: ImageSize) -> [u32; 2] {
        let whole = |side: u32, cells: u32| side.checked_div(cells).unwrap_or(0);
        match &self.strides {
            Strides::Whole => [whole(network.width, grid.width), whole(network.height, grid.height)],
            Strides::Fixed(strides) => [strides[level]; 2],
        }
    }

    fn check(&self, levels: &[LevelOutput<'_>], network: ImageSize) -> Result<(), ProposalsError> {
        let grids: Vec<ImageSize> = levels.iter().map(|level| level.grid).collect();
        self.check_grids(&grids, network)?;
        for (level, (output, base)) in levels.iter().zip(&self.base_anchors).enumerate() {
            let (grid, anchors) = (output.grid, base.len());
            let logits = grid.area() * anchors as u64;
            let sizes = [
                ("logits", logits, output.logits.len()),
                ("deltas", 4 * logits, output.deltas.len()),
            ];
            for (tensor, expected, got) in sizes {
                if expected != got as u64 {
                    return Err(ProposalsError::Values {
                        level,
                        tensor,
                        expected,
                        got,
                        anchors,
                        grid,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether there are maps of these sizes, W x H of each level.
    fn check_grids(&self, grids: &[ImageSize], network: ImageSize) -> Result<(), ProposalsError> {
        let (expected, got) = (self.base_anchors.len(), grids.len());
        if expected != got {
            return Err(ProposalsError::Levels { expected, got });
        }
        if let Strides::Fixed(strides) = &self.strides
            && strides.len() != expected
        {
            let got = strides.len();
            return Err(ProposalsError::Strides { expected, got });
        }
        for (level, &grid) in grids.iter().enumerate() {
            if grid.area() == 0 || grid.width > network.width || grid.height > network.height {
                return Err(ProposalsError::Grid { level, grid, network });
            }
        }
        Ok(())
    }
}

/// The head's two maps of one level.
#[derive(Debug, Clone, Copy)]
pub struct LevelOutput<'a> {
    /// W x H of the feature map.
    pub grid: ImageSize,
    /// [H, W, A], objectness.
    pub logits: &'a [f32],
    /// [H, W, 4 A]: for each anchor dx, dy, dw, dh.
    pub deltas: &'a [f32],
}

/// Why the maps do not fit the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalsError {
    #[error("{got} levels of the region proposal network: expected {expected}, one for each list of anchors")]
    Levels { expected: usize, got: usize },
    #[error("{got} anchor strides: expected {expected}, one a level")]
    Strides { expected: usize, got: usize },
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
