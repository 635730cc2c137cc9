//! Network outputs -> instances in source px: the one place where network pixels become results.
//!
//! Two roundings happen here, once: boxes and RoIs to 1/256 px, probabilities to `round(255 p)`. Everything after them is
//! exact.

use std::cmp::Ordering;

use super::{Instance, InstanceMask, MaskRuns, SoftMask};
use crate::geometry::{ImageSize, LatticeBox, Letterbox, NetworkPx, PixelBox};

/// What the box head found, in network px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// 0-based foreground class.
    pub class_id: u32,
    /// [0, 1].
    pub score: f32,
    /// Clipped to the resized picture, as the mask head's RoI was.
    pub bounds: PixelBox<NetworkPx>,
}

/// What the mask head gave: `[detections, side, side]` values of each detection's own class, row-major.
#[derive(Debug, Clone, Copy)]
pub struct MaskGrids<'a> {
    pub side: u32,
    pub values: GridValues<'a>,
}

/// As the network gave them, or already as results hold them.
#[derive(Debug, Clone, Copy)]
pub enum GridValues<'a> {
    /// [0, 1].
    Probabilities(&'a [f32]),
    /// `round(255 p)`.
    Quantised(&'a [u8]),
}

/// Which detections become instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Kept from this score on.
    pub score_threshold: f32,
    /// At most this many, the highest scores.
    pub max_instances: usize,
}

/// Why network outputs cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{got} mask probabilities: expected {expected} for {detections} detections of {side}x{side}")]
    MaskSize {
        detections: usize,
        side: u32,
        expected: usize,
        got: usize,
    },
    #[error("mask grid side {side}: expected 1 to 256")]
    MaskSide { side: u32 },
}

/// Detections (any order) -> instances by descending score; ties by ascending class id, then x0, y0 of the box.
///
/// A box that rounds to nothing inside the frame is no instance, nor is one whose score is not a number. The mask's RoI is
/// the detection box as the network had it: rounded, not clipped. `paste` is the paste rule ([`super::paste`] or a faster
/// one that equals it); it is also told which of `detections` the mask is of.
pub fn decode(
    detections: &[Detection],
    masks: Option<MaskGrids<'_>>,
    letterbox: &Letterbox,
    limits: &Limits,
    mut paste: impl FnMut(usize, &SoftMask, ImageSize) -> Option<MaskRuns>,
) -> Result<Vec<Instance>, DecodeError> {
    if let Some(grids) = &masks {
        grids.check(detections.len())?;
    }
    let frame = letterbox.source;
    let mut kept: Vec<(usize, &Detection, LatticeBox)> = detections
        .iter()
        .enumerate()
        .filter(|(_, d)| d.score >= limits.score_threshold) // false for NaN
        .filter_map(|(index, d)| {
            let source = letterbox.source_from_network(&d.bounds);
            Some((index, d, LatticeBox::round_within(&source, frame)?))
        })
        .collect();
    kept.sort_by(|(_, a, p), (_, b, q)| by_rank((a.score, a.class_id, *p), (b.score, b.class_id, *q)));
    kept.truncate(limits.max_instances);

    let instance = |(index, detection, bounds): (usize, &Detection, LatticeBox)| {
        let roi = LatticeBox::round(&letterbox.source_from_network(&detection.bounds)).unwrap_or(bounds);
        let mask = masks.as_ref().map(|grids| {
            let soft = SoftMask {
                roi,
                side: grids.side,
                values: grids.quantised(index),
            };
            InstanceMask {
                runs: paste(index, &soft, frame),
                soft: Some(soft),
            }
        });
        Instance {
            class_id: detection.class_id,
            score: detection.score,
            bounds,
            mask,
        }
    };
    Ok(kept.into_iter().map(instance).collect())
}

/// The order of results: descending score; ties by ascending class id, then x0, y0 of the box.
pub(super) fn by_rank(a: (f32, u32, LatticeBox), b: (f32, u32, LatticeBox)) -> Ordering {
    let place = |(_, class_id, bounds): (f32, u32, LatticeBox)| (class_id, bounds.x0, bounds.y0);
    b.0.total_cmp(&a.0).then_with(|| place(a).cmp(&place(b)))
}

impl<'a> MaskGrids<'a> {
    /// The values before rounding; none where they came rounded.
    pub fn probabilities(&self) -> &'a [f32] {
        match self.values {
            GridValues::Probabilities(values) => values,
            GridValues::Quantised(_) => &[],
        }
    }

    fn cells(&self) -> usize {
        self.side as usize * self.side as usize
    }

    fn check(&self, detections: usize) -> Result<(), DecodeError> {
        let side = self.side;
        if !(1..=256).contains(&side) {
            return Err(DecodeError::MaskSide { side });
        }
        let got = match self.values {
            GridValues::Probabilities(values) => values.len(),
            GridValues::Quantised(values) => values.len(),
        };
        let expected = detections * self.cells();
        if expected != got {
            return Err(DecodeError::MaskSize {
                detections,
                side,
                expected,
                got,
            });
        }
        Ok(())
    }

    /// `round(255 p)`, halves away from zero; NaN, which a healthy network never gives, counts as 0.
    pub(crate) fn quantised(&self, index: usize) -> Vec<u8> {
        let grid = index * self.cells()..(index + 1) * self.cells();
        match self.values {
            // The product is exact in f64, in f32 it could round onto a half. `as u8` saturates and takes NaN to 0.
            GridValues::Probabilities(values) => {
                let quantised = |&p: &f32| (f64::from(p) * 255.0).round() as u8;
                values[grid].iter().map(quantised).collect()
            }
            GridValues::Quantised(values) => values[grid].to_vec(),
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
