//! How objects come to lie: each is dropped straight down onto what lies there already, apart, touching or in a heap.
//!
//! The heap's height is kept on a grid of `CELL` world units about the aim; an object is known by how low and how
//! high it reaches over each cell it covers.

use super::super::mesh::{Mesh, Triangle};
use super::super::num::{
    Dice, IDENTITY, M3, V3, about_axis, about_y, about_z, compose, cos, floor, rotate, sin, times, unit,
};
use super::super::shade::Posed;
use super::super::shadow::cells;
use super::shapes::Rest;
use std::f32::consts::{FRAC_PI_2, PI, TAU};

const CELL: f32 = 4.0;
/// Cells on a side of the grid.
const SIDE: usize = 800;
/// Objects may sink into each other by this much, world units.
const SLACK: f32 = 2.0;

/// A body turned as it will lie, lowest point at z = 0.
pub struct Lying {
    pub posed: Vec<Posed>,
    print: Footprint,
    pub radius: f32,
    pub tall: f32,
}

struct Footprint {
    /// Cell of the grid's corner, relative to the object's own cell.
    corner: [i32; 2],
    across: usize,
    low: Vec<f32>,
    high: Vec<f32>,
}

/// Turn a body of `size` (world units along its own axes, per unit of mesh) into a way in which it can rest.
pub fn lay(dice: &mut Dice, mesh: &Mesh, size: V3, rest: Rest) -> Lying {
    let spin = about_z(dice.range(0.0, TAU));
    let side = |dice: &mut Dice| compose(&about_y(FRAC_PI_2), &about_z(dice.range(0.0, TAU)));
    let body = match rest {
        Rest::Standing(chance) if dice.chance(chance) => {
            if dice.chance(0.04) {
                about_y(PI)
            } else {
                IDENTITY
            }
        }
        Rest::Standing(_) | Rest::Lying => side(dice),
        Rest::Tumbled => {
            let axis = unit([dice.range(-1.0, 1.0), dice.range(-1.0, 1.0), dice.range(-1.0, 1.0)]);
            let a = dice.range(0.0, TAU);
            about_axis(axis, sin(a), cos(a))
        }
        Rest::Face => match dice.below(4) {
            0 => about_y(FRAC_PI_2),
            1 => about_axis([1.0, 0.0, 0.0], 1.0, 0.0),
            _ => IDENTITY,
        },
        Rest::Flat => {
            if dice.chance(0.3) {
                about_y(PI)
            } else {
                IDENTITY
            }
        }
    };
    let mut turn = compose(&spin, &body);
    if matches!(rest, Rest::Lying | Rest::Tumbled | Rest::Standing(_)) {
        turn = settled(mesh, size, turn);
    }
    let shrink = size.map(|s| 1.0 / s);
    let mut low = f32::MAX;
    let mut posed: Vec<Posed> = mesh
        .vertices
        .iter()
        .map(|v| {
            let p = rotate(&turn, times(v.p, size));
            let n = unit(rotate(&turn, times(v.n, shrink)));
            low = low.min(p[2]);
            Posed {
                p: [p[0], p[1], p[2], v.ao],
                n: [n[0], n[1], n[2], v.uv[0]],
                v: v.uv[1],
            }
        })
        .collect();
    let (mut radius, mut tall) = (0.0f32, 0.0f32);
    for v in &mut posed {
        v.p[2] -= low;
        radius = radius.max(v.p[0] * v.p[0] + v.p[1] * v.p[1]);
        tall = tall.max(v.p[2]);
    }
    let print = Footprint::of(&posed, &mesh.triangles);
    Lying {
        posed,
        print,
        radius: radius.sqrt(),
        tall,
    }
}

/// Tip a body until it touches the ground on both sides of its middle, along both axes.
fn settled(mesh: &Mesh, size: V3, mut turn: M3) -> M3 {
    for round in 0..4 {
        let axis = round % 2;
        // Lowest point on either side.
        let mut feet = [[0.0f32, f32::MAX]; 2];
        for v in &mesh.vertices {
            let p = rotate(&turn, times(v.p, size));
            let foot = &mut feet[usize::from(p[axis] > 0.0)];
            if p[2] < foot[1] {
                *foot = [p[axis], p[2]];
            }
        }
        let apart = feet[1][0] - feet[0][0];
        if apart < 1e-3 {
            continue;
        }
        let slope = ((feet[1][1] - feet[0][1]) / apart).clamp(-0.6, 0.6);
        let c = 1.0 / (1.0 + slope * slope).sqrt();
        let about = if axis == 0 { [0.0, 1.0, 0.0] } else { [-1.0, 0.0, 0.0] };
        turn = compose(&about_axis(about, slope * c, c), &turn);
    }
    turn
}

impl Footprint {
    fn of(posed: &[Posed], triangles: &[Triangle]) -> Footprint {
        let (mut lo, mut hi) = ([f32::MAX; 2], [f32::MIN; 2]);
        for v in posed {
            for k in 0..2 {
                lo[k] = lo[k].min(v.p[k]);
                hi[k] = hi[k].max(v.p[k]);
            }
        }
        let corner = [floor(lo[0] / CELL), floor(lo[1] / CELL)];
        let across = (floor(hi[0] / CELL) - corner[0] + 1).max(1) as usize;
        let down = (floor(hi[1] / CELL) - corner[1] + 1).max(1) as usize;
        let mut out = Footprint {
            corner,
            across,
            low: vec![f32::MAX; across * down],
            high: vec![-1.0; across * down],
        };
        for t in triangles {
            let q = t.v.map(|k| {
                let p = &posed[k as usize].p;
                [p[0] / CELL - corner[0] as f32, p[1] / CELL - corner[1] as f32, p[2]]
            });
            let (low, high) = (&mut out.low, &mut out.high);
            cells(q, across, down, true, |k, z| high[k] = high[k].max(z));
            cells(q, across, down, false, |k, z| low[k] = low[k].min(z));
        }
        out
    }
}

pub struct Heap {
    height: Vec<f32>,
    pub things: Vec<[f32; 2]>,
}

impl Heap {
    pub fn new() -> Heap {
        Heap {
            height: vec![0.0; SIDE * SIDE],
            things: Vec::new(),
        }
    }

    fn cell(p: [f32; 2]) -> [i32; 2] {
        p.map(|v| floor(v / CELL) + SIDE as i32 / 2)
    }

    /// Visit the covered cells of `print` put down at cell `at`; false when it does not lie in the grid.
    fn visit(print: &Footprint, at: [i32; 2], mut each: impl FnMut(usize, usize)) -> bool {
        let (x0, y0) = (at[0] + print.corner[0], at[1] + print.corner[1]);
        let down = print.low.len() / print.across;
        let (x1, y1) = (x0 + print.across as i32, y0 + down as i32);
        if x0 < 0 || y0 < 0 || x1 > SIDE as i32 || y1 > SIDE as i32 {
            return false;
        }
        for y in 0..down {
            let row = (y0 as usize + y) * SIDE + x0 as usize;
            for x in 0..print.across {
                let k = y * print.across + x;
                if print.high[k] >= 0.0 {
                    each(k, row + x);
                }
            }
        }
        true
    }

    /// Height at which the body comes to rest at cell `at`.
    fn drop_height(&self, print: &Footprint, at: [i32; 2]) -> Option<f32> {
        let mut z = 0.0f32;
        Heap::visit(print, at, |k, cell| {
            let gap = self.height[cell] - print.low[k].min(print.high[k]);
            if self.height[cell] > 0.0 {
                z = z.max(gap - SLACK);
            }
        })
        .then_some(z)
    }

    /// A place on the ground for `body` at `p`, with `margin` world units free about it.
    pub fn apart(&self, body: &Lying, p: [f32; 2], margin: f32) -> Option<V3> {
        let at = Heap::cell(p);
        let m = (margin / CELL) as i32;
        for d in [[0, 0], [m, 0], [-m, 0], [0, m], [0, -m]] {
            if self.drop_height(&body.print, [at[0] + d[0], at[1] + d[1]])? > 0.0 {
                return None;
            }
        }
        Some([p[0], p[1], 0.0])
    }

    /// A place on the ground where `body`, pushed from `p` towards the nearest thing, touches something.
    pub fn touching(&self, body: &Lying, p: [f32; 2]) -> Option<V3> {
        let far = |q: &[f32; 2]| (q[0] - p[0]) * (q[0] - p[0]) + (q[1] - p[1]) * (q[1] - p[1]);
        let target = *self.things.iter().min_by(|a, b| far(a).total_cmp(&far(b)))?;
        let way = [target[0] - p[0], target[1] - p[1]];
        let length = (way[0] * way[0] + way[1] * way[1]).sqrt();
        let steps = (length / CELL) as usize;
        let mut last = None;
        for k in 0..=steps {
            let t = k as f32 / steps.max(1) as f32;
            let q = [p[0] + way[0] * t, p[1] + way[1] * t];
            match self.drop_height(&body.print, Heap::cell(q)) {
                Some(z) if z <= 0.0 => last = Some([q[0], q[1], 0.0]),
                _ => return last,
            }
        }
        None
    }

    /// A place on top of what lies about `p`.
    pub fn heaped(&self, body: &Lying, p: [f32; 2], highest: f32) -> Option<V3> {
        let z = self.drop_height(&body.print, Heap::cell(p))?;
        (z < highest).then_some([p[0], p[1], z])
    }

    pub fn put(&mut self, body: &Lying, at: V3) {
        let height = &mut self.height;
        Heap::visit(&body.print, Heap::cell([at[0], at[1]]), |k, cell| {
            height[cell] = height[cell].max(body.print.high[k] + at[2]);
        });
        self.things.push([at[0], at[1]]);
    }
}

impl Lying {
    /// Its vertices in the world when it lies at `at`, at the end of `out`.
    pub fn pose(&self, at: V3, out: &mut Vec<Posed>) -> V3 {
        for v in &self.posed {
            let mut v = *v;
            for (p, at) in v.p.iter_mut().zip(at) {
                *p += at;
            }
            out.push(v);
        }
        [at[0], at[1], at[2] + 0.5 * self.tall]
    }
}
