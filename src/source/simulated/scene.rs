//! A scene: everything the seed decides, made once; and its frames, each a pure function of the frame index.

use super::backdrop::Backdrop;
use super::belt::BeltTexture;
use super::camera::{Camera, Seen};
use super::compositor::{Compositor, Setting};
use super::look::{Belt, Light, Sensor};
use super::mesh::Mesh;
use super::num::{Dice, V3, add, cos, scale, sin, sub, times, unit};
use super::paint;
use super::placement::{BLOCK, Block, Placed, Strewing, VARIANTS};
use super::pose::{SILHOUETTE, pose, share_inside};
use super::raster::{Coverage, Raster};
use super::sensor::Development;
use super::shade::{Posed, Stage, Subject, Surroundings};
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
    meshes: Vec<Mesh>,
    textures: Vec<Texture>,
    /// First and last place along the belt that the picture shows.
    window: [f64; 2],
    start: f64,
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
    compositor: Compositor,
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
        // Kept as it was when the first network was trained on these scenes.
        #[allow(clippy::approx_constant)]
        let a = dice.range(0.0, 6.28);
        let around = Surroundings {
            belt: times(belt.colour, add(light.sky, scale(light.key, light.towards[2]))),
            strips: [cos(a), sin(a)],
            strip_at: dice.range(0.15, 0.5),
            near_ground: [0.5, 34.0],
            light,
        };
        let start = f64::from(dice.range(0.0, 4000.0));
        let development = Development::new(sensor, seed, width, height);
        let setting = Setting {
            camera: &camera,
            belt: &belt,
            light: &around.light,
            shadows: &shadows,
            ring_rows: 2 * development.reach() + 1,
        };
        let compositor = Compositor::new(&setting, backdrop, texture, width, height);
        let work = Work {
            raster: Raster::new(width, height),
            shadows,
            development,
            blocks: Vec::new(),
            posed: Vec::new(),
            seen: Vec::new(),
            subjects: Vec::new(),
            compositor,
            silhouette: Raster::new(SILHOUETTE, SILHOUETTE),
        };
        Ok(Scene {
            config,
            camera,
            belt,
            around,
            strewing,
            meshes,
            textures,
            window: view.along,
            start,
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
        frame.width = self.config.width;
        frame.height = self.config.height;
        frame
            .rgb
            .resize(self.config.width as usize * self.config.height as usize * 3, 0);
        let work = &mut self.work;
        let stage = Stage {
            posed: &work.posed,
            facets: &work.raster.facets,
            owners: &work.raster.owners,
            textures: &self.textures,
            around: &self.around,
            shadows: &work.shadows,
        };
        work.compositor.begin(travel, &self.around.light, &work.shadows);
        let (stride, height) = (self.config.width as usize * 3, self.config.height as usize);
        let lag = work.development.reach();
        for y in 0..height + lag {
            if y < height {
                work.compositor.compose(y, &work.raster, &work.subjects, &stage);
            }
            if let Some(done) = y.checked_sub(lag) {
                let rgb = &mut frame.rgb[done * stride..(done + 1) * stride];
                let compositor = &work.compositor;
                work.development.develop(done, frame_index, |y| compositor.row(y), rgb);
            }
        }
        frame.truth = instances(&drawn, &work.raster);
    }

    /// Truth of frame `frame_index` alone: the same as `render` gives, without the cost of light.
    pub fn truth(&mut self, frame_index: u64) -> Vec<TruthInstance> {
        let drawn = self.draw(frame_index, false);
        instances(&drawn, &self.work.raster)
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
        work.raster.clear(work.compositor.backdrop_depth());
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
                work.shadows.cast(posed.iter().map(Posed::position), &mesh.triangles);
                let view = unit(sub(self.camera.at, centre));
                let materials = paint::materials(item.class, item.paint);
                work.subjects.push(Subject {
                    clear: materials.iter().any(|m| m.clear > 0.0),
                    materials,
                    view,
                    half: unit(add(view, self.around.light.towards)),
                });
            }
            work.seen.clear();
            work.seen.extend(posed.iter().map(|v| self.camera.see(v.position())));
            let mut cover = Coverage::default();
            let triangles = if self.camera.may_show(&work.seen) {
                &*mesh.triangles
            } else {
                &[]
            };
            for t in triangles {
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
