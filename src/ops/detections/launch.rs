//! Detections on a GPU: the bits of the plain loop, image by image of a batch.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::HeadSettings;
use crate::device::{
    CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape,
    TensorView, arg, expect_at_least,
};
use crate::ops::box_deltas::launch::{BOXES, CoderArg, expect_at_most, expect_tensor};
use crate::ops::device::{COMMON, TensorArg, small};
use crate::ops::nms::launch::{NMS, SELECT, SELECT_THREADS, iou_threshold};

pub const SOURCE: KernelSource = KernelSource {
    name: "detections",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, BOXES, NMS, SELECT],
};

/// Proposals of an image: their keys lie in the shared memory of a block.
const MOST_PROPOSALS: usize = 4096;
const MOST_DETECTIONS: usize = 1024;
/// A row's powers lie in the shared memory of a block.
const MOST_CLASSES: usize = 2048;
/// Blocks that a grid's second dimension takes.
const MOST_IMAGES: usize = 65_535;
/// `SOFTMAX_ROWS` of kernel.cu.
const SOFTMAX_ROWS: usize = 4;
/// `CLASS_THREADS` of kernel.cu.
const CLASS_THREADS: u32 = 256;
/// Shared memory that a kernel may use without asking, less what it has besides.
const SHARED_UNASKED: u32 = 40 << 10;

/// The op with its kernels and scratch memory, for one batch and number of proposals.
#[derive(Debug)]
pub struct DeviceDetections {
    kernels: [Kernel; 3],
    coder: CoderArg,
    score_threshold: f32,
    iou_threshold: f32,
    batch: usize,
    /// R, K and D of kernel.cu.
    rows: u32,
    classes: u32,
    limit: u32,
    /// Keys that a block of `det_class` has room for.
    room: u32,
    /// [N R, K]
    class_scores: DeviceBuffer<f32>,
    /// [N, K - 1, D]
    keys: DeviceBuffer<u64>,
    boxes: DeviceBuffer<[f32; 4]>,
    scores: DeviceBuffer<f32>,
    class_ids: DeviceBuffer<u32>,
    counts: DeviceBuffer<u32>,
}

/// `DetBoxes` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct BoxesArg {
    deltas: TensorArg,
    proposals: u64,
    pictures: u64,
    coder: CoderArg,
}

// SAFETY: repr(C), members of the same types in the same order as in kernel.cu.
unsafe impl KernelArg for BoxesArg {}

impl DeviceDetections {
    /// `classes`: K, with the background; `proposals`: R, rows of an image; `batch`: images.
    pub fn new(
        device: &Device,
        kernels: &Kernels,
        settings: &HeadSettings,
        classes: usize,
        proposals: usize,
        batch: usize,
    ) -> Result<DeviceDetections, DeviceError> {
        expect_at_least("classes of the box head with the background", 2, classes)?;
        expect_at_least("a batch", 1, batch)?;
        expect_at_most(SOURCE.name, "images", MOST_IMAGES, batch)?;
        expect_at_most(SOURCE.name, "classes", MOST_CLASSES, classes)?;
        expect_at_most(SOURCE.name, "proposals of an image", MOST_PROPOSALS, proposals)?;
        // No more detections than there are candidates; what is beyond in the outputs would be zeros alone.
        expect_at_most(
            SOURCE.name,
            "detections of an image",
            MOST_DETECTIONS,
            settings.max_detections,
        )?;
        let names = ["det_softmax", "det_class", "det_best"];
        let [softmax, class, best] = names.map(|name| kernels.get(name));
        let limit = settings.max_detections;
        let made = DeviceDetections {
            kernels: [softmax?, class?, best?],
            coder: CoderArg::new(&settings.coder, settings.min_size_px),
            score_threshold: settings.score_threshold,
            iou_threshold: iou_threshold(settings.iou_threshold),
            batch,
            rows: small("proposals", proposals)?,
            classes: small("classes", classes)?,
            limit: small("detections", limit)?,
            room: small("proposals", proposals.next_power_of_two().max(2))?,
            class_scores: device.buffer("scores of classes", batch * proposals * classes)?,
            keys: device.buffer("detections of a class", batch * (classes - 1) * limit)?,
            boxes: device.buffer("detections", batch * limit)?,
            scores: device.buffer("scores of detections", batch * limit)?,
            class_ids: device.buffer("classes of detections", batch * limit)?,
            counts: device.buffer("counts of detections", batch)?,
        };
        if made.class_shared_bytes() > SHARED_UNASKED {
            made.kernels[1].allow_shared_bytes(made.class_shared_bytes())?;
        }
        Ok(made)
    }

    /// Keys of the candidates and boxes of what is kept.
    fn class_shared_bytes(&self) -> u32 {
        8 * self.room + 16 * self.limit
    }

    /// Queues the op. `logits` [N R, K], `deltas` [N R, 4 K], `proposals` [N R], of which the first `counts` [N] of each
    /// image are there; `pictures` [N]: width and height of the part of the network's input that shows each picture.
    pub fn enqueue(
        &mut self,
        stream: &CudaStream,
        logits: TensorView<'_>,
        deltas: TensorView<'_>,
        proposals: DeviceSlice<'_, [f32; 4]>,
        counts: DeviceSlice<'_, u32>,
        pictures: DeviceSlice<'_, [u32; 2]>,
    ) -> Result<(), DeviceError> {
        let (all, classes) = (self.batch * self.rows as usize, self.classes as usize);
        expect_tensor("class logits", &logits, all, classes)?;
        expect_tensor("box deltas", &deltas, all, 4 * classes)?;
        expect_at_least("proposals", all, proposals.len())?;
        expect_at_least("counts of proposals", self.batch, counts.len())?;
        expect_at_least("pictures' sizes", self.batch, pictures.len())?;
        if self.limit == 0 {
            return stream.fill(self.counts.slice_mut(), 0);
        }
        let of = BoxesArg {
            deltas: (&deltas).into(),
            proposals: proposals.address(),
            pictures: pictures.address(),
            coder: self.coder,
        };
        let (logits, counts, all_rows) = (TensorArg::from(&logits), counts.address(), small("proposals", all)?);
        let (class_scores, keys) = (self.class_scores.slice().address(), self.keys.slice().address());
        let (boxes, scores) = (self.boxes.slice().address(), self.scores.slice().address());
        let (class_ids, out_counts) = (self.class_ids.slice().address(), self.counts.slice().address());
        let batch = self.batch as u32;
        let [softmax, class, best] = &self.kernels;
        // SAFETY for all launches: lengths of what is borrowed were compared above with N, R and K, for which `new` made
        // the buffers: [N R, K] scores, [N, K - 1, D] keys, [N, D] outputs. A block of `det_softmax` has SOFTMAX_ROWS * K
        // floats of shared memory, one of `det_class` a key a proposal and a box a detection. Types and order of the
        // arguments are those of kernel.cu.
        let args = [
            arg(&logits),
            arg(&counts),
            arg(&self.rows),
            arg(&all_rows),
            arg(&self.classes),
            arg(&class_scores),
        ];
        let shape = LaunchShape {
            shared_bytes: (SOFTMAX_ROWS * classes * size_of::<f32>()) as u32,
            ..LaunchShape::linear(32 * all, 32 * SOFTMAX_ROWS as u32)
        };
        // SAFETY: as above.
        unsafe { softmax.launch(stream, shape, &args) }?;
        let args = [
            arg(&of),
            arg(&class_scores),
            arg(&counts),
            arg(&self.rows),
            arg(&self.classes),
            arg(&self.score_threshold),
            arg(&self.iou_threshold),
            arg(&self.room),
            arg(&self.limit),
            arg(&keys),
        ];
        let shape = LaunchShape {
            grid: [self.classes - 1, batch, 1],
            block: [CLASS_THREADS, 1, 1],
            shared_bytes: self.class_shared_bytes(),
        };
        // SAFETY: as above.
        unsafe { class.launch(stream, shape, &args) }?;
        let args = [
            arg(&of),
            arg(&keys),
            arg(&self.rows),
            arg(&self.classes),
            arg(&self.limit),
            arg(&boxes),
            arg(&scores),
            arg(&class_ids),
            arg(&out_counts),
        ];
        let shape = LaunchShape {
            grid: [batch, 1, 1],
            block: [SELECT_THREADS, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: as above.
        unsafe { best.launch(stream, shape, &args) }
    }

    /// [N, max_detections], by descending score; zeros beyond the count, as in all outputs.
    pub fn boxes(&self) -> DeviceSlice<'_, [f32; 4]> {
        self.boxes.slice()
    }

    /// [N, max_detections]
    pub fn scores(&self) -> DeviceSlice<'_, f32> {
        self.scores.slice()
    }

    /// [N, max_detections], from 0 without the background.
    pub fn class_ids(&self) -> DeviceSlice<'_, u32> {
        self.class_ids.slice()
    }

    /// [N]
    pub fn counts(&self) -> DeviceSlice<'_, u32> {
        self.counts.slice()
    }

    /// Bytes that no kernel writes, wherever one should: for checks.
    pub(super) fn poison(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        const BYTE: u8 = 0xcd;
        stream.fill(self.class_scores.slice_mut(), BYTE)?;
        stream.fill(self.keys.slice_mut(), BYTE)?;
        stream.fill(self.boxes.slice_mut(), BYTE)?;
        stream.fill(self.scores.slice_mut(), BYTE)?;
        stream.fill(self.class_ids.slice_mut(), BYTE)?;
        stream.fill(self.counts.slice_mut(), BYTE)
    }
}
