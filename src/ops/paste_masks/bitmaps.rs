//! Pasted masks as bitmaps in one pool: where each lies, by plain loops. Kernels leave the same ([`super::launch`]).
//!
//! A bitmap is the crop of a mask's RoI to the picture, column by column, 32 rows a word, lowest bit first; each column
//! begins on a word and ends in zeros. The masks of a batch lie one behind the other in the order of their detections; the
//! first that goes beyond the pool, and all after it, are marked and not pasted.

use crate::geometry::{ImageSize, LatticeBox, Letterbox, PixelBox, SourcePx};
use crate::instances::MaskRuns;

/// How a picture sits in the network's input.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceGeometry {
    /// Source px in a network px.
    pub scale_x: f32,
    pub scale_y: f32,
    /// Of the source picture, px.
    pub width: u32,
    pub height: u32,
}

impl From<&Letterbox> for SourceGeometry {
    fn from(letterbox: &Letterbox) -> SourceGeometry {
        let (scale_x, scale_y) = letterbox.source_from_network_scale();
        let ImageSize { width, height } = letterbox.source;
        SourceGeometry {
            scale_x,
            scale_y,
            width,
            height,
        }
    }
}

/// Where one mask lies, in its picture and in the pool.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaskPlace {
    /// RoI `x0, y0, x1, y1`, 1/256 px of the source picture; may reach beyond it.
    pub roi: [i32; 4],
    /// Its crop, source px.
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// Word in the pool at which the bitmap begins.
    pub offset: u32,
    /// One of the constants of this type.
    pub state: u32,
}

impl MaskPlace {
    /// No detection, or one none of whose pixels is in the picture.
    pub const NONE: u32 = 0;
    /// The bitmap is in the pool.
    pub const HELD: u32 = 1;
    /// There is a mask, but no room for it: paste its grid on the host.
    pub const NO_ROOM: u32 = 2;

    /// Of a detection's box, network px; not yet in the pool.
    fn of(geometry: &SourceGeometry, [x0, y0, x1, y1]: [f32; 4]) -> Option<MaskPlace> {
        let (sx, sy) = (geometry.scale_x, geometry.scale_y);
        let source = PixelBox::<SourcePx>::new(x0 * sx, y0 * sy, x1 * sx, y1 * sy);
        let LatticeBox { x0, y0, x1, y1 } = LatticeBox::round(&source)?;
        // The first pixel whose centre is at or beyond an edge.
        let first = |edge: i32| i64::from((edge + 127).div_euclid(256));
        let within = |lo: i32, hi: i32, side: u32| (first(lo).max(0), first(hi).min(i64::from(side)));
        let (left, right) = within(x0, x1, geometry.width);
        let (top, bottom) = within(y0, y1, geometry.height);
        (x0 < x1 && y0 < y1 && left < right && top < bottom).then_some(MaskPlace {
            roi: [x0, y0, x1, y1],
            x: left as u32,
            y: top as u32,
            width: (right - left) as u32,
            height: (bottom - top) as u32,
            offset: 0,
            state: MaskPlace::NONE,
        })
    }

    /// Words of a column.
    pub fn column_words(&self) -> usize {
        self.height.div_ceil(32) as usize
    }

    /// Words of the bitmap.
    pub fn words(&self) -> usize {
        self.width as usize * self.column_words()
    }

    /// The bitmap of `runs`, whose set pixels lie in the crop; `None` where they do not.
    pub fn bitmap(&self, runs: Option<&MaskRuns>) -> Option<Vec<u32>> {
        let mut words = vec![0; self.words()];
        for span in runs.iter().flat_map(|runs| runs.spans()) {
            let column = span.column.checked_sub(self.x)? as usize * self.column_words();
            for row in span.row_start.checked_sub(self.y)?..span.row_end - self.y {
                *words.get_mut(column + row as usize / 32)? |= 1 << (row % 32);
            }
        }
        Some(words)
    }
}

/// Places of the masks of `boxes` [N, D] (network px), of which the first `counts[n]` of picture n are detections.
pub fn places(geometry: &[SourceGeometry], boxes: &[[f32; 4]], counts: &[u32], capacity: u32) -> Vec<MaskPlace> {
    let per_image = boxes.len() / geometry.len().max(1);
    let (mut places, mut taken) = (Vec::new(), 0u64);
    for (index, &bounds) in boxes.iter().enumerate() {
        let (image, place) = (index / per_image, index % per_image);
        let active = counts.get(image).is_some_and(|&count| place < count as usize);
        let Some(mut place) = MaskPlace::of(&geometry[image], bounds).filter(|_| active) else {
            places.push(MaskPlace::default());
            continue;
        };
        let offset = taken;
        taken += place.words() as u64;
        if taken <= u64::from(capacity) {
            (place.offset, place.state) = (offset as u32, MaskPlace::HELD);
        } else {
            place.state = MaskPlace::NO_ROOM;
        }
        places.push(place);
    }
    places
}
