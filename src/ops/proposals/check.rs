//! Proposals' kernels against the plain loop.

use super::launch::DeviceProposals;
use super::{AnchorRounding, LevelOutput, RpnSettings, Strides, base_anchors, cpu};
use crate::device::{CudaStream, Device, DeviceError, Kernels, TensorElement, TensorView};
use crate::geometry::ImageSize;
use crate::ops::BoxWidth;
use crate::ops::box_deltas::BoxCoder;
use crate::ops::box_deltas::check::{Values, odd, stored};
use crate::ops::device::{Check, Noise, each_way};

/// What the logits are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Logits {
    /// Between two numbers.
    Between(f32, f32),
    /// Of 15 values.
    Ties,
    /// All the same, below whose key there are more than fit anywhere.
    Equal,
    /// As `Ties`, and one in eight no sensible number, deltas too.
    Odd,
    /// No numbers at all in the first level, one in two in the others.
    Missing,
}

/// One comparison.
struct Case {
    what: &'static str,
    settings: RpnSettings,
    grids: Vec<ImageSize>,
    network: ImageSize,
    batch: usize,
    element: TensorElement,
    /// Values from one position to the next of a tensor with objectness and deltas; 0 for two tensors without gaps.
    merged_pitch: usize,
    logits: Logits,
}

/// Maps of one level on the host.
struct Level {
    logits: Vec<f32>,
    deltas: Vec<f32>,
}

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        case.run(device, kernels, 0x5eed + index as u64, &mut checks)?;
    }
    Ok(checks)
}

fn cases() -> Vec<Case> {
    use TensorElement::{F16, F32};
    let network = ImageSize::new(256, 192);
    let grids = |network: ImageSize| {
        let grid = |s: u32| ImageSize::new(network.width.div_ceil(s), network.height.div_ceil(s));
        [4, 8, 16, 32, 64].map(grid).to_vec()
    };
    let small = RpnSettings {
        pre_nms_top_n: 200,
        post_nms_top_n: 150,
        ..RpnSettings::torchvision()
    };
    let inclusive = RpnSettings {
        base_anchors: vec![base_anchors(&[16.0, 40.0, 90.0], &[0.5, 1.0, 2.0], AnchorRounding::Exact); 2],
        strides: Strides::Fixed(vec![8, 17]),
        coder: BoxCoder {
            width: BoxWidth::Inclusive,
            weights: [1.0, 1.0, 0.5, 2.0],
        },
        min_size_px: 3.0,
        iou_threshold: 0.3,
        ..small.clone()
    };
    let case = |what, logits, element, batch| Case {
        what,
        settings: small.clone(),
        grids: grids(network),
        network,
        batch,
        element,
        merged_pitch: 0,
        logits,
    };
    let big = ImageSize::new(1344, 800);
    vec![
        case("spread", Logits::Between(-8.0, 4.0), F32, 3),
        Case {
            merged_pitch: 16,
            ..case("spread, one tensor", Logits::Between(-8.0, 4.0), F16, 3)
        },
        Case {
            merged_pitch: 15,
            ..case("ties", Logits::Ties, F32, 1)
        },
        case("odd numbers", Logits::Odd, F32, 3),
        case("odd numbers", Logits::Odd, F16, 1),
        case("missing numbers", Logits::Missing, F32, 1),
        case("all equal", Logits::Equal, F16, 1),
        case("all close", Logits::Between(1.0, 1.2), F32, 1),
        Case {
            settings: RpnSettings {
                pre_nms_top_n: 3000,
                post_nms_top_n: 4000,
                ..small.clone()
            },
            ..case("more asked for than there is", Logits::Ties, F16, 1)
        },
        Case {
            settings: RpnSettings {
                post_nms_top_n: 7,
                iou_threshold: 1.0,
                ..small.clone()
            },
            ..case("few kept", Logits::Ties, F32, 3)
        },
        Case {
            settings: RpnSettings {
                post_nms_top_n: 0,
                ..small.clone()
            },
            ..case("none kept", Logits::Ties, F32, 1)
        },
        Case {
            settings: RpnSettings {
                pre_nms_top_n: 0,
                ..small.clone()
            },
            ..case("none taken", Logits::Ties, F32, 1)
        },
        Case {
            settings: RpnSettings {
                base_anchors: vec![
                    small.base_anchors[1].clone(),
                    vec![],
                    small.base_anchors[0].clone(),
                    vec![],
                    vec![],
                ],
                min_size_px: f32::NEG_INFINITY,
                iou_threshold: -0.1,
                ..small.clone()
            },
            ..case("levels without anchors", Logits::Odd, F32, 1)
        },
        Case {
            settings: inclusive,
            grids: vec![ImageSize::new(32, 24), ImageSize::new(15, 11)],
            ..case("inclusive boxes, fixed strides", Logits::Between(-3.0, 3.0), F32, 3)
        },
        Case {
            settings: RpnSettings::torchvision(),
            grids: grids(big),
            network: big,
            merged_pitch: 16,
            ..case("pyramid of 800x1344", Logits::Between(-9.0, 3.0), F16, 1)
        },
    ]
}

impl Case {
    fn run(&self, device: &Device, kernels: &Kernels, seed: u64, checks: &mut Vec<Check>) -> Result<(), DeviceError> {
        let mut noise = Noise(seed);
        let (mut maps, mut tensors) = (Vec::new(), Vec::new());
        for (index, (grid, anchors)) in self.grids.iter().zip(&self.settings.base_anchors).enumerate() {
            let (cells, a) = (grid.area() as usize * self.batch, anchors.len());
            let level = self.level(index, cells * a, &mut noise);
            let deltas = |p: usize| level.deltas[4 * a * p..4 * a * (p + 1)].to_vec();
            let logits = |p: usize| level.logits[a * p..a * (p + 1)].to_vec();
            let pitch = self.merged_pitch;
            let uploaded = if pitch > 0 {
                let row = |p: usize| [logits(p), deltas(p)].concat();
                vec![Values::upload(device, self.element, cells, pitch, 0, row)?]
            } else {
                vec![
                    Values::upload(device, self.element, cells, a, 0, logits)?,
                    Values::upload(device, self.element, cells, 4 * a, 0, deltas)?,
                ]
            };
            tensors.push((uploaded, cells, a));
            maps.push(level);
        }
        let mut views: Vec<(TensorView<'_>, TensorView<'_>)> = Vec::new();
        for (uploaded, cells, a) in &tensors {
            views.push(match &uploaded[..] {
                [both] => (
                    both.view(0, *cells, *a, self.merged_pitch)?,
                    both.view(*a, *cells, 4 * a, self.merged_pitch)?,
                ),
                [logits, deltas, ..] => (logits.view(0, *cells, *a, *a)?, deltas.view(0, *cells, 4 * a, 4 * a)?),
                [] => continue,
            });
        }
        let pictures: Vec<[u32; 2]> = (0..self.batch as u32)
            .map(|image| [self.network.width / (image + 1), self.network.height - 30 * image])
            .collect();
        let expected = self.expected(&maps, &pictures);
        let on_device = device.upload("pictures", &pictures)?;
        let mut op = DeviceProposals::new(device, kernels, &self.settings, &self.grids, self.network, self.batch)?;
        let queue = |op: &mut DeviceProposals, stream: &CudaStream| {
            op.poison(stream)?;
            op.enqueue(stream, &views, on_device.slice())
        };
        each_way(device, &mut op, queue, |op, way| {
            let mut got = device.download(op.counts())?;
            got.extend(device.download(op.scores())?.iter().map(|v| v.to_bits()));
            got.extend(device.download(op.boxes())?.as_flattened().iter().map(|v| v.to_bits()));
            let what = format!("proposals, {} {:?} x{}, {way}", self.what, self.element, self.batch);
            checks.push(Check::of(what, &expected, &got));
            Ok(())
        })
    }

    /// Values of level `index`, as many logits as `count`.
    fn level(&self, index: usize, count: usize, noise: &mut Noise) -> Level {
        let one_in = |noise: &mut Noise, n: usize| noise.below(n) == 0;
        let logit = |noise: &mut Noise| match self.logits {
            Logits::Between(low, high) => noise.between(low, high),
            Logits::Odd if one_in(noise, 8) => odd(noise),
            Logits::Ties | Logits::Odd => noise.below(15) as f32 * 0.5 - 4.0,
            Logits::Equal => 0.25,
            Logits::Missing if index == 0 || one_in(noise, 2) => f32::NAN,
            Logits::Missing => noise.between(-1.0, 1.0),
        };
        let delta = |noise: &mut Noise| match self.logits {
            Logits::Odd if one_in(noise, 20) => odd(noise),
            _ => noise.between(-0.4, 0.4),
        };
        Level {
            logits: (0..count).map(|_| stored(self.element, logit(noise))).collect(),
            deltas: (0..4 * count).map(|_| stored(self.element, delta(noise))).collect(),
        }
    }

    /// Counts, scores and boxes of all images, as bits.
    fn expected(&self, maps: &[Level], pictures: &[[u32; 2]]) -> Vec<u32> {
        let rows = self.settings.post_nms_top_n;
        let (mut counts, mut scores, mut boxes) = (Vec::new(), Vec::new(), Vec::new());
        for (image, &[width, height]) in pictures.iter().enumerate() {
            let levels: Vec<LevelOutput<'_>> = maps
                .iter()
                .zip(&self.grids)
                .map(|(level, &grid)| {
                    let count = level.logits.len() / self.batch;
                    LevelOutput {
                        grid,
                        logits: &level.logits[image * count..(image + 1) * count],
                        deltas: &level.deltas[4 * image * count..4 * (image + 1) * count],
                    }
                })
                .collect();
            let found = cpu::proposals(&self.settings, &levels, self.network, ImageSize::new(width, height));
            counts.push(found.len() as u32);
            for rank in 0..rows {
                let (edges, score) = found
                    .get(rank)
                    .map_or(([0.0; 4], 0.0), |(b, score)| ([b.x0, b.y0, b.x1, b.y1], *score));
                scores.push(score.to_bits());
                boxes.extend(edges.map(f32::to_bits));
            }
        }
        [counts, scores, boxes].concat()
    }
}
