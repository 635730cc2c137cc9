//! The tabletop: one still picture a seed, of any things on any ground, to train networks that know one class, object.
//!
//! Belongs here: what the tabletop draws from dice - camera, room, bodies, paints, how they lie. Not here: what it
//! shares with the conveyor (meshes, rasteriser, shading, shadows, sensor, truth), which lies one folder up.
//!
//! Flat prints, stains, shadows and the room itself are no instances; every separate body is one.

mod clear;
mod decal;
mod room;
mod shapes;
mod skin;
mod solid;
mod strew;
mod surface;
#[cfg(test)]
mod tests;
mod things;
mod view;
mod ware;

use super::camera::{Camera, Seen};
use super::compositor::{lay_objects, planes};
use super::look::Light;
use super::mesh::Mesh;
use super::num::{Dice, add, cos, dot, lerp, scale, sin, sub, times, unit};
use super::pose::{SILHOUETTE, share_inside};
use super::raster::{Coverage, Raster};
use super::scene::Drawn;
use super::sensor::Development;
use super::shade::{Batch, Posed, Stage, Subject, Surroundings};
use super::shadow::ShadowGrid;
use super::texture::{Noise, Texture};
use super::truth::instances;
use super::{RenderedFrame, SceneConfig, SceneError};
use clear::{Pane, Spot};
use room::Room;
use shapes::Theme;
use things::Things;

/// A picture of the tabletop and how strongly its camera would compress it.
pub struct Picture {
    pub frame: RenderedFrame,
    /// 1..=100.
    pub jpeg_quality: u8,
}

/// The picture of `config.seed`; `config.fps` does not matter, as nothing moves.
pub fn picture(config: &SceneConfig) -> Result<Picture, SceneError> {
    config.validate()?;
    let seed = config.seed;
    let (width, height) = (config.width as usize, config.height as usize);
    let dice = |purpose: u64| Dice::new(seed, 0x7AB_0000 + purpose);
    let noise = Noise::new(seed);
    let theme = Theme::draw(&mut dice(6));
    let camera = view::camera(&mut dice(1), theme, config.width, config.height);
    let room = Room::draw(&mut dice(2), &camera, theme);
    let light = view::light(&mut dice(3), room.colour());
    let mut things = Things::default();
    things.fill(&mut dice(4), theme, &camera, &room, config);
    let (drawn, raster) = truth(&things, &camera, width, height);
    // Light is taken between the pixels too and averaged, so that the rims of things are no sharper than prints.
    let dense = Camera {
        focal_px: camera.focal_px * SAMPLES as f32,
        centre: camera.centre.map(|c| c * SAMPLES as f32),
        ..camera
    };
    let shot = Shot::new(&things, &dense, &light, &room);
    let mut dice = dice(5);
    let turn = dice.range(0.0, std::f32::consts::TAU);
    let around = Surroundings {
        belt: times(room.colour(), add(light.sky, scale(light.key, light.towards[2]))),
        strips: [cos(turn), sin(turn)],
        strip_at: dice.range(0.1, 0.7),
        near_ground: [dice.range(0.55, 0.9), dice.range(8.0, 40.0)],
        light,
    };
    let light = shot.light(&things, &dense, &room, &around, &skin::textures(seed, &noise), &noise);
    let level = light.iter().map(|v| f64::from(v.min(1.5))).sum::<f64>() / light.len() as f64;
    let mut development = Development::new(view::sensor(&mut dice, level as f32), seed, width, height);
    let mut rgb = vec![0; width * height * 3];
    for (y, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        development.develop(y, 0, |y| &light[y * width * 3..(y + 1) * width * 3], out);
    }
    let jpeg_quality = if dice.chance(0.5) {
        92
    } else {
        40 + dice.below(56) as u8
    };
    Ok(Picture {
        frame: RenderedFrame {
            width: config.width,
            height: config.height,
            rgb,
            truth: instances(&drawn, &raster),
        },
        jpeg_quality,
    })
}

/// Samples of light along each side of a pixel.
const SAMPLES: usize = 2;

/// Which pixels see which thing.
fn truth(things: &Things, camera: &Camera, width: usize, height: usize) -> (Vec<Drawn>, Raster) {
    let mut raster = Raster::new(width, height);
    let mut silhouette = Raster::new(SILHOUETTE, SILHOUETTE);
    let (mut drawn, mut seen) = (Vec::new(), Vec::new());
    for (number, (thing, mesh, posed)) in things.each().enumerate() {
        seen.clear();
        seen.extend(posed.iter().map(|v| camera.see(v.position())));
        let first = thing.posed.start as u32;
        let cover = rasterise(&mut raster, mesh, &seen, [0, 1, 2], first, number as u16);
        let b = cover.bounds;
        let cut = b[0] == 0 || b[1] == 0 || b[2] == width as i32 || b[3] == height as i32;
        let inside = if cover.pixels == 0 || !cut {
            1.0
        } else {
            share_inside(mesh, &seen, &mut silhouette, width as f32, height as f32)
        };
        drawn.push(Drawn {
            id: number as u64,
            class: 0,
            cover,
            inside,
        });
    }
    (drawn, raster)
}

/// What the camera sees where, before any light.
struct Shot {
    raster: Raster,
    /// The things upside down under the ground, as a polished one shows them.
    mirrored: Option<Raster>,
    subjects: Vec<Subject>,
    panes: Vec<Option<Pane>>,
    shadows: ShadowGrid,
}

impl Shot {
    fn new(things: &Things, camera: &Camera, light: &Light, room: &Room) -> Shot {
        let [width, height] = camera.centre.map(|c| (2.0 * c) as usize);
        let mut out = Shot {
            raster: Raster::new(width, height),
            mirrored: (room.mirror() > 0.0).then(|| Raster::new(width, height)),
            subjects: Vec::new(),
            panes: things.panes(camera),
            shadows: things.shadow_grid(light.towards, light.softness),
        };
        let mut seen = Vec::new();
        for (number, (thing, mesh, posed)) in things.each().enumerate() {
            if out.panes[number].as_ref().is_none_or(Pane::casts) {
                out.shadows.cast(posed.iter().map(Posed::position), &mesh.triangles);
            }
            let view = unit(sub(camera.at, thing.middle));
            out.subjects.push(Subject {
                clear: thing.materials.iter().any(|m| m.clear > 0.0),
                materials: thing.materials,
                view,
                half: unit(add(view, light.towards)),
            });
            let first = thing.posed.start as u32;
            if let Some(mirrored) = &mut out.mirrored {
                seen.clear();
                seen.extend(posed.iter().map(|v| camera.see([v.p[0], v.p[1], -v.p[2]])));
                // What is mirrored is wound the other way round.
                rasterise(mirrored, mesh, &seen, [0, 2, 1], first, number as u16);
            }
            seen.clear();
            seen.extend(posed.iter().map(|v| camera.see(v.position())));
            rasterise(&mut out.raster, mesh, &seen, [0, 1, 2], first, number as u16);
        }
        out.shadows.settle();
        out
    }

    /// What row `y` sees of the clear walls of panes, pixel by pixel.
    fn spots<'a>(&'a self, y: usize, things: &Things, light: &Light, out: &mut Vec<Option<(&'a Pane, Spot)>>) {
        out.clear();
        let row = &self.raster.seen[y * self.raster.width..(y + 1) * self.raster.width];
        out.extend(row.iter().enumerate().map(|(x, &name)| {
            let owner = self.raster.owners.get((name as usize).wrapping_sub(1))?;
            let pane = self.panes[owner.object as usize].as_ref().filter(|_| owner.part != 2)?;
            let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
            Some((
                pane,
                pane.spot(&self.raster, &things.posed, name as usize, cx, cy, light),
            ))
        }));
    }

    /// Linear light of the pixels, row by row in three planes.
    fn light(
        &self,
        things: &Things,
        camera: &Camera,
        room: &Room,
        around: &Surroundings,
        textures: &[Texture],
        noise: &Noise,
    ) -> Vec<f32> {
        let width = self.raster.width;
        let upright = Stage {
            posed: &things.posed,
            facets: &self.raster.facets,
            owners: &self.raster.owners,
            textures,
            around,
            shadows: &self.shadows,
        };
        let mirrored = self.mirrored.as_ref().map(|raster| {
            let stage = Stage {
                facets: &raster.facets,
                owners: &raster.owners,
                ..upright
            };
            (raster, stage)
        });
        let out_width = width / SAMPLES;
        let mut light = vec![0.0f32; out_width * (self.raster.height / SAMPLES) * 3];
        let mut row = vec![0.0f32; width * 3];
        let mut below = vec![0.0f32; width * 3];
        let mut through = vec![0.0f32; width * 3];
        let mut spots = Vec::with_capacity(width);
        let mut batch = Batch::new();
        for y in 0..self.raster.height {
            let seen = &self.raster.seen[y * width..(y + 1) * width];
            self.spots(y, things, &around.light, &mut spots);
            let sight = |x: usize| {
                let here = [x as f32 + 0.5, y as f32 + 0.5];
                if seen[x] == 0 {
                    return Some(here);
                }
                let object = self.raster.owners[seen[x] as usize - 1].object as usize;
                match spots[x] {
                    Some((pane, spot)) => Some(pane.place(&spot, here[0], here[1])),
                    None => self.subjects[object].clear.then_some(here),
                }
            };
            let behind = planes(&mut row, width);
            room.lay(camera, &around.light, &self.shadows, noise, sight, behind);
            if let Some((raster, stage)) = &mirrored {
                let seen = &raster.seen[y * width..(y + 1) * width];
                below.copy_from_slice(&row);
                lay_objects(&mut batch, y, seen, &self.subjects, stage, &mut below);
                for x in (0..width).filter(|&x| seen[x] != 0) {
                    let ray = camera.ray(x as f32 + 0.5, y as f32 + 0.5);
                    let graze = 1.0 + ray[2] / dot(ray, ray).sqrt();
                    let share = (room.mirror() * (0.1 + 0.5 * graze * graze)).clamp(0.0, 0.6);
                    for k in [x, x + width, x + 2 * width] {
                        row[k] = lerp(row[k], below[k], share);
                    }
                }
            }
            through.copy_from_slice(&row);
            lay_objects(&mut batch, y, seen, &self.subjects, &upright, &mut row);
            for (x, spot) in spots.iter().enumerate() {
                let Some((pane, spot)) = spot else { continue };
                let at = [x, x + width, x + 2 * width];
                let (behind, shaded) = (at.map(|k| through[k]), at.map(|k| row[k]));
                let seen = pane.light(spot, behind, shaded, &around.light, noise);
                for (k, light) in at.into_iter().zip(seen) {
                    row[k] = light;
                }
            }
            let at = y / SAMPLES * out_width * 3;
            let sums = &mut light[at..at + out_width * 3];
            for (sum, samples) in sums.iter_mut().zip(row.chunks_exact(SAMPLES)) {
                for sample in samples {
                    *sum += sample * (1.0 / (SAMPLES * SAMPLES) as f32);
                }
            }
        }
        light
    }
}

/// Draw a mesh whose vertices are `first` and on, its triangles' corners taken in `order`.
fn rasterise(
    raster: &mut Raster,
    mesh: &Mesh,
    seen: &[Option<Seen>],
    order: [usize; 3],
    first: u32,
    number: u16,
) -> Coverage {
    let mut cover = Coverage::default();
    for t in &mesh.triangles {
        let v = order.map(|k| t.v[k]);
        let [Some(a), Some(b), Some(c)] = v.map(|k| seen[k as usize]) else {
            continue;
        };
        raster.draw([a, b, c], v.map(|k| first + k), number, t.part, &mut cover);
    }
    cover
}
