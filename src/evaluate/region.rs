//! A set of pixels as column spans: independent of the size of the picture and of the crop a mask came in, and as quick
//! to intersect as runs are.

use crate::geometry::ImageSize;
use crate::instances::MaskRuns;

use super::Xywh;

/// Set pixels, in column-major order: first columns left to right, then rows from the top.
///
/// A span is `[start, end)` of positions `x << 32 | y`, within one column; spans are sorted, apart and not empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Region {
    spans: Vec<(u64, u64)>,
}

/// Why run lengths are no mask of a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run lengths cover {covered} pixels, the picture of {size} has {}", size.area())]
pub struct RegionError {
    pub size: ImageSize,
    pub covered: u64,
}

fn position(x: u64, y: u64) -> u64 {
    x << 32 | y
}

impl Region {
    /// The pixels of a crop's runs, where the crop lies.
    pub fn from_runs(runs: &MaskRuns) -> Region {
        let mut spans = Spans::new(runs.x, runs.y, runs.height);
        let mut at = 0u64;
        for (i, &run) in runs.runs.iter().enumerate() {
            let end = at + u64::from(run);
            if i % 2 == 1 {
                spans.push(at, end);
            }
            at = end;
        }
        spans.region
    }

    /// The pixels of run lengths over a whole picture: zeros, ones, zeros, ... column by column.
    pub fn from_counts(counts: &[u32], size: ImageSize) -> Result<Region, RegionError> {
        let covered = counts.iter().map(|&c| u64::from(c)).sum();
        if covered != size.area() {
            return Err(RegionError { size, covered });
        }
        let mut at = 0u64;
        let ends = counts.iter().map(|&run| {
            at += u64::from(run);
            at
        });
        Ok(Region::from_changes(ends, size))
    }

    /// The pixels between the first and the second, the third and the fourth, ... of sorted column-major pixel
    /// indices; an odd last one reaches to the end of the picture.
    pub(super) fn from_changes(changes: impl IntoIterator<Item = u64>, size: ImageSize) -> Region {
        let mut spans = Spans::new(0, 0, size.height);
        let mut changes = changes.into_iter();
        while let Some(start) = changes.next() {
            spans.push(start, changes.next().unwrap_or(size.area()).min(size.area()));
        }
        spans.region
    }

    /// The pixels that are in any.
    pub fn union(regions: impl IntoIterator<Item = Region>) -> Region {
        let mut all: Vec<(u64, u64)> = regions.into_iter().flat_map(|r| r.spans).collect();
        all.sort_unstable();
        let mut spans: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match spans.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => spans.push((start, end)),
            }
        }
        Region { spans }
    }

    /// Set pixels.
    pub fn area(&self) -> u64 {
        self.spans.iter().map(|(start, end)| end - start).sum()
    }

    /// Pixels set in both.
    pub fn intersection(&self, other: &Region) -> u64 {
        // Most pairs of a picture with hundreds of objects lie in other columns.
        let ends = |region: &Region| region.spans.first().zip(region.spans.last()).map(|(f, l)| (f.0, l.1));
        match ends(self).zip(ends(other)) {
            Some(((s0, s1), (t0, t1))) if s0 < t1 && t0 < s1 => {}
            _ => return 0,
        }
        let (mut a, mut b) = (self.spans.iter(), other.spans.iter());
        let (mut s, mut t) = (a.next(), b.next());
        let mut common = 0;
        while let (Some(&(s0, s1)), Some(&(t0, t1))) = (s, t) {
            common += s1.min(t1).saturating_sub(s0.max(t0));
            if s1 <= t1 {
                s = a.next();
            } else {
                t = b.next();
            }
        }
        common
    }

    /// The tight box; all zero when nothing is set.
    pub fn bounds(&self) -> Xywh {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return Xywh::default();
        };
        let row = |p: u64| p & u64::from(u32::MAX);
        let top = self.spans.iter().map(|s| row(s.0)).min().unwrap_or(0);
        let bottom = self.spans.iter().map(|s| row(s.1 - 1)).max().unwrap_or(0) + 1;
        let (left, right) = (first.0 >> 32, (last.0 >> 32) + 1);
        Xywh::new(left as f64, top as f64, (right - left) as f64, (bottom - top) as f64)
    }

    /// Run lengths over a whole picture, as COCO counts them; pixels outside are cut off.
    pub fn to_counts(&self, size: ImageSize) -> Vec<u32> {
        let (w, h) = (u64::from(size.width), u64::from(size.height));
        let mut counts = Vec::with_capacity(2 * self.spans.len() + 1);
        let (mut run_start, mut run_end) = (0u64, 0u64); // of the last run of ones
        let mut at = 0u64;
        let mut close = |run_start: u64, run_end: u64| {
            if run_end > run_start {
                counts.push((run_start - at) as u32);
                counts.push((run_end - run_start) as u32);
                at = run_end;
            }
        };
        for &(start, end) in &self.spans {
            let (x, y0, y1) = (start >> 32, start & 0xffff_ffff, (end & 0xffff_ffff).min(h));
            if x >= w || y0 >= y1 {
                continue;
            }
            let (start, end) = (x * h + y0, x * h + y1);
            if start == run_end && run_end > run_start {
                run_end = end;
            } else {
                close(run_start, run_end);
                (run_start, run_end) = (start, end);
            }
        }
        close(run_start, run_end);
        if at < size.area() {
            counts.push((size.area() - at) as u32);
        }
        counts
    }
}

/// Cuts runs at the borders of columns.
struct Spans {
    x: u64,
    y: u64,
    height: u64,
    region: Region,
}

impl Spans {
    fn new(x: u32, y: u32, height: u32) -> Spans {
        Spans {
            x: u64::from(x),
            y: u64::from(y),
            height: u64::from(height),
            region: Region::default(),
        }
    }

    /// Column-major indices `[start, end)` within the crop.
    fn push(&mut self, mut start: u64, end: u64) {
        while start < end && self.height > 0 {
            let (x, y) = (start / self.height, start % self.height);
            let stop = end.min((x + 1) * self.height);
            let first = position(self.x + x, self.y + y);
            let last = first + (stop - start);
            match self.region.spans.last_mut() {
                Some(open) if open.1 == first => open.1 = last, // a run of length 0 lay between
                _ => self.region.spans.push((first, last)),
            }
            start = stop;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> ImageSize {
        ImageSize::new(width, height)
    }

    #[test]
    fn runs_go_down_the_columns() {
        // 3 wide, 2 high:  . # #
        //                  # # .
        let region = Region::from_counts(&[1, 4, 1], size(3, 2)).expect("six pixels");
        assert_eq!((region.area(), region.bounds()), (4, Xywh::new(0.0, 0.0, 3.0, 2.0)));
        assert_eq!(region.to_counts(size(3, 2)), [1, 4, 1]);
        assert_eq!(region.to_counts(size(2, 1)), [1, 1]);
        let crop = MaskRuns {
            x: 10,
            y: 20,
            width: 3,
            height: 2,
            runs: vec![1, 4, 1],
        };
        let moved = Region::from_runs(&crop);
        assert_eq!((moved.area(), moved.bounds()), (4, Xywh::new(10.0, 20.0, 3.0, 2.0)));
        assert_eq!(moved.intersection(&region), 0);
    }

    #[test]
    fn counts_must_cover_the_picture() {
        let wrong = Region::from_counts(&[1, 2], size(2, 2));
        assert_eq!(
            wrong,
            Err(RegionError {
                size: size(2, 2),
                covered: 3
            })
        );
        let empty = Region::from_counts(&[], size(0, 7)).expect("no pixels");
        assert_eq!((empty.area(), empty.bounds()), (0, Xywh::default()));
    }

    #[test]
    fn zero_runs_in_the_middle_do_not_split_a_region() {
        let split = Region::from_counts(&[1, 1, 0, 1, 1], size(1, 4)).expect("four pixels");
        assert_eq!(split, Region::from_counts(&[1, 2, 1], size(1, 4)).expect("four pixels"));
        assert_eq!(split.to_counts(size(1, 4)), [1, 2, 1]);
    }

    #[test]
    fn unions_and_intersections_count_pixels_once() {
        let a = Region::from_counts(&[0, 3, 6], size(3, 3)).expect("nine pixels");
        let b = Region::from_counts(&[2, 3, 4], size(3, 3)).expect("nine pixels");
        assert_eq!((a.intersection(&b), b.intersection(&a)), (1, 1));
        let both = Region::union([a.clone(), b, a]);
        assert_eq!(both.to_counts(size(3, 3)), [0, 5, 4]);
    }

    proptest::proptest! {
        #[test]
        fn counts_survive_the_way_there_and_back(
            width in 1u32..9, height in 1u32..9, bits in proptest::collection::vec(proptest::bool::ANY, 81),
        ) {
            let n = (width * height) as usize;
            let mut counts = vec![0u32];
            let mut current = false;
            for &bit in &bits[..n] {
                if bit != current {
                    counts.push(0);
                    current = bit;
                }
                if let Some(last) = counts.last_mut() {
                    *last += 1;
                }
            }
            let region = Region::from_counts(&counts, size(width, height)).expect("covers");
            proptest::prop_assert_eq!(region.area(), bits[..n].iter().filter(|&&b| b).count() as u64);
            proptest::prop_assert_eq!(region.to_counts(size(width, height)), counts);
        }
    }
}
