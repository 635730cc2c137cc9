//! Lens and sensor: linear light in, RGB8 out. Blur, vignette, white balance, tone curve, noise.
//!
//! Rows are `3 * width` interleaved linear floats; 1 is white at exposure 1.

use super::look::Sensor;
use super::num::hash;

pub struct Development {
    sensor: Sensor,
    width: usize,
    height: usize,
    /// Weights of the blur across and down, odd counts.
    across: Vec<f32>,
    down: Vec<f32>,
    grain: Vec<f32>,
    noise: [f32; 2],
    seed: u64,
    column: Vec<f32>,
    row: Vec<f32>,
}

const GRAIN: usize = 32768;

/// Weights of a Gaussian of standard deviation `sigma` pixels, normalised; variance kept right for small ones.
fn kernel(sigma: f32) -> Vec<f32> {
    let w = sigma * sigma * 0.5;
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
        let length = GRAIN + 3 * width;
        let grain = (0..length)
            .map(|k| {
                let h = hash(seed ^ hash(k as u64));
                let sum = (h & 0xFFFF) + (h >> 16 & 0xFFFF) + (h >> 32 & 0xFFFF) + (h >> 48);
                (sum as f32 / 65536.0 - 2.0) * 1.732_050_8
            })
            .collect();
        // A coarser sampling averages noise away; a finer one shows more.
        let fineness = scale.clamp(0.25, 2.0).sqrt();
        let pad = 3 * (across.len() / 2);
        Development {
            noise: [sensor.noise[0] * fineness, sensor.noise[1] * fineness],
            sensor,
            width,
            height,
            across,
            down,
            grain,
            seed,
            column: vec![0.0; 3 * width + 2 * pad],
            row: vec![0.0; 3 * width],
        }
    }

    /// Develop a whole frame of linear light.
    pub fn develop(&mut self, light: &[f32], frame: u64, rgb: &mut [u8]) {
        let stride = 3 * self.width;
        let half = self.down.len() / 2;
        for y in 0..self.height {
            let pad = 3 * (self.across.len() / 2);
            {
                let column = &mut self.column[pad..pad + stride];
                for (k, &w) in self.down.iter().enumerate() {
                    let yy = (y + k).saturating_sub(half).min(self.height - 1);
                    let src = &light[yy * stride..(yy + 1) * stride];
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
            }
            for k in 0..pad {
                self.column[pad - 1 - k] = self.column[pad + 2 - k % 3];
                self.column[pad + stride + k] = self.column[pad + stride - 3 + k % 3];
            }
            for (k, &w) in self.across.iter().enumerate() {
                let src = &self.column[3 * k..3 * k + stride];
                if k == 0 {
                    for (r, &s) in self.row.iter_mut().zip(src) {
                        *r = w * s;
                    }
                } else {
                    for (r, &s) in self.row.iter_mut().zip(src) {
                        *r += w * s;
                    }
                }
            }
            self.print(y, frame, &mut rgb[y * stride..(y + 1) * stride]);
        }
    }

    /// Gain, colour, tone and noise of one blurred row. Two passes, so that the second runs on whole vectors.
    fn print(&mut self, y: usize, frame: u64, out: &mut [u8]) {
        let s = &self.sensor;
        let inv = 2.0 / self.width as f32;
        let dy = (y as f32 + 0.5) * inv - self.height as f32 / self.width as f32;
        let v = s.vignette / 1.6;
        let sat = s.saturation;
        let base = 1.0 + s.slope[1] * dy;
        let (e, slope) = (s.exposure, s.slope[0]);
        for (x, c) in self.row.chunks_exact_mut(3).enumerate() {
            let dx = (x as f32 + 0.5) * inv - 1.0;
            let gain = (1.0 - v * (dx * dx + dy * dy)) * (base + slope * dx);
            let r = c[0] * e[0] * gain;
            let g = c[1] * e[1] * gain;
            let b = c[2] * e[2] * gain;
            let grey = (0.25 * r + 0.65 * g + 0.1 * b) * (1.0 - sat);
            c[0] = r * sat + grey;
            c[1] = g * sat + grey;
            c[2] = b * sat + grey;
        }
        let start = (hash(self.seed ^ hash(frame ^ (y as u64) << 40)) as usize) % GRAIN;
        let grain = &self.grain[start..start + 3 * self.width];
        let (n0, n1) = (self.noise[0], self.noise[1] - self.noise[0]);
        let k = s.contrast;
        for ((o, &l), &g) in out.iter_mut().zip(&self.row).zip(grain) {
            // Gamma 2, then an S-curve through 0, 1/2 and 1.
            let t = l.max(0.0).min(1.0).sqrt();
            let t = t + k * t * (1.0 - t) * (t - 0.5);
            let level = t * 255.0 + 0.5 + g * (n0 + n1 * t);
            *o = level.max(0.0).min(255.0) as u8;
        }
    }
}
