//! The paste rule: from the network's grid of probabilities to set pixels. Integers only, so that host, device and any
//! client agree bit for bit. This loop is the specification; `ops::paste_masks` is the fast one.
//!
//! Letters: `x0, x1` RoI edges in 1/256 px, `M` the grid's side. Pixel column `j` takes part when `x0 <= 256 j + 128 <
//! x1` and it is inside the frame. `n = 2 M (256 j + 128 - x0) - (x1 - x0)`, `dx = 2 (x1 - x0)`, cell `a = floor(n / dx)`,
//! `fx = n - a dx` the weight of cell `a + 1` and `dx - fx` that of cell `a`. Rows alike with `dy, b, fy`. Cells outside the
//! grid hold 0. `S` = the four cells by their weights; the pixel is set when `2 S >= 255 dx dy`: half counts as set.

use super::{MaskRuns, SoftMask};
use crate::geometry::{ImageSize, LatticeBox};

/// RoI coordinates reach to 65 536 px either way: `2 S` then fits 64 bits.
const REACH: i32 = 65_536 * LatticeBox::STEPS;

/// Why a soft mask cannot be pasted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoftMaskError {
    #[error("soft mask with a grid side of {side}: expected 1 to 256")]
    Side { side: u32 },
    #[error("soft mask with {got} values: expected {expected}, the square of its side {side}")]
    Values { side: u32, expected: usize, got: usize },
    #[error("soft mask RoI {roi:?} is empty or reaches beyond 65536 px")]
    Roi { roi: LatticeBox },
}

impl SoftMask {
    /// Whether the paste rule is defined for this mask.
    pub fn check(&self) -> Result<(), SoftMaskError> {
        let side = self.side;
        if !(1..=256).contains(&side) {
            return Err(SoftMaskError::Side { side });
        }
        let expected = side as usize * side as usize;
        if self.values.len() != expected {
            let got = self.values.len();
            return Err(SoftMaskError::Values { side, expected, got });
        }
        let LatticeBox { x0, y0, x1, y1 } = self.roi;
        let near = [x0, y0, x1, y1].iter().all(|v| (-REACH..=REACH).contains(v));
        if !near || x0 >= x1 || y0 >= y1 {
            return Err(SoftMaskError::Roi { roi: self.roi });
        }
        Ok(())
    }
}

/// One pixel column (or row) inside the RoI.
#[derive(Debug, Clone, Copy)]
struct Sample {
    pixel: u32,
    /// Cell at or before the pixel's centre, -1 ..= side - 1.
    cell: i64,
    /// Weight of the next cell, of `2 * (hi - lo)`.
    weight: i64,
}

/// The pixel columns (rows) whose centre lies in `lo..hi`, 1/256 px, and in `0..limit` px.
fn samples(lo: i32, hi: i32, side: u32, limit: u32) -> impl Iterator<Item = Sample> {
    let (lo, hi) = (i64::from(lo), i64::from(hi));
    let first = (lo - 128 + 255).div_euclid(256).max(0); // ceil((lo - 128) / 256)
    let end = (hi - 128 + 255).div_euclid(256).min(i64::from(limit)); // first centre at or beyond hi
    (first..end.max(first)).map(move |pixel| {
        let n = 2 * i64::from(side) * (256 * pixel + 128 - lo) - (hi - lo);
        let whole = 2 * (hi - lo);
        Sample {
            pixel: pixel as u32,
            cell: n.div_euclid(whole),
            weight: n.rem_euclid(whole),
        }
    })
}

/// Pixels of a soft mask in a frame, by the paste rule. `None` when it sets no pixel, or is no mask
/// ([`SoftMask::check`]).
pub fn paste(soft: &SoftMask, frame: ImageSize) -> Option<MaskRuns> {
    soft.check().ok()?;
    let LatticeBox { x0, y0, x1, y1 } = soft.roi;
    let columns: Vec<Sample> = samples(x0, x1, soft.side, frame.width).collect();
    let rows: Vec<Sample> = samples(y0, y1, soft.side, frame.height).collect();
    let (dx, dy) = (2 * i64::from(x1 - x0), 2 * i64::from(y1 - y0));
    let side = i64::from(soft.side);
    let cell = |b: i64, a: i64| {
        let inside = (0..side).contains(&b) && (0..side).contains(&a);
        if inside {
            i64::from(soft.values[(b * side + a) as usize])
        } else {
            0
        }
    };
    let mut dense = Vec::with_capacity(columns.len() * rows.len());
    for &Sample {
        cell: b, weight: fy, ..
    } in &rows
    {
        for &Sample {
            cell: a, weight: fx, ..
        } in &columns
        {
            let total = (dx - fx) * (dy - fy) * cell(b, a)
                + fx * (dy - fy) * cell(b, a + 1)
                + (dx - fx) * fy * cell(b + 1, a)
                + fx * fy * cell(b + 1, a + 1);
            dense.push(u8::from(2 * total >= 255 * dx * dy));
        }
    }
    let (x, y) = (columns.first()?.pixel, rows.first()?.pixel);
    MaskRuns::from_dense(x, y, columns.len() as u32, rows.len() as u32, &dense)
}

#[cfg(test)]
#[path = "soft_tests.rs"]
mod tests;
