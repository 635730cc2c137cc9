//! Spans on a GPU: exactly those of [`super::encode`].

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::{MaskSpan, SpanRange};
use crate::device::{
    CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape,
    Plain, arg, expect_at_least,
};
use crate::ops::device::{BITMAPS, BLOCK_SCAN, COMMON, small};
use crate::ops::paste_masks::launch::DeviceBitmaps;

pub const SOURCE: KernelSource = KernelSource {
    name: "encode_rle",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, BITMAPS, BLOCK_SCAN],
};

const MASK_BLOCK: u32 = 128;
const PLACE_BLOCK: u32 = 256;

// SAFETY: repr(C), numbers of four bytes each.
unsafe impl Plain for MaskSpan {}
// SAFETY: as above.
unsafe impl Plain for SpanRange {}

/// The encoder with its kernels and its pool of spans.
#[derive(Debug)]
pub struct DeviceEncodeRle {
    count: Kernel,
    place: Kernel,
    write: Kernel,
    ranges: DeviceBuffer<SpanRange>,
    spans: DeviceBuffer<MaskSpan>,
}

/// `EncodeRle` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct EncodeRleArg {
    places: u64,
    words: u64,
    ranges: u64,
    spans: u64,
    masks: u32,
    capacity: u32,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for EncodeRleArg {}

impl DeviceEncodeRle {
    /// For `masks` bitmaps, those of a batch, which have at most `capacity_spans` spans together.
    pub fn new(
        device: &Device,
        kernels: &Kernels,
        masks: usize,
        capacity_spans: usize,
    ) -> Result<DeviceEncodeRle, DeviceError> {
        small("masks, a block ahead", masks.saturating_mul(2))?;
        small("spans of masks", capacity_spans)?;
        Ok(DeviceEncodeRle {
            count: kernels.get("rle_count")?,
            place: kernels.get("rle_place")?,
            write: kernels.get("rle_write")?,
            ranges: device.buffer("ranges of spans", masks)?,
            spans: device.buffer("spans of masks", capacity_spans)?,
        })
    }

    /// One a mask: what the last [`DeviceEncodeRle::enqueue`] leaves, once the stream has passed it.
    pub fn ranges(&self) -> DeviceSlice<'_, SpanRange> {
        self.ranges.slice()
    }

    /// The pool.
    pub fn spans(&self) -> DeviceSlice<'_, MaskSpan> {
        self.spans.slice()
    }

    /// Fills what [`DeviceEncodeRle::enqueue`] writes with bytes it does not write.
    pub(crate) fn poison(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.fill(self.ranges.slice_mut(), 0xa5)?;
        stream.fill(self.spans.slice_mut(), 0xa5)
    }

    /// Encodes the bitmaps. Spans of the pool beyond the last mask's stay as they were.
    pub fn enqueue(&mut self, stream: &CudaStream, bitmaps: &DeviceBitmaps<'_>) -> Result<(), DeviceError> {
        let masks = self.ranges.len();
        expect_at_least("places of masks", masks, bitmaps.places.len())?;
        if masks == 0 {
            return Ok(());
        }
        let encode = EncodeRleArg {
            places: bitmaps.places.address(),
            words: bitmaps.words.address(),
            ranges: self.ranges.slice_mut().address(),
            spans: self.spans.slice_mut().address(),
            masks: masks as u32,
            capacity: self.spans.len() as u32,
        };
        let shape = |blocks: usize, threads: u32| LaunchShape {
            grid: [blocks as u32, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: the argument is the kernels' own struct; there are at least `masks` places (above), whose bitmaps
        // lie in `words` by `DeviceBitmaps`' maker, and as many ranges.
        unsafe { self.count.launch(stream, shape(masks, MASK_BLOCK), &[arg(&encode)]) }?;
        // SAFETY: as above.
        unsafe { self.place.launch(stream, shape(1, PLACE_BLOCK), &[arg(&encode)]) }?;
        // SAFETY: as above; a mask's spans are written only where the kernel before found that they lie within `capacity`.
        unsafe { self.write.launch(stream, shape(masks, MASK_BLOCK), &[arg(&encode)]) }
    }
}
