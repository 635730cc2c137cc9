//! Masks as row spans: from the column runs of a mask, without ever making a picture of it.
//!
//! The work follows the outline of a mask, not its area. Coordinates are source px of the frame.

use crate::geometry::ImageSize;
use crate::instances::MaskRuns;

/// Set pixels row by row: row `top + i` holds the spans `spans[starts[i]..starts[i + 1]]`, each `x0..x1`, in order,
/// never touching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowSpans {
    pub(super) top: i32,
    starts: Vec<usize>,
    spans: Vec<(i32, i32)>,
}

impl RowSpans {
    /// Runs that are too long or reach beyond the frame are cut, runs that are too short end in zeros.
    pub(super) fn from_runs(mask: &MaskRuns, frame: ImageSize) -> RowSpans {
        let columns = mask.width.min(frame.width.saturating_sub(mask.x)) as usize;
        let rows = mask.height.min(frame.height.saturating_sub(mask.y)) as usize;
        let height = mask.height as usize;
        let mut found = Found {
            left: mask.x as i32,
            open: vec![None; rows],
            rows: Vec::new(),
        };
        if height == 0 || columns == 0 || rows == 0 {
            return RowSpans::default();
        }
        let (mut before, mut column, mut edges) = (Vec::new(), 0usize, Vec::new());
        let mut at = 0usize; // position in the column-major crop
        for (i, &run) in mask.runs.iter().enumerate() {
            let end = at.saturating_add(run as usize).min(mask.width as usize * height);
            while i % 2 == 1 && at < end {
                // A run of ones, one column at a time.
                let (c, row) = (at / height, at % height);
                while column < c.min(columns) {
                    found.column(column, &mut before, &mut edges);
                    column += 1;
                }
                if c >= columns {
                    break;
                }
                let stop = (row + end - at).min(height);
                if row < rows {
                    edges.push(row);
                    edges.push(stop.min(rows));
                }
                at += stop - row;
            }
            at = end;
        }
        while column < columns {
            found.column(column, &mut before, &mut edges);
            column += 1;
        }
        found.column(columns, &mut before, &mut edges); // nothing beyond: closes what is open
        RowSpans::sorted(mask.y as i32, rows, &found.rows)
    }

    /// `found`: (row, x0, x1), in order of x within a row.
    fn sorted(top: i32, rows: usize, found: &[(usize, i32, i32)]) -> RowSpans {
        let mut starts = vec![0usize; rows + 1];
        for &(row, ..) in found {
            starts[row + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let (mut next, mut spans) = (starts.clone(), vec![(0, 0); found.len()]);
        for &(row, x0, x1) in found {
            spans[next[row]] = (x0, x1);
            next[row] += 1;
        }
        RowSpans { top, starts, spans }
    }

    pub(super) fn rows(&self) -> i32 {
        self.starts.len().saturating_sub(1) as i32
    }

    /// Spans of row `y` of the frame.
    pub(super) fn row(&self, y: i32) -> &[(i32, i32)] {
        let i = y - self.top;
        if i < 0 || i >= self.rows() {
            return &[];
        }
        &self.spans[self.starts[i as usize]..self.starts[i as usize + 1]]
    }

    /// All spans as `(y, x0, x1)`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, i32, i32)> + '_ {
        (self.top..self.top + self.rows()).flat_map(|y| self.row(y).iter().map(move |&(x0, x1)| (y, x0, x1)))
    }

    /// Pixels whose whole disc of `radius` px lies in the mask.
    pub(super) fn eroded(&self, radius: f32) -> RowSpans {
        let reach = disc(radius);
        self.per_row(self.top, self.rows(), |y, spans, spare| {
            spans.extend(self.row(y).iter().map(|&(x0, x1)| (x0 + reach[0], x1 - reach[0])));
            spans.retain(|&(x0, x1)| x0 < x1);
            for (dy, &dx) in (1..).zip(&reach[1..]) {
                for near in [y - dy, y + dy] {
                    std::mem::swap(spans, spare);
                    spans.clear();
                    intersect(spare, self.row(near), dx, spans);
                }
            }
        })
    }

    /// Pixels within `radius` px of the mask; may reach beyond the frame.
    pub(super) fn dilated(&self, radius: f32) -> RowSpans {
        let reach = disc(radius);
        let far = reach.len() as i32 - 1;
        self.per_row(self.top - far, self.rows() + 2 * far, |y, spans, _| {
            for dy in -far..=far {
                let dx = reach[dy.unsigned_abs() as usize];
                spans.extend(self.row(y + dy).iter().map(|&(x0, x1)| (x0 - dx, x1 + dx)));
            }
            unite(spans);
        })
    }

    /// Pixels of `self` that `inner` does not hold.
    pub(super) fn without(&self, inner: &RowSpans) -> RowSpans {
        self.per_row(self.top, self.rows(), |y, spans, _| {
            let mut holes = inner.row(y).iter().peekable();
            for &(mut x0, x1) in self.row(y) {
                while let Some(&&(h0, h1)) = holes.peek() {
                    if h0 >= x1 {
                        break;
                    }
                    if h0 > x0 {
                        spans.push((x0, h0));
                    }
                    x0 = x0.max(h1);
                    if h1 > x1 {
                        break;
                    }
                    holes.next();
                }
                if x0 < x1 {
                    spans.push((x0, x1));
                }
            }
        })
    }

    fn per_row(
        &self,
        top: i32,
        rows: i32,
        mut fill: impl FnMut(i32, &mut Vec<(i32, i32)>, &mut Vec<(i32, i32)>),
    ) -> RowSpans {
        let mut out = RowSpans {
            top,
            starts: Vec::with_capacity(rows.max(0) as usize + 1),
            spans: Vec::with_capacity(self.spans.len() + 8),
        };
        out.starts.push(0);
        let (mut row, mut spare) = (Vec::new(), Vec::new());
        for y in top..top + rows {
            row.clear();
            fill(y, &mut row, &mut spare);
            out.spans.extend_from_slice(&row);
            out.starts.push(out.spans.len());
        }
        out
    }
}

/// Walks columns from left to right; only where two neighbouring columns differ does anything happen.
struct Found {
    left: i32,
    /// Column at which the span now open in a row began.
    open: Vec<Option<i32>>,
    rows: Vec<(usize, i32, i32)>,
}

impl Found {
    /// `edges`: rows at which column `column` changes between unset and set, ascending, pairwise; cleared.
    fn column(&mut self, column: usize, before: &mut Vec<usize>, edges: &mut Vec<usize>) {
        let x = self.left + column as i32;
        let (mut a, mut b) = (before.iter().peekable(), edges.iter().peekable());
        let mut from = None;
        loop {
            // The next edge that only one of the two columns has.
            let edge = match (a.peek(), b.peek()) {
                (Some(&&p), Some(&&q)) if p == q => {
                    a.next();
                    b.next();
                    continue;
                }
                (Some(&&p), Some(&&q)) if p < q => {
                    a.next();
                    p
                }
                (_, Some(&&q)) => {
                    b.next();
                    q
                }
                (Some(&&p), None) => {
                    a.next();
                    p
                }
                (None, None) => break,
            };
            match from.take() {
                None => from = Some(edge),
                Some(start) => (start..edge).for_each(|row| self.toggle(row, x)),
            }
        }
        std::mem::swap(before, edges);
        edges.clear();
    }

    fn toggle(&mut self, row: usize, x: i32) {
        match self.open[row].take() {
            None => self.open[row] = Some(x),
            Some(x0) => self.rows.push((row, x0, x)),
        }
    }
}

/// Half widths of a disc, row by row from its centre row down.
fn disc(radius: f32) -> Vec<i32> {
    let reach = radius.max(0.0).floor() as i32;
    let squared = radius * radius;
    (0..=reach)
        .map(|dy| (squared - (dy * dy) as f32).max(0.0).sqrt().floor() as i32)
        .collect()
}

/// Appends what lies in `a` and in `b` shrunk by `dx` at both ends.
fn intersect(a: &[(i32, i32)], b: &[(i32, i32)], dx: i32, out: &mut Vec<(i32, i32)>) {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (b0, b1) = (b[j].0 + dx, b[j].1 - dx);
        let (x0, x1) = (a[i].0.max(b0), a[i].1.min(b1));
        if x0 < x1 {
            out.push((x0, x1));
        }
        if a[i].1 < b1 { i += 1 } else { j += 1 }
    }
}

/// Sorts and joins spans that overlap or touch.
fn unite(spans: &mut Vec<(i32, i32)>) {
    spans.sort_unstable();
    let mut kept = 0usize;
    for i in 0..spans.len() {
        if kept > 0 && spans[i].0 <= spans[kept - 1].1 {
            spans[kept - 1].1 = spans[kept - 1].1.max(spans[i].1);
        } else {
            spans[kept] = spans[i];
            kept += 1;
        }
    }
    spans.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plain loop: a picture of the mask.
    fn pixels(mask: &MaskRuns, frame: ImageSize) -> Vec<Vec<bool>> {
        let mut set = vec![vec![false; frame.width as usize]; frame.height as usize];
        let (mut at, mut value) = (0u32, false);
        for &run in &mask.runs {
            for _ in 0..run {
                let (x, y) = (mask.x + at / mask.height, mask.y + at % mask.height);
                if value && at < mask.width * mask.height && x < frame.width && y < frame.height {
                    set[y as usize][x as usize] = true;
                }
                at += 1;
            }
            value = !value;
        }
        set
    }

    fn drawn(spans: &RowSpans, frame: ImageSize) -> Vec<Vec<bool>> {
        let mut set = vec![vec![false; frame.width as usize]; frame.height as usize];
        for (y, x0, x1) in spans.iter() {
            for x in x0..x1 {
                if (0..frame.width as i32).contains(&x) && (0..frame.height as i32).contains(&y) {
                    assert!(!set[y as usize][x as usize], "({x}, {y}) twice");
                    set[y as usize][x as usize] = true;
                }
            }
        }
        set
    }

    /// By definition: does every / any pixel within `radius` of (x, y) lie in the mask?
    fn around(set: &[Vec<bool>], x: i32, y: i32, radius: f32, all: bool) -> bool {
        let reach = radius as i32;
        let mut offsets = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
        let inside = |(dx, dy): (i32, i32)| ((dx * dx + dy * dy) as f32) <= radius * radius;
        let holds = |(dx, dy): (i32, i32)| {
            let row = usize::try_from(y + dy).ok().and_then(|y| set.get(y));
            let pixel = row.and_then(|row| usize::try_from(x + dx).ok().and_then(|x| row.get(x)));
            pixel.copied().unwrap_or(false)
        };
        if all {
            offsets.all(|o| !inside(o) || holds(o))
        } else {
            offsets.any(|o| inside(o) && holds(o))
        }
    }

    #[test]
    fn a_ring_by_hand() {
        // 3x3 ring with a hole, at (1, 2): columns 111 101 111.
        let ring = MaskRuns {
            x: 1,
            y: 2,
            width: 3,
            height: 3,
            runs: vec![0, 4, 1, 4],
        };
        let spans = RowSpans::from_runs(&ring, ImageSize::new(8, 8));
        let all: Vec<_> = spans.iter().collect();
        assert_eq!(all, [(2, 1, 4), (3, 1, 2), (3, 3, 4), (4, 1, 4)]);
        assert_eq!(spans.eroded(1.0).iter().count(), 0);
        let around: Vec<_> = spans.dilated(1.0).without(&spans).iter().collect();
        assert_eq!(
            around,
            [
                (1, 1, 4),
                (2, 0, 1),
                (2, 4, 5),
                (3, 0, 1),
                (3, 2, 3),
                (3, 4, 5),
                (4, 0, 1),
                (4, 4, 5),
                (5, 1, 4)
            ]
        );
    }

    #[test]
    fn a_mask_outside_the_frame_draws_nothing() {
        let mask = MaskRuns {
            x: 9,
            y: 0,
            width: 4,
            height: 2,
            runs: vec![0, 8],
        };
        assert_eq!(RowSpans::from_runs(&mask, ImageSize::new(9, 9)).iter().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn spans_hold_exactly_the_pixels_of_the_runs(
            (x, y, width, height) in (0u32..12, 0u32..12, 1u32..12, 1u32..12),
            runs in prop::collection::vec(0u32..9, 0..40),
            radius in prop::sample::select(vec![1.0f32, 1.5, 2.0, 2.3]),
        ) {
            let frame = ImageSize::new(16, 15);
            let mask = MaskRuns { x, y, width, height, runs };
            let set = pixels(&mask, frame);
            let spans = RowSpans::from_runs(&mask, frame);
            prop_assert_eq!(&drawn(&spans, frame), &set);
            for (changed, all) in [(spans.eroded(radius), true), (spans.dilated(radius), false)] {
                let got = drawn(&changed, frame);
                for y in 0..frame.height as i32 {
                    for x in 0..frame.width as i32 {
                        let expected = around(&set, x, y, radius, all);
                        prop_assert_eq!(got[y as usize][x as usize], expected, "({}, {}) all={}", x, y, all);
                    }
                }
            }
            let rim = drawn(&spans.without(&spans.eroded(radius)), frame);
            let inner = drawn(&spans.eroded(radius), frame);
            for y in 0..15 {
                for x in 0..16 {
                    prop_assert_eq!(rim[y][x], set[y][x] && !inner[y][x]);
                }
            }
        }
    }
}
