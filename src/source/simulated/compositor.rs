//! Rows of linear light: backdrop, then the scrolling belt under its light and shadows, then objects.
//!
//! Rows are made top to bottom into a ring just long enough for the lens blur, so that a row is still in the
//! processor's cache when it is developed. A row is three planes of `width` floats: red, green, blue.

use super::backdrop::{Backdrop, STEPS};
use super::belt::{BeltTexture, LENGTH};
use super::camera::Camera;
use super::look::{Belt, Light};
use super::num::{add, sub, unit};
use super::raster::Raster;
use super::shade::{Batch, LANES, Stage, Subject};
use super::shadow::{Cell, ShadowGrid};

pub struct Compositor {
    width: usize,
    height: usize,
    backdrop: Backdrop,
    texture: BeltTexture,
    /// Per half-resolution pixel: the belt's sheen there, and its place in the shadow grid.
    sheen: Vec<f32>,
    cell_at: Vec<Cell>,
    /// Light on the belt, three planes at half resolution.
    half_light: [Vec<f32>; 3],
    half_row: Vec<f32>,
    row_light: [Vec<f32>; 3],
    ring: Vec<f32>,
    ring_rows: usize,
    /// Where the belt's texture stands this frame, in steps.
    shift: u32,
    /// Linear light of a texel's square-root encoding.
    linear: [f32; 256],
    batch: Batch,
}

/// What the compositor is made from besides the backdrop and belt themselves.
pub struct Setting<'a> {
    pub camera: &'a Camera,
    pub belt: &'a Belt,
    pub light: &'a Light,
    pub shadows: &'a ShadowGrid,
    pub ring_rows: usize,
}

impl Compositor {
    pub fn new(setting: &Setting, backdrop: Backdrop, texture: BeltTexture, width: usize, height: usize) -> Self {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let n = half_width * half_height;
        let (mut sheen, mut cell_at) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for y in 0..half_height {
            for x in 0..half_width {
                let camera = setting.camera;
                let p = camera.on_plane(x as f32 * 2.0 + 1.0, y as f32 * 2.0 + 1.0, 0.0);
                let view = unit(sub(camera.at, p));
                let mut s = unit(add(view, setting.light.towards))[2].max(0.0);
                for _ in 0..4 {
                    s *= s;
                }
                sheen.push(s * setting.belt.sheen * 2.0);
                cell_at.push(setting.shadows.cell(p[0], p[1]));
            }
        }
        let plane = |n: usize| [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
        Compositor {
            width,
            height,
            backdrop,
            texture,
            sheen,
            cell_at,
            half_light: plane(n),
            half_row: vec![0.0; half_width + 2],
            row_light: plane(half_width * 2),
            ring: vec![0.0; setting.ring_rows * width * 3],
            ring_rows: setting.ring_rows,
            shift: 0,
            linear: std::array::from_fn(|v| (v * v) as f32 / 65025.0),
            batch: Batch::new(),
        }
    }

    /// Inverse depths of what never moves.
    pub fn backdrop_depth(&self) -> &[f32] {
        &self.backdrop.inverse_depth
    }

    /// Start a frame in which the belt has gone `travel` world units.
    pub fn begin(&mut self, travel: f64, light: &Light, shadows: &ShadowGrid) {
        let shift = (travel.rem_euclid(LENGTH as f64) * f64::from(STEPS)) as u32;
        self.shift = (LENGTH as u32 * STEPS).wrapping_sub(shift);
        let flat = light.towards[2];
        let [r, g, b] = &mut self.half_light;
        let out = r.iter_mut().zip(g).zip(b);
        for ((((r, g), b), &at), &sheen) in out.zip(&self.cell_at).zip(&self.sheen) {
            let [lit, open] = shadows.sample(at);
            let open = open * open;
            let key = lit * (flat + sheen);
            let sky = 0.12 + 0.88 * open;
            let key = key * (0.5 + 0.5 * open);
            *r = light.sky[0] * sky + light.key[0] * key;
            *g = light.sky[1] * sky + light.key[1] * key;
            *b = light.sky[2] * sky + light.key[2] * key;
        }
    }

    /// Make row `y`. Rows must be made in order from 0.
    pub fn compose(&mut self, y: usize, raster: &Raster, subjects: &[Subject], stage: &Stage) {
        let seen = &raster.seen[y * self.width..(y + 1) * self.width];
        self.lay_backdrop(y);
        self.lay_belt(y, seen, subjects, stage);
        let row = ring_row(&mut self.ring, y % self.ring_rows, self.width);
        lay_objects(&mut self.batch, y, seen, subjects, stage, row);
    }

    /// A row made earlier, one of the last `ring_rows`.
    pub fn row(&self, y: usize) -> &[f32] {
        let stride = self.width * 3;
        let at = y % self.ring_rows * stride;
        &self.ring[at..at + stride]
    }

    fn lay_backdrop(&mut self, y: usize) {
        let width = self.width;
        let [x0, x1] = self.backdrop.belt_span[y].map(|v| v as usize);
        let rows = planes(ring_row(&mut self.ring, y % self.ring_rows, width), width);
        for (row, still) in rows.into_iter().zip(&self.backdrop.still) {
            let still = &still[y * width..(y + 1) * width];
            row[..x0].copy_from_slice(&still[..x0]);
            row[x1..].copy_from_slice(&still[x1..]);
        }
    }

    fn lay_belt(&mut self, y: usize, seen: &[u32], subjects: &[Subject], stage: &Stage) {
        let width = self.width;
        let [x0, x1] = self.backdrop.belt_span[y].map(|v| v as usize);
        if x0 >= x1 {
            return;
        }
        let (half_width, half_height) = (width.div_ceil(2), self.height.div_ceil(2));
        let near = y / 2;
        let far = if y.is_multiple_of(2) {
            near.saturating_sub(1)
        } else {
            (near + 1).min(half_height - 1)
        };
        for (plane, out) in self.half_light.iter().zip(&mut self.row_light) {
            let near = &plane[near * half_width..(near + 1) * half_width];
            let far = &plane[far * half_width..(far + 1) * half_width];
            widen(near, far, &mut self.half_row, out);
        }
        let at = &self.backdrop.belt_at[y * width + x0..y * width + x1];
        self.texture.warm(
            at.iter()
                .step_by(8)
                .map(|at| (at.wrapping_add(self.shift) & 0xFFFF, at >> 16)),
        );
        let [lr, lg, lb] = &self.row_light;
        let light = lr[x0..x1].iter().zip(&lg[x0..x1]).zip(&lb[x0..x1]);
        let [r, g, b] = planes(ring_row(&mut self.ring, y % self.ring_rows, width), width);
        let out = r[x0..x1].iter_mut().zip(&mut g[x0..x1]).zip(&mut b[x0..x1]);
        let linear = &self.linear;
        for (((((r, g), b), ((lr, lg), lb)), &at), &name) in out.zip(light).zip(at).zip(&seen[x0..x1]) {
            if name != 0 && !subjects[stage.owners[name as usize - 1].object as usize].clear {
                continue;
            }
            let texel = self
                .texture
                .at((at & 0xFFFF).wrapping_add(self.shift) & 0xFFFF, at >> 16);
            *r = lr * linear[(texel & 0xFF) as usize];
            *g = lg * linear[(texel >> 32 & 0xFF) as usize];
            *b = lb * linear[(texel >> 16 & 0xFF) as usize];
        }
    }
}

fn ring_row(ring: &mut [f32], slot: usize, width: usize) -> &mut [f32] {
    &mut ring[slot * width * 3..(slot + 1) * width * 3]
}

/// The three planes of a row of light.
pub fn planes(row: &mut [f32], width: usize) -> [&mut [f32]; 3] {
    let (r, rest) = row.split_at_mut(width);
    let (g, b) = rest.split_at_mut(width);
    [r, g, b]
}

/// Shade the objects that row `y` sees over what is behind them in `row`.
pub fn lay_objects(batch: &mut Batch, y: usize, seen: &[u32], subjects: &[Subject], stage: &Stage, row: &mut [f32]) {
    let mut x = 0;
    while x < seen.len() {
        if seen[x] == 0 {
            x += 1;
            continue;
        }
        // A run that sees one part of one object.
        let owner = stage.owners[seen[x] as usize - 1];
        let mut end = x + 1;
        while end < seen.len() && end - x < LANES && seen[end] != 0 {
            if stage.owners[seen[end] as usize - 1] != owner {
                break;
            }
            end += 1;
        }
        let rows = planes(row, seen.len()).map(|row| &mut row[x..end]);
        let subject = &subjects[owner.object as usize];
        batch.shade(stage, subject, owner.part, &seen[x..end], [x, y], rows);
        x = end;
    }
}

/// Light of a full-resolution row from its nearer half-resolution row `near` and the one beyond it.
fn widen(near: &[f32], far: &[f32], half_row: &mut [f32], out: &mut [f32]) {
    let n = near.len();
    for ((r, a), b) in half_row[1..n + 1].iter_mut().zip(near).zip(far) {
        *r = 0.75 * a + 0.25 * b;
    }
    half_row[0] = half_row[1];
    half_row[n + 1] = half_row[n];
    let (before, here, after) = (&half_row[..n], &half_row[1..n + 1], &half_row[2..n + 2]);
    for (((pair, b), h), a) in out.chunks_exact_mut(2).zip(before).zip(here).zip(after) {
        pair[0] = 0.75 * h + 0.25 * b;
        pair[1] = 0.75 * h + 0.25 * a;
    }
}
