//! Where the tabletop's camera stands, how it is lit, and what its lens and sensor do: wide ranges on purpose.
//!
//! World as in `camera`: the ground is z = 0, one unit is one pixel at the aim when the frame is 640 wide.

use super::super::camera::Camera;
use super::super::look::{Light, Sensor};
use super::super::num::{Dice, V3, add, cos, cross, mix, scale, sin, sub, unit};
use super::shapes::Theme;
use std::f32::consts::TAU;

pub fn camera(dice: &mut Dice, theme: Theme, width: u32, height: u32) -> Camera {
    let degrees = match (theme, dice.below(10)) {
        (Theme::Grown, 0..=5) => dice.range(0.0, 20.0),
        (Theme::Vessels, 0..=5) | (Theme::Clear, 0..=7) => dice.range(55.0, 84.0),
        (_, 0..=3) => dice.range(0.0, 16.0),
        (_, 4..=6) => dice.range(16.0, 52.0),
        (_, 7 | 8) => dice.range(52.0, 74.0),
        _ => dice.range(74.0, 83.0),
    };
    let tilt = degrees.to_radians();
    let half_fov = dice.range(10.0, 36.0).to_radians();
    let focal_640 = 320.0 * cos(half_fov) / sin(half_fov);
    let roll = dice.range(-5.0, 5.0).to_radians();
    let forward = [0.0, sin(tilt), -cos(tilt)];
    let up0 = [0.0, cos(tilt), sin(tilt)];
    let right = add(scale([1.0, 0.0, 0.0], cos(roll)), scale(up0, sin(roll)));
    // Low cameras look at things that stand, not at their feet.
    let aim = [
        dice.range(-40.0, 40.0),
        dice.range(-40.0, 40.0),
        if degrees > 55.0 { dice.range(0.0, 80.0) } else { 0.0 },
    ];
    Camera {
        at: sub(aim, scale(forward, focal_640)),
        right,
        up: cross(right, forward),
        forward,
        focal_px: focal_640 * width as f32 / 640.0,
        centre: [width as f32 / 2.0, height as f32 / 2.0],
        tilt,
    }
}

pub fn light(dice: &mut Dice, ground: V3) -> Light {
    let elevation = dice.range(30.0, 80.0).to_radians();
    let azimuth = dice.range(0.0, TAU);
    let (key, fill, softness) = match dice.below(4) {
        0 => (dice.range(0.9, 1.5), dice.range(0.16, 0.35), dice.range(2.0, 6.0)),
        1 => (dice.range(0.5, 0.9), dice.range(0.3, 0.6), dice.range(12.0, 36.0)),
        2 => (dice.range(0.1, 0.4), dice.range(0.6, 1.0), dice.range(20.0, 38.0)),
        _ => (dice.range(0.6, 1.2), dice.range(0.2, 0.45), dice.range(4.0, 16.0)),
    };
    let warmth = dice.range(-1.0, 1.0);
    let tint = |w: f32| [1.0 + 0.2 * w, 1.0, 1.0 - 0.25 * w];
    let sky = scale(tint(-warmth * dice.range(-0.5, 0.9)), fill);
    Light {
        towards: unit([
            cos(elevation) * cos(azimuth),
            cos(elevation) * sin(azimuth),
            sin(elevation),
        ]),
        key: scale(tint(warmth), key),
        sky,
        bounce: mix(scale(ground, 0.9 * (fill + 0.6 * key)), scale(sky, 0.4), 0.4),
        softness,
    }
}

/// `level` is the mean linear light of the picture: the exposure brings it to a drawn level, often not the best one.
pub fn sensor(dice: &mut Dice, level: f32) -> Sensor {
    let target = match dice.below(8) {
        0 => dice.range(0.05, 0.14),
        1 => dice.range(0.5, 0.8),
        _ => dice.range(0.18, 0.52),
    };
    let gain = target / level.max(0.01);
    let (w, g) = (dice.range(-0.18, 0.18), dice.range(-0.05, 0.05));
    let sharp = match dice.below(8) {
        0 => dice.range(0.7, 1.6),
        1 | 2 => dice.range(0.3, 0.7),
        3 | 4 => dice.range(0.0, 0.3),
        _ => dice.range(-0.6, 0.0),
    };
    let motion = if dice.chance(0.15) { dice.range(0.0, 1.2) } else { 0.0 };
    let noise = if dice.chance(0.25) {
        dice.range(3.0, 9.0)
    } else {
        dice.range(0.3, 3.0)
    };
    Sensor {
        exposure: [gain * (1.0 + w), gain * (1.0 + g), gain * (1.0 - w)],
        vignette: if dice.chance(0.5) {
            dice.range(0.0, 0.15)
        } else {
            dice.range(0.1, 0.55)
        },
        slope: [dice.range(-0.2, 0.2), dice.range(-0.2, 0.2)],
        blur_640: [sharp + motion, sharp],
        noise: [noise, noise * dice.range(0.4, 1.0)],
        contrast: dice.range(-0.2, 0.9),
        saturation: if dice.chance(0.04) { 0.0 } else { dice.range(0.6, 1.35) },
    }
}
