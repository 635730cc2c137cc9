//! The plain loop.

use super::super::{BoxWidth, NetworkBox, descending_key};
use super::{area, intersection};

/// Indices of the kept boxes by descending score. `groups` (one a box) suppress within themselves only; empty = one group.
///
/// Slices are read up to the shortest of `boxes` and `scores`.
pub fn nms(boxes: &[NetworkBox], scores: &[f32], groups: &[u32], width: BoxWidth, iou_threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len().min(scores.len())).collect();
    order.sort_by_key(|&i| (descending_key(scores[i]), i));
    let mut keep: Vec<usize> = Vec::new();
    for candidate in order {
        let rivals = keep.iter().filter(|&&k| groups.get(k) == groups.get(candidate));
        let suppressed = rivals
            .into_iter()
            .any(|&k| f64::from(iou(width, &boxes[k], &boxes[candidate])) > iou_threshold);
        if !suppressed {
            keep.push(candidate);
        }
    }
    keep
}

/// Intersection over union.
fn iou(width: BoxWidth, a: &NetworkBox, b: &NetworkBox) -> f32 {
    let edges = |b: &NetworkBox| [b.x0, b.y0, b.x1, b.y1];
    let both = intersection(edges(a), edges(b), width.extra());
    both / (area(width, a) + area(width, b) - both)
}

#[cfg(test)]
mod tests {
    use super::BoxWidth::{Continuous, Inclusive};
    use super::*;

    #[test]
    fn overlap_beyond_the_threshold_is_dropped_and_overlap_at_it_kept() {
        let boxes = [
            NetworkBox::new(0.0, 0.0, 2.0, 1.0),
            NetworkBox::new(1.0, 0.0, 3.0, 1.0), // IoU 1/3 with its neighbours
            NetworkBox::new(2.0, 0.0, 4.0, 1.0),
        ];
        let scores = [0.5, 0.9, 0.5];
        assert_eq!(nms(&boxes, &scores, &[], Continuous, 0.3), [1]);
        assert_eq!(
            nms(&boxes, &scores, &[], Continuous, f64::from(1.0f32 / 3.0)),
            [1, 0, 2]
        );
        assert_eq!(nms(&boxes, &scores, &[7, 8, 8], Continuous, 0.3), [1, 0]);
        assert_eq!(
            nms(&boxes, &[0.5; 3], &[], Continuous, 0.3),
            [0, 2],
            "ties: the lower index"
        );
    }

    #[test]
    fn the_last_pixel_belongs_to_an_inclusive_box() {
        // 3 x 2 and 3 x 2 px, of which 2 x 2 are shared: 4 / (6 + 6 - 4).
        let boxes = [NetworkBox::new(0.0, 0.0, 2.0, 1.0), NetworkBox::new(1.0, 0.0, 3.0, 1.0)];
        assert_eq!(iou(Inclusive, &boxes[0], &boxes[1]), 0.5);
        assert_eq!(nms(&boxes, &[0.5, 0.6], &[], Inclusive, 0.4), [1]);
        assert_eq!(nms(&boxes, &[0.5, 0.6], &[], Continuous, 0.4), [1, 0]);
        // A point is a pixel.
        let point = NetworkBox::new(1.0, 1.0, 1.0, 1.0);
        assert_eq!(nms(&[point, point], &[0.1, 0.2], &[], Inclusive, 0.5), [1]);
    }

    #[test]
    fn empty_boxes_do_not_suppress() {
        let point = NetworkBox::new(1.0, 1.0, 1.0, 1.0);
        assert_eq!(nms(&[point, point], &[0.1, 0.2], &[], Continuous, 0.0), [1, 0]);
        assert_eq!(nms(&[], &[], &[], Continuous, 0.5), [0usize; 0]);
    }
}
