//! Overlap of a detection with a truth: intersection over union; for a crowd intersection over the detection's own
//! area, since any part of a crowd may be one of its objects.

use super::{Crowd, Detected, Kind, Truth, Xywh};

/// IoU of every detection (row) with every truth (column), in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Overlaps {
    columns: usize,
    values: Vec<f64>,
}

impl Overlaps {
    pub(super) fn of(kind: Kind, detections: &[&Detected], truths: &[&Truth]) -> Overlaps {
        let mut values = Vec::with_capacity(detections.len() * truths.len());
        let areas: Vec<u64> = match kind {
            Kind::Boxes => Vec::new(),
            Kind::Masks => truths.iter().map(|t| t.mask.as_ref().map_or(0, |m| m.area())).collect(),
        };
        for d in detections {
            let d_area = match kind {
                Kind::Boxes => 0,
                Kind::Masks => d.mask.as_ref().map_or(0, |m| m.area()),
            };
            for (i, t) in truths.iter().enumerate() {
                values.push(match kind {
                    Kind::Boxes => of_boxes(&d.bounds, &t.bounds, t.crowd),
                    Kind::Masks => match (&d.mask, &t.mask) {
                        (Some(a), Some(b)) => of_areas(a.intersection(b), d_area, areas[i], t.crowd),
                        _ => 0.0,
                    },
                });
            }
        }
        Overlaps {
            columns: truths.len(),
            values,
        }
    }

    pub(super) fn at(&self, detection: usize, truth: usize) -> f64 {
        self.values[detection * self.columns + truth]
    }
}

/// The order of the operations is that of the COCO tools: an overlap of exactly 0.5 must stay one.
pub(super) fn of_boxes(d: &Xywh, t: &Xywh, crowd: Crowd) -> f64 {
    let width = (d.width + d.x).min(t.width + t.x) - d.x.max(t.x);
    let height = (d.height + d.y).min(t.height + t.y) - d.y.max(t.y);
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let common = width * height;
    let whole = match crowd {
        Crowd::Yes => d.area(),
        Crowd::No => d.area() + t.area() - common,
    };
    common / whole
}

pub(super) fn of_areas(common: u64, detection: u64, truth: u64, crowd: Crowd) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let whole = match crowd {
        Crowd::Yes => detection,
        Crowd::No => detection + truth - common,
    };
    common as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_divides_by_the_detection_alone() {
        let (small, large) = (Xywh::new(0.0, 0.0, 2.0, 2.0), Xywh::new(0.0, 1.0, 4.0, 4.0));
        assert_eq!(of_boxes(&small, &large, Crowd::No), 2.0 / 18.0);
        assert_eq!(of_boxes(&small, &large, Crowd::Yes), 0.5);
        assert_eq!(of_areas(2, 4, 16, Crowd::No), 2.0 / 18.0);
        assert_eq!(of_areas(2, 4, 16, Crowd::Yes), 0.5);
    }

    #[test]
    fn touching_and_empty_boxes_do_not_overlap() {
        let a = Xywh::new(0.0, 0.0, 2.0, 2.0);
        for other in [
            Xywh::new(2.0, 0.0, 2.0, 2.0),
            Xywh::new(1.0, 1.0, 0.0, 0.0),
            Xywh::new(1.0, 1.0, -3.0, 1.0),
        ] {
            assert_eq!(of_boxes(&a, &other, Crowd::No), 0.0, "{other:?}");
        }
        assert_eq!(of_areas(0, 0, 0, Crowd::No), 0.0);
    }
}
