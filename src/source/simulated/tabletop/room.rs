//! What the objects stand on and before: ground, cloth or mat on it, wall or blurred distance, and the light on them.
//!
//! None of it is an instance. Light goes into rows of three planes, as the sensor takes them.

use super::super::camera::Camera;
use super::super::look::{Light, any_colour};
use super::super::num::{Dice, V3, add, cos, dot, floor, fract, lerp, mix, scale, sin, smooth, sub, times, unit};
use super::super::shadow::ShadowGrid;
use super::super::texture::Noise;
use super::decal::Decal;
use super::shapes::Theme;
use super::surface::Surface;

/// Light thrown in a pattern: through blinds, through leaves.
#[derive(Clone, Debug)]
enum Gobo {
    None,
    Bars { axis: [f32; 2], pitch: f32, depth: f32 },
    Leaves { step: f32, depth: f32 },
}

struct Mat {
    surface: Surface,
    at: [f32; 2],
    axis: [f32; 2],
    half: [f32; 2],
    /// Width of the seam and how ragged the rim is, world units.
    seam: f32,
    ragged: f32,
}

struct Wall {
    surface: Surface,
    at: [f32; 2],
    /// Horizontal, unit, towards the camera.
    normal: [f32; 2],
    decals: Vec<Decal>,
}

pub struct Room {
    ground: Surface,
    mats: Vec<Mat>,
    decals: Vec<Decal>,
    wall: Option<Wall>,
    /// The table ends here: a line by its normal and distance.
    edge: Option<([f32; 2], f32)>,
    gobo: Gobo,
    distance: Canvas,
}

/// What a pixel of the room looks at.
enum Hit {
    Ground(V3),
    Wall(V3),
    Distance,
}

impl Room {
    pub fn draw(dice: &mut Dice, camera: &Camera, theme: Theme) -> Room {
        // A bare light table before a grey wall, as in a laboratory.
        let bare = dice.chance(if theme == Theme::Clear { 0.45 } else { 0.06 });
        let pale = |dice: &mut Dice, v: f32| {
            let w = dice.range(-0.08, 0.08);
            [v * (1.0 + w), v, v * (1.0 - w)]
        };
        let ground = if bare {
            let v = dice.range(0.5, 0.95);
            let a = pale(dice, v);
            Surface::plain(dice, a)
        } else {
            Surface::draw(dice)
        };
        let mut mats = Vec::new();
        while mats.len() < 2 && !bare && dice.chance(0.3) {
            mats.push(Mat::draw(dice));
        }
        let decals = (0..dice.below(if bare { 3 } else { 12 }))
            .map(|_| Decal::draw(dice, [camera.at[0], 0.0], 420.0))
            .collect();
        let low = camera.tilt > 0.5;
        let walled = if bare || theme == Theme::Clear { 0.85 } else { 0.6 };
        let mut wall = (low && dice.chance(walled)).then(|| Wall::draw(dice, &ground));
        if let Some(wall) = wall.as_mut().filter(|_| bare) {
            let v = dice.range(0.25, 0.95);
            let a = pale(dice, v);
            wall.surface = Surface::plain(dice, a);
        }
        let edge = if dice.chance(if low { 0.5 } else { 0.12 }) {
            let a = dice.range(-0.6, 0.6) + if low { 0.0 } else { dice.range(-3.1, 3.1) };
            Some(([sin(a), cos(a)], dice.range(150.0, 700.0)))
        } else {
            None
        };
        let turn = dice.range(0.0, std::f32::consts::TAU);
        let gobo = match dice.below(8) {
            0 => Gobo::Bars {
                axis: [cos(turn), sin(turn)],
                pitch: dice.range(60.0, 400.0),
                depth: dice.range(0.2, 0.9),
            },
            1 => Gobo::Leaves {
                step: dice.range(0.04, 0.2),
                depth: dice.range(0.2, 0.9),
            },
            _ => Gobo::None,
        };
        Room {
            distance: Canvas::draw(dice),
            ground,
            mats,
            decals,
            wall,
            edge,
            gobo,
        }
    }

    /// Colour that most of the ground has.
    pub fn colour(&self) -> V3 {
        self.ground.a
    }

    /// How strongly the ground mirrors what stands on it; 0 where cloth or an edge would have to cut the image off.
    pub fn mirror(&self) -> f32 {
        if self.mats.is_empty() && self.edge.is_none() && self.ground.gloss > 0.2 {
            self.ground.gloss
        } else {
            0.0
        }
    }

    /// Whether a thing may stand at (x, y).
    pub fn holds(&self, p: [f32; 2], radius: f32) -> bool {
        let on_table = self
            .edge
            .is_none_or(|(n, d)| n[0] * p[0] + n[1] * p[1] < d - 0.4 * radius);
        let free = self.wall.as_ref().is_none_or(|w| w.before(p) > radius);
        on_table && free
    }

    /// Lay a row. `sight` says which place of the picture each of its pixels shows; none where something hides the room.
    pub fn lay(
        &self,
        camera: &Camera,
        light: &Light,
        shadows: &ShadowGrid,
        noise: &Noise,
        sight: impl Fn(usize) -> Option<[f32; 2]>,
        rows: [&mut [f32]; 3],
    ) {
        let [r, g, b] = rows;
        let (width, height) = (2.0 * camera.centre[0], 2.0 * camera.centre[1]);
        for (x, ((r, g), b)) in r.iter_mut().zip(g).zip(b).enumerate() {
            let Some([cx, cy]) = sight(x) else { continue };
            let ray = camera.ray(cx, cy);
            let colour = match self.hit(camera, ray) {
                Hit::Ground(p) => self.ground_light(camera, light, shadows, noise, ray, p),
                Hit::Wall(p) => self.wall_light(camera, light, shadows, noise, ray, p),
                Hit::Distance => scale(
                    self.distance.at(cx / width, cy / height),
                    0.3 * dot(light.sky, [1.0; 3]) + 0.2 * dot(light.key, [1.0; 3]),
                ),
            };
            [*r, *g, *b] = colour;
        }
    }

    fn hit(&self, camera: &Camera, ray: V3) -> Hit {
        let ground = if ray[2] < -1e-4 {
            -camera.at[2] / ray[2]
        } else {
            f32::MAX
        };
        if let Some(wall) = &self.wall {
            let toward = ray[0] * wall.normal[0] + ray[1] * wall.normal[1];
            let t = if toward < -1e-4 {
                -wall.before([camera.at[0], camera.at[1]]) / toward
            } else {
                f32::MAX
            };
            if t < ground && t > 0.0 {
                return Hit::Wall(add(camera.at, scale(ray, t)));
            }
        }
        let p = add(camera.at, scale(ray, ground.min(1e5)));
        let off = self.edge.is_some_and(|(n, d)| n[0] * p[0] + n[1] * p[1] > d);
        if off || ground > 6000.0 {
            Hit::Distance
        } else {
            Hit::Ground(p)
        }
    }

    fn ground_light(&self, camera: &Camera, light: &Light, shadows: &ShadowGrid, noise: &Noise, ray: V3, p: V3) -> V3 {
        let q = [p[0], p[1]];
        let depth = dot(sub(p, camera.at), camera.forward);
        let steep = -ray[2] / dot(ray, ray).sqrt();
        let fine = smooth(3.0, 0.8, depth / camera.focal_px / steep.max(0.05));
        let mut albedo = self.ground.colour(noise, q, fine);
        let mut gloss = self.ground.gloss;
        let mut shade = 1.0;
        for mat in &self.mats {
            if let Some((colour, dim)) = mat.over(noise, q, fine, light) {
                albedo = colour;
                gloss = mat.surface.gloss;
                shade = 1.0;
                if dim < 1.0 {
                    albedo = scale(albedo, dim);
                }
            } else {
                shade *= mat.beside(q, light);
            }
        }
        for d in &self.decals {
            albedo = d.over(albedo, noise, q, fine);
        }
        let [lit, open] = shadows.sample(shadows.cell(p[0], p[1]));
        let mut key = lit * shade * (0.65 + 0.35 * open);
        match self.gobo {
            Gobo::None => {}
            Gobo::Bars { axis, pitch, depth } => {
                let t = fract((q[0] * axis[0] + q[1] * axis[1]) / pitch);
                key *= 1.0 - depth * smooth(0.0, 0.06, t) * smooth(0.56, 0.5, t);
            }
            Gobo::Leaves { step, depth } => {
                key *= 1.0 - depth * smooth(0.45, 0.62, noise.between(q[0] * step + 700.0, q[1] * step + 700.0));
            }
        }
        let corner = self
            .wall
            .as_ref()
            .map_or(1.0, |w| 0.6 + 0.4 * smooth(0.0, 60.0, w.before(q)));
        let sky = (0.3 + 0.7 * open * open) * corner * (0.6 + 0.4 * shade);
        let mut colour = times(
            albedo,
            add(scale(light.sky, sky), scale(light.key, key * light.towards[2])),
        );
        if gloss > 0.0 {
            let view = unit(scale(ray, -1.0));
            let mut s = unit(add(view, light.towards))[2].max(0.0);
            for _ in 0..5 {
                s *= s;
            }
            let graze = 1.0 - view[2].max(0.0);
            let mirror = 0.03 + 0.4 * graze * graze * graze;
            colour = add(colour, scale(light.key, s * gloss * key));
            colour = add(colour, scale(light.sky, mirror * gloss * sky));
        }
        colour
    }

    fn wall_light(&self, camera: &Camera, light: &Light, shadows: &ShadowGrid, noise: &Noise, ray: V3, p: V3) -> V3 {
        let Some(wall) = &self.wall else { return [0.0; 3] };
        let q = [p[0] * -wall.normal[1] + p[1] * wall.normal[0], p[2]];
        let depth = dot(sub(p, camera.at), camera.forward);
        let steep = -(ray[0] * wall.normal[0] + ray[1] * wall.normal[1]) / dot(ray, ray).sqrt();
        let fine = smooth(2.0, 0.6, depth / camera.focal_px / steep.max(0.05));
        let mut albedo = wall.surface.colour(noise, q, fine);
        for d in &wall.decals {
            albedo = d.over(albedo, noise, q, fine);
        }
        let facing = light.towards[0] * wall.normal[0] + light.towards[1] * wall.normal[1];
        let mut lit = [0.0f32];
        if facing > 0.0 {
            shadows.reaches([&[p[0]], &[p[1]], &[p[2]]], |_| true, &mut lit, 1);
        }
        let corner = 0.6 + 0.4 * smooth(0.0, 60.0, p[2]);
        times(
            albedo,
            add(
                scale(light.sky, 0.75 * corner),
                scale(light.key, facing.max(0.0) * lit[0] * 0.9),
            ),
        )
    }
}

impl Mat {
    fn draw(dice: &mut Dice) -> Mat {
        let a = dice.range(0.0, std::f32::consts::TAU);
        let half = [dice.range(100.0, 600.0), dice.range(100.0, 600.0)];
        Mat {
            surface: Surface::draw(dice),
            at: [dice.range(-300.0, 300.0), dice.range(-250.0, 250.0)],
            axis: [cos(a), sin(a)],
            half,
            seam: if dice.chance(0.5) { dice.range(3.0, 16.0) } else { 0.0 },
            ragged: if dice.chance(0.5) { dice.range(0.0, 12.0) } else { 0.0 },
        }
    }

    /// Distance inside the rim, negative outside.
    fn inside(&self, p: [f32; 2]) -> f32 {
        let d = [p[0] - self.at[0], p[1] - self.at[1]];
        let x = (d[0] * self.axis[0] + d[1] * self.axis[1]).abs();
        let y = (d[1] * self.axis[0] - d[0] * self.axis[1]).abs();
        (self.half[0] - x).min(self.half[1] - y)
    }

    fn over(&self, noise: &Noise, p: [f32; 2], fine: f32, light: &Light) -> Option<(V3, f32)> {
        let wave = if self.ragged > 0.0 {
            (noise.between(p[0] * 0.3 + 900.0, p[1] * 0.3 + 900.0) - 0.5) * self.ragged
        } else {
            0.0
        };
        let d = self.inside(p) + wave;
        if d < 0.0 {
            return None;
        }
        let mut dim = 1.0;
        if self.seam > 0.0 && (d - self.seam).abs() < 1.5 {
            dim = 0.75;
        }
        if d < 2.0 {
            dim = 0.8 + 0.3 * light.towards[2];
        }
        Some((self.surface.colour(noise, p, fine), dim))
    }

    /// The thin shadow along its rim.
    fn beside(&self, p: [f32; 2], light: &Light) -> f32 {
        let back = [p[0] + 3.0 * light.towards[0], p[1] + 3.0 * light.towards[1]];
        if self.inside(back) > 0.0 { 0.6 } else { 1.0 }
    }
}

impl Wall {
    fn draw(dice: &mut Dice, ground: &Surface) -> Wall {
        let a = if dice.chance(0.6) {
            dice.range(-0.08, 0.08)
        } else {
            dice.range(-0.5, 0.5)
        };
        let normal = [sin(a), -cos(a)];
        let away = dice.range(40.0, 700.0);
        let surface = if dice.chance(0.35) {
            ground.toned(dice.range(0.6, 1.2))
        } else {
            Surface::draw(dice)
        };
        let count = if dice.chance(0.5) { 0 } else { dice.below(9) };
        Wall {
            surface,
            at: [-away * normal[0], -away * normal[1]],
            normal,
            decals: (0..count).map(|_| Decal::draw(dice, [0.0, 200.0], 400.0)).collect(),
        }
    }

    /// Distance before the wall.
    fn before(&self, p: [f32; 2]) -> f32 {
        (p[0] - self.at[0]) * self.normal[0] + (p[1] - self.at[1]) * self.normal[1]
    }
}

/// A small blurred picture of things far away.
struct Canvas {
    cells: Vec<V3>,
}

const ACROSS: usize = 96;
const DOWN: usize = 72;

impl Canvas {
    fn draw(dice: &mut Dice) -> Canvas {
        let (top, low) = (any_colour(dice), any_colour(dice));
        let mut cells: Vec<V3> = (0..ACROSS * DOWN)
            .map(|k| mix(top, low, (k / ACROSS) as f32 / DOWN as f32))
            .collect();
        for _ in 0..dice.below(45) {
            let colour = any_colour(dice);
            let (cx, cy) = (dice.range(0.0, ACROSS as f32), dice.range(0.0, DOWN as f32));
            let (hx, hy) = (dice.range(1.0, 16.0), dice.range(1.0, 22.0));
            let round = dice.chance(0.35);
            for y in (cy - hy).max(0.0) as usize..((cy + hy).max(0.0) as usize).min(DOWN) {
                for x in (cx - hx).max(0.0) as usize..((cx + hx).max(0.0) as usize).min(ACROSS) {
                    let (u, v) = ((x as f32 - cx) / hx, (y as f32 - cy) / hy);
                    if !round || u * u + v * v < 1.0 {
                        cells[y * ACROSS + x] = colour;
                    }
                }
            }
        }
        for _ in 0..1 + dice.below(6) {
            cells = blurred(&cells);
        }
        Canvas { cells }
    }

    fn at(&self, u: f32, v: f32) -> V3 {
        let x = (u * ACROSS as f32 - 0.5).clamp(0.0, ACROSS as f32 - 1.01);
        let y = (v * DOWN as f32 - 0.5).clamp(0.0, DOWN as f32 - 1.01);
        let (xi, yi) = (floor(x) as usize, floor(y) as usize);
        let (fx, fy) = (x - xi as f32, y - yi as f32);
        let at = |x: usize, y: usize| self.cells[y * ACROSS + x];
        let (a, b) = (
            mix(at(xi, yi), at(xi + 1, yi), fx),
            mix(at(xi, yi + 1), at(xi + 1, yi + 1), fx),
        );
        [lerp(a[0], b[0], fy), lerp(a[1], b[1], fy), lerp(a[2], b[2], fy)]
    }
}

/// Each cell the mean of itself and its neighbours.
fn blurred(cells: &[V3]) -> Vec<V3> {
    (0..cells.len())
        .map(|k| {
            let (x, y) = (k % ACROSS, k / ACROSS);
            let mut sum = [0.0; 3];
            for yy in [y.saturating_sub(1), y, (y + 1).min(DOWN - 1)] {
                for xx in [x.saturating_sub(1), x, (x + 1).min(ACROSS - 1)] {
                    sum = add(sum, cells[yy * ACROSS + xx]);
                }
            }
            scale(sum, 1.0 / 9.0)
        })
        .collect()
}
