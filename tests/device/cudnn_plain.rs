//! The layers of the cuDNN executor as plain f32 loops over [N, C, H, W].

use half::f16;
use maskcast::engine::graph::{Array, Window};

use super::noise;

/// A value of a plain loop, [N, C, H, W].
#[derive(Clone)]
pub struct Plane {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub values: Vec<f32>,
}

impl Plane {
    pub fn made(n: usize, c: usize, h: usize, w: usize, at: impl Fn([usize; 4]) -> f32) -> Plane {
        let mut values = Vec::with_capacity(n * c * h * w);
        for index in 0..n * c * h * w {
            values.push(at([index / (c * h * w), index / (h * w) % c, index / w % h, index % w]));
        }
        Plane { n, c, h, w, values }
    }

    pub fn random([n, c, h, w]: [usize; 4], seed: u64) -> Plane {
        let mut next = noise(seed);
        let values: Vec<f32> = (0..n * c * h * w).map(|_| f16::from_f32(next()).to_f32()).collect();
        Plane { n, c, h, w, values }
    }

    pub fn at(&self, [n, c, y, x]: [usize; 4]) -> f32 {
        self.values[((n * self.c + c) * self.h + y) * self.w + x]
    }

    pub fn channels_last(&self) -> Vec<f32> {
        let (c, h, w) = (self.c, self.h, self.w);
        (0..self.values.len())
            .map(|i| self.at([i / (c * h * w), i % c, i / (w * c) % h, i / c % w]))
            .collect()
    }

    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Plane {
        self.values.iter_mut().for_each(|v| *v = f(*v));
        self
    }

    pub fn plus(mut self, other: &Plane) -> Plane {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += b);
        self
    }

    /// `groups` = channels, or 1.
    pub fn conv(&self, weight: &Array, bias: &Array, window: Window, groups: usize) -> Plane {
        let (k, out) = (window.kernel, bias.values.len());
        let over = |extent: usize| (extent + 2 * window.pad - k) / window.stride + 1;
        let inputs = self.c / groups;
        Plane::made(self.n, out, over(self.h), over(self.w), |[n, o, y, x]| {
            let mut sum = bias.values[o];
            for i in 0..inputs {
                let c = if groups == 1 { i } else { o };
                for ky in 0..k {
                    for kx in 0..k {
                        let (iy, ix) = (y * window.stride + ky, x * window.stride + kx);
                        if iy >= window.pad && ix >= window.pad && iy - window.pad < self.h && ix - window.pad < self.w
                        {
                            sum += self.at([n, c, iy - window.pad, ix - window.pad])
                                * weight.values[((o * inputs + i) * k + ky) * k + kx];
                        }
                    }
                }
            }
            sum
        })
    }

    /// Weight [C, O / groups, k, k].
    pub fn deconv(&self, weight: &Array, bias: &Array, window: Window, groups: usize) -> Plane {
        let (k, out) = (window.kernel, bias.values.len());
        let outs = out / groups;
        let under = |extent: usize| (extent - 1) * window.stride + k - 2 * window.pad;
        let mut to = Plane::made(self.n, out, under(self.h), under(self.w), |[_, o, ..]| bias.values[o]);
        for index in 0..self.values.len() {
            let (n, c) = (index / (self.c * self.h * self.w), index / (self.h * self.w) % self.c);
            let (y, x) = (index / self.w % self.h, index % self.w);
            for j in 0..outs {
                let o = if groups == 1 { j } else { c };
                for ky in 0..k {
                    for kx in 0..k {
                        let (oy, ox) = (y * window.stride + ky, x * window.stride + kx);
                        if oy >= window.pad && ox >= window.pad && oy - window.pad < to.h && ox - window.pad < to.w {
                            let at = ((n * out + o) * to.h + oy - window.pad) * to.w + ox - window.pad;
                            to.values[at] += self.values[index] * weight.values[((c * outs + j) * k + ky) * k + kx];
                        }
                    }
                }
            }
        }
        to
    }

    pub fn max_pool(&self, window: Window) -> Plane {
        let over = |extent: usize| (extent + 2 * window.pad - window.kernel) / window.stride + 1;
        Plane::made(self.n, self.c, over(self.h), over(self.w), |[n, c, y, x]| {
            let mut best = f32::NEG_INFINITY;
            for iy in y * window.stride..y * window.stride + window.kernel {
                for ix in x * window.stride..x * window.stride + window.kernel {
                    if iy >= window.pad && ix >= window.pad && iy - window.pad < self.h && ix - window.pad < self.w {
                        let v = self.at([n, c, iy - window.pad, ix - window.pad]);
                        if v > best || v.is_nan() {
                            best = v;
                        }
                    }
                }
            }
            best
        })
    }

    pub fn upsampled(&self) -> Plane {
        Plane::made(self.n, self.c, 2 * self.h, 2 * self.w, |[n, c, y, x]| {
            self.at([n, c, y / 2, x / 2])
        })
    }
}
