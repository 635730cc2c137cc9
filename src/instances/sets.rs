//! Masks as sets of pixels, on their runs. All masks of a call are of one frame; px of that frame. The plain loop over
//! bitmaps is in the tests, and is the specification.

use std::ops::Range;

use super::{MaskRuns, Span};
use crate::geometry::Tile;

impl MaskRuns {
    /// The pixels set in any of `masks`. `None` when there is none, or when their common crop has more pixels than 32
    /// bits count.
    pub fn union<'a>(masks: impl IntoIterator<Item = &'a MaskRuns>) -> Option<MaskRuns> {
        let mut all: Vec<Span> = masks.into_iter().flat_map(MaskRuns::spans).collect();
        all.sort_by_key(|s| (s.column, s.row_start)); // stable: quick on what is made of sorted parts
        let mut apart: Vec<Span> = Vec::with_capacity(all.len());
        for span in all {
            match apart.last_mut() {
                Some(last) if last.column == span.column && span.row_start <= last.row_end => {
                    last.row_end = last.row_end.max(span.row_end);
                }
                _ => apart.push(span),
            }
        }
        MaskRuns::from_spans(&apart)
    }

    /// Pixels set inside `tile`.
    pub fn area_within(&self, tile: &Tile) -> u64 {
        let (columns, rows) = (tile.columns(), tile.rows());
        let inside = |s: &Span| u64::from(s.row_end.min(rows.end).saturating_sub(s.row_start.max(rows.start)));
        let before_end = self.spans().take_while(|s| s.column < columns.end);
        before_end
            .filter(|s| s.column >= columns.start)
            .map(|s| inside(&s))
            .sum()
    }

    /// Every pixel of a rectangle; `None` for an empty one, or one of more pixels than 32 bits count.
    pub fn rectangle(columns: Range<u32>, rows: Range<u32>) -> Option<MaskRuns> {
        let (width, height) = (
            columns.end.checked_sub(columns.start)?,
            rows.end.checked_sub(rows.start)?,
        );
        let pixels = width.checked_mul(height).filter(|&p| p > 0)?;
        Some(MaskRuns {
            x: columns.start,
            y: rows.start,
            width,
            height,
            runs: vec![0, pixels],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rle::tests::bitmap;
    use super::*;
    use crate::geometry::ImageSize;

    /// Reaches beyond every bitmap drawn here.
    const SIDE: u32 = 100;

    /// Pixel by pixel.
    fn plain(size: u32, is_set: impl Fn(u32, u32) -> bool) -> Option<MaskRuns> {
        let rows: Vec<u8> = (0..size * size).map(|i| u8::from(is_set(i % size, i / size))).collect();
        MaskRuns::from_dense(0, 0, size, size, &rows)
    }

    #[test]
    fn a_union_has_one_form_however_its_parts_met() {
        let rectangle = |columns, rows| MaskRuns::rectangle(columns, rows).unwrap();
        let whole = rectangle(3..9, 4..8);
        let (left, right) = (rectangle(3..5, 4..8), rectangle(5..9, 4..8));
        assert_eq!(MaskRuns::union([&right, &left]), Some(whole.clone()));
        let (top, bottom) = (rectangle(3..9, 4..7), rectangle(3..9, 5..8));
        assert_eq!(MaskRuns::union([&bottom, &top, &top]), Some(whole));
        assert_eq!(MaskRuns::union([]), None);
        let far = MaskRuns::union([&rectangle(0..1, 0..1), &rectangle(70_000..70_001, 70_000..70_001)]);
        assert_eq!(far, None, "70001 squared is more than 32 bits count");
    }

    #[test]
    fn rectangles_have_pixels() {
        assert_eq!(
            MaskRuns::rectangle(2..5, 1..3).map(|m| (m.area(), m.is_tight())),
            Some((6, true))
        );
        for (columns, rows) in [(2..2, 0..5), (0..5, 3..3), (0..70_000, 0..70_000)] {
            assert_eq!(MaskRuns::rectangle(columns, rows), None);
        }
    }

    proptest! {
        #[test]
        fn unions_are_the_pixels_of_any(masks in proptest::collection::vec(bitmap(), 0..5)) {
            let masks: Vec<MaskRuns> =
                masks.iter().map(|(x, y, w, h, dense)| MaskRuns::from_dense(*x, *y, *w, *h, dense).unwrap()).collect();
            let expected = plain(SIDE, |x, y| masks.iter().any(|m| m.contains(x, y)));
            prop_assert_eq!(MaskRuns::union(&masks), expected);
        }

        #[test]
        fn areas_within_a_tile_are_counted(
            (x, y, w, h, dense) in bitmap(), left in 0..SIDE, top in 0..SIDE, width in 0..SIDE, height in 0..SIDE,
        ) {
            let mask = MaskRuns::from_dense(x, y, w, h, &dense).unwrap();
            let tile = Tile { x: left, y: top, size: ImageSize::new(width, height) };
            let all = (0..SIDE).flat_map(|x| (0..SIDE).map(move |y| (x, y)));
            let inside = all.filter(|&(x, y)| {
                mask.contains(x, y) && tile.columns().contains(&x) && tile.rows().contains(&y)
            });
            prop_assert_eq!(mask.area_within(&tile), inside.count() as u64);
        }
    }
}
