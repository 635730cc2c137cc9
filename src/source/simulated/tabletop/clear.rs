//! Clear vessels: bottles, jars and tumblers of plastic and glass, and how the room shows through them.
//!
//! Parts: 0 the clear wall, 2 what is opaque (cap, neck ring, lid). `Glass` is how a sort looks, `Pane` one thing of
//! it in its place. Heights are shares of the body's length, 0 its foot; `across` is -1..=1 from rim to rim as seen.
//!
//! Only the room shows through, moved a little as glass and water move it: other things behind do not.

use super::super::camera::Camera;
use super::super::look::{Light, Material, any_colour, hsv};
use super::super::mesh::{Mesh, Ring, edge, ring};
use super::super::num::{
    Dice, V3, add, cos, cross, dot, floor, fract, hash, mix, scale, sin, smooth, sub, times, unit,
};
use super::super::raster::Raster;
use super::super::shade::Posed;
use super::super::texture::Noise;
use super::shapes::Rest;
use super::solid::turned;
use std::f32::consts::{PI, TAU};

/// The outline of a sort of clear vessel; foot and top are its first and last vertices.
pub fn vessel(dice: &mut Dice, sides: usize) -> (Mesh, Rest) {
    let mut p: Vec<Ring> = vec![ring(0.0, 0.0, 0)];
    let bottle = dice.chance(0.7);
    let r = if bottle {
        dice.range(0.11, 0.22)
    } else {
        dice.range(0.2, 0.48)
    };
    let foot = r * dice.range(0.78, 1.0);
    p.push(edge(foot * 0.85, 0.0, 0));
    p.push(ring(foot, 0.02, 0));
    p.push(ring(r, dice.range(0.05, 0.12), 0));
    if bottle {
        let shoulder = dice.range(0.45, 0.72);
        let waist = if dice.chance(0.5) { dice.range(0.84, 1.0) } else { 1.0 };
        p.push(ring(r, shoulder * 0.4, 0));
        p.push(ring(r * waist, shoulder * 0.6, 0));
        p.push(ring(r, shoulder * 0.85, 0));
        p.push(ring(r, shoulder, 0));
        let neck = (r * dice.range(0.28, 0.6)).max(0.045);
        let neck_z = shoulder + (0.88 - shoulder) * dice.range(0.55, 0.95);
        let bulge = dice.range(0.0, 0.6);
        for k in 1..=8 {
            let t = k as f32 / 8.0;
            let s = (0.5 - 0.5 * cos(t * PI)) * (1.0 - bulge) + bulge * t * t;
            p.push(ring(r + (neck - r) * s, shoulder + (neck_z - shoulder) * t, 0));
        }
        let cap_z = dice.range(neck_z.max(0.87), 0.95);
        if dice.chance(0.7) {
            // The neck's ring, under a strip of bare neck.
            let z = neck_z + (cap_z - neck_z) * dice.range(0.3, 0.7);
            let part = if dice.chance(0.5) { 2 } else { 0 };
            p.push(edge(neck, z, part));
            p.push(edge(neck * 1.25, z, part));
            p.push(edge(neck * 1.25, z + 0.012, part));
            p.push(edge(neck, z + 0.013, 0));
        }
        p.push(edge(neck, cap_z.max(neck_z + 0.03), 2));
        if dice.chance(0.9) {
            let cap = neck * dice.range(1.05, 1.3);
            p.push(edge(cap, cap_z.max(neck_z + 0.031), 2));
            if dice.chance(0.15) {
                p.push(edge(cap, 0.965, 2));
                p.push(edge(cap * 0.5, 0.97, 2));
                p.push(edge(cap * 0.45, 1.0, 2));
            } else {
                p.push(edge(cap, 0.985, 2));
                p.push(ring(cap * 0.93, 1.0, 2));
            }
        } else if let Some(open) = p.last_mut() {
            open.part = 0;
            p.push(edge(neck * 0.95, 1.0, 0));
        }
        p.push(edge(0.0, 1.0, 2));
    } else {
        let flare = dice.range(0.85, 1.2);
        let belly = dice.range(-0.08, 0.12);
        let wall = |t: f32| r * (1.0 + (flare - 1.0) * t + belly * sin(t * PI));
        for k in 2..=10 {
            let t = k as f32 / 10.0;
            p.push(ring(wall(t), 0.96 * t, 0));
        }
        if dice.chance(0.5) {
            let lid = wall(1.0) * dice.range(0.85, 1.08);
            p.push(edge(lid, 0.88, 2));
            p.push(edge(lid, 1.0, 2));
        } else {
            p.push(edge(wall(1.0), 1.0, 0));
            p.push(edge(wall(1.0) * 0.94, 1.0, 0));
        }
        let part = p[p.len() - 2].part;
        p.push(edge(0.0, 1.0, part));
    }
    let lobes = if bottle && dice.chance(0.6) { 5.0 } else { 0.0 };
    let flats = if dice.chance(0.25) {
        dice.pick(&[4.0f32, 6.0, 8.0, 12.0])
    } else {
        0.0
    };
    let depth = dice.range(0.02, 0.08);
    let tall = if bottle { 1.0 } else { dice.range(0.5, 1.2) };
    let mesh = turned(&p, sides.max(24) + 8, |p, angle| {
        let low = smooth(0.09, 0.02, p[2]);
        let flat = if flats > 0.0 && p[2] < 0.7 {
            depth * cos(angle * flats)
        } else {
            0.0
        };
        let k = 1.0
            + flat
            + if lobes > 0.0 {
                low * 0.1 * cos(angle * lobes)
            } else {
                0.0
            };
        let lift = if lobes > 0.0 {
            low * 0.012 * (1.0 - cos(angle * lobes))
        } else {
            0.0
        };
        ([p[0] * k, p[1] * k, (p[2] + lift) * tall], 1.0)
    });
    (mesh, Rest::Standing(0.88))
}

/// A mirrored lamp or window, upright along the wall.
#[derive(Clone, Copy, Debug)]
struct Strip {
    across: f32,
    half: f32,
    from: f32,
    to: f32,
    strength: f32,
}

#[derive(Clone, Copy, Debug)]
struct Label {
    from: f32,
    to: f32,
    /// How far round it goes, 0..=1.
    round: f32,
    paper: V3,
    ink: V3,
    alpha: f32,
}

#[derive(Clone, Copy, Debug)]
pub struct Glass {
    wall: V3,
    liquid: V3,
    /// Height of the liquid over the lowest point.
    level: f32,
    haze: f32,
    /// Where the rim begins, how dark it is and how bright its thin edge.
    rim: [f32; 3],
    /// Shift of what shows through, in radii: sideways dry, sideways wet, along, along at the rims.
    shift: [f32; 4],
    strips: [Strip; 4],
    /// Height of the foot, strength of its spots, how many go round.
    foot: [f32; 3],
    /// Colour of the foot's dark spots.
    dark: V3,
    cap: V3,
    /// How much of the cap's colour the neck below it takes on.
    neck: f32,
    /// Ribs: from, to, how many to the whole length, strength.
    ribs: [f32; 4],
    label: Option<Label>,
    /// Whether it throws a shadow like an opaque thing does.
    pub casts: bool,
    salt: f32,
}

/// Colours of caps: mostly the few that bottles have.
pub fn cap_colour(dice: &mut Dice) -> V3 {
    let base = match dice.below(10) {
        0..=3 => [0.02, 0.05, dice.range(0.25, 0.75)],
        4 | 5 => [0.8, 0.8, 0.78],
        6 => [0.025; 3],
        7 => [0.6, 0.03, 0.03],
        8 => [0.05, 0.35, 0.1],
        _ => return any_colour(dice),
    };
    scale(base, dice.range(0.7, 1.15))
}

impl Glass {
    pub fn draw(dice: &mut Dice) -> Glass {
        let faint = |dice: &mut Dice| {
            let (hue, most) = (dice.range(1.8, 4.4), dice.range(0.02, 0.3));
            hsv(hue, most, dice.range(0.8, 1.0))
        };
        let wall = match dice.below(10) {
            0 | 1 => [dice.range(0.85, 1.0); 3],
            2..=6 => faint(dice),
            7 => dice.pick(&[[0.12, 0.45, 0.15], [0.5, 0.2, 0.05], [0.08, 0.2, 0.6], [0.5, 0.75, 0.3]]),
            _ => hsv(dice.range(0.0, 6.0), dice.range(0.1, 0.6), 0.9),
        };
        let liquid = match dice.below(10) {
            0..=6 => times(wall, faint(dice)),
            7 => dice.pick(&[
                [0.6, 0.25, 0.03],
                [0.3, 0.02, 0.03],
                [0.06, 0.02, 0.01],
                [0.8, 0.65, 0.1],
            ]),
            _ => hsv(dice.range(0.0, 6.0), dice.range(0.3, 0.9), dice.range(0.3, 0.9)),
        };
        let strip = |dice: &mut Dice| {
            let from = dice.range(-0.1, 0.7);
            Strip {
                across: dice.range(-0.9, 0.9),
                half: dice.range(0.02, 0.13),
                from,
                to: from + dice.range(0.06, 0.6),
                strength: if dice.chance(0.75) { dice.range(0.08, 0.75) } else { 0.0 },
            }
        };
        let cap = cap_colour(dice);
        let from = dice.range(0.12, 0.45);
        let ribs = dice.range(0.1, 0.5);
        Glass {
            wall,
            liquid,
            level: match dice.below(4) {
                0 => 0.0,
                1 => dice.range(0.08, 0.6),
                2 => dice.range(0.6, 0.9),
                _ => 0.97,
            },
            haze: dice.range(0.02, 0.3),
            rim: [dice.range(0.4, 0.85), dice.range(0.1, 0.75), dice.range(0.0, 0.9)],
            shift: [
                dice.range(-0.3, 0.3),
                dice.range(-1.8, 0.4),
                dice.range(-0.25, 0.25),
                dice.range(-0.3, 0.3),
            ],
            strips: std::array::from_fn(|_| strip(dice)),
            foot: [
                dice.range(0.04, 0.13),
                if dice.chance(0.2) { 0.0 } else { dice.range(0.3, 1.0) },
                dice.pick(&[8.0, 12.0, 20.0, 28.0]),
            ],
            dark: match dice.below(3) {
                0 => scale(cap, 0.7),
                1 => [0.05; 3],
                _ => scale(wall, 0.25),
            },
            cap,
            neck: if dice.chance(0.5) { dice.range(0.1, 0.7) } else { 0.0 },
            ribs: [
                ribs,
                ribs + dice.range(0.1, 0.5),
                dice.range(8.0, 40.0),
                if dice.chance(0.35) { dice.range(0.05, 0.35) } else { 0.0 },
            ],
            label: dice.chance(0.22).then(|| Label {
                from,
                to: from + dice.range(0.1, 0.35),
                round: if dice.chance(0.6) { 1.0 } else { dice.range(0.25, 0.6) },
                paper: any_colour(dice),
                ink: any_colour(dice),
                alpha: if dice.chance(0.7) { 1.0 } else { dice.range(0.3, 0.9) },
            }),
            casts: dice.chance(0.45),
            salt: dice.range(10.0, 200.0),
        }
    }

    /// Its wall as the shared shading takes it, and its cap.
    pub fn materials(&self, dice: &mut Dice) -> [Material; 3] {
        let wall = Material {
            texture: 0,
            a: self.wall,
            b: scale(self.wall, 0.7),
            c: self.wall,
            specular: dice.range(0.5, 1.3),
            gloss: 5 + dice.below(3) as u32,
            metal: 0.0,
            clear: 0.9,
        };
        let colour = self.cap;
        let cap = Material {
            a: colour,
            b: scale(colour, 0.8),
            c: colour,
            specular: dice.range(0.1, 0.8),
            gloss: 3 + dice.below(3) as u32,
            clear: 0.0,
            ..wall
        };
        [wall, wall, cap]
    }
}

/// A clear thing in its place.
pub struct Pane {
    glass: Glass,
    foot: V3,
    axis: V3,
    length: f32,
    across: V3,
    /// Lowest point and height over the ground.
    low: f32,
    tall: f32,
    /// One radius along `across` and along the axis, in pixels.
    step: [[f32; 2]; 2],
}

/// What of a pane a pixel sees.
#[derive(Clone, Copy)]
pub struct Spot {
    across: f32,
    height: f32,
    round: f32,
    wet: f32,
    facing: f32,
}

impl Pane {
    pub fn new(glass: Glass, posed: &[Posed], camera: &Camera) -> Option<Pane> {
        let (foot, top) = (posed.first()?.position(), posed.last()?.position());
        let along = sub(top, foot);
        let axis = unit(along);
        let length = dot(along, axis);
        let view = sub(camera.at, foot);
        let across = unit(cross(axis, view));
        let (mut low, mut high, mut radius) = (f32::MAX, f32::MIN, 0.0f32);
        for v in posed {
            low = low.min(v.p[2]);
            high = high.max(v.p[2]);
            radius = radius.max(dot(sub(v.position(), foot), across));
        }
        let depth = -dot(view, camera.forward);
        let px = radius * camera.focal_px / depth.abs().max(1.0);
        let shown = |d: V3| [dot(d, camera.right) * px, -dot(d, camera.up) * px];
        Some(Pane {
            glass,
            foot,
            axis,
            length: length.max(1e-3),
            across,
            low,
            tall: (high - low).max(1e-3),
            step: [shown(across), shown(axis)],
        })
    }

    pub fn casts(&self) -> bool {
        self.glass.casts
    }

    pub fn spot(&self, raster: &Raster, posed: &[Posed], name: usize, x: f32, y: f32, light: &Light) -> Spot {
        let facet = &raster.facets[name - 1];
        let w = facet.weights(x, y);
        let [a, b, c] = facet.v.map(|k| &posed[k as usize]);
        let blend = |k: fn(&Posed) -> V3| add(add(scale(k(a), w[0]), scale(k(b), w[1])), scale(k(c), w[2]));
        let p = blend(Posed::position);
        let n = unit(blend(|v| [v.n[0], v.n[1], v.n[2]]));
        Spot {
            across: dot(n, self.across).clamp(-1.0, 1.0),
            height: dot(sub(p, self.foot), self.axis) / self.length,
            round: a.n[3] * w[0] + b.n[3] * w[1] + c.n[3] * w[2],
            wet: (p[2] - self.low) / self.tall,
            facing: dot(n, light.towards).max(0.0),
        }
    }

    fn rib(&self, spot: &Spot) -> f32 {
        let [from, to, count, strength] = self.glass.ribs;
        let on = spot.height > from && spot.height < to;
        if on {
            strength * sin(spot.height * count * TAU)
        } else {
            0.0
        }
    }

    /// The place of the picture that shows at pixel (x, y) through it.
    pub fn place(&self, spot: &Spot, x: f32, y: f32) -> [f32; 2] {
        let [dry, wet, along, bow] = self.glass.shift;
        let s = spot.across;
        let side = s * if spot.wet < self.glass.level { wet } else { dry } * (0.4 + s * s);
        let along = along + bow * s * s + self.rib(spot);
        let [across, axis] = self.step;
        [
            x + across[0] * side + axis[0] * along,
            y + across[1] * side + axis[1] * along,
        ]
    }

    /// Light of a pixel: `behind` is the room's there, `shaded` what the wall would look like were it opaque.
    pub fn light(&self, spot: &Spot, behind: V3, shaded: V3, light: &Light, noise: &Noise) -> V3 {
        let g = &self.glass;
        let white = add(scale(light.sky, 0.9), scale(light.key, 0.6));
        let (s, h) = (spot.across.abs(), spot.height);
        let tint = if spot.wet < g.level { g.liquid } else { g.wall };
        let mut c = times(behind, mix(tint, times(tint, tint), s * s));
        c = mix(c, shaded, g.haze);
        c = scale(c, 1.0 + self.rib(spot));
        let [from, dark, bright] = g.rim;
        c = scale(c, 1.0 - dark * smooth(from, 1.0, s));
        c = mix(c, times(g.cap, white), g.neck * smooth(0.7, 0.95, h));
        let line = smooth(0.05, 0.01, (s - 0.93).abs());
        c = add(c, scale(white, 0.5 * bright * line));
        let level = (spot.wet - g.level).abs() * self.tall / self.length;
        if g.level > 0.0 && level < 0.008 {
            let up = if spot.wet > g.level { 0.9 } else { 0.25 };
            c = mix(c, scale(white, up), 0.45);
        }
        if h > 0.985 {
            c = mix(c, white, 0.3);
        }
        let [foot, spots, count] = g.foot;
        if h < foot {
            let deep = smooth(foot, foot * 0.5, h) * spots;
            let (u, v) = (spot.round * count + g.salt, h / foot * 3.0 + g.salt);
            let (n, m) = (noise.between(u, v), noise.between(u * 1.3 + 60.0, v * 1.6 + 20.0));
            c = mix(c, times(g.dark, white), deep * smooth(0.53, 0.58, n));
            c = mix(c, scale(white, 1.3), deep * smooth(0.56, 0.61, m));
        }
        if let Some(label) = &g.label {
            let (v, u) = ((h - label.from) / (label.to - label.from), spot.round);
            if (0.0..1.0).contains(&v) && u < label.round {
                let (i, j) = (floor(v * 7.0), floor(u * 40.0));
                let bit = (hash((i as u64) << 32 ^ j as u64 ^ (g.salt as u64) << 8) & 255) as f32 / 255.0;
                let band = fract(v * 7.0) < 0.55 && bit > 0.45 || !(0.08..0.92).contains(&v);
                let lit = add(scale(light.sky, 0.6), scale(light.key, spot.facing));
                c = mix(c, times(if band { label.ink } else { label.paper }, lit), label.alpha);
            }
        }
        for strip in &g.strips {
            let on = smooth(strip.half, strip.half * 0.5, (spot.across - strip.across).abs());
            let ends = smooth(strip.from - 0.03, strip.from, h) * smooth(strip.to + 0.03, strip.to, h);
            c = mix(c, scale(white, 1.5), on * ends * strip.strength);
        }
        c
    }
}
