//! The ops on a GPU at the sizes of ResNet-50-FPN on 800x1344, to be timed by whoever has events: each maker gives one set of
//! buffers with the work over it. Data are the seeded noise of the host's ops.

use half::f16;

use super::{blob, boxes, grid, noise};
use crate::device::{CudaStream, Device, DeviceBuffer, DeviceError, KernelSource, Kernels, TensorView, TensorViewMut};
use crate::geometry::{ImageSize, Letterbox};
use crate::ops::detections::HeadSettings;
use crate::ops::detections::launch::{self as detections, DeviceDetections};
use crate::ops::encode_rle::launch::{self as encode_rle, DeviceEncodeRle};
use crate::ops::mask_select::launch::{self as mask_select, DeviceMaskSelect};
use crate::ops::paste_masks::bitmaps::SourceGeometry;
use crate::ops::paste_masks::launch::{self as paste_masks, DevicePasteMasks};
use crate::ops::proposals::RpnSettings;
use crate::ops::proposals::launch::{self as proposals, DeviceProposals};
use crate::ops::roi_align::launch::{self as roi_align, DeviceLevel, DeviceRoiAlign};
use crate::ops::roi_align::{Alignment, RoiAlign, Sampling};

/// Queues one run over its buffers; may be captured.
pub type Work = Box<dyn FnMut(&CudaStream) -> Result<(), DeviceError>>;

/// One op at one size.
#[derive(Clone, Copy)]
pub struct Timed {
    pub name: &'static str,
    pub sources: &'static [KernelSource],
    /// Makes a set of buffers, filled by a seed, and the work over it.
    pub prepare: fn(&Device, &Kernels, u32) -> Result<Work, DeviceError>,
    /// What one run reads and writes, about.
    pub bytes: usize,
}

pub const TIMED: &[Timed] = &[
    Timed {
        name: "roi_align 7x7, 1000 RoIs",
        sources: &[roi_align::SOURCE],
        prepare: |device, kernels, seed| align(device, kernels, seed, 7, 1000),
        bytes: 70 << 20,
    },
    Timed {
        name: "roi_align 14x14, 100 RoIs",
        sources: &[roi_align::SOURCE],
        prepare: |device, kernels, seed| align(device, kernels, seed, 14, 100),
        bytes: 55 << 20,
    },
    Timed {
        name: "proposals, 1000 kept",
        sources: &[proposals::SOURCE],
        prepare: propose,
        bytes: 8 << 20,
    },
    Timed {
        name: "detections, 1000x91",
        sources: &[detections::SOURCE],
        prepare: detect,
        bytes: 2 << 20,
    },
    Timed {
        name: "mask select, 100 of 28x28",
        sources: &[mask_select::SOURCE],
        prepare: select_masks,
        bytes: 15 << 20,
    },
    Timed {
        name: "paste and encode 100 masks, 1280x720",
        sources: &[paste_masks::SOURCE, encode_rle::SOURCE],
        prepare: paste_and_encode,
        bytes: 8 << 20,
    },
];

const PADDED: ImageSize = ImageSize::new(1344, 800);
const PICTURE: ImageSize = ImageSize::new(1333, 800);
const CLASSES: usize = 91;

fn halves(count: usize, seed: u32, scale: f32, shift: f32) -> Vec<f16> {
    let half = |v: f32| f16::from_f32(v * scale + shift);
    noise(count, seed).into_iter().map(half).collect()
}

fn corners(count: usize, seed: u32) -> Vec<[f32; 4]> {
    let boxes = boxes(count, PADDED, seed).into_iter();
    boxes.map(|b| [b.x0, b.y0, b.x1, b.y1]).collect()
}

/// The picture's part of the network's input.
fn picture(device: &Device) -> Result<DeviceBuffer<[u32; 2]>, DeviceError> {
    device.upload("pictures", &[[PICTURE.width, PICTURE.height]])
}

fn align(device: &Device, kernels: &Kernels, seed: u32, side: usize, count: usize) -> Result<Work, DeviceError> {
    let channels = 256;
    let op = RoiAlign {
        channels,
        output_side: side,
        sampling: Sampling::Fixed(2),
        alignment: Alignment::Corner,
        canonical_scale: 224.0,
        canonical_level: 4,
        min_level: 2,
        level_epsilon: 1e-6,
    };
    let strides = [4, 8, 16, 32];
    let map = |&stride: &u32| {
        let cells = grid(PADDED, stride).area() as usize;
        device.upload("features", &halves(channels * cells, 100 * seed + stride, 1.0, 0.0))
    };
    let maps: Vec<DeviceBuffer<f16>> = strides.iter().map(map).collect::<Result<_, _>>()?;
    let rois = device.upload("RoIs", &corners(count, 3))?;
    let counts = device.upload("counts", &[count as u32])?;
    let positions = count * side * side;
    let mut out = device.buffer::<f16>("pooled", positions * channels)?;
    let op = DeviceRoiAlign::new(device, kernels, &op, strides.len(), count, 1)?;
    Ok(Box::new(move |stream| {
        let mut levels = Vec::with_capacity(strides.len());
        for (map, stride) in maps.iter().zip(strides) {
            let grid = grid(PADDED, stride);
            levels.push(DeviceLevel {
                features: TensorView::over(map.slice(), grid.area() as usize, channels, channels)?,
                grid,
                spatial_scale: 1.0 / stride as f32,
            });
        }
        let out = TensorViewMut::over(out.slice_mut(), positions, channels, channels)?;
        op.enqueue(stream, &levels, rois.slice(), counts.slice(), out)
    }))
}

/// Logits and deltas of three anchors a cell side by side, sixteen values a cell.
fn propose(device: &Device, kernels: &Kernels, seed: u32) -> Result<Work, DeviceError> {
    let grids = [4, 8, 16, 32, 64].map(|stride| grid(PADDED, stride));
    let level = |(index, grid): (usize, &ImageSize)| {
        let (cells, seed) = (grid.area() as usize, 100 * seed + index as u32);
        Ok((
            device.upload("logits", &halves(3 * cells, seed, 4.0, -4.0))?,
            device.upload("deltas", &halves(12 * cells, seed + 50, 0.2, 0.0))?,
        ))
    };
    let maps: Vec<(DeviceBuffer<f16>, DeviceBuffer<f16>)> = grids
        .iter()
        .enumerate()
        .map(level)
        .collect::<Result<_, DeviceError>>()?;
    let pictures = picture(device)?;
    let mut op = DeviceProposals::new(device, kernels, &RpnSettings::torchvision(), &grids, PADDED, 1)?;
    Ok(Box::new(move |stream| {
        let mut levels = Vec::with_capacity(grids.len());
        for ((logits, deltas), grid) in maps.iter().zip(&grids) {
            let cells = grid.area() as usize;
            levels.push((
                TensorView::over(logits.slice(), cells, 3, 3)?,
                TensorView::over(deltas.slice(), cells, 12, 12)?,
            ));
        }
        op.enqueue(stream, &levels, pictures.slice())
    }))
}

/// A third of 1000 proposals show something.
fn detect(device: &Device, kernels: &Kernels, seed: u32) -> Result<Work, DeviceError> {
    let count = 1000;
    let mut logits = noise(count * CLASSES, 11 + seed);
    for (i, row) in logits.chunks_exact_mut(CLASSES).enumerate() {
        row[if i % 3 == 0 { 1 + i % 90 } else { 0 }] += 7.0;
    }
    let logits = device.upload("logits", &logits)?;
    let deltas = device.upload("deltas", &noise(4 * count * CLASSES, 12 + seed))?;
    let proposals = device.upload("proposals", &corners(count, 13))?;
    let counts = device.upload("counts", &[count as u32])?;
    let pictures = picture(device)?;
    let mut op = DeviceDetections::new(device, kernels, &HeadSettings::torchvision(), CLASSES, count, 1)?;
    Ok(Box::new(move |stream| {
        let logits = TensorView::over(logits.slice(), count, CLASSES, CLASSES)?;
        let deltas = TensorView::over(deltas.slice(), count, 4 * CLASSES, 4 * CLASSES)?;
        op.enqueue(
            stream,
            logits,
            deltas,
            proposals.slice(),
            counts.slice(),
            pictures.slice(),
        )
    }))
}

fn select_masks(device: &Device, kernels: &Kernels, seed: u32) -> Result<Work, DeviceError> {
    let (count, side, pitch) = (100, 28, 96);
    let positions = count * side * side;
    let logits = device.upload("mask logits", &halves(positions * pitch, seed, 4.0, 0.0))?;
    let class_ids: Vec<u32> = (0..count as u32).map(|i| i % 90).collect();
    let class_ids = device.upload("classes", &class_ids)?;
    let counts = device.upload("counts", &[count as u32])?;
    let mut grids = device.buffer::<u8>("mask grids", positions)?;
    let op = DeviceMaskSelect::new(device, kernels, side, CLASSES, count, 1)?;
    Ok(Box::new(move |stream| {
        let logits = TensorView::over(logits.slice(), positions, CLASSES, pitch)?;
        op.enqueue(stream, logits, class_ids.slice(), counts.slice(), grids.slice_mut())
    }))
}

fn paste_and_encode(device: &Device, kernels: &Kernels, seed: u32) -> Result<Work, DeviceError> {
    let (count, side, source) = (100, 28, ImageSize::new(1280, 720));
    let letterbox = Letterbox {
        source,
        resized: ImageSize::new(1333, 750),
        network: PADDED,
    };
    let byte = |p: f32| (255.0 * p).round() as u8;
    let grids: Vec<u8> = (0..count as u32)
        .flat_map(|i| blob(side, 100 * seed + i))
        .map(byte)
        .collect();
    let grids = device.upload("mask grids", &grids)?;
    let geometry = device.upload("geometry", &[SourceGeometry::from(&letterbox)])?;
    let boxes = device.upload("boxes", &corners(count, 8))?;
    let counts = device.upload("counts", &[count as u32])?;
    let words = count * source.width as usize * source.height.div_ceil(32) as usize;
    let mut paste = DevicePasteMasks::new(device, kernels, side, count, 1, words)?;
    let mut encode = DeviceEncodeRle::new(device, kernels, count, 1 << 20)?;
    Ok(Box::new(move |stream| {
        paste.enqueue(stream, geometry.slice(), boxes.slice(), counts.slice(), grids.slice())?;
        encode.enqueue(stream, &paste.bitmaps())
    }))
}
