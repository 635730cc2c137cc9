//! Which objects lie where on the belt: a fixed pattern without end, of which time shows a window.
//!
//! Belt coordinates: `s` along (an object at `s` is at `s_now - s` along the belt's direction, so larger `s`
//! arrives later), `across` from the middle line. The pattern is cut into blocks of `BLOCK` units. Even blocks
//! are strewn by themselves; an odd block is strewn around its two even neighbours. So any block can be had
//! without the ones before it, and objects keep clear of each other across block borders too.

use super::num::{Dice, V3, cos, sin};
use super::shapes::{BAG, BALL, BOLT, BOTTLE, BOX, CAN, CLASSES, CONE, MUG};
use std::f32::consts::{PI, TAU};

/// Length of a block along the belt, world units.
pub const BLOCK: f64 = 420.0;
/// Most objects in one block; object ids count in steps of this.
pub const BLOCK_MOST: u64 = 64;
pub const VARIANTS: usize = 3;
/// Blocks before the first one that time zero can show.
const BLOCK_ORIGIN: i64 = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pose {
    /// Its own axis upright; `true` upside down.
    Standing(bool),
    /// Its own axis level, after turning by this angle about it.
    Lying(f32),
    /// A ball's or box's orientation does not matter for its footprint.
    Any(V3, f32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Motion {
    Still,
    /// To and fro across its own axis, turning as it goes: (reach, radians a second, phase).
    Roll(f32, f32, f32),
    /// Turning about the vertical, radians a second.
    Spin(f32),
    /// Rocking about a level axis: (radians, radians a second, phase).
    Wobble(f32, f32, f32),
}

#[derive(Clone, Debug)]
pub struct Placed {
    pub id: u64,
    pub class: usize,
    pub variant: usize,
    pub s: f64,
    pub across: f32,
    pub yaw: f32,
    /// Stretch of the unit mesh along its own axes, world units.
    pub size: V3,
    pub pose: Pose,
    pub motion: Motion,
    /// Leaning on a neighbour: direction (in along, across) towards its low end, and slope.
    pub lean: Option<([f32; 2], f32)>,
    /// Seed of its colours.
    pub paint: u64,
    footprint: Footprint,
    tall: f32,
    base_taken: bool,
}

/// A rectangle on the belt: half length, half width, angle.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    half: [f32; 2],
    angle: f32,
}

/// What a belt is strewn with.
#[derive(Clone, Debug)]
pub struct Strewing {
    pub seed: u64,
    /// Objects per block, on average.
    pub per_block: f32,
    /// Multiplies every size.
    pub size: f32,
    /// Objects stay within this distance of the middle line.
    pub half_width: f32,
    /// Radians from straight down: from above, standing objects are hard to tell apart, so fewer stand.
    pub camera_tilt: f32,
    /// Share that leans on another object.
    pub leaning: f32,
    pub moving: f32,
}

pub type Block = Vec<Placed>;

impl Strewing {
    pub fn block(&self, index: i64) -> Block {
        if index.rem_euclid(2) == 0 {
            return self.strew(index, &[]);
        }
        let (before, after) = (self.strew(index - 1, &[]), self.strew(index + 1, &[]));
        let around: Vec<Placed> = before.into_iter().chain(after).collect();
        self.strew(index, &around)
    }

    fn strew(&self, index: i64, around: &[Placed]) -> Block {
        let number = (index + BLOCK_ORIGIN) as u64;
        let mut dice = Dice::new(self.seed, 0xB10C ^ number.wrapping_mul(0x1_0001));
        let want = (self.per_block * dice.range(0.75, 1.25) + dice.unit()) as u64;
        let mut block: Block = Vec::new();
        for k in 0..want.min(BLOCK_MOST) {
            let mut item = self.object(&mut dice, number * BLOCK_MOST + k);
            let from = index as f64 * BLOCK;
            if dice.chance(self.leaning) && self.lean_on(&mut dice, &mut item, &mut block, around) {
                block.push(item);
                continue;
            }
            let mut best = (f32::MIN, 0.0, 0.0);
            for _ in 0..20 {
                let s = from + f64::from(dice.unit()) * BLOCK;
                let across = dice.range(-1.0, 1.0) * (self.half_width - item.reach_across()).max(1.0);
                item.s = s;
                item.across = across;
                let gap = block
                    .iter()
                    .chain(around)
                    .map(|o| gap(&item, o))
                    .fold(f32::MAX, f32::min);
                if gap > best.0 {
                    best = (gap, s, across);
                }
                if gap > 6.0 {
                    break;
                }
            }
            (item.s, item.across) = (best.1, best.2);
            if best.0 > -1.0 {
                block.push(item);
            }
        }
        block
    }

    /// Put `item` against a low neighbour so that one end rests on it. False if none will do.
    fn lean_on(&self, dice: &mut Dice, item: &mut Placed, block: &mut Block, around: &[Placed]) -> bool {
        if matches!(item.class, BALL | CONE) || block.is_empty() {
            return false;
        }
        let Pose::Standing(_) = item.pose else {
            return self.lean_lying(dice, item, block, around);
        };
        if matches!(item.class, BAG | BOX) {
            return self.lean_lying(dice, item, block, around);
        }
        false
    }

    fn lean_lying(&self, dice: &mut Dice, item: &mut Placed, block: &mut Block, around: &[Placed]) -> bool {
        let first = dice.below(block.len());
        for k in 0..block.len() {
            let n = (first + k) % block.len();
            let base = &block[n];
            let long = item.footprint.half[0].max(item.footprint.half[1]);
            if base.base_taken || base.lean.is_some() || base.tall > long * 0.9 || base.class == BALL {
                continue;
            }
            let a = dice.range(0.0, TAU);
            let d = [cos(a), sin(a)];
            let reach = base.footprint.along(d);
            // The item's own long side points along `d`.
            let own = item.footprint.half[0];
            let overlap = dice.range(0.25, 0.5) * own;
            let distance = reach + own - overlap;
            let slope = base.tall / (2.0 * own - overlap);
            if slope > 0.75 {
                continue;
            }
            item.footprint.angle = a;
            item.yaw = a;
            item.motion = Motion::Still;
            item.s = base.s - f64::from(d[0] * distance);
            item.across = base.across + d[1] * distance;
            item.lean = Some((d, slope));
            let clear = block
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, o)| o)
                .chain(around)
                .all(|o| gap(item, o) > 2.0);
            let inside = item.across.abs() + item.reach_across() < self.half_width;
            if clear && inside {
                block[n].base_taken = true;
                block[n].motion = Motion::Still;
                return true;
            }
            item.lean = None;
        }
        false
    }

    fn object(&self, dice: &mut Dice, id: u64) -> Placed {
        let class = dice.below(CLASSES);
        let small = if dice.chance(0.12) { dice.range(0.62, 0.85) } else { 1.0 };
        let k = self.size * small;
        let upright = super::num::smooth(0.1, 0.6, self.camera_tilt);
        let stand = |p_top: f32, p_oblique: f32| p_top + (p_oblique - p_top) * upright;
        let turn = dice.range(0.0, TAU);
        let (size, p_stand) = match class {
            BOX => {
                let l = dice.range(58.0, 128.0);
                let w = l * dice.range(0.5, 0.98);
                ([l, w, l * dice.range(0.25, 0.75)], 1.0)
            }
            BOTTLE => {
                let l = dice.range(92.0, 152.0);
                let fat = dice.range(0.92, 1.2);
                ([l * fat, l * fat, l], stand(0.1, 0.4))
            }
            CAN => {
                let l = dice.range(58.0, 92.0);
                ([l, l, l], stand(0.3, 0.55))
            }
            MUG => {
                let l = dice.range(54.0, 80.0);
                ([l, l, l], stand(0.65, 0.75))
            }
            BALL => {
                let l = dice.range(42.0, 92.0);
                ([l, l, l], 1.0)
            }
            BOLT => {
                let l = dice.range(64.0, 135.0);
                let fat = dice.range(1.0, 1.35);
                ([l * fat, l * fat, l], stand(0.04, 0.1))
            }
            BAG => {
                let l = dice.range(82.0, 150.0);
                ([l, l * dice.range(0.9, 1.1), l * dice.range(0.8, 1.25)], 1.0)
            }
            _ => {
                let l = dice.range(66.0, 122.0);
                ([l, l, l], stand(0.5, 0.7))
            }
        };
        let size = super::num::scale(size, k);
        let variant = dice.below(VARIANTS);
        let pose = match class {
            BALL => Pose::Any(
                super::num::unit([dice.range(-1.0, 1.0), dice.range(-1.0, 1.0), dice.range(-1.0, 1.0)]),
                turn,
            ),
            _ if dice.chance(p_stand) => Pose::Standing(match class {
                BOLT => false,
                BAG | CAN => dice.chance(0.5),
                MUG => dice.chance(0.1),
                _ => false,
            }),
            MUG => Pose::Lying(dice.range(-1.1, 1.1) + if dice.chance(0.5) { 0.5 * PI } else { -0.5 * PI }),
            _ => Pose::Lying(turn),
        };
        let yaw = dice.range(0.0, TAU);
        let lies = matches!(pose, Pose::Lying(_));
        let round = matches!(class, BOTTLE | CAN | BALL | CONE);
        let motion = if !dice.chance(self.moving) {
            Motion::Still
        } else if class == BALL || (lies && matches!(class, BOTTLE | CAN)) {
            Motion::Roll(dice.range(3.0, 9.0) * k, dice.range(0.8, 2.4), dice.range(0.0, TAU))
        } else if !lies && round {
            Motion::Wobble(dice.range(0.02, 0.08), dice.range(2.0, 6.0), dice.range(0.0, TAU))
        } else {
            Motion::Spin(dice.range(0.1, 0.5) * dice.sign())
        };
        let (half, tall) = extent(class, size, pose);
        let half = match motion {
            Motion::Spin(_) => {
                let r = (half[0] * half[0] + half[1] * half[1]).sqrt();
                [r, r]
            }
            Motion::Roll(reach, _, _) => [half[0], half[1] + reach],
            _ => half,
        };
        Placed {
            id,
            class,
            variant,
            s: 0.0,
            across: 0.0,
            yaw,
            size,
            pose,
            motion,
            lean: None,
            paint: dice.bits(),
            footprint: Footprint { half, angle: yaw },
            tall,
            base_taken: false,
        }
    }
}

/// Half sides of the footprint (first along the body's level axis) and the height.
fn extent(class: usize, size: V3, pose: Pose) -> ([f32; 2], f32) {
    // Largest radius or half side of the unit meshes, from the ranges in shapes.rs.
    let (rx, ry) = match class {
        BOX => (0.5, 0.5),
        BOTTLE => (0.17, 0.17),
        CAN => (0.38, 0.38),
        MUG => (0.58, 0.45),
        BALL => (0.5, 0.5),
        BOLT => (0.22, 0.22),
        BAG => (0.5, 0.38),
        _ => (0.4, 0.4),
    };
    let (x, y) = (rx * size[0], ry * size[1]);
    match pose {
        Pose::Any(..) => ([x, y], 2.0 * x),
        Pose::Standing(_) if class == BAG => ([x, y], size[2] * 0.32),
        Pose::Standing(_) => ([x, y], size[2]),
        Pose::Lying(_) => ([size[2] / 2.0, y.max(x * 0.9)], 2.0 * y),
    }
}

impl Footprint {
    /// Half extent in direction `d`.
    fn along(&self, d: [f32; 2]) -> f32 {
        let (s, c) = (sin(self.angle), cos(self.angle));
        (d[0] * c + d[1] * s).abs() * self.half[0] + (d[1] * c - d[0] * s).abs() * self.half[1]
    }
}

impl Placed {
    fn reach_across(&self) -> f32 {
        self.footprint.along([0.0, 1.0])
    }
}

/// Distance between two footprints along the best separating side; negative when they overlap.
fn gap(a: &Placed, b: &Placed) -> f32 {
    let d = [(b.s - a.s) as f32, a.across - b.across];
    if d[0].abs() > 260.0 {
        return d[0].abs() - 200.0;
    }
    let mut best = f32::MIN;
    for f in [&a.footprint, &b.footprint] {
        let (s, c) = (sin(f.angle), cos(f.angle));
        for axis in [[c, s], [-s, c]] {
            let apart = (d[0] * axis[0] + d[1] * axis[1]).abs();
            best = best.max(apart - a.footprint.along(axis) - b.footprint.along(axis));
        }
    }
    best
}
