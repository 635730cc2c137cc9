//! e^x in operations that a processor and a GPU round alike, so that both find the same boxes and scores to the last bit.
//! `common.cuh` has the same lines.

/// e^x within 2e-7 of it, relative (Cephes `expf`: argument reduced by ln 2 in two parts, a polynomial of degree 7); 0 below
/// -87, infinite above 88, NaN stays NaN.
#[inline(always)]
#[expect(
    clippy::excessive_precision,
    clippy::approx_constant,
    reason = "digit by digit those of common.cuh"
)]
pub(super) fn exp(x: f32) -> f32 {
    if x < -87.0 {
        return 0.0;
    }
    if x > 88.0 {
        return f32::INFINITY;
    }
    // Adding and taking off 1.5 * 2^23 leaves the nearest whole number.
    let n = (x * 1.442_695_04 + 12_582_912.0) - 12_582_912.0;
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_15e-4;
    p = p * r + 1.398_199_950_7e-3;
    p = p * r + 8.333_451_907_3e-3;
    p = p * r + 4.166_579_589_4e-2;
    p = p * r + 1.666_666_545_9e-1;
    p = p * r + 5.000_000_120_1e-1;
    p = (p * r * r + r) + 1.0;
    // 2^k in two steps, so that each is a number; `as` takes NaN to 0.
    let k = n as i32;
    let half = k >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) << 23) as u32);
    p * power(half) * power(k - half)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn close_to_the_true_value_everywhere() {
        let mut worst = 0f64;
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            let truth = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - truth).abs() / truth);
        }
        assert!(worst < 2e-7, "{worst:e}");
    }

    #[test]
    fn ends_and_what_is_no_number() {
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(-87.5), exp(f32::NEG_INFINITY)],
            [1.0, 1.0, 0.0, 0.0]
        );
        assert_eq!([exp(88.5), exp(f32::INFINITY)], [f32::INFINITY; 2]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn never_falls_where_the_argument_rises() {
        let mut last = 0.0;
        for i in -870_000..=880_000 {
            let value = exp(i as f32 / 10_000.0);
            assert!(value >= last, "{i}");
            last = value;
        }
    }
}
