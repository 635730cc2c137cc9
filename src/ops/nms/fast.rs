//! The same, without allocation and with the kept boxes side by side, so that the compiler compares several at once.

use super::super::{NetworkBox, descending_key};

/// Boxes compared before looking whether one of them suppresses.
const BLOCK: usize = 16;

/// [`super::nms`] with scratch memory.
#[derive(Debug, Default)]
pub struct Nms {
    /// (group, descending score, index).
    order: Vec<(u32, u64)>,
    kept: Kept,
    /// (descending score, index) of all kept boxes.
    keys: Vec<u64>,
}

/// Kept boxes of a group, coordinate by coordinate, padded to whole blocks with boxes that meet nothing.
#[derive(Debug, Default)]
struct Kept {
    blocks: Vec<[[f32; BLOCK]; 5]>,
    len: usize,
}

impl Nms {
    /// Boxes kept of one group: indices by descending score, into `keep`.
    pub fn run(&mut self, boxes: &[NetworkBox], scores: &[f32], iou_threshold: f64, keep: &mut Vec<usize>) {
        self.run_grouped(boxes, scores, &[], iou_threshold, keep);
    }

    /// Boxes kept of each group, all by descending score, into `keep`. `groups`: one a box; empty = one group.
    pub fn run_grouped(
        &mut self,
        boxes: &[NetworkBox],
        scores: &[f32],
        groups: &[u32],
        iou_threshold: f64,
        keep: &mut Vec<usize>,
    ) {
        keep.clear();
        let threshold = at_most(iou_threshold);
        self.order.clear();
        self.order
            .extend(scores.iter().zip(boxes).enumerate().map(|(index, (&score, _))| {
                let group = groups.get(index).copied().unwrap_or(u32::MAX);
                (group, u64::from(descending_key(score)) << 32 | index as u64)
            }));
        self.order.sort_unstable();
        self.keys.clear();
        for group in self.order.chunk_by(|a, b| a.0 == b.0) {
            self.kept.clear();
            for &(_, key) in group {
                let candidate = &boxes[key as u32 as usize];
                if !self.kept.any_exceeds(candidate, threshold) {
                    self.kept.push(candidate);
                    self.keys.push(key);
                }
            }
        }
        self.keys.sort_unstable();
        keep.extend(self.keys.iter().map(|&key| key as u32 as usize));
    }
}

/// The largest f32 not above `threshold`: an f32 exceeds the one exactly when it exceeds the other.
fn at_most(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold {
        nearest.next_down()
    } else {
        nearest
    }
}

impl Kept {
    fn clear(&mut self) {
        self.blocks.clear();
        self.len = 0;
    }

    fn push(&mut self, b: &NetworkBox) {
        let lane = self.len % BLOCK;
        if lane == 0 {
            // Empty, infinitely far to the right: intersection 0, area 0.
            self.blocks.push([
                [f32::MAX; BLOCK],
                [0.0; BLOCK],
                [f32::MAX; BLOCK],
                [0.0; BLOCK],
                [0.0; BLOCK],
            ]);
        }
        if let Some(block) = self.blocks.last_mut() {
            let values = [b.x0, b.y0, b.x1, b.y1, b.width() * b.height()];
            for (row, value) in block.iter_mut().zip(values) {
                row[lane] = value;
            }
        }
        self.len += 1;
    }

    fn any_exceeds(&self, b: &NetworkBox, threshold: f32) -> bool {
        let area = b.width() * b.height();
        // Comparisons, not f32::min and max: these become one instruction; boxes here hold no NaN.
        let least = |a: f32, b: f32| if a < b { a } else { b };
        let most = |a: f32, b: f32| if a > b { a } else { b };
        self.blocks.iter().any(|[x0, y0, x1, y1, areas]| {
            let mut hit = false;
            for i in 0..BLOCK {
                let width = most(least(x1[i], b.x1) - most(x0[i], b.x0), 0.0);
                let height = most(least(y1[i], b.y1) - most(y0[i], b.y0), 0.0);
                let both = width * height;
                hit |= both / (areas[i] + area - both) > threshold;
            }
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::nms;
    use super::*;
    use crate::ops::goldens::{boxes, floats, golden, indices};
    use proptest::prelude::*;

    #[test]
    fn thresholds_are_those_of_doubles() {
        assert!(f64::from(at_most(0.3)) <= 0.3 && f64::from(at_most(0.3).next_up()) > 0.3);
        assert_eq!(at_most(0.5), 0.5);
    }

    #[test]
    fn as_torchvision() {
        let g = golden("nms.json");
        let (boxes, scores) = (boxes(&g["boxes"]), floats(&g["scores"]));
        let groups: Vec<u32> = indices(&g["groups"]).iter().map(|&v| v as u32).collect();
        let (mut fast, mut keep) = (Nms::default(), Vec::new());
        for case in g["cases"].as_array().unwrap() {
            let threshold = case["iou_threshold"].as_f64().unwrap();
            fast.run(&boxes, &scores, threshold, &mut keep);
            assert_eq!(keep, indices(&case["keep"]), "threshold {threshold}");
            assert_eq!(keep, nms(&boxes, &scores, &[], threshold));
            fast.run_grouped(&boxes, &scores, &groups, threshold, &mut keep);
            assert_eq!(keep, indices(&case["keep_grouped"]), "grouped, threshold {threshold}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_plain_loop(
            seeds in proptest::collection::vec((0i8..20, 0i8..20, 0i8..9, 0i8..9, 0u8..12, 0u32..3), 0..120),
            threshold in prop_oneof![Just(0.0), Just(0.5), 0.0f64..1.0],
        ) {
            let at = |v: i8| f32::from(v) * 1.25;
            let boxes: Vec<NetworkBox> =
                seeds.iter().map(|s| NetworkBox::new(at(s.0), at(s.1), at(s.0 + s.2), at(s.1 + s.3))).collect();
            let scores: Vec<f32> = seeds.iter().map(|s| f32::from(s.4) / 12.0).collect();
            let groups: Vec<u32> = seeds.iter().map(|s| s.5).collect();
            let (mut fast, mut keep) = (Nms::default(), vec![99]);
            fast.run(&boxes, &scores, threshold, &mut keep);
            prop_assert_eq!(&keep, &nms(&boxes, &scores, &[], threshold));
            fast.run_grouped(&boxes, &scores, &groups, threshold, &mut keep);
            prop_assert_eq!(&keep, &nms(&boxes, &scores, &groups, threshold));
        }
    }
}
