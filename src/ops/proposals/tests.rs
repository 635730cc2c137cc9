use super::super::super::BoxWidth;
use super::super::super::box_deltas::BoxCoder;
use super::super::super::lanes::dispatch_each;
use super::super::{AnchorRounding, Strides, base_anchors, cpu};
use super::*;
use crate::ops::goldens::{assert_boxes, assert_close, boxes, floats, golden, noise, size};
use proptest::prelude::*;

/// One anchor of 8 px.
fn eight() -> Vec<NetworkBox> {
    vec![NetworkBox::new(-4.0, -4.0, 4.0, 4.0)]
}

fn settings() -> RpnSettings {
    RpnSettings {
        base_anchors: vec![eight()],
        strides: Strides::Whole,
        coder: BoxCoder::RPN,
        pre_nms_top_n: 10,
        post_nms_top_n: 10,
        iou_threshold: 0.7,
        min_size_px: 1e-3,
    }
}

fn run(
    settings: RpnSettings,
    levels: &[LevelOutput<'_>],
    network: ImageSize,
    picture: ImageSize,
) -> (Vec<NetworkBox>, Vec<f32>) {
    let (mut boxes, mut scores) = (vec![NetworkBox::new(0.0, 0.0, 9.0, 9.0)], vec![]);
    Proposals::new(settings)
        .run(levels, network, picture, &mut boxes, &mut scores)
        .unwrap();
    (boxes, scores)
}

#[test]
fn the_best_cells_become_boxes_cut_to_the_picture() {
    // 3 x 2 cells of 8 px; anchors of 8 px around each cell's corner; the picture is 20 wide.
    let level = LevelOutput {
        grid: ImageSize::new(3, 2),
        logits: &[-9.0, 0.0, -9.0, -9.0, f32::NAN, 3f32.ln()],
        deltas: &[0.0; 24],
    };
    let top = RpnSettings {
        pre_nms_top_n: 2,
        ..settings()
    };
    let (boxes, scores) = run(top, &[level], ImageSize::new(24, 16), ImageSize::new(18, 16));
    assert_eq!(
        boxes,
        [
            NetworkBox::new(12.0, 4.0, 18.0, 12.0),
            NetworkBox::new(4.0, 0.0, 12.0, 4.0)
        ]
    );
    assert_close(&scores, &[0.75, 0.5], 1e-6);
}

#[test]
fn boxes_outside_the_picture_vanish_and_twins_are_suppressed() {
    // Two anchors of the same shape in one cell, and a cell beyond the picture.
    let two = RpnSettings {
        base_anchors: vec![eight().repeat(2)],
        ..settings()
    };
    let level = LevelOutput {
        grid: ImageSize::new(2, 1),
        logits: &[1.0, 2.0, 1.0, 2.0],
        deltas: &[0.0; 16],
    };
    let (boxes, _) = run(two, &[level], ImageSize::new(64, 32), ImageSize::new(28, 32));
    assert_eq!(boxes, [NetworkBox::new(0.0, 0.0, 4.0, 4.0)]);
}

#[test]
fn levels_compete_only_for_the_last_places() {
    let two = RpnSettings {
        base_anchors: vec![eight(); 2],
        post_nms_top_n: 3,
        ..settings()
    };
    let level = |logits| LevelOutput {
        grid: ImageSize::new(2, 1),
        logits,
        deltas: &[0.0; 8],
    };
    let levels = [level(&[0.5, 2.0]), level(&[1.0, 2.0])];
    let (boxes, scores) = run(two, &levels, ImageSize::new(64, 32), ImageSize::new(64, 32));
    let right = NetworkBox::new(28.0, 0.0, 36.0, 4.0);
    assert_eq!(boxes, [right, right, NetworkBox::new(0.0, 0.0, 4.0, 4.0)]);
    assert_close(&scores, &[0.880797, 0.880797, 0.731_058_6], 1e-6);
}

#[test]
fn wrong_sizes_are_named() {
    let network = ImageSize::new(64, 32);
    let error = |level: LevelOutput<'_>| {
        let (mut boxes, mut scores) = (vec![], vec![]);
        let got = Proposals::new(settings()).run(&[level], network, network, &mut boxes, &mut scores);
        got.unwrap_err().to_string()
    };
    let level = LevelOutput {
        grid: ImageSize::new(2, 1),
        logits: &[0.0; 2],
        deltas: &[0.0; 8],
    };
    assert_eq!(
        error(LevelOutput {
            deltas: &[0.0; 7],
            ..level
        }),
        "level 0: 7 deltas: expected 8 for 1 anchors in each cell of 2x1"
    );
    assert_eq!(
        error(LevelOutput { logits: &[], ..level }),
        "level 0: 0 logits: expected 2 for 1 anchors in each cell of 2x1"
    );
    assert!(
        error(LevelOutput {
            grid: ImageSize::new(0, 1),
            ..level
        })
        .contains("empty")
    );
    let none = Proposals::new(settings()).run(&[], network, network, &mut vec![], &mut vec![]);
    assert_eq!(none, Err(ProposalsError::Levels { expected: 1, got: 0 }));
}

#[test]
fn as_torchvision() {
    let g = golden("proposals.json");
    let n = |key: &str| g[key].as_u64().unwrap() as usize;
    let ratios = floats(&g["anchor_ratios"]);
    let base = |size: f32| base_anchors(&[size], &ratios, AnchorRounding::WholePixels);
    let settings = RpnSettings {
        base_anchors: floats(&g["anchor_sizes"]).into_iter().map(base).collect(),
        strides: Strides::Whole,
        coder: BoxCoder::RPN,
        pre_nms_top_n: n("pre_nms_top_n"),
        post_nms_top_n: n("post_nms_top_n"),
        iou_threshold: g["iou_threshold"].as_f64().unwrap(),
        min_size_px: 1e-3,
    };
    let anchors = ratios.len();
    let grids: Vec<ImageSize> = g["grids"].as_array().unwrap().iter().map(size).collect();
    let scaled = |count: usize, seed: u32, by: f32| noise(count, seed).iter().map(|v| v * by).collect::<Vec<f32>>();
    let maps: Vec<(Vec<f32>, Vec<f32>)> = (0u32..)
        .zip(&grids)
        .map(|(i, grid)| {
            let cells = grid.area() as usize;
            (
                scaled(cells * anchors, 2 * i, 4.0),
                scaled(cells * anchors * 4, 2 * i + 1, 0.75),
            )
        })
        .collect();
    let level = |i: usize| LevelOutput {
        grid: grids[i],
        logits: &maps[i].0,
        deltas: &maps[i].1,
    };
    let levels: Vec<LevelOutput<'_>> = (0..grids.len()).map(level).collect();
    let (found, scores) = run(settings, &levels, size(&g["network"]), size(&g["picture"]));
    assert_close(&scores, &floats(&g["scores"]), 1e-6);
    assert_boxes(&found, &boxes(&g["boxes"]), 2e-4);
}

#[test]
fn fixed_strides_are_one_a_level() {
    // A grid of 3 over 100 px: 33 px a cell when divided, 32 by the network's own account.
    let fixed = RpnSettings {
        strides: Strides::Fixed(vec![32]),
        ..settings()
    };
    let level = LevelOutput {
        grid: ImageSize::new(3, 1),
        logits: &[0.0, 0.0, 5.0],
        deltas: &[0.0; 12],
    };
    let size = ImageSize::new(100, 32);
    let best = |settings| run(settings, &[level], size, size).0[0];
    assert_eq!(best(fixed), NetworkBox::new(60.0, 0.0, 68.0, 4.0));
    assert_eq!(best(settings()), NetworkBox::new(62.0, 0.0, 70.0, 4.0));
    let wrong = RpnSettings {
        strides: Strides::Fixed(vec![32, 64]),
        ..settings()
    };
    let got = Proposals::new(wrong).run(&[level], size, size, &mut vec![], &mut vec![]);
    assert_eq!(got, Err(ProposalsError::Strides { expected: 1, got: 2 }));
}

#[test]
fn inclusive_boxes_end_on_the_last_pixel() {
    let old = RpnSettings {
        coder: BoxCoder {
            width: BoxWidth::Inclusive,
            ..BoxCoder::RPN
        },
        min_size_px: 6.0,
        ..settings()
    };
    let level = LevelOutput {
        grid: ImageSize::new(2, 1),
        logits: &[0.0, 1.0],
        deltas: &[0.0; 8],
    };
    // Cells at 0 and 16 px; 9 px wide, of which 5 lie in the picture on the left, too few.
    let (boxes, _) = run(old, &[level], ImageSize::new(32, 16), ImageSize::new(18, 16));
    assert_eq!(boxes, []);
    let old = RpnSettings {
        coder: BoxCoder {
            width: BoxWidth::Inclusive,
            ..BoxCoder::RPN
        },
        min_size_px: 5.0,
        ..settings()
    };
    let (boxes, _) = run(old, &[level], ImageSize::new(32, 16), ImageSize::new(18, 16));
    assert_eq!(
        boxes,
        [
            NetworkBox::new(12.0, 0.0, 17.0, 4.0),
            NetworkBox::new(0.0, 0.0, 4.0, 4.0)
        ]
    );
}

#[test]
fn what_is_not_a_number_is_never_proposed() {
    let nan = f32::NAN;
    let level = LevelOutput {
        grid: ImageSize::new(4, 1),
        logits: &[nan, f32::INFINITY, 1.0, f32::NEG_INFINITY],
        deltas: &[
            [0.0, 0.0, 0.0, 0.0],
            [0.0, nan, 0.0, 0.0],
            [f32::INFINITY, 0.0, 0.0, 0.0],
            [0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY],
        ]
        .concat(),
    };
    let size = ImageSize::new(64, 32);
    let (boxes, scores) = run(settings(), &[level], size, size);
    assert_eq!((boxes, scores), (vec![], vec![]), "the last one has no height");
    let any = RpnSettings {
        min_size_px: f32::NEG_INFINITY,
        ..settings()
    };
    let (boxes, scores) = run(any, &[level], size, size);
    // Growth is limited to 62.5: 500 px.
    assert_eq!((boxes, scores), (vec![NetworkBox::new(0.0, 0.0, 64.0, 0.0)], vec![0.0]));
}

fn values() -> impl Strategy<Value = f32> {
    prop_oneof![8 => -6.0f32..6.0, 4 => (-3i8..3).prop_map(f32::from), 1 => any::<u32>().prop_map(f32::from_bits)]
}

proptest! {
    #[test]
    fn fast_equals_plain(
        logits in proptest::collection::vec(values(), 60), seed in any::<u32>(), odd in proptest::collection::vec((0usize..240, values()), 0..9),
        pre in 0usize..50, post in 0usize..60, inclusive in any::<bool>(), fixed in any::<bool>(),
        least in prop_oneof![Just(1e-3f32), Just(f32::NEG_INFINITY), Just(f32::MIN_POSITIVE), Just(5.0)],
    ) {
        let mut deltas: Vec<f32> = noise(240, seed);
        odd.iter().for_each(|&(at, value)| deltas[at] = value);
        // 2 anchors a cell: 6 x 4 cells, then 3 x 2.
        let split = 48;
        let level = |w, h, logits, deltas| LevelOutput { grid: ImageSize::new(w, h), logits, deltas };
        let levels = [
            level(6, 4, &logits[..split], &deltas[..4 * split]),
            level(3, 2, &logits[split..], &deltas[4 * split..]),
        ];
        let width = if inclusive { BoxWidth::Inclusive } else { BoxWidth::Continuous };
        let settings = RpnSettings {
            base_anchors: [12.0, 20.0].map(|s| base_anchors(&[s], &[0.5, 2.0], AnchorRounding::Exact)).to_vec(),
            strides: if fixed { Strides::Fixed(vec![8, 16]) } else { Strides::Whole },
            coder: BoxCoder { width, ..BoxCoder::RPN },
            pre_nms_top_n: pre,
            post_nms_top_n: post,
            iou_threshold: 0.6,
            min_size_px: least,
        };
        let (network, picture) = (ImageSize::new(50, 34), ImageSize::new(45, 30));
        let expected = cpu::proposals(&settings, &levels, network, picture);
        let (boxes, scores) = run(settings, &levels, network, picture);
        prop_assert_eq!(boxes.into_iter().zip(scores).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_best_are_found_in_one_pass(
        logits in proptest::collection::vec(values(), 0..2000), rising in any::<bool>(), count in 0usize..300,
    ) {
        let mut logits = logits;
        if rising {
            logits.sort_by(f32::total_cmp);
        }
        let mut all: Vec<u64> = (0u64..)
            .zip(&logits)
            .filter(|(_, v)| !v.is_nan())
            .map(|(i, v)| u64::from(descending_key(*v)) << 32 | i)
            .collect();
        all.sort_unstable();
        all.truncate(count);
        struct Select<'a>(&'a [f32], usize);
        impl Kernel for Select<'_> {
            type Output = Vec<u64>;
            #[inline(always)]
            fn run<L: Lanes>(self) -> Vec<u64> {
                let mut best = vec![1];
                SelectBest { logits: self.0, count: self.1, best: &mut best }.run::<L>();
                best
            }
        }
        dispatch_each(|| Select(&logits, count), |best| assert_eq!(best, all));
    }
}
