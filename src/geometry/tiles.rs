//! Where the tiles of a large picture lie. Whole source px throughout; ranges are half open.
//!
//! An axis of `side` px gets the fewest tiles of `tile` px whose neighbours share at least `overlap`: `n = ceil((side -
//! overlap) / (tile - overlap))`, the i-th from `floor(i (side - tile) / (n - 1))` on. So the first begins and the last
//! ends at the picture's border, and what is shared is spread evenly, to a pixel.

use super::ImageSize;

/// How pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    tile_px: u32,
    overlap_px: u32,
}

/// A part of a picture that is looked at by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Top-left pixel.
    pub x: u32,
    pub y: u32,
    pub size: ImageSize,
}

/// Why pictures cannot be cut so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilingError {
    #[error("tiles of {tile_px} px: expected at least {} px", Tiling::SMALLEST_PX)]
    Small { tile_px: u32 },
    #[error("an overlap of {overlap_px} px: expected less than the {tile_px} px of a tile")]
    Overlap { tile_px: u32, overlap_px: u32 },
}

impl Tiling {
    /// Smaller tiles show a network next to nothing.
    pub const SMALLEST_PX: u32 = 64;

    /// Objects of less than `overlap_px` are seen whole by one tile at least.
    pub fn new(tile_px: u32, overlap_px: u32) -> Result<Tiling, TilingError> {
        if tile_px < Tiling::SMALLEST_PX {
            return Err(TilingError::Small { tile_px });
        }
        if overlap_px >= tile_px {
            return Err(TilingError::Overlap { tile_px, overlap_px });
        }
        Ok(Tiling { tile_px, overlap_px })
    }

    /// The tiles of a picture, row by row, all of one size: `tile_px` square, or the picture's own side where that is
    /// smaller. One tile when the picture is no larger than that.
    pub fn tiles(&self, picture: ImageSize) -> Vec<Tile> {
        let size = ImageSize::new(picture.width.min(self.tile_px), picture.height.min(self.tile_px));
        let columns = self.starts(picture.width);
        let rows = self.starts(picture.height);
        let row = |y: u32| columns.iter().map(move |&x| Tile { x, y, size });
        rows.iter().flat_map(|&y| row(y)).collect()
    }

    /// First px of each tile along a side.
    fn starts(&self, side: u32) -> Vec<u32> {
        let Some(beyond) = side.checked_sub(self.tile_px).filter(|&b| b > 0) else {
            return vec![0];
        };
        let steps = beyond.div_ceil(self.tile_px - self.overlap_px);
        let start = |i: u32| (u64::from(i) * u64::from(beyond) / u64::from(steps)) as u32; // <= beyond
        (0..=steps).map(start).collect()
    }
}

impl Tile {
    /// Columns and rows, px of the picture.
    pub fn columns(&self) -> std::ops::Range<u32> {
        self.x..self.x + self.size.width
    }

    pub fn rows(&self) -> std::ops::Range<u32> {
        self.y..self.y + self.size.height
    }

    /// The part that both show.
    pub fn shared(&self, other: &Tile) -> Option<Tile> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let width = self.columns().end.min(other.columns().end).checked_sub(x)?;
        let height = self.rows().end.min(other.rows().end).checked_sub(y)?;
        let size = ImageSize::new(width, height);
        (size.area() > 0).then_some(Tile { x, y, size })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(tile: u32, overlap: u32, width: u32, height: u32) -> Vec<(u32, u32, u32, u32)> {
        let tiling = Tiling::new(tile, overlap).unwrap();
        let tiles = tiling.tiles(ImageSize::new(width, height));
        tiles.iter().map(|t| (t.x, t.y, t.size.width, t.size.height)).collect()
    }

    #[test]
    fn tiles_are_spread_evenly_from_border_to_border() {
        // ceil((1388 - 64) / 448) = 3 columns over 1388 - 512 = 876 px; ceil((1040 - 64) / 448) = 3 rows over 528.
        let xy: Vec<(u32, u32)> = places(512, 64, 1388, 1040).iter().map(|p| (p.0, p.1)).collect();
        let expected = [0, 264, 528].map(|y| [(0, y), (438, y), (876, y)]).concat();
        assert_eq!(xy, expected);
        // 5 tiles over 1536 px: every 384, sharing 128.
        assert_eq!(places(512, 64, 2048, 2048).len(), 25);
        assert_eq!(places(512, 64, 960, 100), [(0, 0, 512, 100), (448, 0, 512, 100)]);
        assert_eq!(places(512, 64, 961, 100).len(), 3);
    }

    #[test]
    fn a_picture_no_larger_than_a_tile_is_one() {
        assert_eq!(places(512, 64, 512, 512), [(0, 0, 512, 512)]);
        assert_eq!(places(512, 64, 300, 17), [(0, 0, 300, 17)]);
        assert_eq!(places(512, 64, 513, 512), [(0, 0, 512, 512), (1, 0, 512, 512)]);
    }

    #[test]
    fn tiles_that_show_nothing_or_never_advance_are_refused() {
        let message = |tile, overlap| Tiling::new(tile, overlap).unwrap_err().to_string();
        assert_eq!(message(63, 0), "tiles of 63 px: expected at least 64 px");
        assert_eq!(
            message(64, 64),
            "an overlap of 64 px: expected less than the 64 px of a tile"
        );
        assert!(Tiling::new(64, 63).is_ok());
    }

    proptest! {
        #[test]
        fn every_pixel_is_shown_and_neighbours_share_enough(
            tile in 64u32..300, share in 0f64..1.0, width in 1u32..3000, height in 1u32..3000,
        ) {
            let overlap = (f64::from(tile) * share) as u32;
            let tiles = Tiling::new(tile, overlap).unwrap().tiles(ImageSize::new(width, height));
            let mut xs: Vec<u32> = tiles.iter().map(|t| t.x).collect();
            let mut ys: Vec<u32> = tiles.iter().map(|t| t.y).collect();
            let in_order = tiles.windows(2).all(|w| (w[0].y, w[0].x) < (w[1].y, w[1].x));
            prop_assert!(in_order);
            xs.sort_unstable();
            xs.dedup();
            ys.sort_unstable();
            ys.dedup();
            prop_assert_eq!(xs.len() * ys.len(), tiles.len());
            for (starts, side) in [(&xs, width), (&ys, height)] {
                let length = side.min(tile);
                prop_assert_eq!(starts[0], 0);
                prop_assert_eq!(starts[starts.len() - 1] + length, side); // inside, up to the border
                let steps: Vec<u32> = starts.windows(2).map(|w| w[1] - w[0]).collect();
                for &step in &steps {
                    prop_assert!(step >= 1 && step + overlap <= length, "{} {} {}", step, overlap, length);
                }
                let (least, most) = (steps.iter().min(), steps.iter().max());
                prop_assert!(most.zip(least).is_none_or(|(m, l)| m - l <= 1));
                // One tile less would share less.
                if starts.len() > 1 {
                    prop_assert!((starts.len() as u32 - 1) * (tile - overlap) + overlap < side);
                }
            }
            for t in &tiles {
                prop_assert_eq!((t.size.width, t.size.height), (width.min(tile), height.min(tile)));
            }
        }

        #[test]
        fn what_two_tiles_share_is_what_both_hold(
            a in (0u32..30, 0u32..30, 1u32..20, 1u32..20), b in (0u32..30, 0u32..30, 1u32..20, 1u32..20),
        ) {
            let tile = |(x, y, w, h)| Tile { x, y, size: ImageSize::new(w, h) };
            let (a, b) = (tile(a), tile(b));
            let holds = |t: &Tile, x, y| t.columns().contains(&x) && t.rows().contains(&y);
            let shared = a.shared(&b);
            for (x, y) in (0..60).flat_map(|x| (0..60).map(move |y| (x, y))) {
                prop_assert_eq!(shared.is_some_and(|s| holds(&s, x, y)), holds(&a, x, y) && holds(&b, x, y));
            }
        }
    }
}
