//! RoIAlign's kernels against the plain loops.

use half::f16;
use rayon::prelude::*;

use super::launch::{DeviceLevel, DeviceRoiAlign};
use super::{Alignment, PyramidLevel, RoiAlign, Sampling};
use crate::device::{Device, DeviceBuffer, DeviceError, Kernels, TensorView, TensorViewMut};
use crate::geometry::ImageSize;
use crate::ops::device::{Check, Noise, each_way};
use crate::ops::{Element, NetworkBox};

const FPN: RoiAlign = RoiAlign {
    channels: 256,
    output_side: 7,
    sampling: Sampling::Fixed(2),
    alignment: Alignment::Corner,
    canonical_scale: 224.0,
    canonical_level: 4,
    min_level: 2,
    level_epsilon: 1e-6,
};

/// One comparison: an op over maps of a padded picture.
struct Case {
    what: &'static str,
    op: RoiAlign,
    network: ImageSize,
    /// Network px in a feature px, level by level.
    strides: &'static [u32],
    rois_per_image: usize,
    counts: &'static [u32],
    /// Values from one position to the next, of features and of what is pooled.
    pitches: [usize; 2],
    /// Of the plain loops' RoIs only each so many-th is computed.
    every: usize,
}

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let small = ImageSize::new(160, 128);
    let pyramid: &[u32] = &[4, 8, 16, 32];
    let of = |channels, output_side, sampling, alignment| RoiAlign {
        channels,
        output_side,
        sampling,
        alignment,
        canonical_scale: 112.0,
        ..FPN
    };
    let (two, corner, half_pixel) = (Sampling::Fixed(2), Alignment::Corner, Alignment::HalfPixel);
    let case = |what, op: RoiAlign, pitches| Case {
        what,
        op,
        network: small,
        strides: pyramid,
        rois_per_image: 26,
        counts: &[26, 0, 11],
        pitches,
        every: 1,
    };
    let cases = [
        case("7x7 of 16 channels", of(16, 7, two, corner), [16, 16]),
        case("14x14, half pixel", of(24, 14, two, half_pixel), [32, 24]),
        case("5x5, three samples", of(8, 5, Sampling::Fixed(3), half_pixel), [8, 16]),
        case("5 channels", of(5, 7, two, corner), [7, 6]),
        case("adaptive, half pixel", of(8, 7, Sampling::Adaptive, half_pixel), [8, 8]),
        Case {
            strides: &[16],
            counts: &[26],
            ..case(
                "6x6 adaptive, one level",
                of(128, 6, Sampling::Adaptive, corner),
                [128, 128],
            )
        },
        Case {
            what: "pyramid of 800x1344",
            op: FPN,
            network: ImageSize::new(1344, 800),
            strides: pyramid,
            rois_per_image: 1000,
            counts: &[1000],
            pitches: [256, 256],
            every: 16,
        },
    ];
    let mut checks = Vec::new();
    for (seed, case) in cases.iter().enumerate() {
        checks.extend(case.compare(device, kernels, seed as u64)?);
    }
    Ok(checks)
}

/// What the kernels read and write.
struct Work {
    op: DeviceRoiAlign,
    features: Vec<DeviceBuffer<f16>>,
    rois: DeviceBuffer<[f32; 4]>,
    counts: DeviceBuffer<u32>,
    out: DeviceBuffer<f16>,
}

impl Case {
    fn grid(&self, stride: u32) -> ImageSize {
        ImageSize::new(
            self.network.width.div_ceil(stride),
            self.network.height.div_ceil(stride),
        )
    }

    fn compare(&self, device: &Device, kernels: &Kernels, seed: u64) -> Result<Vec<Check>, DeviceError> {
        let Case { op, counts, .. } = self;
        let (batch, mut noise) = (counts.len(), Noise(100 + seed));
        let features: Vec<Vec<f16>> = self
            .strides
            .iter()
            .map(|&stride| features(&mut noise, op.channels * batch * self.grid(stride).area() as usize))
            .collect();
        let rois = rois(&mut noise, self.network, batch * self.rois_per_image);
        let [in_pitch, out_pitch] = self.pitches;
        let out_channels = out_pitch - out_pitch % 8 + (out_pitch % 8).min(op.channels);
        let out_channels = out_channels.max(op.channels);
        let cells = rois.len() * op.output_side * op.output_side;
        let flat: Vec<[f32; 4]> = rois.iter().map(|b| [b.x0, b.y0, b.x1, b.y1]).collect();
        let mut work = Work {
            op: DeviceRoiAlign::new(device, kernels, op, self.strides.len(), self.rois_per_image, batch)?,
            features: features
                .iter()
                .map(|values| device.upload("features", &pitched(values, op.channels, in_pitch)))
                .collect::<Result<_, _>>()?,
            rois: device.upload("RoIs", &flat)?,
            counts: device.upload("counts", counts)?,
            out: device.buffer("pooled", cells * out_pitch)?,
        };
        let (expected, taken) = self.plain(&features, &rois, out_channels)?;
        let mut checks = Vec::new();
        each_way(
            device,
            &mut work,
            |work, stream| {
                stream.fill(work.out.slice_mut(), 0xa5)?;
                let mut levels = Vec::new();
                for (values, &stride) in work.features.iter().zip(self.strides) {
                    let positions = values.len() / in_pitch;
                    levels.push(DeviceLevel {
                        features: TensorView::over(values.slice(), positions, op.channels, in_pitch)?,
                        grid: self.grid(stride),
                        spatial_scale: 1.0 / stride as f32,
                    });
                }
                let (rois, counts) = (work.rois.slice(), work.counts.slice());
                let out = TensorViewMut::over(work.out.slice_mut(), cells, out_channels, out_pitch)?;
                work.op.enqueue(stream, &levels, rois, counts, out)
            },
            |work, how| {
                let got = device.download(work.out.slice())?;
                let row = op.output_side * op.output_side * out_pitch;
                let got: Vec<f16> = taken
                    .iter()
                    .flat_map(|&roi| got[roi * row..(roi + 1) * row].chunks_exact(out_pitch))
                    .flat_map(|cell| &cell[..out_channels])
                    .copied()
                    .collect();
                checks.push(Check::of(format!("roi_align {}, {how}", self.what), &expected, &got));
                Ok(())
            },
        )?;
        Ok(checks)
    }

    /// The plain loops' values, `channels` a cell, and of which RoIs of the batch.
    fn plain(
        &self,
        features: &[Vec<f16>],
        rois: &[NetworkBox],
        channels: usize,
    ) -> Result<(Vec<f16>, Vec<usize>), DeviceError> {
        let op = &self.op;
        let taken: Vec<usize> = (0..rois.len()).step_by(self.every).collect();
        let pool = |&roi: &usize| {
            let (image, place) = (roi / self.rois_per_image, roi % self.rois_per_image);
            let mut out = vec![f16::ZERO; op.values()];
            let levels: Vec<PyramidLevel<'_, f16>> = features
                .iter()
                .zip(self.strides)
                .map(|(values, &stride)| {
                    let grid = self.grid(stride);
                    let size = grid.area() as usize * op.channels;
                    PyramidLevel {
                        features: &values[image * size..(image + 1) * size],
                        grid,
                        spatial_scale: 1.0 / stride as f32,
                    }
                })
                .collect();
            if (place as u32) < self.counts[image] {
                op.run_plain(&levels, &rois[roi..=roi], &mut out)
                    .map_err(|e| DeviceError::Kernel {
                        kernel: "roi_align".to_owned(),
                        reason: e.to_string(),
                    })?;
            }
            Ok(pitched(&out, op.channels, channels))
        };
        let rows: Vec<Vec<f16>> = taken.par_iter().map(pool).collect::<Result<_, DeviceError>>()?;
        Ok((rows.concat(), taken))
    }
}

/// `values` with `pitch` of them from one position to the next; zeros between.
pub(crate) fn pitched(values: &[f16], channels: usize, pitch: usize) -> Vec<f16> {
    let mut out = vec![f16::ZERO; values.len() / channels * pitch];
    for (to, from) in out.chunks_exact_mut(pitch).zip(values.chunks_exact(channels)) {
        to[..channels].copy_from_slice(from);
    }
    out
}

/// Mostly small numbers; some infinite, some not numbers.
pub(crate) fn features(noise: &mut Noise, count: usize) -> Vec<f16> {
    (0..count)
        .map(|_| {
            let bits = noise.bits();
            match bits % 4001 {
                0 => f16::INFINITY,
                1 => f16::NEG_INFINITY,
                2 => f16::NAN,
                _ => <f16 as Element>::from_f32((bits >> 40) as f32 / (1u32 << 21) as f32 - 4.0),
            }
        })
        .collect()
}

/// In the picture and across its edges, of every size; first those that are no box, or hardly one.
pub(crate) fn rois(noise: &mut Noise, network: ImageSize, count: usize) -> Vec<NetworkBox> {
    let (w, h) = (network.width as f32, network.height as f32);
    let odd = [
        [0.0, 0.0, w, h],
        [w - 5.0, h - 8.0, w, h],
        [30.0, 30.0, 30.0, 30.0],
        [-30.0, -20.0, w + 30.0, h + 22.0],
        [-50.0, -50.0, -20.0, -20.0],
        [w + 9.0, 5.0, w + 50.0, 60.0],
        [60.0, 50.0, 20.0, 10.0],
        [f32::NAN, 0.0, 10.0, 10.0],
        [0.0, f32::INFINITY, 10.0, 10.0],
        [-3e38, 0.0, 3e38, 10.0],
        [-1e30, -1e30, 1e30, 1e30],
        [8.0, 8.0, 64.0, 64.0],   // on the border between two levels of canonical scale 112
        [8.0, 8.0, 120.0, 120.0], // and of 224
        [8.0, 8.0, 63.99999, 64.0],
    ];
    (0..count)
        .map(|i| {
            let random = || {
                let (x, y) = (noise.between(-0.1 * w, w), noise.between(-0.1 * h, h));
                let (right, down) = (noise.between(0.0, 1.0), noise.between(0.0, 1.0));
                [x, y, x + right * right * w, y + down * down * h]
            };
            let [x0, y0, x1, y1] = odd.get(i).copied().unwrap_or_else(random);
            NetworkBox::new(x0, y0, x1, y1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The logarithm's levels and the sides', around each least side and far from it.
    #[test]
    fn least_sides_choose_the_levels_of_the_logarithm() {
        for (scale, epsilon, levels) in [(224.0, 1e-6, 4), (224.0, 0.0, 4), (112.0, 1e-6, 5), (100.3, 0.0, 1)] {
            let op = RoiAlign {
                canonical_scale: scale,
                level_epsilon: epsilon,
                ..FPN
            };
            let sides = op.least_sides(levels);
            let chosen = |side: f32| sides[1..].iter().filter(|&&from| side >= from).count();
            let near = sides[1..].iter().flat_map(|s| s.to_bits() - 3000..s.to_bits() + 3000);
            let far = (0..=f32::INFINITY.to_bits()).step_by(65_537);
            for side in near.chain(far).map(f32::from_bits).chain([-0.0, f32::NAN]) {
                assert_eq!(chosen(side), op.level_of_side(side, levels), "{side} of {levels}");
            }
        }
        assert!(FPN.least_sides(4)[2] < 224.0 && FPN.least_sides(4)[2] > 223.999);
    }
}
