//! Paints of the tabletop's objects: any colour, the ground's own colour, foil, glass, fruit; and their textures.

use super::super::look::{Material, any_colour, material_colour};
use super::super::num::{Dice, V3, mix, scale};
use super::super::texture::{self, Noise, Texture};
use super::clear::cap_colour;
use super::shapes::Kind;

const PLAIN: usize = 0;
const METAL: usize = 1;
const LABEL: usize = 2;
const LABELS: usize = 3;
const CARTON: usize = 5;
const BALL: usize = 7;
const BAG: usize = 8;
const BANDS: usize = 9;
const SKIN: usize = 10;
const SKINS: usize = 3;

/// The scene's textures, indexed by `Material::texture`.
pub fn textures(seed: u64, noise: &Noise) -> Vec<Texture> {
    (0..SKIN + SKINS)
        .map(|k| {
            let dice = &mut Dice::new(seed, 0x7AB1E + k as u64);
            match k {
                PLAIN => {
                    let mut t = Texture::plain();
                    t.mottle(noise, 0.08, (2, 2));
                    t
                }
                METAL => texture::metal(dice, noise),
                LABEL..CARTON => texture::label(dice, noise),
                CARTON..BALL => texture::carton(dice, noise),
                BALL => texture::ball(dice, noise),
                BAG => texture::bag(dice, noise),
                BANDS => texture::bands(dice, noise),
                _ => texture::skin(dice, noise),
            }
        })
        .collect()
}

/// Browns, reds, greens and yellows of things that grew.
fn natural(dice: &mut Dice) -> V3 {
    let base = dice.pick(&[
        [0.16, 0.02, 0.018],
        [0.26, 0.05, 0.03],
        [0.33, 0.16, 0.08],
        [0.2, 0.12, 0.07],
        [0.08, 0.06, 0.045],
        [0.2, 0.22, 0.07],
        [0.1, 0.18, 0.04],
        [0.5, 0.32, 0.1],
        [0.65, 0.3, 0.05],
        [0.7, 0.55, 0.3],
        [0.6, 0.08, 0.05],
        [0.75, 0.6, 0.1],
        [0.12, 0.04, 0.08],
    ]);
    base.map(|c| c * dice.range(0.75, 1.3))
}

fn metal_colour(dice: &mut Dice) -> V3 {
    let base = dice.pick(&[
        [0.62, 0.62, 0.64],
        [0.5, 0.51, 0.53],
        [0.85, 0.55, 0.1],
        [0.8, 0.62, 0.25],
        [0.66, 0.4, 0.26],
        [0.15, 0.15, 0.16],
        [0.7, 0.1, 0.1],
        [0.1, 0.3, 0.6],
    ]);
    scale(base, dice.range(0.8, 1.15))
}

fn body_colour(dice: &mut Dice, kind: Kind, ground: V3) -> V3 {
    let grown = matches!(kind, Kind::Fruit | Kind::Blob | Kind::Bent);
    match dice.below(10) {
        0 | 1 => ground.map(|c| (c * dice.range(0.6, 1.35)).min(0.95)),
        2 => {
            let v = dice.range(0.02, 0.9);
            [v * dice.range(0.92, 1.08), v, v * dice.range(0.92, 1.08)]
        }
        3 => material_colour(dice),
        4..=6 if grown => natural(dice),
        4 => natural(dice),
        _ => any_colour(dice),
    }
}

/// Materials of a species.
pub fn materials(dice: &mut Dice, kind: Kind, ground: V3) -> [Material; 3] {
    let a = body_colour(dice, kind, ground);
    let b = if dice.chance(0.5) {
        scale(a, dice.range(0.4, 0.8))
    } else {
        any_colour(dice)
    };
    let c = if dice.chance(0.5) {
        [0.75, 0.74, 0.71]
    } else {
        any_colour(dice)
    };
    let shiny = dice.chance(0.45);
    let body = Material {
        texture: PLAIN,
        a,
        b,
        c,
        specular: if shiny {
            dice.range(0.4, 1.2)
        } else {
            dice.range(0.0, 0.3)
        },
        gloss: if shiny {
            4 + dice.below(4) as u32
        } else {
            2 + dice.below(3) as u32
        },
        metal: 0.0,
        clear: 0.0,
    };
    let m = metal_colour(dice);
    let steel = Material {
        texture: METAL,
        a: m,
        b: mix(scale(m, 0.45), [0.25, 0.13, 0.07], dice.range(0.0, 0.6)),
        c: m,
        specular: dice.range(0.4, 1.0),
        gloss: 4 + dice.below(3) as u32,
        metal: dice.range(0.35, 0.95),
        clear: 0.0,
    };
    let second = Material {
        a: if dice.chance(0.5) { b } else { c },
        ..body
    };
    let skin = SKIN + dice.below(SKINS);
    match kind {
        Kind::Fruit | Kind::Blob | Kind::Bent => {
            let body = Material {
                texture: if dice.chance(0.75) { skin } else { PLAIN },
                b: if dice.chance(0.7) {
                    scale(a, dice.range(0.35, 0.8))
                } else {
                    b
                },
                c: mix(a, c, dice.range(0.0, 0.6)),
                ..body
            };
            let stem = Material {
                a: scale(natural(dice), dice.range(0.5, 1.2)),
                specular: 0.05,
                ..body
            };
            let foil = dice.chance(0.06);
            [if foil { steel } else { body }, stem, stem]
        }
        Kind::Wrapped => {
            let foil = Material {
                texture: PLAIN,
                specular: dice.range(0.6, 1.2),
                ..steel
            };
            let paper = Material {
                texture: dice.pick(&[PLAIN, BAG, LABEL]),
                ..body
            };
            let out = if dice.chance(0.6) { foil } else { paper };
            [out, out, out]
        }
        // A clear vessel's come with its glass.
        Kind::Vessel | Kind::Clear => vessel(dice, body, steel),
        Kind::Carton => {
            let face = Material {
                texture: if dice.chance(0.7) {
                    CARTON + dice.below(2)
                } else {
                    PLAIN
                },
                ..body
            };
            [face, if dice.chance(0.5) { second } else { face }, face]
        }
        Kind::Tool => {
            let handle = if dice.chance(0.3) { steel } else { body };
            let blade = if dice.chance(0.65) { steel } else { second };
            [handle, blade, blade]
        }
        Kind::Slab => {
            let face = Material {
                texture: dice.pick(&[PLAIN, PLAIN, skin, BALL, LABEL, BANDS]),
                ..body
            };
            let out = if dice.chance(0.25) { steel } else { face };
            [out, if dice.chance(0.6) { out } else { second }, out]
        }
        Kind::Superellipsoid => {
            let face = Material {
                texture: dice.pick(&[PLAIN, PLAIN, skin, BALL, BANDS, LABEL]),
                ..body
            };
            let out = if dice.chance(0.12) { steel } else { face };
            [out, out, out]
        }
    }
}

fn vessel(dice: &mut Dice, body: Material, steel: Material) -> [Material; 3] {
    let clear = dice.chance(0.5);
    let tint = match dice.below(4) {
        0 => [0.55, 0.7, 0.8],
        1 => [0.75, 0.78, 0.76],
        2 => dice.pick(&[
            [0.05, 0.2, 0.06],
            [0.2, 0.08, 0.02],
            [0.02, 0.08, 0.3],
            [0.3, 0.6, 0.75],
        ]),
        _ => body.a,
    };
    let wall = if clear {
        Material {
            a: tint,
            b: scale(tint, 0.7),
            specular: dice.range(0.5, 1.3),
            gloss: 5 + dice.below(3) as u32,
            clear: dice.range(0.35, 0.95),
            ..body
        }
    } else if dice.chance(0.15) {
        steel
    } else {
        body
    };
    let band = match dice.below(5) {
        0 | 1 => Material {
            texture: LABEL + dice.below(LABELS),
            a: any_colour(dice),
            specular: dice.range(0.0, 0.5),
            clear: 0.0,
            metal: 0.0,
            ..body
        },
        2 if clear => Material {
            // What the vessel holds.
            a: mix(wall.a, any_colour(dice), dice.range(0.0, 0.9)),
            clear: wall.clear * dice.range(0.3, 1.0),
            ..wall
        },
        _ => wall,
    };
    let cap = match dice.below(6) {
        0 => steel,
        1 => wall,
        2 | 3 => Material {
            a: cap_colour(dice),
            ..body
        },
        _ => Material {
            a: any_colour(dice),
            ..body
        },
    };
    [wall, band, cap]
}
