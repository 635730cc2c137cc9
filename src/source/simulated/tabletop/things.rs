//! Which things lie on the tabletop and where: sorts of thing, how many, how large, and how close together.

use super::super::SceneConfig;
use super::super::camera::Camera;
use super::super::look::Material;
use super::super::mesh::Mesh;
use super::super::num::{Dice, V3, add, scale, times};
use super::super::shade::Posed;
use super::super::shadow::ShadowGrid;
use super::clear::{Glass, Pane};
use super::room::Room;
use super::shapes::{Kind, Rest, Theme};
use super::skin;
use super::strew::{self, Heap, Lying};

/// `SceneConfig::objects` at which a picture holds the drawn number of objects.
const USUAL: f32 = 12.0;
/// Most objects in a usual picture.
const MOST: usize = 40;

/// A sort of thing: all of its pieces look alike, none is the same.
struct Species {
    meshes: Vec<usize>,
    rest: Rest,
    /// Longest side, world units.
    size: f32,
    materials: [Material; 3],
    glass: Option<Glass>,
}

/// A thing in its place.
pub struct Thing {
    mesh: usize,
    /// Its vertices among `Things::posed`.
    pub posed: std::ops::Range<usize>,
    pub middle: V3,
    pub materials: [Material; 3],
    pub glass: Option<Glass>,
}

/// The things of a picture, in their places.
#[derive(Default)]
pub struct Things {
    meshes: Vec<Mesh>,
    things: Vec<Thing>,
    pub posed: Vec<Posed>,
}

/// How close the things of a picture lie.
struct Company {
    touching: f32,
    heaped: f32,
    margin: f32,
}

impl Things {
    /// Every thing with its mesh and its vertices in the world.
    pub fn each(&self) -> impl Iterator<Item = (&Thing, &Mesh, &[Posed])> {
        self.things
            .iter()
            .map(|t| (t, &self.meshes[t.mesh], &self.posed[t.posed.clone()]))
    }

    /// How the clear ones let the room through, by number; none for the others.
    pub fn panes(&self, camera: &Camera) -> Vec<Option<Pane>> {
        self.each()
            .map(|(thing, _, posed)| Pane::new(thing.glass?, posed, camera))
            .collect()
    }

    pub fn fill(&mut self, dice: &mut Dice, theme: Theme, camera: &Camera, room: &Room, config: &SceneConfig) {
        if config.objects == 0 {
            return;
        }
        let wanted = match dice.below(6) {
            0..=4 if theme == Theme::Clear => dice.range(2.0, 10.0),
            0 => 1.0 + dice.range(0.0, 4.0),
            1..=3 => dice.range(4.0, 16.0),
            _ => dice.range(12.0, 41.0),
        };
        let wanted = (wanted * config.objects as f32 / USUAL) as usize;
        let wanted = wanted.clamp(1, MOST.max(config.objects as usize));
        let size = many_sized(dice, wanted);
        let company = match dice.below(5) {
            0 => Company {
                touching: 0.0,
                heaped: 0.0,
                margin: size * 0.3,
            },
            1 => Company {
                touching: 0.7,
                heaped: 0.05,
                margin: 4.0,
            },
            2 => Company {
                touching: 0.3,
                heaped: 0.45,
                margin: 0.0,
            },
            _ => Company {
                touching: 0.25,
                heaped: 0.05,
                margin: dice.range(0.0, 20.0),
            },
        };
        let sorts = if theme == Theme::Clear {
            1 + dice.below(3)
        } else if dice.chance(0.25) {
            wanted
        } else {
            1 + dice.below(7)
        };
        let fineness = config.width as f32 / 640.0;
        let mut species: Vec<Species> = (0..sorts.min(wanted))
            .map(|_| {
                let kind = Kind::draw(dice, theme);
                self.species(dice, kind, size, fineness, room, wanted)
            })
            .collect();
        let mut heap = Heap::new();
        // A picture without anything would teach little: where nothing finds room, ever smaller things are thrown.
        for n in 0..wanted + 40 {
            if n >= wanted && !self.things.is_empty() {
                break;
            }
            if n >= wanted {
                species.iter_mut().for_each(|sort| sort.size *= 0.93);
            }
            let sort = &species[dice.below(species.len())];
            self.place(dice, sort, &company, &mut heap, camera, room);
        }
    }

    fn species(
        &mut self,
        dice: &mut Dice,
        kind: Kind,
        size: f32,
        fineness: f32,
        room: &Room,
        wanted: usize,
    ) -> Species {
        let size = size
            * dice.range(0.45, 1.5)
            * if matches!(kind, Kind::Tool | Kind::Vessel | Kind::Clear) {
                1.5
            } else {
                1.0
            };
        let size = size.clamp(16.0, 330.0);
        let sides = ((size * fineness * 0.6) as usize).clamp(12, 60);
        let build = dice.bits();
        let first = self.meshes.len();
        let pieces = match kind {
            Kind::Fruit | Kind::Blob | Kind::Wrapped if wanted > 3 => 3,
            _ => 1,
        };
        let mut rest = Rest::Tumbled;
        for piece in 0..pieces {
            let (mesh, how) = kind.build(&mut Dice::new(build, 0), piece, sides);
            rest = how;
            self.meshes.push(mesh);
        }
        let glass = (kind == Kind::Clear).then(|| Glass::draw(dice));
        Species {
            meshes: (first..self.meshes.len()).collect(),
            rest,
            size,
            materials: match &glass {
                Some(glass) => glass.materials(dice),
                None => skin::materials(dice, kind, room.colour()),
            },
            glass,
        }
    }

    fn place(
        &mut self,
        dice: &mut Dice,
        sort: &Species,
        company: &Company,
        heap: &mut Heap,
        camera: &Camera,
        room: &Room,
    ) {
        let mesh = dice.pick(&sort.meshes);
        let size = (sort.size * dice.range(0.82, 1.2)).max(14.0);
        let stretch = [size * dice.range(0.88, 1.12), size * dice.range(0.88, 1.12), size];
        let body = strew::lay(dice, &self.meshes[mesh], stretch, sort.rest);
        let tint = [dice.range(0.82, 1.15), dice.range(0.85, 1.12), dice.range(0.82, 1.15)];
        let (touch, heaped) = (dice.chance(company.touching), dice.chance(company.heaped));
        for _ in 0..20 {
            let (x, y) = (dice.range(-0.04, 1.04), dice.range(-0.04, 1.04));
            let Some(p) = on_ground(camera, x, y) else { continue };
            let at = if heaped && !heap.things.is_empty() {
                let near = heap.things[dice.below(heap.things.len())];
                let reach = size * 0.5;
                let p = [near[0] + dice.range(-reach, reach), near[1] + dice.range(-reach, reach)];
                heap.heaped(&body, p, size * 0.7)
            } else if touch && !heap.things.is_empty() {
                heap.touching(&body, p)
            } else {
                heap.apart(&body, p, company.margin)
            };
            let Some(at) = at else { continue };
            if !room.holds([at[0], at[1]], body.radius) || !self.fits(&body, at, camera) {
                continue;
            }
            heap.put(&body, at);
            let first = self.posed.len();
            let middle = body.pose(at, &mut self.posed);
            self.things.push(Thing {
                mesh,
                posed: first..self.posed.len(),
                middle,
                materials: sort.materials.map(|m| Material {
                    a: times(m.a, tint),
                    b: times(m.b, tint),
                    ..m
                }),
                glass: sort.glass,
            });
            return;
        }
    }

    /// Whether the body at `at` shows in a sensible size: no speck, and not most of the picture.
    fn fits(&self, body: &Lying, at: V3, camera: &Camera) -> bool {
        let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
        for v in &body.posed {
            let Some(s) = camera.see(add(v.position(), at)) else {
                return false;
            };
            lo = [lo[0].min(s.x), lo[1].min(s.y)];
            hi = [hi[0].max(s.x), hi[1].max(s.y)];
        }
        let (w, h) = (2.0 * camera.centre[0], 2.0 * camera.centre[1]);
        let longest = (hi[0] - lo[0]).max(hi[1] - lo[1]);
        let middle = [0.5 * (lo[0] + hi[0]), 0.5 * (lo[1] + hi[1])];
        let shows = middle[0] > 0.0 && middle[1] > 0.0 && middle[0] < w && middle[1] < h;
        shows && longest > 12.0 * w / 640.0 && longest < 0.6 * w.max(h)
    }

    /// A grid that holds the things and their shadows on the ground.
    pub fn shadow_grid(&self, towards: V3, softness: f32) -> ShadowGrid {
        let (mut lo, mut hi) = ([-60.0f32; 2], [60.0f32; 2]);
        for v in &self.posed {
            for k in 0..2 {
                let landed = v.p[k] - towards[k] / towards[2] * v.p[2];
                lo[k] = lo[k].min(v.p[k].min(landed));
                hi[k] = hi[k].max(v.p[k].max(landed));
            }
        }
        let rim = 3.0 * softness + 40.0;
        ShadowGrid::new(lo.map(|v| v - rim), hi.map(|v| v + rim), towards, softness)
    }
}

/// Typical size for a picture of `wanted` objects, world units: few may be large, many must be small.
fn many_sized(dice: &mut Dice, wanted: usize) -> f32 {
    let room = 640.0 * (0.5 / wanted as f32).sqrt();
    let k = dice.unit();
    (room * (0.3 + 0.85 * k)).clamp(26.0, 300.0)
}

/// The ground at the place `x`, `y` of the picture (0..=1), if it is near enough to matter.
fn on_ground(camera: &Camera, x: f32, y: f32) -> Option<[f32; 2]> {
    let ray = camera.ray(2.0 * camera.centre[0] * x, 2.0 * camera.centre[1] * y);
    if ray[2] > -1e-3 {
        return None;
    }
    let depth = -camera.at[2] / ray[2];
    let p = add(camera.at, scale(ray, depth));
    // The ray's part along the view is 1, so this is the depth; at the aim it is the focal length of a 640 frame.
    let usual = camera.focal_px * 320.0 / camera.centre[0];
    (depth > 0.4 * usual && depth < 1.9 * usual).then_some([p[0], p[1]])
}
