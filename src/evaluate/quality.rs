//! How well one picture went: panoptic quality (Kirillov et al., 2019, equation 1) over all classes together, of the
//! detections that a score keeps.

use super::iou::Overlaps;
use super::{Crowd, Detected, Kind, Truth};

/// IoU above which a detection has found a truth of its class.
const MATCH: f64 = 0.5;

/// What became of the objects of one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quality {
    pub found: usize,
    /// Truths that no detection found.
    pub missed: usize,
    /// Detections that found no truth; those on a crowd of their class do not count.
    pub wrong: usize,
    /// Sum of the found ones' IoU.
    overlap: f64,
}

impl Quality {
    /// `detections`: those that would be shown. Pairs of one class are made by falling IoU: masks may overlap, so two
    /// detections may lie more than half on one truth, and only the better one has found it.
    pub fn of(truths: &[Truth], detections: &[Detected], kind: Kind) -> Quality {
        let objects: Vec<&Truth> = truths.iter().collect();
        let shown: Vec<&Detected> = detections.iter().collect();
        let overlaps = Overlaps::of(kind, &shown, &objects);
        let mut pairs = Vec::new();
        for (d, detected) in shown.iter().enumerate() {
            for (t, truth) in objects.iter().enumerate() {
                if detected.class_id == truth.class_id && overlaps.at(d, t) > MATCH {
                    pairs.push((overlaps.at(d, t), d, t));
                }
            }
        }
        // Objects before crowds: what lies in a crowd overlaps it wholly. Stable: equal ones in the order given.
        let is_crowd = |t: usize| objects[t].crowd == Crowd::Yes;
        pairs.sort_by(|a, b| is_crowd(a.2).cmp(&is_crowd(b.2)).then(b.0.total_cmp(&a.0)));
        let (mut of_detection, mut of_truth) = (vec![false; shown.len()], vec![false; objects.len()]);
        let mut quality = Quality::default();
        for (overlap, d, t) in pairs {
            let crowd = is_crowd(t);
            if of_detection[d] || (of_truth[t] && !crowd) {
                continue;
            }
            (of_detection[d], of_truth[t]) = (true, true);
            if !crowd {
                quality.found += 1;
                quality.overlap += overlap;
            }
        }
        quality.wrong = of_detection.iter().filter(|&&hit| !hit).count();
        let single = objects.iter().filter(|t| t.crowd == Crowd::No).count();
        quality.missed = single - quality.found;
        quality
    }

    /// 0..=1; 1 where nothing was there and nothing was found.
    pub fn value(&self) -> f64 {
        let of = self.found as f64 + 0.5 * (self.missed + self.wrong) as f64;
        if of == 0.0 { 1.0 } else { self.overlap / of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Xywh;

    fn truth(class_id: u32, x: f64, crowd: Crowd) -> Truth {
        Truth {
            class_id,
            bounds: Xywh::new(x, 0.0, 10.0, 10.0),
            area_px: 100.0,
            crowd,
            mask: None,
        }
    }

    fn detected(class_id: u32, x: f64) -> Detected {
        Detected {
            class_id,
            score: 0.9,
            bounds: Xywh::new(x, 0.0, 10.0, 10.0),
            area_px: None,
            mask: None,
        }
    }

    fn quality(truths: &[Truth], detections: &[Detected]) -> Quality {
        Quality::of(truths, detections, Kind::Boxes)
    }

    #[test]
    fn found_missed_and_wrong() {
        let truths = [
            truth(0, 0.0, Crowd::No),
            truth(0, 50.0, Crowd::No),
            truth(1, 100.0, Crowd::No),
        ];
        // Shifted by one: 9 / 11. Another class on the second. Nothing on the third.
        let q = quality(&truths, &[detected(0, 1.0), detected(1, 50.0)]);
        assert_eq!((q.found, q.missed, q.wrong), (1, 2, 1));
        assert!((q.value() - (9.0 / 11.0) / 2.5).abs() < 1e-12);
    }

    #[test]
    fn the_better_of_two_has_found_it_whatever_their_order() {
        let truths = [truth(0, 0.0, Crowd::No)];
        for detections in [
            [detected(0, 2.0), detected(0, 0.0)],
            [detected(0, 0.0), detected(0, 2.0)],
        ] {
            let q = quality(&truths, &detections);
            assert_eq!((q.found, q.missed, q.wrong), (1, 0, 1));
            assert!((q.value() - 1.0 / 1.5).abs() < 1e-12);
        }
    }

    #[test]
    fn exactly_half_is_not_found() {
        let mut wide = detected(0, 0.0);
        wide.bounds.width = 20.0;
        let q = quality(&[truth(0, 0.0, Crowd::No)], &[wide]);
        assert_eq!((q.found, q.missed, q.wrong), (0, 1, 1));
    }

    #[test]
    fn a_crowd_counts_neither_way() {
        let q = quality(&[truth(0, 0.0, Crowd::Yes)], &[detected(0, 0.0), detected(0, 1.0)]);
        assert_eq!((q.found, q.missed, q.wrong), (0, 0, 0));
        assert_eq!(q.value(), 1.0);
        // An object in a crowd is found as one, though the crowd overlaps its detection more.
        let mut around = truth(0, 0.0, Crowd::Yes);
        around.bounds.width = 60.0;
        let q = quality(&[around, truth(0, 1.0, Crowd::No)], &[detected(0, 0.0)]);
        assert_eq!((q.found, q.missed, q.wrong), (1, 0, 0));
        assert_eq!(quality(&[], &[]).value(), 1.0);
        assert_eq!(quality(&[], &[detected(0, 0.0)]).value(), 0.0);
    }
}
