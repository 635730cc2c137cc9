//! Detections' kernels against the plain loop.

use super::launch::DeviceDetections;
use super::{HeadSettings, cpu};
use crate::device::{CudaStream, Device, DeviceError, Kernels, TensorElement};
use crate::geometry::ImageSize;
use crate::ops::box_deltas::BoxCoder;
use crate::ops::box_deltas::check::{Values, odd, stored};
use crate::ops::device::{Check, Noise, each_way};
use crate::ops::{BoxWidth, NetworkBox};

/// What the logits are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Logits {
    /// Between two numbers; what is given is added to the background's.
    Between(f32, f32, f32),
    /// Of 5 values, and each second proposal is that before it.
    Ties,
    /// As `Ties`, and one in 20 no sensible number, deltas and proposals too.
    Odd,
}

/// One comparison.
struct Case {
    what: &'static str,
    settings: HeadSettings,
    classes: usize,
    rows: usize,
    /// Of each image.
    counts: &'static [u32],
    element: TensorElement,
    /// Values beside those of the logits and of the deltas in a row.
    gap: usize,
    logits: Logits,
}

/// The head's outputs and the proposals, [N R, ..].
struct Inputs {
    logits: Vec<f32>,
    deltas: Vec<f32>,
    proposals: Vec<[f32; 4]>,
    pictures: Vec<[u32; 2]>,
}

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        case.run(device, kernels, 0xde7 + index as u64, &mut checks)?;
    }
    Ok(checks)
}

fn cases() -> Vec<Case> {
    use TensorElement::{F16, F32};
    let with = |score_threshold, iou_threshold, max_detections| HeadSettings {
        score_threshold,
        iou_threshold,
        max_detections,
        ..HeadSettings::torchvision()
    };
    let case = |what, logits, element, settings| Case {
        what,
        settings,
        classes: 6,
        rows: 150,
        counts: &[150, 0, 83],
        element,
        gap: 0,
        logits,
    };
    let usual = || with(0.05, 0.5, 100);
    vec![
        case("spread", Logits::Between(-4.0, 4.0, 0.0), F32, usual()),
        Case {
            gap: 2,
            ..case("spread, with gaps", Logits::Between(-4.0, 4.0, 0.0), F16, usual())
        },
        case("ties", Logits::Ties, F32, usual()),
        Case {
            counts: &[150],
            ..case("ties of all classes", Logits::Ties, F16, with(0.0, 0.9, 1000))
        },
        case("odd numbers", Logits::Odd, F32, with(0.01, 0.3, 50)),
        case("odd numbers", Logits::Odd, F16, with(-1.0, -0.1, 50)),
        Case {
            counts: &[150],
            ..case("few kept", Logits::Ties, F32, with(0.0, 1.0, 3))
        },
        Case {
            counts: &[150],
            ..case("none kept", Logits::Ties, F32, with(0.0, 0.5, 0))
        },
        case("none scores", Logits::Between(-4.0, 4.0, 90.0), F32, usual()),
        Case {
            rows: 0,
            counts: &[0, 0],
            ..case("no proposals", Logits::Ties, F32, usual())
        },
        Case {
            classes: 2,
            settings: HeadSettings {
                coder: BoxCoder {
                    width: BoxWidth::Inclusive,
                    ..BoxCoder::HEADS
                },
                min_size_px: f32::NEG_INFINITY,
                ..usual()
            },
            ..case("inclusive boxes, one class", Logits::Odd, F32, usual())
        },
        // More kept of all classes than are sorted at once, most of one score.
        Case {
            classes: 60,
            rows: 130,
            counts: &[130],
            ..case("many of one score", Logits::Ties, F32, with(0.0, 1.0, 1000))
        },
        Case {
            classes: 1204,
            rows: 20,
            counts: &[20],
            ..case(
                "1204 classes",
                Logits::Between(-2.0, 6.0, 0.0),
                F16,
                with(1e-3, 0.5, 300),
            )
        },
        Case {
            classes: 3,
            rows: 2500,
            counts: &[2500],
            ..case("2500 proposals", Logits::Ties, F32, with(0.05, 0.7, 1024))
        },
        Case {
            classes: 91,
            rows: 1000,
            counts: &[1000],
            gap: 5,
            ..case(
                "1000 proposals of 91 classes",
                Logits::Between(-4.0, 4.0, 3.0),
                F16,
                usual(),
            )
        },
    ]
}

impl Case {
    fn run(&self, device: &Device, kernels: &Kernels, seed: u64, checks: &mut Vec<Check>) -> Result<(), DeviceError> {
        let inputs = self.inputs(&mut Noise(seed));
        let (k, all, batch) = (self.classes, self.rows * self.counts.len(), self.counts.len());
        let (logit_pitch, delta_pitch) = (k + self.gap, 4 * k + self.gap);
        let row = |values: &[f32], width: usize, p: usize| values[width * p..width * (p + 1)].to_vec();
        let logits = Values::upload(device, self.element, all, logit_pitch, self.gap, |p| {
            row(&inputs.logits, k, p)
        })?;
        let deltas = Values::upload(device, self.element, all, delta_pitch, 0, |p| {
            row(&inputs.deltas, 4 * k, p)
        })?;
        let logits = logits.view(self.gap, all, k, logit_pitch)?;
        let deltas = deltas.view(0, all, 4 * k, delta_pitch)?;
        let proposals = device.upload("proposals", &inputs.proposals)?;
        let counts = device.upload("counts", self.counts)?;
        let pictures = device.upload("pictures", &inputs.pictures)?;
        let expected = self.expected(&inputs);
        let mut op = DeviceDetections::new(device, kernels, &self.settings, k, self.rows, batch)?;
        let queue = |op: &mut DeviceDetections, stream: &CudaStream| {
            op.poison(stream)?;
            op.enqueue(
                stream,
                logits,
                deltas,
                proposals.slice(),
                counts.slice(),
                pictures.slice(),
            )
        };
        each_way(device, &mut op, queue, |op, way| {
            let mut got = device.download(op.counts())?;
            got.extend(device.download(op.class_ids())?);
            got.extend(device.download(op.scores())?.iter().map(|v| v.to_bits()));
            got.extend(device.download(op.boxes())?.as_flattened().iter().map(|v| v.to_bits()));
            let what = format!("detections, {} {:?} x{batch}, {way}", self.what, self.element);
            checks.push(Check::of(what, &expected, &got));
            Ok(())
        })
    }

    fn inputs(&self, noise: &mut Noise) -> Inputs {
        let all = self.rows * self.counts.len();
        let is_odd = |noise: &mut Noise| self.logits == Logits::Odd && noise.below(20) == 0;
        let logit = |noise: &mut Noise, class: usize| match self.logits {
            Logits::Between(low, high, more) => noise.between(low, high) + if class == 0 { more } else { 0.0 },
            Logits::Ties | Logits::Odd => noise.below(5) as f32,
        };
        let mut logits: Vec<f32> = Vec::new();
        let mut deltas: Vec<f32> = Vec::new();
        let mut proposals: Vec<[f32; 4]> = Vec::new();
        for row in 0..all {
            for class in 0..self.classes {
                let value = logit(noise, class);
                logits.push(if is_odd(noise) { odd(noise) } else { value });
                for _ in 0..4 {
                    let value = noise.between(-2.0, 2.0);
                    deltas.push(if is_odd(noise) { odd(noise) } else { value });
                }
            }
            let (x, y) = (noise.between(0.0, 300.0), noise.between(0.0, 200.0));
            let (w, h) = (noise.between(0.0, 90.0), noise.between(0.0, 90.0));
            let mut edges = [x, y, x + w, y + h];
            if is_odd(noise) {
                edges[noise.below(4)] = odd(noise);
            }
            proposals.push(edges);
            if row % 2 == 1 && !matches!(self.logits, Logits::Between(..)) {
                // The same once more: all its scores and boxes are equal.
                let k = self.classes;
                logits.copy_within((row - 1) * k..row * k, row * k);
                deltas.copy_within(4 * (row - 1) * k..4 * row * k, 4 * row * k);
                proposals[row] = proposals[row - 1];
            }
        }
        let stored = |values: Vec<f32>| values.into_iter().map(|v| stored(self.element, v)).collect();
        Inputs {
            logits: stored(logits),
            deltas: stored(deltas),
            proposals,
            pictures: (0..self.counts.len() as u32)
                .map(|n| [320 - 100 * n, 240 - 7 * n])
                .collect(),
        }
    }

    /// Counts, class ids, scores and boxes of all images, as bits.
    fn expected(&self, inputs: &Inputs) -> Vec<u32> {
        let (k, rows) = (self.classes, self.settings.max_detections);
        let (mut counts, mut ids, mut scores, mut boxes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (image, (&count, &[width, height])) in self.counts.iter().zip(&inputs.pictures).enumerate() {
            let (start, end) = (image * self.rows, image * self.rows + count as usize);
            let proposals: Vec<NetworkBox> = inputs.proposals[start..end]
                .iter()
                .map(|&[x0, y0, x1, y1]| NetworkBox::new(x0, y0, x1, y1))
                .collect();
            let found = cpu::detections(
                &self.settings,
                &inputs.logits[start * k..end * k],
                &inputs.deltas[4 * start * k..4 * end * k],
                &proposals,
                ImageSize::new(width, height),
            );
            counts.push(found.len() as u32);
            for rank in 0..rows {
                let (id, score, edges) = found.get(rank).map_or((0, 0.0, [0.0; 4]), |d| {
                    let b = &d.bounds;
                    (d.class_id, d.score, [b.x0, b.y0, b.x1, b.y1])
                });
                ids.push(id);
                scores.push(score.to_bits());
                boxes.extend(edges.map(f32::to_bits));
            }
        }
        [counts, ids, scores, boxes].concat()
    }
}
