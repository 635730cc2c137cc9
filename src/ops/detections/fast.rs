//! The same with boxes decoded only where a class scores, and proposals shared among the rayon pool's threads.

use rayon::prelude::*;

use super::super::NetworkBox;
use super::super::nms::Nms;
use super::{DetectionsError, HeadSettings, softmax};
use crate::geometry::ImageSize;
use crate::instances::Detection;

/// Proposals a thread takes at a time.
const PROPOSALS_A_TASK: usize = 64;

/// The op with its scratch memory.
#[derive(Debug)]
pub struct Detections {
    settings: HeadSettings,
    nms: Nms,
    /// One a task.
    tasks: Vec<Candidates>,
    all: Candidates,
    keep: Vec<usize>,
}

/// What scores, in order of (proposal, class).
#[derive(Debug, Default)]
struct Candidates {
    boxes: Vec<NetworkBox>,
    scores: Vec<f32>,
    classes: Vec<u32>,
    softmax: Vec<f32>,
}

impl Detections {
    pub fn new(settings: HeadSettings) -> Detections {
        Detections {
            settings,
            nms: Nms::default(),
            tasks: Vec::new(),
            all: Candidates::default(),
            keep: Vec::new(),
        }
    }

    /// Detections by descending score into `found` (replaced), in the current rayon pool.
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
        let settings = &self.settings;
        let count = proposals.len().div_ceil(PROPOSALS_A_TASK);
        self.tasks.resize_with(count.max(self.tasks.len()), Candidates::default);
        self.tasks
            .par_iter_mut()
            .zip(logits.par_chunks(classes * PROPOSALS_A_TASK))
            .zip(deltas.par_chunks(4 * classes * PROPOSALS_A_TASK))
            .zip(proposals.par_chunks(PROPOSALS_A_TASK))
            .for_each(|(((task, logits), deltas), proposals)| {
                task.fill(settings, classes, logits, deltas, proposals, picture);
            });
        let all = &mut self.all;
        all.clear();
        for task in &self.tasks[..count] {
            all.boxes.extend_from_slice(&task.boxes);
            all.scores.extend_from_slice(&task.scores);
            all.classes.extend_from_slice(&task.classes);
        }
        self.nms.run_grouped(
            &all.boxes,
            &all.scores,
            &all.classes,
            settings.coder.width,
            settings.iou_threshold,
            &mut self.keep,
        );
        self.keep.truncate(settings.max_detections);
        found.extend(self.keep.iter().map(|&i| Detection {
            class_id: all.classes[i],
            score: all.scores[i],
            bounds: all.boxes[i],
        }));
        Ok(())
    }
}

impl Candidates {
    fn clear(&mut self) {
        self.boxes.clear();
        self.scores.clear();
        self.classes.clear();
    }

    fn fill(
        &mut self,
        settings: &HeadSettings,
        classes: usize,
        logits: &[f32],
        deltas: &[f32],
        proposals: &[NetworkBox],
        picture: ImageSize,
    ) {
        self.clear();
        let rows = logits.chunks_exact(classes).zip(deltas.chunks_exact(4 * classes));
        for ((logits, deltas), proposal) in rows.zip(proposals) {
            softmax(logits, &mut self.softmax);
            for (class, (&score, d)) in self.softmax.iter().zip(deltas.chunks_exact(4)).enumerate().skip(1) {
                // Compared so that a score which is not a number fails.
                if score > settings.score_threshold {
                    let decoded = settings.coder.decode([d[0], d[1], d[2], d[3]], proposal);
                    if let Some(bounds) = settings.coder.width.cut(&decoded, picture, settings.min_size_px) {
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
