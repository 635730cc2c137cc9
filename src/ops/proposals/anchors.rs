//! Anchors: the reference boxes of each cell of a level (torchvision `AnchorGenerator`, detectron2
//! `DefaultAnchorGenerator`).

use super::super::NetworkBox;

/// Where the edges of an anchor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnchorRounding {
    /// On whole pixels, halves to even; for each ratio, all sizes: torchvision.
    WholePixels,
    /// Where they are; for each size, all ratios: detectron2.
    Exact,
}

/// Anchors of a cell around (0, 0), of area size^2, for all of `sizes_px` and `ratios` (height / width), in the order that
/// `rounding` says.
pub fn base_anchors(sizes_px: &[f32], ratios: &[f32], rounding: AnchorRounding) -> Vec<NetworkBox> {
    match rounding {
        AnchorRounding::WholePixels => {
            let anchor = |ratio: f32, size: f32| {
                let high = ratio.sqrt();
                let (w, h) = (1.0 / high * size, high * size);
                let edge = |v: f32| (v / 2.0).round_ties_even();
                NetworkBox::new(edge(-w), edge(-h), edge(w), edge(h))
            };
            let of_ratio = |&ratio: &f32| sizes_px.iter().map(move |&size| anchor(ratio, size));
            ratios.iter().flat_map(of_ratio).collect()
        }
        AnchorRounding::Exact => {
            let anchor = |size: f32, ratio: f32| {
                let (size, ratio) = (f64::from(size), f64::from(ratio));
                let w = (size * size / ratio).sqrt();
                let (x, y) = ((w / 2.0) as f32, (ratio * w / 2.0) as f32);
                NetworkBox::new(-x, -y, x, y)
            };
            let of_size = |&size: &f32| ratios.iter().map(move |&ratio| anchor(size, ratio));
            sizes_px.iter().flat_map(of_size).collect()
        }
    }
}

/// The anchors of one level: those of cell (column, row) lie around (column, row) * stride, the corner of the cell and not
/// its middle.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    base: &'a [NetworkBox],
    stride_x: f32,
    stride_y: f32,
}

impl<'a> Anchors<'a> {
    /// `strides`: network px from a cell to the next, across and down.
    pub fn new(base: &'a [NetworkBox], strides: [u32; 2]) -> Anchors<'a> {
        let [stride_x, stride_y] = strides.map(|s| s as f32);
        Anchors {
            base,
            stride_x,
            stride_y,
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
    use super::super::RpnSettings;
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
        assert_eq!(
            base_anchors(&[32.0], &[0.5, 1.0, 2.0], AnchorRounding::WholePixels),
            expected
        );
    }

    #[test]
    fn halves_round_to_even() {
        let b = base_anchors(&[5.0, 7.0], &[1.0], AnchorRounding::WholePixels);
        assert_eq!((b[0].x1, b[1].x1), (2.0, 4.0));
    }

    #[test]
    fn exact_anchors_keep_their_area() {
        let b = base_anchors(&[32.0, 64.0], &[0.25, 1.0], AnchorRounding::Exact);
        let expected = [[32.0, 8.0], [16.0, 16.0], [64.0, 16.0], [32.0, 32.0]];
        assert_eq!(b, expected.map(|[x, y]| NetworkBox::new(-x, -y, x, y)));
    }

    #[test]
    fn as_torchvision_in_its_order() {
        let g = golden("anchors.json");
        let ratios = floats(&g["ratios"]);
        let mut got = Vec::new();
        for level in g["levels"].as_array().unwrap() {
            let (grid, sizes) = (size(&level["grid"]), floats(&level["sizes"]));
            let mut settings = RpnSettings::torchvision();
            settings.base_anchors = vec![base_anchors(&sizes, &ratios, AnchorRounding::WholePixels)];
            let anchors = settings.anchors(0, grid, size(&g["network"]));
            for row in 0..grid.height as usize {
                for column in 0..grid.width as usize {
                    got.extend((0..settings.base_anchors[0].len()).map(|a| anchors.at(column, row, a)));
                }
            }
        }
        assert_eq!(got, boxes(&g["anchors"]));
    }
}
