//! Triangles to a visibility buffer: which triangle each pixel centre sees, and how far away it is.
//!
//! `inverse_depth` per pixel, larger is nearer, 0 nothing; `seen` per pixel, index of a `Facet` plus 1, 0 nothing.
//! A facet keeps what shading needs to interpolate: barycentric planes and inverse depths of its corners.

use super::camera::Seen;
use super::num::floor;

/// A projected triangle.
#[derive(Clone, Copy, Debug)]
pub struct Facet {
    pub origin: [f32; 2],
    /// Barycentric weight of corner 1 is `w1 . (p - origin)`; of corner 2, `w2 . (p - origin)`.
    pub w1: [f32; 2],
    pub w2: [f32; 2],
    pub inverse_depth: [f32; 3],
    /// Corners, as indices into the frame's vertices.
    pub v: [u32; 3],
}

/// Whose triangle it is. Kept apart from `Facet`, which is too big to visit for this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub object: u16,
    pub part: u8,
}

impl Facet {
    /// Perspective-correct weights of the three corners at (x, y).
    #[inline(always)]
    pub fn weights(&self, x: f32, y: f32) -> [f32; 3] {
        let (dx, dy) = (x - self.origin[0], y - self.origin[1]);
        let b1 = self.w1[0] * dx + self.w1[1] * dy;
        let b2 = self.w2[0] * dx + self.w2[1] * dy;
        let b0 = 1.0 - b1 - b2;
        let q = [
            b0 * self.inverse_depth[0],
            b1 * self.inverse_depth[1],
            b2 * self.inverse_depth[2],
        ];
        let k = 1.0 / (q[0] + q[1] + q[2]);
        [q[0] * k, q[1] * k, q[2] * k]
    }
}

pub struct Raster {
    pub width: usize,
    pub height: usize,
    pub inverse_depth: Vec<f32>,
    pub seen: Vec<u32>,
    /// Last object that covered the pixel, seen or not: counts an object's own silhouette.
    covered_by: Vec<u16>,
    pub facets: Vec<Facet>,
    /// One for each facet.
    pub owners: Vec<Owner>,
}

/// Pixels an object covers: all of its silhouette in the frame, hidden or not, and the box they lie in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub pixels: u32,
    /// x0, y0, x1, y1; the last two are one past.
    pub bounds: [i32; 4],
}

/// Pixels tested at once.
const LANES: usize = 8;

/// Points this near an edge's wrong side count as inside, so that neighbours leave no pinholes.
const EDGE_SLACK: f32 = 1e-4;

impl Raster {
    pub fn new(width: usize, height: usize) -> Self {
        Raster {
            width,
            height,
            inverse_depth: vec![0.0; width * height],
            seen: vec![0; width * height],
            covered_by: vec![u16::MAX; width * height],
            facets: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Empty again, with `backdrop` (inverse depths of what never moves) in place.
    pub fn clear(&mut self, backdrop: &[f32]) {
        self.inverse_depth.copy_from_slice(backdrop);
        self.seen.fill(0);
        self.covered_by.fill(u16::MAX);
        self.facets.clear();
        self.owners.clear();
    }

    /// Start counting silhouettes afresh.
    pub fn forget_cover(&mut self) {
        self.covered_by.fill(u16::MAX);
    }

    /// Draw one triangle, if it faces the camera. `p` projected corners, `v` their vertex indices.
    #[inline]
    pub fn draw(&mut self, p: [Seen; 3], v: [u32; 3], object: u16, part: u8, cover: &mut Coverage) {
        let (ux, uy) = (p[1].x - p[0].x, p[1].y - p[0].y);
        let (vx, vy) = (p[2].x - p[0].x, p[2].y - p[0].y);
        // Counter-clockwise in the world is clockwise where y points down.
        let area = vx * uy - ux * vy;
        if area <= 1e-6 {
            return;
        }
        let x_lo = p[0].x.min(p[1].x).min(p[2].x);
        let x_hi = p[0].x.max(p[1].x).max(p[2].x);
        let y_lo = p[0].y.min(p[1].y).min(p[2].y);
        let y_hi = p[0].y.max(p[1].y).max(p[2].y);
        // Pixel k has its centre at k + 0.5.
        let x0 = -floor((0.5 - x_lo).clamp(-1e6, 0.0));
        let x1 = floor((x_hi + 0.5).clamp(0.0, self.width as f32));
        let y0 = -floor((0.5 - y_lo).clamp(-1e6, 0.0));
        let y1 = floor((y_hi + 0.5).clamp(0.0, self.height as f32));
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let k = -1.0 / area;
        let w1 = [vy * k, -vx * k];
        let w2 = [-uy * k, ux * k];
        let iz = [p[0].inverse_depth, p[1].inverse_depth, p[2].inverse_depth];
        self.facets.push(Facet {
            origin: [p[0].x, p[0].y],
            w1,
            w2,
            inverse_depth: iz,
            v,
        });
        self.owners.push(Owner { object, part });
        let name = self.facets.len() as u32;
        let (d1, d2) = (iz[1] - iz[0], iz[2] - iz[0]);
        let spans = Spans::new(p[0].x, w1, w2);
        let mut fresh = 0;
        let (mut cx0, mut cx1) = (i32::MAX, i32::MIN);
        let (mut cy0, mut cy1) = (i32::MAX, i32::MIN);
        for y in y0..y1 {
            let dy = y as f32 + 0.5 - p[0].y;
            let row = y as usize * self.width;
            let (r1, r2) = (w1[1] * dy, w2[1] * dy);
            let (sx0, sx1) = if x1 - x0 > 3 {
                spans.row(r1, r2, x0, x1)
            } else {
                (x0, x1)
            };
            if sx0 >= sx1 {
                continue;
            }
            let span = row + sx0 as usize..row + sx1 as usize;
            let depths = &mut self.inverse_depth[span.clone()];
            let seen = &mut self.seen[span.clone()];
            let covered = &mut self.covered_by[span];
            let before = fresh;
            let chunks = depths
                .chunks_mut(LANES)
                .zip(seen.chunks_mut(LANES))
                .zip(covered.chunks_mut(LANES));
            for (n, ((depths, seen), covered)) in chunks.enumerate() {
                let x = sx0 + (n * LANES) as i32;
                let (mut inside, mut here) = ([false; LANES], [0.0f32; LANES]);
                for k in 0..LANES {
                    let dx = (x as f32 + k as f32) + 0.5 - p[0].x;
                    let b1 = w1[0] * dx + r1;
                    let b2 = w2[0] * dx + r2;
                    inside[k] = (b1 >= -EDGE_SLACK) & (b2 >= -EDGE_SLACK) & (b1 + b2 <= 1.0 + EDGE_SLACK);
                    here[k] = iz[0] + b1 * d1 + b2 * d2;
                }
                for (k, ((depth, seen), covered)) in depths.iter_mut().zip(seen).zip(covered).enumerate() {
                    if !inside[k] {
                        continue;
                    }
                    if *covered != object {
                        *covered = object;
                        fresh += 1;
                        cx0 = cx0.min(x + k as i32);
                        cx1 = cx1.max(x + k as i32);
                    }
                    if here[k] > *depth {
                        *depth = here[k];
                        *seen = name;
                    }
                }
            }
            if fresh > before {
                cy0 = cy0.min(y);
                cy1 = y;
            }
        }
        if fresh > 0 {
            let b = &mut cover.bounds;
            if cover.pixels == 0 {
                *b = [cx0, cy0, cx1 + 1, cy1 + 1];
            } else {
                *b = [b[0].min(cx0), b[1].min(cy0), b[2].max(cx1 + 1), b[3].max(cy1 + 1)];
            }
            cover.pixels += fresh;
        }
    }
}

/// Where in a row a triangle can be: a little too wide on purpose, as every pixel is still tested exactly.
struct Spans {
    x: f32,
    /// Slope along x of the two weights and of their negated sum, and the inverses.
    slope: [f32; 3],
    inverse: [f32; 3],
}

impl Spans {
    #[inline(always)]
    fn new(x: f32, w1: [f32; 2], w2: [f32; 2]) -> Self {
        let slope = [w1[0], w2[0], -w1[0] - w2[0]];
        Spans {
            x,
            slope,
            inverse: slope.map(|s| 1.0 / s),
        }
    }

    /// Narrow x0..x1 to where no weight is below zero, with a pixel to spare.
    #[inline(always)]
    fn row(&self, r1: f32, r2: f32, x0: i32, x1: i32) -> (i32, i32) {
        let s = 2.0 * EDGE_SLACK;
        let at_origin = [r1 + s, r2 + s, 1.0 - r1 - r2 + s];
        let (mut lo, mut hi) = (x0 as f32, x1 as f32);
        for ((slope, inverse), at_origin) in self.slope.iter().zip(self.inverse).zip(at_origin) {
            let zero = self.x - 0.5 - at_origin * inverse;
            if *slope > 1e-6 {
                lo = lo.max(zero - 1.5);
            } else if *slope < -1e-6 {
                hi = hi.min(zero + 2.5);
            }
        }
        let hi = hi.max(x0 as f32);
        (floor(lo.min(hi)), floor(hi))
    }
}
