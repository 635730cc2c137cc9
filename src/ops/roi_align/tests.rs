use super::*;
use crate::ops::goldens::{assert_close, boxes, floats, golden, noise, size};
use half::bf16;
use proptest::prelude::*;

fn op(channels: usize, output_side: usize, sampling: Sampling, alignment: Alignment) -> RoiAlign {
    RoiAlign {
        channels,
        output_side,
        sampling,
        alignment,
        canonical_scale: 224.0,
        canonical_level: 4,
        min_level: 2,
        level_epsilon: 1e-6,
    }
}

/// One channel, not shifted.
fn corner(output_side: usize, samples: usize) -> RoiAlign {
    op(1, output_side, Sampling::Fixed(samples), Alignment::Corner)
}

fn map(features: &[f32], width: u32, height: u32, spatial_scale: f32) -> PyramidLevel<'_, f32> {
    PyramidLevel {
        features,
        grid: ImageSize::new(width, height),
        spatial_scale,
    }
}

fn both<T: Element>(op: &RoiAlign, levels: &[PyramidLevel<'_, T>], rois: &[NetworkBox]) -> (Vec<T>, Vec<T>) {
    // Not zeros: what is not written would show.
    let count = rois.len() * op.values();
    let (mut plain, mut fast) = (vec![T::from_f32(9.0); count], vec![T::from_f32(7.0); count]);
    op.run_plain(levels, rois, &mut plain).unwrap();
    op.run(levels, rois, &mut fast).unwrap();
    (plain, fast)
}

#[test]
fn a_ramp_is_sampled_where_it_should_be() {
    // Features = column + 10 * row on 8 x 6; a RoI of 4 x 2 feature px from (1, 1). Cell (r, c) of 2 x 2 is centred on
    // x = 1 + (c + 0.5) * 2, y = 1 + (r + 0.5) * 1, and the mean of samples around it is the ramp there.
    let ramp: Vec<f32> = (0..48).map(|i| (i % 8) as f32 + 10.0 * (i / 8) as f32).collect();
    let level = map(&ramp, 8, 6, 0.25);
    let roi = NetworkBox::new(4.0, 4.0, 20.0, 12.0);
    let (plain, fast) = both(&corner(2, 2), &[level], &[roi]);
    assert_eq!(plain, [17.0, 19.0, 27.0, 29.0]);
    assert_eq!(fast, plain);
    // Half a cell less each way: 0.5 + 5 on the ramp.
    let half = op(1, 2, Sampling::Fixed(2), Alignment::HalfPixel);
    let (plain, fast) = both(&half, &[level], &[roi]);
    assert_eq!(plain, [11.5, 13.5, 21.5, 23.5]);
    assert_eq!(fast, plain);
}

#[test]
fn outside_the_map_samples_are_zero_and_near_it_the_edge() {
    let ones = [1.0; 16];
    let level = map(&ones, 4, 4, 1.0);
    // One sample a cell: centres at -1.5, -0.5, 0.5, 1.5 across, at 1, 2, 3, 4 down. -0.5 takes the edge, -1.5 nothing.
    let (plain, fast) = both(&corner(4, 1), &[level], &[NetworkBox::new(-2.0, 0.5, 2.0, 4.5)]);
    assert_eq!(plain, [0.0, 1.0, 1.0, 1.0].repeat(4));
    assert_eq!(fast, plain);
    let (plain, fast) = both(&corner(2, 2), &[level], &[NetworkBox::new(50.0, 50.0, 60.0, 60.0)]);
    assert_eq!((plain, fast), (vec![0.0; 4], vec![0.0; 4]));
}

#[test]
fn channels_are_last() {
    // 2 x 1 cells of 3 channels; a RoI whose one sample falls between the two.
    let maps = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0];
    let three = op(3, 1, Sampling::Fixed(1), Alignment::Corner);
    let (plain, fast) = both(&three, &[map(&maps, 2, 1, 1.0)], &[NetworkBox::new(0.0, 0.0, 1.0, 1.0)]);
    assert_eq!((plain, fast), (vec![3.0, 4.0, 5.0], vec![3.0, 4.0, 5.0]));
}

#[test]
fn boxes_that_are_not_finite_pool_to_zeros() {
    let ones = [1.0; 16];
    let level = map(&ones, 4, 4, 1.0);
    let huge = f32::MAX;
    let rois = [
        NetworkBox::new(f32::NAN, 0.0, 2.0, 2.0),
        NetworkBox::new(0.0, 0.0, 2.0, f32::INFINITY),
        NetworkBox::new(f32::NEG_INFINITY, 0.0, f32::INFINITY, 2.0),
        NetworkBox::new(-huge, -huge, huge, huge), // its side is not
    ];
    for sampling in [Sampling::Fixed(2), Sampling::Adaptive] {
        for alignment in [Alignment::Corner, Alignment::HalfPixel] {
            let (plain, fast) = both(&op(1, 1, sampling, alignment), &[level], &rois);
            assert_eq!((plain, fast), (vec![0.0; 4], vec![0.0; 4]));
        }
    }
}

#[test]
fn boxes_without_area_and_inside_out() {
    let ones = [1.0; 16];
    let level = map(&ones, 4, 4, 1.0);
    let rois = [NetworkBox::new(2.0, 2.0, 2.0, 2.0), NetworkBox::new(3.0, 3.0, 1.0, 1.0)];
    let pooled = |sampling, alignment| {
        let (plain, fast) = both(&op(1, 1, sampling, alignment), &[level], &rois);
        assert_eq!(plain, fast);
        plain
    };
    // Sides of at least one feature px.
    assert_eq!(pooled(Sampling::Fixed(2), Alignment::Corner), [1.0, 1.0]);
    assert_eq!(pooled(Sampling::Adaptive, Alignment::Corner), [1.0, 1.0]);
    // Samples on one point, or backwards; no sample.
    assert_eq!(pooled(Sampling::Fixed(2), Alignment::HalfPixel), [1.0, 1.0]);
    assert_eq!(pooled(Sampling::Adaptive, Alignment::HalfPixel), [0.0, 0.0]);
}

#[test]
fn a_huge_roi_is_bounded() {
    // 1e9 px over a map of 40 x 30: cells of 1.4e8 px, in each at most 40 samples across and 30 down.
    let ones = vec![1.0; 1200];
    let level = map(&ones, 40, 30, 0.25);
    let adaptive = op(1, 7, Sampling::Adaptive, Alignment::HalfPixel);
    let axis = Axis::new(&adaptive, [-5e8, 5e8], 0.25, 40).unwrap();
    assert_eq!(axis.samples, 40);
    let rois = [
        NetworkBox::new(-5e8, -5e8, 5e8, 5e8),
        NetworkBox::new(0.0, 0.0, 1e30, 1e30),
    ];
    let (plain, fast) = both(&adaptive, &[level], &rois);
    assert_eq!(plain, fast);
    // The whole picture is sampled once a feature px, the bound does not touch it: 160 / 4 / 7 = 5.7.
    let axis = Axis::new(&adaptive, [0.0, 160.0], 0.25, 40).unwrap();
    assert_eq!(axis.samples, 6);
}

#[test]
fn one_level_takes_every_roi() {
    let ones = [1.0; 16];
    let rois = [
        NetworkBox::new(0.0, 0.0, 1.0, 1.0),
        NetworkBox::new(0.0, 0.0, 900.0, 900.0),
    ];
    let (plain, fast) = both(&corner(1, 1), &[map(&ones, 4, 4, 1.0 / 225.0)], &rois);
    assert_eq!((plain, fast), (vec![1.0, 1.0], vec![1.0, 1.0]));
    let (plain, fast) = both(&corner(1, 1), &[map(&ones, 4, 4, 1.0)], &[]);
    assert_eq!((plain, fast), (vec![], vec![]));
}

#[test]
fn levels_follow_the_pyramid_equation() {
    let level = |side: f32| corner(7, 2).level_of(&NetworkBox::new(0.0, 0.0, side, side), 4);
    let sides = [0.0, 1.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 4000.0];
    assert_eq!(sides.map(level), [0, 0, 0, 1, 1, 2, 2, 3, 3]);
    // Just below the border the epsilon decides.
    let below = NetworkBox::new(0.0, 0.0, 112.0 * 112.0, 1.0 - f32::EPSILON);
    let mut op = corner(7, 2);
    op.level_epsilon = 1e-3;
    assert_eq!(op.level_of(&below, 4), 1);
    op.level_epsilon = 0.0;
    op.canonical_scale = 224.001;
    assert_eq!(op.level_of(&below, 4), 0);
}

#[test]
fn wrong_sizes_are_named() {
    let ones = [1.0; 16];
    let error = corner(2, 2).run(&[map(&ones, 4, 5, 1.0)], &[], &mut []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "level 0: 16 features: expected 20 for 1 channels of 4x5, not empty"
    );
    let level = map(&ones, 4, 4, 1.0);
    let error = corner(2, 2).run(&[level], &[], &mut [0.0]).unwrap_err().to_string();
    assert_eq!(error, "output of 1 values: expected 0 for 0 RoIs");
    let none = op(0, 2, Sampling::Adaptive, Alignment::Corner);
    assert!(none.run(&[level], &[], &mut []).is_err());
    assert!(corner(2, 0).run(&[level], &[], &mut []).is_err());
    assert!(corner(2, 2).run::<f32>(&[], &[], &mut []).is_err());
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
    let levels: Vec<PyramidLevel<'_, f32>> = (0..grids.len())
        .map(|i| map(&maps[i], grids[i].width, grids[i].height, 0.25 / (1 << i) as f32))
        .collect();
    for case in g["cases"].as_array().unwrap() {
        let sampling = match case["sampling_ratio"].as_i64().unwrap() {
            -1 => Sampling::Adaptive,
            n => Sampling::Fixed(n as usize),
        };
        let alignment = match case["aligned"].as_bool().unwrap() {
            true => Alignment::HalfPixel,
            false => Alignment::Corner,
        };
        let mut op = op(
            channels,
            case["output_side"].as_u64().unwrap() as usize,
            sampling,
            alignment,
        );
        op.canonical_scale = case["canonical_scale"].as_f64().unwrap() as f32;
        let (plain, fast) = both(&op, &levels, &rois);
        let expected = floats(&case["pooled"]);
        assert_close(&plain, &expected, 2e-6);
        assert_close(&fast, &expected, 2e-6);
    }
}

fn samplings() -> impl Strategy<Value = Sampling> {
    prop_oneof![(1usize..4).prop_map(Sampling::Fixed), Just(Sampling::Adaptive)]
}

fn alignments() -> impl Strategy<Value = Alignment> {
    prop_oneof![Just(Alignment::Corner), Just(Alignment::HalfPixel)]
}

proptest! {
    #[test]
    fn fast_equals_plain(
        boxes in proptest::collection::vec((-40f32..200.0, -40f32..200.0, -20f32..300.0, -20f32..300.0), 1..8),
        side in 1usize..9, sampling in samplings(), alignment in alignments(), w in 1u32..30, h in 1u32..30,
        channels in prop_oneof![Just(1usize), Just(3), Just(17), Just(64), Just(99)],
    ) {
        let grids = [ImageSize::new(w, h), ImageSize::new(w.div_ceil(2), h.div_ceil(2))];
        let scales = [0.25, 0.125];
        let maps = grids.map(|g| noise(channels * g.area() as usize, 5));
        let rois: Vec<NetworkBox> = boxes.iter().map(|b| NetworkBox::new(b.0, b.1, b.0 + b.2, b.1 + b.3)).collect();
        let op = op(channels, side, sampling, alignment);
        let level = |i: usize| map(&maps[i], grids[i].width, grids[i].height, scales[i]);
        let (plain, fast) = both(&op, &[level(0), level(1)], &rois);
        // Values are below 1, so are weights and their sum.
        assert_close(&fast, &plain, 3e-6);

        let halves = maps.each_ref().map(|m| m.iter().map(|v| bf16::from_f32(*v)).collect::<Vec<bf16>>());
        let level = |i: usize| PyramidLevel { features: &halves[i][..], grid: grids[i], spatial_scale: scales[i] };
        let (plain, fast) = both(&op, &[level(0), level(1)], &rois);
        for (a, b) in fast.iter().zip(&plain) {
            let (a, b) = (a.to_f32(), b.to_f32());
            // A bf16 has 8 bits: the next one is at most 1/128 away; sums near 0 differ by their own rounding.
            prop_assert!((a - b).abs() <= b.abs() / 128.0 + 3e-6, "{} {}", a, b);
        }
    }

    #[test]
    fn any_bits_are_pooled(edges in any::<[u32; 4]>(), sampling in samplings(), alignment in alignments()) {
        let maps = noise(20, 1);
        let e = edges.map(f32::from_bits);
        let roi = NetworkBox::new(e[0], e[1], e[2], e[3]);
        let (plain, fast) = both(&op(1, 3, sampling, alignment), &[map(&maps, 5, 4, 0.25)], &[roi]);
        assert_close(&fast, &plain, 1e-5);
    }
}
