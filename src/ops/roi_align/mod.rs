//! RoIAlign over a feature pyramid: a region of any size -> S x S cells a channel (Mask R-CNN, section 3; torchvision
//! `MultiScaleRoIAlign` over `roi_align(aligned=False)`).
//!
//! * Level of a RoI (FPN paper, equation 1): `floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6)`, clamped to
//!   the levels there are. The area is that in network px.
//! * RoI edges * spatial scale = feature coordinates, where cell centres are at integers (no half-pixel shift: that is
//!   `aligned=False`), sides at least 1.
//! * Each output cell is the mean of `sampling_ratio`^2 evenly spaced bilinear samples. A sample beyond -1 or beyond the
//!   map's side is 0; between there and the map's edge, the edge's value is taken.
//!
//! A RoI with a coordinate that is not finite pools to zeros.

mod cpu;
mod fast;

use super::NetworkBox;
use crate::geometry::ImageSize;

/// What is added before the level is rounded down (torchvision `LevelMapper.eps`).
const LEVEL_EPSILON: f32 = 1e-6;

/// The op's constants.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiAlign {
    /// C.
    pub channels: usize,
    /// S: 7 for the box head, 14 for the mask head.
    pub output_side: usize,
    /// Samples each way in an output cell, >= 1.
    pub sampling_ratio: usize,
    /// A RoI of this side, network px, ...
    pub canonical_scale: f32,
    /// ... is pooled from this level.
    pub canonical_level: u32,
    /// Level number of the first map: 2 for P2.
    pub min_level: u32,
}

/// Features of one level.
#[derive(Debug, Clone, Copy)]
pub struct PyramidLevel<'a> {
    /// [1, C, H, W].
    pub features: &'a [f32],
    /// W x H.
    pub grid: ImageSize,
    /// Feature px in a network px: 1/4 for P2.
    pub spatial_scale: f32,
}

/// Why the tensors do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoiAlignError {
    #[error(
        "RoIAlign of {channels} channels to {side}x{side} with {sampling_ratio} samples and {levels} levels: expected at least 1 of each"
    )]
    Settings {
        channels: usize,
        side: usize,
        sampling_ratio: usize,
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
    /// Pools each of `rois` (network px) into `out` [R, C, S, S], in the current rayon pool.
    pub fn run(&self, levels: &[PyramidLevel<'_>], rois: &[NetworkBox], out: &mut [f32]) -> Result<(), RoiAlignError> {
        self.check(levels, rois.len(), out.len())?;
        fast::roi_align(self, levels, rois, out);
        Ok(())
    }

    /// The same by plain loops: the specification.
    pub fn run_plain(
        &self,
        levels: &[PyramidLevel<'_>],
        rois: &[NetworkBox],
        out: &mut [f32],
    ) -> Result<(), RoiAlignError> {
        self.check(levels, rois.len(), out.len())?;
        cpu::roi_align(self, levels, rois, out);
        Ok(())
    }

    /// Values of one pooled RoI.
    fn values(&self) -> usize {
        self.channels * self.output_side * self.output_side
    }

    /// Index into `levels` of the map a RoI is pooled from.
    fn level_of(&self, roi: &NetworkBox, levels: usize) -> usize {
        let side = (roi.width() * roi.height()).sqrt();
        let level = self.canonical_level as f32 + (side / self.canonical_scale).log2() + LEVEL_EPSILON;
        // `as` takes -inf (no area) to 0 after the clamp, and NaN to 0.
        (level.floor() - self.min_level as f32).clamp(0.0, (levels - 1) as f32) as usize
    }

    fn check(&self, levels: &[PyramidLevel<'_>], rois: usize, got: usize) -> Result<(), RoiAlignError> {
        let RoiAlign {
            channels,
            output_side: side,
            sampling_ratio,
            ..
        } = *self;
        if channels == 0 || side == 0 || sampling_ratio == 0 || levels.is_empty() {
            return Err(RoiAlignError::Settings {
                channels,
                side,
                sampling_ratio,
                levels: levels.len(),
            });
        }
        for (level, PyramidLevel { features, grid, .. }) in levels.iter().enumerate() {
            let (expected, got, grid) = (grid.area() * channels as u64, features.len(), *grid);
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
        let expected = rois * self.values();
        if expected != got {
            return Err(RoiAlignError::Output { expected, got, rois });
        }
        Ok(())
    }
}

/// Samples along one axis of a RoI: where output cell 0 begins and how far apart samples are, feature px.
#[derive(Debug, Clone, Copy)]
struct Axis {
    start: f32,
    bin: f32,
    sampling_ratio: f32,
    cells: u32,
}

/// A bilinear sample on one axis.
#[derive(Debug, Clone, Copy, Default)]
struct Tap {
    low: u32,
    high: u32,
    /// Weights; both 0 outside the map.
    low_weight: f32,
    high_weight: f32,
}

impl Axis {
    /// `None` when an edge is not finite.
    fn new(op: &RoiAlign, low_px: f32, high_px: f32, level: &PyramidLevel<'_>, cells: u32) -> Option<Axis> {
        let (start, end) = (low_px * level.spatial_scale, high_px * level.spatial_scale);
        let length = (end - start).max(1.0);
        let finite = start.is_finite() && end.is_finite();
        finite.then_some(Axis {
            start,
            bin: length / op.output_side as f32,
            sampling_ratio: op.sampling_ratio as f32,
            cells,
        })
    }

    fn tap(&self, bin: usize, sample: usize) -> Tap {
        let at = self.start + bin as f32 * self.bin + (sample as f32 + 0.5) * self.bin / self.sampling_ratio;
        if at < -1.0 || at > self.cells as f32 {
            return Tap::default();
        }
        let at = at.max(0.0);
        let (low, last) = (at as u32, self.cells - 1);
        if low >= last {
            return Tap {
                low: last,
                high: last,
                low_weight: 1.0,
                high_weight: 0.0,
            };
        }
        let fraction = at - low as f32;
        Tap {
            low,
            high: low + 1,
            low_weight: 1.0 - fraction,
            high_weight: fraction,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
