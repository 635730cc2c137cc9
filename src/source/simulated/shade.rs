//! Colour of a pixel of an object: texture, key light with shadow, sky and bounce, highlight, reflection.

use super::look::{Light, Material};
use super::num::{V3, add, dot, lerp, mix, scale, smooth, times, unit};
use super::raster::Facet;
use super::shadow::ShadowGrid;
use super::texture::Texture;

/// A vertex as this frame has it: world position and normal.
#[derive(Clone, Copy, Debug)]
pub struct Posed {
    pub p: V3,
    pub n: V3,
    pub uv: [f32; 2],
    pub ao: f32,
}

/// What is the same for all pixels of one object.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub materials: [Material; 3],
    /// Towards the camera from the object's middle, and half way from there to the light.
    pub view: V3,
    pub half: V3,
}

/// Lamps and walls that polished things mirror.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub light: Light,
    /// Direction, on the ground, across which the lamp strips lie.
    pub strips: [f32; 2],
    pub strip_at: f32,
    pub belt: V3,
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

#[inline(always)]
pub fn shade(
    x: f32,
    y: f32,
    facet: &Facet,
    posed: &[Posed],
    subject: &Subject,
    textures: &[Texture],
    around: &Surroundings,
    shadows: &ShadowGrid,
    behind: V3,
) -> V3 {
    let w = facet.weights(x, y);
    let [a, b, c] = facet.v.map(|k| &posed[k as usize]);
    let blend3 = |p: V3, q: V3, r: V3| {
        [
            p[0] * w[0] + q[0] * w[1] + r[0] * w[2],
            p[1] * w[0] + q[1] * w[1] + r[1] * w[2],
            p[2] * w[0] + q[2] * w[1] + r[2] * w[2],
        ]
    };
    let p = blend3(a.p, b.p, c.p);
    let n = unit(blend3(a.n, b.n, c.n));
    let u = a.uv[0] * w[0] + b.uv[0] * w[1] + c.uv[0] * w[2];
    let v = a.uv[1] * w[0] + b.uv[1] * w[1] + c.uv[1] * w[2];
    let ao = a.ao * w[0] + b.ao * w[1] + c.ao * w[2];
    let m = &subject.materials[facet.part as usize];
    let t = textures[m.texture].sample(u, v);
    let albedo = scale(mix(mix(m.a, m.b, t[0]), m.c, t[1]), t[2]);

    let light = &around.light;
    let facing = dot(n, light.towards);
    let lit = if facing > 0.0 { facing * shadows.reaches(p) } else { 0.0 };
    let ground = smooth(-2.0, 34.0, p[2]);
    let dim = ao * lerp(0.5, 1.0, ground);
    let up = 0.5 + 0.5 * n[2];
    let soft = add(scale(light.sky, up * dim), scale(light.bounce, (1.0 - up) * dim * 0.8));
    let mut colour = times(albedo, add(soft, scale(light.key, lit * (0.4 + 0.6 * ao))));

    let toward = dot(n, subject.view).max(0.0);
    let graze = 1.0 - toward;
    let graze = graze * graze * graze;
    if m.metal > 0.0 || m.specular > 0.45 {
        let r = add(scale(n, 2.0 * dot(n, subject.view)), scale(subject.view, -1.0));
        let mirrored = scale(around.mirrored(r), dim);
        if m.metal > 0.0 {
            colour = mix(colour, times(albedo, scale(mirrored, 1.35)), m.metal * t[3]);
        }
        colour = add(colour, scale(mirrored, (0.04 + 0.3 * graze) * m.specular.min(1.0)));
    }
    if m.clear > 0.0 {
        let tint = add(scale(m.a, 0.75), [0.25; 3]);
        let through = m.clear * toward * (0.55 + 0.45 * t[2]).min(1.0);
        colour = mix(colour, times(behind, tint), through);
        colour = scale(colour, 1.0 - 0.35 * m.clear * graze);
    }
    let mut shine = dot(n, subject.half).max(0.0);
    for _ in 0..m.gloss {
        shine *= shine;
    }
    let shine = shine * m.specular * t[3] * lit.min(0.25) * 4.0;
    add(colour, scale(light.key, shine))
}
