//! What a seed decides about a scene's looks: light, belt, sensor; and the paints of objects.
//!
//! Colours are linear RGB, 1 = a perfect white under light of strength 1.

use super::num::{Dice, V3, cos, mix, scale, sin, unit};

#[derive(Clone, Debug)]
pub struct Light {
    /// Towards the light, unit.
    pub towards: V3,
    pub key: V3,
    pub sky: V3,
    pub bounce: V3,
    /// Half width of a shadow's soft edge, world units.
    pub softness: f32,
}

/// Lens and sensor.
#[derive(Clone, Debug)]
pub struct Sensor {
    pub exposure: V3,
    pub vignette: f32,
    /// Brightness slope over the picture (falling off from the lamp), per half width.
    pub slope: [f32; 2],
    /// Blur, standard deviation in pixels of a frame 640 wide; below 0 the camera sharpens instead.
    pub blur_640: [f32; 2],
    /// Noise in output levels of a frame 640 wide, in the dark and in full light.
    pub noise: [f32; 2],
    /// S-curve strength.
    pub contrast: f32,
    pub saturation: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeltKind {
    Rubber,
    Smooth,
    Links,
    Ribs,
    Mesh,
    Felt,
}

#[derive(Clone, Debug)]
pub struct Belt {
    pub kind: BeltKind,
    pub colour: V3,
    pub half_width: f32,
    /// Direction the belt moves, radians from the world's x.
    pub angle: f32,
    /// World units a second.
    pub speed: f32,
    pub dirt: f32,
    pub clutter: usize,
    pub sheen: f32,
}

/// A saturated or muted colour of any hue.
pub fn any_colour(dice: &mut Dice) -> V3 {
    let hue = dice.range(0.0, 6.0);
    let saturation = if dice.chance(0.25) {
        dice.range(0.0, 0.25)
    } else {
        dice.range(0.35, 0.95)
    };
    let value = dice.range(0.12, 0.9);
    let value = value * value * 0.9 + 0.03;
    hsv(hue, saturation, value)
}

/// `hue` 0..6.
pub fn hsv(hue: f32, saturation: f32, value: f32) -> V3 {
    let mut c = [0.0; 3];
    for (k, c) in c.iter_mut().enumerate() {
        let x = (hue + [0.0, 4.0, 2.0][k]) % 6.0;
        let t = ((x - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        *c = value * (1.0 - saturation + saturation * t);
    }
    c
}

/// Kraft paper, steel, white plastic and such.
pub fn material_colour(dice: &mut Dice) -> V3 {
    let base = dice.pick(&[
        [0.48, 0.31, 0.17],
        [0.38, 0.25, 0.14],
        [0.78, 0.77, 0.74],
        [0.55, 0.56, 0.58],
        [0.06, 0.06, 0.065],
        [0.62, 0.52, 0.33],
        [0.25, 0.27, 0.3],
    ]);
    scale(base, dice.range(0.75, 1.15))
}

impl Light {
    pub fn new(dice: &mut Dice, belt: V3) -> Light {
        let elevation = dice.range(36.0, 74.0).to_radians();
        let azimuth = dice.range(0.0, std::f32::consts::TAU);
        let towards = unit([
            cos(elevation) * cos(azimuth),
            cos(elevation) * sin(azimuth),
            sin(elevation),
        ]);
        let warmth = dice.range(-1.0, 1.0);
        let tint = |w: f32| [1.0 + 0.14 * w, 1.0, 1.0 - 0.18 * w];
        let key = dice.range(0.7, 1.25);
        let fill = dice.range(0.14, 0.36);
        let sky = scale(tint(-warmth * dice.range(0.0, 0.9)), fill);
        Light {
            towards,
            key: scale(tint(warmth), key),
            sky,
            bounce: mix(scale(belt, 0.9 * (fill + 0.6 * key)), scale(sky, 0.4), 0.4),
            softness: dice.range(3.0, 11.0),
        }
    }
}

impl Belt {
    pub fn new(dice: &mut Dice) -> Belt {
        let kind = dice.pick(&[
            BeltKind::Rubber,
            BeltKind::Rubber,
            BeltKind::Smooth,
            BeltKind::Smooth,
            BeltKind::Links,
            BeltKind::Ribs,
            BeltKind::Mesh,
            BeltKind::Felt,
        ]);
        let grey = |g: f32| [g, g, g * 1.02];
        let mut colour = match kind {
            BeltKind::Rubber => grey(dice.range(0.022, 0.075)),
            BeltKind::Smooth => dice.pick(&[
                [0.03, 0.16, 0.09],
                [0.03, 0.12, 0.28],
                [0.55, 0.55, 0.53],
                [0.08, 0.09, 0.1],
                [0.10, 0.22, 0.2],
            ]),
            BeltKind::Links => dice.pick(&[
                [0.32, 0.33, 0.34],
                [0.03, 0.14, 0.3],
                [0.05, 0.05, 0.055],
                [0.5, 0.49, 0.45],
                [0.12, 0.14, 0.15],
            ]),
            BeltKind::Ribs => dice.pick(&[
                [0.05, 0.05, 0.052],
                [0.07, 0.17, 0.1],
                [0.2, 0.2, 0.2],
                [0.3, 0.22, 0.14],
            ]),
            BeltKind::Mesh => dice.pick(&[[0.34, 0.34, 0.34], [0.22, 0.2, 0.17]]),
            BeltKind::Felt => dice.pick(&[[0.25, 0.25, 0.24], [0.1, 0.13, 0.11], [0.42, 0.38, 0.3]]),
        };
        for c in &mut colour {
            *c *= dice.range(0.85, 1.2);
        }
        let degrees = match dice.below(8) {
            0..=2 => dice.range(-14.0, 14.0),
            3..=5 => 180.0 + dice.range(-14.0, 14.0),
            6 => dice.pick(&[90.0, -90.0]) + dice.range(-15.0, 15.0),
            _ => dice.range(0.0, 360.0),
        };
        Belt {
            kind,
            colour,
            half_width: dice.range(185.0, 265.0),
            angle: degrees.to_radians(),
            speed: dice.range(70.0, 170.0),
            dirt: dice.range(0.1, 1.0),
            clutter: 3 + dice.below(12),
            sheen: if dice.chance(0.5) { dice.range(0.0, 0.3) } else { 0.0 },
        }
    }
}

impl Sensor {
    /// `grey` is the belt's luminance under this scene's light: dark belts are exposed longer, as a camera would.
    pub fn new(dice: &mut Dice, grey: f32) -> Sensor {
        let target = dice.range(1.1, 1.75);
        let gain = target * 0.62 / (grey * 0.9 + 0.42);
        let w = dice.range(-0.09, 0.09);
        let g = dice.range(-0.03, 0.03);
        let sharp = dice.range(0.48, 0.76);
        let motion = if dice.chance(0.4) { dice.range(0.0, 0.5) } else { 0.0 };
        let noise = dice.range(0.6, 3.6);
        Sensor {
            exposure: [gain * (1.0 + w), gain * (1.0 + g), gain * (1.0 - w)],
            vignette: dice.range(0.02, 0.4),
            slope: [dice.range(-0.16, 0.16), dice.range(-0.16, 0.16)],
            blur_640: [sharp + motion, sharp],
            noise: [noise, noise * dice.range(0.45, 1.0)],
            contrast: dice.range(0.0, 0.6),
            saturation: dice.range(0.75, 1.12),
        }
    }
}

/// Surface of a part of an object.
#[derive(Clone, Copy, Debug)]
pub struct Material {
    /// Index into the scene's textures.
    pub texture: usize,
    pub a: V3,
    pub b: V3,
    pub c: V3,
    /// Strength of the highlight.
    pub specular: f32,
    /// The highlight's exponent is 2 to this.
    pub gloss: u32,
    /// 0 plastic or paper, 1 bare metal.
    pub metal: f32,
    /// How much of the belt shows through, looking straight at it.
    pub clear: f32,
}
