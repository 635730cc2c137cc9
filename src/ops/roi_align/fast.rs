//! The same sums in another order. Bilinear sampling is separable, so an output cell is a weighted sum of map cells whose
//! weights are products of one of its row and one of its column; samples that share a map cell are joined. These cells and
//! weights are found once, then the channels of all of them, contiguous, are added up in registers, a block at a time.
//! RoIs are shared among the rayon pool's threads. Equal to within the rounding of f32 sums.

use rayon::prelude::*;

use super::super::lanes::{Kernel, Lanes, dispatch};
use super::{Axis, Element, NetworkBox, PyramidLevel, RoiAlign};

/// RoIs a thread takes at least: fewer are not worth handing over.
const ROIS_A_TASK: usize = 4;
/// Channels summed at once: four registers of AVX-512, eight of AVX2.
const BLOCK: usize = 64;
const SMALL_BLOCK: usize = 16;

pub(super) fn roi_align<T: Element>(op: &RoiAlign, levels: &[PyramidLevel<'_, T>], rois: &[NetworkBox], out: &mut [T]) {
    out.par_chunks_exact_mut(op.values())
        .zip(rois)
        .with_min_len(ROIS_A_TASK)
        .for_each_init(Scratch::default, |scratch, (out, roi)| {
            let level = &levels[op.level_of(roi, levels.len())];
            match op.axes(roi, level) {
                Some((x, y)) => {
                    scratch.x.fill(&x, op.output_side);
                    scratch.y.fill(&y, op.output_side);
                    dispatch(Pool {
                        channels: op.channels,
                        level,
                        x: &scratch.x,
                        y: &scratch.y,
                        taps: &mut scratch.taps,
                        out,
                    });
                }
                None => out.fill(T::default()),
            }
        });
}

#[derive(Debug, Default)]
struct Scratch {
    x: Taps,
    y: Taps,
    taps: Vec<(usize, f32)>,
}

/// Weights on one axis: output cell `i` is the sum of weight times map cell over `taps[ends[i - 1]..ends[i]]`. No weight is
/// 0: outside the map there is nothing to read.
#[derive(Debug, Default)]
struct Taps {
    taps: Vec<(u32, f32)>,
    ends: Vec<usize>,
}

impl Taps {
    fn fill(&mut self, axis: &Axis, bins: usize) {
        self.taps.clear();
        self.ends.clear();
        let share = 1.0 / axis.samples as f32;
        for bin in 0..bins {
            let begin = self.taps.len();
            for sample in 0..axis.samples {
                let tap = axis.tap(bin, sample);
                self.add(begin, tap.low, tap.low_weight * share);
                self.add(begin, tap.high, tap.high_weight * share);
            }
            self.ends.push(self.taps.len());
        }
    }

    /// Samples go along the axis, so a map cell seen before is one of the last two.
    fn add(&mut self, begin: usize, cell: u32, weight: f32) {
        if weight == 0.0 {
            return;
        }
        let recent = begin.max(self.taps.len().saturating_sub(2));
        match self.taps[recent..].iter_mut().find(|(c, _)| *c == cell) {
            Some((_, sum)) => *sum += weight,
            None => self.taps.push((cell, weight)),
        }
    }

    #[inline(always)]
    fn of_bins(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let bin = &self.taps[begin..end];
            begin = end;
            bin
        })
    }
}

/// One RoI.
struct Pool<'a, T> {
    channels: usize,
    level: &'a PyramidLevel<'a, T>,
    x: &'a Taps,
    y: &'a Taps,
    taps: &'a mut Vec<(usize, f32)>,
    /// [S, S, C].
    out: &'a mut [T],
}

impl<T: Element> Kernel for Pool<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Pool {
            channels,
            level,
            x,
            y,
            taps,
            out,
        } = self;
        let width = level.grid.width as usize;
        let mut outs = out.chunks_exact_mut(channels);
        for rows in y.of_bins() {
            for columns in x.of_bins() {
                taps.clear();
                for &(row, row_weight) in rows {
                    let row = row as usize * width;
                    taps.extend(
                        columns
                            .iter()
                            .map(|&(column, weight)| ((row + column as usize) * channels, row_weight * weight)),
                    );
                }
                if let Some(out) = outs.next() {
                    sum_channels::<T, L>(level.features, taps, out);
                }
            }
        }
    }
}

/// `out[c]` = the sum of weight times `features[offset + c]`.
#[inline(always)]
fn sum_channels<T: Element, L: Lanes>(features: &[T], taps: &[(usize, f32)], out: &mut [T]) {
    let channels = out.len();
    let mut from = 0;
    while from + BLOCK <= channels {
        sum_block::<T, L, BLOCK>(features, taps, from, &mut out[from..from + BLOCK]);
        from += BLOCK;
    }
    while from + SMALL_BLOCK <= channels {
        sum_block::<T, L, SMALL_BLOCK>(features, taps, from, &mut out[from..from + SMALL_BLOCK]);
        from += SMALL_BLOCK;
    }
    while from < channels {
        sum_block::<T, L, 1>(features, taps, from, &mut out[from..from + 1]);
        from += 1;
    }
}

#[inline(always)]
fn sum_block<T: Element, L: Lanes, const N: usize>(features: &[T], taps: &[(usize, f32)], from: usize, out: &mut [T]) {
    let mut sums = [0.0f32; N];
    for &(offset, weight) in taps {
        let source = &features[offset + from..][..N];
        for i in 0..N {
            sums[i] = L::mul_add(weight, source[i].to_f32(), sums[i]);
        }
    }
    for i in 0..N {
        out[i] = T::from_f32(sums[i]);
    }
}
