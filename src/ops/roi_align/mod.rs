//! RoIAlign over a feature pyramid: a region of any size -> S x S cells a channel (Mask R-CNN, section 3; torchvision
//! `MultiScaleRoIAlign`, detectron2 `ROIPooler`).
//!
//! * Level of a RoI (FPN paper, equation 1): `floor(canonical_level + log2(sqrt(area) / canonical_scale) + epsilon)`,
//!   clamped to the levels there are. The area is that in network px.
//! * RoI edges * spatial scale = feature coordinates, where cell centres are at integers; [`Alignment`] says whether half a
//!   pixel is taken off.
//! * Each output cell is the mean of evenly spaced bilinear samples. A sample beyond -1 or beyond the map's side is 0;
//!   between there and the map's edge, the edge's value is taken.
//!
//! A RoI with a coordinate that is not finite pools to zeros. Work on a RoI is bounded however large it is: an output cell
//! has at most as many samples each way as the map has cells. A RoI inside the picture never asks for more.

pub mod check;
pub mod launch;

mod axis;
mod cpu;
mod fast;

use super::{Element, NetworkBox};
use crate::geometry::ImageSize;
use axis::Axis;

/// The op's constants.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiAlign {
    /// C.
    pub channels: usize,
    /// S: 7 for the box head, 14 for the mask head.
    pub output_side: usize,
    pub sampling: Sampling,
    pub alignment: Alignment,
    /// A RoI of this side, network px, ...
    pub canonical_scale: f32,
    /// ... is pooled from this level.
    pub canonical_level: u32,
    /// Level number of the first map: 2 for P2.
    pub min_level: u32,
    /// What is added before the level is rounded down: 1e-6 for torchvision (`LevelMapper.eps`), 0 for detectron2.
    pub level_epsilon: f32,
}

/// Samples each way in an output cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// This many, >= 1; 2 in torchvision's models.
    Fixed(usize),
    /// One a feature px: the RoI's side / S, rounded up (torchvision and detectron2 `sampling_ratio` 0 or less). None for a
    /// RoI of no side, which pools to zeros.
    Adaptive,
}

/// Where feature coordinates lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Not shifted, sides at least 1 feature px: torchvision's models, and all before detectron2 (`aligned=False`).
    Corner,
    /// Half a feature px less, so that cell centres are where pixels' are; no least side (`aligned=True`).
    HalfPixel,
}

impl Alignment {
    /// What is taken off an edge, and the least side of a RoI; feature px.
    fn shift_and_least(self) -> (f32, f32) {
        match self {
            Alignment::Corner => (0.0, 1.0),
            Alignment::HalfPixel => (0.5, f32::NEG_INFINITY),
        }
    }
}

/// Features of one level.
#[derive(Debug, Clone, Copy)]
pub struct PyramidLevel<'a, T> {
    /// [H, W, C].
    pub features: &'a [T],
    /// W x H.
    pub grid: ImageSize,
    /// Feature px in a network px: 1/4 for P2.
    pub spatial_scale: f32,
}

/// Why the tensors do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoiAlignError {
    #[error(
        "RoIAlign of {channels} channels to {side}x{side} with {sampling:?} samples and {levels} levels: expected at least 1 of each"
    )]
    Settings {
        channels: usize,
        side: usize,
        sampling: Sampling,
        levels: usize,
    },
    #[error("level {level}: {got} features: expected {expected} for {channels} channels of {grid}, not empty")]
    Features {
        level: usize,
        expected: u64,
        got: usize,
        channels: usize,
        grid: ImageSize,
    },
    #[error("output of {got} values: expected {expected} for {rois} RoIs")]
    Output { expected: usize, got: usize, rois: usize },
}

impl RoiAlign {
    /// Pools each of `rois` (network px) into `out` [R, S, S, C], in the current rayon pool.
    pub fn run<T: Element>(
        &self,
        levels: &[PyramidLevel<'_, T>],
        rois: &[NetworkBox],
        out: &mut [T],
    ) -> Result<(), RoiAlignError> {
        self.check(levels, rois.len(), out.len())?;
        fast::roi_align(self, levels, rois, out);
        Ok(())
    }

    /// The same by plain loops: the specification.
    pub fn run_plain<T: Element>(
        &self,
        levels: &[PyramidLevel<'_, T>],
        rois: &[NetworkBox],
        out: &mut [T],
    ) -> Result<(), RoiAlignError> {
        self.check(levels, rois.len(), out.len())?;
        cpu::roi_align(self, levels, rois, out);
        Ok(())
    }

    /// Values of one pooled RoI.
    fn values(&self) -> usize {
        self.channels
            .saturating_mul(self.output_side)
            .saturating_mul(self.output_side)
    }

    /// Index into `levels` of the map a RoI is pooled from.
    fn level_of(&self, roi: &NetworkBox, levels: usize) -> usize {
        self.level_of_side((roi.width() * roi.height()).sqrt(), levels)
    }

    /// `side`: square root of the area, network px.
    fn level_of_side(&self, side: f32, levels: usize) -> usize {
        let level = self.canonical_level as f32 + (side / self.canonical_scale).log2() + self.level_epsilon;
        // `as` takes -inf (no area) to 0 after the clamp, and NaN to 0.
        (level.floor() - self.min_level as f32).clamp(0.0, (levels - 1) as f32) as usize
    }

    /// Samples across and down; `None` when an edge is not finite.
    fn axes<T>(&self, roi: &NetworkBox, level: &PyramidLevel<'_, T>) -> Option<(Axis, Axis)> {
        let x = Axis::new(self, [roi.x0, roi.x1], level.spatial_scale, level.grid.width)?;
        let y = Axis::new(self, [roi.y0, roi.y1], level.spatial_scale, level.grid.height)?;
        Some((x, y))
    }

    fn check_settings(&self, levels: usize) -> Result<(), RoiAlignError> {
        let RoiAlign {
            channels,
            output_side: side,
            sampling,
            ..
        } = *self;
        if channels == 0 || side == 0 || sampling == Sampling::Fixed(0) || levels == 0 {
            return Err(RoiAlignError::Settings {
                channels,
                side,
                sampling,
                levels,
            });
        }
        Ok(())
    }

    fn check<T>(&self, levels: &[PyramidLevel<'_, T>], rois: usize, got: usize) -> Result<(), RoiAlignError> {
        self.check_settings(levels.len())?;
        let channels = self.channels;
        for (level, PyramidLevel { features, grid, .. }) in levels.iter().enumerate() {
            let (expected, got, grid) = (grid.area().saturating_mul(channels as u64), features.len(), *grid);
            if expected != got as u64 || expected == 0 {
                return Err(RoiAlignError::Features {
                    level,
                    expected,
                    got,
                    channels,
                    grid,
                });
            }
        }
        let expected = rois.saturating_mul(self.values());
        if expected != got {
            return Err(RoiAlignError::Output { expected, got, rois });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
