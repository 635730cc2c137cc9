//! Polygons -> pixels, by the rule of the COCO tools, so that every edge pixel agrees with theirs.
//!
//! The rule: corners are rounded to a grid five times as fine as the pixels; each edge becomes a chain of grid points,
//! one a step along its longer axis; wherever the chain passes the middle of a pixel column, pixels of this column turn
//! over from the row of that passage downwards. Rows are rounded up and held within the picture; passages left or right
//! of the picture are dropped. Pixels are set where the number of passages before them, column by column, is odd.
//!
//! Only the passages are computed, not the chains: the cost is one step a column an edge crosses, whatever its length.

use crate::geometry::ImageSize;

use super::Region;

/// Grid steps in a pixel.
const FINE: f64 = 5.0;
/// Coordinates beyond are refused, px: far outside any picture, and the fine grid still fits 32 bits.
pub const COORDINATE_LIMIT: f64 = 1.0e8;

/// Why numbers are no polygon.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolygonError {
    #[error("a polygon has {0} numbers; it needs x, y pairs of at least three corners")]
    Length(usize),
    #[error("a polygon has the coordinate {0}, which is no place in a picture")]
    Coordinate(f64),
    #[error("there is no polygon")]
    Absent,
}

/// The union of polygons `[x0, y0, x1, y1, ...]`, px, corner origin. The first needs three corners; later ones may have
/// two, a line without pixels, as the COCO tools allow.
pub fn rasterise(polygons: &[Vec<f64>], size: ImageSize) -> Result<Region, PolygonError> {
    match polygons.first() {
        None => return Err(PolygonError::Absent),
        Some(first) if first.len() < 6 => return Err(PolygonError::Length(first.len())),
        Some(_) => {}
    }
    let parts: Result<Vec<Region>, PolygonError> =
        polygons.iter().map(|numbers| rasterise_one(numbers, size)).collect();
    Ok(Region::union(parts?))
}

fn rasterise_one(numbers: &[f64], size: ImageSize) -> Result<Region, PolygonError> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if pairs.len() < 2 || !rest.is_empty() {
        return Err(PolygonError::Length(numbers.len()));
    }
    if let Some(&wild) = numbers.iter().find(|v| !v.is_finite() || v.abs() > COORDINATE_LIMIT) {
        return Err(PolygonError::Coordinate(wild));
    }
    // `as` cuts towards zero, as the rule wants it, below zero too.
    let fine = |v: f64| (FINE * v + 0.5) as i64;
    let corners: Vec<(i64, i64)> = pairs.iter().map(|&[x, y]| (fine(x), fine(y))).collect();
    let mut changes = Vec::new();
    for (i, &from) in corners.iter().enumerate() {
        let to = corners[(i + 1) % corners.len()];
        passages(from, to, size, &mut changes);
    }
    changes.sort_unstable();
    Ok(Region::from_changes(changes, size))
}

/// Where the chain of one edge passes the middles of columns, as column-major pixel indices.
///
/// The middle of column k lies between the fine columns 5 k + 2 and 5 k + 3.
fn passages(from: (i64, i64), to: (i64, i64), size: ImageSize, changes: &mut Vec<u64>) {
    let (dx, dy) = ((to.0 - from.0).abs(), (to.1 - from.1).abs());
    let along_x = dx >= dy;
    // Chains start at the end with the smaller coordinate on the longer axis: rounding depends on it.
    let swap = if along_x { from.0 > to.0 } else { from.1 > to.1 };
    let ((xs, ys), (xe, ye)) = if swap { (to, from) } else { (from, to) };
    let (low, high) = (xs.min(xe), xs.max(xe));
    let first = ((low - 2).max(0) + 4) / 5;
    let last = (high - 3).div_euclid(5).min(i64::from(size.width) - 1);
    if first > last {
        return;
    }
    let slope = if along_x {
        (ye - ys) as f64 / dx as f64
    } else {
        (xe - xs) as f64 / dy as f64
    };
    for column in first..=last {
        let before = 5 * column + 2;
        let row = if along_x {
            let y_at = |x: i64| (ys as f64 + slope * (x - xs) as f64 + 0.5) as i64;
            y_at(before).min(y_at(before + 1))
        } else {
            let x_at = |t: i64| (xs as f64 + slope * t as f64 + 0.5) as i64;
            let passed = |t: i64| {
                if slope > 0.0 {
                    x_at(t) > before
                } else {
                    x_at(t) <= before
                }
            };
            ys + first_where(dy, passed) - 1
        };
        let y = ((row as f64 + 0.5) / FINE - 0.5)
            .clamp(0.0, f64::from(size.height))
            .ceil();
        changes.push(column as u64 * u64::from(size.height) + y as u64);
    }
}

/// The smallest `t` in `1..=last` at which the monotonic `passed` holds.
fn first_where(last: i64, passed: impl Fn(i64) -> bool) -> i64 {
    let (mut no, mut yes) = (0, last);
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if passed(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes
}
