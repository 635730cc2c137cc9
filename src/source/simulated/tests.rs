//! What a frame and its truth promise, on small pictures.

use super::num::{floor, sin_cos};
use super::*;

fn config(seed: u64) -> SceneConfig {
    SceneConfig {
        seed,
        width: 240,
        height: 180,
        ..SceneConfig::default()
    }
}

fn scene(seed: u64) -> Scene {
    Scene::new(config(seed)).expect("the configuration is in range")
}

/// FNV-1a.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn a_frame_depends_on_nothing_but_seed_and_index() {
    let mut in_order = scene(7);
    let frames: Vec<RenderedFrame> = (40..46).map(|k| in_order.render(k)).collect();
    let mut any_order = scene(7);
    for k in [45, 40, 100_000, 43, 42, 44, 41, 40] {
        let frame = any_order.render(k);
        if let Some(same) = (k as usize).checked_sub(40).and_then(|k| frames.get(k)) {
            assert!(frame == *same, "frame {k} differs when it is made out of order");
        }
    }
}

#[test]
fn bytes_are_the_same_on_every_machine() {
    let frame = scene(7).render(500);
    assert_eq!(digest(frame.rgb), RGB_OF_SEED_7);
    let masks = frame.truth.into_iter().flat_map(|t| t.mask);
    assert_eq!(digest(masks), MASKS_OF_SEED_7);
}

const RGB_OF_SEED_7: u64 = 11_944_074_198_296_665_531;
const MASKS_OF_SEED_7: u64 = 13_824_838_482_569_438_930;

#[test]
fn truth_alone_is_the_truth_of_the_picture() {
    for seed in 0..4 {
        let mut scene = scene(seed);
        for k in [0, 77, 5000] {
            assert_eq!(scene.truth(k), scene.render(k).truth, "seed {seed} frame {k}");
        }
    }
}

#[test]
fn masks_are_tight_disjoint_and_inside_the_frame() {
    for seed in 0..12 {
        let mut taken = vec![false; 240 * 180];
        for t in scene(seed).truth(300) {
            let (w, h) = (t.width as usize, t.height as usize);
            assert_eq!(t.mask.len(), w * h);
            assert!(t.x + t.width <= 240 && t.y + t.height <= 180);
            assert!(t.visible_fraction >= 0.1 && t.visible_fraction <= 1.0);
            assert!((t.class_id as usize) < CLASS_NAMES.len());
            let row = |y: usize| t.mask[y * w..(y + 1) * w].contains(&1);
            let column = |x: usize| (0..h).any(|y| t.mask[y * w + x] == 1);
            assert!(row(0) && row(h - 1) && column(0) && column(w - 1), "loose box");
            for (k, _) in t.mask.iter().enumerate().filter(|(_, m)| **m == 1) {
                let at = (t.y as usize + k / w) * 240 + t.x as usize + k % w;
                assert!(!taken[at], "seed {seed}: a pixel belongs to two objects");
                taken[at] = true;
            }
        }
    }
}

#[test]
fn objects_keep_their_id_and_move_with_the_belt() {
    let mut scene = scene(3);
    let (before, after) = (scene.truth(200), scene.truth(206));
    let middle = |t: &TruthInstance| (2 * t.x + t.width, 2 * t.y + t.height);
    let mut both = 0;
    for a in &before {
        for b in after.iter().filter(|b| b.object_id == a.object_id) {
            both += 1;
            assert_eq!(a.class_id, b.class_id);
            assert_ne!(middle(a), middle(b), "object {} stands still", a.object_id);
        }
    }
    assert!(both >= 5, "only {both} objects are in both frames");
}

#[test]
fn objects_leave_and_others_come() {
    let mut scene = scene(4);
    let ids = |list: Vec<TruthInstance>| -> Vec<u64> { list.iter().map(|t| t.object_id).collect() };
    let (early, late) = (ids(scene.truth(0)), ids(scene.truth(3000)));
    assert!(!late.is_empty() && late.iter().all(|id| !early.contains(id)));
}

#[test]
fn seeds_differ() {
    assert_ne!(scene(1).render(0).rgb, scene(2).render(0).rgb);
}

#[test]
fn every_class_appears_and_crowds_are_as_large_as_asked() {
    let (mut seen, mut total) = ([0; 8], 0);
    for seed in 100..140 {
        for t in scene(seed).truth(900) {
            seen[t.class_id as usize] += 1;
            total += 1;
        }
    }
    assert!(seen.iter().all(|&n| n >= 20), "{seen:?}");
    let mean = f64::from(total) / 40.0;
    assert!((9.0..15.0).contains(&mean), "{mean} objects in view on average");
    let none = SceneConfig {
        objects: 0,
        ..config(5)
    };
    let frame = Scene::new(none).expect("no objects is in range").render(9);
    assert!(frame.truth.is_empty());
}

#[test]
fn few_objects_are_mostly_hidden() {
    let (mut hidden, mut total) = (0, 0);
    for seed in 200..240 {
        for t in scene(seed).truth(50) {
            let cut = t.x == 0 || t.y == 0 || t.x + t.width == 240 || t.y + t.height == 180;
            total += 1;
            if !cut && t.visible_fraction < 0.6 {
                hidden += 1;
            }
        }
    }
    assert!(hidden * 100 <= 15 * total, "{hidden} of {total}");
}

#[test]
fn a_smaller_frame_shows_the_same_scene() {
    let small = scene(6).truth(120);
    let large = SceneConfig {
        width: 480,
        height: 360,
        ..config(6)
    };
    let large = Scene::new(large).expect("in range").truth(120);
    for s in small.iter().filter(|s| s.visible_fraction > 0.5) {
        let l = large
            .iter()
            .find(|l| l.object_id == s.object_id)
            .expect("in both sizes");
        assert!(l.x.abs_diff(2 * s.x) <= 3 && l.width.abs_diff(2 * s.width) <= 4);
        assert!(l.y.abs_diff(2 * s.y) <= 3 && l.height.abs_diff(2 * s.height) <= 4);
    }
}

#[test]
fn odd_sizes_render() {
    for (width, height) in [(64, 64), (65, 97), (321, 64), (64, 400)] {
        let odd = SceneConfig {
            width,
            height,
            ..config(8)
        };
        let frame = Scene::new(odd).expect("in range").render(1);
        assert_eq!(frame.rgb.len(), (width * height * 3) as usize);
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let size = SceneConfig { width: 63, ..config(0) };
    let objects = SceneConfig {
        objects: 65,
        ..config(0)
    };
    assert_eq!(
        Scene::new(size).err(),
        Some(SceneError::Size { width: 63, height: 180 })
    );
    let e = Scene::new(objects).err().expect("too many");
    assert!(e.to_string().contains("65 objects"));
    for fps in [0.0, -1.0, 241.0, f64::NAN, f64::INFINITY] {
        let config = SceneConfig { fps, ..config(0) };
        assert!(matches!(config.validate(), Err(SceneError::Fps { .. })), "{fps}");
    }
}

#[test]
fn own_arithmetic_agrees_with_the_library() {
    for k in -4000..4000 {
        let x = k as f32 * 0.37;
        assert_eq!(floor(x), x.floor() as i32, "{x}");
        let a = f64::from(x) * 3.0;
        let (s, c) = sin_cos(a);
        assert!((s - a.sin()).abs() < 1e-6 && (c - a.cos()).abs() < 1e-6, "{a}");
    }
    for x in [0.0, 254.999_98, 255.0, -0.5, -1.0, 131_072.25] {
        assert_eq!(floor(x), x.floor() as i32, "{x}");
    }
}
