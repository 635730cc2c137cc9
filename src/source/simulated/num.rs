//! Arithmetic of the simulated camera: vectors, rotations, trigonometry and dice.
//!
//! Everything here is built from IEEE add, multiply, divide and square root, so that a frame has the same
//! bytes on every machine; the platform's own sin, cos and pow are not used anywhere in this folder.
//!
//! Letters: `v` vector of 3, `m` rotation, rows first. Angles in radians.

use std::f64::consts::TAU;

/// A point, direction or linear RGB colour.
pub type V3 = [f32; 3];

/// Rows of a rotation: `world = m * body`.
pub type M3 = [V3; 3];

pub const IDENTITY: M3 = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

#[inline(always)]
pub fn dot(a: V3, b: V3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
pub fn add(a: V3, b: V3) -> V3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline(always)]
pub fn sub(a: V3, b: V3) -> V3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline(always)]
pub fn scale(a: V3, s: f32) -> V3 {
    [a[0] * s, a[1] * s, a[2] * s]
}

#[inline(always)]
pub fn times(a: V3, b: V3) -> V3 {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
}

#[inline(always)]
pub fn cross(a: V3, b: V3) -> V3 {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

/// Unit vector; a zero vector points up rather than becoming NaN.
#[inline(always)]
pub fn unit(a: V3) -> V3 {
    let n = dot(a, a);
    if n > 1e-20 {
        scale(a, 1.0 / n.sqrt())
    } else {
        [0.0, 0.0, 1.0]
    }
}

/// Largest whole number not above `x`, for |x| < 4 million. A float-to-int cast costs several times as much and
/// keeps loops from becoming vector code.
#[inline(always)]
pub fn floor(x: f32) -> i32 {
    // At this size a float's last bit counts ones: adding it rounds to a whole number.
    const WHOLE: f32 = 12_582_912.0;
    let near = x + WHOLE;
    let k = near.to_bits().wrapping_sub(WHOLE.to_bits()) as i32;
    k - i32::from(near - WHOLE > x)
}

/// How far `x` is above the whole number below it.
#[inline(always)]
pub fn fract(x: f32) -> f32 {
    x - floor(x) as f32
}

#[inline(always)]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[inline(always)]
pub fn mix(a: V3, b: V3, t: f32) -> V3 {
    [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)]
}

/// 0 below `lo`, 1 above `hi`, smooth between.
#[inline(always)]
pub fn smooth(lo: f32, hi: f32, x: f32) -> f32 {
    let t = ((x - lo) / (hi - lo)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[inline(always)]
pub fn rotate(m: &M3, v: V3) -> V3 {
    [dot(m[0], v), dot(m[1], v), dot(m[2], v)]
}

pub fn compose(a: &M3, b: &M3) -> M3 {
    let mut out = IDENTITY;
    for (row, out_row) in a.iter().zip(out.iter_mut()) {
        for (c, cell) in out_row.iter_mut().enumerate() {
            *cell = row[0] * b[0][c] + row[1] * b[1][c] + row[2] * b[2][c];
        }
    }
    out
}

/// Sine and cosine, from a polynomial on a quarter turn.
pub fn sin_cos(angle: f64) -> (f64, f64) {
    let turns = angle / TAU;
    let quarter = (turns * 4.0 + 0.5).floor();
    let x = (turns - quarter * 0.25) * TAU;
    let x2 = x * x;
    let s = x * (1.0 - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0 * (1.0 - x2 / 72.0))));
    let c = 1.0 - x2 / 2.0 * (1.0 - x2 / 12.0 * (1.0 - x2 / 30.0 * (1.0 - x2 / 56.0)));
    match quarter.rem_euclid(4.0) as i64 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

pub fn sin(angle: f32) -> f32 {
    sin_cos(f64::from(angle)).0 as f32
}

pub fn cos(angle: f32) -> f32 {
    sin_cos(f64::from(angle)).1 as f32
}

/// Rotation about z (up) by `angle`.
pub fn about_z(angle: f32) -> M3 {
    let (s, c) = (sin(angle), cos(angle));
    [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]
}

/// Rotation about y by `angle`: takes z towards x.
pub fn about_y(angle: f32) -> M3 {
    let (s, c) = (sin(angle), cos(angle));
    [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]
}

/// Rotation about the unit axis `k` by the angle whose sine and cosine are given.
pub fn about_axis(k: V3, s: f32, c: f32) -> M3 {
    let t = 1.0 - c;
    [
        [
            t * k[0] * k[0] + c,
            t * k[0] * k[1] - s * k[2],
            t * k[0] * k[2] + s * k[1],
        ],
        [
            t * k[0] * k[1] + s * k[2],
            t * k[1] * k[1] + c,
            t * k[1] * k[2] - s * k[0],
        ],
        [
            t * k[0] * k[2] - s * k[1],
            t * k[1] * k[2] + s * k[0],
            t * k[2] * k[2] + c,
        ],
    ]
}

/// One round of SplitMix64's finaliser: a hash of 64 bits.
#[inline(always)]
pub fn hash(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// SplitMix64: the same throws for the same seed, for ever.
pub struct Dice(u64);

impl Dice {
    /// Dice of `seed`, kept apart from other uses of the same seed by `purpose`.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Dice(hash(seed ^ hash(purpose)))
    }

    pub fn bits(&mut self) -> u64 {
        let out = hash(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        out
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in [lo, hi).
    pub fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lo + (hi - lo) * self.unit()
    }

    /// Uniform in 0..n; 0 when n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
