//! Triangle meshes and the tools that build them: lathe, tube, box, pillow.
//!
//! Body space: centre of the bounding box at the origin, z along the object's own axis.
//! `n` unit normal, `uv` texture coordinates (both wrap at 1), `ao` ambient light that reaches the vertex, 0..=1.
//! Triangles are counter-clockwise seen from outside.

use super::num::{V3, cos, cross, dot, sin, sub, unit};
use std::f32::consts::TAU;

#[derive(Clone, Copy, Debug)]
pub struct Vertex {
    pub p: V3,
    pub n: V3,
    pub uv: [f32; 2],
    pub ao: f32,
}

#[derive(Clone, Copy, Debug)]
pub struct Triangle {
    pub v: [u32; 3],
    /// Which of the object's materials.
    pub part: u8,
}

#[derive(Clone, Debug, Default)]
pub struct Mesh {
    pub vertices: Vec<Vertex>,
    pub triangles: Vec<Triangle>,
    /// Half of the bounding box's sides.
    pub half: V3,
}

/// A ring of a lathe: radius, height, and what begins here.
#[derive(Clone, Copy)]
pub struct Ring {
    pub r: f32,
    pub z: f32,
    pub part: u8,
    pub ao: f32,
    /// A crease: the surface above does not share normals with the surface below.
    pub crease: bool,
}

pub fn ring(r: f32, z: f32, part: u8) -> Ring {
    Ring {
        r,
        z,
        part,
        ao: 1.0,
        crease: false,
    }
}

/// A ring where the surface has an edge.
pub fn edge(r: f32, z: f32, part: u8) -> Ring {
    Ring {
        crease: true,
        ..ring(r, z, part)
    }
}

impl Mesh {
    pub fn push(&mut self, p: V3, n: V3, uv: [f32; 2], ao: f32) -> u32 {
        self.vertices.push(Vertex { p, n, uv, ao });
        (self.vertices.len() - 1) as u32
    }

    pub fn triangle(&mut self, a: u32, b: u32, c: u32, part: u8) {
        self.triangles.push(Triangle { v: [a, b, c], part });
    }

    /// Four corners counter-clockwise from outside; the texture covers the face once.
    pub fn quad(&mut self, c: [V3; 4], part: u8, ao: [f32; 4]) {
        let n = unit(cross(sub(c[1], c[0]), sub(c[2], c[0])));
        let uv = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let mut v = [0; 4];
        for k in 0..4 {
            v[k] = self.push(c[k], n, uv[k], ao[k]);
        }
        self.triangle(v[0], v[1], v[2], part);
        self.triangle(v[0], v[2], v[3], part);
    }

    /// Axis-aligned box of half sides `h` about `o`.
    pub fn block(&mut self, o: V3, h: V3, part: u8) {
        let p = |x: f32, y: f32, z: f32| [o[0] + x * h[0], o[1] + y * h[1], o[2] + z * h[2]];
        let one = [1.0; 4];
        let (a, b) = (-1.0, 1.0);
        self.quad([p(a, a, b), p(b, a, b), p(b, b, b), p(a, b, b)], part, one);
        self.quad([p(a, b, a), p(b, b, a), p(b, a, a), p(a, a, a)], part, one);
        self.quad([p(a, a, a), p(b, a, a), p(b, a, b), p(a, a, b)], part, one);
        self.quad([p(b, b, a), p(a, b, a), p(a, b, b), p(b, b, b)], part, one);
        self.quad([p(b, a, a), p(b, b, a), p(b, b, b), p(b, a, b)], part, one);
        self.quad([p(a, b, a), p(a, a, a), p(a, a, b), p(a, b, b)], part, one);
    }

    /// Turn a profile about z. `profile` goes up the outside (and may come down the inside).
    ///
    /// Part of a band is the part of its lower ring. `v` runs 0..1 along the profile's z range.
    pub fn lathe(&mut self, profile: &[Ring], sides: usize, u_repeats: f32) {
        let (mut lo, mut hi) = (f32::MAX, f32::MIN);
        for r in profile {
            lo = lo.min(r.z);
            hi = hi.max(r.z);
        }
        let span = (hi - lo).max(1e-6);
        let slope = |a: &Ring, b: &Ring| -> [f32; 2] {
            let (dr, dz) = (b.r - a.r, b.z - a.z);
            let len = (dr * dr + dz * dz).sqrt().max(1e-9);
            [dz / len, -dr / len]
        };
        let turn: Vec<(f32, f32)> = (0..=sides)
            .map(|k| {
                let t = (k % sides) as f32 / sides as f32 * TAU;
                (cos(t), sin(t))
            })
            .collect();
        let row = |r: &Ring, n: [f32; 2], mesh: &mut Mesh| -> u32 {
            let first = mesh.vertices.len() as u32;
            let len = (n[0] * n[0] + n[1] * n[1]).sqrt().max(1e-9);
            for (k, (c, s)) in turn.iter().enumerate() {
                let uv = [k as f32 / sides as f32 * u_repeats, (r.z - lo) / span];
                let n = [n[0] / len * c, n[0] / len * s, n[1] / len];
                mesh.push([r.r * c, r.r * s, r.z], n, uv, r.ao);
            }
            first
        };
        for k in 0..profile.len().saturating_sub(1) {
            let (a, b) = (&profile[k], &profile[k + 1]);
            let here = slope(a, b);
            let mut na = here;
            if k > 0 && !a.crease {
                let s = slope(&profile[k - 1], a);
                na = [here[0] + s[0], here[1] + s[1]];
            }
            let mut nb = here;
            if k + 2 < profile.len() && !b.crease {
                let s = slope(b, &profile[k + 2]);
                nb = [here[0] + s[0], here[1] + s[1]];
            }
            let (ra, rb) = (row(a, na, self), row(b, nb, self));
            for i in 0..sides as u32 {
                if a.r > 1e-6 {
                    self.triangle(ra + i, ra + i + 1, rb + i + 1, a.part);
                }
                if b.r > 1e-6 {
                    self.triangle(ra + i, rb + i + 1, rb + i, a.part);
                }
            }
        }
    }

    /// A closed tube of radius `r` along `path`, whose frame keeps `side` as one axis.
    pub fn tube(&mut self, path: &[V3], r: [f32; 2], side: V3, sides: usize, part: u8) {
        let mut rows = Vec::new();
        for (k, &p) in path.iter().enumerate() {
            let ahead = path[(k + 1).min(path.len() - 1)];
            let behind = path[k.saturating_sub(1)];
            let t = unit(sub(ahead, behind));
            let across = unit(cross(side, t));
            let first = self.vertices.len() as u32;
            for i in 0..=sides {
                let a = i as f32 / sides as f32 * TAU;
                let (c, s) = (cos(a), sin(a));
                let n = unit([
                    across[0] * c / r[0] + side[0] * s / r[1],
                    across[1] * c / r[0] + side[1] * s / r[1],
                    across[2] * c / r[0] + side[2] * s / r[1],
                ]);
                let q = [
                    p[0] + across[0] * c * r[0] + side[0] * s * r[1],
                    p[1] + across[1] * c * r[0] + side[1] * s * r[1],
                    p[2] + across[2] * c * r[0] + side[2] * s * r[1],
                ];
                let uv = [i as f32 / sides as f32, k as f32 / path.len() as f32 * 0.2 + 0.02];
                self.push(q, n, uv, 1.0);
            }
            rows.push(first);
        }
        for pair in rows.windows(2) {
            for i in 0..sides as u32 {
                let (a, b) = (pair[0] + i, pair[1] + i);
                self.facing(a, a + 1, b + 1, part);
                self.facing(a, b + 1, b, part);
            }
        }
    }

    /// A triangle wound so that it faces as its vertices' normals do.
    pub fn facing(&mut self, a: u32, b: u32, c: u32, part: u8) {
        let v = |k: u32| self.vertices[k as usize];
        let n = cross(sub(v(b).p, v(a).p), sub(v(c).p, v(a).p));
        if dot(n, v(a).n) + dot(n, v(b).n) + dot(n, v(c).n) >= 0.0 {
            self.triangle(a, b, c, part);
        } else {
            self.triangle(a, c, b, part);
        }
    }

    /// Recompute smooth normals from the triangles (vertices at the same index share).
    pub fn smooth_normals(&mut self) {
        for v in &mut self.vertices {
            v.n = [0.0; 3];
        }
        for t in &self.triangles {
            let [a, b, c] = t.v.map(|k| self.vertices[k as usize].p);
            let n = cross(sub(b, a), sub(c, a));
            for k in t.v {
                let v = &mut self.vertices[k as usize];
                v.n = [v.n[0] + n[0], v.n[1] + n[1], v.n[2] + n[2]];
            }
        }
        for v in &mut self.vertices {
            v.n = unit(v.n);
        }
    }

    /// Move the bounding box's centre to the origin and note its half sides.
    pub fn centred(mut self) -> Mesh {
        let (mut lo, mut hi) = ([f32::MAX; 3], [f32::MIN; 3]);
        for v in &self.vertices {
            for k in 0..3 {
                lo[k] = lo[k].min(v.p[k]);
                hi[k] = hi[k].max(v.p[k]);
            }
        }
        for k in 0..3 {
            let mid = (lo[k] + hi[k]) / 2.0;
            for v in &mut self.vertices {
                v.p[k] -= mid;
            }
            self.half[k] = (hi[k] - lo[k]) / 2.0;
        }
        self
    }
}
