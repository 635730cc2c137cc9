//! The same, without allocation and with the kept boxes side by side, so that the compiler compares several at once: 1000
//! boxes of which most are kept take 0.08 ms.

use super::super::lanes::{Kernel, Lanes, dispatch};
use super::super::{BoxWidth, NetworkBox, descending_key};
use super::{area, intersection};

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
    pub fn run(
        &mut self,
        boxes: &[NetworkBox],
        scores: &[f32],
        width: BoxWidth,
        iou_threshold: f64,
        keep: &mut Vec<usize>,
    ) {
        self.run_grouped(boxes, scores, &[], width, iou_threshold, keep);
    }

    /// Boxes kept of each group, all by descending score, into `keep`. `groups`: one a box; empty = one group.
    pub fn run_grouped(
        &mut self,
        boxes: &[NetworkBox],
        scores: &[f32],
        groups: &[u32],
        width: BoxWidth,
        iou_threshold: f64,
        keep: &mut Vec<usize>,
    ) {
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
            dispatch(Suppress {
                group,
                boxes,
                width,
                threshold: at_most(iou_threshold),
                kept: &mut self.kept,
                keys: &mut self.keys,
            });
        }
        self.keys.sort_unstable();
        keep.clear();
        keep.extend(self.keys.iter().map(|&key| key as u32 as usize));
    }
}

/// One group, in order of descending score.
struct Suppress<'a> {
    group: &'a [(u32, u64)],
    boxes: &'a [NetworkBox],
    width: BoxWidth,
    threshold: f32,
    kept: &'a mut Kept,
    keys: &'a mut Vec<u64>,
}

impl Kernel for Suppress<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for &(_, key) in self.group {
            let b = &self.boxes[key as u32 as usize];
            let candidate = ([b.x0, b.y0, b.x1, b.y1], area(self.width, b));
            if !self.kept.any_exceeds(candidate, self.width.extra(), self.threshold) {
                self.kept.push(candidate);
                self.keys.push(key);
            }
        }
    }
}

/// The largest f32 not above `threshold`: an f32 exceeds the one exactly when it exceeds the other.
pub(super) fn at_most(threshold: f64) -> f32 {
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

    #[inline(always)]
    fn push(&mut self, ([x0, y0, x1, y1], area): ([f32; 4], f32)) {
        let lane = self.len % BLOCK;
        if lane == 0 {
            // Empty, as far to the right as there is: intersection 0, area 0.
            self.blocks.push([
                [f32::MAX; BLOCK],
                [0.0; BLOCK],
                [f32::MAX; BLOCK],
                [0.0; BLOCK],
                [0.0; BLOCK],
            ]);
        }
        if let Some(block) = self.blocks.last_mut() {
            for (row, value) in block.iter_mut().zip([x0, y0, x1, y1, area]) {
                row[lane] = value;
            }
        }
        self.len += 1;
    }

    #[inline(always)]
    fn any_exceeds(&self, (edges, area): ([f32; 4], f32), extra: f32, threshold: f32) -> bool {
        for [x0, y0, x1, y1, areas] in &self.blocks {
            let mut hit = false;
            for i in 0..BLOCK {
                let both = intersection([x0[i], y0[i], x1[i], y1[i]], edges, extra);
                hit |= both / (areas[i] + area - both) > threshold;
            }
            if hit {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lanes::dispatch_each;
    use super::super::nms;
    use super::BoxWidth::{Continuous, Inclusive};
    use super::*;
    use crate::ops::goldens::{boxes, floats, golden, indices, noise};
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
            fast.run(&boxes, &scores, Continuous, threshold, &mut keep);
            assert_eq!(keep, indices(&case["keep"]), "threshold {threshold}");
            assert_eq!(keep, nms(&boxes, &scores, &[], Continuous, threshold));
            fast.run_grouped(&boxes, &scores, &groups, Continuous, threshold, &mut keep);
            assert_eq!(keep, indices(&case["keep_grouped"]), "grouped, threshold {threshold}");
        }
    }

    #[test]
    fn a_thousand_boxes_on_one_pixel_are_one() {
        let boxes = vec![NetworkBox::new(3.0, 4.0, 4.0, 5.0); 1000];
        let scores: Vec<f32> = (0..1000).map(|i| (i % 7) as f32).collect();
        let (mut fast, mut keep) = (Nms::default(), Vec::new());
        fast.run(&boxes, &scores, Continuous, 0.7, &mut keep);
        assert_eq!(keep, [6]);
        // Without area none overlaps.
        let points = vec![NetworkBox::new(3.0, 4.0, 3.0, 4.0); 1000];
        fast.run(&points, &scores, Continuous, 0.7, &mut keep);
        assert_eq!(keep.len(), 1000);
        fast.run(&points, &scores, Inclusive, 0.7, &mut keep);
        assert_eq!(keep, [6]);
    }

    /// [`Suppress`] with memory of its own.
    struct Greedy<'a> {
        group: &'a [(u32, u64)],
        boxes: &'a [NetworkBox],
        width: BoxWidth,
        threshold: f32,
    }

    impl Kernel for Greedy<'_> {
        type Output = Vec<u64>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u64> {
            let Greedy {
                group,
                boxes,
                width,
                threshold,
            } = self;
            let (mut kept, mut keys) = (Kept::default(), Vec::new());
            let suppress = Suppress {
                group,
                boxes,
                width,
                threshold,
                kept: &mut kept,
                keys: &mut keys,
            };
            suppress.run::<L>();
            keys
        }
    }

    fn widths() -> impl Strategy<Value = BoxWidth> {
        prop_oneof![Just(Continuous), Just(Inclusive)]
    }

    proptest! {
        #[test]
        fn equals_the_plain_loop(
            seeds in proptest::collection::vec((0i8..20, 0i8..20, 0i8..9, 0i8..9, 0u8..12, 0u32..3), 0..120),
            threshold in prop_oneof![Just(0.0), Just(0.5), Just(-0.1), Just(1.0), 0.0f64..1.0], width in widths(),
        ) {
            let at = |v: i8| f32::from(v) * 1.25;
            let boxes: Vec<NetworkBox> =
                seeds.iter().map(|s| NetworkBox::new(at(s.0), at(s.1), at(s.0 + s.2), at(s.1 + s.3))).collect();
            let scores: Vec<f32> = seeds.iter().map(|s| f32::from(s.4) / 12.0).collect();
            let groups: Vec<u32> = seeds.iter().map(|s| s.5).collect();
            let (mut fast, mut keep) = (Nms::default(), vec![99]);
            fast.run(&boxes, &scores, width, threshold, &mut keep);
            prop_assert_eq!(&keep, &nms(&boxes, &scores, &[], width, threshold));
            // What is kept, kept alone, is kept again, and what is dropped has a better rival among it.
            let of_kept = |i: usize| (boxes[keep[i]], scores[keep[i]]);
            let (again_boxes, again_scores): (Vec<_>, Vec<_>) = (0..keep.len()).map(of_kept).unzip();
            prop_assert_eq!(
                nms(&again_boxes, &again_scores, &[], width, threshold),
                (0..keep.len()).collect::<Vec<_>>()
            );
            prop_assert!(again_scores.is_sorted_by(|a, b| a >= b));
            for dropped in (0..boxes.len()).filter(|i| !keep.contains(i)) {
                let pair = |k: usize| [boxes[k], boxes[dropped]];
                prop_assert!(keep.iter().any(|&k| scores[k] >= scores[dropped]
                    && nms(&pair(k), &[1.0, 0.0], &[], width, threshold).len() == 1));
            }
            fast.run_grouped(&boxes, &scores, &groups, width, threshold, &mut keep);
            prop_assert_eq!(&keep, &nms(&boxes, &scores, &groups, width, threshold));
        }

        #[test]
        fn all_instructions_suppress_alike(seed in any::<u32>(), threshold in 0.0f64..1.0, width in widths()) {
            let boxes: Vec<NetworkBox> = noise(4 * 200, seed)
                .chunks_exact(4)
                .map(|r| NetworkBox::new(9.0 * r[0], 9.0 * r[1], 12.0 + 5.0 * r[2], 12.0 + 5.0 * r[3]))
                .collect();
            let group: Vec<(u32, u64)> = (0..200).map(|i| (0, i)).collect();
            let keys: Vec<u64> = nms(&boxes, &[0.0; 200], &[], width, threshold).iter().map(|&i| i as u64).collect();
            let kernel = || Greedy { group: &group, boxes: &boxes, width, threshold: at_most(threshold) };
            dispatch_each(kernel, |got| assert_eq!(got, keys));
        }

        #[test]
        fn any_bits_are_suppressed_alike(
            seeds in proptest::collection::vec(any::<[u32; 5]>(), 0..40), threshold in 0.0f64..1.0, width in widths(),
        ) {
            let value = |v: u32| if v.is_multiple_of(3) { f32::from_bits(v) } else { (v % 64) as f32 };
            let boxes: Vec<NetworkBox> =
                seeds.iter().map(|s| NetworkBox::new(value(s[0]), value(s[1]), value(s[2]), value(s[3]))).collect();
            let scores: Vec<f32> = seeds.iter().map(|s| value(s[4])).collect();
            let (mut fast, mut keep) = (Nms::default(), vec![]);
            fast.run(&boxes, &scores, width, threshold, &mut keep);
            prop_assert_eq!(keep, nms(&boxes, &scores, &[], width, threshold));
        }
    }
}
