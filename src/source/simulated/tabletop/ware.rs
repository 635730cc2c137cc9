//! Made things of the tabletop: vessels, cartons, wrapped sweets, tools. Parts as in `shapes`.

use super::super::mesh::{Mesh, Ring, edge, ring};
use super::super::num::{Dice, IDENTITY, V3, about_axis, about_z, cos, sin, smooth};
use super::shapes::Rest;
use super::solid::{globe, ridge, signed_power, swept, turned};
use std::f32::consts::{PI, TAU};

/// Bottles, jars, cans, cups, bowls, vases: turned, round or with flats, open or capped.
pub fn vessel(dice: &mut Dice, sides: usize) -> (Mesh, Rest) {
    let sides = sides + 8;
    let mut p: Vec<Ring> = vec![ring(0.0, 0.0, 0)];
    let tall_one = dice.chance(0.6);
    let stands;
    if tall_one {
        // A bottle: foot, body with a band, shoulder, neck, cap.
        let r = dice.range(0.11, 0.3);
        let foot = r * dice.range(0.8, 1.0);
        let shoulder = dice.range(0.45, 0.78);
        let neck = r * dice.range(0.25, 0.75);
        let neck_z = shoulder + (0.94 - shoulder) * dice.range(0.3, 0.9);
        let cap_z = dice.range(neck_z.min(0.9), 0.94);
        let (band0, band1) = (dice.range(0.08, 0.3), dice.range(0.34, 0.5) * shoulder / 0.5);
        let waist = if dice.chance(0.4) { dice.range(0.82, 1.0) } else { 1.0 };
        let liquid = dice.chance(0.3);
        p.push(edge(foot * 0.9, 0.0, 0));
        p.push(ring(foot, 0.025, 0));
        p.push(ring(r, 0.06, 0));
        if liquid {
            p[0].part = 1;
            p.iter_mut().for_each(|q| q.part = 1);
        }
        p.push(ring(r, band0, 1));
        p.push(ring(r * waist, 0.5 * (band0 + band1), 1));
        p.push(ring(r, band1, 0));
        p.push(ring(r, shoulder, 0));
        let bulge = dice.range(0.0, 0.3);
        for k in 1..=6 {
            let t = k as f32 / 6.0;
            let s = 0.5 - 0.5 * cos(t * PI);
            let s = s * (1.0 - bulge) + bulge * t * t;
            p.push(ring(r + (neck - r) * s, shoulder + (neck_z - shoulder) * t, 0));
        }
        p.push(ring(neck, cap_z, 0));
        if dice.chance(0.85) {
            let cap = neck * dice.range(1.02, 1.35);
            p.push(edge(neck, cap_z, 2));
            p.push(edge(cap, cap_z, 2));
            p.push(edge(cap, 0.985, 2));
            p.push(ring(cap * 0.92, 1.0, 2));
            p.push(edge(0.0, 1.0, 2));
        } else {
            p.push(edge(neck * 1.08, 0.97, 0));
            p.push(ring(neck * 0.95, 1.0, 0));
            p.push(Ring {
                ao: 0.25,
                ..edge(0.0, 0.96, 0)
            });
        }
        stands = 0.8;
    } else {
        // A cup, jar, bowl, can or vase: a few control points, open or with a lid.
        let wide = dice.range(0.25, 0.75);
        let count = 2 + dice.below(3);
        let radii: Vec<f32> = (0..=count).map(|_| wide * dice.range(0.65, 1.0)).collect();
        p.push(edge(radii[0] * 0.9, 0.0, 0));
        let steps = 12;
        let mut last = 0.0;
        for k in 0..=steps {
            let t = k as f32 / steps as f32 * count as f32;
            let i = (t as usize).min(count - 1);
            let f = smooth(0.0, 1.0, t - i as f32);
            last = radii[i] + (radii[i + 1] - radii[i]) * f;
            let z = 0.03 + k as f32 / steps as f32 * 0.92;
            let part = if (3..9).contains(&k) { 1 } else { 0 };
            p.push(ring(last, z, part));
        }
        if dice.chance(0.45) {
            let lid = last * dice.range(1.0, 1.1);
            p.push(edge(lid, 0.95, 2));
            p.push(edge(lid, 1.0, 2));
            p.push(edge(0.0, 1.0, 2));
        } else {
            let depth = dice.range(0.1, 0.7);
            p.push(ring(last - 0.02, 0.97, 2));
            for k in 1..=3 {
                let t = k as f32 / 3.0;
                let ao = 1.0 - 0.65 * t;
                p.push(Ring {
                    ao,
                    ..ring((last - 0.05) * (1.0 - 0.2 * t), 0.97 + (depth - 0.97) * t, 2)
                });
            }
            p.push(Ring {
                ao: 0.35,
                ..edge(0.0, depth, 2)
            });
        }
        stands = 0.75;
    }
    let tall = if tall_one { 1.0 } else { dice.range(0.25, 1.3) };
    let flats = if dice.chance(0.2) {
        dice.pick(&[4.0f32, 6.0, 8.0, 12.0])
    } else {
        0.0
    };
    let flat_depth = dice.range(0.03, 0.1) * 6.0 / flats.max(4.0);
    let oval = if dice.chance(0.2) { dice.range(0.5, 1.0) } else { 1.0 };
    let mut m = turned(&p, sides, |p, angle| {
        let k = if flats > 0.0 {
            1.0 + flat_depth * cos(angle * flats)
        } else {
            1.0
        };
        ([p[0] * k, p[1] * k * oval, p[2] * tall], 1.0)
    });
    if !tall_one && dice.chance(0.35) {
        let reach = dice.range(0.2, 0.4);
        let path: Vec<(V3, f32)> = (0..=12)
            .map(|k| {
                let a = -0.5 * PI + k as f32 / 12.0 * PI;
                ([0.45 + reach * cos(a), (0.5 + 0.3 * sin(a)) * tall, 0.0], 0.05)
            })
            .collect();
        m.join(
            &swept(&path, 1.2, 8, 0),
            &about_axis([1.0, 0.0, 0.0], 1.0, 0.0),
            [0.0; 3],
            0,
        );
    }
    (m, Rest::Standing(stands))
}

pub fn carton(dice: &mut Dice) -> Mesh {
    let mut m = Mesh::default();
    let h = [dice.range(0.25, 1.0), dice.range(0.15, 0.8), dice.range(0.06, 0.7)];
    if dice.chance(0.3) {
        let lid = dice.range(0.1, 0.5) * h[2];
        m.block([0.0, 0.0, -lid], [h[0] * 0.98, h[1] * 0.98, h[2] - lid], 0);
        m.block([0.0, 0.0, h[2] - lid], [h[0], h[1], lid], 1);
    } else {
        m.block([0.0; 3], h, 0);
    }
    m
}

/// Sweets in foil, parcels, folded cloth: a rounded bar with sharp random creases.
pub fn wrapped(dice: &mut Dice, piece: u64, sides: usize) -> Mesh {
    let salt = dice.bits().wrapping_add(piece << 32);
    let half = [dice.range(0.25, 0.6), dice.range(0.25, 0.6), 1.0];
    let e = dice.range(0.3, 0.9);
    let (depth, f) = (dice.range(0.06, 0.22), dice.range(2.0, 5.0));
    let bow = dice.range(-0.2, 0.2);
    let tails = dice.chance(0.2);
    let pinch = dice.range(0.75, 0.9);
    turned(&globe(sides), sides + sides / 3, |p, angle| {
        let r = (p[0] * p[0] + p[1] * p[1]).sqrt();
        let n = ridge([p[0] * f, p[1] * f, p[2] * f], salt);
        let n2 = ridge([p[0] * f * 2.3, p[1] * f * 2.3, p[2] * f * 2.3], salt ^ 3);
        let k = 1.0 + depth * (n + 0.5 * n2 - 0.75);
        let z = signed_power(p[2], e);
        let waist = if tails {
            1.0 - 0.75 * smooth(0.12, 0.0, (z.abs() - pinch).abs())
        } else {
            1.0
        };
        let side = signed_power(r, e) * k * waist;
        (
            [
                half[0] * side * signed_power(cos(angle), e) + bow * z * z,
                half[1] * side * signed_power(sin(angle), e),
                half[2] * z * (1.0 + 0.3 * depth * (n2 - 0.5)),
            ],
            0.6 + 0.4 * n.min(1.0),
        )
    })
}

/// Things with a handle: screwdrivers, spoons, hammers, brushes, pens, keys. They lie in the plane z = 0.
pub fn tool(dice: &mut Dice, sides: usize) -> Mesh {
    let mut m = Mesh::default();
    let bar = |x0: f32, x1: f32, r: f32, flat: f32, belly: f32, part: u8| {
        let path: Vec<(V3, f32)> = (0..=10)
            .map(|k| {
                let t = k as f32 / 10.0;
                let rim = smooth(0.0, 0.12, t) * smooth(1.0, 0.88, t);
                let x = x0 + (x1 - x0) * t;
                ([x, 0.0, 0.0], r * (0.75 + 0.25 * rim) * (1.0 + belly * sin(t * PI)))
            })
            .collect();
        swept(&path, flat, 12, part)
    };
    let grip = dice.range(0.03, 0.09);
    let split = dice.range(-0.1, 0.5);
    let flat = if dice.chance(0.4) { dice.range(0.3, 0.7) } else { 1.0 };
    m.join(
        &bar(-1.0, split, grip, flat, dice.range(-0.3, 0.4), 0),
        &IDENTITY,
        [0.0; 3],
        0,
    );
    let thin = grip * dice.range(0.25, 0.9);
    m.join(&bar(split - 0.02, 0.95, thin, flat, 0.0, 1), &IDENTITY, [0.0; 3], 0);
    match dice.below(5) {
        0 => {
            // A bowl or bit, rounded and thin.
            let (l, w, h) = (dice.range(0.15, 0.35), dice.range(0.1, 0.25), dice.range(0.02, 0.1));
            let ball = turned(&globe(sides / 2 + 4), sides, |p, _| {
                ([p[0] * l, p[1] * w, p[2] * h], 1.0)
            });
            m.join(&ball, &IDENTITY, [0.95, 0.0, 0.0], 1);
        }
        1 => {
            let (l, w) = (dice.range(0.06, 0.14), dice.range(0.18, 0.4));
            m.block([0.95, dice.range(-0.1, 0.1), 0.0], [l, w, l * dice.range(0.5, 1.0)], 2);
        }
        2 => {
            let r = dice.range(0.12, 0.24);
            let path: Vec<(V3, f32)> = (0..=16)
                .map(|k| {
                    let a = k as f32 / 16.0 * TAU * 0.8 + PI * 1.2;
                    ([0.95 + r + r * cos(a), r * sin(a), 0.0], thin.max(0.025))
                })
                .collect();
            m.join(&swept(&path, flat, 8, 0), &IDENTITY, [0.0; 3], 1);
        }
        3 => {
            let bend = dice.range(0.1, 0.5);
            let other = m.clone();
            m.join(&other, &about_z(bend), [0.0, 0.02, thin], 0);
        }
        _ => {}
    }
    m
}
