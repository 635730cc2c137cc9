//! The plain form: every anchor is sorted.

use super::super::nms::nms;
use super::super::{NetworkBox, descending_key, sigmoid};
use super::{LevelOutput, RpnSettings};
use crate::geometry::ImageSize;

/// Proposals by descending score; inputs as [`RpnSettings::check`] wants them.
pub(crate) fn proposals(
    settings: &RpnSettings,
    levels: &[LevelOutput<'_>],
    network: ImageSize,
    picture: ImageSize,
) -> Vec<(NetworkBox, f32)> {
    let mut found = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let count = settings.base_anchors[index].len();
        let anchors = settings.anchors(index, level.grid, network);
        let mut order: Vec<usize> = (0..level.logits.len()).filter(|&i| !level.logits[i].is_nan()).collect();
        order.sort_by_key(|&i| descending_key(level.logits[i]));
        order.truncate(settings.pre_nms_top_n);
        let (mut boxes, mut scores) = (Vec::new(), Vec::new());
        for flat in order {
            let (cell, width) = (flat / count, level.grid.width as usize);
            let deltas = [0, 1, 2, 3].map(|d| level.deltas[4 * flat + d]);
            let anchor = anchors.at(cell % width, cell / width, flat % count);
            let decoded = settings.coder.decode(deltas, &anchor);
            if let Some(bounds) = settings.coder.width.cut(&decoded, picture, settings.min_size_px) {
                boxes.push(bounds);
                scores.push(sigmoid(level.logits[flat]));
            }
        }
        let keep = nms(&boxes, &scores, &[], settings.coder.width, settings.iou_threshold);
        found.extend(keep.into_iter().map(|i| (boxes[i], scores[i])));
    }
    found.sort_by_key(|(_, score)| descending_key(*score));
    found.truncate(settings.post_nms_top_n);
    found
}
