//! Bitmaps -> spans, of which run lengths are made without looking at pixels: set pixels of one column next to each other,
//! in order of column, then row.
//!
//! The spans of a batch lie one behind the other in the order of the masks; the first mask whose spans go beyond the pool,
//! and all after it, are marked and not written. [`mask_runs`] of a mask's spans is what `instances::paste` gives of its
//! grid.

pub mod check;
pub mod launch;

mod cpu;

use super::paste_masks::bitmaps::MaskPlace;
use crate::instances::{MaskRuns, Span};

/// Rows `row_start..row_end` of `column`, px of the frame.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaskSpan {
    pub column: u32,
    pub row_start: u32,
    pub row_end: u32,
}

/// Which of the pool's spans are those of a mask.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanRange {
    pub offset: u32,
    /// 0 where no pixel is set.
    pub count: u32,
    /// As [`MaskPlace::state`]: without room, among bitmaps or among spans, the host pastes the grid.
    pub state: u32,
}

/// Ranges and spans of the bitmaps at `places`, by plain loops.
pub fn encode(places: &[MaskPlace], words: &[u32], capacity_spans: u32) -> (Vec<SpanRange>, Vec<MaskSpan>) {
    cpu::encode(places, words, capacity_spans)
}

/// The mask of a range; `None` when it sets no pixel, or has no spans among `spans`.
pub fn mask_runs(range: &SpanRange, spans: &[MaskSpan]) -> Option<MaskRuns> {
    let start = range.offset as usize;
    let own = spans.get(start..start.checked_add(range.count as usize)?)?;
    let span = |s: &MaskSpan| Span {
        column: s.column,
        row_start: s.row_start,
        row_end: s.row_end,
    };
    MaskRuns::from_spans(&own.iter().map(span).collect::<Vec<_>>())
}
