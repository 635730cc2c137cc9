//! Mask logits -> the bytes of each detection's own mask, on a GPU: the bits of [`super::select`] and of the rounding to
//! bytes that follows it (`MaskGrids`).

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use crate::device::{
    CudaStream, Device, DeviceError, DeviceSlice, DeviceSliceMut, Kernel, KernelArg, KernelSource, Kernels,
    LaunchShape, TensorView, arg, expect_at_least,
};
use crate::ops::device::{COMMON, TensorArg, small};

pub const SOURCE: KernelSource = KernelSource {
    name: "mask_select",
    text: include_str!("kernel.cu"),
    headers: &[COMMON],
};

const BLOCK: u32 = 256;

/// [`super::select`] with its kernel.
#[derive(Debug)]
pub struct DeviceMaskSelect {
    /// M.
    side: usize,
    /// K, with the background.
    classes: usize,
    /// D: detections of a picture.
    per_image: usize,
    /// N.
    batch: usize,
    kernel: Kernel,
}

/// `MaskSelect` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct MaskSelectArg {
    logits: TensorArg,
    class_ids: u64,
    counts: u64,
    grids: u64,
    classes: u32,
    per_image: u32,
    cells: u32,
    unused: u32,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for MaskSelectArg {}

impl DeviceMaskSelect {
    /// For masks of `side` x `side` and at most `per_image` detections in each of `batch` pictures; `classes` with the
    /// background.
    pub fn new(
        _device: &Device,
        kernels: &Kernels,
        side: usize,
        classes: usize,
        per_image: usize,
        batch: usize,
    ) -> Result<DeviceMaskSelect, DeviceError> {
        let most = u16::MAX as usize; // of a launch, in its second and third dimension
        if !(1..=256).contains(&side) || classes < 2 || per_image > most || batch > most {
            return Err(DeviceError::Kernel {
                kernel: "mask_select".to_owned(),
                reason: format!(
                    "side {side}, {classes} classes, {per_image} detections of {batch} pictures: expected a side of 1 \
                     to 256, at least 2 classes, at most 65535 detections and pictures"
                ),
            });
        }
        Ok(DeviceMaskSelect {
            side,
            classes,
            per_image,
            batch,
            kernel: kernels.get("mask_select")?,
        })
    }

    /// `logits` [N * D * M * M, K] with the background at channel 0 -> `grids` [N, D, M * M]: of detection d of picture n
    /// `round(255 p)`, p the sigmoid of channel `class_ids[n, d] + 1`; zeros where `d >= counts[n]`, and where there is no
    /// such channel.
    pub fn enqueue(
        &self,
        stream: &CudaStream,
        logits: TensorView<'_>,
        class_ids: DeviceSlice<'_, u32>,
        counts: DeviceSlice<'_, u32>,
        grids: DeviceSliceMut<'_, u8>,
    ) -> Result<(), DeviceError> {
        let (detections, cells) = (self.batch * self.per_image, self.side * self.side);
        expect_at_least("channels of mask logits", self.classes, logits.channels)?;
        expect_at_least("positions of mask logits", detections * cells, logits.positions)?;
        expect_at_least("class ids", detections, class_ids.len())?;
        expect_at_least("counts of detections", self.batch, counts.len())?;
        expect_at_least("mask grids", detections * cells, grids.len())?;
        if detections == 0 {
            return Ok(());
        }
        let select = MaskSelectArg {
            logits: TensorArg::from(&logits),
            class_ids: class_ids.address(),
            counts: counts.address(),
            grids: grids.address(),
            classes: small("classes", self.classes)?,
            per_image: self.per_image as u32,
            cells: cells as u32,
            unused: 0,
        };
        let shape = LaunchShape {
            grid: [(cells as u32).div_ceil(BLOCK), self.per_image as u32, self.batch as u32],
            block: [BLOCK, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: the argument is the kernel's own struct; what it reads and writes for `detections` masks of `cells` was
        // checked above, and a class id beyond `classes` reads nothing.
        unsafe { self.kernel.launch(stream, shape, &[arg(&select)]) }
    }
}
