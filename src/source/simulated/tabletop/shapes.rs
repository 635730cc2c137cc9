//! Kinds of body on the tabletop, drawn from dice: no two scenes have the same things in them.
//!
//! Every function returns a mesh whose longest side is 1 and, with it, how such a thing comes to rest.
//! Parts: 0 the body, 1 what is marked off on it (label, liquid, blade), 2 a cap, stem or rim.

use super::super::mesh::{Mesh, edge, ring};
use super::super::num::{Dice, IDENTITY, V3, about_y, cos, sin, smooth};
use super::solid::{globe, noise3, ridge, signed_power, swept, turned};
use super::{clear, ware};
use std::f32::consts::{PI, TAU};

/// How a body lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rest {
    /// Upright with this chance, else on its side.
    Standing(f32),
    /// Its axis near level.
    Lying,
    /// Any way up.
    Tumbled,
    /// On one of its six sides.
    Face,
    /// Its thin side (z) up.
    Flat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fruit,
    Superellipsoid,
    Vessel,
    /// A see-through vessel.
    Clear,
    Carton,
    Blob,
    Wrapped,
    Tool,
    Slab,
    Bent,
}

/// What sort of things a picture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Anything,
    /// Things that grew, and sweets.
    Grown,
    /// Bottles, jars and cups, mostly.
    Vessels,
    /// Clear bottles, jars and glasses, mostly, seen from low down.
    Clear,
}

impl Theme {
    pub fn draw(dice: &mut Dice) -> Theme {
        match dice.below(12) {
            0 | 1 => Theme::Grown,
            2 | 3 => Theme::Vessels,
            4..=6 => Theme::Clear,
            _ => Theme::Anything,
        }
    }
}

impl Kind {
    pub fn draw(dice: &mut Dice, theme: Theme) -> Kind {
        match theme {
            Theme::Grown if dice.chance(0.9) => {
                return dice.pick(&[Kind::Fruit, Kind::Fruit, Kind::Fruit, Kind::Wrapped, Kind::Blob]);
            }
            Theme::Vessels if dice.chance(0.85) => {
                return dice.pick(&[Kind::Vessel, Kind::Vessel, Kind::Vessel, Kind::Clear]);
            }
            Theme::Clear if dice.chance(0.8) => return Kind::Clear,
            _ => {}
        }
        dice.pick(&[
            Kind::Fruit,
            Kind::Fruit,
            Kind::Fruit,
            Kind::Superellipsoid,
            Kind::Vessel,
            Kind::Vessel,
            Kind::Clear,
            Kind::Vessel,
            Kind::Carton,
            Kind::Blob,
            Kind::Wrapped,
            Kind::Tool,
            Kind::Slab,
            Kind::Bent,
        ])
    }

    /// `sides` is how finely to cut it. Pieces built from the same dice differ by `piece` in their lumps and wrinkles.
    pub fn build(self, dice: &mut Dice, piece: u64, sides: usize) -> (Mesh, Rest) {
        let (mesh, rest) = match self {
            Kind::Fruit => fruit(dice, piece, sides),
            Kind::Superellipsoid => (superellipsoid(dice, sides), Rest::Tumbled),
            Kind::Vessel => ware::vessel(dice, sides),
            Kind::Clear => clear::vessel(dice, sides),
            Kind::Carton => (ware::carton(dice), Rest::Face),
            Kind::Blob => (blob(dice, piece, sides), Rest::Tumbled),
            Kind::Wrapped => (ware::wrapped(dice, piece, sides), Rest::Lying),
            Kind::Tool => (ware::tool(dice, sides), Rest::Flat),
            Kind::Slab => (slab(dice, sides), Rest::Flat),
            Kind::Bent => (bent(dice, sides), Rest::Flat),
        };
        (mesh.fitted(), rest)
    }
}

/// Dates, nuts, figs, potatoes, eggs: long round bodies, smooth, ribbed or wrinkled, with or without a stem.
fn fruit(dice: &mut Dice, piece: u64, sides: usize) -> (Mesh, Rest) {
    let fat = dice.range(0.42, 1.0);
    let egg = dice.range(-0.35, 0.35);
    let bend = if dice.chance(0.4) { dice.range(0.0, 0.25) } else { 0.0 };
    let squeeze = dice.range(0.8, 1.0);
    let salt = dice.bits().wrapping_add(piece << 32);
    let wrinkle = if dice.chance(0.55) { dice.range(0.04, 0.13) } else { 0.0 };
    let fine = dice.range(2.5, 6.0);
    let stretch = dice.range(0.3, 0.8);
    let ribs = if dice.chance(0.25) {
        5.0 + dice.below(14) as f32
    } else {
        0.0
    };
    let rib_depth = dice.range(0.01, 0.06);
    let lump = dice.range(0.0, 0.22);
    let taper = if dice.chance(0.25) { dice.range(0.3, 0.75) } else { 0.0 };
    let mut m = turned(&globe(sides), sides + sides / 3, |p, angle| {
        let l = noise3([p[0] * 1.3 + 9.0, p[1] * 1.3, p[2] * 1.3], salt) - 0.5;
        let w = ridge([p[0] * fine, p[1] * fine, p[2] * fine * stretch + l], salt ^ 1);
        let w2 = ridge(
            [p[0] * fine * 2.1, p[1] * fine * 2.1, p[2] * fine * stretch * 1.7],
            salt ^ 2,
        );
        let w = 0.7 * w * w + 0.3 * w2 * w2;
        let r = if ribs > 0.0 { sin(angle * ribs) * rib_depth } else { 0.0 };
        let k = 1.0 + lump * l * 2.0 + wrinkle * (w - 0.5) + r;
        let neck = 1.0 - taper * smooth(0.2, 1.0, p[2]);
        let side = fat * k * (1.0 + egg * p[2]) * neck;
        let z = p[2] * (1.0 + 0.5 * lump * l) * k;
        let ao = 1.0 - (1.0 - w) * (wrinkle * 5.0).min(0.6) - if r < 0.0 { -r * 4.0 } else { 0.0 };
        (
            [p[0] * side + bend * (z * z - 0.4), p[1] * side * squeeze, z],
            ao.max(0.3),
        )
    });
    if dice.chance(0.35) {
        let (len, thick) = (dice.range(0.15, 0.8), dice.range(0.03, 0.09));
        let curl = dice.range(-0.6, 0.6);
        let path: Vec<(V3, f32)> = (0..7)
            .map(|k| {
                let t = k as f32 / 6.0;
                (
                    [0.85 + len * t, curl * t * t * len, 0.0],
                    thick * (1.2 - 0.5 * t + 0.4 * t * t * t),
                )
            })
            .collect();
        let sunk = dice.range(0.0, 0.15);
        m.join(
            &swept(&path, 1.0, 8, 0),
            &about_y(-0.5 * PI),
            [bend * 0.5, 0.0, -sunk],
            2,
        );
    } else if dice.chance(0.3) {
        // The cup of an acorn, the eye of a nut.
        let (w, h) = (fat * dice.range(0.4, 0.85), dice.range(0.05, 0.2));
        let profile = [
            ring(0.0, -1.04, 2),
            edge(w * 0.9, -1.02, 2),
            ring(w, -1.0 + h, 2),
            edge(0.0, -1.0 + h, 2),
        ];
        m.join(
            &turned(&profile, 16, |p, _| (p, 1.0)),
            &IDENTITY,
            [bend * 0.5, 0.0, 0.0],
            0,
        );
    }
    let rest = if fat > 0.85 { Rest::Tumbled } else { Rest::Lying };
    (m, rest)
}

fn superellipsoid(dice: &mut Dice, sides: usize) -> Mesh {
    let (e1, e2) = (dice.range(0.25, 1.6), dice.range(0.25, 1.6));
    let half = [dice.range(0.3, 1.0), dice.range(0.3, 1.0), dice.range(0.3, 1.0)];
    turned(&globe(sides), sides + sides / 3, |p, angle| {
        let r = (p[0] * p[0] + p[1] * p[1]).sqrt();
        let side = signed_power(r, e1);
        (
            [
                half[0] * side * signed_power(cos(angle), e2),
                half[1] * side * signed_power(sin(angle), e2),
                half[2] * signed_power(p[2], e1),
            ],
            1.0,
        )
    })
}

/// Stones, lumps of clay, bread, crumpled things.
fn blob(dice: &mut Dice, piece: u64, sides: usize) -> Mesh {
    let salt = dice.bits().wrapping_add(piece << 32);
    let half = [dice.range(0.4, 1.0), dice.range(0.4, 1.0), dice.range(0.3, 1.0)];
    let (big, small) = (dice.range(0.3, 1.1), dice.range(0.0, 0.25));
    let f = dice.range(0.8, 2.0);
    let crisp = dice.chance(0.4);
    turned(&globe(sides), sides + sides / 3, |p, _| {
        let a = noise3([p[0] * f + 7.0, p[1] * f, p[2] * f], salt) - 0.5;
        let q = [p[0] * f * 3.0, p[1] * f * 3.0, p[2] * f * 3.0];
        let b = if crisp { ridge(q, salt ^ 5) } else { noise3(q, salt ^ 5) } - 0.5;
        let k = 1.0 + big * a + small * b;
        (
            [p[0] * half[0] * k, p[1] * half[1] * k, p[2] * half[2] * k],
            (1.0 + small * 2.0 * b).clamp(0.4, 1.0),
        )
    })
}

/// Coins, cards, leaves, biscuits, cut-outs: any star-shaped outline, thin.
fn slab(dice: &mut Dice, sides: usize) -> Mesh {
    let h = if dice.chance(0.5) {
        dice.range(0.015, 0.05)
    } else {
        dice.range(0.05, 0.3)
    };
    let bevel = h * dice.range(0.1, 0.9);
    let long = dice.range(0.35, 1.0);
    let lobes: Vec<(f32, f32, f32)> = match dice.below(3) {
        0 => Vec::new(),
        1 => vec![(2.0 + dice.below(7) as f32, dice.range(0.05, 0.35), 0.0)],
        _ => (0..4)
            .map(|k| (1.0 + k as f32 * 1.5, dice.range(0.0, 0.22), dice.range(0.0, TAU)))
            .map(|(f, a, ph)| (if f > 3.0 { 5.0 } else { f.trunc() }, a, ph))
            .collect(),
    };
    let square = if dice.chance(0.3) { dice.range(0.25, 0.6) } else { 1.0 };
    let mut rows = vec![
        ring(0.0, -h, 0),
        edge(1.0 - bevel, -h, 0),
        edge(1.0, -h + bevel, 0),
        edge(1.0, h - bevel, 0),
    ];
    rows.push(edge(1.0 - bevel, h, 0));
    if dice.chance(0.4) {
        let inner = dice.range(0.3, 0.8);
        rows.push(edge(inner, h * dice.range(0.6, 1.0), 1));
    }
    rows.push(ring(0.0, h, 1));
    let warp = if dice.chance(0.3) { dice.range(-0.25, 0.25) } else { 0.0 };
    let n = (sides + sides / 2).max(24);
    turned(&rows, n, |p, angle| {
        let mut k = 1.0;
        for (f, a, ph) in &lobes {
            k += a * cos(angle * f + ph);
        }
        let r = (p[0] * p[0] + p[1] * p[1]).sqrt() * k;
        let (x, y) = (
            r * signed_power(cos(angle), square),
            r * signed_power(sin(angle), square) * long,
        );
        ([x, y, p[2] + warp * x * x], 1.0)
    })
}

/// Bananas, croissants, rings, hooks, coils of cable.
fn bent(dice: &mut Dice, sides: usize) -> Mesh {
    let turn = dice.range(0.6, 6.2);
    let thick = dice.range(0.04, 0.42);
    let pointed = dice.range(0.0, 1.0);
    let spiral = dice.range(0.0, 0.3);
    let wave = if dice.chance(0.3) { dice.range(0.0, 0.5) } else { 0.0 };
    let n = 28;
    let path: Vec<(V3, f32)> = (0..=n)
        .map(|k| {
            let t = k as f32 / n as f32;
            let a = turn * (t - 0.5) + wave * sin(t * 9.0);
            let reach = 1.0 + spiral * t;
            let rim = smooth(0.0, 0.1, t) * smooth(1.0, 0.9, t);
            let r = thick * (1.0 - pointed * (2.0 * t - 1.0) * (2.0 * t - 1.0)) * (0.4 + 0.6 * rim);
            ([reach * cos(a), reach * sin(a), 0.0], r.max(0.01))
        })
        .collect();
    swept(&path, dice.range(0.5, 1.1), (sides / 2).clamp(8, 20), 0)
}
