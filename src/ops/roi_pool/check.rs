//! RoI pooling's kernels against the plain loops.

use half::f16;

use super::launch::DeviceRoiPool;
use super::{PyramidLevel, RoiPool};
use crate::device::{Device, DeviceBuffer, DeviceError, Kernels, TensorView, TensorViewMut};
use crate::geometry::ImageSize;
use crate::ops::device::{Check, Noise, each_way};
use crate::ops::roi_align::check::{features, pitched, rois};
use crate::ops::roi_align::launch::DeviceLevel;

const NETWORK: ImageSize = ImageSize::new(160, 112);
const GRID: ImageSize = ImageSize::new(10, 7);
const SCALE: f32 = 1.0 / 16.0;
const ROIS_PER_IMAGE: usize = 60;
const COUNTS: [u32; 3] = [60, 0, 33];

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = Vec::new();
    for (channels, output_side, out_channels, pitches) in
        [(16, 7, 16, [24, 16]), (8, 6, 16, [8, 16]), (5, 7, 6, [7, 7])]
    {
        let op = RoiPool { channels, output_side };
        compare(device, kernels, op, out_channels, pitches, &mut checks)?;
    }
    Ok(checks)
}

struct Work {
    op: DeviceRoiPool,
    features: DeviceBuffer<f16>,
    rois: DeviceBuffer<[f32; 4]>,
    counts: DeviceBuffer<u32>,
    out: DeviceBuffer<f16>,
}

fn compare(
    device: &Device,
    kernels: &Kernels,
    op: RoiPool,
    out_channels: usize,
    [in_pitch, out_pitch]: [usize; 2],
    checks: &mut Vec<Check>,
) -> Result<(), DeviceError> {
    let (batch, mut noise) = (COUNTS.len(), Noise(op.channels as u64));
    let size = GRID.area() as usize * op.channels;
    let features = features(&mut noise, batch * size);
    let rois = rois(&mut noise, NETWORK, batch * ROIS_PER_IMAGE);
    let flat: Vec<[f32; 4]> = rois.iter().map(|b| [b.x0, b.y0, b.x1, b.y1]).collect();
    let mut expected = Vec::new();
    for (image, &count) in COUNTS.iter().enumerate() {
        let map = PyramidLevel {
            features: &features[image * size..(image + 1) * size],
            grid: GRID,
            spatial_scale: SCALE,
        };
        let mut out = vec![f16::ZERO; ROIS_PER_IMAGE * op.values()];
        let active = &rois[image * ROIS_PER_IMAGE..][..count as usize];
        op.run_plain(&map, active, &mut out[..active.len() * op.values()])
            .map_err(|e| DeviceError::Kernel {
                kernel: "roi_pool".to_owned(),
                reason: e.to_string(),
            })?;
        expected.extend(pitched(&out, op.channels, out_channels));
    }
    let positions = expected.len() / out_channels;
    let mut work = Work {
        op: DeviceRoiPool::new(device, kernels, &op, ROIS_PER_IMAGE, batch)?,
        features: device.upload("features", &pitched(&features, op.channels, in_pitch))?,
        rois: device.upload("RoIs", &flat)?,
        counts: device.upload("counts", &COUNTS)?,
        out: device.buffer("pooled", positions * out_pitch)?,
    };
    each_way(
        device,
        &mut work,
        |work, stream| {
            stream.fill(work.out.slice_mut(), 0xa5)?;
            let cells = batch * GRID.area() as usize;
            let map = DeviceLevel {
                features: TensorView::over(work.features.slice(), cells, op.channels, in_pitch)?,
                grid: GRID,
                spatial_scale: SCALE,
            };
            let (rois, counts) = (work.rois.slice(), work.counts.slice());
            let out = TensorViewMut::over(work.out.slice_mut(), positions, out_channels, out_pitch)?;
            work.op.enqueue(stream, &map, rois, counts, out)
        },
        |work, how| {
            let got = device.download(work.out.slice())?;
            let cells = got.chunks_exact(out_pitch).flat_map(|cell| &cell[..out_channels]);
            let got: Vec<f16> = cells.copied().collect();
            checks.push(Check::of(
                format!("roi_pool {0}x{0} of {1} channels, {how}", op.output_side, op.channels),
                &expected,
                &got,
            ));
            Ok(())
        },
    )
}
