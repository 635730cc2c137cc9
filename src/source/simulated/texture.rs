//! What is printed on objects: 128 x 128 texels that say where each of an object's colours goes.
//!
//! A texel is [mix of colour B over A, mix of colour C over both, brightness (128 = as is), gloss (255 = full)].
//! The colours themselves belong to the object, so that class cannot be told from colour.

use super::num::{Dice, floor, hash, lerp};

pub const SIDE: usize = 128;
const MASK: usize = SIDE - 1;

pub struct Texture {
    texels: Box<[[u8; 4]; SIDE * SIDE]>,
}

/// Smooth noise that wraps every 256 steps, 0..=1, used to mottle everything.
pub struct Noise {
    cells: Vec<f32>,
}

impl Noise {
    pub const SIDE: usize = 256;

    /// Four octaves of value noise, the coarsest `Noise::SIDE / 8` steps long.
    pub fn new(seed: u64) -> Self {
        let n = Self::SIDE;
        let mut cells = vec![0.0f32; n * n];
        for octave in 0..4u64 {
            let step = 32usize >> octave;
            let count = n / step;
            let amplitude = 0.5f32 / (1 << octave) as f32;
            let lattice: Vec<f32> = (0..count * count)
                .map(|k| (hash(seed ^ hash(octave << 40 | k as u64)) >> 40) as f32 / 16_777_216.0)
                .collect();
            for y in 0..n {
                let (gy, fy) = (y / step, (y % step) as f32 / step as f32);
                let fy = fy * fy * (3.0 - 2.0 * fy);
                let (r0, r1) = (gy * count, (gy + 1) % count * count);
                for x in 0..n {
                    let (gx, fx) = (x / step, (x % step) as f32 / step as f32);
                    let fx = fx * fx * (3.0 - 2.0 * fx);
                    let gx1 = (gx + 1) % count;
                    let top = lerp(lattice[r0 + gx], lattice[r0 + gx1], fx);
                    let low = lerp(lattice[r1 + gx], lattice[r1 + gx1], fx);
                    cells[y * n + x] += amplitude * lerp(top, low, fy);
                }
            }
        }
        for c in &mut cells {
            *c /= 0.9375;
        }
        Noise { cells }
    }

    #[inline(always)]
    pub fn at(&self, x: i32, y: i32) -> f32 {
        self.cells[((y as usize & 255) << 8) | (x as usize & 255)]
    }

    /// Between cells too.
    #[inline(always)]
    pub fn between(&self, x: f32, y: f32) -> f32 {
        let (xi, yi) = (floor(x), floor(y));
        let (fx, fy) = (x - xi as f32, y - yi as f32);
        let top = lerp(self.at(xi, yi), self.at(xi + 1, yi), fx);
        let low = lerp(self.at(xi, yi + 1), self.at(xi + 1, yi + 1), fx);
        lerp(top, low, fy)
    }
}

impl Texture {
    pub(super) fn plain() -> Self {
        Texture {
            texels: Box::new([[0, 0, 128, 255]; SIDE * SIDE]),
        }
    }

    /// Bilinear samples at `uv` for `N` pixels at once; both coordinates wrap. Channels 0..=1, brightness 1 = as is.
    #[inline(always)]
    pub fn sample<const N: usize>(&self, u: &[f32; N], v: &[f32; N], out: [&mut [f32; N]; 4], count: usize) {
        let (mut place, mut part) = ([[0u32; N]; 2], [[0.0f32; N]; 2]);
        for (axis, at) in [u, v].into_iter().enumerate() {
            for k in 0..N {
                let x = at[k] * SIDE as f32 + (1024.0 * SIDE as f32 - 0.5);
                let whole = floor(x);
                place[axis][k] = whole as u32;
                part[axis][k] = x - whole as f32;
            }
        }
        let mut corners = [[0u32; N]; 4];
        for k in 0..count.min(N) {
            let (x0, y0) = (place[0][k] as usize & MASK, place[1][k] as usize & MASK);
            let (x1, y1) = ((x0 + 1) & MASK, (y0 + 1) & MASK);
            let at = [y0 * SIDE + x0, y0 * SIDE + x1, y1 * SIDE + x0, y1 * SIDE + x1];
            for (corner, at) in corners.iter_mut().zip(at) {
                corner[k] = u32::from_le_bytes(self.texels[at]);
            }
        }
        for (c, out) in out.into_iter().enumerate() {
            let full = if c == 2 { 128.0 } else { 255.0 };
            for k in 0..N {
                let (fx, fy) = (part[0][k], part[1][k]);
                let byte = |corner: usize| (corners[corner][k] >> (8 * c) & 0xFF) as i32 as f32;
                let sum = byte(0) * ((1.0 - fx) * (1.0 - fy))
                    + byte(1) * (fx * (1.0 - fy))
                    + byte(2) * ((1.0 - fx) * fy)
                    + byte(3) * (fx * fy);
                out[k] = sum / full;
            }
        }
    }

    pub(super) fn fill(&mut self, x0: i32, y0: i32, x1: i32, y1: i32, channel: usize, value: u8) {
        for y in y0..y1 {
            for x in x0..x1 {
                let k = (y as usize & MASK) * SIDE + (x as usize & MASK);
                self.texels[k][channel] = value;
            }
        }
    }

    pub(super) fn disc(&mut self, cx: i32, cy: i32, r: i32, channel: usize, value: u8) {
        for y in -r..=r {
            for x in -r..=r {
                if x * x + y * y <= r * r {
                    let k = ((cy + y) as usize & MASK) * SIDE + ((cx + x) as usize & MASK);
                    self.texels[k][channel] = value;
                }
            }
        }
    }

    /// Rows of dashes that read as print.
    pub(super) fn print(&mut self, dice: &mut Dice, area: [i32; 4], line: i32, channel: usize, value: u8) {
        let [x0, y0, x1, y1] = area;
        let mut y = y0;
        while y + line <= y1 {
            let mut x = x0;
            let stop = x1 - dice.below(((x1 - x0) / 3).max(1) as usize) as i32;
            while x < stop {
                let w = 2 + dice.below(3 * line as usize) as i32;
                self.fill(x, y, (x + w).min(stop), y + line, channel, value);
                x += w + 1 + line / 2;
            }
            y += line * 2;
        }
    }

    pub(super) fn bars(&mut self, dice: &mut Dice, area: [i32; 4], channel: usize, value: u8) {
        let mut x = area[0];
        while x < area[2] {
            let w = 1 + dice.below(3) as i32;
            self.fill(x, area[1], (x + w).min(area[2]), area[3], channel, value);
            x += w + 1 + dice.below(3) as i32;
        }
    }

    pub(super) fn mottle(&mut self, noise: &Noise, strength: f32, stretch: (i32, i32)) {
        for y in 0..SIDE as i32 {
            for x in 0..SIDE as i32 {
                let n = noise.at(x * stretch.0, y * stretch.1) - 0.5;
                let t = &mut self.texels[y as usize * SIDE + x as usize];
                t[2] = (f32::from(t[2]) * (1.0 + strength * n)).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

fn px(dice: &mut Dice, lo: usize, hi: usize) -> i32 {
    (lo + dice.below(hi - lo)) as i32
}

/// Carton face: tape, stamps, a shipping label, or a printed retail front.
pub fn carton(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    t.mottle(noise, 0.16, (2, 2));
    if dice.chance(0.55) {
        let w = px(dice, 7, 14);
        t.fill(0, 64 - w, 128, 64 + w, 0, 150);
        t.fill(0, 64 - w, 128, 64 + w, 3, 255);
        t.fill(0, 63, 128, 65, 2, 90);
    } else if dice.chance(0.5) {
        let y = px(dice, 10, 50);
        t.fill(0, y, 128, y + px(dice, 25, 60), 0, 255);
    }
    if dice.chance(0.8) {
        let (x, y) = (px(dice, 8, 50), px(dice, 8, 60));
        let (w, h) = (px(dice, 34, 64), px(dice, 26, 50));
        t.fill(x, y, x + w, y + h, 1, 255);
        t.print(dice, [x + 4, y + 4, x + w - 4, y + h / 2], 2, 2, 40);
        t.bars(dice, [x + 4, y + h / 2 + 3, x + w - 6, y + h - 4], 2, 30);
    }
    if dice.chance(0.6) {
        let (x, y) = (px(dice, 5, 70), px(dice, 80, 100));
        t.print(dice, [x, y, x + 50, y + 20], 3, 0, 230);
    }
    // Worn edges.
    for k in 0..3u8 {
        let i = i32::from(k);
        let b = 96 + 12 * k;
        t.fill(i, 0, i + 1, 128, 2, b);
        t.fill(127 - i, 0, 128 - i, 128, 2, b);
        t.fill(0, i, 128, i + 1, 2, b);
        t.fill(0, 127 - i, 128, 128 - i, 2, b);
    }
    t
}

/// A printed band that goes round: bottle label, can wall, mug print.
pub fn label(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    match dice.below(4) {
        0 => {
            let h = px(dice, 12, 40);
            t.fill(0, 0, 128, h, 0, 255);
            t.fill(0, 128 - h, 128, 128, 0, 255);
        }
        1 => {
            let n = px(dice, 2, 6);
            for k in 0..n {
                let x = k * 128 / n;
                t.fill(x, 0, x + 64 / n, 128, 0, 255);
            }
        }
        2 => {
            let y = px(dice, 20, 60);
            t.fill(0, y, 128, y + px(dice, 20, 50), 0, 255);
        }
        _ => {
            for y in 0..SIDE {
                let row = y * SIDE;
                for x in 0..SIDE {
                    t.texels[row + x][0] = (y * 2).min(255) as u8;
                }
            }
        }
    }
    for side in 0..2 {
        let cx = side * 64 + px(dice, 16, 48);
        let cy = px(dice, 44, 84);
        if dice.chance(0.7) {
            let r = px(dice, 10, 22);
            t.disc(cx, cy, r, 1, 255);
            t.disc(cx, cy, r * 2 / 3, 0, 255);
            t.disc(cx, cy, r / 2, 1, 60);
        }
        let y = px(dice, 12, 40);
        let line = px(dice, 3, 6);
        t.print(dice, [cx - 22, y, cx + 22, y + 12], line, 1, 255);
        t.print(dice, [cx - 20, 92, cx + 20, 118], 2, 1, 220);
    }
    t.mottle(noise, 0.06, (2, 2));
    t
}

/// Balls: panels, stripes, spots or plain.
pub fn ball(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    match dice.below(5) {
        0 => {
            let n = pick_even(dice);
            for k in 0..n {
                let x = k * 128 / n;
                if k % 2 == 0 {
                    t.fill(x, 0, x + 128 / n, 128, 0, 255);
                }
            }
        }
        1 => {
            let h = px(dice, 8, 22);
            t.fill(0, 64 - h, 128, 64 + h, 0, 255);
            t.fill(0, 62 - h, 128, 64 - h, 1, 255);
            t.fill(0, 64 + h, 128, 66 + h, 1, 255);
        }
        2 => {
            for _ in 0..px(dice, 8, 16) {
                let (x, y) = (px(dice, 0, 128), px(dice, 24, 104));
                t.disc(x, y, px(dice, 5, 11), 0, 255);
            }
        }
        3 => {
            // Seams of a basket or tennis ball.
            for x in 0..128i32 {
                let wave = super::num::sin(x as f32 / 128.0 * std::f32::consts::TAU * 2.0);
                let y = 64 + (wave * 26.0) as i32;
                t.fill(x, y - 2, x + 1, y + 2, 1, 255);
            }
            t.fill(0, 0, 3, 128, 1, 200);
            t.fill(64, 0, 67, 128, 1, 200);
        }
        _ => {}
    }
    t.mottle(noise, 0.10, (3, 3));
    t
}

fn pick_even(dice: &mut Dice) -> i32 {
    dice.pick(&[4, 6, 8])
}

/// Metal: brushed, a little dirty.
pub fn metal(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    t.mottle(noise, 0.3, (1, 8));
    let (ox, oy) = (px(dice, 0, 256), px(dice, 0, 256));
    for y in 0..SIDE as i32 {
        for x in 0..SIDE as i32 {
            let n = noise.at(x * 2 + ox, y * 2 + oy);
            let k = &mut t.texels[y as usize * SIDE + x as usize];
            k[0] = (super::num::smooth(0.55, 0.8, n) * 160.0) as u8;
            k[3] = (255.0 - super::num::smooth(0.4, 0.8, n) * 150.0) as u8;
        }
    }
    t
}

/// A snack or flour bag: seams at both ends, a big print.
pub fn bag(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    if dice.chance(0.7) {
        let y = px(dice, 10, 40);
        t.fill(16, y, 112, y + px(dice, 40, 70), 0, 255);
    }
    if dice.chance(0.7) {
        let (x, y) = (px(dice, 40, 88), px(dice, 44, 84));
        let r = px(dice, 14, 28);
        t.disc(x, y, r, 1, 255);
        t.disc(x, y, r * 3 / 5, 0, 40);
    }
    let y = px(dice, 24, 50);
    t.print(dice, [26, y, 102, y + 16], 7, 1, 255);
    t.print(dice, [30, 92, 98, 112], 2, 1, 200);
    t.mottle(noise, 0.2, (2, 2));
    for x in [0, 4, 8, 120, 124] {
        t.fill(x, 0, x + 2, 128, 2, 84);
    }
    t
}

/// Cones: bands round the body.
pub fn bands(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    let n = px(dice, 1, 4);
    for k in 0..n {
        let y = 24 + k * 84 / n;
        let h = px(dice, 10, 10 + (50 / n) as usize);
        t.fill(0, y, 128, y + h, 0, 255);
        t.fill(0, y, 128, y + h, 3, 255);
    }
    t.mottle(noise, 0.22, (2, 2));
    t
}

/// Peel, shell and bark: blotches and specks of two more colours, dull in places.
pub fn skin(dice: &mut Dice, noise: &Noise) -> Texture {
    let mut t = Texture::plain();
    t.mottle(noise, dice.range(0.1, 0.5), (px(dice, 1, 4), px(dice, 1, 4)));
    let (ox, oy) = (px(dice, 0, 256), px(dice, 0, 256));
    let (coarse, stretch) = (px(dice, 1, 4), px(dice, 1, 5));
    let (from, amount) = (dice.range(0.4, 0.6), dice.range(60.0, 255.0));
    let patch = dice.range(0.55, 0.75);
    for y in 0..SIDE as i32 {
        for x in 0..SIDE as i32 {
            let n = noise.at(x * coarse * stretch + ox, y * coarse + oy);
            let m = noise.at(x * 2 + oy, y * 2 + ox);
            let k = &mut t.texels[y as usize * SIDE + x as usize];
            k[0] = (super::num::smooth(from, from + 0.25, n) * amount) as u8;
            k[1] = (super::num::smooth(patch, patch + 0.1, m) * 220.0) as u8;
            k[3] = (255.0 - super::num::smooth(0.35, 0.8, m) * 170.0) as u8;
        }
    }
    t
}
