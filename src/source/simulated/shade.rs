//! Colour of a pixel of an object: texture, key light with shadow, sky and bounce, highlight, reflection.

// Lanes are walked side by side through several arrays: an index says that best.
#![allow(clippy::needless_range_loop)]

use super::look::{Light, Material};
use super::num::{V3, add, dot, lerp, mix, scale, smooth, times};
use super::raster::{Facet, Owner};
use super::shadow::ShadowGrid;
use super::texture::Texture;

/// A vertex as this frame has it: world position and normal, packed for interpolation.
#[derive(Clone, Copy, Debug)]
pub struct Posed {
    /// x, y, z, and how much ambient light reaches the vertex.
    pub p: [f32; 4],
    /// Normal, and the texture's u.
    pub n: [f32; 4],
    /// The texture's v.
    pub v: f32,
}

impl Posed {
    pub fn position(&self) -> V3 {
        [self.p[0], self.p[1], self.p[2]]
    }
}

/// What is the same for all pixels of one object.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub materials: [Material; 3],
    /// Towards the camera from the object's middle, and half way from there to the light.
    pub view: V3,
    pub half: V3,
    /// Some part lets the belt show through.
    pub clear: bool,
}

/// Lamps and walls that polished things mirror.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub light: Light,
    /// Direction, on the ground, across which the lamp strips lie.
    pub strips: [f32; 2],
    pub strip_at: f32,
    pub belt: V3,
    /// Share of the light from all round that reaches a surface on the ground, and the height at which all does.
    pub near_ground: [f32; 2],
}

impl Surroundings {
    /// Light that comes from direction `r`.
    #[inline(always)]
    fn mirrored(&self, r: V3) -> V3 {
        let up = smooth(-0.15, 0.75, r[2]);
        let side = (r[0] * self.strips[0] + r[1] * self.strips[1]).abs();
        let strip = smooth(0.16, 0.07, (side - self.strip_at).abs()) * smooth(0.1, 0.4, r[2]);
        let low = scale(self.belt, 0.8);
        let wall = scale(self.light.sky, 0.5);
        let base = mix(mix(low, wall, smooth(-0.3, 0.05, r[2])), scale(self.light.sky, 2.0), up);
        add(base, scale(self.light.key, 0.9 * strip))
    }
}

/// Most pixels shaded at once.
pub const LANES: usize = 16;
type Lane = [f32; LANES];

/// A run of pixels of one row that see the same part of the same object, field by field.
pub struct Batch {
    n: [Lane; 3],
    p: [Lane; 3],
    uv: [Lane; 2],
    ao: Lane,
    texel: [Lane; 4],
    lit: Lane,
    reach: Lane,
    dim: Lane,
    colour: [Lane; 3],
}

/// Everything shading looks at besides the pixels themselves.
pub struct Stage<'a> {
    pub posed: &'a [Posed],
    pub facets: &'a [Facet],
    pub owners: &'a [Owner],
    pub textures: &'a [Texture],
    pub around: &'a Surroundings,
    pub shadows: &'a ShadowGrid,
}

impl Batch {
    pub fn new() -> Self {
        let lane = [0.0; LANES];
        Batch {
            n: [lane; 3],
            p: [lane; 3],
            uv: [lane; 2],
            ao: lane,
            texel: [lane; 4],
            lit: lane,
            reach: lane,
            dim: lane,
            colour: [lane; 3],
        }
    }

    /// Shade the pixels from `at` on along the row, one for each name in `seen` (at most `LANES`), over what `rows`
    /// holds.
    pub fn shade(
        &mut self,
        stage: &Stage,
        subject: &Subject,
        part: u8,
        seen: &[u32],
        at: [usize; 2],
        rows: [&mut [f32]; 3],
    ) {
        let material = &subject.materials[part as usize];
        // All lanes are always computed, as whole vectors: what is left over in the last ones does no harm.
        self.gather(stage, &stage.textures[material.texture], seen, at);
        self.diffuse(stage, material, seen.len());
        if material.metal > 0.0 || material.specular > 0.45 {
            self.mirror(stage, subject, material);
        }
        if material.clear > 0.0 {
            self.see_through(subject, material, [&*rows[0], &*rows[1], &*rows[2]]);
        }
        self.shine(stage, subject, material);
        for (row, colour) in rows.into_iter().zip(&self.colour) {
            row.copy_from_slice(&colour[..row.len()]);
        }
    }

    fn gather(&mut self, stage: &Stage, texture: &Texture, seen: &[u32], [x0, y]: [usize; 2]) {
        let y = y as f32 + 0.5;
        for (k, &name) in seen.iter().enumerate() {
            let facet = &stage.facets[name as usize - 1];
            let w = facet.weights((x0 + k) as f32 + 0.5, y);
            let [a, b, c] = facet.v.map(|k| &stage.posed[k as usize]);
            let blend = |a: &[f32; 4], b: &[f32; 4], c: &[f32; 4]| {
                let mut out = [0.0; 4];
                for k in 0..4 {
                    out[k] = a[k] * w[0] + b[k] * w[1] + c[k] * w[2];
                }
                out
            };
            let p = blend(&a.p, &b.p, &c.p);
            let n = blend(&a.n, &b.n, &c.n);
            let v = a.v * w[0] + b.v * w[1] + c.v * w[2];
            self.ao[k] = p[3];
            self.uv[0][k] = n[3];
            self.uv[1][k] = v;
            for c in 0..3 {
                self.p[c][k] = p[c];
                self.n[c][k] = n[c];
            }
        }
        texture.sample(&self.uv[0], &self.uv[1], self.texel.each_mut(), seen.len());
    }

    /// Unit normals, key light with its shadows, and light from all round.
    fn diffuse(&mut self, stage: &Stage, m: &Material, count: usize) {
        let light = &stage.around.light;
        let [least, full_at] = stage.around.near_ground;
        for k in 0..LANES {
            let normal = [self.n[0][k], self.n[1][k], self.n[2][k]];
            let length = dot(normal, normal);
            let inverse = 1.0 / length.sqrt();
            let ok = length > 1e-20;
            let normal = scale(normal, inverse);
            self.n[0][k] = if ok { normal[0] } else { 0.0 };
            self.n[1][k] = if ok { normal[1] } else { 0.0 };
            self.n[2][k] = if ok { normal[2] } else { 1.0 };
            let normal = [self.n[0][k], self.n[1][k], self.n[2][k]];
            self.lit[k] = dot(normal, light.towards);
        }
        stage
            .shadows
            .reaches(self.p.each_ref(), |k| self.lit[k] > 0.0, &mut self.reach, count);
        for k in 0..LANES {
            let facing = self.lit[k];
            let lit = if facing > 0.0 { facing * self.reach[k] } else { 0.0 };
            let ao = self.ao[k];
            let t = [self.texel[0][k], self.texel[1][k], self.texel[2][k]];
            let albedo = scale(mix(mix(m.a, m.b, t[0]), m.c, t[1]), t[2]);
            let ground = smooth(-2.0, full_at, self.p[2][k]);
            let dim = ao * lerp(least, 1.0, ground);
            let up = 0.5 + 0.5 * self.n[2][k];
            let soft = add(scale(light.sky, up * dim), scale(light.bounce, (1.0 - up) * dim * 0.8));
            let colour = times(albedo, add(soft, scale(light.key, lit * (0.4 + 0.6 * ao))));
            self.lit[k] = lit;
            self.dim[k] = dim;
            for c in 0..3 {
                self.colour[c][k] = colour[c];
            }
        }
    }

    /// What metal and gloss mirror.
    fn mirror(&mut self, stage: &Stage, subject: &Subject, m: &Material) {
        let metal = m.metal > 0.0;
        for k in 0..LANES {
            let normal = [self.n[0][k], self.n[1][k], self.n[2][k]];
            let mut colour = [self.colour[0][k], self.colour[1][k], self.colour[2][k]];
            let graze = graze(normal, subject.view);
            let r = add(
                scale(normal, 2.0 * dot(normal, subject.view)),
                scale(subject.view, -1.0),
            );
            let mirrored = scale(stage.around.mirrored(r), self.dim[k]);
            if metal {
                let t = [self.texel[0][k], self.texel[1][k], self.texel[2][k]];
                let albedo = scale(mix(mix(m.a, m.b, t[0]), m.c, t[1]), t[2]);
                colour = mix(colour, times(albedo, scale(mirrored, 1.35)), m.metal * self.texel[3][k]);
            }
            colour = add(colour, scale(mirrored, (0.04 + 0.3 * graze) * m.specular.min(1.0)));
            for c in 0..3 {
                self.colour[c][k] = colour[c];
            }
        }
    }

    /// The belt through clear plastic and glass.
    fn see_through(&mut self, subject: &Subject, m: &Material, behind: [&[f32]; 3]) {
        let tint = add(scale(m.a, 0.75), [0.25; 3]);
        for k in 0..behind[0].len() {
            let normal = [self.n[0][k], self.n[1][k], self.n[2][k]];
            let toward = dot(normal, subject.view).max(0.0);
            let through = m.clear * toward * (0.55 + 0.45 * self.texel[2][k]).min(1.0);
            let keep = 1.0 - 0.35 * m.clear * graze(normal, subject.view);
            for c in 0..3 {
                let own = self.colour[c][k];
                self.colour[c][k] = lerp(own, behind[c][k] * tint[c], through) * keep;
            }
        }
    }

    fn shine(&mut self, stage: &Stage, subject: &Subject, m: &Material) {
        let key = stage.around.light.key;
        let mut shine = [0.0; LANES];
        for k in 0..LANES {
            let normal = [self.n[0][k], self.n[1][k], self.n[2][k]];
            shine[k] = dot(normal, subject.half).max(0.0);
        }
        for _ in 0..m.gloss {
            for s in &mut shine {
                *s *= *s;
            }
        }
        for k in 0..LANES {
            let s = shine[k] * m.specular * self.texel[3][k] * self.lit[k].min(0.25) * 4.0;
            for c in 0..3 {
                self.colour[c][k] += key[c] * s;
            }
        }
    }
}

/// Cube of how far the surface turns away from the viewer.
#[inline(always)]
fn graze(normal: V3, view: V3) -> f32 {
    let graze = 1.0 - dot(normal, view).max(0.0);
    graze * graze * graze
}
