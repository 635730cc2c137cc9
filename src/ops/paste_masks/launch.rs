//! The paste rule on a GPU: grids -> bitmaps, pixel by pixel those of `instances::paste`.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::bitmaps::{MaskPlace, SourceGeometry};
use crate::device::{
    CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape,
    Plain, arg, expect_at_least,
};
use crate::ops::device::{BITMAPS, BLOCK_SCAN, COMMON, small};

pub const SOURCE: KernelSource = KernelSource {
    name: "paste_masks",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, BITMAPS, BLOCK_SCAN],
};

/// Blocks that share the words of a mask: one of a whole HD picture keeps each thread for a dozen words.
const BLOCKS_A_MASK: u32 = 32;
const FILL_BLOCK: u32 = 128;
const PLACE_BLOCK: u32 = 256;

// SAFETY: repr(C), numbers of four bytes each.
unsafe impl Plain for SourceGeometry {}
// SAFETY: as above.
unsafe impl Plain for MaskPlace {}

/// Pasted masks on the device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceBitmaps<'a> {
    /// [N, D].
    pub places: DeviceSlice<'a, MaskPlace>,
    pub words: DeviceSlice<'a, u32>,
}

/// The paste with its kernels and its pool of words.
#[derive(Debug)]
pub struct DevicePasteMasks {
    /// M.
    side: usize,
    /// D.
    per_image: usize,
    /// N.
    batch: usize,
    place: Kernel,
    fill: Kernel,
    places: DeviceBuffer<MaskPlace>,
    words: DeviceBuffer<u32>,
}

/// `PasteMasks` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct PasteMasksArg {
    geometry: u64,
    boxes: u64,
    counts: u64,
    grids: u64,
    places: u64,
    words: u64,
    batch: u32,
    per_image: u32,
    side: u32,
    capacity: u32,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for PasteMasksArg {}

impl DevicePasteMasks {
    /// For grids of `side` x `side` and at most `per_image` detections in each of `batch` pictures; the bitmaps of all have
    /// `capacity_words` words of 32 pixels of a column.
    pub fn new(
        device: &Device,
        kernels: &Kernels,
        side: usize,
        per_image: usize,
        batch: usize,
        capacity_words: usize,
    ) -> Result<DevicePasteMasks, DeviceError> {
        let most = u16::MAX as usize; // of a launch, in its second and third dimension
        let masks = per_image.saturating_mul(batch);
        // Masks are counted in 32 bits, a block ahead.
        if !(1..=256).contains(&side) || per_image > most || batch > most || masks > 1 << 30 {
            return Err(DeviceError::Kernel {
                kernel: "paste_masks".to_owned(),
                reason: format!(
                    "side {side}, {per_image} detections of {batch} pictures: expected a side of 1 to 256, at most \
                     65535 detections and pictures, 2^30 in all"
                ),
            });
        }
        small("words of bitmaps", capacity_words)?;
        Ok(DevicePasteMasks {
            side,
            per_image,
            batch,
            place: kernels.get("paste_places")?,
            fill: kernels.get("paste_fill")?,
            places: device.buffer("places of masks", masks)?,
            words: device.buffer("bitmaps of masks", capacity_words)?,
        })
    }

    /// What the last [`DevicePasteMasks::enqueue`] leaves, once the stream has passed it.
    pub fn bitmaps(&self) -> DeviceBitmaps<'_> {
        DeviceBitmaps {
            places: self.places.slice(),
            words: self.words.slice(),
        }
    }

    /// Fills what [`DevicePasteMasks::enqueue`] writes with bytes it does not write.
    pub(crate) fn poison(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.fill(self.places.slice_mut(), 0xa5)?;
        stream.fill(self.words.slice_mut(), 0xa5)
    }

    /// Pastes `grids` [N, D, M, M] at `boxes` [N, D] (network px) into the pictures of `geometry` [N]; of picture n the
    /// first `counts[n]`. Words of the pool beyond the last mask stay as they were.
    pub fn enqueue(
        &mut self,
        stream: &CudaStream,
        geometry: DeviceSlice<'_, SourceGeometry>,
        boxes: DeviceSlice<'_, [f32; 4]>,
        counts: DeviceSlice<'_, u32>,
        grids: DeviceSlice<'_, u8>,
    ) -> Result<(), DeviceError> {
        let masks = self.batch * self.per_image;
        expect_at_least("geometries of pictures", self.batch, geometry.len())?;
        expect_at_least("boxes of masks", masks, boxes.len())?;
        expect_at_least("counts of masks", self.batch, counts.len())?;
        expect_at_least("mask grids", masks * self.side * self.side, grids.len())?;
        if masks == 0 {
            return Ok(());
        }
        let paste = PasteMasksArg {
            geometry: geometry.address(),
            boxes: boxes.address(),
            counts: counts.address(),
            grids: grids.address(),
            places: self.places.slice_mut().address(),
            words: self.words.slice_mut().address(),
            batch: self.batch as u32,
            per_image: self.per_image as u32,
            side: self.side as u32,
            capacity: small("words of bitmaps", self.words.len())?,
        };
        let one = LaunchShape {
            grid: [1, 1, 1],
            block: [PLACE_BLOCK, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: the argument is the kernel's own struct; the inputs hold what `batch` and `per_image` say (above),
        // `places` was allocated for as many.
        unsafe { self.place.launch(stream, one, &[arg(&paste)]) }?;
        let shape = LaunchShape {
            grid: [BLOCKS_A_MASK, self.per_image as u32, self.batch as u32],
            block: [FILL_BLOCK, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: as above; a mask is written only where the kernel before found that it lies within `capacity`.
        unsafe { self.fill.launch(stream, shape, &[arg(&paste)]) }
    }
}
