//! A scene: everything the seed decides, made once; and its frames, each a pure function of the frame index.

use super::backdrop::{Backdrop, STEPS};
use super::belt::{BeltTexture, LENGTH};
use super::camera::{Camera, Seen};
use super::look::{Belt, Light, Sensor};
use super::mesh::Mesh;
use super::num::{
    Dice, IDENTITY, M3, V3, about_axis, about_y, about_z, add, compose, cos, dot, rotate, scale,
    sin, sin_cos, sub, times, unit,
};
use super::paint;
use super::placement::{BLOCK, Block, Motion, Placed, Pose, Strewing, VARIANTS};
use super::raster::{Coverage, Raster};
use super::sensor::Development;
use super::shade::{Posed, Subject, Surroundings, shade};
use super::shadow::ShadowGrid;
use super::shapes;
use super::texture::{Noise, Texture};
use super::truth::{TruthInstance, instances};
use super::{RenderedFrame, SceneConfig, SceneError};

/// Objects are looked for this far beyond the picture: long ones and long shadows reach in.
const MARGIN: f64 = 170.0;
const BLOCKS_KEPT: usize = 24;

pub struct Scene {
    config: SceneConfig,
    camera: Camera,
    belt: Belt,
    around: Surroundings,
    strewing: Strewing,
    texture: BeltTexture,
    backdrop: Backdrop,
    meshes: Vec<Mesh>,
    textures: Vec<Texture>,
    /// First and last place along the belt that the picture shows.
    window: [f64; 2],
    start: f64,
    sheen: Vec<f32>,
    cell_at: Vec<[f32; 2]>,
    work: Work,
}

/// Buffers kept between frames; nothing in them outlives a frame except as a cache.
struct Work {
    raster: Raster,
    shadows: ShadowGrid,
    development: Development,
    blocks: Vec<(i64, Block)>,
    posed: Vec<Posed>,
    seen: Vec<Option<Seen>>,
    subjects: Vec<Subject>,
    light: Vec<f32>,
    /// Light on the belt at half resolution, and one row of it widened.
    half_light: Vec<f32>,
    half_row: Vec<f32>,
    row_light: Vec<f32>,
    silhouette: Raster,
}

/// One object of one frame, as drawn.
pub struct Drawn {
    pub id: u64,
    pub class: usize,
    pub cover: Coverage,
    /// Share of the whole silhouette that lies inside the picture.
    pub inside: f32,
}

impl Scene {
    pub fn new(config: SceneConfig) -> Result<Scene, SceneError> {
        config.validate()?;
        let seed = config.seed;
        let (width, height) = (config.width as usize, config.height as usize);
        let camera = Camera::new(&mut Dice::new(seed, 1), config.width, config.height);
        let belt = Belt::new(&mut Dice::new(seed, 2));
        let light = Light::new(&mut Dice::new(seed, 3), belt.colour);
        let lum = |c: V3| 0.3 * c[0] + 0.6 * c[1] + 0.1 * c[2];
        let level = lum(light.sky) + lum(light.key) * light.towards[2];
        let grey = (0.6 * lum(belt.colour) + 0.12) * level;
        let sensor = Sensor::new(&mut Dice::new(seed, 4), grey);
        let noise = Noise::new(seed);
        let texture = BeltTexture::new(&belt, seed, &noise);
        let backdrop = Backdrop::new(&camera, &belt, &light, seed, &noise, width, height);
        let mut meshes = Vec::new();
        for class in 0..shapes::CLASSES {
            for variant in 0..VARIANTS {
                let purpose = 0x3E5 + (class * VARIANTS + variant) as u64;
                meshes.push(shapes::build(class, &mut Dice::new(seed, purpose)));
            }
        }
        let textures = paint::textures(seed, &noise);
        let view = View::of(&camera, &belt, width, height);
        let shadows = ShadowGrid::new(view.lo, view.hi, light.towards, light.softness);
        let mut dice = Dice::new(seed, 5);
        let crowd = (14.0 / config.objects.max(1) as f32).min(1.0).sqrt().max(0.42);
        // Leavers, and what found no room, are made up for.
        let per_block = config.objects as f32 * BLOCK as f32 * 2.0 * belt.half_width / view.belt_area;
        let strewing = Strewing {
            seed,
            per_block: per_block * 1.04,
            size: crowd,
            half_width: belt.half_width - 6.0,
            camera_tilt: camera.tilt,
            leaning: dice.range(0.05, 0.3),
            moving: dice.range(0.2, 0.7),
        };
        let a = dice.range(0.0, 6.28);
        let around = Surroundings {
            belt: times(belt.colour, add(light.sky, scale(light.key, light.towards[2]))),
            strips: [cos(a), sin(a)],
            strip_at: dice.range(0.15, 0.5),
            light,
        };
        let start = f64::from(dice.range(0.0, 4000.0));
        let (sheen, cell_at) = half_maps(&camera, &belt, &around, &shadows, width, height);
        let work = Work {
            raster: Raster::new(width, height),
            shadows,
            development: Development::new(sensor, seed, width, height),
            blocks: Vec::new(),
            posed: Vec::new(),
            seen: Vec::new(),
            subjects: Vec::new(),
            light: vec![0.0; width * height * 3],
            half_light: vec![0.0; width.div_ceil(2) * height.div_ceil(2) * 3],
            half_row: vec![0.0; width.div_ceil(2) * 3 + 6],
            row_light: vec![0.0; width.div_ceil(2) * 6],
            silhouette: Raster::new(SILHOUETTE, SILHOUETTE),
        };
        Ok(Scene {
            config,
            camera,
            belt,
            around,
            strewing,
            texture,
            backdrop,
            meshes,
            textures,
            window: view.along,
            start,
            sheen,
            cell_at,
            work,
        })
    }

    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// Picture and truth of frame `frame_index`.
    pub fn render(&mut self, frame_index: u64) -> RenderedFrame {
        let mut frame = RenderedFrame::default();
        self.render_into(frame_index, &mut frame);
        frame
    }

    /// As `render`, into a frame whose buffers are used again.
    pub fn render_into(&mut self, frame_index: u64, frame: &mut RenderedFrame) {
        let travel = self.travel(frame_index);
        let drawn = self.draw(frame_index, true);
        self.light_belt();
        self.lay_belt(travel);
        self.light_objects();
        frame.width = self.config.width;
        frame.height = self.config.height;
        frame
            .rgb
            .resize(self.config.width as usize * self.config.height as usize * 3, 0);
        let work = &mut self.work;
        work.development.develop(&work.light, frame_index, &mut frame.rgb);
        frame.truth = instances(&drawn, &work.raster);
    }

    /// Truth of frame `frame_index` alone: the same as `render` gives, without the cost of light.
    pub fn truth(&mut self, frame_index: u64) -> Vec<TruthInstance> {
        let drawn = self.draw(frame_index, false);
        instances(&drawn, &self.work.raster)
    }

    /// Frames it takes the belt to cross the picture.
    pub fn crossing_frames(&self) -> u64 {
        let seconds = (self.window[1] - self.window[0]) / f64::from(self.belt.speed);
        (seconds * self.config.fps) as u64
    }

    fn seconds(&self, frame_index: u64) -> f64 {
        frame_index as f64 / self.config.fps
    }

    fn travel(&self, frame_index: u64) -> f64 {
        self.start + f64::from(self.belt.speed) * self.seconds(frame_index)
    }

    /// Objects that may show or throw a shadow into the frame.
    fn present(&mut self, travel: f64) -> Vec<Placed> {
        if self.config.objects == 0 {
            return Vec::new();
        }
        let lo = travel - self.window[1] - MARGIN;
        let hi = travel - self.window[0] + MARGIN;
        let (first, last) = ((lo / BLOCK).floor() as i64 - 1, (hi / BLOCK).floor() as i64 + 1);
        let mut out = Vec::new();
        for index in first..=last {
            let known = self.work.blocks.iter().position(|b| b.0 == index);
            let at = known.unwrap_or_else(|| {
                if self.work.blocks.len() >= BLOCKS_KEPT {
                    self.work.blocks.remove(0);
                }
                self.work.blocks.push((index, self.strewing.block(index)));
                self.work.blocks.len() - 1
            });
            let block = &self.work.blocks[at].1;
            out.extend(block.iter().filter(|o| o.s > lo && o.s < hi).cloned());
        }
        out
    }

    /// Pose and rasterise all objects; with `shadows`, cast their shadows and fetch their paints too.
    fn draw(&mut self, frame_index: u64, shadows: bool) -> Vec<Drawn> {
        let (travel, time) = (self.travel(frame_index), self.seconds(frame_index));
        let present = self.present(travel);
        let work = &mut self.work;
        work.raster.clear(&self.backdrop.inverse_depth);
        work.posed.clear();
        work.subjects.clear();
        if shadows {
            work.shadows.clear();
        }
        let mut drawn = Vec::new();
        for (number, item) in present.iter().enumerate() {
            let mesh = &self.meshes[item.class * VARIANTS + item.variant];
            let first = work.posed.len() as u32;
            let centre = pose(item, mesh, &self.belt, travel, time, &mut work.posed);
            let posed = &work.posed[first as usize..];
            if shadows {
                for t in &mesh.triangles {
                    work.shadows.cast(t.v.map(|k| posed[k as usize].p));
                }
                let view = unit(sub(self.camera.at, centre));
                work.subjects.push(Subject {
                    materials: paint::materials(item.class, item.paint),
                    view,
                    half: unit(add(view, self.around.light.towards)),
                });
            }
            work.seen.clear();
            work.seen.extend(posed.iter().map(|v| self.camera.see(v.p)));
            let mut cover = Coverage::default();
            for t in &mesh.triangles {
                let [Some(a), Some(b), Some(c)] = t.v.map(|k| work.seen[k as usize]) else {
                    continue;
                };
                let v = t.v.map(|k| first + k);
                work.raster.draw([a, b, c], v, number as u16, t.part, &mut cover);
            }
            let (w, h) = (self.config.width as i32, self.config.height as i32);
            let b = cover.bounds;
            let cut = b[0] == 0 || b[1] == 0 || b[2] == w || b[3] == h;
            let inside = if cover.pixels == 0 || !cut {
                1.0
            } else {
                share_inside(mesh, &work.seen, &mut work.silhouette, w as f32, h as f32)
            };
            drawn.push(Drawn {
                id: item.id,
                class: item.class,
                cover,
                inside,
            });
        }
        if shadows {
            work.shadows.settle();
        }
        drawn
    }

    #[inline(never)]
    /// Light that falls on the belt, at half resolution.
    fn light_belt(&mut self) {
        let work = &mut self.work;
        let light = &self.around.light;
        let flat = light.towards[2];
        for ((out, &at), &sheen) in work
            .half_light
            .chunks_exact_mut(3)
            .zip(&self.cell_at)
            .zip(&self.sheen)
        {
            let key = work.shadows.sample(&work.shadows.lit, at) * (flat + sheen);
            let open = work.shadows.sample(&work.shadows.open, at);
            let open = open * open;
            let sky = 0.12 + 0.88 * open;
            let key = key * (0.5 + 0.5 * open);
            out[0] = light.sky[0] * sky + light.key[0] * key;
            out[1] = light.sky[1] * sky + light.key[1] * key;
            out[2] = light.sky[2] * sky + light.key[2] * key;
        }
    }

    #[inline(never)]
    /// Fill the frame with belt and backdrop.
    fn lay_belt(&mut self, travel: f64) {
        let (width, height) = (self.config.width as usize, self.config.height as usize);
        let (hw, hh) = (width.div_ceil(2), height.div_ceil(2));
        let shift = (travel.rem_euclid(LENGTH as f64) * f64::from(STEPS)) as u32;
        let shift = (LENGTH as u32 * STEPS).wrapping_sub(shift);
        let linear: [f32; 256] = std::array::from_fn(|v| (v * v) as f32 / 65025.0);
        let work = &mut self.work;
        for y in 0..height {
            let row = y * width;
            let out = &mut work.light[row * 3..(row + width) * 3];
            for (o, s) in out.chunks_exact_mut(3).zip(&self.backdrop.still[row..row + width]) {
                o.copy_from_slice(s);
            }
            let [x0, x1] = self.backdrop.belt_span[y].map(|v| v as usize);
            if x0 >= x1 {
                continue;
            }
            let near = y / 2;
            let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(hh - 1) };
            let a = &work.half_light[near * hw * 3..(near + 1) * hw * 3];
            let b = &work.half_light[far * hw * 3..(far + 1) * hw * 3];
            widen(a, b, &mut work.half_row, &mut work.row_light);
            let at = &self.backdrop.belt_at[row + x0..row + x1];
            let light = &work.row_light[x0 * 3..x1 * 3];
            let out = &mut out[x0 * 3..x1 * 3];
            for ((o, l), &at) in out.chunks_exact_mut(3).zip(light.chunks_exact(3)).zip(at) {
                let texel = fetch(&self.texture.texels, (at & 0xFFFF).wrapping_add(shift) & 0xFFFF, at >> 16);
                for c in 0..3 {
                    o[c] = l[c] * linear[(texel >> (8 * c) & 0xFF) as usize];
                }
            }
        }
    }

    #[inline(never)]
    /// Shade the pixels that see objects.
    fn light_objects(&mut self) {
        let width = self.config.width as usize;
        let work = &mut self.work;
        for (k, &name) in work.raster.seen.iter().enumerate() {
            if name == 0 {
                continue;
            }
            let facet = &work.raster.facets[name as usize - 1];
            let (x, y) = ((k % width) as f32 + 0.5, (k / width) as f32 + 0.5);
            let out = &mut work.light[k * 3..k * 3 + 3];
            let colour = shade(
                x,
                y,
                facet,
                &work.posed,
                &work.subjects[facet.object as usize],
                &self.textures,
                &self.around,
                &work.shadows,
                [out[0], out[1], out[2]],
            );
            out.copy_from_slice(&colour);
        }
    }
}

/// Light of a full-resolution row from its nearer half-resolution row `near` and the one beyond it.
#[inline(always)]
fn widen(near: &[f32], far: &[f32], half_row: &mut [f32], out: &mut [f32]) {
    let n = near.len();
    for ((r, a), b) in half_row[3..n + 3].iter_mut().zip(near).zip(far) {
        *r = 0.75 * a + 0.25 * b;
    }
    half_row.copy_within(3..6, 0);
    half_row.copy_within(n..n + 3, n + 3);
    let windows = half_row[..n + 6].windows(9).step_by(3);
    for (pair, w) in out.chunks_exact_mut(6).zip(windows) {
        for c in 0..3 {
            pair[c] = 0.75 * w[3 + c] + 0.25 * w[c];
            pair[3 + c] = 0.75 * w[3 + c] + 0.25 * w[6 + c];
        }
    }
}

/// Bilinear texel of the belt; `u` and `v` in steps, red and blue weighed together, then green.
#[inline(always)]
fn fetch(texels: &[u32], u: u32, v: u32) -> u32 {
    let (x0, fx) = ((u / STEPS) as usize & (LENGTH - 1), u % STEPS);
    let x1 = (x0 + 1) & (LENGTH - 1);
    let (y, fy) = ((v / STEPS) as usize * LENGTH, v % STEPS);
    let (a, b) = (texels[y + x0], texels[y + x1]);
    let (c, d) = (texels[y + LENGTH + x0], texels[y + LENGTH + x1]);
    let along = |p: u32, q: u32, mask: u32| ((p & mask) * (STEPS - fx) + (q & mask) * fx) / STEPS & mask;
    let down = |p: u32, q: u32, mask: u32| (p * (STEPS - fy) + q * fy) / STEPS & mask;
    let (rb, g) = (0x00FF_00FF, 0x0000_FF00);
    down(along(a, b, rb), along(c, d, rb), rb) | down(along(a, b, g), along(c, d, g), g)
}

/// Which part of the belt the picture shows.
struct View {
    along: [f64; 2],
    belt_area: f32,
    lo: [f32; 2],
    hi: [f32; 2],
}

impl View {
    fn of(camera: &Camera, belt: &Belt, width: usize, height: usize) -> View {
        let (s, c) = (sin(belt.angle), cos(belt.angle));
        let (mut along, mut lo, mut hi) = ([f64::MAX, f64::MIN], [f32::MAX; 2], [f32::MIN; 2]);
        let steps = 48;
        let mut area = 0.0;
        for j in 0..steps {
            for i in 0..steps {
                let at = |i: usize, j: usize| {
                    let x = width as f32 * i as f32 / steps as f32;
                    let y = height as f32 * j as f32 / steps as f32;
                    camera.on_plane(x, y, 0.0)
                };
                let (p, q, r) = (at(i, j), at(i + 1, j), at(i, j + 1));
                let t = at(i + 1, j + 1);
                let across = p[1] * c - p[0] * s;
                if across.abs() > belt.half_width + 20.0 {
                    continue;
                }
                if across.abs() < belt.half_width {
                    let (u, v) = (sub(q, p), sub(r, p));
                    area += (u[0] * v[1] - u[1] * v[0]).abs();
                }
                for p in [p, q, r, t] {
                    let a = f64::from(p[0] * c + p[1] * s);
                    along = [along[0].min(a), along[1].max(a)];
                    for k in 0..2 {
                        lo[k] = lo[k].min(p[k]);
                        hi[k] = hi[k].max(p[k]);
                    }
                }
            }
        }
        if along[0] > along[1] {
            (along, lo, hi, area) = ([-400.0, 400.0], [-400.0; 2], [400.0; 2], 200_000.0);
        }
        View {
            along,
            belt_area: area.max(20_000.0),
            lo: lo.map(|v| v - 30.0),
            hi: hi.map(|v| v + 30.0),
        }
    }
}

/// Per half-resolution pixel: the belt's sheen there, and its place in the shadow grid.
fn half_maps(camera: &Camera, belt: &Belt, around: &Surroundings, grid: &ShadowGrid, width: usize, height: usize) -> (Vec<f32>, Vec<[f32; 2]>) {
    let (hw, hh) = (width.div_ceil(2), height.div_ceil(2));
    let (mut sheen, mut cells) = (Vec::with_capacity(hw * hh), Vec::with_capacity(hw * hh));
    for y in 0..hh {
        for x in 0..hw {
            let p = camera.on_plane(x as f32 * 2.0 + 1.0, y as f32 * 2.0 + 1.0, 0.0);
            let view = unit(sub(camera.at, p));
            let h = unit(add(view, around.light.towards));
            let mut s = h[2].max(0.0);
            for _ in 0..4 {
                s *= s;
            }
            sheen.push(s * belt.sheen * 2.0);
            cells.push(grid.cell(p[0], p[1]));
        }
    }
    (sheen, cells)
}

/// Put the object's vertices, in the world, at the end of `out`; its middle is returned.
fn pose(item: &Placed, mesh: &Mesh, belt: &Belt, travel: f64, time: f64, out: &mut Vec<Posed>) -> V3 {
    let mut along = (travel - item.s) as f32;
    let mut across = item.across;
    let mut yaw = item.yaw;
    let mut rolled = 0.0f32;
    let mut tip = IDENTITY;
    match item.motion {
        Motion::Still => {}
        Motion::Roll(reach, rate, phase) => {
            let d = reach * sin_cos(f64::from(rate) * time + f64::from(phase)).0 as f32;
            along -= sin(yaw) * d;
            across += cos(yaw) * d;
            rolled = d;
        }
        Motion::Spin(rate) => yaw += (f64::from(rate) * time).rem_euclid(std::f64::consts::TAU) as f32,
        Motion::Wobble(size, rate, phase) => {
            let (s, c) = sin_cos(f64::from(rate) * time + f64::from(phase));
            // A small tilt whose direction goes round: rocking on the rim.
            let axis = unit([c as f32, s as f32, 0.0]);
            tip = about_axis(axis, sin(size), cos(size));
        }
    }
    let body = match item.pose {
        Pose::Standing(false) => IDENTITY,
        Pose::Standing(true) => about_y(std::f32::consts::PI),
        Pose::Lying(roll) => {
            let radius = (mesh.half[1] * item.size[1]).max(1.0);
            compose(&about_y(std::f32::consts::FRAC_PI_2), &about_z(roll - rolled / radius))
        }
        Pose::Any(axis, angle) => {
            let radius = (mesh.half[0] * item.size[0]).max(1.0);
            let turn = rolled / radius;
            let start = about_axis(axis, sin(angle), cos(angle));
            compose(&about_axis([1.0, 0.0, 0.0], -sin(turn), cos(turn)), &start)
        }
    };
    let mut m = compose(&compose(&tip, &about_z(yaw)), &body);
    if let Some((d, slope)) = item.lean {
        let c = 1.0 / (1.0 + slope * slope).sqrt();
        m = compose(&about_axis([-d[1], d[0], 0.0], slope * c, c), &m);
    }
    let m: M3 = compose(&about_z(belt.angle), &m);
    let (s, c) = (sin(belt.angle), cos(belt.angle));
    let ground = [along * c - across * s, along * s + across * c];
    let first = out.len();
    let shrink = [1.0 / item.size[0], 1.0 / item.size[1], 1.0 / item.size[2]];
    let mut low = f32::MAX;
    for v in &mesh.vertices {
        let p = rotate(&m, times(v.p, item.size));
        low = low.min(p[2]);
        out.push(Posed {
            p: [p[0] + ground[0], p[1] + ground[1], p[2]],
            n: unit(rotate(&m, times(v.n, shrink))),
            uv: v.uv,
            ao: v.ao,
        });
    }
    for v in &mut out[first..] {
        v.p[2] -= low;
    }
    [ground[0], ground[1], -low]
}

const SILHOUETTE: usize = 96;

/// Share of an object's silhouette that lies inside a picture of `w` by `h`, counted on a small grid.
fn share_inside(mesh: &Mesh, seen: &[Option<Seen>], raster: &mut Raster, w: f32, h: f32) -> f32 {
    let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
    for s in seen.iter().flatten() {
        lo = [lo[0].min(s.x), lo[1].min(s.y)];
        hi = [hi[0].max(s.x), hi[1].max(s.y)];
    }
    let k = SILHOUETTE as f32 / (hi[0] - lo[0]).max(hi[1] - lo[1]).max(1e-3);
    raster.inverse_depth.fill(0.0);
    raster.seen.fill(0);
    raster.facets.clear();
    raster.forget_cover();
    let mut cover = Coverage::default();
    for t in &mesh.triangles {
        let [Some(a), Some(b), Some(c)] = t.v.map(|v| seen[v as usize]) else {
            continue;
        };
        let small = [a, b, c].map(|s| Seen {
            x: (s.x - lo[0]) * k,
            y: (s.y - lo[1]) * k,
            ..s
        });
        raster.draw(small, t.v, 0, 0, &mut cover);
    }
    let (mut all, mut inside) = (0u32, 0u32);
    for (n, &name) in raster.seen.iter().enumerate() {
        if name == 0 {
            continue;
        }
        all += 1;
        let x = ((n % SILHOUETTE) as f32 + 0.5) / k + lo[0];
        let y = ((n / SILHOUETTE) as f32 + 0.5) / k + lo[1];
        if x >= 0.0 && y >= 0.0 && x < w && y < h {
            inside += 1;
        }
    }
    if all == 0 { 1.0 } else { inside as f32 / all as f32 }
}

#[allow(dead_code)]
fn length(v: V3) -> f32 {
    dot(v, v).sqrt()
}
