//! How long the ops take at the sizes of the bundled network, 384x288, 64 channels, and a camera of 640x480:
//!
//! ```text
//! cargo test --release --lib ops::bench -- --ignored --nocapture --test-threads 1
//! ```

use std::hint::black_box;
use std::time::Instant;

use super::NetworkBox;
use super::goldens::noise;
use super::paste_masks::Paster;
use super::proposals::{LevelOutput, Proposals, RpnSettings};
use super::roi_align::{PyramidLevel, RoiAlign};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::{SoftMask, paste};

const NETWORK: ImageSize = ImageSize::new(384, 288);
const FRAME: ImageSize = ImageSize::new(640, 480);

/// Median of many runs.
fn report(what: &str, mut run: impl FnMut()) {
    let mut millis = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut all: Vec<f64> = (0..201).map(|_| millis()).collect();
    all.sort_by(f64::total_cmp);
    eprintln!("{what}: {:.3} ms (best {:.3})", all[100], all[0]);
}

fn grid(stride: u32) -> ImageSize {
    ImageSize::new(NETWORK.width.div_ceil(stride), NETWORK.height.div_ceil(stride))
}

#[test]
#[ignore = "prints times"]
fn paste_of_twenty_masks() {
    let blob = |seed: u32| {
        let value = |(i, n): (usize, f32)| {
            let (x, y) = ((i % 28) as f32 / 13.5 - 1.0, (i / 28) as f32 / 13.5 - 1.0);
            ((1.4 - 1.6 * (x * x + y * y) + 0.3 * n) * 255.0).round() as u8
        };
        noise(784, seed).into_iter().enumerate().map(value).collect()
    };
    let mask = |i: i32| {
        let (x0, y0) = (300 + 6000 * i, 500 + 4500 * i);
        let roi = LatticeBox {
            x0,
            y0,
            x1: x0 + 25_600,
            y1: y0 + 25_600,
        };
        SoftMask {
            roi,
            side: 28,
            values: blob(i as u32),
        }
    };
    let masks: Vec<SoftMask> = (0..20).map(mask).collect();
    let mut paster = Paster::default();
    report("paste 20 masks of 100x100", || {
        masks.iter().for_each(|m| drop(black_box(paster.paste(m, FRAME))))
    });
    let mut encoded = |m: &SoftMask| paster.paste(m, FRAME).map(|runs| runs.to_counts());
    report("paste and encode them", || {
        masks.iter().for_each(|m| drop(black_box(encoded(m))))
    });
    report("paste by the plain loops", || {
        masks.iter().for_each(|m| drop(black_box(paste(m, FRAME))))
    });
}

#[test]
#[ignore = "prints times"]
fn roi_align_of_both_heads() {
    let maps: Vec<Vec<f32>> = [4, 8, 16, 32].map(|s| noise(64 * grid(s).area() as usize, s)).to_vec();
    let level = |(i, map)| PyramidLevel {
        features: map,
        grid: grid(4u32 << i),
        spatial_scale: 0.25 / (1 << i) as f32,
    };
    let levels: Vec<PyramidLevel<'_>> = maps.iter().map(Vec::as_slice).enumerate().map(level).collect();
    for (count, output_side) in [(100, 7), (20, 14)] {
        let roi = |r: &[f32]| {
            let (x, y) = (150.0 + 150.0 * r[0], 110.0 + 110.0 * r[1]);
            NetworkBox::new(x, y, x + 45.0 + 35.0 * r[2], y + 40.0 + 30.0 * r[3])
        };
        let rois: Vec<NetworkBox> = noise(4 * count, 3).chunks_exact(4).map(roi).collect();
        let op = RoiAlign {
            channels: 64,
            output_side,
            sampling_ratio: 2,
            canonical_scale: 224.0,
            canonical_level: 4,
            min_level: 2,
        };
        let mut out = vec![0.0; count * 64 * output_side * output_side];
        let what = format!("RoIAlign {count}x64x{output_side}x{output_side}");
        report(&what, || assert!(op.run(&levels, &rois, &mut out).is_ok()));
        report(&format!("{what}, plain"), || {
            assert!(op.run_plain(&levels, &rois, &mut out).is_ok())
        });
    }
}

#[test]
#[ignore = "prints times"]
fn proposals_of_five_levels() {
    let strides = [4, 8, 16, 32, 64];
    let scaled =
        |count: usize, seed: u32, by: f32| noise(count, seed).iter().map(|v| v * by - by).collect::<Vec<f32>>();
    let maps = strides.map(|s| {
        let logits = 3 * grid(s).area() as usize;
        (grid(s), scaled(logits, s, 4.0), scaled(4 * logits, s + 1, 0.2))
    });
    let levels = maps.each_ref().map(|(grid, logits, deltas)| LevelOutput {
        grid: *grid,
        logits,
        deltas,
    });
    let mut op = Proposals::new(RpnSettings {
        pre_nms_top_n: 300,
        post_nms_top_n: 100,
        ..RpnSettings::torchvision()
    });
    let (mut boxes, mut scores) = (Vec::new(), Vec::new());
    report("proposals of 5 levels, 300 each, 100 in all", || {
        assert!(op.run(&levels, NETWORK, NETWORK, &mut boxes, &mut scores).is_ok());
    });
}
