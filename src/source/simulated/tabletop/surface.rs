//! What grounds and walls are made of: wood, cloth, tiles, stone, paper, prints. Colour as a function of the place.
//!
//! Places are world units in the surface's plane; colours linear RGB. `fine` fades detail that a pixel cannot hold:
//! 1 near the camera, 0 where the finest detail is smaller than a pixel.

use super::super::look::{any_colour, hsv};
use super::super::num::{Dice, V3, cos, floor, fract, hash, mix, scale, sin, smooth};
use super::super::texture::Noise;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Wood,
    Weave,
    Towel,
    Tiles,
    Marble,
    Granite,
    Stripes,
    Plaid,
    Dots,
    Print,
    Brushed,
}

#[derive(Clone, Debug)]
pub struct Surface {
    kind: Kind,
    pub a: V3,
    b: V3,
    c: V3,
    axis: [f32; 2],
    shift: [f32; 2],
    /// World units of the pattern's repeat.
    pitch: f32,
    /// World units of the finest threads or grains.
    grain: f32,
    strength: f32,
    folds: f32,
    fold_length: f32,
    /// Strength of the highlight.
    pub gloss: f32,
    salt: u64,
}

/// Colours of tables, cloths and floors.
fn base_colour(dice: &mut Dice) -> V3 {
    match dice.below(10) {
        0..=2 => {
            let v = dice.range(0.35, 0.95);
            let w = dice.range(-0.06, 0.06);
            [v * (1.0 + w), v, v * (1.0 - w)]
        }
        3 => {
            let v = dice.range(0.02, 0.25);
            [v, v, v * dice.range(0.9, 1.15)]
        }
        4..=6 => {
            let wood = dice.pick(&[
                [0.42, 0.24, 0.12],
                [0.6, 0.4, 0.22],
                [0.2, 0.1, 0.05],
                [0.5, 0.36, 0.24],
                [0.72, 0.56, 0.38],
                [0.32, 0.2, 0.12],
            ]);
            scale(wood, dice.range(0.6, 1.25))
        }
        7 => any_colour(dice),
        _ => hsv(dice.range(0.0, 6.0), dice.range(0.1, 0.75), dice.range(0.08, 0.6)),
    }
}

impl Surface {
    /// Painted board or paper of one colour.
    pub fn plain(dice: &mut Dice, a: V3) -> Surface {
        Surface {
            kind: Kind::Plain,
            a,
            strength: dice.range(0.0, 0.5),
            folds: 0.0,
            gloss: if dice.chance(0.7) { 0.0 } else { dice.range(0.0, 0.3) },
            ..Surface::draw(dice)
        }
    }

    pub fn draw(dice: &mut Dice) -> Surface {
        let kind = dice.pick(&[
            Kind::Plain,
            Kind::Plain,
            Kind::Wood,
            Kind::Wood,
            Kind::Weave,
            Kind::Towel,
            Kind::Towel,
            Kind::Tiles,
            Kind::Marble,
            Kind::Granite,
            Kind::Stripes,
            Kind::Plaid,
            Kind::Dots,
            Kind::Print,
            Kind::Brushed,
        ]);
        let a = base_colour(dice);
        let near = scale(a, dice.range(0.55, 0.9));
        let far = if dice.chance(0.5) {
            base_colour(dice)
        } else {
            any_colour(dice)
        };
        let printed = matches!(kind, Kind::Stripes | Kind::Plaid | Kind::Dots | Kind::Print);
        let b = if printed { far } else { near };
        let cloth = printed || matches!(kind, Kind::Weave | Kind::Towel);
        let turn = dice.range(0.0, std::f32::consts::TAU);
        Surface {
            kind,
            a,
            b,
            c: if printed { any_colour(dice) } else { mix(a, far, 0.4) },
            axis: [cos(turn), sin(turn)],
            shift: [dice.range(2000.0, 9000.0), dice.range(2000.0, 9000.0)],
            pitch: match kind {
                Kind::Wood => dice.range(50.0, 260.0),
                Kind::Tiles => dice.range(60.0, 300.0),
                Kind::Marble | Kind::Granite => dice.range(0.4, 2.0),
                _ => dice.range(14.0, 130.0),
            },
            grain: dice.range(2.0, 8.0),
            strength: dice.range(0.2, 1.0),
            folds: if cloth && dice.chance(0.65) {
                dice.range(0.1, 0.9)
            } else {
                0.0
            },
            fold_length: dice.range(3.0, 9.0),
            gloss: if cloth || dice.chance(0.4) {
                0.0
            } else {
                dice.range(0.0, 0.7)
            },
            salt: dice.bits(),
        }
    }

    fn cell(&self, i: i32, j: i32) -> f32 {
        (hash(self.salt ^ (i as u32 as u64) << 32 ^ j as u32 as u64) >> 40) as f32 / 16_777_216.0
    }

    pub fn colour(&self, noise: &Noise, p: [f32; 2], fine: f32) -> V3 {
        let u = p[0] * self.axis[0] + p[1] * self.axis[1] + self.shift[0];
        let v = p[1] * self.axis[0] - p[0] * self.axis[1] + self.shift[1];
        let broad = noise.between(u * 0.11, v * 0.11) - 0.5;
        let base = match self.kind {
            Kind::Plain => {
                let n = self.grain(noise, u, v);
                scale(self.a, 1.0 + self.strength * (0.15 * broad + 0.25 * n * fine))
            }
            Kind::Wood => self.wood(noise, u, v, fine),
            Kind::Weave => scale(self.a, 1.0 + 0.2 * broad + fine * self.strength * self.weave(u, v)),
            Kind::Towel => self.towel(noise, u, v, fine),
            Kind::Tiles => self.tiles(noise, u, v, fine),
            Kind::Marble => self.marble(noise, u * self.pitch, v * self.pitch, fine),
            Kind::Granite => {
                let k = 8.0 * self.pitch;
                let n = 0.5 + self.grain(noise, u * self.pitch, v * self.pitch);
                let m = noise.between(v * k * 0.7, u * k * 0.7 + 80.0);
                let c = mix(self.a, self.b, smooth(0.45, 0.6, n) * fine);
                mix(c, self.c, smooth(0.6, 0.7, m) * fine)
            }
            Kind::Stripes => {
                let t = fract(v / self.pitch);
                let c = if t < 0.5 {
                    self.a
                } else if t < 0.6 {
                    self.c
                } else {
                    self.b
                };
                scale(c, 1.0 + 0.15 * broad + fine * 0.4 * self.strength * self.weave(u, v))
            }
            Kind::Plaid => {
                let band = |x: f32| smooth(0.3, 0.34, fract(x / self.pitch));
                let c = mix(self.a, self.b, 0.5 * band(u) + 0.5 * band(v));
                let thin = |x: f32| (fract(x / self.pitch) - 0.65).abs() < 0.04;
                let c = if thin(u) || thin(v) { mix(c, self.c, 0.7) } else { c };
                scale(c, 1.0 + 0.1 * broad + fine * 0.3 * self.strength * self.weave(u, v))
            }
            Kind::Dots | Kind::Print => self.print(u, v, broad, fine),
            Kind::Brushed => {
                let n = noise.between(u * 0.4, v * 9.0) - 0.5;
                scale(self.a, 1.0 + 0.35 * self.strength * n * fine + 0.1 * broad)
            }
        };
        if self.folds > 0.0 {
            let (x, y) = (u / self.fold_length, v / self.fold_length);
            let slope = noise.between(x, y) - noise.between(x + 2.5, y + 1.5);
            return scale(base, (1.0 + self.folds * 1.6 * slope).max(0.3));
        }
        base
    }

    fn wood(&self, noise: &Noise, u: f32, v: f32, fine: f32) -> V3 {
        let row = floor(v / self.pitch);
        let k = self.cell(row, 1);
        let board = fract(u / (self.pitch * 6.0) + k * 7.0);
        let across = fract(v / self.pitch);
        let (x, y) = (u * 0.05 + 300.0 * k, v * 0.5 + 170.0 * k);
        let warp = noise.between(x, y * 0.3) * 9.0;
        let ring = fract(warp + y * 0.06);
        let ring = (2.0 * ring - 1.0).abs();
        let pore = noise.between(u * 0.6, v * 12.0) - 0.5;
        let mut c = mix(self.a, self.b, self.strength * (0.25 + 0.75 * ring));
        c = scale(c, 1.0 + 0.35 * (k - 0.5) + 0.6 * self.strength * pore * fine);
        let gap = 1.6 / self.pitch;
        if across < gap || board < gap / 6.0 {
            c = scale(c, 0.45);
        }
        c
    }

    /// Noise about 0 whose blotches are `grain` long.
    fn grain(&self, noise: &Noise, u: f32, v: f32) -> f32 {
        let k = 32.0 / self.grain;
        let (x, y) = (u * k, v * k);
        // Two layers askew: one alone repeats visibly every eight blotches.
        let askew = noise.between(0.53 * x - 0.71 * y, 0.71 * x + 0.53 * y);
        0.7 * (noise.between(x, y) + askew - 1.0)
    }

    /// Threads going over and under each other, about 0.
    fn weave(&self, u: f32, v: f32) -> f32 {
        let (x, y) = (u / self.grain, v / self.grain);
        let (i, j) = (floor(x), floor(y));
        let (fx, fy) = (x - i as f32 - 0.5, y - j as f32 - 0.5);
        let over = (i + j) & 1 == 0;
        let (along, across) = if over { (fx, fy) } else { (fy, fx) };
        0.35 - 1.6 * across * across - 0.6 * along * along + 0.15 * (self.cell(i, j) - 0.5)
    }

    fn towel(&self, noise: &Noise, u: f32, v: f32, fine: f32) -> V3 {
        let n = self.grain(noise, u, v * 1.6);
        let row = fract(v / (self.grain * 1.3)) - 0.5;
        let blotch = noise.between(u * 0.3, v * 0.3) - 0.5;
        let shade = 1.0 + 0.25 * blotch + fine * self.strength * (1.5 * n - 0.9 * row * row + 0.08);
        scale(self.a, shade.max(0.2))
    }

    fn tiles(&self, noise: &Noise, u: f32, v: f32, fine: f32) -> V3 {
        let (x, y) = (u / self.pitch, v / self.pitch);
        let (i, j) = (floor(x), floor(y));
        let (fx, fy) = (x - i as f32, y - j as f32);
        let gap = (self.grain * 0.5) / self.pitch;
        if fx < gap || fy < gap {
            return self.b;
        }
        let n = noise.between(u * 0.6 + 90.0 * self.cell(i, j), v * 0.6) - 0.5;
        let other = if self.salt & 1 == 0 { (i + j) & 1 } else { 0 };
        let c = if other == 1 { self.c } else { self.a };
        scale(
            c,
            1.0 + 0.25 * self.strength * (self.cell(i, j) - 0.5)
                + 0.2 * n * fine
                + 0.15 * self.grain(noise, u, v) * fine,
        )
    }

    fn marble(&self, noise: &Noise, u: f32, v: f32, fine: f32) -> V3 {
        let w = noise.between(u * 0.13, v * 0.13) * 30.0;
        let n = noise.between(u * 0.3 + w, v * 0.3 - w);
        let m = noise.between(v * 0.12 + 50.0, u * 0.12 + w);
        let vein = smooth(0.025, 0.0, (n - 0.5).abs()) * smooth(0.45, 0.6, m);
        let cloud = noise.between(u * 0.5, v * 0.5) - 0.5;
        let c = scale(
            self.a,
            1.0 + 0.3 * cloud * self.strength + 0.1 * fine * (noise.between(u * 9.0, v * 9.0) - 0.5),
        );
        mix(c, self.c, vein * self.strength * 0.8)
    }

    /// One shape to a cell: dots, squares, rings, crosses, in a few colours.
    fn print(&self, u: f32, v: f32, broad: f32, fine: f32) -> V3 {
        let (x, y) = (u / self.pitch, v / self.pitch);
        let (i, j) = (floor(x), floor(y));
        let (mut fx, mut fy) = (x - i as f32 - 0.5, y - j as f32 - 0.5);
        let k = self.cell(i, j);
        let mut size = 0.28;
        let mut shape = 0;
        if self.kind == Kind::Print {
            fx += 0.2 * (self.cell(i, j + 7777) - 0.5);
            fy += 0.2 * (self.cell(i + 7777, j) - 0.5);
            size = 0.12 + 0.25 * self.cell(i + 99, j + 99);
            shape = (k * 5.0) as i32;
        }
        let r = (fx * fx + fy * fy).sqrt();
        let inside = match shape {
            0 => r < size,
            1 => fx.abs() < size && fy.abs() < size,
            2 => r < size && r > size * 0.6,
            3 => fx.abs() + fy.abs() < size,
            _ => (fx.abs() < size * 0.3 || fy.abs() < size * 0.3) && r < size,
        };
        let ink = if self.kind == Kind::Print && self.cell(j, i) > 0.5 {
            self.c
        } else {
            self.b
        };
        let c = if inside { ink } else { self.a };
        scale(c, 1.0 + 0.12 * broad + fine * 0.3 * self.strength * self.weave(u, v))
    }

    /// The same stuff a little lighter or darker, for a wall that goes with its table.
    pub fn toned(&self, k: f32) -> Surface {
        let mut out = self.clone();
        for c in [&mut out.a, &mut out.b, &mut out.c] {
            *c = scale(*c, k);
        }
        out
    }
}
