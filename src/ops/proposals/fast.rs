//! The same without sorting what cannot be proposed: one pass over the logits keeps those above a floor that rises with
//! what was found. Levels are shared among the rayon pool's threads. Five levels of 1088x800, 1000 each, take 0.9 ms of
//! one core's time with AVX-512.

use rayon::prelude::*;

use super::super::lanes::{Kernel, Lanes, dispatch};
use super::super::nms::Nms;
use super::super::{NetworkBox, descending_key, sigmoid, value_of_key};
use super::{LevelOutput, ProposalsError, RpnSettings};
use crate::geometry::ImageSize;

/// Logits compared before looking whether one of them is above the floor.
const BLOCK: usize = 64;

/// The op with its scratch memory.
#[derive(Debug)]
pub struct Proposals {
    settings: RpnSettings,
    levels: Vec<Level>,
    /// What NMS kept of all levels: descending score, then order of finding.
    found: Vec<(u64, NetworkBox)>,
}

/// Scratch memory of a level.
#[derive(Debug, Default)]
struct Level {
    /// Descending logit, then flattened index.
    best: Vec<u64>,
    boxes: Vec<NetworkBox>,
    scores: Vec<f32>,
    nms: Nms,
    keep: Vec<usize>,
}

impl Proposals {
    pub fn new(settings: RpnSettings) -> Proposals {
        Proposals {
            levels: settings.base_anchors.iter().map(|_| Level::default()).collect(),
            settings,
            found: Vec::new(),
        }
    }

    /// Proposals by descending score into `boxes` and `scores` (both replaced), at most `post_nms_top_n`, in the current
    /// rayon pool.
    ///
    /// `network`: the network's input with its padding. `picture`: the part that shows the camera's picture, to which boxes
    /// are cut.
    pub fn run(
        &mut self,
        levels: &[LevelOutput<'_>],
        network: ImageSize,
        picture: ImageSize,
        boxes: &mut Vec<NetworkBox>,
        scores: &mut Vec<f32>,
    ) -> Result<(), ProposalsError> {
        let settings = &self.settings;
        settings.check(levels, network)?;
        self.levels
            .par_iter_mut()
            .zip(levels)
            .enumerate()
            .for_each(|(index, (scratch, level))| scratch.propose(settings, index, level, network, picture));
        self.found.clear();
        for level in &self.levels {
            for &kept in &level.keep {
                // Ties fall in the order of finding, as in torchvision's stable sort.
                let key = u64::from(descending_key(level.scores[kept])) << 32 | self.found.len() as u64;
                self.found.push((key, level.boxes[kept]));
            }
        }
        self.found.sort_unstable_by_key(|(key, _)| *key);
        self.found.truncate(settings.post_nms_top_n);
        boxes.clear();
        scores.clear();
        boxes.extend(self.found.iter().map(|(_, b)| *b));
        scores.extend(self.found.iter().map(|(key, _)| value_of_key((key >> 32) as u32)));
        Ok(())
    }
}

impl Level {
    fn propose(
        &mut self,
        settings: &RpnSettings,
        index: usize,
        level: &LevelOutput<'_>,
        network: ImageSize,
        picture: ImageSize,
    ) {
        dispatch(SelectBest {
            logits: level.logits,
            count: settings.pre_nms_top_n,
            best: &mut self.best,
        });
        let (coder, width) = (&settings.coder, level.grid.width as usize);
        let (anchors, count) = (
            settings.anchors(index, level.grid, network),
            settings.base_anchors[index].len(),
        );
        self.boxes.clear();
        self.scores.clear();
        for &key in &self.best {
            let (logit, flat) = (value_of_key((key >> 32) as u32), key as u32 as usize);
            let Some(&[dx, dy, dw, dh]) = level.deltas[4 * flat..].first_chunk() else {
                continue; // no logit is without its deltas
            };
            let (cell, anchor) = (flat / count, flat % count);
            let decoded = coder.decode([dx, dy, dw, dh], &anchors.at(cell % width, cell / width, anchor));
            if let Some(bounds) = coder.width.cut(&decoded, picture, settings.min_size_px) {
                self.boxes.push(bounds);
                self.scores.push(sigmoid(logit));
            }
        }
        self.nms.run(
            &self.boxes,
            &self.scores,
            coder.width,
            settings.iou_threshold,
            &mut self.keep,
        );
    }
}

/// The `count` highest of `logits` into `best`: key `descending logit << 32 | index`, sorted. NaN is left out.
struct SelectBest<'a> {
    logits: &'a [f32],
    count: usize,
    best: &'a mut Vec<u64>,
}

impl Kernel for SelectBest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let SelectBest { logits, count, best } = self;
        best.clear();
        if count == 0 {
            return;
        }
        // Once `count` are found, only what is above the least of them can still be one: at the same value the earlier wins.
        let (mut floor, mut full) = (f32::NEG_INFINITY, false);
        for (index, block) in logits.chunks(BLOCK).enumerate() {
            if full && !any_above(block, floor) {
                continue;
            }
            for (i, &logit) in block.iter().enumerate() {
                if logit > floor || (!full && !logit.is_nan()) {
                    best.push(u64::from(descending_key(logit)) << 32 | (index * BLOCK + i) as u64);
                }
            }
            if best.len() >= count.saturating_mul(2).saturating_add(BLOCK) {
                let (_, least, _) = best.select_nth_unstable(count - 1);
                (floor, full) = (value_of_key((*least >> 32) as u32), true);
                best.truncate(count);
            }
        }
        if best.len() > count {
            best.select_nth_unstable(count - 1);
            best.truncate(count);
        }
        best.sort_unstable();
    }
}

#[inline(always)]
fn any_above(block: &[f32], floor: f32) -> bool {
    match block.first_chunk::<BLOCK>() {
        Some(block) => {
            let mut any = false;
            for value in block {
                any |= *value > floor;
            }
            any
        }
        None => block.iter().any(|value| *value > floor),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
