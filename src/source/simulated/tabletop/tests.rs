//! What the tabletop promises, on small pictures.

use super::super::TruthInstance;
use super::*;

fn config(seed: u64) -> SceneConfig {
    SceneConfig {
        seed,
        width: 320,
        height: 240,
        ..SceneConfig::default()
    }
}

fn frame(seed: u64) -> RenderedFrame {
    picture(&config(seed)).expect("the configuration is in range").frame
}

/// FNV-1a.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_same_seed_gives_the_same_picture_and_another_seed_another() {
    let (a, b) = (
        picture(&config(5)).expect("in range"),
        picture(&config(5)).expect("in range"),
    );
    assert!(a.frame == b.frame && a.jpeg_quality == b.jpeg_quality);
    assert_ne!(a.frame.rgb, frame(6).rgb);
}

#[test]
fn bytes_are_the_same_on_every_machine() {
    let frames: Vec<RenderedFrame> = (70..78).map(frame).collect();
    let rgb = digest(frames.iter().flat_map(|f| f.rgb.iter().copied()));
    let masks = frames
        .iter()
        .flat_map(|f| &f.truth)
        .flat_map(|t| t.mask.iter().copied());
    assert_eq!((rgb, digest(masks)), (RGB_OF_EIGHT, MASKS_OF_EIGHT));
}

const RGB_OF_EIGHT: u64 = 7_667_230_549_919_978_700;
const MASKS_OF_EIGHT: u64 = 8_756_693_839_576_331_313;

#[test]
fn masks_are_tight_disjoint_and_inside_the_frame() {
    for seed in 0..20 {
        let mut taken = vec![false; 320 * 240];
        for t in frame(seed).truth {
            let (w, h) = (t.width as usize, t.height as usize);
            assert_eq!(t.mask.len(), w * h);
            assert!(t.x + t.width <= 320 && t.y + t.height <= 240);
            assert!(t.visible_fraction >= 0.1 && t.visible_fraction <= 1.0);
            assert_eq!(t.class_id, 0);
            let row = |y: usize| t.mask[y * w..(y + 1) * w].contains(&1);
            let column = |x: usize| (0..h).any(|y| t.mask[y * w + x] == 1);
            assert!(
                row(0) && row(h - 1) && column(0) && column(w - 1),
                "seed {seed}: loose box"
            );
            for (k, _) in t.mask.iter().enumerate().filter(|(_, m)| **m == 1) {
                let at = (t.y as usize + k / w) * 320 + t.x as usize + k % w;
                assert!(!taken[at], "seed {seed}: a pixel belongs to two objects");
                taken[at] = true;
            }
        }
    }
}

#[test]
fn pictures_hold_few_and_many_things_small_and_large() {
    let truths: Vec<Vec<TruthInstance>> = (100..120).map(|seed| frame(seed).truth).collect();
    let counts: Vec<usize> = truths.iter().map(Vec::len).collect();
    assert!(counts.iter().all(|n| (1..=40).contains(n)), "{counts:?}");
    let mean = counts.iter().sum::<usize>() as f64 / 20.0;
    assert!((6.0..18.0).contains(&mean), "{counts:?}");
    assert!(
        counts.iter().any(|&n| n <= 5) && counts.iter().any(|&n| n >= 18),
        "{counts:?}"
    );
    let mut sides: Vec<u32> = truths.iter().flatten().map(|t| t.width.max(t.height)).collect();
    sides.sort_unstable();
    // Half as many pixels as at 640: nothing above 0.6 of the width, the middle one 15 to 60.
    assert!(sides.iter().all(|&s| s <= 193), "{sides:?}");
    assert!((15..60).contains(&sides[sides.len() / 2]), "{sides:?}");
    assert!(sides[sides.len() - 1] > 120 && sides[0] < 12, "{sides:?}");
}

#[test]
fn an_object_keeps_its_shape_when_the_picture_is_larger() {
    let small = frame(31).truth;
    let large = SceneConfig {
        width: 640,
        height: 480,
        ..config(31)
    };
    let large = picture(&large).expect("in range").frame.truth;
    let mut both = 0;
    for s in small.iter().filter(|s| s.visible_fraction > 0.5) {
        if let Some(l) = large.iter().find(|l| l.object_id == s.object_id) {
            both += 1;
            assert!(
                l.x.abs_diff(2 * s.x) <= 8 && l.width.abs_diff(2 * s.width) <= 14,
                "{}",
                s.object_id
            );
        }
    }
    assert!(both * 2 > small.len(), "{both} of {}", small.len());
}

#[test]
fn asked_for_none_or_many_it_gives_them() {
    let none = SceneConfig {
        objects: 0,
        ..config(3)
    };
    assert!(picture(&none).expect("in range").frame.truth.is_empty());
    let mean = |objects: u32| {
        let count = |seed| {
            let config = SceneConfig {
                objects,
                ..config(seed)
            };
            picture(&config).expect("in range").frame.truth.len()
        };
        (300..312).map(count).sum::<usize>()
    };
    let (few, many) = (mean(3), mean(30));
    assert!(many > 2 * few, "{few} and {many}");
}

#[test]
fn odd_sizes_render_and_bad_ones_are_refused() {
    for (width, height) in [(64, 64), (65, 97), (321, 64), (64, 400)] {
        let odd = SceneConfig {
            width,
            height,
            ..config(8)
        };
        let frame = picture(&odd).expect("in range").frame;
        assert_eq!(frame.rgb.len(), (width * height * 3) as usize);
    }
    let bad = SceneConfig { width: 63, ..config(0) };
    assert_eq!(picture(&bad).err(), Some(SceneError::Size { width: 63, height: 240 }));
}
