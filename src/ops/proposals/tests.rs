use super::*;
use crate::ops::goldens::{assert_boxes, assert_close, boxes, floats, golden, noise, size};

fn settings() -> RpnSettings {
    RpnSettings {
        anchor_sizes_px: vec![vec![8.0]],
        anchor_ratios: vec![1.0],
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
        anchor_ratios: vec![1.0, 1.0],
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
        anchor_sizes_px: vec![vec![8.0], vec![8.0]],
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
    let settings = RpnSettings {
        anchor_sizes_px: floats(&g["anchor_sizes"]).into_iter().map(|s| vec![s]).collect(),
        anchor_ratios: floats(&g["anchor_ratios"]),
        pre_nms_top_n: n("pre_nms_top_n"),
        post_nms_top_n: n("post_nms_top_n"),
        iou_threshold: g["iou_threshold"].as_f64().unwrap(),
        min_size_px: 1e-3,
    };
    let anchors = settings.anchor_ratios.len();
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
