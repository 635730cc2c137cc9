//! Drawn pictures, cut into tiles by a finder that is never wrong about the pixels it sees, must come back to the bit.

use std::collections::BTreeMap;

use super::scene::{Kind, Random, Scene, Shape, box_of, discs, instance, runs_of, scattered, tiling};
use super::*;
use crate::geometry::Tiling;

fn rectangle(columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) -> MaskRuns {
    MaskRuns::rectangle(columns, rows).unwrap()
}

fn runs(instance: &Instance) -> &MaskRuns {
    instance.mask.as_ref().unwrap().runs.as_ref().unwrap()
}

fn masks(instances: &[Instance]) -> Vec<MaskRuns> {
    let mut masks: Vec<MaskRuns> = instances.iter().map(|i| runs(i).clone()).collect();
    masks.sort_by_key(|m| (m.x, m.y, m.width, m.height, m.runs.len()));
    masks
}

#[track_caller]
fn assert_drawn(scene: &Scene, merged: &[Instance]) {
    let whole: Vec<Instance> = scene.whole().into_iter().map(|runs| instance(0, 0.9, runs)).collect();
    assert_eq!(merged.len(), whole.len(), "objects");
    for (i, (got, drawn)) in masks(merged).iter().zip(masks(&whole)).enumerate() {
        assert!(
            *got == drawn,
            "object {i}: {} px at ({}, {}) instead of {} px at ({}, {})",
            got.area(),
            got.x,
            got.y,
            drawn.area(),
            drawn.x,
            drawn.y
        );
    }
    for found in merged {
        assert_eq!(found.bounds, box_of(runs(found)));
    }
}

#[test]
fn scattered_objects_come_back_to_the_bit() {
    for (seed, objects, largest_px) in [(1, 400, 400.0), (2, 400, 400.0), (3, 700, 60.0)] {
        let scene = scattered(seed, objects, largest_px);
        let found = scene.found(&tiling(), |_, _, _, found| Some(found));
        let pieces: usize = found.iter().map(|(_, i)| i.len()).sum();
        assert!(
            pieces > usize::from(objects) * 3 / 2,
            "{pieces} pieces: too few on seams"
        );
        assert_drawn(&scene, &merge_tiles(scene.size, found));
    }
}

#[test]
fn scores_and_other_tilings_change_no_pixel() {
    let scene = scattered(4, 250, 300.0);
    for (tile, overlap) in [(512, 64), (256, 0), (256, 128), (700, 128), (2047, 1)] {
        let tiling = Tiling::new(tile, overlap).unwrap();
        let mut random = Random(u64::from(tile));
        let found = scene.found(&tiling, |_, _, _, mut found| {
            found.score = random.real(0.3, 1.0) as f32;
            Some(found)
        });
        let merged = merge_tiles(scene.size, found);
        assert!(merged.windows(2).all(|w| w[0].score >= w[1].score));
        if overlap > 0 {
            assert_drawn(&scene, &merged);
        } else {
            // Nothing is shown twice, so nothing tells which pieces belong together.
            assert!(merged.len() > 250);
        }
    }
}

#[test]
fn objects_larger_than_a_tile_are_put_together() {
    let mut scene = Scene::new(2048, 1500);
    let shape = |kind, a, b, angle| Shape {
        kind,
        half: (a, b),
        angle,
    };
    assert!(scene.draw(shape(Kind::Round, 520.0, 520.0, 0.0), 700.0, 740.0));
    assert!(scene.draw(shape(Kind::Bar, 700.0, 5.0, 1.2), 1500.0, 760.0));
    assert!(scene.draw(shape(Kind::Bar, 900.0, 12.0, 0.0), 1000.0, 1440.0));
    assert!(scene.draw(shape(Kind::Round, 80.0, 500.0, 0.0), 1950.0, 700.0));
    let merged = merge_tiles(scene.size, scene.found(&tiling(), |_, _, _, found| Some(found)));
    assert_drawn(&scene, &merged);
}

#[test]
fn touching_neighbours_stay_two() {
    let mut scene = Scene::new(1000, 900);
    // Tiles begin at 0, 244, 488 and at 0, 194, 388; they end at 512, 756 and at 512, 706.
    scene.fill(420..500, 100..160); // side by side within what two tiles share
    scene.fill(500..580, 100..160);
    scene.fill(470..512, 300..340); // the border between them is the end of a tile
    scene.fill(512..560, 300..340);
    scene.fill(440..540, 480..512); // one above the other
    scene.fill(440..540, 512..560);
    scene.fill(200..760, 600..620); // long ones, both larger than what is shared
    scene.fill(200..760, 620..640);
    let merged = merge_tiles(scene.size, scene.found(&tiling(), |_, _, _, found| Some(found)));
    assert_eq!(merged.len(), 8);
    assert_drawn(&scene, &merged);
}

#[test]
fn a_tile_that_found_nothing_leaves_what_the_others_saw() {
    let scene = discs(5, 400);
    let whole = scene.whole();
    let tiling = tiling();
    let tiles = tiling.tiles(scene.size);
    let (mut lost, mut less) = (0, 0);
    for blind in 0..tiles.len() {
        let found = scene.found(&tiling, |index, _, _, found| (index != blind).then_some(found));
        let mut merged = masks(&merge_tiles(scene.size, found));
        let mut parts: BTreeMap<u16, Vec<MaskRuns>> = BTreeMap::new();
        for (_, tile) in tiles.iter().enumerate().filter(|(i, _)| *i != blind) {
            for (label, mut runs) in scene.parts(tile) {
                (runs.x, runs.y) = (runs.x + tile.x, runs.y + tile.y);
                parts.entry(label).or_default().push(runs);
            }
        }
        for (label, parts) in parts {
            let seen = MaskRuns::union(&parts).unwrap();
            let share = f64::from(seen.area()) / f64::from(whole[usize::from(label) - 1].area());
            // The blind tile shows the rest, and says that there is nothing: slivers are not believed then.
            let lies_in_it = |m: &MaskRuns| m.intersection(&seen) == u64::from(m.area());
            match merged.iter().position(lies_in_it) {
                Some(found) => {
                    let found = merged.remove(found);
                    assert!(share < 1.0 || found == seen, "tile {blind}: {label} was seen whole");
                    assert!(
                        found.area() * 2 > seen.area(),
                        "tile {blind}: {share:.2} of {label} was seen"
                    );
                }
                None => assert!(share < 0.55, "tile {blind}: {share:.2} of {label} was seen"),
            }
            less += usize::from(share < 1.0);
            lost += usize::from(share < 0.55);
        }
        assert_eq!(merged, [], "tile {blind}: nothing else");
    }
    assert!(
        less > 80 && lost > 30,
        "{less} objects seen in part, {lost} of them less than half"
    );
}

#[test]
fn slivers_count_only_where_no_tile_shows_more() {
    // At 488, where the right tile begins; the left one shows 512 columns and nothing there.
    let at_border = |columns| instance(0, 0.9, rectangle(columns, 40..50));
    assert_eq!(beside(vec![], vec![at_border(0..5)]), []);
    let half = MaskRuns::rectangle(488..494, 40..50).unwrap();
    assert_eq!(beside(vec![], vec![at_border(0..6)]), [instance(0, 0.9, half)]);
    // A long one is cut too, but the left tile does not show all of it.
    let long = instance(0, 0.9, rectangle(0..23, 20..90));
    assert_eq!(beside(vec![], vec![long]).len(), 1);
    // At the picture's own border nothing is cut.
    let edge = instance(0, 0.9, rectangle(0..3, 40..50));
    assert_eq!(beside(vec![edge.clone()], vec![]), [edge]);
}

/// What a network does: masks a pixel off, nothing of slivers, scores that follow what is seen.
#[test]
fn unsteady_masks_of_real_sizes_are_counted_right() {
    let scene = scattered(6, 400, 130.0);
    let whole = scene.whole();
    let mut random = Random(6);
    let found = scene.found(&tiling(), |_, tile, label, found| {
        let drawn = runs(&found);
        let share = drawn.area() as f64 / whole[usize::from(label) - 1].area() as f64;
        if share < 0.15 || drawn.width < 6 || drawn.height < 6 {
            return None;
        }
        let (dx, dy) = (random.below(3) as i64 - 1, random.below(3) as i64 - 1);
        let (w, h) = (i64::from(tile.size.width), i64::from(tile.size.height));
        let moved = drawn
            .spans()
            .flat_map(|s| (s.row_start..s.row_end).map(move |y| (i64::from(s.column) + dx, i64::from(y) + dy)))
            .filter(|(x, y)| (0..w).contains(x) && (0..h).contains(y));
        let score = random.real(0.5, 0.6 + 0.4 * share) as f32;
        Some(instance(0, score, runs_of(moved.collect())))
    });
    let merged = merge_tiles(scene.size, found);
    let mut matched = vec![0; whole.len()];
    for found in &merged {
        let mask = runs(found);
        let iou = |drawn: &MaskRuns| {
            let both = mask.intersection(drawn);
            both as f64 / (u64::from(mask.area()) + u64::from(drawn.area()) - both) as f64
        };
        let (best, iou) = whole
            .iter()
            .map(iou)
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        assert!(iou >= 0.5, "{iou:.2} of {} px at ({}, {})", mask.area(), mask.x, mask.y);
        matched[best] += 1;
    }
    assert!(matched.iter().all(|&n| n == 1), "{matched:?}");
}

/// Two tiles of a 1000x100 picture: 0..512 and 488..1000.
fn beside(left: Vec<Instance>, right: Vec<Instance>) -> Vec<Instance> {
    let tile = |x| Tile {
        x,
        y: 0,
        size: ImageSize::new(512, 100),
    };
    merge_tiles(ImageSize::new(1000, 100), vec![(tile(0), left), (tile(488), right)])
}

#[test]
fn the_larger_piece_gives_the_score_and_the_pixels_are_of_both() {
    // 300..512 of the left tile, 488..560 of the right one.
    let left = instance(0, 0.6, rectangle(300..512, 10..30));
    let right = instance(0, 0.9, rectangle(0..72, 12..30));
    let merged = beside(vec![left], vec![right]);
    let whole = MaskRuns::union([&rectangle(300..512, 10..30), &rectangle(488..560, 12..30)]).unwrap();
    assert_eq!(merged, [instance(0, 0.6, whole)]);
    assert_eq!(runs(&merged[0]).area(), 212 * 20 + 48 * 18);
}

#[test]
fn of_two_whole_views_the_surer_stays_as_it_is() {
    let left = instance(0, 0.7, rectangle(493..505, 40..60));
    let right = instance(0, 0.8, rectangle(6..17, 40..60));
    let merged = beside(vec![left.clone()], vec![right.clone()]);
    assert_eq!(merged, [instance(0, 0.8, rectangle(494..505, 40..60))]);
    // Less than half in common: two.
    let apart = instance(0, 0.8, rectangle(13..17, 40..60));
    assert_eq!(beside(vec![left], vec![apart]).len(), 2);
}

#[test]
fn a_part_goes_to_the_whole_and_stays_where_there_is_none() {
    let part = || instance(0, 0.95, rectangle(490..512, 40..60));
    let whole = || instance(0, 0.5, rectangle(2..40, 40..61));
    let merged = beside(vec![part()], vec![whole()]);
    assert_eq!(merged, [instance(0, 0.5, rectangle(490..528, 40..61))]);
    assert_eq!(beside(vec![part()], vec![]), [part()]);
    // Half of it is the least.
    let high = instance(0, 0.5, rectangle(4..40, 50..61));
    assert_eq!(beside(vec![part()], vec![high]).len(), 2);
}

#[test]
fn faint_detections_neither_swallow_nor_swell() {
    let left = || instance(0, 0.96, rectangle(300..512, 10..30));
    let right = || instance(0, 0.96, rectangle(0..72, 10..30));
    let faint = |score| instance(0, score, rectangle(0..200, 10..33));
    let merged = beside(vec![left()], vec![faint(0.06), right()]);
    assert_eq!(merged.len(), 2);
    assert_eq!(merged[0], instance(0, 0.96, rectangle(300..560, 10..30)));
    assert_eq!(merged[1].score, 0.06);
    // Alone it is still no part of the sure piece; from a quarter of its score on it is.
    assert_eq!(beside(vec![left()], vec![faint(0.06)]).len(), 2);
    assert_eq!(beside(vec![left()], vec![faint(0.24)]).len(), 1);
}

#[test]
fn classes_are_told_apart() {
    let left = instance(0, 0.9, rectangle(300..512, 10..30));
    let right = instance(1, 0.8, rectangle(0..72, 10..30));
    let merged = beside(vec![left.clone()], vec![right]);
    assert_eq!(merged, [left, instance(1, 0.8, rectangle(488..560, 10..30))]);
}

#[test]
fn what_one_tile_tells_apart_stays_apart() {
    let pair = || {
        vec![
            instance(0, 0.9, rectangle(100..140, 10..50)),
            instance(0, 0.8, rectangle(101..141, 10..50)),
        ]
    };
    assert_eq!(beside(pair(), vec![]).len(), 2);
    // The right tile's one piece joins the surer of the two.
    let doubled = vec![
        instance(0, 0.9, rectangle(400..512, 10..50)),
        instance(0, 0.7, rectangle(401..512, 10..50)),
    ];
    let merged = beside(doubled, vec![instance(0, 0.8, rectangle(0..72, 10..50))]);
    assert_eq!(
        merged,
        [
            instance(0, 0.9, rectangle(400..560, 10..50)),
            instance(0, 0.7, rectangle(401..512, 10..50))
        ]
    );
}

#[test]
fn without_masks_boxes_decide() {
    let boxed = |score, columns, rows| {
        let mut found = instance(0, score, rectangle(columns, rows));
        found.mask = None;
        found
    };
    let merged = beside(
        vec![boxed(0.6, 300..512, 10..30), boxed(0.9, 100..120, 10..30)],
        vec![boxed(0.9, 0..72, 11..31), boxed(0.4, 300..340, 10..30)],
    );
    assert_eq!(
        merged,
        [
            boxed(0.9, 100..120, 10..30),
            boxed(0.6, 300..560, 10..31),
            boxed(0.4, 788..828, 10..30)
        ]
    );
    // A mask of no pixel is held against others by its box, and stays a mask of no pixel.
    let mut empty = boxed(0.8, 0..72, 10..30);
    empty.mask = Some(InstanceMask { soft: None, runs: None });
    let drawn = instance(0, 0.6, rectangle(300..512, 10..30));
    let merged = beside(vec![drawn], vec![empty.clone()]);
    assert_eq!(merged.len(), 1);
    assert_eq!((runs(&merged[0]).area(), merged[0].bounds.x1), (212 * 20, 560 * 256));
    assert_eq!(beside(vec![], vec![empty])[0].mask.as_ref().unwrap().runs, None);
}

#[test]
fn soft_masks_move_with_their_pixels_and_end_where_pieces_meet() {
    let soft = |x0: i32, x1: i32| {
        let roi = LatticeBox {
            x0,
            y0: 0,
            x1,
            y1: 5120,
        };
        let soft = crate::instances::SoftMask {
            roi,
            side: 28,
            values: vec![255; 784],
        };
        let runs = crate::instances::paste(&soft, ImageSize::new(512, 100)).unwrap();
        let mut found = instance(0, 0.9, runs);
        found.mask.as_mut().unwrap().soft = Some(soft);
        found
    };
    let merged = beside(vec![], vec![soft(100 * 256, 120 * 256)]);
    let mask = merged[0].mask.as_ref().unwrap();
    let roi = mask.soft.as_ref().unwrap();
    assert_eq!((roi.roi.x0, roi.roi.x1), (588 * 256, 608 * 256));
    assert_eq!(
        crate::instances::paste(roi, ImageSize::new(1000, 100)),
        mask.runs,
        "one mask, one truth"
    );
    let merged = beside(vec![soft(300 * 256, 512 * 256)], vec![soft(0, 72 * 256)]);
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].mask.as_ref().unwrap().soft, None);
}

#[test]
fn one_tile_and_none_change_nothing() {
    let size = ImageSize::new(300, 200);
    let tile = Tile { x: 0, y: 0, size };
    let found = vec![
        instance(1, 0.9, rectangle(0..40, 0..40)),
        instance(0, 0.8, rectangle(0..40, 0..41)),
    ];
    assert_eq!(merge_tiles(size, vec![(tile, found.clone())]), found);
    assert_eq!(merge_tiles(size, vec![]), []);
}
