//! Where the samples of a RoI lie along one axis of the map, feature px.

use super::{RoiAlign, Sampling};

/// Where output cell 0 begins, how wide a cell is, how many samples it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    start: f32,
    bin: f32,
    pub samples: usize,
    cells: u32,
}

/// A bilinear sample on one axis.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tap {
    pub low: u32,
    pub high: u32,
    /// Weights; both 0 outside the map.
    pub low_weight: f32,
    pub high_weight: f32,
}

impl Axis {
    /// `edges_px`: low and high edge of the RoI; `cells` >= 1 of the map. `None` when an edge or the side is not finite.
    pub fn new(op: &RoiAlign, edges_px: [f32; 2], spatial_scale: f32, cells: u32) -> Option<Axis> {
        let (shift, least) = op.alignment.shift_and_least();
        let [start, end] = edges_px.map(|edge| edge * spatial_scale - shift);
        let side = end - start;
        if !(start.is_finite() && end.is_finite() && side.is_finite()) {
            return None;
        }
        let bin = side.max(least) / op.output_side as f32;
        let samples = match op.sampling {
            Sampling::Fixed(samples) => samples,
            // `as` takes a negative side to none.
            Sampling::Adaptive => (bin.ceil() as usize).min(cells as usize),
        };
        Some(Axis {
            start,
            bin,
            samples,
            cells,
        })
    }

    /// Sample `sample` of output cell `bin`.
    #[inline(always)]
    pub fn tap(&self, bin: usize, sample: usize) -> Tap {
        let at = self.start + bin as f32 * self.bin + (sample as f32 + 0.5) * self.bin / self.samples as f32;
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
