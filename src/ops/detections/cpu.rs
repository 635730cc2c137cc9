//! One implementation: a few hundred softmaxes, then NMS.

use super::super::nms::Nms;
use super::super::{NetworkBox, is_at_least};
use super::{DetectionsError, HeadSettings};
use crate::geometry::ImageSize;
use crate::instances::Detection;

/// The op with its scratch memory.
#[derive(Debug)]
pub struct Detections {
    settings: HeadSettings,
    nms: Nms,
    boxes: Vec<NetworkBox>,
    scores: Vec<f32>,
    classes: Vec<u32>,
    softmax: Vec<f32>,
    keep: Vec<usize>,
}

impl Detections {
    pub fn new(settings: HeadSettings) -> Detections {
        Detections {
            settings,
            nms: Nms::default(),
            boxes: Vec::new(),
            scores: Vec::new(),
            classes: Vec::new(),
            softmax: Vec::new(),
            keep: Vec::new(),
        }
    }

    /// Detections by descending score into `found` (replaced).
    ///
    /// `logits` [R, K] with the background at 0, `deltas` [R, 4 K], `proposals` [R]; `picture`: the part of the network's
    /// input that shows the camera's picture. The class id of a detection is its column - 1.
    pub fn run(
        &mut self,
        logits: &[f32],
        deltas: &[f32],
        proposals: &[NetworkBox],
        picture: ImageSize,
        found: &mut Vec<Detection>,
    ) -> Result<(), DetectionsError> {
        found.clear();
        let Some(classes) = classes_of(logits, deltas, proposals.len())? else {
            return Ok(());
        };
        self.candidates(logits, deltas, proposals, picture, classes);
        let iou_threshold = self.settings.iou_threshold;
        self.nms
            .run_grouped(&self.boxes, &self.scores, &self.classes, iou_threshold, &mut self.keep);
        self.keep.truncate(self.settings.max_detections);
        found.extend(self.keep.iter().map(|&i| Detection {
            class_id: self.classes[i],
            score: self.scores[i],
            bounds: self.boxes[i],
        }));
        Ok(())
    }

    /// Every foreground class of every proposal that scores, in that order.
    fn candidates(
        &mut self,
        logits: &[f32],
        deltas: &[f32],
        proposals: &[NetworkBox],
        picture: ImageSize,
        classes: usize,
    ) {
        self.boxes.clear();
        self.scores.clear();
        self.classes.clear();
        let rows = logits
            .chunks_exact(classes)
            .zip(deltas.chunks_exact(4 * classes))
            .zip(proposals);
        for ((logits, deltas), proposal) in rows {
            softmax(logits, &mut self.softmax);
            for (class, (&score, d)) in self.softmax.iter().zip(deltas.chunks_exact(4)).enumerate().skip(1) {
                // Compared so that a score which is not a number fails.
                if score > self.settings.score_threshold {
                    let bounds = self
                        .settings
                        .coder
                        .decode([d[0], d[1], d[2], d[3]], proposal)
                        .clip(picture);
                    if is_at_least(&bounds, self.settings.min_size_px) {
                        self.boxes.push(bounds);
                        self.scores.push(score);
                        self.classes.push(class as u32 - 1);
                    }
                }
            }
        }
    }
}

/// K; `None` when there is no proposal.
fn classes_of(logits: &[f32], deltas: &[f32], proposals: usize) -> Result<Option<usize>, DetectionsError> {
    let classes = logits.len().checked_div(proposals).unwrap_or(0);
    if classes * proposals != logits.len() || (proposals > 0 && classes < 2) {
        return Err(DetectionsError::Logits {
            proposals,
            got: logits.len(),
        });
    }
    let (expected, got) = (4 * logits.len(), deltas.len());
    if expected != got {
        return Err(DetectionsError::Deltas {
            proposals,
            classes,
            expected,
            got,
        });
    }
    Ok((proposals > 0).then_some(classes))
}

/// e^x of each over their sum, with the largest taken out first so that none overflows.
fn softmax(logits: &[f32], out: &mut Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.clear();
    out.extend(logits.iter().map(|v| (v - largest).exp()));
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::goldens::{assert_boxes, assert_close, boxes, floats, golden, indices, size};

    fn settings() -> HeadSettings {
        HeadSettings::torchvision()
    }

    #[test]
    fn two_proposals_of_one_object_give_one_detection_a_class() {
        let proposals = [
            NetworkBox::new(10.0, 10.0, 50.0, 50.0),
            NetworkBox::new(11.0, 10.0, 50.0, 50.0),
        ];
        // Softmax of (0, ln 3, 0): 1/5, 3/5, 1/5.
        let logits = [0.0, 3f32.ln(), 0.0, 0.0, 3f32.ln() - 1.0, -90.0];
        let mut found = vec![];
        let mut op = Detections::new(settings());
        op.run(&logits, &[0.0; 24], &proposals, ImageSize::new(48, 100), &mut found)
            .unwrap();
        let got: Vec<_> = found
            .iter()
            .map(|d| (d.class_id, (d.score * 100.0).round(), d.bounds))
            .collect();
        let clipped = NetworkBox::new(10.0, 10.0, 48.0, 50.0);
        assert_eq!(got, [(0, 60.0, clipped), (1, 20.0, clipped)]);
    }

    #[test]
    fn scores_at_the_threshold_or_not_a_number_are_dropped() {
        let proposals = [NetworkBox::new(10.0, 10.0, 50.0, 50.0); 2];
        let mut op = Detections::new(HeadSettings {
            score_threshold: 0.5,
            ..settings()
        });
        let mut found = vec![];
        op.run(
            &[0.0, 0.0, 0.0, f32::NAN],
            &[0.0; 16],
            &proposals,
            ImageSize::new(99, 99),
            &mut found,
        )
        .unwrap();
        assert_eq!(found, []);
    }

    #[test]
    fn no_proposals_give_none_and_wrong_sizes_are_named() {
        let (mut op, mut found) = (Detections::new(settings()), vec![]);
        let picture = ImageSize::new(99, 99);
        assert_eq!(op.run(&[], &[], &[], picture, &mut found), Ok(()));
        let one = [NetworkBox::new(0.0, 0.0, 9.0, 9.0)];
        let error = op
            .run(&[0.0; 3], &[0.0; 8], &one, picture, &mut found)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "8 box deltas: expected 12 for 1 proposals and 3 classes");
        for logits in [0, 1] {
            assert!(op.run(&[0.0; 1][..logits], &[], &one, picture, &mut found).is_err());
        }
        assert!(
            op.run(&[0.0; 3], &[0.0; 12], &one.repeat(2), picture, &mut found)
                .is_err()
        );
    }

    #[test]
    fn as_torchvision() {
        let g = golden("detections.json");
        let mut op = Detections::new(HeadSettings {
            score_threshold: g["score_threshold"].as_f64().unwrap() as f32,
            iou_threshold: g["iou_threshold"].as_f64().unwrap(),
            max_detections: g["max_detections"].as_u64().unwrap() as usize,
            ..settings()
        });
        let mut found = vec![];
        let (logits, deltas) = (floats(&g["logits"]), floats(&g["deltas"]));
        op.run(
            &logits,
            &deltas,
            &boxes(&g["proposals"]),
            size(&g["picture"]),
            &mut found,
        )
        .unwrap();
        let labels: Vec<usize> = found.iter().map(|d| d.class_id as usize + 1).collect();
        assert_eq!(labels, indices(&g["labels"]));
        assert_close(
            &found.iter().map(|d| d.score).collect::<Vec<_>>(),
            &floats(&g["scores"]),
            1e-6,
        );
        assert_boxes(
            &found.iter().map(|d| d.bounds).collect::<Vec<_>>(),
            &boxes(&g["boxes"]),
            5e-4,
        );
    }
}
