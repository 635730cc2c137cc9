//! Lens and sensor: linear light in, RGB8 out. Blur, vignette, white balance, tone curve, noise.
//!
//! A row of light is three planes of `width` linear floats, red, green, blue; 1 is white at exposure 1.

use super::look::Sensor;
use super::num::{floor, hash};

pub struct Development {
    sensor: Sensor,
    width: usize,
    height: usize,
    /// Weights of the blur across and down, odd counts.
    across: Vec<f32>,
    down: Vec<f32>,
    /// Unit noise; value 3 k + j of the sequence is `grain[j][k]`.
    grain: [Vec<f32>; 3],
    noise: [f32; 2],
    seed: u64,
    /// One row blurred down, with room for the blur across at both ends; then blurred across; then as levels.
    column: Vec<f32>,
    row: [Vec<f32>; 3],
    gain: Vec<f32>,
    levels: [Vec<u8>; 3],
}

const GRAIN: usize = 32768;

/// Weights of a Gaussian of standard deviation `sigma` pixels, normalised; variance kept right for small ones. Below
/// 0 it sharpens by as much.
fn kernel(sigma: f32) -> Vec<f32> {
    let w = sigma * sigma.abs() * 0.5;
    if w <= 0.26 {
        return vec![w, 1.0 - 2.0 * w, w];
    }
    // Three-tap passes convolved: each adds at most half a squared pixel of variance.
    let passes = (w / 0.26).ceil().max(1.0);
    let each = w / passes;
    let mut out = vec![1.0f32];
    for _ in 0..(passes as usize).min(16) {
        let mut next = vec![0.0; out.len() + 2];
        for (k, v) in out.iter().enumerate() {
            next[k] += v * each;
            next[k + 1] += v * (1.0 - 2.0 * each);
            next[k + 2] += v * each;
        }
        out = next;
    }
    out
}

impl Development {
    pub fn new(sensor: Sensor, seed: u64, width: usize, height: usize) -> Self {
        let scale = width as f32 / 640.0;
        let across = kernel(sensor.blur_640[0] * scale);
        let down = kernel(sensor.blur_640[1] * scale);
        let length = (GRAIN + 3 * width).next_multiple_of(3) as u64;
        let plane = |j: u64| {
            let value = |k: u64| {
                let h = hash(seed ^ hash(k));
                let sum = (h & 0xFFFF) + (h >> 16 & 0xFFFF) + (h >> 32 & 0xFFFF) + (h >> 48);
                (sum as f32 / 65536.0 - 2.0) * 1.732_050_8
            };
            (j..length).step_by(3).map(value).collect()
        };
        // A coarser sampling averages noise away; a finer one shows more.
        let fineness = scale.clamp(0.25, 2.0).sqrt();
        Development {
            noise: [sensor.noise[0] * fineness, sensor.noise[1] * fineness],
            sensor,
            width,
            height,
            column: vec![0.0; width + across.len() - 1],
            across,
            down,
            grain: [plane(0), plane(1), plane(2)],
            seed,
            row: [vec![0.0; width], vec![0.0; width], vec![0.0; width]],
            gain: vec![0.0; width],
            levels: [vec![0; width], vec![0; width], vec![0; width]],
        }
    }

    /// Rows of light, above and below, that a developed row needs.
    pub fn reach(&self) -> usize {
        self.down.len() / 2
    }

    /// Develop row `y` of frame `frame` into `rgb`; `light(y)` gives any row within `reach` of it.
    pub fn develop<'a>(&mut self, y: usize, frame: u64, light: impl Fn(usize) -> &'a [f32], rgb: &mut [u8]) {
        let (width, half) = (self.width, self.reach());
        let pad = self.across.len() / 2;
        for plane in 0..3 {
            let column = &mut self.column[pad..pad + width];
            for (k, &w) in self.down.iter().enumerate() {
                let yy = (y + k).saturating_sub(half).min(self.height - 1);
                let src = &light(yy)[plane * width..(plane + 1) * width];
                if k == 0 {
                    for (c, &s) in column.iter_mut().zip(src) {
                        *c = w * s;
                    }
                } else {
                    for (c, &s) in column.iter_mut().zip(src) {
                        *c += w * s;
                    }
                }
            }
            let (first, last) = (column[0], column[width - 1]);
            self.column[..pad].fill(first);
            self.column[pad + width..].fill(last);
            for (k, &w) in self.across.iter().enumerate() {
                let src = &self.column[k..k + width];
                if k == 0 {
                    for (r, &s) in self.row[plane].iter_mut().zip(src) {
                        *r = w * s;
                    }
                } else {
                    for (r, &s) in self.row[plane].iter_mut().zip(src) {
                        *r += w * s;
                    }
                }
            }
        }
        self.balance(y);
        self.print(y, frame, rgb);
    }

    /// Exposure, vignette, white balance and saturation of the blurred row.
    fn balance(&mut self, y: usize) {
        let s = &self.sensor;
        let inv = 2.0 / self.width as f32;
        let dy = (y as f32 + 0.5) * inv - self.height as f32 / self.width as f32;
        let v = s.vignette / 1.6;
        let sat = s.saturation;
        let base = 1.0 + s.slope[1] * dy;
        let (e, slope) = (s.exposure, s.slope[0]);
        for (x, gain) in self.gain.iter_mut().enumerate() {
            let dx = (x as i32 as f32 + 0.5) * inv - 1.0;
            *gain = (1.0 - v * (dx * dx + dy * dy)) * (base + slope * dx);
        }
        let [r, g, b] = &mut self.row;
        for (((r, g), b), &gain) in r.iter_mut().zip(g).zip(b).zip(&self.gain) {
            let (lr, lg, lb) = (*r * e[0] * gain, *g * e[1] * gain, *b * e[2] * gain);
            let grey = (0.25 * lr + 0.65 * lg + 0.1 * lb) * (1.0 - sat);
            *r = lr * sat + grey;
            *g = lg * sat + grey;
            *b = lb * sat + grey;
        }
    }

    /// Tone and noise.
    // `max` and `min`, unlike `clamp`, turn a NaN into black.
    #[allow(clippy::manual_clamp)]
    fn print(&mut self, y: usize, frame: u64, rgb: &mut [u8]) {
        let start = (hash(self.seed ^ hash(frame ^ (y as u64) << 40)) as usize) % GRAIN;
        let (n0, n1) = (self.noise[0], self.noise[1] - self.noise[0]);
        let k = self.sensor.contrast;
        for plane in 0..3 {
            let at = start + plane;
            let grain = &self.grain[at % 3][at / 3..at / 3 + self.width];
            let levels = &mut self.levels[plane];
            for ((o, &l), &g) in levels.iter_mut().zip(&self.row[plane]).zip(grain) {
                // Gamma 2, then an S-curve through 0, 1/2 and 1.
                let t = l.max(0.0).min(1.0).sqrt();
                let t = t + k * t * (1.0 - t) * (t - 0.5);
                let level = t * 255.0 + 0.5 + g * (n0 + n1 * t);
                *o = floor(level.max(0.0).min(255.0)) as u8;
            }
        }
        let [r, g, b] = &self.levels;
        for (((o, &r), &g), &b) in rgb.chunks_exact_mut(3).zip(r).zip(g).zip(b) {
            o[0] = r;
            o[1] = g;
            o[2] = b;
        }
    }
}
