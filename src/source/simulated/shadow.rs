//! Shadows: a grid over the belt that holds, per cell, how high the thing is that keeps the light off.
//!
//! World points are moved along the light onto z = 0; `height` is the highest z that lands in a cell (0 none).
//! A point at height z is in shadow where `height` at its own landing place is above z. `lit` is the grid blurred,
//! for the belt itself (255 no shadow); `open` says how much of the sky a belt cell sees past what stands on it.

use super::mesh::Triangle;
use super::num::{V3, floor};

/// World units a cell.
const CELL: f32 = 3.0;
/// Nothing nearer than this above a point keeps light off it: the grid is coarse.
const BIAS: f32 = 5.0;

pub struct ShadowGrid {
    origin: [f32; 2],
    nx: usize,
    ny: usize,
    /// Horizontal way the light travels for each unit of height.
    slant: [f32; 2],
    height: Vec<f32>,
    near: Vec<u8>,
    lit: Vec<u8>,
    open: Vec<u8>,
    scratch: Vec<u8>,
    /// Vertices of the mesh being cast: landed along the light, and straight down.
    landed: Vec<([f32; 3], [f32; 3])>,
    soft_cells: usize,
}

/// A place in the grid: the cell up and left of it, and how far on towards the next ones.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    index: u32,
    part: [f32; 2],
}

/// Contact shadow fades out where the underside is this far above the belt.
const CONTACT_HEIGHT: f32 = 36.0;
const CONTACT_CELLS: usize = 3;

impl ShadowGrid {
    pub fn new(lo: [f32; 2], hi: [f32; 2], towards: V3, softness: f32) -> Self {
        let nx = (((hi[0] - lo[0]) / CELL) as usize + 2).min(1024);
        let ny = (((hi[1] - lo[1]) / CELL) as usize + 2).min(1024);
        let n = nx * ny;
        ShadowGrid {
            origin: lo,
            nx,
            ny,
            slant: [towards[0] / towards[2], towards[1] / towards[2]],
            height: vec![0.0; n],
            near: vec![0; n],
            lit: vec![255; n],
            open: vec![255; n],
            scratch: vec![0; n],
            landed: Vec::new(),
            soft_cells: ((softness / CELL) as usize).clamp(1, 12),
        }
    }

    pub fn clear(&mut self) {
        self.height.fill(0.0);
        self.near.fill(0);
    }

    /// Where the point (x, y) of the belt lies in the grid. Cell centres are at whole numbers.
    pub fn cell(&self, x: f32, y: f32) -> Cell {
        let x = ((x - self.origin[0]) / CELL - 0.5).clamp(0.0, (self.nx - 2) as f32);
        let y = ((y - self.origin[1]) / CELL - 0.5).clamp(0.0, (self.ny - 2) as f32);
        let (xi, yi) = (floor(x), floor(y));
        Cell {
            index: (yi as usize * self.nx + xi as usize) as u32,
            part: [x - xi as f32, y - yi as f32],
        }
    }

    fn landing(&self, p: V3) -> [f32; 3] {
        [
            (p[0] - self.slant[0] * p[2] - self.origin[0]) / CELL,
            (p[1] - self.slant[1] * p[2] - self.origin[1]) / CELL,
            p[2],
        ]
    }

    /// Let a mesh keep light off what is behind it. `points` its vertices in the world.
    pub fn cast(&mut self, points: impl Iterator<Item = V3>, triangles: &[Triangle]) {
        let mut landed = std::mem::take(&mut self.landed);
        landed.clear();
        landed.extend(points.map(|p| {
            let below = [(p[0] - self.origin[0]) / CELL, (p[1] - self.origin[1]) / CELL, p[2]];
            (self.landing(p), below)
        }));
        let (nx, ny) = (self.nx, self.ny);
        let triangles = if self.may_darken(&landed) { triangles } else { &[] };
        for t in triangles {
            let corners = t.v.map(|k| landed[k as usize]);
            let height = &mut self.height;
            cells(corners.map(|c| c.0), nx, ny, true, |k, z| {
                if z > height[k] {
                    height[k] = z;
                }
            });
            let below = corners.map(|c| c.1);
            if below[0][2].min(below[1][2]).min(below[2][2]) < CONTACT_HEIGHT {
                let near = &mut self.near;
                cells(below, nx, ny, false, |k, z| {
                    let w = (1.0 - z / CONTACT_HEIGHT).clamp(0.0, 1.0);
                    let w = floor(w * 255.0) as u8;
                    if w > near[k] {
                        near[k] = w;
                    }
                });
            }
        }
        self.landed = landed;
    }

    /// False if none of a mesh with these corners lands in the grid.
    fn may_darken(&self, landed: &[([f32; 3], [f32; 3])]) -> bool {
        let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
        for p in landed.iter().flat_map(|(along, below)| [along, below]) {
            for k in 0..2 {
                lo[k] = lo[k].min(p[k]);
                hi[k] = hi[k].max(p[k]);
            }
        }
        hi[0] >= 0.0 && hi[1] >= 0.0 && lo[0] <= self.nx as f32 && lo[1] <= self.ny as f32
    }

    /// Turn what was cast into the two blurred masks.
    pub fn settle(&mut self) {
        for (lit, h) in self.lit.iter_mut().zip(&self.height) {
            *lit = if *h > 0.0 { 0 } else { 255 };
        }
        for (open, n) in self.open.iter_mut().zip(&self.near) {
            *open = 255 - *n;
        }
        let (nx, ny) = (self.nx, self.ny);
        for _ in 0..2 {
            blur(&mut self.lit, &mut self.scratch, nx, ny, self.soft_cells);
            blur(&mut self.open, &mut self.scratch, nx, ny, CONTACT_CELLS);
        }
    }

    /// How much key light reaches `N` points of an object, each 0..=1; only those `wanted` are looked up.
    #[inline(always)]
    pub fn reaches<const N: usize>(
        &self,
        p: [&[f32; N]; 3],
        wanted: impl Fn(usize) -> bool,
        out: &mut [f32; N],
        count: usize,
    ) {
        let (mut place, mut part) = ([0u32; N], [[0.0f32; N]; 2]);
        for k in 0..N {
            let q = self.landing([p[0][k], p[1][k], p[2][k]]);
            let x = (q[0] - 0.5).clamp(0.0, (self.nx - 2) as f32);
            let y = (q[1] - 0.5).clamp(0.0, (self.ny - 2) as f32);
            let (xi, yi) = (floor(x), floor(y));
            part[0][k] = x - xi as f32;
            part[1][k] = y - yi as f32;
            place[k] = (yi * self.nx as i32 + xi) as u32;
        }
        for k in 0..count.min(N) {
            if !wanted(k) {
                out[k] = 0.0;
                continue;
            }
            let (fx, fy) = (part[0][k], part[1][k]);
            let at = place[k] as usize;
            let z = p[2][k] + BIAS;
            let upper = &self.height[at..at + 2];
            let lower = &self.height[at + self.nx..at + self.nx + 2];
            let free = |h: f32| if h > z { 0.0f32 } else { 1.0 };
            let top = free(upper[0]) * (1.0 - fx) + free(upper[1]) * fx;
            let low = free(lower[0]) * (1.0 - fx) + free(lower[1]) * fx;
            out[k] = top * (1.0 - fy) + low * fy;
        }
    }

    /// How much key light and how much sky reach the belt at grid coordinates `at`, each 0..=1.
    #[inline(always)]
    pub fn sample(&self, at: Cell) -> [f32; 2] {
        let [fx, fy] = at.part;
        let k = at.index as usize;
        [&self.lit, &self.open].map(|mask| {
            let (upper, lower) = (&mask[k..k + 2], &mask[k + self.nx..k + self.nx + 2]);
            let top = f32::from(upper[0]) * (1.0 - fx) + f32::from(upper[1]) * fx;
            let low = f32::from(lower[0]) * (1.0 - fx) + f32::from(lower[1]) * fx;
            (top * (1.0 - fy) + low * fy) / 255.0
        })
    }
}

/// Visit the cells whose centres the triangle covers, with z there. `facing`: skip triangles turned away.
#[inline(always)]
pub fn cells(q: [[f32; 3]; 3], nx: usize, ny: usize, facing: bool, mut visit: impl FnMut(usize, f32)) {
    let (ux, uy) = (q[1][0] - q[0][0], q[1][1] - q[0][1]);
    let (vx, vy) = (q[2][0] - q[0][0], q[2][1] - q[0][1]);
    let area = ux * vy - uy * vx;
    if area.abs() < 1e-5 || (facing != (area > 0.0)) {
        return;
    }
    // First cell whose centre is not before the triangle; one past the last that is not after it.
    let lo = |k: usize| {
        let v = (q[0][k].min(q[1][k]).min(q[2][k]) - 0.5).max(0.0);
        -floor(-v)
    };
    let hi = |k: usize, n: usize| floor((q[0][k].max(q[1][k]).max(q[2][k]) + 0.5).clamp(0.0, n as f32));
    let (x0, x1) = (lo(0), hi(0, nx));
    let (y0, y1) = (lo(1), hi(1, ny));
    if x0 >= x1 || y0 >= y1 {
        return;
    }
    let k = 1.0 / area;
    for y in y0..y1 {
        let dy = y as f32 + 0.5 - q[0][1];
        for x in x0..x1 {
            let dx = x as f32 + 0.5 - q[0][0];
            let b1 = (dx * vy - dy * vx) * k;
            let b2 = (ux * dy - uy * dx) * k;
            if b1 >= -1e-4 && b2 >= -1e-4 && b1 + b2 <= 1.0001 {
                visit(
                    y as usize * nx + x as usize,
                    q[0][2] + b1 * (q[1][2] - q[0][2]) + b2 * (q[2][2] - q[0][2]),
                );
            }
        }
    }
}

/// Box blur of radius `r`, along rows and then columns; past the rim is clear.
fn blur(mask: &mut [u8], scratch: &mut [u8], nx: usize, ny: usize, r: usize) {
    let span = (2 * r + 1) as u32;
    let scale = 65536 / span + 1;
    for (src, dst) in mask.chunks_exact(nx).zip(scratch.chunks_exact_mut(nx)) {
        let mut sum = 255 * (r as u32 + 1) + src[..r].iter().map(|&v| u32::from(v)).sum::<u32>();
        for x in 0..nx {
            let ahead = src.get(x + r).copied().unwrap_or(255);
            let behind = if x > r { src[x - r - 1] } else { 255 };
            sum = sum + u32::from(ahead) - u32::from(behind);
            dst[x] = ((sum * scale) >> 16).min(255) as u8;
        }
    }
    let mut sums = vec![255 * (r as u32 + 1); nx];
    for row in scratch.chunks_exact(nx).take(r) {
        for (s, &v) in sums.iter_mut().zip(row) {
            *s += u32::from(v);
        }
    }
    for y in 0..ny {
        let out = &mut mask[y * nx..(y + 1) * nx];
        if y + r < ny {
            for (s, &v) in sums.iter_mut().zip(&scratch[(y + r) * nx..(y + r + 1) * nx]) {
                *s += u32::from(v);
            }
        } else {
            for s in &mut sums {
                *s += 255;
            }
        }
        if y > r {
            for (s, &v) in sums.iter_mut().zip(&scratch[(y - r - 1) * nx..(y - r) * nx]) {
                *s -= u32::from(v);
            }
        } else {
            for s in &mut sums {
                *s -= 255;
            }
        }
        for (o, &s) in out.iter_mut().zip(&sums) {
            *o = ((s * scale) >> 16).min(255) as u8;
        }
    }
}
