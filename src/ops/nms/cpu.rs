//! The plain loop.

use super::super::{NetworkBox, descending_key};

/// Indices of the kept boxes by descending score. `groups` (one a box) suppress within themselves only; empty = one group.
///
/// Slices are read up to the shortest of `boxes` and `scores`.
pub fn nms(boxes: &[NetworkBox], scores: &[f32], groups: &[u32], iou_threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len().min(scores.len())).collect();
    order.sort_by_key(|&i| (descending_key(scores[i]), i));
    let mut keep: Vec<usize> = Vec::new();
    for candidate in order {
        let rivals = keep.iter().filter(|&&k| groups.get(k) == groups.get(candidate));
        let suppressed = rivals
            .into_iter()
            .any(|&k| f64::from(iou(&boxes[k], &boxes[candidate])) > iou_threshold);
        if !suppressed {
            keep.push(candidate);
        }
    }
    keep
}

/// Intersection over union.
pub(super) fn iou(a: &NetworkBox, b: &NetworkBox) -> f32 {
    let width = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
    let height = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
    let both = width * height;
    both / (a.width() * a.height() + b.width() * b.height() - both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_beyond_the_threshold_is_dropped_and_overlap_at_it_kept() {
        let boxes = [
            NetworkBox::new(0.0, 0.0, 2.0, 1.0),
            NetworkBox::new(1.0, 0.0, 3.0, 1.0), // IoU 1/3 with its neighbours
            NetworkBox::new(2.0, 0.0, 4.0, 1.0),
        ];
        let scores = [0.5, 0.9, 0.5];
        assert_eq!(nms(&boxes, &scores, &[], 0.3), [1]);
        assert_eq!(nms(&boxes, &scores, &[], f64::from(1.0f32 / 3.0)), [1, 0, 2]);
        assert_eq!(nms(&boxes, &scores, &[7, 8, 8], 0.3), [1, 0]);
        assert_eq!(nms(&boxes, &[0.5; 3], &[], 0.3), [0, 2], "ties: the lower index");
    }

    #[test]
    fn empty_boxes_do_not_suppress() {
        let point = NetworkBox::new(1.0, 1.0, 1.0, 1.0);
        assert_eq!(nms(&[point, point], &[0.1, 0.2], &[], 0.0), [1, 0]);
        assert_eq!(nms(&[], &[], &[], 0.5), [0usize; 0]);
    }
}
