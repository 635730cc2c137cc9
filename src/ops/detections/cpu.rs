//! The plain form.

use super::super::NetworkBox;
use super::super::nms::nms;
use super::{HeadSettings, softmax};
use crate::geometry::ImageSize;
use crate::instances::Detection;

/// Detections by descending score; `logits` [R, K] and `deltas` [R, 4 K] fit each other, K >= 2.
pub(crate) fn detections(
    settings: &HeadSettings,
    logits: &[f32],
    deltas: &[f32],
    proposals: &[NetworkBox],
    picture: ImageSize,
) -> Vec<Detection> {
    let classes = logits.len().checked_div(proposals.len()).unwrap_or(0);
    let (mut boxes, mut scores, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (row, proposal) in proposals.iter().enumerate() {
        let mut of_classes = Vec::new();
        softmax(&logits[row * classes..(row + 1) * classes], &mut of_classes);
        for (class, score) in of_classes.into_iter().enumerate().skip(1) {
            let at = 4 * (row * classes + class);
            let deltas = [0, 1, 2, 3].map(|d| deltas[at + d]);
            let decoded = settings.coder.decode(deltas, proposal);
            let bounds = settings.coder.width.cut(&decoded, picture, settings.min_size_px);
            // A score that is not a number is above nothing.
            if let Some(bounds) = bounds
                && score > settings.score_threshold
            {
                boxes.push(bounds);
                scores.push(score);
                ids.push(class as u32 - 1);
            }
        }
    }
    let keep = nms(&boxes, &scores, &ids, settings.coder.width, settings.iou_threshold);
    let detection = |i: usize| Detection {
        class_id: ids[i],
        score: scores[i],
        bounds: boxes[i],
    };
    keep.into_iter().take(settings.max_detections).map(detection).collect()
}
