//! COCO run lengths: the published form of a mask, and what can be asked of the runs without pixels.
//!
//! COCO walks a `height x width` picture column by column, top to bottom, and counts zeros, ones, zeros, ... From the
//! fourth count on, the difference to the count two before is stored. Each number is cut into groups of 5 bits, least
//! first, two's complement, with bit 5 set while more groups follow, and written as the byte `group + 48` (pycocotools
//! `rleToString`). Between these bytes and [`MaskRuns`] nothing is lost.

use super::MaskRuns;
use crate::geometry::ImageSize;

/// Set pixels of one column, next to each other: rows `row_start..row_end` in column `column`, px of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub column: u32,
    pub row_start: u32,
    pub row_end: u32,
}

/// Why bytes are no mask. Positions count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    #[error("crop {width}x{height} at ({x}, {y}) is empty or beyond 32-bit pixels")]
    Crop { x: u32, y: u32, width: u32, height: u32 },
    #[error("byte {position} of the counts is {byte}: expected 48 to 111")]
    Byte { position: usize, byte: u8 },
    #[error("the count that ends at byte {position} has more than 7 groups")]
    TooLong { position: usize },
    #[error("run {index} is {run}: expected 0 to {pixels}, the pixels of the crop")]
    Run { index: usize, run: i64, pixels: u64 },
    #[error("the counts end inside a number")]
    Truncated,
    #[error("the runs add up to {sum}: expected {pixels}, the pixels of the crop")]
    Sum { sum: u64, pixels: u64 },
}

impl MaskRuns {
    /// COCO compressed counts for the size `[height, width]` of the crop.
    pub fn to_counts(&self) -> Vec<u8> {
        // Most runs of a mask are differences of one group.
        let mut out = Vec::with_capacity(self.runs.len() + self.runs.len() / 2 + 4);
        let (mut before, mut two_before) = (0, 0);
        for (index, &run) in self.runs.iter().enumerate() {
            let run = i64::from(run);
            push_count(&mut out, if index > 2 { run - two_before } else { run });
            (two_before, before) = (before, run);
        }
        out
    }

    /// Reads COCO compressed counts of a crop, strictly. Empty runs inside, which no encoder of ours writes, are
    /// accepted and joined away, so that equal masks have equal runs. Memory is bounded by the length of `counts`.
    pub fn from_counts(x: u32, y: u32, width: u32, height: u32, counts: &[u8]) -> Result<MaskRuns, RleError> {
        let crop = RleError::Crop { x, y, width, height };
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0
            || pixels > u64::from(u32::MAX)
            || x.checked_add(width).is_none()
            || y.checked_add(height).is_none()
        {
            return Err(crop);
        }
        let mut runs: Vec<u32> = Vec::with_capacity(counts.len());
        let (mut value, mut shift) = (0i64, 0u32);
        let (mut before, mut two_before) = (0i64, 0i64);
        let (mut index, mut sum) = (0usize, 0u64);
        for (position, &byte) in counts.iter().enumerate() {
            let group = match byte {
                48..=111 => i64::from(byte - 48),
                _ => return Err(RleError::Byte { position, byte }),
            };
            if shift > 30 {
                return Err(RleError::TooLong { position });
            }
            value |= (group & 31) << shift;
            shift += 5;
            if group & 32 != 0 {
                continue;
            }
            if group & 16 != 0 {
                value -= 1 << shift; // two's complement: the top bit of the last group is the sign
            }
            let run = if index > 2 { value + two_before } else { value };
            let fits = u32::try_from(run).ok().filter(|&r| u64::from(r) <= pixels);
            let Some(length) = fits else {
                return Err(RleError::Run { index, run, pixels });
            };
            sum += u64::from(length);
            if sum > pixels {
                return Err(RleError::Sum { sum, pixels });
            }
            push_run(&mut runs, index, length);
            (two_before, before) = (before, run);
            (value, shift) = (0, 0);
            index += 1;
        }
        if shift != 0 {
            return Err(RleError::Truncated);
        }
        if sum != pixels {
            return Err(RleError::Sum { sum, pixels });
        }
        Ok(MaskRuns {
            x,
            y,
            width,
            height,
            runs,
        })
    }

    /// COCO compressed counts for the whole picture, size `[frame.height, frame.width]`. `None` when the crop does
    /// not lie inside it.
    pub fn to_frame_counts(&self, frame: ImageSize) -> Option<Vec<u8>> {
        if !self.fits(frame) {
            return None;
        }
        let mut runs: Vec<i64> = Vec::with_capacity(self.runs.len() + 2);
        let mut end = 0u64; // where the last set run ended, column-major
        for span in self.spans() {
            let column = u64::from(span.column) * u64::from(frame.height);
            let (from, to) = (column + u64::from(span.row_start), column + u64::from(span.row_end));
            match runs.last_mut() {
                Some(last) if from == end => *last += (to - from) as i64,
                _ => runs.extend([(from - end) as i64, (to - from) as i64]),
            }
            end = to;
        }
        if end < frame.area() {
            runs.push((frame.area() - end) as i64);
        }
        let mut out = Vec::with_capacity(runs.len() * 2);
        for (index, &run) in runs.iter().enumerate() {
            push_count(&mut out, if index > 2 { run - runs[index - 2] } else { run });
        }
        Some(out)
    }

    /// The set pixels of a bitmap at (x, y): `rows` is row-major, `width * height` values, set where not 0. `None`
    /// when no pixel is set or the length is wrong.
    pub fn from_dense(x: u32, y: u32, width: u32, height: u32, rows: &[u8]) -> Option<MaskRuns> {
        if rows.len() as u64 != u64::from(width) * u64::from(height) {
            return None;
        }
        let (w, h) = (width as usize, height as usize);
        let mut spans = Vec::new();
        for column in 0..w {
            let mut row = 0;
            while row < h {
                if rows[row * w + column] == 0 {
                    row += 1;
                    continue;
                }
                let start = row;
                while row < h && rows[row * w + column] != 0 {
                    row += 1;
                }
                spans.push(Span {
                    column: x.checked_add(column as u32)?,
                    row_start: y.checked_add(start as u32)?,
                    row_end: y.checked_add(row as u32)?,
                });
            }
        }
        MaskRuns::from_spans(&spans)
    }

    /// The mask of `spans`, cut to its tight box. They must be in order of column, then row, and must not overlap;
    /// empty ones and ones that touch are allowed. `None` when no pixel is set, or the spans are out of order, or the
    /// crop has more pixels than 32 bits count.
    pub fn from_spans(spans: &[Span]) -> Option<MaskRuns> {
        let set = || spans.iter().filter(|s| s.row_start < s.row_end);
        let (x, last) = (set().next()?.column, set().next_back()?.column);
        let (mut y, mut bottom) = (u32::MAX, 0);
        for span in set() {
            y = y.min(span.row_start);
            bottom = bottom.max(span.row_end);
        }
        let (width, height) = (last.checked_sub(x)?.checked_add(1)?, bottom - y);
        let pixels = width.checked_mul(height)?;
        let mut runs = Vec::with_capacity(2 * spans.len() + 1);
        let mut end = 0u32;
        for span in set() {
            let column = span.column.checked_sub(x)?.checked_mul(height)?;
            let (from, to) = (column + (span.row_start - y), column + (span.row_end - y));
            match runs.last_mut() {
                Some(last) if from == end => *last += to - from,
                _ => runs.extend([from.checked_sub(end)?, to - from]),
            }
            end = to;
        }
        let rest = pixels.checked_sub(end)?;
        if rest > 0 {
            runs.push(rest);
        }
        Some(MaskRuns {
            x,
            y,
            width,
            height,
            runs,
        })
    }

    /// The crop as a bitmap: row-major, `width * height` values, 0 or 1.
    pub fn to_dense(&self) -> Vec<u8> {
        let width = self.width as usize;
        let mut rows = vec![0; width * self.height as usize];
        for span in self.spans() {
            let column = (span.column - self.x) as usize;
            for row in span.row_start..span.row_end {
                rows[(row - self.y) as usize * width + column] = 1;
            }
        }
        rows
    }

    /// Set pixels, column by column, top to bottom, in px of the frame.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        Spans {
            mask: self,
            next: 0,
            at: 0,
            end: 0,
        }
    }

    /// Set pixels.
    pub fn area(&self) -> u32 {
        self.runs.iter().skip(1).step_by(2).sum()
    }

    /// Whether the pixel in column `x`, row `y` of the frame is set.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        let (Some(column), Some(row)) = (x.checked_sub(self.x), y.checked_sub(self.y)) else {
            return false;
        };
        if column >= self.width || row >= self.height {
            return false;
        }
        let mut left = u64::from(column) * u64::from(self.height) + u64::from(row);
        for (index, &run) in self.runs.iter().enumerate() {
            match left.checked_sub(u64::from(run)) {
                Some(rest) => left = rest,
                None => return index % 2 == 1,
            }
        }
        false
    }

    /// Pixels set in both masks, which must be of one frame.
    pub fn intersection(&self, other: &MaskRuns) -> u64 {
        let (mut left, mut right) = (self.spans(), other.spans());
        let (mut a, mut b) = (left.next(), right.next());
        let mut both = 0;
        while let (Some(p), Some(q)) = (a, b) {
            if p.column == q.column {
                both += u64::from(p.row_end.min(q.row_end).saturating_sub(p.row_start.max(q.row_start)));
            }
            // Step the one that ends first: it can meet nothing further of the other.
            if (p.column, p.row_end) <= (q.column, q.row_end) {
                a = left.next();
            } else {
                b = right.next();
            }
        }
        both
    }

    /// Whether the crop is the tight box of the set pixels, as published masks must be.
    pub fn is_tight(&self) -> bool {
        let Some((columns, rows)) = self.extent() else {
            return false;
        };
        (columns, rows) == ((self.x, self.x + self.width), (self.y, self.y + self.height))
    }

    /// Half-open ranges of the columns and rows that hold set pixels, px of the frame.
    pub(super) fn extent(&self) -> Option<((u32, u32), (u32, u32))> {
        self.spans().fold(None, |found, s| {
            let ((x0, _), (y0, y1)) = found.unwrap_or(((s.column, 0), (s.row_start, s.row_end)));
            Some(((x0, s.column + 1), (y0.min(s.row_start), y1.max(s.row_end))))
        })
    }

    /// Whether the crop lies inside the frame.
    pub fn fits(&self, frame: ImageSize) -> bool {
        u64::from(self.x) + u64::from(self.width) <= u64::from(frame.width)
            && u64::from(self.y) + u64::from(self.height) <= u64::from(frame.height)
    }
}

/// Appends run `index` as read; an empty one inside vanishes and its neighbours become one.
fn push_run(runs: &mut Vec<u32>, index: usize, length: u32) {
    if length == 0 && index > 0 {
        return;
    }
    // Run i counts the value i % 2, as read and as kept; where they differ, the last run kept goes on.
    if runs.len() % 2 == index % 2 {
        runs.push(length);
    } else if let Some(last) = runs.last_mut() {
        *last += length;
    }
}

/// One number in groups of five bits.
fn push_count(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let group = (number & 31) as u8;
        number >>= 5;
        let more = number != if group & 16 != 0 { -1 } else { 0 };
        out.push(48 + group + if more { 32 } else { 0 });
        if !more {
            return;
        }
    }
}

/// See [`MaskRuns::spans`]. A run of ones that crosses columns is cut at their ends.
struct Spans<'a> {
    mask: &'a MaskRuns,
    /// Run to look at next.
    next: usize,
    /// The part of the current run of ones not yet given out, column-major in the crop.
    at: u64,
    end: u64,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.at == self.end {
            let zeros = *self.mask.runs.get(self.next)?;
            let ones = *self.mask.runs.get(self.next + 1)?;
            self.next += 2;
            self.at = self.end + u64::from(zeros);
            self.end = self.at + u64::from(ones);
        }
        let height = u64::from(self.mask.height);
        let (column, row) = (self.at / height, self.at % height);
        let length = (self.end - self.at).min(height - row);
        self.at += length;
        Some(Span {
            column: self.mask.x + column as u32,
            row_start: self.mask.y + row as u32,
            row_end: self.mask.y + (row + length) as u32,
        })
    }
}

#[cfg(test)]
#[path = "rle_tests.rs"]
pub(crate) mod tests;
