//! The plain form, in torchvision's order of operations.

use super::super::NetworkBox;
use super::GROWTH_LIMIT;

/// As in [`super::BoxCoder::decode`].
pub(super) fn decode(weights: [f32; 4], deltas: [f32; 4], reference: &NetworkBox) -> NetworkBox {
    let (width, height) = (reference.width(), reference.height());
    let (centre_x, centre_y) = (reference.x0 + 0.5 * width, reference.y0 + 0.5 * height);
    // Not f32::min: that would turn NaN into the limit, a box out of nothing.
    let limit = |v: f32| if v > GROWTH_LIMIT { GROWTH_LIMIT } else { v };
    let centre_x = deltas[0] / weights[0] * width + centre_x;
    let centre_y = deltas[1] / weights[1] * height + centre_y;
    let half_width = 0.5 * (limit(deltas[2] / weights[2]).exp() * width);
    let half_height = 0.5 * (limit(deltas[3] / weights[3]).exp() * height);
    NetworkBox::new(
        centre_x - half_width,
        centre_y - half_height,
        centre_x + half_width,
        centre_y + half_height,
    )
}

#[cfg(test)]
mod tests {
    use super::super::BoxCoder;
    use super::*;
    use crate::ops::goldens::{assert_boxes, boxes, floats, golden};

    #[test]
    fn no_deltas_give_the_reference_back() {
        let reference = NetworkBox::new(10.0, 20.0, 30.0, 60.0);
        assert_eq!(BoxCoder::RPN.decode([0.0; 4], &reference), reference);
    }

    #[test]
    fn shifts_are_sides_and_growth_is_exponential() {
        let reference = NetworkBox::new(10.0, 20.0, 30.0, 60.0);
        let b = BoxCoder::HEADS.decode([5.0, -10.0, 5.0 * 2f32.ln(), -5.0 * 2f32.ln()], &reference);
        // Centre (20, 40) + (0.5 * 20, -1 * 40) = (30, 0); 40 wide, 20 high.
        assert_boxes(&[b], &[NetworkBox::new(10.0, -10.0, 50.0, 10.0)], 1e-4);
    }

    #[test]
    fn growth_is_limited_and_nan_stays() {
        let reference = NetworkBox::new(-8.0, -8.0, 8.0, 8.0);
        let b = BoxCoder::RPN.decode([0.0, 0.0, 88.0, f32::NAN], &reference);
        assert!((b.width() - 1000.0).abs() < 0.01 && b.height().is_nan());
    }

    #[test]
    fn as_torchvision() {
        let g = golden("box_deltas.json");
        let (references, deltas) = (boxes(&g["references"]), floats(&g["deltas"]));
        for (key, coder) in [("rpn", BoxCoder::RPN), ("heads", BoxCoder::HEADS)] {
            let decode = |(d, r): (&[f32], &NetworkBox)| coder.decode([d[0], d[1], d[2], d[3]], r);
            let got: Vec<NetworkBox> = deltas.chunks(4).zip(&references).map(decode).collect();
            assert_boxes(&got, &boxes(&g[key]), 2e-6 * 2000.0);
        }
    }
}
