//! The ops at the sizes of ResNet-50-FPN, to be timed by whoever has a clock: `tests/bench/ops_rivals.py` times torchvision
//! on the same boxes. Data are seeded noise, prepared before the first run. Tests print times:
//!
//! ```text
//! cargo test --release --lib ops::bench -- --ignored --nocapture --test-threads 1
//! ```

pub mod device;

use std::hint::black_box;

use half::bf16;

use super::detections::{Detections, HeadSettings};
use super::nms::Nms;
use super::paste_masks::Paster;
use super::proposals::{LevelOutput, Proposals, RpnSettings};
use super::roi_align::{Alignment, PyramidLevel, RoiAlign, Sampling};
use super::{BoxWidth, Element, NetworkBox};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::SoftMask;

/// What [`prepare`] knows.
pub const NAMES: [&str; 14] = [
    "roi_align_7_f32",
    "roi_align_7_bf16",
    "roi_align_14_f32",
    "roi_align_14_bf16",
    "roi_align_7_adaptive_f32",
    "nms_1000",
    "nms_1000_crowded",
    "batched_nms_1000",
    "paste_480x640",
    "paste_800x1066",
    "proposals_800x1088",
    "detections_1000x91",
    "detections_1000x91_any_score",
    "roi_align_small_f32",
];

const VGA: ImageSize = ImageSize::new(640, 480);
const LARGE: ImageSize = ImageSize::new(1066, 800);

/// The op called `name` with its data: each call runs it once, in the current rayon pool. `None` when there is none.
pub fn prepare(name: &str) -> Option<Box<dyn FnMut() + Send>> {
    Some(match name {
        "roi_align_7_f32" => roi_align::<f32>(VGA, 256, 1000, 7, Sampling::Fixed(2)),
        "roi_align_7_bf16" => roi_align::<bf16>(VGA, 256, 1000, 7, Sampling::Fixed(2)),
        "roi_align_14_f32" => roi_align::<f32>(VGA, 256, 100, 14, Sampling::Fixed(2)),
        "roi_align_14_bf16" => roi_align::<bf16>(VGA, 256, 100, 14, Sampling::Fixed(2)),
        "roi_align_7_adaptive_f32" => roi_align::<f32>(VGA, 256, 1000, 7, Sampling::Adaptive),
        "roi_align_small_f32" => roi_align::<f32>(ImageSize::new(384, 288), 64, 100, 7, Sampling::Fixed(2)),
        "nms_1000" => nms(1, 0.5, &[]),
        // Ten boxes around each object: most are dropped.
        "nms_1000_crowded" => nms(10, 0.5, &[]),
        "batched_nms_1000" => nms(1, 0.5, &(0..1000).map(|i| i % 90).collect::<Vec<u32>>()),
        "paste_480x640" => paste(VGA),
        "paste_800x1066" => paste(LARGE),
        "proposals_800x1088" => proposals(),
        "detections_1000x91" => detections(0.05),
        "detections_1000x91_any_score" => detections(0.0),
        _ => return None,
    })
}

/// Values in -1..1 from a counter: the same on any machine and in `noise` of the Python beside.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let value = |i: u32| {
        let mut x = i
            .wrapping_mul(747_796_405)
            .wrapping_add(seed.wrapping_mul(2_891_336_453))
            .wrapping_add(1);
        x = ((x >> ((x >> 28) + 4)) ^ x).wrapping_mul(277_803_737);
        x = (x >> 22) ^ x;
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count as u32).map(value).collect()
}

/// Anywhere in the picture, sides from 16 px to its height, small ones as frequent as large ones.
fn boxes(count: usize, picture: ImageSize, seed: u32) -> Vec<NetworkBox> {
    let (w, h) = (picture.width as f32, picture.height as f32);
    let one = |r: &[f32]| {
        let side = |r: f32| 16.0 * (h / 16.0).powf(0.5 + 0.5 * r);
        let (x, y) = (w * (0.5 + 0.5 * r[0]), h * (0.5 + 0.5 * r[1]));
        let (dx, dy) = (side(r[2]) / 2.0, side(r[3]) / 2.0);
        let clamp = |v: f32, last: f32| v.clamp(0.0, last);
        NetworkBox::new(clamp(x - dx, w), clamp(y - dy, h), clamp(x + dx, w), clamp(y + dy, h))
    };
    noise(4 * count, seed).chunks_exact(4).map(one).collect()
}

fn grid(picture: ImageSize, stride: u32) -> ImageSize {
    ImageSize::new(picture.width.div_ceil(stride), picture.height.div_ceil(stride))
}

fn roi_align<T: Element>(
    picture: ImageSize,
    channels: usize,
    count: usize,
    output_side: usize,
    sampling: Sampling,
) -> Box<dyn FnMut() + Send> {
    let map = |stride: u32| {
        let values = noise(channels * grid(picture, stride).area() as usize, stride);
        values.into_iter().map(T::from_f32).collect::<Vec<T>>()
    };
    let maps = [4, 8, 16, 32].map(map);
    let rois = boxes(count, picture, 3);
    let op = RoiAlign {
        channels,
        output_side,
        sampling,
        alignment: Alignment::Corner,
        canonical_scale: 224.0,
        canonical_level: 4,
        min_level: 2,
        level_epsilon: 1e-6,
    };
    let mut out = vec![T::default(); count * channels * output_side * output_side];
    Box::new(move || {
        let level = |i: usize| PyramidLevel {
            features: &maps[i],
            grid: grid(picture, 4 << i),
            spatial_scale: 0.25 / (1 << i) as f32,
        };
        let done = op.run(&[0, 1, 2, 3].map(level), &rois, &mut out);
        black_box((&done, &out));
    })
}

/// `crowd` boxes around each place, a few px apart.
fn nms(crowd: usize, iou_threshold: f64, groups: &[u32]) -> Box<dyn FnMut() + Send> {
    let places = boxes(1000 / crowd, VGA, 5);
    let shifts = noise(1000, 6);
    let around = |(i, r): (usize, &f32)| {
        let (b, d) = (&places[i % places.len()], if crowd > 1 { 3.0 * r } else { 0.0 });
        NetworkBox::new(b.x0 + d, b.y0 - d, b.x1 + d, b.y1 - d)
    };
    let boxes: Vec<NetworkBox> = shifts.iter().enumerate().map(around).collect();
    let (scores, groups) = (noise(1000, 7), groups.to_vec());
    let (mut op, mut keep) = (Nms::default(), Vec::new());
    Box::new(move || {
        op.run_grouped(&boxes, &scores, &groups, BoxWidth::Continuous, iou_threshold, &mut keep);
        black_box(&keep);
    })
}

/// From probabilities to runs, 100 masks.
fn paste(picture: ImageSize) -> Box<dyn FnMut() + Send> {
    let side = 28;
    let masks: Vec<(LatticeBox, Vec<f32>)> = (0u32..)
        .zip(boxes(100, picture, 8))
        .map(|(seed, b)| {
            let lattice = |v: f32| (v * 256.0).round() as i32;
            let roi = LatticeBox {
                x0: lattice(b.x0),
                y0: lattice(b.y0),
                x1: lattice(b.x1),
                y1: lattice(b.y1),
            };
            (roi, blob(side, seed))
        })
        .collect();
    let mut paster = Paster::default();
    Box::new(move || {
        for (roi, probabilities) in &masks {
            let mask = SoftMask {
                roi: *roi,
                side: side as u32,
                values: probabilities.iter().map(|p| (255.0 * p).round() as u8).collect(),
            };
            black_box(paster.paste(&mask, picture));
        }
    })
}

/// A disc with a rough edge.
fn blob(side: usize, seed: u32) -> Vec<f32> {
    let at = |i: usize| (i as f32 + 0.5) / side as f32 * 2.0 - 1.0;
    let value = |(i, n): (usize, f32)| {
        let (x, y) = (at(i % side), at(i / side));
        (1.2 - x * x - y * y + 0.3 * n).clamp(0.0, 1.0)
    };
    noise(side * side, seed).into_iter().enumerate().map(value).collect()
}

fn proposals() -> Box<dyn FnMut() + Send> {
    let network = ImageSize::new(1088, 800);
    let scaled = |count: usize, seed: u32, by: f32, to: f32| {
        noise(count, seed).iter().map(|v| v * by + to).collect::<Vec<f32>>()
    };
    let maps = [4, 8, 16, 32, 64].map(|stride| {
        let grid = grid(network, stride);
        let logits = 3 * grid.area() as usize;
        (
            grid,
            scaled(logits, stride, 4.0, -4.0),
            scaled(4 * logits, stride + 1, 0.2, 0.0),
        )
    });
    let mut op = Proposals::new(RpnSettings::torchvision());
    let (mut boxes, mut scores) = (Vec::new(), Vec::new());
    Box::new(move || {
        let levels = maps.each_ref().map(|(grid, logits, deltas)| LevelOutput {
            grid: *grid,
            logits,
            deltas,
        });
        let done = op.run(&levels, network, LARGE, &mut boxes, &mut scores);
        black_box((&done, &boxes));
    })
}

/// A third of 1000 proposals show something.
fn detections(score_threshold: f32) -> Box<dyn FnMut() + Send> {
    let (count, classes) = (1000, 91);
    let mut logits = noise(count * classes, 11);
    for (i, row) in logits.chunks_exact_mut(classes).enumerate() {
        row[if i % 3 == 0 { 1 + i % 90 } else { 0 }] += 7.0;
    }
    let (deltas, proposals) = (noise(4 * count * classes, 12), boxes(count, VGA, 13));
    let mut op = Detections::new(HeadSettings {
        score_threshold,
        ..HeadSettings::torchvision()
    });
    let mut found = Vec::new();
    Box::new(move || {
        let done = op.run(&logits, &deltas, &proposals, VGA, &mut found);
        black_box((&done, &found));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn every_name_is_an_op() {
        for name in ["roi_align_small_f32", "nms_1000", "paste_480x640"] {
            prepare(name).unwrap()();
        }
        assert!(NAMES.contains(&"nms_1000") && prepare("roi").is_none());
    }

    #[test]
    #[ignore = "prints times"]
    fn bench_all_on_two_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| {
            for name in NAMES {
                let mut op = prepare(name).unwrap();
                let mut millis = || {
                    let start = Instant::now();
                    op();
                    start.elapsed().as_secs_f64() * 1e3
                };
                let mut all: Vec<f64> = (0..31).map(|_| millis()).collect();
                all.sort_by(f64::total_cmp);
                eprintln!("{name}: {:.3} ms (best {:.3})", all[15], all[0]);
            }
        });
    }
}
