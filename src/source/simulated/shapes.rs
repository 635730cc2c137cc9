//! The eight kinds of object, as meshes. One function a class; `dice` draws the proportions of the variant.
//!
//! Lengths are in units of the object's own size (1 = its longest side, before per-object stretching).
//! Parts: 0 the body, 1 and 2 as each function says.

use super::mesh::{Mesh, Ring, edge, ring};
use super::num::{Dice, V3, cos, sin};
use std::f32::consts::{PI, TAU};

pub const CLASSES: usize = 8;
pub const BOX: usize = 0;
pub const BOTTLE: usize = 1;
pub const CAN: usize = 2;
pub const MUG: usize = 3;
pub const BALL: usize = 4;
pub const BOLT: usize = 5;
pub const BAG: usize = 6;
pub const CONE: usize = 7;

pub fn build(class: usize, dice: &mut Dice) -> Mesh {
    match class {
        BOX => carton(),
        BOTTLE => bottle(dice),
        CAN => can(dice),
        MUG => mug(dice),
        BALL => ball(),
        BOLT => bolt(dice),
        BAG => bag(dice),
        _ => cone(dice),
    }
    .centred()
}

/// Unit cube; the object's own sides come from stretching.
fn carton() -> Mesh {
    let mut m = Mesh::default();
    m.block([0.0; 3], [0.5; 3], 0);
    // The sides darken a little towards the foot.
    for v in &mut m.vertices {
        if v.p[2] < 0.0 {
            v.ao = 0.85;
        }
    }
    m
}

/// 0 glass or plastic, 1 label, 2 cap.
fn bottle(dice: &mut Dice) -> Mesh {
    let r = dice.range(0.13, 0.185);
    let shoulder = dice.range(0.5, 0.68);
    let neck = dice.range(0.32, 0.45) * r;
    let neck_z = shoulder + dice.range(0.14, 0.22);
    let cap = neck * dice.range(1.12, 1.4);
    let waist = if dice.chance(0.35) { dice.range(0.82, 0.92) } else { 1.0 };
    let label = (dice.range(0.12, 0.2), dice.range(0.38, 0.48));
    let mut p = vec![
        ring(0.0, 0.0, 0),
        edge(r * 0.85, 0.0, 0),
        ring(r * 0.97, 0.02, 0),
        ring(r, 0.05, 0),
        edge(r, label.0, 1),
    ];
    if waist < 1.0 {
        p.push(ring(r * waist, (label.0 + label.1) / 2.0, 1));
    }
    p.push(edge(r, label.1, 0));
    p.push(ring(r, shoulder, 0));
    for k in 1..=5 {
        let t = k as f32 / 5.0;
        let s = 0.5 - 0.5 * cos(t * PI);
        p.push(ring(r + (neck - r) * s, shoulder + (neck_z - shoulder) * t, 0));
    }
    p.push(ring(neck, 0.89, 0));
    p.push(edge(cap, 0.89, 2));
    p.push(edge(cap, 0.985, 2));
    p.push(ring(cap * 0.9, 1.0, 2));
    p.push(edge(0.0, 1.0, 2));
    let mut m = Mesh::default();
    m.lathe(&p, 24, 1.0);
    m
}

/// 0 printed wall, 1 bare metal (ends and rims).
fn can(dice: &mut Dice) -> Mesh {
    let r = dice.range(0.27, 0.42);
    let food = dice.chance(0.5);
    let end = if food { r * 0.99 } else { r * 0.84 };
    let lip = 0.035;
    let mut p = vec![
        ring(0.0, 0.03, 1),
        edge(end * 0.9, 0.03, 1),
        edge(end * 0.93, 0.0, 1),
        ring(end, 0.0, 1),
        edge(end, lip, 1),
    ];
    if food {
        p.push(edge(r * 0.95, lip + 0.01, 0));
        // Beads pressed into the wall.
        for k in 0..7 {
            let z = 0.3 + k as f32 * 0.06;
            p.push(ring(r * if k % 2 == 0 { 0.95 } else { 0.93 }, z, 0));
        }
        p.push(edge(r * 0.95, 1.0 - lip - 0.01, 1));
    } else {
        p.push(edge(r, 0.11, 0));
        p.push(edge(r, 0.87, 1));
    }
    p.push(edge(end, 1.0 - lip, 1));
    p.push(ring(end, 1.0, 1));
    p.push(edge(end * 0.93, 1.0, 1));
    p.push(Ring {
        ao: 0.6,
        ..edge(end * 0.9, 0.955, 1)
    });
    p.push(Ring {
        ao: 0.95,
        ..ring(end * 0.72, 0.955, 1)
    });
    p.push(edge(end * 0.7, 0.965, 1));
    p.push(ring(0.0, 0.965, 1));
    let mut m = Mesh::default();
    m.lathe(&p, 26, 1.0);
    if !food {
        m.block([end * 0.3, 0.0, 0.975], [end * 0.26, end * 0.14, 0.012], 1);
    }
    m
}

/// 0 outside and handle, 1 inside.
fn mug(dice: &mut Dice) -> Mesh {
    let r = dice.range(0.38, 0.47);
    let foot = r * dice.range(0.78, 1.0);
    let depth = dice.range(0.08, 0.4);
    let wall = 0.045;
    let mut p = vec![
        ring(0.0, 0.0, 0),
        edge(foot * 0.9, 0.0, 0),
        ring(foot, 0.04, 0),
        ring(foot + (r - foot) * 0.6, 0.4, 0),
        ring(r, 0.97, 0),
        ring(r - wall * 0.5, 1.0, 0),
        ring(r - wall, 0.97, 1),
    ];
    for k in 1..=3 {
        let t = k as f32 / 3.0;
        p.push(Ring {
            ao: 1.0 - 0.62 * t,
            ..ring(r - wall - (r - foot) * 0.6 * t, 0.97 + (depth - 0.97) * t, 1)
        });
    }
    if let Some(last) = p.last_mut() {
        last.crease = true;
    }
    p.push(Ring {
        ao: 0.5,
        ..ring(0.0, depth, 1)
    });
    let mut m = Mesh::default();
    m.lathe(&p, 26, 1.0);
    let reach = dice.range(0.26, 0.36);
    let tall = dice.range(0.26, 0.34);
    let path: Vec<V3> = (0..=12)
        .map(|k| {
            let a = -0.5 * PI + k as f32 / 12.0 * PI;
            let r_at = foot + (r - foot) * 0.7;
            [r_at * 0.94 + reach * cos(a), 0.0, 0.52 + tall * sin(a)]
        })
        .collect();
    let thick = dice.range(0.042, 0.06);
    m.tube(&path, [thick, thick * 1.35], [0.0, 1.0, 0.0], 8, 0);
    m
}

fn ball() -> Mesh {
    let p: Vec<Ring> = (0..=14)
        .map(|k| {
            let a = -0.5 * PI + k as f32 / 14.0 * PI;
            let r = if k == 0 || k == 14 { 0.0 } else { 0.5 * cos(a) };
            ring(r, 0.5 * sin(a), 0)
        })
        .collect();
    let mut m = Mesh::default();
    m.lathe(&p, 26, 1.0);
    for v in &mut m.vertices {
        v.n = super::num::unit(v.p);
    }
    m
}

/// 0 metal, 1 thread.
fn bolt(dice: &mut Dice) -> Mesh {
    let shaft = dice.range(0.085, 0.13);
    let head = shaft * dice.range(1.75, 2.15);
    let head_h = shaft * dice.range(1.2, 1.6);
    let plain = dice.range(0.05, 0.35);
    let turns = dice.range(9.0, 15.0);
    let mut m = Mesh::default();
    // Hex head, from the bottom: six flats, top with a chamfer.
    let corner = |k: usize, r: f32, z: f32| -> V3 {
        let a = k as f32 / 6.0 * TAU;
        [r * cos(a), r * sin(a), z]
    };
    for k in 0..6 {
        let (a, b) = (k, (k + 1) % 6);
        let one = [1.0; 4];
        let mid = head_h * 0.16;
        m.quad(
            [
                corner(b, head, mid),
                corner(a, head, mid),
                corner(a, head, head_h),
                corner(b, head, head_h),
            ],
            0,
            one,
        );
        let low = head * 0.86;
        m.quad(
            [
                corner(b, low, 0.0),
                corner(a, low, 0.0),
                corner(a, head, mid),
                corner(b, head, mid),
            ],
            0,
            one,
        );
        let n = [0.0, 0.0, -1.0];
        let i = m.push([0.0, 0.0, 0.0], n, [0.5, 0.5], 1.0);
        let j = m.push(corner(a, low, 0.0), n, [0.0, 0.5], 1.0);
        let l = m.push(corner(b, low, 0.0), n, [0.5, 0.0], 1.0);
        m.facing(i, j, l, 0);
        let n = [0.0, 0.0, 1.0];
        let i = m.push([0.0, 0.0, head_h], n, [0.5, 0.5], 0.6);
        let j = m.push(corner(a, head, head_h), n, [0.0, 0.5], 1.0);
        let l = m.push(corner(b, head, head_h), n, [0.5, 0.0], 1.0);
        m.facing(i, j, l, 0);
    }
    // The quads above are wound for a mirrored frame; set each by its outward direction.
    let fix = std::mem::take(&mut m.triangles);
    for t in fix {
        let c = t.v.map(|k| m.vertices[k as usize].p);
        let mid: V3 = [
            (c[0][0] + c[1][0] + c[2][0]) / 3.0,
            (c[0][1] + c[1][1] + c[2][1]) / 3.0,
            (c[0][2] + c[1][2] + c[2][2]) / 3.0 - head_h * 0.5,
        ];
        let n = m.vertices[t.v[0] as usize].n;
        if super::num::dot(n, mid) < 0.0 {
            for k in t.v {
                let v = &mut m.vertices[k as usize];
                if super::num::dot(v.n, mid) < 0.0 {
                    v.n = super::num::scale(v.n, -1.0);
                }
            }
        }
        m.facing(t.v[0], t.v[1], t.v[2], t.part);
    }
    let start = head_h + (1.0 - head_h) * plain;
    let mut p = vec![ring(shaft, head_h, 0), edge(shaft, start, 1)];
    let steps = (turns * (1.0 - start) / 0.9).max(4.0) as usize;
    let pitch = (0.97 - start) / steps as f32;
    for k in 0..steps {
        let z = start + k as f32 * pitch;
        p.push(Ring {
            ao: 0.55,
            ..edge(shaft * 0.84, z + pitch * 0.25, 1)
        });
        p.push(edge(shaft * 1.04, z + pitch * 0.75, 1));
    }
    p.push(edge(shaft * 0.85, 0.985, 1));
    p.push(ring(shaft * 0.7, 1.0, 0));
    p.push(edge(0.0, 1.0, 0));
    if let Some(q) = p.len().checked_sub(2) {
        p[q].crease = true;
    }
    m.lathe(&p, 14, 1.0);
    m
}

/// A filled pouch: flat seams at the two ends, puffed and wrinkled between. z is its thin side.
fn bag(dice: &mut Dice) -> Mesh {
    let wide = dice.range(0.6, 0.85);
    let thick = dice.range(0.12, 0.19);
    let seam = dice.range(0.05, 0.09);
    let (nx, ny) = (30usize, 20usize);
    let waves: Vec<(f32, f32, f32, f32)> = (0..6)
        .map(|k| {
            let f = 3.0 + k as f32 * 2.2;
            (
                dice.range(-1.0, 1.0) * f,
                dice.range(-1.0, 1.0) * f,
                dice.range(0.0, TAU),
                dice.range(0.5, 1.0) / (1.0 + 0.5 * k as f32),
            )
        })
        .collect();
    let folds: Vec<(f32, f32)> = (0..7).map(|_| (dice.range(4.0, 16.0), dice.range(0.0, TAU))).collect();
    let wrinkle = dice.range(0.012, 0.026);
    let mut m = Mesh::default();
    for side in [1.0f32, -1.0] {
        let base = m.vertices.len() as u32;
        for j in 0..=ny {
            for i in 0..=nx {
                let (u, v) = (i as f32 / nx as f32, j as f32 / ny as f32);
                let x = u - 0.5;
                let y = (v - 0.5) * wide;
                let along = ((0.5 - x.abs() - seam) / (0.5 - seam)).clamp(0.0, 1.0);
                let across = 1.0 - (2.0 * v - 1.0) * (2.0 * v - 1.0);
                let puff = (along * (2.0 - along)).max(0.0).sqrt() * across.max(0.0).sqrt();
                let mut w = 0.0;
                for (k, &(fx, fy, ph, a)) in waves.iter().enumerate() {
                    w += a * sin(fx * x * 2.0 + fy * y * 2.0 + ph + k as f32 * side);
                }
                // Gathers running in from the seams.
                let near_seam = (1.0 - along) * (1.0 - along);
                let mut g = 0.0;
                for &(f, ph) in &folds {
                    g += sin(f * (v * 3.0) + ph + side);
                }
                let body = smooth_edge(puff);
                let z = side * (thick * puff + body * (wrinkle * w + 0.010 * near_seam * g));
                // Sides draw in where the bag is full.
                let pinch = 1.0 - 0.10 * along;
                let ripple = 0.006 * sin(40.0 * v) * near_seam;
                m.push([x + ripple * x.signum(), y * pinch, z], [0.0, 0.0, side], [u, v], 1.0);
            }
        }
        let row = nx as u32 + 1;
        for j in 0..ny as u32 {
            for i in 0..nx as u32 {
                let a = base + j * row + i;
                if side > 0.0 {
                    m.triangle(a, a + 1, a + row + 1, 0);
                    m.triangle(a, a + row + 1, a + row, 0);
                } else {
                    m.triangle(a, a + row + 1, a + 1, 0);
                    m.triangle(a, a + row, a + row + 1, 0);
                }
            }
        }
    }
    m.smooth_normals();
    m
}

fn smooth_edge(puff: f32) -> f32 {
    super::num::smooth(0.0, 0.35, puff)
}

/// 0 the cone with its stripes, 1 the base plate.
fn cone(dice: &mut Dice) -> Mesh {
    let r = dice.range(0.26, 0.38);
    let tip = dice.range(0.03, 0.06);
    let mut m = Mesh::default();
    let foot = match dice.below(3) {
        0 => {
            // Square plate, as on a traffic cone.
            let h = r * dice.range(1.12, 1.3);
            m.block([0.0, 0.0, 0.02], [h, h, 0.02], 1);
            0.04
        }
        1 => {
            let h = r * dice.range(1.15, 1.3);
            m.lathe(
                &[
                    ring(0.0, 0.0, 1),
                    edge(h, 0.0, 1),
                    edge(h, 0.035, 1),
                    ring(r * 0.9, 0.035, 1),
                ],
                24,
                1.0,
            );
            0.035
        }
        _ => 0.0,
    };
    let mut p = vec![ring(0.0, foot, 0)];
    p.push(edge(r, foot, 0));
    for k in 1..=4 {
        let t = k as f32 / 4.0;
        p.push(ring(r + (tip - r) * t, foot + (0.985 - foot) * t, 0));
    }
    p.push(ring(tip * 0.6, 1.0, 0));
    p.push(ring(0.0, 1.0, 0));
    m.lathe(&p, 26, 1.0);
    m
}
