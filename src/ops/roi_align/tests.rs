use super::*;
use crate::ops::goldens::{assert_close, boxes, floats, golden, noise, size};
use proptest::prelude::*;

fn op(channels: usize, output_side: usize, sampling_ratio: usize) -> RoiAlign {
    RoiAlign {
        channels,
        output_side,
        sampling_ratio,
        canonical_scale: 224.0,
        canonical_level: 4,
        min_level: 2,
    }
}

fn both(op: &RoiAlign, levels: &[PyramidLevel<'_>], rois: &[NetworkBox]) -> (Vec<f32>, Vec<f32>) {
    // Not zeros: what is not written would show.
    let (mut plain, mut fast) = (vec![9.0; rois.len() * op.values()], vec![7.0; rois.len() * op.values()]);
    op.run_plain(levels, rois, &mut plain).unwrap();
    op.run(levels, rois, &mut fast).unwrap();
    (plain, fast)
}

#[test]
fn a_ramp_is_sampled_where_it_should_be() {
    // Features = column + 10 * row on 8 x 6; a RoI of 4 x 2 feature px from (1, 1). Cell (r, c) of 2 x 2 is centred on
    // x = 1 + (c + 0.5) * 2, y = 1 + (r + 0.5) * 1, and the mean of samples around it is the ramp there.
    let ramp: Vec<f32> = (0..48).map(|i| (i % 8) as f32 + 10.0 * (i / 8) as f32).collect();
    let level = PyramidLevel {
        features: &ramp,
        grid: ImageSize::new(8, 6),
        spatial_scale: 0.25,
    };
    let roi = NetworkBox::new(4.0, 4.0, 20.0, 12.0);
    let (plain, fast) = both(&op(1, 2, 2), &[level], &[roi]);
    assert_eq!(plain, [17.0, 19.0, 27.0, 29.0]);
    assert_eq!(fast, plain);
}

#[test]
fn outside_the_map_samples_are_zero_and_near_it_the_edge() {
    let ones = [1.0; 16];
    let level = PyramidLevel {
        features: &ones,
        grid: ImageSize::new(4, 4),
        spatial_scale: 1.0,
    };
    // One sample a cell: centres at -1.5, -0.5, 0.5, 1.5 across, at 1, 2, 3, 4 down. -0.5 takes the edge, -1.5 nothing.
    let (plain, fast) = both(&op(1, 4, 1), &[level], &[NetworkBox::new(-2.0, 0.5, 2.0, 4.5)]);
    assert_eq!(plain, [0.0, 1.0, 1.0, 1.0].repeat(4));
    assert_eq!(fast, plain);
    let (plain, fast) = both(&op(1, 2, 2), &[level], &[NetworkBox::new(50.0, 50.0, 60.0, 60.0)]);
    assert_eq!((plain, fast), (vec![0.0; 4], vec![0.0; 4]));
}

#[test]
fn boxes_that_are_not_finite_pool_to_zeros() {
    let ones = [1.0; 16];
    let level = PyramidLevel {
        features: &ones,
        grid: ImageSize::new(4, 4),
        spatial_scale: 1.0,
    };
    let rois = [
        NetworkBox::new(f32::NAN, 0.0, 2.0, 2.0),
        NetworkBox::new(0.0, 0.0, 2.0, f32::INFINITY),
    ];
    let (plain, fast) = both(&op(1, 1, 2), &[level], &rois);
    assert_eq!((plain, fast), (vec![0.0; 2], vec![0.0; 2]));
    // No area: sides of at least one feature px, as torchvision.
    let (plain, _) = both(&op(1, 1, 2), &[level], &[NetworkBox::new(1.0, 1.0, 1.0, 1.0)]);
    assert_eq!(plain, [1.0]);
}

#[test]
fn levels_follow_the_pyramid_equation() {
    let level = |side: f32| op(1, 7, 2).level_of(&NetworkBox::new(0.0, 0.0, side, side), 4);
    let sides = [0.0, 1.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 4000.0];
    assert_eq!(sides.map(level), [0, 0, 0, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn wrong_sizes_are_named() {
    let ones = [1.0; 16];
    let level = PyramidLevel {
        features: &ones,
        grid: ImageSize::new(4, 5),
        spatial_scale: 1.0,
    };
    let error = op(1, 2, 2).run(&[level], &[], &mut []).unwrap_err().to_string();
    assert_eq!(
        error,
        "level 0: 16 features: expected 20 for 1 channels of 4x5, not empty"
    );
    let level = PyramidLevel {
        grid: ImageSize::new(4, 4),
        ..level
    };
    let error = op(1, 2, 2).run(&[level], &[], &mut [0.0]).unwrap_err().to_string();
    assert_eq!(error, "output of 1 values: expected 0 for 0 RoIs");
    assert!(op(0, 2, 2).run(&[level], &[], &mut []).is_err() && op(1, 2, 2).run(&[], &[], &mut []).is_err());
}

#[test]
fn as_torchvision() {
    let g = golden("roi_align.json");
    let rois = boxes(&g["rois"]);
    let channels = g["channels"].as_u64().unwrap() as usize;
    let grids: Vec<ImageSize> = g["grids"].as_array().unwrap().iter().map(size).collect();
    let maps: Vec<Vec<f32>> = grids
        .iter()
        .enumerate()
        .map(|(i, s)| noise(channels * s.area() as usize, i as u32))
        .collect();
    let levels: Vec<PyramidLevel<'_>> = (0..grids.len())
        .map(|i| PyramidLevel {
            features: &maps[i],
            grid: grids[i],
            spatial_scale: 0.25 / (1 << i) as f32,
        })
        .collect();
    for case in g["cases"].as_array().unwrap() {
        let n = |key: &str| case[key].as_u64().unwrap() as usize;
        let mut op = op(channels, n("output_side"), n("sampling_ratio"));
        op.canonical_scale = case["canonical_scale"].as_f64().unwrap() as f32;
        let (plain, fast) = both(&op, &levels, &rois);
        let expected = floats(&case["pooled"]);
        assert_close(&plain, &expected, 2e-6);
        assert_close(&fast, &expected, 2e-6);
    }
}

proptest! {
    #[test]
    fn fast_equals_plain(
        boxes in proptest::collection::vec((-40f32..200.0, -40f32..200.0, 0f32..300.0, 0f32..300.0), 1..12),
        side in 1usize..9, sampling_ratio in 1usize..4, w in 1u32..30, h in 1u32..30,
    ) {
        let grids = [ImageSize::new(w, h), ImageSize::new(w.div_ceil(2), h.div_ceil(2))];
        let maps = grids.map(|g| noise(3 * g.area() as usize, 5));
        let level = |i: usize| PyramidLevel { features: &maps[i], grid: grids[i], spatial_scale: [0.25, 0.125][i] };
        let rois: Vec<NetworkBox> = boxes.iter().map(|b| NetworkBox::new(b.0, b.1, b.0 + b.2, b.1 + b.3)).collect();
        let (plain, fast) = both(&op(3, side, sampling_ratio), &[level(0), level(1)], &rois);
        assert_close(&fast, &plain, 2e-6);
    }
}
