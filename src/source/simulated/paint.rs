//! An object's surface: three materials (parts 0, 1 and 2 of its mesh) drawn from its own seed.

use super::look::{Material, any_colour, material_colour};
use super::num::{Dice, V3, mix, scale};
use super::placement::VARIANTS;
use super::shapes::{BAG, BALL, BOLT, BOTTLE, BOX, CAN, CLASSES, CONE, MUG};
use super::texture::{self, Noise, Texture};

/// Every class has `VARIANTS` textures, then come `SPARE` that any class may wear.
const SPARE: usize = 4;

/// The scene's textures, indexed by `Material::texture`.
pub fn textures(seed: u64, noise: &Noise) -> Vec<Texture> {
    let mut out = Vec::new();
    for class in 0..CLASSES {
        for variant in 0..VARIANTS {
            let dice = &mut Dice::new(seed, 0x7E87 + (class * VARIANTS + variant) as u64);
            out.push(match class {
                BOX => texture::carton(dice, noise),
                BALL => texture::ball(dice, noise),
                BOLT => texture::metal(dice, noise),
                BAG => texture::bag(dice, noise),
                CONE => texture::bands(dice, noise),
                _ => texture::label(dice, noise),
            });
        }
    }
    for k in 0..SPARE {
        let dice = &mut Dice::new(seed, 0x5BA8 + k as u64);
        out.push(match k {
            0 => texture::metal(dice, noise),
            1 => texture::ball(dice, noise),
            2 => texture::bands(dice, noise),
            _ => texture::bag(dice, noise),
        });
    }
    out
}

fn plain_texture() -> usize {
    CLASSES * VARIANTS
}

fn metal_colour(dice: &mut Dice) -> V3 {
    let base = dice.pick(&[
        [0.62, 0.62, 0.64],
        [0.5, 0.51, 0.53],
        [0.72, 0.58, 0.3],
        [0.66, 0.4, 0.26],
        [0.14, 0.14, 0.15],
        [0.7, 0.7, 0.68],
    ]);
    scale(base, dice.range(0.8, 1.15))
}

/// A colour that stands off from `from`: prints must be readable.
fn contrasting(dice: &mut Dice, from: V3) -> V3 {
    let bright = |c: V3| 0.3 * c[0] + 0.6 * c[1] + 0.1 * c[2];
    let mut best = any_colour(dice);
    for _ in 0..3 {
        let next = any_colour(dice);
        if (bright(next) - bright(from)).abs() > (bright(best) - bright(from)).abs() {
            best = next;
        }
    }
    best
}

pub fn materials(class: usize, seed: u64) -> [Material; 3] {
    let dice = &mut Dice::new(seed, 0xC010);
    let variant = dice.below(VARIANTS);
    let own = class * VARIANTS + variant;
    let a = if dice.chance(0.3) {
        material_colour(dice)
    } else {
        any_colour(dice)
    };
    let b = contrasting(dice, a);
    let c = if dice.chance(0.5) {
        [0.75, 0.74, 0.71]
    } else {
        contrasting(dice, b)
    };
    let body = Material {
        texture: own,
        a,
        b,
        c,
        specular: dice.range(0.05, 0.4),
        gloss: 3 + dice.below(4) as u32,
        metal: 0.0,
        clear: 0.0,
    };
    let bare = Material {
        texture: plain_texture(),
        a,
        b: scale(a, 0.7),
        c: a,
        ..body
    };
    let m = metal_colour(dice);
    let steel = Material {
        texture: plain_texture(),
        a: m,
        b: mix(scale(m, 0.45), [0.25, 0.13, 0.07], dice.range(0.0, 0.6)),
        c: m,
        specular: dice.range(0.4, 0.9),
        gloss: 4 + dice.below(3) as u32,
        metal: dice.range(0.75, 1.0),
        clear: 0.0,
    };
    match class {
        BOX => {
            let kraft = dice.chance(0.45);
            let a = if kraft { material_colour(dice) } else { a };
            let face = Material {
                a,
                specular: if kraft { 0.03 } else { body.specular * 0.7 },
                ..body
            };
            [face, face, face]
        }
        BOTTLE => {
            let clear = if dice.chance(0.55) { dice.range(0.25, 0.75) } else { 0.0 };
            let glass = Material {
                specular: dice.range(0.5, 1.2),
                gloss: 5 + dice.below(2) as u32,
                clear,
                ..bare
            };
            let band = Material {
                a: c,
                b,
                c: a,
                specular: 0.15,
                ..body
            };
            let label = if dice.chance(0.8) { band } else { glass };
            let cap_colour = contrasting(dice, a);
            let cap = Material {
                a: cap_colour,
                b: scale(cap_colour, 0.7),
                ..bare
            };
            [glass, label, if dice.chance(0.2) { steel } else { cap }]
        }
        CAN => {
            let wall = Material {
                metal: if dice.chance(0.5) { dice.range(0.15, 0.45) } else { 0.0 },
                specular: dice.range(0.3, 0.8),
                ..body
            };
            let wall = if dice.chance(0.12) { steel } else { wall };
            [wall, steel, steel]
        }
        MUG => {
            let outside = if dice.chance(0.55) { body } else { bare };
            let outside = Material {
                specular: dice.range(0.3, 0.9),
                gloss: 5,
                metal: if dice.chance(0.1) { 0.7 } else { 0.0 },
                ..outside
            };
            let inner = if dice.chance(0.5) {
                [0.68, 0.67, 0.63]
            } else {
                scale(a, 0.9)
            };
            let inside = Material {
                a: inner,
                b: scale(inner, 0.8),
                metal: 0.0,
                ..bare
            };
            [outside, inside, inside]
        }
        BALL => {
            let skin = Material {
                specular: dice.range(0.05, 0.8),
                ..body
            };
            [skin, skin, skin]
        }
        BOLT => {
            let head = if dice.chance(0.75) {
                Material { texture: own, ..steel }
            } else {
                Material {
                    texture: own,
                    b: scale(a, 0.6),
                    specular: 0.5,
                    metal: 0.3,
                    ..bare
                }
            };
            let thread = Material {
                a: scale(head.a, 0.9),
                ..head
            };
            [head, thread, head]
        }
        BAG => {
            let foil = Material {
                specular: dice.range(0.1, 1.0),
                gloss: 3 + dice.below(3) as u32,
                metal: if dice.chance(0.4) { dice.range(0.1, 0.5) } else { 0.0 },
                ..body
            };
            [foil, foil, foil]
        }
        CONE => {
            let foot = if dice.chance(0.5) {
                [0.03, 0.03, 0.032]
            } else {
                scale(a, 0.85)
            };
            let plate = Material {
                a: foot,
                b: scale(foot, 0.7),
                specular: 0.1,
                ..bare
            };
            [body, plate, plate]
        }
        _ => [body, bare, steel],
    }
}
