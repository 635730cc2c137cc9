//! Many small objects in a large picture: drawn nuclei, counted by the program tile by tile.

use std::f64::consts::{PI, TAU};

use maskcast::instances::MaskRuns;
use serde_json::Value;

use super::command_line::{maskcast, path, text};

const SIDE: u32 = 2048;
const NUCLEI: usize = 600;

/// A bright ellipse. Half axes in px, angle in radians.
struct Nucleus {
    x: f64,
    y: f64,
    half: (f64, f64),
    angle: f64,
    brightness: f64,
    /// Waves of its texture: radians a px along x and y, and phase.
    waves: [(f64, f64, f64); 4],
}

/// splitmix64, and numbers from it.
struct Random(u64);

impl Random {
    fn real(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, deviation 1, never beyond 6.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.real(-0.5, 0.5)).sum()
    }
}

impl Nucleus {
    /// 20 to 45 px long.
    fn new(random: &mut Random) -> Nucleus {
        let long = random.real(10.0, 22.5);
        let wide = (long * random.real(0.65, 1.0)).max(10.0);
        let wave = |random: &mut Random| {
            let (pace, direction) = (random.real(0.25, 0.9), random.real(0.0, TAU));
            (pace * direction.cos(), pace * direction.sin(), random.real(0.0, TAU))
        };
        Nucleus {
            x: random.real(26.0, f64::from(SIDE) - 26.0),
            y: random.real(26.0, f64::from(SIDE) - 26.0),
            half: (long, wide),
            angle: random.real(0.0, PI),
            brightness: random.real(80.0, 190.0),
            waves: std::array::from_fn(|_| wave(random)),
        }
    }

    /// px beyond the edge; negative inside. Exact on the axes, close to it elsewhere.
    fn beyond(&self, x: f64, y: f64) -> f64 {
        let (sin, cos) = self.angle.sin_cos();
        let (dx, dy) = (x - self.x, y - self.y);
        let (u, v) = ((dx * cos + dy * sin) / self.half.0, (dy * cos - dx * sin) / self.half.1);
        ((u * u + v * v).sqrt() - 1.0) * (self.half.0 * self.half.1).sqrt()
    }

    fn light(&self, x: f64, y: f64) -> f64 {
        let texture: f64 = self.waves.iter().map(|(a, b, c)| (a * x + b * y + c).sin()).sum();
        let edge = 1.0 / (1.0 + (self.beyond(x, y) / 0.7).exp());
        self.brightness * edge * (1.0 + 0.06 * texture)
    }

    /// The pixels it may touch.
    fn pixels(&self) -> impl Iterator<Item = (u32, u32)> {
        let reach = self.half.0 + 8.0;
        let span = |c: f64| (c - reach).max(0.0) as u32..((c + reach) as u32).min(SIDE);
        let columns = span(self.x);
        span(self.y).flat_map(move |y| columns.clone().map(move |x| (x, y)))
    }

    fn mask(&self) -> MaskRuns {
        let mut rows = vec![0; (SIDE * SIDE) as usize];
        for (x, y) in self.pixels() {
            rows[(y * SIDE + x) as usize] = u8::from(self.beyond(f64::from(x) + 0.5, f64::from(y) + 0.5) <= 0.0);
        }
        MaskRuns::from_dense(0, 0, SIDE, SIDE, &rows).expect("pixels")
    }
}

/// Apart by 5 px at least, the same on any machine.
fn nuclei(random: &mut Random) -> Vec<Nucleus> {
    let mut placed: Vec<Nucleus> = Vec::new();
    while placed.len() < NUCLEI {
        let next = Nucleus::new(random);
        let apart = |other: &Nucleus| (next.x - other.x).hypot(next.y - other.y) >= next.half.0 + other.half.0 + 5.0;
        if placed.iter().all(apart) {
            placed.push(next);
        }
    }
    placed
}

fn draw(nuclei: &[Nucleus], random: &mut Random) -> image::GrayImage {
    let mut light: Vec<f64> = (0..SIDE * SIDE).map(|_| 14.0 + 3.0 * random.bell()).collect();
    for nucleus in nuclei {
        for (x, y) in nucleus.pixels() {
            let shown = nucleus.light(f64::from(x) + 0.5, f64::from(y) + 0.5);
            light[(y * SIDE + x) as usize] += shown * (1.0 + 0.05 * random.bell());
        }
    }
    image::GrayImage::from_fn(SIDE, SIDE, |x, y| {
        image::Luma([light[(y * SIDE + x) as usize].round().clamp(0.0, 255.0) as u8])
    })
}

#[test]
fn every_nucleus_of_a_large_picture_is_found_once() {
    let mut random = Random(2018);
    let drawn = nuclei(&mut random);
    let dir = tempfile::tempdir().expect("folder");
    let (picture, json) = (dir.path().join("slide.png"), dir.path().join("slide.json"));
    draw(&drawn, &mut random).save(&picture).expect("writes");
    let output = maskcast(&[
        "segment",
        path(&picture),
        "--engine",
        "engines/nuclei.toml",
        "--tile",
        "512",
        "--overlap",
        "64",
        "--score-threshold",
        "0.5",
        "--json",
        path(&json),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let results: Value = serde_json::from_slice(&std::fs::read(&json).expect("reads")).expect("JSON");
    let found = results[0]["instances"].as_array().expect("instances");

    let truths: Vec<MaskRuns> = drawn.iter().map(Nucleus::mask).collect();
    let mut found_as = vec![0; truths.len()];
    let mut unmatched = Vec::new();
    for instance in found {
        let counts = instance["mask"]["counts"].as_str().expect("counts").as_bytes();
        let mask = MaskRuns::from_counts(0, 0, SIDE, SIDE, counts).expect("a mask");
        let iou = |truth: &MaskRuns| {
            let both = mask.intersection(truth);
            both as f64 / (u64::from(mask.area()) + u64::from(truth.area()) - both) as f64
        };
        let ious = truths.iter().map(iou).enumerate();
        match ious.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((index, iou)) if iou >= 0.7 => found_as[index] += 1,
            best => unmatched.push(format!(
                "{} px, score {}, IoU {:.2}, box {}",
                mask.area(),
                instance["score"],
                best.map_or(0.0, |b| b.1),
                instance["box"]
            )),
        }
    }
    let missed = drawn.iter().zip(&found_as).filter(|(_, n)| **n != 1);
    let missed: Vec<String> = missed
        .map(|(d, n)| format!("({:.0}, {:.0}) {:?} found {n} times", d.x, d.y, d.half))
        .collect();
    assert!(
        missed.is_empty() && unmatched.is_empty(),
        "{} found, {NUCLEI} drawn\nmissed: {missed:#?}\nunmatched: {unmatched:#?}",
        found.len()
    );
}
