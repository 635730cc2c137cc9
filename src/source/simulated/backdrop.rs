//! What never moves: rails, the floor beside the belt, and per pixel where on the belt it looks.

use super::belt::{BREADTH, LENGTH};
use super::camera::Camera;
use super::look::{Belt, Light, any_colour};
use super::mesh::Mesh;
use super::num::{Dice, V3, add, dot, mix, scale, smooth, times, unit};
use super::raster::{Coverage, Raster};
use super::texture::Noise;

/// Fixed-point steps per belt texel in `Backdrop::belt_at`.
pub const STEPS: u32 = 64;

pub struct Backdrop {
    /// Linear light of the pixels that are not belt: planes of red, green, blue.
    pub still: [Vec<f32>; 3],
    /// Per row, the pixels x0..x1 that look at the belt.
    pub belt_span: Vec<[u32; 2]>,
    /// Per pixel, belt texel looked at, in steps: along in the low half (before scrolling), across in the high.
    pub belt_at: Vec<u32>,
    pub inverse_depth: Vec<f32>,
}

/// The side frames of the conveyor.
struct Rails {
    wide: f32,
    high: f32,
    colour: V3,
    stripe: Option<V3>,
    posts: f32,
}

impl Backdrop {
    pub fn new(
        camera: &Camera,
        belt: &Belt,
        light: &Light,
        seed: u64,
        noise: &Noise,
        width: usize,
        height: usize,
    ) -> Self {
        let mut dice = Dice::new(seed, 0xBACD);
        let bare = dice.chance(0.5);
        let rails = Rails {
            wide: dice.range(14.0, 46.0),
            high: dice.range(2.0, 15.0),
            colour: if bare {
                scale([0.5, 0.51, 0.53], dice.range(0.6, 1.2))
            } else {
                mix(any_colour(&mut dice), [dice.range(0.05, 0.5); 3], 0.45)
            },
            stripe: if dice.chance(0.3) {
                Some(any_colour(&mut dice))
            } else {
                None
            },
            posts: dice.range(60.0, 160.0),
        };
        let frame = Frame::new(belt);
        let (raster, mesh) = frame.draw(camera, &rails, width, height);
        let floor = Floor::new(&mut dice, noise);
        let n = width * height;
        let mut out = Backdrop {
            still: [vec![0.0; n], vec![0.0; n], vec![0.0; n]],
            belt_span: vec![[0, 0]; height],
            belt_at: vec![0; n],
            inverse_depth: raster.inverse_depth.clone(),
        };
        for y in 0..height {
            let (mut first, mut last) = (width, 0);
            for x in 0..width {
                let k = y * width + x;
                let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
                let p = camera.on_plane(cx, cy, 0.0);
                let (along, across) = frame.belt_from_world(p);
                let on_belt = across.abs() < belt.half_width && along.abs() < 3000.0;
                // The belt hides the rails' inner sides below it.
                let belt_depth = 1.0 / dot(super::num::sub(p, camera.at), camera.forward).max(1.0);
                if raster.seen[k] != 0 && !(on_belt && belt_depth > raster.inverse_depth[k]) {
                    let f = raster.facets[raster.seen[k] as usize - 1];
                    let w = f.weights(cx, cy);
                    let mut p = [0.0; 3];
                    for (c, &v) in f.v.iter().enumerate() {
                        p = add(p, scale(mesh.vertices[v as usize].p, w[c]));
                    }
                    let nrm = mesh.vertices[f.v[0] as usize].n;
                    out.set_still(k, frame.shade(&rails, p, nrm, camera, light, noise));
                    continue;
                }
                out.inverse_depth[k] = 0.0;
                if on_belt {
                    first = first.min(x);
                    last = last.max(x + 1);
                    let u = (along.rem_euclid(LENGTH as f32) * STEPS as f32) as u32;
                    let v = (across + BREADTH as f32 / 2.0).clamp(1.0, BREADTH as f32 - 2.0);
                    out.belt_at[k] = (u & 0xFFFF) | ((v * STEPS as f32) as u32) << 16;
                } else {
                    out.set_still(k, floor.shade(&frame, belt, camera.on_plane(cx, cy, FLOOR), light));
                }
            }
            out.belt_span[y] = if first < last {
                [first as u32, last as u32]
            } else {
                [0, 0]
            };
            // Rails leave one run of belt per row; a stray pixel inside it takes its neighbour's place on the belt.
            for x in first..last {
                let k = y * width + x;
                if out.belt_at[k] == 0 {
                    out.belt_at[k] = if x > 0 { out.belt_at[k - 1] } else { 0 };
                }
            }
        }
        out
    }

    fn set_still(&mut self, k: usize, colour: V3) {
        for (plane, c) in self.still.iter_mut().zip(colour) {
            plane[k] = c;
        }
    }
}

/// Height of the floor below the belt.
const FLOOR: f32 = -110.0;

/// The belt's own axes in the world.
struct Frame {
    along: [f32; 2],
    half_width: f32,
}

impl Frame {
    fn new(belt: &Belt) -> Self {
        Frame {
            along: [super::num::cos(belt.angle), super::num::sin(belt.angle)],
            half_width: belt.half_width,
        }
    }

    fn belt_from_world(&self, p: V3) -> (f32, f32) {
        (
            p[0] * self.along[0] + p[1] * self.along[1],
            p[1] * self.along[0] - p[0] * self.along[1],
        )
    }

    fn world_from_belt(&self, along: f32, across: f32, z: f32) -> V3 {
        [
            along * self.along[0] - across * self.along[1],
            along * self.along[1] + across * self.along[0],
            z,
        ]
    }

    fn draw(&self, camera: &Camera, rails: &Rails, width: usize, height: usize) -> (Raster, Mesh) {
        let mut mesh = Mesh::default();
        for side in [-1.0f32, 1.0] {
            let mid = side * (self.half_width + rails.wide / 2.0);
            for k in -45..45 {
                let o = [k as f32 * 40.0 + 20.0, mid, (rails.high + FLOOR) / 2.0];
                mesh.block(o, [20.0, rails.wide / 2.0, (rails.high - FLOOR) / 2.0], 0);
            }
        }
        for v in &mut mesh.vertices {
            v.p = self.world_from_belt(v.p[0], v.p[1], v.p[2]);
            v.n = self.world_from_belt(v.n[0], v.n[1], v.n[2]);
        }
        let mut raster = Raster::new(width, height);
        let mut cover = Coverage::default();
        for t in &mesh.triangles {
            let [Some(a), Some(b), Some(c)] = t.v.map(|k| camera.see(mesh.vertices[k as usize].p)) else {
                continue;
            };
            raster.draw([a, b, c], t.v, 0, t.part, &mut cover);
        }
        (raster, mesh)
    }

    fn shade(&self, rails: &Rails, p: V3, n: V3, camera: &Camera, light: &Light, noise: &Noise) -> V3 {
        let (along, across) = self.belt_from_world(p);
        let from_edge = (across.abs() - self.half_width) / rails.wide;
        let streak = noise.at((along / 3.0) as i32 + 4000, (across * 2.0) as i32 + 4000) - 0.5;
        let mut c = scale(rails.colour, 1.0 + 0.3 * streak);
        if let Some(s) = rails.stripe
            && n[2] > 0.5
            && (from_edge - 0.5).abs() < 0.2
        {
            c = s;
        }
        let post = (along / rails.posts).rem_euclid(1.0) * rails.posts;
        if n[2] > 0.5 {
            let d =
                ((post - 8.0) * (post - 8.0) + (from_edge - 0.5) * (from_edge - 0.5) * rails.wide * rails.wide).sqrt();
            if d < 4.0 {
                c = scale(c, 0.45 + 0.15 * d / 4.0);
            }
        } else if post < 12.0 {
            c = scale(c, 0.6);
        }
        let v = unit(super::num::sub(camera.at, p));
        let h = unit(add(light.towards, v));
        let diffuse = dot(n, light.towards).max(0.0);
        let edge = 1.0 + 0.25 * smooth(0.12, 0.0, from_edge.min(1.0 - from_edge).max(0.0));
        let mut e = add(
            scale(light.sky, (0.5 + 0.5 * n[2]) * edge),
            scale(light.key, diffuse * edge),
        );
        // Sides fade into the dark under the belt.
        let deep = smooth(rails.high + 2.0, FLOOR, p[2]);
        e = scale(e, 1.0 - 0.75 * deep);
        let hn = dot(n, h).max(0.0);
        let hn = hn * hn * hn * hn;
        let shine = hn * hn * hn * hn * 0.2;
        add(times(c, e), scale(light.key, shine))
    }
}

struct Floor<'a> {
    noise: &'a Noise,
    colour: V3,
    tile: f32,
    line: V3,
    line_at: f32,
    grain: f32,
    things: Vec<Thing>,
}

/// Flat odds and ends on the floor: mats, cables, lids.
struct Thing {
    at: [f32; 2],
    axis: [f32; 2],
    half: [f32; 2],
    colour: V3,
    round: bool,
}

impl<'a> Floor<'a> {
    fn new(dice: &mut Dice, noise: &'a Noise) -> Self {
        let grey = dice.range(0.06, 0.4);
        let tint = any_colour(dice);
        let things = (0..14)
            .map(|_| {
                let a = dice.range(0.0, 6.3);
                let cable = dice.chance(0.4);
                Thing {
                    at: [dice.range(-900.0, 900.0), dice.range(300.0, 800.0) * dice.sign()],
                    axis: [super::num::cos(a), super::num::sin(a)],
                    half: if cable {
                        [dice.range(100.0, 400.0), dice.range(2.0, 7.0)]
                    } else {
                        [dice.range(30.0, 120.0), dice.range(30.0, 90.0)]
                    },
                    colour: any_colour(dice),
                    round: !cable && dice.chance(0.3),
                }
            })
            .collect();
        Floor {
            noise,
            colour: mix([grey; 3], scale(tint, 0.5), dice.range(0.0, 0.5)),
            tile: if dice.chance(0.4) { dice.range(60.0, 200.0) } else { 0.0 },
            line: if dice.chance(0.5) {
                [0.6, 0.45, 0.03]
            } else {
                [0.6, 0.6, 0.58]
            },
            line_at: if dice.chance(0.5) { dice.range(60.0, 200.0) } else { 1e6 },
            grain: dice.range(0.2, 0.8),
            things,
        }
    }

    fn shade(&self, frame: &Frame, belt: &Belt, p: V3, light: &Light) -> V3 {
        let (along, across) = frame.belt_from_world(p);
        let (ai, ci) = (along as i32 + 40_000, across as i32 + 40_000);
        let n = self.noise.at(ai >> 2, ci >> 2) - 0.5 + 0.4 * (self.noise.at(ai, ci) - 0.5);
        let mut c = self.colour;
        if self.tile > 0.0 {
            let (a, b) = (along.rem_euclid(self.tile), across.rem_euclid(self.tile));
            if a < 4.0 || b < 4.0 {
                c = scale(c, 0.6);
            }
        }
        let beyond = across.abs() - belt.half_width;
        if (beyond - self.line_at).abs() < 14.0 {
            c = self.line;
        }
        for t in &self.things {
            let d = [along - t.at[0], across - t.at[1]];
            let u = (d[0] * t.axis[0] + d[1] * t.axis[1]) / t.half[0];
            let v = (d[1] * t.axis[0] - d[0] * t.axis[1]) / t.half[1];
            if (t.round && u * u + v * v < 1.0) || (!t.round && u.abs() < 1.0 && v.abs() < 1.0) {
                c = t.colour;
            }
        }
        c = scale(c, (1.0 + self.grain * n).max(0.2));
        let open = 0.35 + 0.65 * smooth(0.0, 170.0, beyond);
        times(c, scale(add(light.sky, scale(light.key, 0.7 * light.towards[2])), open))
    }
}
