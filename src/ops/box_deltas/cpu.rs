//! The plain form, in torchvision's order of operations.

use super::super::NetworkBox;
use super::super::exp::exp;
use super::{BoxCoder, GROWTH_LIMIT};

/// As in [`super::BoxCoder::decode`].
pub(super) fn decode(coder: &BoxCoder, deltas: [f32; 4], reference: &NetworkBox) -> NetworkBox {
    let (weights, extra) = (coder.weights, coder.width.extra());
    let (width, height) = coder.width.sides(reference);
    let (centre_x, centre_y) = (reference.x0 + 0.5 * width, reference.y0 + 0.5 * height);
    // Not f32::min: that would turn NaN into the limit, a box out of nothing.
    let limit = |v: f32| if v > GROWTH_LIMIT { GROWTH_LIMIT } else { v };
    let centre_x = deltas[0] / weights[0] * width + centre_x;
    let centre_y = deltas[1] / weights[1] * height + centre_y;
    let half_width = 0.5 * (exp(limit(deltas[2] / weights[2])) * width);
    let half_height = 0.5 * (exp(limit(deltas[3] / weights[3])) * height);
    NetworkBox::new(
        centre_x - half_width,
        centre_y - half_height,
        centre_x + half_width - extra,
        centre_y + half_height - extra,
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::BoxWidth;
    use super::*;
    use crate::ops::goldens::{assert_boxes, boxes, floats, golden};
    use proptest::prelude::*;

    const OLD: BoxCoder = BoxCoder {
        width: BoxWidth::Inclusive,
        ..BoxCoder::HEADS
    };

    /// The deltas in training that lead from `reference` to `target`.
    fn encode(coder: &BoxCoder, reference: &NetworkBox, target: &NetworkBox) -> [f32; 4] {
        let ((rw, rh), (tw, th)) = (coder.width.sides(reference), coder.width.sides(target));
        let shift = |t: f32, ts: f32, r: f32, rs: f32| ((t + ts / 2.0) - (r + rs / 2.0)) / rs;
        let plain = [
            shift(target.x0, tw, reference.x0, rw),
            shift(target.y0, th, reference.y0, rh),
            (tw / rw).ln(),
            (th / rh).ln(),
        ];
        std::array::from_fn(|i| plain[i] * coder.weights[i])
    }

    #[test]
    fn an_inclusive_box_has_one_pixel_more() {
        // 10 px wide, 20 high; centre (15, 30). Doubled in width: from 5 to the last pixel 24.
        let reference = NetworkBox::new(10.0, 20.0, 19.0, 39.0);
        let b = OLD.decode([0.0, 0.0, 5.0 * 2f32.ln(), 0.0], &reference);
        assert_boxes(&[b], &[NetworkBox::new(5.0, 20.0, 24.0, 39.0)], 1e-5);
        assert_eq!(OLD.decode([0.0; 4], &reference), reference);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            r in (0f32..900.0, 0f32..900.0, 1f32..400.0, 1f32..400.0),
            t in (0f32..900.0, 0f32..900.0, 0.1f32..400.0, 0.1f32..400.0),
        ) {
            let (reference, target) = (
                NetworkBox::new(r.0, r.1, r.0 + r.2, r.1 + r.3),
                NetworkBox::new(t.0, t.1, t.0 + t.2, t.1 + t.3),
            );
            for coder in [BoxCoder::RPN, BoxCoder::HEADS, OLD] {
                let (rw, rh) = coder.width.sides(&reference);
                let (tw, th) = coder.width.sides(&target);
                prop_assume!(tw / rw < 60.0 && th / rh < 60.0); // growth is limited
                let decoded = coder.decode(encode(&coder, &reference, &target), &reference);
                assert_boxes(&[decoded], &[target], 4e-3);
            }
        }

        #[test]
        fn any_bits_decode(deltas in any::<[u32; 4]>(), reference in any::<[u32; 4]>()) {
            let r = reference.map(f32::from_bits);
            for coder in [BoxCoder::RPN, OLD] {
                coder.decode(deltas.map(f32::from_bits), &NetworkBox::new(r[0], r[1], r[2], r[3]));
            }
        }
    }

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
