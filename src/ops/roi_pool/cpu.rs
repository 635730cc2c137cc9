//! The plain loops, as torchvision's kernel has them.

use std::ops::Range;

use super::{Element, NetworkBox, PyramidLevel, RoiPool};

/// Edges are taken within this many feature px.
const REACH: f32 = 16_777_216.0;

pub(super) fn roi_pool<T: Element>(op: &RoiPool, map: &PyramidLevel<'_, T>, rois: &[NetworkBox], out: &mut [T]) {
    let (side, channels) = (op.output_side, op.channels);
    for (roi, out) in rois.iter().zip(out.chunks_exact_mut(op.values())) {
        let rows = Axis::new([roi.y0, roi.y1], map.spatial_scale, side, map.grid.height);
        let columns = Axis::new([roi.x0, roi.x1], map.spatial_scale, side, map.grid.width);
        let (Some(rows), Some(columns)) = (rows, columns) else {
            out.fill(T::default());
            continue;
        };
        for (index, value) in out.iter_mut().enumerate() {
            let (row, column, channel) = (index / (side * channels), index / channels % side, index % channels);
            let (rows, columns) = (rows.cell(row), columns.cell(column));
            let empty = rows.is_empty() || columns.is_empty();
            let mut largest = if empty { 0.0 } else { f32::MIN };
            for y in rows {
                for x in columns.clone() {
                    let feature = map.features[(y * map.grid.width as usize + x) * channels + channel].to_f32();
                    if feature > largest {
                        largest = feature;
                    }
                }
            }
            *value = T::from_f32(largest);
        }
    }
}

/// Where the output cells of a RoI lie along one axis, feature px.
struct Axis {
    start: i32,
    bin: f32,
    cells: i32,
}

impl Axis {
    fn new(edges_px: [f32; 2], spatial_scale: f32, side: usize, cells: u32) -> Option<Axis> {
        let [start, end] = edges_px.map(|edge| (edge * spatial_scale).round()); // halves away from zero
        if !(start.is_finite() && end.is_finite()) {
            return None;
        }
        let [start, end] = [start, end].map(|edge| edge.clamp(-REACH, REACH) as i32);
        Some(Axis {
            start,
            bin: (end - start + 1).max(1) as f32 / side as f32,
            cells: i32::try_from(cells).unwrap_or(i32::MAX),
        })
    }

    /// Rows (columns) of the map in output cell `index`.
    fn cell(&self, index: usize) -> Range<usize> {
        let from = (index as f32 * self.bin).floor() as i32 + self.start;
        let to = ((index + 1) as f32 * self.bin).ceil() as i32 + self.start;
        from.clamp(0, self.cells) as usize..to.clamp(0, self.cells) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::RoiPoolError;
    use super::*;
    use crate::geometry::ImageSize;

    /// 6 columns and 4 rows of one channel: value = 10 row + column.
    fn tens() -> Vec<f32> {
        (0..24).map(|i| (10 * (i / 6) + i % 6) as f32).collect()
    }

    fn pool(features: &[f32], side: usize, spatial_scale: f32, roi: [f32; 4]) -> Vec<f32> {
        let op = RoiPool {
            channels: 1,
            output_side: side,
        };
        let map = PyramidLevel {
            features,
            grid: ImageSize::new(6, 4),
            spatial_scale,
        };
        let mut out = vec![9.0; side * side];
        let [x0, y0, x1, y1] = roi;
        op.run_plain(&map, &[NetworkBox::new(x0, y0, x1, y1)], &mut out)
            .unwrap();
        out
    }

    #[test]
    fn each_cell_is_the_largest_value_in_it() {
        // Columns 1..=4 and rows 0..=3: two by two of two by two.
        assert_eq!(pool(&tens(), 2, 1.0, [1.0, 0.0, 4.0, 3.0]), [12.0, 14.0, 32.0, 34.0]);
        // Three columns in two cells: 0..2 and 1..3 share column 1.
        assert_eq!(pool(&tens(), 2, 1.0, [0.0, 0.0, 2.0, 1.0]), [1.0, 2.0, 11.0, 12.0]);
        // Half the scale; 2.5 px and 4.5 px round to 3 and 5: halves go away from zero.
        assert_eq!(pool(&tens(), 1, 0.5, [5.0, 0.0, 9.0, 0.0]), [5.0]);
        // Smaller than the output: one feature px fills all cells.
        assert_eq!(pool(&tens(), 2, 1.0, [2.0, 1.0, 2.0, 1.0]), [12.0; 4]);
        // Edges in the wrong order: one feature px at the first.
        assert_eq!(pool(&tens(), 1, 1.0, [3.0, 2.0, 1.0, 0.0]), [23.0]);
    }

    #[test]
    fn beyond_the_map_is_nothing_and_nothing_is_0() {
        // Columns -2..=1: the first cell has none of the map.
        assert_eq!(pool(&tens(), 2, 1.0, [-2.0, 0.0, 1.0, 1.0]), [0.0, 1.0, 0.0, 11.0]);
        assert_eq!(pool(&tens(), 1, 1.0, [7.0, 0.0, 9.0, 3.0]), [0.0]);
        assert_eq!(pool(&tens(), 1, 1.0, [-1e30, -1e30, 1e30, 1e30]), [35.0]);
        for edge in [f32::NAN, f32::INFINITY] {
            assert_eq!(pool(&tens(), 2, 1.0, [0.0, 0.0, edge, 3.0]), [0.0; 4]);
        }
    }

    #[test]
    fn nan_is_never_the_largest() {
        let mut features = tens();
        features[1] = f32::NAN;
        assert_eq!(pool(&features, 1, 1.0, [0.0, 0.0, 1.0, 0.0]), [0.0]);
        assert_eq!(pool(&features, 1, 1.0, [1.0, 0.0, 1.0, 0.0]), [f32::MIN]);
        features[1] = -3.0;
        assert_eq!(pool(&features, 1, 1.0, [1.0, 0.0, 1.0, 0.0]), [-3.0]);
    }

    #[test]
    fn wrong_sizes_are_named() {
        let op = RoiPool {
            channels: 2,
            output_side: 2,
        };
        let map = PyramidLevel {
            features: &[0.0f32; 7],
            grid: ImageSize::new(2, 2),
            spatial_scale: 1.0,
        };
        let short = op.run_plain(&map, &[], &mut []).unwrap_err();
        assert_eq!(short, RoiPoolError::Features { expected: 8, got: 7 });
        let map = PyramidLevel {
            features: &[0.0f32; 8],
            ..map
        };
        let none = op.run_plain(&map, &[], &mut [0.0]).unwrap_err();
        assert_eq!(none.to_string(), "output of 1 values: expected 0 for 0 RoIs");
    }
}
