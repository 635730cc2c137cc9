//! Anchors: the reference boxes of each cell of a level (torchvision `AnchorGenerator`).

use super::super::NetworkBox;
use crate::geometry::ImageSize;

/// Anchors of a cell around (0, 0): for each ratio (height / width), for each size, of area size^2, edges rounded to whole
/// pixels, halves to even.
pub fn base_anchors(sizes_px: &[f32], ratios: &[f32]) -> Vec<NetworkBox> {
    let anchor = |ratio: f32, size: f32| {
        let high = ratio.sqrt();
        let (w, h) = (1.0 / high * size, high * size);
        let edge = |v: f32| (v / 2.0).round_ties_even();
        NetworkBox::new(edge(-w), edge(-h), edge(w), edge(h))
    };
    ratios
        .iter()
        .flat_map(|&r| sizes_px.iter().map(move |&s| anchor(r, s)))
        .collect()
}

/// The anchors of one level: those of cell (column, row) lie around (column, row) * stride, the corner of the cell and not
/// its middle. Stride = whole network pixels a cell, each way.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    base: &'a [NetworkBox],
    stride_x: f32,
    stride_y: f32,
}

impl<'a> Anchors<'a> {
    /// `network`: the network's input with its padding. `grid` not empty.
    pub fn new(base: &'a [NetworkBox], grid: ImageSize, network: ImageSize) -> Anchors<'a> {
        let stride = |side: u32, cells: u32| side.checked_div(cells).unwrap_or(0) as f32;
        Anchors {
            base,
            stride_x: stride(network.width, grid.width),
            stride_y: stride(network.height, grid.height),
        }
    }

    /// Anchor `anchor` of cell (`column`, `row`).
    pub fn at(&self, column: usize, row: usize, anchor: usize) -> NetworkBox {
        let (x, y) = (column as f32 * self.stride_x, row as f32 * self.stride_y);
        let b = &self.base[anchor];
        NetworkBox::new(b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::goldens::{boxes, floats, golden, size};

    #[test]
    fn a_size_of_32_in_three_shapes() {
        let expected = [
            [-23.0, -11.0, 23.0, 11.0],
            [-16.0, -16.0, 16.0, 16.0],
            [-11.0, -23.0, 11.0, 23.0],
        ];
        let expected = expected.map(|[x0, y0, x1, y1]| NetworkBox::new(x0, y0, x1, y1));
        assert_eq!(base_anchors(&[32.0], &[0.5, 1.0, 2.0]), expected);
    }

    #[test]
    fn halves_round_to_even() {
        let b = base_anchors(&[5.0, 7.0], &[1.0]);
        assert_eq!((b[0].x1, b[1].x1), (2.0, 4.0));
    }

    #[test]
    fn as_torchvision_in_its_order() {
        let g = golden("anchors.json");
        let ratios = floats(&g["ratios"]);
        let mut got = Vec::new();
        for level in g["levels"].as_array().unwrap() {
            let (grid, base) = (size(&level["grid"]), base_anchors(&floats(&level["sizes"]), &ratios));
            let anchors = Anchors::new(&base, grid, size(&g["network"]));
            for row in 0..grid.height as usize {
                for column in 0..grid.width as usize {
                    got.extend((0..base.len()).map(|a| anchors.at(column, row, a)));
                }
            }
        }
        assert_eq!(got, boxes(&g["anchors"]));
    }
}
