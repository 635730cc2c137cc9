//! All images of one class -> precision and recall, by threshold, range of areas and number of detections that count.

use super::matching::{AREA_RANGES, ImageClass, THRESHOLDS, descending};

/// Recall points at which precision is sampled: 0.00, 0.01 ... 1.00.
const RECALL_POINTS: usize = 101;
/// Lesser numbers of detections of an image for which recall is given too.
const FEW: [usize; 2] = [1, 10];

/// The numbers of one class; `None` where there is nothing to be found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClassCurves {
    /// A range of areas, then thresholds: mean precision over the recall points.
    pub(super) precision: [Option<[f64; THRESHOLDS]>; 4],
    /// A range of areas, then thresholds: recall reached.
    pub(super) recall: [Option<[f64; THRESHOLDS]>; 4],
    /// Number of detections as in [`FEW`], then thresholds: recall reached over all areas.
    pub(super) recall_of_few: [Option<[f64; THRESHOLDS]>; 2],
}

/// `images` in the order of the evaluation: equal scores are taken in this order. `most` detections of each count.
pub(super) fn accumulate(images: &[&ImageClass], most: usize) -> ClassCurves {
    let mut curves = ClassCurves::default();
    for range in 0..AREA_RANGES.len() {
        if let Some(curve) = sweep(images, range, most) {
            curves.precision[range] = Some(curve.map(|c| c.mean_precision));
            curves.recall[range] = Some(curve.map(|c| c.recall));
        }
    }
    for (slot, few) in curves.recall_of_few.iter_mut().zip(FEW) {
        *slot = sweep(images, 0, few).map(|curve| curve.map(|c| c.recall));
    }
    curves
}

#[derive(Debug, Clone, Copy)]
struct Curve {
    mean_precision: f64,
    recall: f64,
}

/// From the best detection of all images to the worst.
fn sweep(images: &[&ImageClass], range: usize, most: usize) -> Option<[Curve; THRESHOLDS]> {
    let positives: usize = images.iter().map(|i| i.ranges[range].positives).sum();
    if positives == 0 {
        return None;
    }
    let mut detections: Vec<(f64, u16, u16)> = Vec::new();
    for image in images {
        let matches = &image.ranges[range];
        let marks = matches.matched.iter().zip(&matches.ignored);
        detections.extend(
            image
                .scores
                .iter()
                .zip(marks)
                .take(most)
                .map(|(&s, (&m, &i))| (s, m, i)),
        );
    }
    detections.sort_by(|a, b| descending(a.0, b.0)); // stable
    let (mut recall, mut precision) = (Vec::new(), Vec::new());
    Some(std::array::from_fn(|t| {
        let bit = 1u16 << t;
        recall.clear();
        precision.clear();
        let (mut right, mut wrong) = (0.0, 0.0);
        for (_, matched, ignored) in &detections {
            if ignored & bit == 0 {
                if matched & bit != 0 {
                    right += 1.0;
                } else {
                    wrong += 1.0;
                }
            }
            recall.push(right / positives as f64);
            precision.push(right / (wrong + right + f64::EPSILON));
        }
        Curve {
            mean_precision: mean_precision(&recall, &mut precision),
            recall: recall.last().copied().unwrap_or(0.0),
        }
    }))
}

/// The mean over the recall points of the best precision at this recall or a higher one; 0 where none is reached.
fn mean_precision(recall: &[f64], precision: &mut [f64]) -> f64 {
    for i in (1..precision.len()).rev() {
        if precision[i] > precision[i - 1] {
            precision[i - 1] = precision[i];
        }
    }
    let mut at = 0;
    let mut sum = 0.0;
    for point in 0..RECALL_POINTS {
        // numpy's linspace(0, 1, 101), to the bit
        let wanted = point as f64 * 0.01;
        while at < recall.len() && recall[at] < wanted {
            at += 1;
        }
        sum += precision.get(at).copied().unwrap_or(0.0);
    }
    sum / RECALL_POINTS as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::matching::Matches;

    fn image(positives: usize, detections: &[(f64, u16, u16)]) -> ImageClass {
        let matches = Matches {
            positives,
            matched: detections.iter().map(|d| d.1).collect(),
            ignored: detections.iter().map(|d| d.2).collect(),
        };
        ImageClass {
            class_id: 0,
            scores: detections.iter().map(|d| d.0).collect(),
            truths: positives,
            detections: detections.len(),
            ranges: [matches.clone(), matches.clone(), matches.clone(), matches],
        }
    }

    fn at_half(images: &[&ImageClass]) -> Option<(f64, f64)> {
        let curves = accumulate(images, 100);
        Some((curves.precision[0]?[0], curves.recall[0]?[0]))
    }

    #[test]
    fn right_wrong_right_of_two() {
        // recall 1/2, 1/2, 1; precision 1, 1/2, 2/3: 51 points (0.00 to 0.50) at 1, 50 at 2/3.
        let (ap, ar) = at_half(&[&image(2, &[(0.9, 1, 0), (0.8, 0, 0), (0.7, 1, 0)])]).expect("two to find");
        assert!((ap - (51.0 + 50.0 * 2.0 / 3.0) / 101.0).abs() < 1e-12, "{ap}");
        assert_eq!(ar, 1.0);
    }

    #[test]
    fn what_is_ignored_changes_nothing() {
        let with = image(2, &[(0.9, 1, 0), (0.85, 0, 1), (0.8, 0, 0), (0.7, 1, 0), (0.1, 1, 1)]);
        let without = image(2, &[(0.9, 1, 0), (0.8, 0, 0), (0.7, 1, 0)]);
        assert_eq!(at_half(&[&with]), at_half(&[&without]));
    }

    #[test]
    fn nothing_to_find_is_no_number_and_nothing_found_is_zero() {
        assert_eq!(at_half(&[&image(0, &[(0.9, 0, 0)])]), None);
        assert_eq!(at_half(&[]), None);
        assert_eq!(at_half(&[&image(3, &[])]), Some((0.0, 0.0)));
    }

    #[test]
    fn the_number_counted_is_an_image() {
        let a = image(2, &[(0.9, 0, 0), (0.8, 1, 0)]);
        let b = image(2, &[(0.7, 1, 0), (0.6, 1, 0)]);
        let curves = accumulate(&[&a, &b], 100);
        assert_eq!(curves.recall_of_few.map(|r| r.map(|r| r[0])), [Some(0.25), Some(0.75)]);
        assert_eq!(curves.recall[0].map(|r| r[0]), Some(0.75));
        assert_eq!(accumulate(&[&a, &b], 1).recall[0].map(|r| r[0]), Some(0.25));
    }
}
