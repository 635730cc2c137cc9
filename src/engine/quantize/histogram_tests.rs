use proptest::prelude::*;

use super::*;

fn of(values: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(values);
    histogram
}

#[test]
fn methods_are_written_as_they_are_read() {
    for text in ["max", "percentile 99.99", "percentile 100", "entropy"] {
        assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "Max",
        "percentile",
        "percentile 49",
        "percentile 100.1",
        "percentile NaN",
        "max 3",
    ] {
        let error = text.parse::<Method>().unwrap_err();
        assert!(
            error.starts_with(&format!("{text:?} is no calibration method")),
            "{error}"
        );
    }
}

#[test]
fn the_limit_doubles_until_all_fits() {
    let mut h = of(&[0.75, -0.5]);
    assert_eq!((h.limit, h.count()), (1.0, 2));
    h.add(&[1.0]); // a limit is above its values
    assert_eq!(h.limit, 2.0);
    h.add(&[-100.0, 3.0]);
    assert_eq!((h.limit, h.resolution()), (128.0, 128.0 / 8192.0));
    assert_eq!(h.bins.iter().sum::<u64>(), 5);
    assert_eq!(h.range(Method::Max), Range::around_zero(-100.0, 3.0));
}

#[test]
fn a_percentile_cuts_both_ends() {
    // 1000 values -500..499: 1 % is ten of them at each end
    let values: Vec<f32> = (-500..500).map(|i| i as f32).collect();
    let h = of(&values);
    let range = h.range(Method::Percentile(99.0));
    assert!((range.low() - -490.0).abs() <= h.resolution(), "{range:?}");
    assert!((range.high() - 489.0).abs() <= h.resolution(), "{range:?}");
    assert_eq!(h.range(Method::Percentile(100.0)), Range::around_zero(-500.0, 499.0));
    // Of a tensor after ReLU the lower end is zero itself.
    let relu: Vec<f32> = values.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(of(&relu).range(Method::Percentile(99.0)).low(), 0.0);
}

#[test]
fn entropy_leaves_outliers_out_and_keeps_what_is_even() {
    let even: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
    let range = of(&even).range(Method::Entropy);
    assert!(range.low() == 0.0 && range.high() > 0.98, "{range:?}");
    // Two values at 100 among a bell of width 1.
    let bell: Vec<f32> = (0..100_000)
        .map(|i| {
            let u = (f64::from(i) + 0.5) / 100_000.0;
            ((u / (1.0 - u)).ln() * 0.5) as f32
        })
        .chain([100.0, -100.0])
        .collect();
    let range = of(&bell).range(Method::Entropy);
    assert!(range.high() > 2.0 && range.high() < 20.0, "{range:?}");
    assert_eq!(range.low(), -range.high());
}

#[test]
fn nothing_zeros_and_what_is_no_number() {
    for method in [Method::Max, Method::Percentile(99.99), Method::Entropy] {
        assert_eq!(Histogram::default().range(method), Range::ZERO);
        assert_eq!(of(&[0.0; 9]).range(method), Range::ZERO);
    }
    let mut h = of(&[f32::NAN, 1.0, f32::INFINITY]);
    h.add(&[f32::NAN]);
    assert_eq!((h.count(), h.not_finite()), (1, 3));
    assert_eq!(h.range(Method::Max), Range::around_zero(0.0, 1.0));
    let h = of(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE]);
    assert_eq!(h.range(Method::Max), Range::around_zero(f32::MIN, f32::MAX));
    assert_eq!(h.bins.iter().sum::<u64>(), 3);
}

fn values() -> impl Strategy<Value = Vec<f32>> {
    let one = (-1f32..1.0, -20i32..20).prop_map(|(v, e)| v * 2f32.powi(e));
    prop::collection::vec(one, 1..400)
}

proptest! {
    #[test]
    fn the_order_of_values_changes_nothing(mut all in values(), cut in 0usize..400) {
        let whole = of(&all);
        let (a, b) = all.split_at(cut.min(all.len()));
        let mut parts = of(a);
        parts.add(b);
        prop_assert_eq!(&parts, &whole);
        all.reverse();
        let mut single = Histogram::default();
        all.iter().for_each(|&v| single.add(&[v]));
        prop_assert_eq!(single, whole);
    }

    #[test]
    fn a_percentile_is_that_of_the_sorted_values(mut all in values(), percent in 50f64..100.0) {
        let h = of(&all);
        let range = h.range(Method::Percentile(percent));
        all.sort_by(f32::total_cmp);
        let outside = ((1.0 - percent / 100.0) * all.len() as f64).floor() as usize;
        let (low, high) = (all[outside], all[all.len() - 1 - outside]);
        prop_assert!((range.low() - low.min(0.0)).abs() <= h.resolution(), "{:?} {} {}", range, low, high);
        prop_assert!((range.high() - high.max(0.0)).abs() <= h.resolution(), "{:?} {} {}", range, low, high);
    }

    #[test]
    fn no_range_is_wider_than_the_values(all in values(), percent in 50f64..100.0) {
        let h = of(&all);
        let widest = h.range(Method::Max);
        for method in [Method::Percentile(percent), Method::Entropy] {
            let range = h.range(method);
            prop_assert!(range.low() >= widest.low() && range.high() <= widest.high());
        }
        prop_assert_eq!(h.count(), all.len() as u64);
    }
}
