//! Where the camera stands and how it projects.
//!
//! World: belt at z = 0, z up, x to the image's right, y away from the viewer. One unit is one pixel at the
//! image's centre when the frame is 640 wide; a narrower frame shows the same scene in fewer pixels.
//! Image: x right, y down, (0, 0) the top left corner of the top left pixel.

use super::num::{Dice, V3, add, cos, cross, dot, scale, sin, sub};

#[derive(Clone, Debug)]
pub struct Camera {
    pub at: V3,
    pub right: V3,
    pub up: V3,
    pub forward: V3,
    /// Focal length, pixels of this frame.
    pub focal_px: f32,
    pub centre: [f32; 2],
    /// Radians from straight down.
    pub tilt: f32,
}

/// A point on the sensor with the inverse of its depth.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub x: f32,
    pub y: f32,
    pub inverse_depth: f32,
}

impl Camera {
    pub fn new(dice: &mut Dice, width: u32, height: u32) -> Camera {
        // Oblique views twice as often as views from the top.
        let degrees = if dice.chance(0.3) {
            dice.range(2.0, 16.0)
        } else {
            dice.range(16.0, 45.0)
        };
        let tilt = degrees.to_radians();
        let half_fov = dice.range(17.0, 27.0).to_radians();
        let focal_640 = 320.0 * cos(half_fov) / sin(half_fov);
        let roll = dice.range(-4.0, 4.0).to_radians();
        let away = focal_640 * dice.range(0.94, 1.08);
        let (s, c) = (sin(tilt), cos(tilt));
        let forward = [0.0, s, -c];
        let up0 = [0.0, c, s];
        let right0 = [1.0, 0.0, 0.0];
        let right = add(scale(right0, cos(roll)), scale(up0, sin(roll)));
        let up = cross(right, forward);
        let aim = [dice.range(-20.0, 20.0), dice.range(-20.0, 20.0), 0.0];
        Camera {
            at: sub(aim, scale(forward, away)),
            right,
            up,
            forward,
            focal_px: focal_640 * width as f32 / 640.0,
            centre: [width as f32 / 2.0, height as f32 / 2.0],
            tilt,
        }
    }

    /// `None` behind the camera.
    #[inline(always)]
    pub fn see(&self, p: V3) -> Option<Seen> {
        let q = sub(p, self.at);
        let depth = dot(q, self.forward);
        if depth < 1.0 {
            return None;
        }
        let inverse_depth = 1.0 / depth;
        let k = self.focal_px * inverse_depth;
        Some(Seen {
            x: self.centre[0] + dot(q, self.right) * k,
            y: self.centre[1] - dot(q, self.up) * k,
            inverse_depth,
        })
    }

    /// False if none of a mesh with these corners can be in the picture.
    pub fn may_show(&self, corners: &[Option<Seen>]) -> bool {
        let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
        for corner in corners {
            // Partly behind the camera: it could be anywhere.
            let Some(c) = corner else { return true };
            lo = [lo[0].min(c.x), lo[1].min(c.y)];
            hi = [hi[0].max(c.x), hi[1].max(c.y)];
        }
        hi[0] >= 0.0 && hi[1] >= 0.0 && lo[0] <= 2.0 * self.centre[0] && lo[1] <= 2.0 * self.centre[1]
    }

    /// Direction in the world of the ray through image point (x, y), not normalised.
    #[inline(always)]
    pub fn ray(&self, x: f32, y: f32) -> V3 {
        let dx = (x - self.centre[0]) / self.focal_px;
        let dy = (self.centre[1] - y) / self.focal_px;
        add(self.forward, add(scale(self.right, dx), scale(self.up, dy)))
    }

    /// Where the ray through (x, y) meets the horizontal plane at height `z`; far away when it does not.
    #[inline(always)]
    pub fn on_plane(&self, x: f32, y: f32, z: f32) -> V3 {
        let d = self.ray(x, y);
        let t = if d[2] < -0.05 {
            (z - self.at[2]) / d[2]
        } else {
            (self.at[2] - z) / 0.05
        };
        add(self.at, scale(d, t))
    }
}
