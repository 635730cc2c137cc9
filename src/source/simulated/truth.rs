//! Exact truth from the visibility buffer: a pixel belongs to the object whose surface its centre sees.

use super::raster::Raster;
use super::scene::Drawn;

/// Pixels of a frame 640 wide below which an object is no instance.
const FEWEST_PIXELS_640: f32 = 16.0;
const LEAST_VISIBLE: f32 = 0.1;

/// One object as the frame shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthInstance {
    /// The same object in every frame it shows in.
    pub object_id: u64,
    /// Index into `CLASS_NAMES`.
    pub class_id: u32,
    /// Tight box of the visible pixels.
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// Row-major crop of that box: 1 visible, 0 not.
    pub mask: Vec<u8>,
    /// Visible pixels over the pixels it would have, alone and with no edge to the picture.
    pub visible_fraction: f32,
}

impl TruthInstance {
    pub fn area(&self) -> u64 {
        self.mask.iter().map(|&m| u64::from(m)).sum()
    }
}

pub fn instances(drawn: &[Drawn], raster: &Raster) -> Vec<TruthInstance> {
    let scale = raster.width as f32 / 640.0;
    let fewest = (FEWEST_PIXELS_640 * scale * scale).max(4.0);
    let mut out = Vec::new();
    for (number, object) in drawn.iter().enumerate() {
        if object.cover.pixels == 0 {
            continue;
        }
        let mine = |x: usize, y: usize| {
            let name = raster.seen[y * raster.width + x];
            name != 0 && raster.facets[name as usize - 1].object as usize == number
        };
        let [bx0, by0, bx1, by1] = object.cover.bounds.map(|v| v as usize);
        let (mut x0, mut y0, mut x1, mut y1, mut count) = (usize::MAX, usize::MAX, 0, 0, 0u32);
        for y in by0..by1 {
            for x in bx0..bx1 {
                if mine(x, y) {
                    x0 = x0.min(x);
                    y0 = y0.min(y);
                    x1 = x1.max(x + 1);
                    y1 = y + 1;
                    count += 1;
                }
            }
        }
        let visible = count as f32 / object.cover.pixels as f32 * object.inside;
        if (count as f32) < fewest || visible < LEAST_VISIBLE {
            continue;
        }
        let (width, height) = (x1 - x0, y1 - y0);
        let mut mask = Vec::with_capacity(width * height);
        for y in y0..y1 {
            mask.extend((x0..x1).map(|x| u8::from(mine(x, y))));
        }
        out.push(TruthInstance {
            object_id: object.id,
            class_id: object.class as u32,
            x: x0 as u32,
            y: y0 as u32,
            width: width as u32,
            height: height as u32,
            mask,
            visible_fraction: visible,
        });
    }
    out
}
