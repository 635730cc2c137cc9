//! Which detection found which truth: greedily by descending score, at each IoU threshold and for each range of areas.

use super::iou::Overlaps;
use super::{Crowd, Detected, Kind, Truth};

/// IoU thresholds: 0.50, 0.55 ... 0.95.
pub(super) const THRESHOLDS: usize = 10;
/// Areas in px², both ends included: all, small, medium, large.
pub(super) const AREA_RANGES: [(f64, f64); 4] = [
    (0.0, 1e10),
    (0.0, 32.0 * 32.0),
    (32.0 * 32.0, 96.0 * 96.0),
    (96.0 * 96.0, 1e10),
];

/// Threshold number `t`; spelt as numpy's `linspace(0.5, 0.95, 10)` computes it, to the bit.
pub(super) fn threshold(t: usize) -> f64 {
    const STEP: f64 = (0.95 - 0.5) / 9.0;
    if t == THRESHOLDS - 1 {
        0.95
    } else {
        t as f64 * STEP + 0.5
    }
}

/// One class in one image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageClass {
    pub(super) class_id: u32,
    /// Descending, of the detections that count.
    pub(super) scores: Vec<f64>,
    /// As many as were given, crowds included.
    pub(super) truths: usize,
    pub(super) detections: usize,
    /// In the order of [`AREA_RANGES`].
    pub(super) ranges: [Matches; 4],
}

/// What became of the detections for one range of areas. Bit `t` of a mask is threshold `t`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Matches {
    /// Truths to be found: not a crowd, and within the range.
    pub(super) positives: usize,
    /// A detection: at which thresholds it found a truth.
    pub(super) matched: Vec<u16>,
    /// A detection: at which thresholds it counts neither as right nor as wrong.
    pub(super) ignored: Vec<u16>,
}

/// Matches every class that occurs in an image, in order of class id. Of each the `most` highest scores count.
pub(super) fn match_image(truths: &[Truth], detections: &[Detected], kind: Kind, most: usize) -> Vec<ImageClass> {
    let mut classes: Vec<u32> = truths
        .iter()
        .map(|t| t.class_id)
        .chain(detections.iter().map(|d| d.class_id))
        .collect();
    classes.sort_unstable();
    classes.dedup();
    classes
        .into_iter()
        .map(|class_id| {
            let truths: Vec<&Truth> = truths.iter().filter(|t| t.class_id == class_id).collect();
            let detections: Vec<&Detected> = detections.iter().filter(|d| d.class_id == class_id).collect();
            match_class(class_id, &truths, detections, kind, most)
        })
        .collect()
}

/// Orders by descending score; -0 is 0.
pub(super) fn descending(a: f64, b: f64) -> std::cmp::Ordering {
    (b + 0.0).total_cmp(&(a + 0.0))
}

fn match_class(
    class_id: u32,
    truths: &[&Truth],
    mut detections: Vec<&Detected>,
    kind: Kind,
    most: usize,
) -> ImageClass {
    let given = detections.len();
    detections.sort_by(|a, b| descending(a.score, b.score)); // stable: ties keep their order
    detections.truncate(most);
    let overlaps = Overlaps::of(kind, &detections, truths);
    let areas: Vec<f64> = detections.iter().map(|d| area(d, kind)).collect();
    ImageClass {
        class_id,
        scores: detections.iter().map(|d| d.score).collect(),
        truths: truths.len(),
        detections: given,
        ranges: AREA_RANGES.map(|range| match_range(range, truths, &areas, &overlaps)),
    }
}

fn area(detected: &Detected, kind: Kind) -> f64 {
    detected.area_px.unwrap_or_else(|| match kind {
        Kind::Boxes => detected.bounds.area(),
        Kind::Masks => detected.mask.as_ref().map_or(0.0, |m| m.area() as f64),
    })
}

fn match_range((low, high): (f64, f64), truths: &[&Truth], areas: &[f64], overlaps: &Overlaps) -> Matches {
    let outside = |area: f64| area < low || area > high;
    let passed_over: Vec<bool> = truths
        .iter()
        .map(|t| t.crowd == Crowd::Yes || outside(t.area_px))
        .collect();
    // Truths to be found come first: a detection takes one of the others only when none of those fits.
    let mut order: Vec<usize> = (0..truths.len()).collect();
    order.sort_by_key(|&i| passed_over[i]);

    let mut matches = Matches {
        positives: passed_over.iter().filter(|&&p| !p).count(),
        matched: vec![0; areas.len()],
        ignored: vec![0; areas.len()],
    };
    let mut taken = vec![false; truths.len()];
    for t in 0..THRESHOLDS {
        taken.fill(false);
        let bit = 1u16 << t;
        for (d, &area) in areas.iter().enumerate() {
            match best(d, threshold(t), &order, truths, &passed_over, &taken, overlaps) {
                Some(found) => {
                    taken[found] = true;
                    matches.matched[d] |= bit;
                    if passed_over[found] {
                        matches.ignored[d] |= bit;
                    }
                }
                None if outside(area) => matches.ignored[d] |= bit,
                None => {}
            }
        }
    }
    matches
}

/// The truth that overlaps detection `d` most, and at least by `threshold`; of equal ones the last.
fn best(
    d: usize,
    threshold: f64,
    order: &[usize],
    truths: &[&Truth],
    passed_over: &[bool],
    taken: &[bool],
    overlaps: &Overlaps,
) -> Option<usize> {
    let mut least = threshold.min(1.0 - 1e-10);
    let mut found: Option<usize> = None;
    for &i in order {
        if taken[i] && truths[i].crowd == Crowd::No {
            continue;
        }
        if passed_over[i] && found.is_some_and(|f| !passed_over[f]) {
            break;
        }
        let overlap = overlaps.at(d, i);
        if overlap >= least {
            least = overlap;
            found = Some(i);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Xywh;

    fn truth(x: f64, width: f64, crowd: Crowd) -> Truth {
        Truth {
            class_id: 0,
            bounds: Xywh::new(x, 0.0, width, 10.0),
            area_px: width * 10.0,
            crowd,
            mask: None,
        }
    }

    fn detected(x: f64, width: f64, score: f64) -> Detected {
        Detected {
            class_id: 0,
            score,
            bounds: Xywh::new(x, 0.0, width, 10.0),
            area_px: None,
            mask: None,
        }
    }

    fn all_areas(truths: &[Truth], detections: &[Detected]) -> Matches {
        match_image(truths, detections, Kind::Boxes, 100)
            .first()
            .map(|c| c.ranges[0].clone())
            .unwrap_or_default()
    }

    #[test]
    fn thresholds_are_numpys() {
        let bits: Vec<u64> = (0..THRESHOLDS).map(|t| threshold(t).to_bits()).collect();
        // numpy.linspace(.5, .95, 10).view(numpy.uint64)
        let numpy = [
            0x3fe0000000000000,
            0x3fe199999999999a,
            0x3fe3333333333333,
            0x3fe4cccccccccccd,
            0x3fe6666666666666,
            0x3fe8000000000000,
            0x3fe999999999999a,
            0x3feb333333333333,
            0x3feccccccccccccc,
            0x3fee666666666666,
        ];
        assert_eq!(bits, numpy);
    }

    #[test]
    fn an_overlap_of_exactly_a_half_is_a_match_at_a_half_only() {
        let m = all_areas(&[truth(0.0, 10.0, Crowd::No)], &[detected(0.0, 5.0, 0.9)]);
        assert_eq!((m.positives, m.matched, m.ignored), (1, vec![1], vec![0]));
    }

    #[test]
    fn the_higher_score_takes_the_truth_and_the_other_is_wrong() {
        let m = all_areas(
            &[truth(0.0, 10.0, Crowd::No)],
            &[detected(0.0, 10.0, 0.2), detected(0.0, 9.0, 0.8)],
        );
        // In order of score: 0.8 with IoU 0.9 up to threshold 0.90 (bit 8), then 0.2 with IoU 1 above it.
        assert_eq!(m.matched, [0b01_1111_1111, 0b10_0000_0000]);
        assert_eq!(m.ignored, [0, 0]);
    }

    #[test]
    fn a_crowd_swallows_any_number_of_detections() {
        let m = all_areas(
            &[truth(0.0, 100.0, Crowd::Yes)],
            &[
                detected(0.0, 10.0, 0.9),
                detected(50.0, 10.0, 0.8),
                detected(300.0, 10.0, 0.7),
            ],
        );
        assert_eq!(m.positives, 0);
        assert_eq!(m.matched, [0x3ff, 0x3ff, 0]);
        assert_eq!(m.ignored, [0x3ff, 0x3ff, 0]);
    }

    #[test]
    fn a_truth_to_be_found_goes_before_a_better_fitting_crowd() {
        let m = all_areas(
            &[truth(0.0, 100.0, Crowd::Yes), truth(0.0, 10.0, Crowd::No)],
            &[detected(0.0, 8.0, 0.9)],
        );
        assert_eq!(m.matched, [0x3ff]);
        assert_eq!(m.ignored, [0b11_1000_0000], "0.8 with the object, then only the crowd");
    }

    #[test]
    fn what_is_outside_the_area_range_is_neither_right_nor_wrong() {
        let found = match_image(
            &[truth(0.0, 200.0, Crowd::No)],
            &[detected(0.0, 200.0, 0.9), detected(900.0, 200.0, 0.8)],
            Kind::Boxes,
            100,
        );
        let [all, small, medium, large] = &found[0].ranges;
        assert_eq!(
            (all.positives, small.positives, medium.positives, large.positives),
            (1, 0, 1, 0)
        );
        assert_eq!((&small.matched, &small.ignored), (&vec![0x3ff, 0], &vec![0x3ff, 0x3ff]));
        assert_eq!((&medium.matched, &medium.ignored), (&vec![0x3ff, 0], &vec![0, 0]));
    }

    #[test]
    fn only_the_hundred_best_count_and_ties_keep_their_order() {
        let many: Vec<Detected> = (0..150).map(|i| detected(f64::from(i), 10.0, 0.5)).collect();
        let found = match_image(
            &[truth(99.0, 10.0, Crowd::No), truth(400.0, 10.0, Crowd::No)],
            &many,
            Kind::Boxes,
            100,
        );
        assert_eq!((found[0].scores.len(), found[0].detections), (100, 150));
        // IoU of numbers 96 to 99: 7/13, 8/12, 9/11 and 1; each takes the truth where those before it fall short.
        assert_eq!(
            found[0].ranges[0].matched[96..],
            [0b1, 0b1110, 0b111_0000, 0b11_1000_0000]
        );
        assert!(found[0].ranges[0].matched[..96].iter().all(|&m| m == 0));
    }
}
