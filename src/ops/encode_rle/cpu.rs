//! The plain loops: pixel by pixel.

use super::{MaskSpan, SpanRange};
use crate::ops::paste_masks::bitmaps::MaskPlace;

pub(super) fn encode(places: &[MaskPlace], words: &[u32], capacity_spans: u32) -> (Vec<SpanRange>, Vec<MaskSpan>) {
    let (mut ranges, mut spans, mut full) = (Vec::new(), Vec::new(), false);
    for place in places {
        let mut own = Vec::new();
        if place.state == MaskPlace::HELD {
            spans_of(place, words, &mut own);
        }
        full |= spans.len() + own.len() > capacity_spans as usize;
        if place.state != MaskPlace::HELD || full {
            let state = if place.state == MaskPlace::HELD {
                MaskPlace::NO_ROOM
            } else {
                place.state
            };
            ranges.push(SpanRange {
                state,
                ..SpanRange::default()
            });
            continue;
        }
        ranges.push(SpanRange {
            offset: spans.len() as u32,
            count: own.len() as u32,
            state: place.state,
        });
        spans.extend(own);
    }
    (ranges, spans)
}

fn spans_of(place: &MaskPlace, words: &[u32], spans: &mut Vec<MaskSpan>) {
    let bitmap = &words[place.offset as usize..][..place.words()];
    for (column, words) in (place.x..).zip(bitmap.chunks_exact(place.column_words())) {
        let is_set = |row: u32| row < place.height && words[row as usize / 32] >> (row % 32) & 1 == 1;
        let mut start = None;
        for row in 0..=place.height {
            match start {
                None if is_set(row) => start = Some(row),
                Some(from) if !is_set(row) => {
                    spans.push(MaskSpan {
                        column,
                        row_start: place.y + from,
                        row_end: place.y + row,
                    });
                    start = None;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mask_runs;
    use super::*;

    fn place(x: u32, y: u32, width: u32, height: u32, offset: u32) -> MaskPlace {
        MaskPlace {
            x,
            y,
            width,
            height,
            offset,
            state: MaskPlace::HELD,
            ..MaskPlace::default()
        }
    }

    #[test]
    fn spans_go_down_the_columns_and_end_with_them() {
        // Two columns of 34 rows: rows 1..3 and 31..34; then row 0 alone.
        let words = [0b110 | 1 << 31, 0b11, 1, 0];
        let places = [place(5, 10, 2, 34, 0), MaskPlace::default(), place(0, 0, 1, 2, 2)];
        let (ranges, spans) = encode(&places, &words, 100);
        let span = |column, row_start, row_end| MaskSpan {
            column,
            row_start,
            row_end,
        };
        assert_eq!(
            spans,
            [span(5, 11, 13), span(5, 41, 44), span(6, 10, 11), span(0, 0, 1)]
        );
        let found: Vec<_> = ranges.iter().map(|r| (r.offset, r.count, r.state)).collect();
        assert_eq!(found, [(0, 3, 1), (0, 0, 0), (3, 1, 1)]);
        let runs = mask_runs(&ranges[0], &spans).expect("set pixels");
        assert_eq!((runs.x, runs.y, runs.width, runs.height), (5, 10, 2, 34));
        assert_eq!(runs.runs, [1, 2, 28, 4, 33]);
        assert_eq!(mask_runs(&ranges[1], &spans), None);
    }

    #[test]
    fn masks_beyond_the_pool_are_marked() {
        let words = [0b101, 1];
        let places = [place(0, 0, 1, 3, 0), place(0, 0, 1, 1, 1), place(0, 0, 1, 1, 1)];
        let states = |capacity| {
            encode(&places, &words, capacity)
                .0
                .iter()
                .map(|r| r.state)
                .collect::<Vec<_>>()
        };
        assert_eq!(states(4), [1, 1, 1]);
        assert_eq!(states(3), [1, 1, 2]);
        assert_eq!(states(1), [2, 2, 2]);
    }
}
