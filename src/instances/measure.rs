//! What a robot uses of an instance without looking at pixels: area, centroid, contact, which frame edges it touches.
//! Computed in f64, published as f32. Corner origin, px of the frame.

use super::{Instance, MaskRuns};
use crate::geometry::{ImageSize, LatticeBox};

/// What centroid and contact were measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasuredFrom {
    /// Set pixels of the mask.
    Mask,
    /// The box: its centre, and the middle of its lower edge.
    Box,
}

/// Frame edges that a mask (or box) reaches: its extent may be truncated there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Borders(u32);

impl Borders {
    pub const NONE: Borders = Borders(0);
    pub const LEFT: Borders = Borders(1);
    pub const TOP: Borders = Borders(2);
    pub const RIGHT: Borders = Borders(4);
    pub const BOTTOM: Borders = Borders(8);

    /// The bits as published in `Instance.borders`.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether all edges of `other` are among these.
    pub fn contains(self, other: Borders) -> bool {
        self.0 & other.0 == other.0
    }

    fn of(reached: [bool; 4]) -> Borders {
        let all = [Borders::LEFT, Borders::TOP, Borders::RIGHT, Borders::BOTTOM];
        Borders(all.iter().zip(reached).filter(|(_, r)| *r).map(|(b, _)| b.0).sum())
    }
}

/// Measurements of one instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurements {
    pub measured_from: MeasuredFrom,
    /// Set pixels; 0 when measured from the box.
    pub area_px: u32,
    /// Mean of the centres of the set pixels.
    pub centroid_x_px: f64,
    pub centroid_y_px: f64,
    /// Lowest row of the mask: middle of its extreme pixels, lower edge of the row.
    pub contact_x_px: f64,
    pub contact_y_px: f64,
    pub borders: Borders,
}

impl Measurements {
    /// From the set pixels; `None` when there are none.
    pub fn of_runs(runs: &MaskRuns, frame: ImageSize) -> Option<Measurements> {
        let ((x0, x1), (y0, y1)) = runs.extent()?;
        // Twice the sums of the pixel centres, in integers: exact whatever the order. 16384^2 pixels need 43 bits.
        let (mut area, mut sum_x, mut sum_y) = (0u64, 0u128, 0u128);
        let (mut low_first, mut low_last) = (None, 0);
        for span in runs.spans() {
            let pixels = u64::from(span.row_end - span.row_start);
            area += pixels;
            sum_x += u128::from(pixels) * (2 * u128::from(span.column) + 1);
            // Odd numbers 2 i + 1 from row_start to row_end - 1: a difference of squares.
            sum_y += u128::from(span.row_end).pow(2) - u128::from(span.row_start).pow(2);
            if span.row_end == y1 {
                low_first.get_or_insert(span.column);
                low_last = span.column;
            }
        }
        let low_first = low_first?;
        Some(Measurements {
            measured_from: MeasuredFrom::Mask,
            area_px: u32::try_from(area).unwrap_or(u32::MAX),
            centroid_x_px: sum_x as f64 / (2 * area) as f64,
            centroid_y_px: sum_y as f64 / (2 * area) as f64,
            contact_x_px: (f64::from(low_first) + f64::from(low_last) + 1.0) / 2.0,
            contact_y_px: f64::from(y1),
            borders: Borders::of([x0 == 0, y0 == 0, x1 >= frame.width, y1 >= frame.height]),
        })
    }

    /// From the box alone, as on `result/boxes`.
    pub fn of_box(bounds: &LatticeBox, frame: ImageSize) -> Measurements {
        let step = f64::from(LatticeBox::STEPS);
        let middle = |a: i32, b: i32| (f64::from(a) + f64::from(b)) / (2.0 * step);
        let reaches = |edge: i32, side: u32| i64::from(edge) >= i64::from(LatticeBox::STEPS) * i64::from(side);
        let LatticeBox { x0, y0, x1, y1 } = *bounds;
        Measurements {
            measured_from: MeasuredFrom::Box,
            area_px: 0,
            centroid_x_px: middle(x0, x1),
            centroid_y_px: middle(y0, y1),
            contact_x_px: middle(x0, x1),
            contact_y_px: f64::from(y1) / step,
            borders: Borders::of([x0 <= 0, y0 <= 0, reaches(x1, frame.width), reaches(y1, frame.height)]),
        }
    }
}

impl Instance {
    /// From the mask where it sets a pixel, else from the box.
    pub fn measure(&self, frame: ImageSize) -> Measurements {
        let runs = self.mask.as_ref().and_then(|mask| mask.runs.as_ref());
        runs.and_then(|runs| Measurements::of_runs(runs, frame))
            .unwrap_or_else(|| Measurements::of_box(&self.bounds, frame))
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
