//! RoI max pooling: a region of any size -> S x S cells a channel, each the largest value in it (Fast R-CNN, section 2.1;
//! torchvision `ops.roi_pool`).
//!
//! * RoI edges * spatial scale are rounded to whole feature px, halves away from zero; the last one belongs to the RoI, whose
//!   sides are at least 1.
//! * Output cell `i` of S takes rows `floor(i * side / S) .. ceil((i + 1) * side / S)` from the RoI's first on, cut to the
//!   map; columns alike. Neighbouring cells may share one. Where nothing is left the cell is 0.
//! * NaN is never the largest; where there is nothing else, or only negative infinity, the cell is the least f32.
//!
//! A RoI with a coordinate that is not finite pools to zeros; edges are taken within 2^24 feature px either way.

pub mod check;
pub mod launch;

mod cpu;

use super::roi_align::PyramidLevel;
use super::{Element, NetworkBox};

/// The op's constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoiPool {
    /// C.
    pub channels: usize,
    /// S: 7 for VGG16, 6 for AlexNet.
    pub output_side: usize,
}

/// Why the tensors do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoiPoolError {
    #[error("RoI pooling of {channels} channels to {side}x{side}: expected at least 1 of each")]
    Settings { channels: usize, side: usize },
    #[error("map of {got} features: expected {expected}, not empty")]
    Features { expected: u64, got: usize },
    #[error("output of {got} values: expected {expected} for {rois} RoIs")]
    Output { expected: usize, got: usize, rois: usize },
}

impl RoiPool {
    /// Pools each of `rois` (network px) into `out` [R, S, S, C].
    pub fn run_plain<T: Element>(
        &self,
        map: &PyramidLevel<'_, T>,
        rois: &[NetworkBox],
        out: &mut [T],
    ) -> Result<(), RoiPoolError> {
        self.check_settings()?;
        let (expected, got) = (map.grid.area().saturating_mul(self.channels as u64), map.features.len());
        if expected != got as u64 || expected == 0 {
            return Err(RoiPoolError::Features { expected, got });
        }
        let (expected, got) = (rois.len().saturating_mul(self.values()), out.len());
        if expected != got {
            let rois = rois.len();
            return Err(RoiPoolError::Output { expected, got, rois });
        }
        cpu::roi_pool(self, map, rois, out);
        Ok(())
    }

    /// Values of one pooled RoI.
    fn values(&self) -> usize {
        self.channels
            .saturating_mul(self.output_side)
            .saturating_mul(self.output_side)
    }

    fn check_settings(&self) -> Result<(), RoiPoolError> {
        let RoiPool {
            channels,
            output_side: side,
        } = *self;
        if channels == 0 || side == 0 {
            return Err(RoiPoolError::Settings { channels, side });
        }
        Ok(())
    }
}
