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
    /// Index into the class names of the scene's kind.
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
    let (mut out, mut whole) = (Vec::new(), Vec::new());
    for (number, object) in drawn.iter().enumerate() {
        if object.cover.pixels == 0 {
            continue;
        }
        let [bx0, by0, bx1, by1] = object.cover.bounds.map(|v| v as usize);
        let across = bx1 - bx0;
        whole.clear();
        let (mut x0, mut y0, mut x1, mut y1, mut count) = (usize::MAX, usize::MAX, 0, 0, 0u32);
        for y in by0..by1 {
            let seen = &raster.seen[y * raster.width + bx0..y * raster.width + bx1];
            whole.extend(
                seen.iter()
                    .map(|&name| u8::from(name != 0 && raster.owners[name as usize - 1].object as usize == number)),
            );
            let row = &whole[(y - by0) * across..];
            let (Some(first), Some(last)) = (row.iter().position(|&m| m == 1), row.iter().rposition(|&m| m == 1))
            else {
                continue;
            };
            count += row.iter().map(|&m| u32::from(m)).sum::<u32>();
            x0 = x0.min(first);
            x1 = x1.max(last + 1);
            y0 = y0.min(y - by0);
            y1 = y - by0 + 1;
        }
        let visible = count as f32 / object.cover.pixels as f32 * object.inside;
        if (count as f32) < fewest || visible < LEAST_VISIBLE {
            continue;
        }
        let (width, height) = (x1 - x0, y1 - y0);
        let mut mask = Vec::with_capacity(width * height);
        for row in whole.chunks_exact(across).take(y1).skip(y0) {
            mask.extend_from_slice(&row[x0..x1]);
        }
        out.push(TruthInstance {
            object_id: object.id,
            class_id: object.class as u32,
            x: (bx0 + x0) as u32,
            y: (by0 + y0) as u32,
            width: width as u32,
            height: height as u32,
            mask,
            visible_fraction: visible,
        });
    }
    out
}
