//! Meshes of the tabletop's bodies: turned profiles of any outline, bodies bent and wrinkled by a closure, swept tubes.
//!
//! Body space as in `mesh`: z along the body's own axis, lengths in the body's own units until `fitted`.

use super::super::mesh::{Mesh, Ring, ring};
use super::super::num::{M3, V3, add, cos, floor, hash, lerp, rotate, scale, sin, unit};
use std::f32::consts::{PI, TAU};

/// Where a point of a turned body really lies, and how much ambient light reaches it.
pub type Placed = (V3, f32);

/// Turn `profile` about z; `shape` moves each point of the round body (given with its angle) to where it belongs.
/// Parts and creases as in `Mesh::lathe`; normals come from the moved surface.
pub fn turned(profile: &[Ring], sides: usize, shape: impl Fn(V3, f32) -> Placed) -> Mesh {
    let mut m = Mesh::default();
    // `v` is the way gone along the profile, so that lids and feet have their share of the texture.
    let mut gone = Vec::with_capacity(profile.len());
    let mut way = 0.0f32;
    for (k, r) in profile.iter().enumerate() {
        let before = &profile[k.saturating_sub(1)];
        let (dr, dz) = (r.r - before.r, r.z - before.z);
        way += (dr * dr + dz * dz).sqrt();
        gone.push(way);
    }
    let whole = way.max(1e-6);
    let directions: Vec<(f32, f32, f32)> = (0..=sides)
        .map(|k| {
            let a = (k % sides) as f32 / sides as f32 * TAU;
            (a, cos(a), sin(a))
        })
        .collect();
    let row = |r: &Ring, gone: f32, m: &mut Mesh| {
        let first = m.vertices.len() as u32;
        for (k, &(a, c, s)) in directions.iter().enumerate() {
            let (p, ao) = shape([r.r * c, r.r * s, r.z], a);
            let uv = [k as f32 / sides as f32, gone / whole];
            m.push(p, [0.0; 3], uv, ao * r.ao);
        }
        first
    };
    let n = sides as u32;
    let mut rows: Vec<(u32, bool)> = Vec::new();
    let mut below: Option<(u32, &Ring)> = None;
    for (k, (r, &gone)) in profile.iter().zip(&gone).enumerate() {
        let here = row(r, gone, &mut m);
        rows.push((here, r.r <= 1e-6));
        if let Some((low, b)) = below {
            for i in 0..n {
                if b.r > 1e-6 {
                    m.triangle(low + i, low + i + 1, here + i + 1, b.part);
                }
                if r.r > 1e-6 {
                    m.triangle(low + i, here + i + 1, here + i, b.part);
                }
            }
        }
        below = Some((here, r));
        if r.crease && k > 0 && k + 1 < profile.len() {
            let again = row(r, gone, &mut m);
            rows.push((again, r.r <= 1e-6));
            below = Some((again, r));
        }
    }
    m.smooth_normals();
    // The seam's two sides, and all corners of a pole, are one place each.
    for (first, pole) in rows {
        let span = first as usize..=(first + n) as usize;
        if pole {
            let sum = m.vertices[span.clone()].iter().fold([0.0; 3], |s, v| add(s, v.n));
            for v in &mut m.vertices[span] {
                v.n = unit(sum);
            }
        } else {
            let both = unit(add(m.vertices[*span.start()].n, m.vertices[*span.end()].n));
            m.vertices[*span.start()].n = both;
            m.vertices[*span.end()].n = both;
        }
    }
    m
}

/// Rings of a ball of radius 1: `turned` bodies that are not lathe work start from it.
pub fn globe(rows: usize) -> Vec<Ring> {
    (0..=rows)
        .map(|k| {
            let a = -0.5 * PI + k as f32 / rows as f32 * PI;
            let r = if k == 0 || k == rows { 0.0 } else { cos(a) };
            ring(r, sin(a), 0)
        })
        .collect()
}

/// A tube along `path` (points with their radius) that lies about the plane whose normal is z, `flat` times as high
/// as wide; closed at both ends.
pub fn swept(path: &[(V3, f32)], flat: f32, sides: usize, part: u8) -> Mesh {
    let rings: Vec<Ring> = (0..path.len())
        .map(|k| {
            let end = k == 0 || k + 1 == path.len();
            ring(if end { 0.0 } else { 1.0 }, k as f32, part)
        })
        .collect();
    let side = |k: usize| {
        let (a, b) = (path[k.saturating_sub(1)].0, path[(k + 1).min(path.len() - 1)].0);
        unit([a[1] - b[1], b[0] - a[0], 1e-9])
    };
    turned(&rings, sides, |p, _| {
        let k = (p[2] + 0.5) as usize;
        let (at, r) = path[k.min(path.len() - 1)];
        let across = scale(side(k.min(path.len() - 1)), p[0] * r);
        ([at[0] + across[0], at[1] + across[1], at[2] + p[1] * r * flat], 1.0)
    })
}

impl Mesh {
    /// Join another mesh, turned and moved, with its parts `part` further on.
    pub fn join(&mut self, other: &Mesh, m: &M3, at: V3, part: u8) {
        let first = self.vertices.len() as u32;
        for v in &other.vertices {
            let p = add(rotate(m, v.p), at);
            self.push(p, rotate(m, v.n), v.uv, v.ao);
        }
        for t in &other.triangles {
            let [a, b, c] = t.v.map(|k| first + k);
            self.triangle(a, b, c, (t.part + part).min(2));
        }
    }

    /// Centred, and its longest side 1.
    pub fn fitted(self) -> Mesh {
        let mut m = self.centred();
        let longest = 2.0 * m.half[0].max(m.half[1]).max(m.half[2]).max(1e-6);
        for v in &mut m.vertices {
            v.p = scale(v.p, 1.0 / longest);
        }
        m.half = scale(m.half, 1.0 / longest);
        m
    }
}

/// Smooth noise in space, 0..=1, features one unit long.
pub fn noise3(p: V3, salt: u64) -> f32 {
    let cell = p.map(floor);
    let mut f = [0.0; 3];
    for k in 0..3 {
        let t = p[k] - cell[k] as f32;
        f[k] = t * t * (3.0 - 2.0 * t);
    }
    let corner = |dx: i32, dy: i32, dz: i32| {
        let k = (cell[0] + dx) as u32 as u64
            | ((cell[1] + dy) as u32 as u64 & 0xF_FFFF) << 20
            | ((cell[2] + dz) as u32 as u64) << 40;
        (hash(k ^ salt) >> 40) as f32 / 16_777_216.0
    };
    let plane = |dz: i32| {
        let low = lerp(corner(0, 0, dz), corner(1, 0, dz), f[0]);
        let top = lerp(corner(0, 1, dz), corner(1, 1, dz), f[0]);
        lerp(low, top, f[1])
    };
    lerp(plane(0), plane(1), f[2])
}

/// Ridges: 1 along the crests of a noise, 0 far from them.
pub fn ridge(p: V3, salt: u64) -> f32 {
    1.0 - (2.0 * noise3(p, salt) - 1.0).abs()
}

/// `x` to the power `e` with its sign kept: exact for 1/4, 1/2, 1, 3/2 and 2, blended between them. Enough for shapes,
/// and the same on every machine.
pub fn signed_power(x: f32, e: f32) -> f32 {
    let a = x.abs();
    let (q, h) = (a.sqrt().sqrt(), a.sqrt());
    let knots = [(0.25, q), (0.5, h), (1.0, a), (1.5, a * h), (2.0, a * a)];
    let mut out = a;
    for w in knots.windows(2) {
        if e >= w[0].0 {
            let t = ((e - w[0].0) / (w[1].0 - w[0].0)).min(1.0);
            out = w[0].1 + (w[1].1 - w[0].1) * t;
        }
    }
    if x < 0.0 { -out } else { out }
}
