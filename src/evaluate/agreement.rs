//! How far two engines agree on the same pictures: which objects both find, and how much their masks and scores differ.
//! One is the reference, the other the candidate. Truth plays no part here.
//!
//! Objects are those from a score on. They are paired by class and IoU of their boxes, the best pair first; boxes and not
//! masks, so that a spoilt mask is measured and not taken for a lost object. Unpaired objects of the reference are lost,
//! those of the candidate added; one whose score crosses the threshold is so too.

use serde::Serialize;

use super::iou::{of_areas, of_boxes};
use super::{Crowd, Detected, Xywh};

/// What counts as an object, and as the same one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    pub score_threshold: f64,
    pub iou_threshold: f64,
}

/// One object that both found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// `None` when neither has a mask.
    pub mask_iou: Option<f64>,
    /// Candidate less reference.
    pub score_shift: f64,
    /// Of the four edges of the box, how far the furthest moved, px.
    pub edge_shift_px: f64,
}

/// Two answers about one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PictureAgreement {
    pub pairs: Vec<Pair>,
    pub lost: usize,
    pub added: usize,
}

/// Answers about many pictures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Agreement {
    pictures: Vec<(String, PictureAgreement)>,
}

/// The numbers of an [`Agreement`]; `None` where nothing was paired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Totals {
    pub pictures: usize,
    pub matched: usize,
    pub lost: usize,
    pub added: usize,
    pub mean_mask_iou: Option<f64>,
    pub worst_mask_iou: Option<f64>,
    /// Of magnitudes.
    pub mean_score_shift: Option<f64>,
    pub max_score_shift: Option<f64>,
    /// Of the furthest edge of each box.
    pub mean_edge_shift_px: Option<f64>,
    /// Of all but the hundredth that moved most.
    pub p99_edge_shift_px: Option<f64>,
    pub max_edge_shift_px: Option<f64>,
}

/// A picture with little agreement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    pub picture: String,
    pub lost: usize,
    pub added: usize,
    pub worst_mask_iou: Option<f64>,
}

impl PictureAgreement {
    pub fn of(reference: &[Detected], candidate: &[Detected], rules: &Rules) -> PictureAgreement {
        let objects = |all| -> Vec<&Detected> { objects(all, rules).collect() };
        let (reference, candidate) = (objects(reference), objects(candidate));
        let mut near = Vec::new();
        for (i, r) in reference.iter().enumerate() {
            for (j, c) in candidate.iter().enumerate().filter(|(_, c)| c.class_id == r.class_id) {
                let iou = of_boxes(&c.bounds, &r.bounds, Crowd::No);
                if iou >= rules.iou_threshold {
                    near.push((iou, i, j));
                }
            }
        }
        // Stable: equal overlaps keep the order of the scores in which objects are given.
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut taken_r, mut taken_c) = (vec![false; reference.len()], vec![false; candidate.len()]);
        let mut pairs = Vec::new();
        for (_, i, j) in near {
            if taken_r[i] || taken_c[j] {
                continue;
            }
            (taken_r[i], taken_c[j]) = (true, true);
            pairs.push(Pair {
                mask_iou: mask_iou(reference[i], candidate[j]),
                score_shift: candidate[j].score - reference[i].score,
                edge_shift_px: edge_shift(&reference[i].bounds, &candidate[j].bounds),
            });
        }
        PictureAgreement {
            lost: reference.len() - pairs.len(),
            added: candidate.len() - pairs.len(),
            pairs,
        }
    }

    fn worst_mask_iou(&self) -> Option<f64> {
        self.pairs
            .iter()
            .filter_map(|pair| pair.mask_iou)
            .min_by(f64::total_cmp)
    }

    /// Orders pictures: an object that only one found weighs as one whose masks have nothing in common.
    fn distance(&self) -> f64 {
        let masks: f64 = self
            .pairs
            .iter()
            .filter_map(|pair| pair.mask_iou)
            .map(|iou| 1.0 - iou)
            .sum();
        (self.lost + self.added) as f64 + masks
    }
}

impl Agreement {
    pub fn add(&mut self, picture: String, agreement: PictureAgreement) {
        self.pictures.push((picture, agreement));
    }

    pub fn totals(&self) -> Totals {
        let of = |part: fn(&PictureAgreement) -> usize| self.pictures.iter().map(|(_, p)| part(p)).sum();
        let pairs = || self.pictures.iter().flat_map(|(_, p)| &p.pairs);
        let ious: Vec<f64> = pairs().filter_map(|pair| pair.mask_iou).collect();
        let shifts: Vec<f64> = pairs().map(|pair| pair.score_shift.abs()).collect();
        let mut edges: Vec<f64> = pairs().map(|pair| pair.edge_shift_px).collect();
        edges.sort_by(f64::total_cmp);
        Totals {
            pictures: self.pictures.len(),
            matched: shifts.len(),
            lost: of(|p| p.lost),
            added: of(|p| p.added),
            mean_mask_iou: mean(&ious),
            worst_mask_iou: ious.iter().copied().min_by(f64::total_cmp),
            mean_score_shift: mean(&shifts),
            max_score_shift: shifts.iter().copied().max_by(f64::total_cmp),
            mean_edge_shift_px: mean(&edges),
            p99_edge_shift_px: edges.get(edges.len().saturating_sub(1) * 99 / 100).copied(),
            max_edge_shift_px: edges.last().copied(),
        }
    }

    /// The `count` pictures with least agreement, the worst first; none on which there is nothing to say.
    pub fn worst(&self, count: usize) -> Vec<Worst> {
        let mut order: Vec<&(String, PictureAgreement)> =
            self.pictures.iter().filter(|(_, p)| p.distance() > 0.0).collect();
        order.sort_by(|a, b| b.1.distance().total_cmp(&a.1.distance()));
        let one = |(picture, p): &(String, PictureAgreement)| Worst {
            picture: picture.clone(),
            lost: p.lost,
            added: p.added,
            worst_mask_iou: p.worst_mask_iou(),
        };
        order.into_iter().take(count).map(one).collect()
    }
}

impl Totals {
    /// Objects that only one of the two found, of all that either found: 0 to 1, `None` when there are none.
    pub fn unmatched(&self) -> Option<f64> {
        let alone = self.lost + self.added;
        let all = alone + self.matched;
        (all > 0).then(|| alone as f64 / all as f64)
    }
}

fn objects<'a>(all: &'a [Detected], rules: &Rules) -> impl Iterator<Item = &'a Detected> {
    let from = rules.score_threshold;
    all.iter().filter(move |d| d.score >= from)
}

/// A mask against no mask overlaps in nothing.
fn mask_iou(a: &Detected, b: &Detected) -> Option<f64> {
    match (&a.mask, &b.mask) {
        (Some(a), Some(b)) => Some(of_areas(a.intersection(b), a.area(), b.area(), Crowd::No)),
        (None, None) => None,
        _ => Some(0.0),
    }
}

fn edge_shift(a: &Xywh, b: &Xywh) -> f64 {
    let edges = |b: &Xywh| [b.x, b.y, b.x + b.width, b.y + b.height];
    let apart = edges(a).into_iter().zip(edges(b)).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f64::max)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluate::Region;
    use crate::instances::MaskRuns;

    const RULES: Rules = Rules {
        score_threshold: 0.5,
        iou_threshold: 0.5,
    };

    /// A square of side `side` at `x`, its mask full.
    fn square(class_id: u32, score: f64, x: u32, side: u32) -> Detected {
        let runs = MaskRuns {
            x,
            y: 0,
            width: side,
            height: side,
            runs: vec![0, side * side],
        };
        Detected {
            class_id,
            score,
            bounds: Xywh::new(f64::from(x), 0.0, f64::from(side), f64::from(side)),
            area_px: None,
            mask: Some(Region::from_runs(&runs)),
        }
    }

    #[test]
    fn objects_are_paired_by_class_and_overlap_the_best_first() {
        // Of the two candidates over the reference at 0 the nearer one is its pair although the other has a higher score.
        let reference = [square(0, 0.9, 0, 10), square(1, 0.8, 40, 10), square(2, 0.4, 80, 10)];
        let candidate = [square(0, 0.95, 2, 10), square(0, 0.7, 1, 10), square(2, 0.8, 40, 10)];
        let found = PictureAgreement::of(&reference, &candidate, &RULES);
        let [pair] = found.pairs[..] else { panic!("{found:?}") };
        assert!((pair.score_shift - -0.2).abs() < 1e-9, "{pair:?}");
        assert_eq!((pair.mask_iou, pair.edge_shift_px), (Some(90.0 / 110.0), 1.0));
        // Lost: class 1; added: the other of class 0, and class 2, which the reference has below the threshold elsewhere.
        assert_eq!((found.lost, found.added), (1, 2));
    }

    #[test]
    fn masks_are_measured_and_do_not_decide() {
        let mut spoilt = square(0, 0.9, 0, 10);
        spoilt.mask = None;
        let found = PictureAgreement::of(&[square(0, 0.9, 0, 10)], std::slice::from_ref(&spoilt), &RULES);
        assert_eq!(
            found.pairs,
            [Pair {
                mask_iou: Some(0.0),
                score_shift: 0.0,
                edge_shift_px: 0.0
            }]
        );
        let found = PictureAgreement::of(std::slice::from_ref(&spoilt), std::slice::from_ref(&spoilt), &RULES);
        assert_eq!(found.pairs[0].mask_iou, None);
        let mut all = Agreement::default();
        all.add("a".into(), found);
        assert_eq!((all.totals().mean_mask_iou, all.totals().matched), (None, 1));
    }

    #[test]
    fn totals_and_the_worst_pictures() {
        let mut all = Agreement::default();
        assert_eq!((all.totals().unmatched(), all.worst(3)), (None, vec![]));
        let of = |reference: &[Detected], candidate: &[Detected]| PictureAgreement::of(reference, candidate, &RULES);
        let one = [square(0, 0.8, 0, 10)];
        all.add("same".into(), of(&one, &one));
        all.add("shifted".into(), of(&one, &[square(0, 0.6, 2, 10)]));
        all.add("lost".into(), of(&one, &[]));
        all.add(
            "two more".into(),
            of(&[], &[square(0, 0.9, 0, 10), square(1, 0.9, 0, 10)]),
        );
        let totals = all.totals();
        assert_eq!(
            (totals.pictures, totals.matched, totals.lost, totals.added),
            (4, 2, 1, 2)
        );
        assert_eq!(totals.worst_mask_iou, Some(80.0 / 120.0));
        assert!((totals.mean_mask_iou.unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-9);
        assert!((totals.max_score_shift.unwrap() - 0.2).abs() < 1e-9);
        assert!((totals.mean_score_shift.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(totals.unmatched(), Some(3.0 / 5.0));
        let names: Vec<String> = all.worst(9).into_iter().map(|w| w.picture).collect();
        assert_eq!(names, ["two more", "lost", "shifted"]);
        assert_eq!(all.worst(1).len(), 1);
    }

    fn anything() -> impl Strategy<Value = Vec<Detected>> {
        let one = (0u32..2, 0u32..=10, 0u32..30, 1u32..12);
        let one = one.prop_map(|(class, score, x, side)| square(class, f64::from(score) / 10.0, x, side));
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn an_answer_agrees_with_itself_and_sides_swap(a in anything(), b in anything()) {
            let own = PictureAgreement::of(&a, &a, &RULES);
            prop_assert_eq!((own.lost, own.added), (0, 0));
            prop_assert!(own.pairs.iter().all(|p| p.mask_iou == Some(1.0)));
            let (ab, ba) = (PictureAgreement::of(&a, &b, &RULES), PictureAgreement::of(&b, &a, &RULES));
            let count = |all: &[Detected]| all.iter().filter(|d| d.score >= 0.5).count();
            prop_assert_eq!(ab.pairs.len() + ab.lost, count(&a));
            prop_assert_eq!(ab.pairs.len() + ab.added, count(&b));
            prop_assert_eq!(ba.pairs.len() + ba.lost, count(&b));
        }
    }
}
