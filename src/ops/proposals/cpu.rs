//! One implementation: choosing the best logits is nearly all of the work, and selection does that in linear time.

use super::super::box_deltas::BoxCoder;
use super::super::nms::Nms;
use super::super::{NetworkBox, descending_key, is_at_least, sigmoid};
use super::{Anchors, LevelOutput, ProposalsError, RpnSettings, base_anchors};
use crate::geometry::ImageSize;

/// The op with its anchors and scratch memory.
#[derive(Debug)]
pub struct Proposals {
    settings: RpnSettings,
    /// Around (0, 0), a level.
    base: Vec<Vec<NetworkBox>>,
    nms: Nms,
    /// Descending logit, then flattened index, of the level at work.
    best: Vec<u64>,
    boxes: Vec<NetworkBox>,
    scores: Vec<f32>,
    keep: Vec<usize>,
    /// What NMS kept of all levels.
    found: Vec<(u64, NetworkBox)>,
}

impl Proposals {
    pub fn new(settings: RpnSettings) -> Proposals {
        let base = settings
            .anchor_sizes_px
            .iter()
            .map(|sizes| base_anchors(sizes, &settings.anchor_ratios))
            .collect();
        Proposals {
            settings,
            base,
            nms: Nms::default(),
            best: Vec::new(),
            boxes: Vec::new(),
            scores: Vec::new(),
            keep: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Proposals by descending score into `boxes` and `scores` (both replaced), at most `post_nms_top_n`.
    ///
    /// `network`: the network's input with its padding, which sets the strides. `picture`: the part that shows the camera's
    /// picture, to which boxes are clipped. An anchor whose logit or box is not a number is never proposed.
    pub fn run(
        &mut self,
        levels: &[LevelOutput<'_>],
        network: ImageSize,
        picture: ImageSize,
        boxes: &mut Vec<NetworkBox>,
        scores: &mut Vec<f32>,
    ) -> Result<(), ProposalsError> {
        self.check(levels, network)?;
        self.found.clear();
        for (index, level) in levels.iter().enumerate() {
            self.level(index, level, network, picture);
        }
        // The key ends with the order of finding, so ties fall as in torchvision's stable sort.
        self.found.sort_unstable_by_key(|(key, _)| *key);
        self.found.truncate(self.settings.post_nms_top_n);
        boxes.clear();
        scores.clear();
        boxes.extend(self.found.iter().map(|(_, b)| *b));
        scores.extend(self.found.iter().map(|(key, _)| value_of((key >> 32) as u32)));
        Ok(())
    }

    fn level(&mut self, index: usize, level: &LevelOutput<'_>, network: ImageSize, picture: ImageSize) {
        let base = &self.base[index];
        let (width, cells) = (level.grid.width as usize, level.grid.area() as usize);
        select_best(level.logits, cells, self.settings.pre_nms_top_n, &mut self.best);
        let anchors = Anchors::new(base, level.grid, network);
        self.boxes.clear();
        self.scores.clear();
        for &key in &self.best {
            let (logit, flat) = (value_of((key >> 32) as u32), key as u32 as usize);
            let (cell, anchor) = (flat / base.len(), flat % base.len());
            let deltas = [0, 1, 2, 3].map(|d| level.deltas[(4 * anchor + d) * cells + cell]);
            let reference = anchors.at(cell % width, cell / width, anchor);
            let bounds = BoxCoder::RPN.decode(deltas, &reference).clip(picture);
            if is_at_least(&bounds, self.settings.min_size_px) {
                self.boxes.push(bounds);
                self.scores.push(sigmoid(logit));
            }
        }
        self.nms
            .run(&self.boxes, &self.scores, self.settings.iou_threshold, &mut self.keep);
        for &kept in &self.keep {
            let order = self.found.len() as u64;
            let key = u64::from(descending_key(self.scores[kept])) << 32 | order;
            self.found.push((key, self.boxes[kept]));
        }
    }

    fn check(&self, levels: &[LevelOutput<'_>], network: ImageSize) -> Result<(), ProposalsError> {
        let (expected, got) = (self.base.len(), levels.len());
        if expected != got {
            return Err(ProposalsError::Levels { expected, got });
        }
        for (level, (output, base)) in levels.iter().zip(&self.base).enumerate() {
            let (grid, anchors) = (output.grid, base.len());
            if grid.area() == 0 || grid.width > network.width || grid.height > network.height {
                return Err(ProposalsError::Grid { level, grid, network });
            }
            let logits = grid.area() * anchors as u64;
            let sizes = [
                ("logits", logits, output.logits.len()),
                ("deltas", 4 * logits, output.deltas.len()),
            ];
            for (tensor, expected, got) in sizes {
                if expected != got as u64 {
                    return Err(ProposalsError::Values {
                        level,
                        tensor,
                        expected,
                        got,
                        anchors,
                        grid,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The `count` highest of `logits` [A, H, W] into `best`: key `descending logit << 32 | (row, column, anchor)` flattened,
/// sorted. NaN is left out.
fn select_best(logits: &[f32], cells: usize, count: usize, best: &mut Vec<u64>) {
    best.clear();
    let anchors = logits.len() / cells;
    for (anchor, plane) in logits.chunks_exact(cells).enumerate() {
        let keys = plane.iter().enumerate().filter(|(_, v)| !v.is_nan());
        best.extend(keys.map(|(cell, &v)| u64::from(descending_key(v)) << 32 | (cell * anchors + anchor) as u64));
    }
    if count == 0 {
        best.clear();
    } else if best.len() > count {
        best.select_nth_unstable(count - 1);
        best.truncate(count);
    }
    best.sort_unstable();
}

/// Undoes [`descending_key`].
fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key } else { !key & !(1 << 31) })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
