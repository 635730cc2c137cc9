//! torchvision's own paste rule (`paste_masks_in_image` with a padding of 1, then above 0.5), for comparison with numbers
//! published for its networks. Results that leave this program follow the rule of `instances::soft` instead.
//!
//! The grid M x M gets a border of zeros, the box grows about its middle by (M + 2) / M, its edges are cut off to whole
//! pixels, the last pixel belongs to it, and the grid is resized to it, bilinear, the grid's edges taken beyond its outermost
//! centres. f32 in torchvision's order; sums of four may round otherwise there, which moves only pixels within a few 1e-7
//! of one half.

use crate::geometry::{ImageSize, PixelBox, SourcePx};
use crate::instances::MaskRuns;

/// Zeros around the grid.
const PADDING: usize = 1;
/// A pixel is set above this.
const THRESHOLD: f32 = 0.5;
/// Edges reach this far, px: f32 counts whole pixels up to here.
const REACH: f32 = 16_777_216.0;

/// The set pixels of `probabilities` [side, side] over `bounds` in a picture of `frame`. `None` when there are none, the
/// sizes do not fit, or the box is not finite or beyond 2^24 px.
pub fn paste_torchvision(
    probabilities: &[f32],
    side: usize,
    bounds: &PixelBox<SourcePx>,
    frame: ImageSize,
) -> Option<MaskRuns> {
    if side == 0 || side.checked_mul(side) != Some(probabilities.len()) {
        return None;
    }
    let columns = Resized::new(bounds.x0, bounds.x1, side, frame.width)?;
    let rows = Resized::new(bounds.y0, bounds.y1, side, frame.height)?;
    let cell = |row: usize, column: usize| {
        let inside = |i: usize| i.checked_sub(PADDING).filter(|i| *i < side);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => probabilities[row * side + column],
            _ => 0.0,
        }
    };
    let mut dense = Vec::with_capacity((columns.count() * rows.count()) as usize);
    for row in rows.samples() {
        for column in columns.samples() {
            let across = |r: usize| (1.0 - column.weight) * cell(r, column.low) + column.weight * cell(r, column.high);
            let value = (1.0 - row.weight) * across(row.low) + row.weight * across(row.high);
            dense.push(u8::from(value > THRESHOLD));
        }
    }
    MaskRuns::from_dense(columns.first, rows.first, columns.count(), rows.count(), &dense)
}

/// One axis of the padded grid, resized to whole pixels.
#[derive(Debug)]
struct Resized {
    /// The box's first pixel, which may lie outside the picture.
    start: i64,
    /// Those inside, half open.
    first: u32,
    end: u32,
    /// Padded cells, and how many of them a pixel is.
    cells: usize,
    scale: f32,
}

struct Sample {
    low: usize,
    high: usize,
    /// Of `high`.
    weight: f32,
}

impl Resized {
    fn new(low: f32, high: f32, side: usize, limit: u32) -> Option<Resized> {
        let cells = side + 2 * PADDING;
        let (middle, half) = ((high + low) * 0.5, (high - low) * 0.5);
        let half = half * (cells as f64 / side as f64) as f32;
        let edges = [middle - half, middle + half];
        if !edges.iter().all(|e| e.abs() <= REACH) {
            return None; // NaN among them
        }
        // `as` cuts off towards 0.
        let [start, last] = edges.map(|e| e as i64);
        let pixels = (last - start + 1).max(1);
        let inside = |v: i64| v.clamp(0, i64::from(limit)) as u32;
        Some(Resized {
            start,
            first: inside(start),
            end: inside(last + 1),
            cells,
            scale: cells as f32 / pixels as f32,
        })
    }

    fn count(&self) -> u32 {
        self.end.saturating_sub(self.first)
    }

    fn samples(&self) -> impl Iterator<Item = Sample> {
        (self.first..self.end).map(|pixel| {
            let pixel = (i64::from(pixel) - self.start) as f32;
            let at = (self.scale * (pixel + 0.5) - 0.5).max(0.0);
            let low = (at as usize).min(self.cells - 1);
            Sample {
                low,
                high: (low + 1).min(self.cells - 1),
                weight: (at - low as f32).clamp(0.0, 1.0),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::goldens::{floats, golden, size};

    #[test]
    fn a_full_grid_fades_into_its_border() {
        // 2 x 2 ones become 4 x 4 with zeros around; the box of 4 px grows to 8, of which the last pixel is a ninth: 0..=8.
        // Centres at 4/9 (i + 0.5) - 0.5; above 0.5 across and down: pixels 2 (0.61) to 6.
        let b = PixelBox::new(2.0, 2.0, 6.0, 6.0);
        let got = paste_torchvision(&[1.0; 4], 2, &b, ImageSize::new(20, 20)).unwrap();
        assert_eq!((got.x, got.y, got.width, got.height), (2, 2, 5, 5));
        // Corners: 0.61 * 0.61 < 0.5.
        assert_eq!(got.area(), 21);
    }

    #[test]
    fn what_is_no_mask_pastes_nothing() {
        let frame = ImageSize::new(20, 20);
        let b = |x1: f32| PixelBox::new(2.0, 2.0, x1, 6.0);
        for x1 in [f32::NAN, f32::INFINITY, 1e9, -1e30] {
            assert_eq!(paste_torchvision(&[1.0; 4], 2, &b(x1), frame), None);
        }
        assert_eq!(paste_torchvision(&[1.0; 3], 2, &b(6.0), frame), None);
        assert_eq!(paste_torchvision(&[], 0, &b(6.0), frame), None);
        assert_eq!(paste_torchvision(&[f32::NAN; 4], 2, &b(6.0), frame), None);
        assert_eq!(
            paste_torchvision(&[1.0; 4], 2, &PixelBox::new(50.0, 2.0, 60.0, 6.0), frame),
            None
        );
        assert_eq!(paste_torchvision(&[1.0; 4], 2, &b(6.0), ImageSize::new(0, 20)), None);
    }

    #[test]
    fn as_torchvision() {
        let g = golden("paste_masks.json");
        let (side, frame) = (g["side"].as_u64().unwrap() as usize, size(&g["frame"]));
        let (masks, boxes) = (floats(&g["masks"]), floats(&g["boxes"]));
        let counts = g["counts"].as_array().unwrap();
        assert_eq!(counts.len(), 24);
        let (mut set, mut different) = (0, 0);
        for (i, counts) in counts.iter().enumerate() {
            let counts = counts.as_str().unwrap().as_bytes();
            let expected = MaskRuns::from_counts(0, 0, frame.width, frame.height, counts).unwrap();
            let b = &boxes[4 * i..];
            let bounds = PixelBox::new(b[0], b[1], b[2], b[3]);
            let got = paste_torchvision(&masks[i * side * side..][..side * side], side, &bounds, frame);
            let (got_area, both) = got.map_or((0, 0), |g| (u64::from(g.area()), g.intersection(&expected)));
            set += got_area;
            different += got_area + u64::from(expected.area()) - 2 * both;
        }
        assert!(set > 5000, "{set}");
        assert_eq!(different, 0, "of {set} pixels");
    }
}
