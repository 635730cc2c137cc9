//! Pictures of drawn objects, and a finder that is never wrong about the pixels it sees of them.

use std::collections::BTreeMap;

use crate::geometry::{ImageSize, LatticeBox, Tile, Tiling};
use crate::instances::{Instance, InstanceMask, MaskRuns, Span};

/// Label of each pixel; 0 = ground.
pub(super) struct Scene {
    pub(super) size: ImageSize,
    labels: Vec<u16>,
    /// Pixels in or next to something drawn.
    taken: Vec<bool>,
    drawn: u16,
}

/// splitmix64: the same picture on any machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// low..high
    pub(super) fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Disc or ellipse.
    Round,
    Bar,
}

/// Half axes in px, angle in radians.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) half: (f64, f64),
    pub(super) angle: f64,
}

impl Scene {
    pub(super) fn new(width: u32, height: u32) -> Scene {
        let pixels = (width * height) as usize;
        Scene {
            size: ImageSize::new(width, height),
            labels: vec![0; pixels],
            taken: vec![false; pixels],
            drawn: 0,
        }
    }

    fn index(&self, x: i64, y: i64) -> Option<usize> {
        let (w, h) = (i64::from(self.size.width), i64::from(self.size.height));
        let inside = (0..w).contains(&x) && (0..h).contains(&y);
        inside.then_some((y * w + x) as usize)
    }

    /// Draws at (cx, cy), cut at the picture's border, unless it would come within 2 px of something else.
    pub(super) fn draw(&mut self, shape: Shape, cx: f64, cy: f64) -> bool {
        let reach = shape.half.0.max(shape.half.1) * 1.5 + 1.0;
        let (sin, cos) = shape.angle.sin_cos();
        let span = |c: f64| (c - reach).floor() as i64..=(c + reach).ceil() as i64;
        let mut pixels = Vec::new();
        for (y, x) in span(cy).flat_map(|y| span(cx).map(move |x| (y, x))) {
            let (dx, dy) = (x as f64 + 0.5 - cx, y as f64 + 0.5 - cy);
            let (u, v) = (
                (dx * cos + dy * sin) / shape.half.0,
                (dy * cos - dx * sin) / shape.half.1,
            );
            let is_set = match shape.kind {
                Kind::Round => u * u + v * v <= 1.0,
                Kind::Bar => u.abs() <= 1.0 && v.abs() <= 1.0,
            };
            if is_set && let Some(i) = self.index(x, y) {
                pixels.push((x, y, i));
            }
        }
        if pixels.len() < 16 || pixels.iter().any(|&(_, _, i)| self.taken[i]) {
            return false;
        }
        self.drawn += 1;
        for (x, y, i) in pixels {
            self.labels[i] = self.drawn;
            for (dy, dx) in (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx))) {
                if let Some(j) = self.index(x + dx, y + dy) {
                    self.taken[j] = true;
                }
            }
        }
        true
    }

    pub(super) fn fill(&mut self, columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) {
        self.drawn += 1;
        for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
            self.labels[(y * self.size.width + x) as usize] = self.drawn;
        }
    }

    /// What is drawn inside `tile`: the connected parts of each label, in px of the tile, with the label.
    pub(super) fn parts(&self, tile: &Tile) -> Vec<(u16, MaskRuns)> {
        let (w, h) = (tile.size.width as i64, tile.size.height as i64);
        let label = |x: i64, y: i64| {
            self.labels[((y + i64::from(tile.y)) * i64::from(self.size.width) + x + i64::from(tile.x)) as usize]
        };
        let mut seen = vec![false; (w * h) as usize];
        let mut parts = Vec::new();
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let own = label(x, y);
            if own == 0 || seen[(y * w + x) as usize] {
                continue;
            }
            let mut part: Vec<(i64, i64)> = vec![(x, y)];
            seen[(y * w + x) as usize] = true;
            let mut next = 0;
            while let Some(&(px, py)) = part.get(next) {
                next += 1;
                for (qy, qx) in (py - 1..=py + 1).flat_map(|qy| (px - 1..=px + 1).map(move |qx| (qy, qx))) {
                    let inside = (0..w).contains(&qx) && (0..h).contains(&qy);
                    if inside && !seen[(qy * w + qx) as usize] && label(qx, qy) == own {
                        seen[(qy * w + qx) as usize] = true;
                        part.push((qx, qy));
                    }
                }
            }
            parts.push((own, runs_of(part)));
        }
        parts
    }

    /// Every drawn object over the whole picture, by label.
    pub(super) fn whole(&self) -> Vec<MaskRuns> {
        let everything = Tile {
            x: 0,
            y: 0,
            size: self.size,
        };
        let parts = self.parts(&everything);
        assert_eq!(parts.len(), usize::from(self.drawn), "a drawn object has one part");
        let by_label: BTreeMap<u16, MaskRuns> = parts.into_iter().collect();
        by_label.into_values().collect()
    }

    /// The answer about each tile, after `change`, which gets the label and may spoil it.
    pub(super) fn found(
        &self,
        tiling: &Tiling,
        mut change: impl FnMut(usize, &Tile, u16, Instance) -> Option<Instance>,
    ) -> Vec<(Tile, Vec<Instance>)> {
        let tiles = tiling.tiles(self.size).into_iter().enumerate();
        tiles
            .map(|(index, tile)| {
                let parts = self.parts(&tile).into_iter();
                let instances = parts.filter_map(|(label, runs)| change(index, &tile, label, instance(0, 0.9, runs)));
                let instances = instances.collect();
                (tile, instances)
            })
            .collect()
    }
}

pub(super) fn runs_of(mut pixels: Vec<(i64, i64)>) -> MaskRuns {
    pixels.sort_unstable();
    let spans: Vec<Span> = pixels
        .iter()
        .map(|&(x, y)| Span {
            column: x as u32,
            row_start: y as u32,
            row_end: y as u32 + 1,
        })
        .collect();
    MaskRuns::from_spans(&spans).unwrap()
}

pub(super) fn box_of(runs: &MaskRuns) -> LatticeBox {
    let edge = |v: u32| v as i32 * LatticeBox::STEPS;
    LatticeBox {
        x0: edge(runs.x),
        y0: edge(runs.y),
        x1: edge(runs.x + runs.width),
        y1: edge(runs.y + runs.height),
    }
}

pub(super) fn instance(class_id: u32, score: f32, runs: MaskRuns) -> Instance {
    Instance {
        class_id,
        score,
        bounds: box_of(&runs),
        mask: Some(InstanceMask {
            soft: None,
            runs: Some(runs),
        }),
    }
}

pub(super) fn tiling() -> Tiling {
    Tiling::new(512, 64).unwrap()
}

/// Columns (and rows) of a 2048 px picture at which a tile begins or ends.
const SEAMS: [f64; 8] = [384.0, 512.0, 768.0, 896.0, 1152.0, 1280.0, 1536.0, 1664.0];

/// 8 to 400 px, half of them on a seam or where seams cross.
pub(super) fn scattered(seed: u64, objects: u16, largest_px: f64) -> Scene {
    let mut random = Random(seed);
    let mut scene = Scene::new(2048, 2048);
    let mut tries = 0;
    while scene.drawn < objects {
        tries += 1;
        assert!(tries < 100_000, "only {} objects fit", scene.drawn);
        // The first are large, the rest mostly small: else nothing fits between them.
        let most = if scene.drawn < 12 {
            largest_px
        } else {
            largest_px.min(90.0)
        };
        let (a, b) = (random.real(4.0, most / 2.0), random.real(4.0, most / 2.0));
        let angle = random.real(0.0, std::f64::consts::PI);
        let (kind, half) = match random.below(3) {
            0 => (Kind::Round, (a, a)),
            1 => (Kind::Round, (a, b)),
            _ => (Kind::Bar, (a.max(b), a.min(b).min(9.0))),
        };
        let place = |random: &mut Random, on_seam: bool| {
            let near = random.real(-0.6, 0.6) * half.0;
            match on_seam {
                true => SEAMS[random.below(8) as usize] + near,
                false => random.real(0.0, 2048.0),
            }
        };
        let (x_on_seam, y_on_seam) = (random.below(2) == 0, random.below(2) == 0);
        let (x, y) = (place(&mut random, x_on_seam), place(&mut random, y_on_seam));
        scene.draw(Shape { kind, half, angle }, x, y);
    }
    scene
}

/// Of 16 to 100 px, everywhere.
pub(super) fn discs(seed: u64, objects: u16) -> Scene {
    let mut random = Random(seed);
    let mut scene = Scene::new(2048, 2048);
    while scene.drawn < objects {
        let radius = random.real(8.0, 50.0);
        let shape = Shape {
            kind: Kind::Round,
            half: (radius, radius),
            angle: 0.0,
        };
        let (x, y) = (
            random.real(radius, 2048.0 - radius),
            random.real(radius, 2048.0 - radius),
        );
        scene.draw(shape, x, y);
    }
    scene
}
