//! Flat things on grounds and walls that are not instances: stains, prints, text, paper, crumbs, streaks, shadows.

use super::super::look::any_colour;
use super::super::num::{Dice, V3, cos, floor, fract, hash, mix, scale, sin, smooth};
use super::super::texture::Noise;
use std::f32::consts::TAU;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Disc,
    Rectangle,
    Ring,
    Text,
    Smudge,
    Shadow,
    Streaks,
    Crumbs,
}

#[derive(Clone, Debug)]
pub struct Decal {
    kind: Kind,
    at: [f32; 2],
    axis: [f32; 2],
    half: [f32; 2],
    reach2: f32,
    colour: V3,
    alpha: f32,
    salt: u64,
}

impl Decal {
    /// One within `spread` of `centre`.
    pub fn draw(dice: &mut Dice, centre: [f32; 2], spread: f32) -> Decal {
        let kind = dice.pick(&[
            Kind::Disc,
            Kind::Rectangle,
            Kind::Ring,
            Kind::Text,
            Kind::Text,
            Kind::Smudge,
            Kind::Smudge,
            Kind::Shadow,
            Kind::Shadow,
            Kind::Streaks,
            Kind::Crumbs,
        ]);
        let a = dice.range(0.0, TAU);
        let size = dice.range(0.03, 0.3);
        let size = match kind {
            Kind::Shadow | Kind::Smudge => size * 1.8,
            Kind::Streaks => size * 1.6,
            _ => size,
        } * spread;
        let half = [size, size * dice.range(0.25, 1.0)];
        Decal {
            kind,
            at: [
                centre[0] + dice.range(-1.0, 1.0) * spread,
                centre[1] + dice.range(-1.0, 1.0) * spread,
            ],
            axis: [cos(a), sin(a)],
            half,
            reach2: half[0] * half[0] + half[1] * half[1],
            colour: match kind {
                Kind::Shadow => [0.0; 3],
                Kind::Streaks => [1.0; 3],
                Kind::Text if dice.chance(0.6) => [0.03; 3],
                _ => any_colour(dice),
            },
            alpha: match kind {
                Kind::Shadow => dice.range(0.2, 0.75),
                Kind::Smudge => dice.range(0.1, 0.5),
                Kind::Streaks => dice.range(0.1, 0.6),
                _ => dice.range(0.4, 1.0),
            },
            salt: dice.bits(),
        }
    }

    pub fn over(&self, ground: V3, noise: &Noise, p: [f32; 2], fine: f32) -> V3 {
        let d = [p[0] - self.at[0], p[1] - self.at[1]];
        if d[0] * d[0] + d[1] * d[1] > self.reach2 {
            return ground;
        }
        let x = d[0] * self.axis[0] + d[1] * self.axis[1];
        let y = d[1] * self.axis[0] - d[0] * self.axis[1];
        let (u, v) = (x / self.half[0], y / self.half[1]);
        let r = (u * u + v * v).sqrt();
        let inside = u.abs() < 1.0 && v.abs() < 1.0;
        let bit = |i: i32, j: i32| (hash(self.salt ^ (i as u32 as u64) << 32 ^ j as u32 as u64) & 255) as f32 / 255.0;
        let cover = match self.kind {
            Kind::Disc => f32::from(u8::from(r < 1.0)),
            Kind::Rectangle => f32::from(u8::from(inside)),
            Kind::Ring => smooth(0.08, 0.03, (r - 0.85).abs()) * noise.between(x + 500.0, y + 500.0) * 1.6,
            Kind::Text => {
                let line = 5.0 + 12.0 * bit(-1, -1) * bit(-1, -2);
                let (row, col) = (floor(y / line), floor(x / (line * 0.6)));
                let in_row = fract(y / line);
                let shape = noise.between(x * 14.0 / line + 40.0, y * 6.0 / line + row as f32 * 31.0 + 900.0);
                let mark = in_row < 0.55 && bit(row, floor(col as f32 / 5.0)) > 0.2 && shape > 0.45;
                f32::from(u8::from(inside && mark)) * (0.4 + 0.6 * fine)
            }
            Kind::Smudge => smooth(1.0, 0.3, r) * smooth(0.35, 0.65, noise.between(x * 0.4 + 200.0, y * 0.4 + 200.0)),
            Kind::Shadow => smooth(1.0, 0.35, r),
            Kind::Streaks => {
                let n = noise.between(x * 0.05 + 300.0, y * 1.5 + 300.0);
                smooth(0.58, 0.75, n) * smooth(1.0, 0.8, r)
            }
            Kind::Crumbs => {
                let (i, j) = (floor(x / 9.0), floor(y / 9.0));
                let (cx, cy) = (bit(i, j) * 6.0 + 1.5, bit(j, i) * 6.0 + 1.5);
                let (fx, fy) = (x - i as f32 * 9.0 - cx, y - j as f32 * 9.0 - cy);
                let size = 0.4 + 1.8 * bit(i + 5, j);
                f32::from(u8::from(bit(i, j + 9) > 0.8 && fx * fx + fy * fy < size * size)) * smooth(1.0, 0.7, r)
            }
        };
        let ink = match self.kind {
            Kind::Shadow => scale(ground, 0.25),
            _ => self.colour,
        };
        mix(ground, ink, (cover * self.alpha).min(1.0))
    }
}
