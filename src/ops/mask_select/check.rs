//! The mask kernel against [`super::select`] and the rounding that follows it.

use half::f16;

use super::launch::DeviceMaskSelect;
use super::select;
use crate::device::{Device, DeviceBuffer, DeviceError, Kernels, TensorNumber, TensorView};
use crate::instances::{Detection, MaskGrids};
use crate::ops::device::{Bits, Check, Noise, each_way};
use crate::ops::{Element, NetworkBox};

pub fn check(device: &Device, kernels: &Kernels) -> Result<Vec<Check>, DeviceError> {
    let mut checks = compare::<f16>(device, kernels, 28, 5, 8)?;
    checks.extend(compare::<f32>(device, kernels, 24, 3, 3)?);
    Ok(checks)
}

struct Work<T> {
    op: DeviceMaskSelect,
    logits: DeviceBuffer<T>,
    class_ids: DeviceBuffer<u32>,
    counts: DeviceBuffer<u32>,
    grids: DeviceBuffer<u8>,
}

fn compare<T: Element + TensorNumber + Bits>(
    device: &Device,
    kernels: &Kernels,
    side: usize,
    classes: usize,
    pitch: usize,
) -> Result<Vec<Check>, DeviceError> {
    const PER_IMAGE: usize = 9;
    const COUNTS: [u32; 3] = [9, 0, 4];
    let (cells, mut noise) = (side * side, Noise(side as u64));
    let detections = PER_IMAGE * COUNTS.len();
    let class_ids: Vec<u32> = (0..detections).map(|_| noise.below(classes - 1) as u32).collect();
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 90.0, -90.0];
    let logits: Vec<T> = (0..detections * cells * pitch)
        .map(|i| T::from_f32(odd.get(i / pitch).copied().unwrap_or_else(|| noise.between(-9.0, 9.0))))
        .collect();
    // Of each detection the channels first, as the plain loop takes them.
    let mut expected = Vec::new();
    for (index, &class_id) in class_ids.iter().enumerate() {
        if (index % PER_IMAGE) as u32 >= COUNTS[index / PER_IMAGE] {
            expected.resize(expected.len() + cells, 0);
            continue;
        }
        let channels_first: Vec<f32> = (0..classes * cells)
            .map(|i| logits[(index * cells + i % cells) * pitch + i / cells].to_f32())
            .collect();
        let detection = Detection {
            class_id,
            score: 1.0,
            bounds: NetworkBox::new(0.0, 0.0, 1.0, 1.0),
        };
        let mut probabilities = Vec::new();
        select(&channels_first, side, classes, &[detection], &mut probabilities).map_err(|e| DeviceError::Kernel {
            kernel: "mask_select".to_owned(),
            reason: e.to_string(),
        })?;
        let grids = MaskGrids {
            side: side as u32,
            values: crate::instances::GridValues::Probabilities(&probabilities),
        };
        expected.extend(grids.quantised(0));
    }
    let mut work = Work {
        op: DeviceMaskSelect::new(device, kernels, side, classes, PER_IMAGE, COUNTS.len())?,
        logits: device.upload("logits", &logits)?,
        class_ids: device.upload("class ids", &class_ids)?,
        counts: device.upload("counts", &COUNTS)?,
        grids: device.buffer("grids", detections * cells)?,
    };
    let mut checks = Vec::new();
    each_way(
        device,
        &mut work,
        |work, stream| {
            stream.fill(work.grids.slice_mut(), 0xa5)?;
            let logits = TensorView::over(work.logits.slice(), detections * cells, classes, pitch)?;
            let (class_ids, counts) = (work.class_ids.slice(), work.counts.slice());
            work.op
                .enqueue(stream, logits, class_ids, counts, work.grids.slice_mut())
        },
        |work, how| {
            let got = device.download(work.grids.slice())?;
            checks.push(Check::of(format!("mask_select of side {side}, {how}"), &expected, &got));
            Ok(())
        },
    )?;
    Ok(checks)
}
