//! Where an object's vertices are at one moment, and how much of its silhouette the picture holds.

use super::camera::Seen;
use super::look::Belt;
use super::mesh::Mesh;
use super::num::{IDENTITY, M3, V3, about_axis, about_y, about_z, compose, cos, rotate, sin, sin_cos, times, unit};
use super::placement::{Motion, Placed, Pose};
use super::raster::{Coverage, Raster};
use super::shade::Posed;

/// Put the object's vertices, in the world, at the end of `out`; its middle is returned.
pub fn pose(item: &Placed, mesh: &Mesh, belt: &Belt, travel: f64, time: f64, out: &mut Vec<Posed>) -> V3 {
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
        let n = unit(rotate(&m, times(v.n, shrink)));
        low = low.min(p[2]);
        out.push(Posed {
            p: [p[0] + ground[0], p[1] + ground[1], p[2], v.ao],
            n: [n[0], n[1], n[2], v.uv[0]],
            v: v.uv[1],
        });
    }
    for v in &mut out[first..] {
        v.p[2] -= low;
    }
    [ground[0], ground[1], -low]
}

/// Side of the small grid on which whole silhouettes are counted.
pub const SILHOUETTE: usize = 96;

/// Share of an object's silhouette that lies inside a picture of `w` by `h`, counted on a small grid.
pub fn share_inside(mesh: &Mesh, seen: &[Option<Seen>], raster: &mut Raster, w: f32, h: f32) -> f32 {
    let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
    for s in seen.iter().flatten() {
        lo = [lo[0].min(s.x), lo[1].min(s.y)];
        hi = [hi[0].max(s.x), hi[1].max(s.y)];
    }
    let k = SILHOUETTE as f32 / (hi[0] - lo[0]).max(hi[1] - lo[1]).max(1e-3);
    raster.inverse_depth.fill(0.0);
    raster.seen.fill(0);
    raster.facets.clear();
    raster.owners.clear();
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
