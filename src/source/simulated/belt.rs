//! The belt's surface: a texture that repeats every `LENGTH` units along and scrolls with the belt.
//!
//! One texel is one world unit. A texel is red, green and blue as 255 * sqrt(linear), red lowest. The stains, tape, paper and stickers on the belt
//! are part of the texture: flat things that are not instances.

use super::backdrop::STEPS;
use super::look::{Belt, BeltKind, any_colour};
use super::num::{Dice, V3, cos, hash, lerp, mix, scale, sin, smooth};
use super::texture::Noise;

pub const LENGTH: usize = 1024;
pub const BREADTH: usize = 544;

pub struct BeltTexture {
    texels: Vec<u32>,
}

impl BeltTexture {
    pub fn new(belt: &Belt, seed: u64, noise: &Noise) -> Self {
        let mut dice = Dice::new(seed, 0xBE17);
        let mut ground = vec![[0.0f32; 3]; LENGTH * BREADTH];
        base(belt, &mut dice, noise, &mut ground);
        lanes(belt, &mut dice, &mut ground);
        for _ in 0..belt.clutter {
            decal(belt, &mut dice, noise, &mut ground);
        }
        let texels = ground
            .iter()
            .map(|c| {
                let e = |x: f32| (x.clamp(0.0, 1.0).sqrt() * 255.0 + 0.5) as u32;
                e(c[0]) | e(c[1]) << 8 | e(c[2]) << 16
            })
            .collect();
        BeltTexture { texels }
    }

    /// Touch the texels at these places, so that the misses overlap instead of coming one by one while sampling.
    #[inline(always)]
    pub fn warm(&self, places: impl Iterator<Item = (u32, u32)>) {
        let touched = places.fold(0u32, |sum, (u, v)| {
            let at = (v / STEPS) as usize * LENGTH + ((u / STEPS) as usize & (LENGTH - 1));
            sum ^ self.texels[at] ^ self.texels[at + LENGTH]
        });
        std::hint::black_box(touched);
    }

    /// Bilinear sample; `u` along and `v` across, in `STEPS` a texel. Red, blue and green, lowest first, in 16 bits
    /// each: so one multiplication weighs all three.
    #[inline(always)]
    pub fn at(&self, u: u32, v: u32) -> u64 {
        const LOW_BYTES: u64 = 0x00FF_00FF_00FF;
        let (x0, fx) = ((u / STEPS) as usize & (LENGTH - 1), u64::from(u % STEPS));
        let x1 = (x0 + 1) & (LENGTH - 1);
        let (y, fy) = ((v / STEPS) as usize * LENGTH, u64::from(v % STEPS));
        let steps = u64::from(STEPS);
        let rows = &self.texels[y..y + 2 * LENGTH];
        let spread = |texel: u32| (u64::from(texel) | u64::from(texel) << 24) & LOW_BYTES;
        let (a, b) = (spread(rows[x0]), spread(rows[x1]));
        let (c, d) = (spread(rows[LENGTH + x0]), spread(rows[LENGTH + x1]));
        let top = ((a * (steps - fx) + b * fx) / steps) & LOW_BYTES;
        let low = ((c * (steps - fx) + d * fx) / steps) & LOW_BYTES;
        ((top * (steps - fy) + low * fy) / steps) & LOW_BYTES
    }
}

fn base(belt: &Belt, dice: &mut Dice, noise: &Noise, ground: &mut [V3]) {
    let pitch = dice.pick(&[16, 32, 64]) as usize;
    let cross_pitch = dice.pick(&[24usize, 34, 48]);
    let depth = dice.range(0.25, 0.6);
    let grain = dice.range(0.04, 0.14);
    let wear = dice.range(0.0, 0.5);
    let salt = dice.bits();
    let (ox, oy) = (dice.below(256) as i32, dice.below(256) as i32);
    let ribs: Vec<f32> = (0..LENGTH)
        .map(|x| {
            let t = (x % pitch) as f32 / pitch as f32;
            1.0 - depth * smooth(0.55, 0.75, t) * (1.0 - smooth(0.85, 1.0, t))
        })
        .collect();
    for y in 0..BREADTH {
        let across = y as f32 - BREADTH as f32 / 2.0;
        // The middle of an old belt is worn lighter, its edges hold dirt.
        let track = 1.0 + wear * 0.4 * (1.0 - (across / belt.half_width) * (across / belt.half_width));
        for x in 0..LENGTH {
            let (xi, yi) = (x as i32, y as i32);
            let coarse = noise.at((xi >> 2) + ox, (yi >> 2) + oy) - 0.5;
            let fine = noise.at(xi * 3 + oy, yi * 3 + ox) - 0.5;
            let speck = (hash(salt ^ (y * LENGTH + x) as u64) >> 40) as f32 / 16_777_216.0 - 0.5;
            let mut g = track * (1.0 + belt.dirt * 0.5 * coarse + grain * (1.4 * fine + speck));
            match belt.kind {
                BeltKind::Rubber => g *= 1.0 + 0.25 * fine,
                BeltKind::Smooth => {}
                BeltKind::Links => {
                    let shift = (x / pitch.max(32)) % 2 * (cross_pitch / 2);
                    let (lx, ly) = (x % pitch.max(32), (y + shift) % cross_pitch);
                    if lx < 2 || ly < 2 {
                        g *= 0.42;
                    } else if lx < 4 || ly < 3 {
                        g *= 1.15;
                    }
                }
                BeltKind::Ribs => g *= ribs[x],
                BeltKind::Mesh => {
                    let (lx, ly) = ((x + y) % 16, (x + LENGTH - y) % 16);
                    if lx < 4 || ly < 4 {
                        g *= 1.1;
                    } else {
                        g *= 0.3;
                    }
                }
                BeltKind::Felt => {
                    let streak = noise.at(xi >> 1, yi * 6) - 0.5;
                    g *= 1.0 + 0.35 * streak;
                }
            }
            ground[y * LENGTH + x] = scale(belt.colour, g.max(0.05));
        }
    }
}

/// Lines painted or worn along the belt, and the belt's splice.
fn lanes(belt: &Belt, dice: &mut Dice, ground: &mut [V3]) {
    let mut strip = |y0: usize, y1: usize, colour: V3, strength: f32, dash: usize| {
        for y in y0.min(BREADTH)..y1.min(BREADTH) {
            for x in 0..LENGTH {
                if dash == 0 || (x / dash).is_multiple_of(2) {
                    let g = &mut ground[y * LENGTH + x];
                    *g = mix(*g, colour, strength);
                }
            }
        }
    };
    if dice.chance(0.3) {
        let edge = belt.half_width * dice.range(0.8, 0.93);
        let (colour, w) = (any_colour(dice), 3 + dice.below(8));
        let dash = if dice.chance(0.3) { 32 } else { 0 };
        for side in [-1.0, 1.0] {
            let y = (BREADTH as f32 / 2.0 + side * edge) as usize;
            strip(y, y + w, colour, 0.7, dash);
        }
    }
    if dice.chance(0.15) {
        let y = BREADTH / 2 - 3;
        strip(y, y + 5, any_colour(dice), 0.6, 64);
    }
    if dice.chance(0.5) {
        let x0 = dice.below(LENGTH);
        for y in 0..BREADTH {
            for k in 0..4 {
                let g = &mut ground[y * LENGTH + (x0 + y / 3 + k) % LENGTH];
                *g = scale(*g, 0.5);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Flat {
    Paper,
    Tape,
    Sticker,
    Stain,
    Wet,
    Chalk,
}

fn decal(belt: &Belt, dice: &mut Dice, noise: &Noise, ground: &mut [V3]) {
    let kind = dice.pick(&[
        Flat::Paper,
        Flat::Tape,
        Flat::Sticker,
        Flat::Paper,
        Flat::Stain,
        Flat::Wet,
        Flat::Chalk,
    ]);
    let (cx, cy) = (
        dice.below(LENGTH) as f32,
        BREADTH as f32 / 2.0 + dice.range(-0.9, 0.9) * belt.half_width,
    );
    let a = dice.range(0.0, std::f32::consts::TAU);
    let (s, c) = (sin(a), cos(a));
    let (hx, hy) = match kind {
        Flat::Paper => (dice.range(10.0, 42.0), dice.range(8.0, 28.0)),
        Flat::Tape => (dice.range(20.0, 80.0), dice.range(4.0, 9.0)),
        Flat::Sticker => (dice.range(7.0, 20.0), dice.range(7.0, 16.0)),
        Flat::Stain | Flat::Wet => (dice.range(12.0, 70.0), dice.range(10.0, 45.0)),
        Flat::Chalk => (dice.range(20.0, 90.0), dice.range(1.2, 2.5)),
    };
    let tone = dice.range(0.3, 0.85);
    let colour = match kind {
        Flat::Paper => [tone, tone * 0.98, tone * 0.92],
        Flat::Tape => [0.45 * tone, 0.34 * tone, 0.2 * tone],
        Flat::Sticker => any_colour(dice),
        Flat::Stain => {
            let stuff = dice.pick(&[
                [0.10, 0.06, 0.03],
                [0.5, 0.5, 0.47],
                [0.2, 0.08, 0.04],
                [0.3, 0.25, 0.12],
            ]);
            scale(stuff, tone)
        }
        Flat::Wet => scale(belt.colour, 0.7),
        Flat::Chalk => [0.7 * tone; 3],
    };
    let strength = match kind {
        Flat::Stain => dice.range(0.2, 0.6),
        Flat::Wet => dice.range(0.3, 0.7),
        Flat::Tape => dice.range(0.6, 0.95),
        Flat::Chalk => dice.range(0.3, 0.7),
        _ => dice.range(0.8, 1.0),
    };
    let ragged = dice.chance(0.5);
    let round = matches!(kind, Flat::Sticker) && dice.chance(0.5);
    let (ox, oy) = (dice.below(256) as i32, dice.below(256) as i32);
    let reach = (hx * hx + hy * hy).sqrt() as i32 * 3 / 2 + 2;
    for dy in -reach..=reach {
        let y = cy as i32 + dy;
        if y < 0 || y >= BREADTH as i32 {
            continue;
        }
        for dx in -reach..=reach {
            let u = (dx as f32 * c + dy as f32 * s) / hx;
            let v = (dy as f32 * c - dx as f32 * s) / hy;
            let n = noise.at(dx + ox, dy + oy) - 0.5;
            let inside = match kind {
                Flat::Stain | Flat::Wet => smooth(1.15, 0.75, (u * u + v * v).sqrt() + 1.3 * n),
                _ if round => smooth(1.06, 0.94, (u * u + v * v).sqrt()),
                _ => {
                    let rag = if ragged { 0.35 * n } else { 0.0 };
                    smooth(1.0 + 1.0 / hx, 1.0 - 1.0 / hx, u.abs() + rag)
                        * smooth(1.0 + 1.0 / hy, 1.0 - 1.0 / hy, v.abs() + rag)
                }
            };
            if inside <= 0.0 {
                continue;
            }
            let mut ink = 1.0 + 0.15 * n;
            let printed = matches!(kind, Flat::Paper | Flat::Sticker);
            if printed && u.abs() < 0.8 && v.abs() < 0.8 {
                let line = ((v + 1.0) * hy / 3.0) as i32;
                let word = hash((line as u64) << 32 | (((u + 1.0) * hx / 4.0) as u64 + oy as u64));
                if line % 2 == 0 && !word.is_multiple_of(4) {
                    ink *= 0.35;
                }
            }
            let x = (cx as i32 + dx).rem_euclid(LENGTH as i32) as usize;
            let g = &mut ground[y as usize * LENGTH + x];
            *g = mix(*g, scale(colour, ink), inside * lerp(0.0, 1.0, strength));
        }
    }
}
