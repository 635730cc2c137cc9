//! Masks tinted into a picture on a GPU: the bytes of [`super::tint_rgb`] and [`super::tint_nv12`], from bitmaps.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use crate::device::{
    CudaStream, Device, DeviceError, DeviceSlice, DeviceSliceMut, Kernel, KernelArg, KernelSource, Kernels,
    LaunchShape, arg, expect_at_least,
};
use crate::geometry::ImageSize;
use crate::ops::device::{BITMAPS, COMMON, small};
use crate::ops::paste_masks::launch::DeviceBitmaps;

pub const SOURCE: KernelSource = KernelSource {
    name: "overlay",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, BITMAPS],
};

/// The two kernels.
#[derive(Debug)]
pub struct DeviceOverlay {
    rgb: Kernel,
    nv12: Kernel,
}

/// A picture on the device, to be drawn on.
#[derive(Debug)]
pub enum DevicePicture<'a> {
    /// R G B bytes, rows this many bytes apart.
    Rgb8(DeviceSliceMut<'a, u8>, usize),
    /// Luma, then Cb Cr at half size (rounded up); of each the bytes and how far apart its rows are.
    Nv12 {
        luma: (DeviceSliceMut<'a, u8>, usize),
        chroma: (DeviceSliceMut<'a, u8>, usize),
    },
}

/// The masks of one picture, in order of score.
#[derive(Debug, Clone, Copy)]
pub struct DeviceTints<'a> {
    pub bitmaps: DeviceBitmaps<'a>,
    /// One value: how many of the places count.
    pub count: DeviceSlice<'a, u32>,
    /// One a place: R, G, B or Y, Cb, Cr in three bytes, the first lowest.
    pub tones: DeviceSlice<'a, u32>,
    /// How much is colour, 0..=256.
    pub alpha: u16,
}

/// `Overlay` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct OverlayArg {
    first: u64,
    chroma: u64,
    places: u64,
    words: u64,
    counts: u64,
    tones: u64,
    first_pitch: u32,
    chroma_pitch: u32,
    width: u32,
    height: u32,
    masks: u32,
    alpha: u32,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for OverlayArg {}

impl DeviceOverlay {
    pub fn new(_device: &Device, kernels: &Kernels) -> Result<DeviceOverlay, DeviceError> {
        Ok(DeviceOverlay {
            rgb: kernels.get("overlay_rgb")?,
            nv12: kernels.get("overlay_nv12")?,
        })
    }

    /// Tints `picture`, of `size`; masks whose bitmap is not held are left out.
    pub fn enqueue(
        &self,
        stream: &CudaStream,
        picture: DevicePicture<'_>,
        size: ImageSize,
        tints: &DeviceTints<'_>,
    ) -> Result<(), DeviceError> {
        let masks = tints.bitmaps.places.len();
        expect_at_least("tones of masks", masks, tints.tones.len())?;
        expect_at_least("counts of masks", 1, tints.count.len())?;
        if size.area() == 0 {
            return Ok(());
        }
        let (width, height) = (size.width as usize, size.height as usize);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let (kernel, first, chroma) = match &picture {
            DevicePicture::Rgb8(bytes, row_pitch) => {
                expect_rows("R G B", bytes, *row_pitch, 3 * width, height)?;
                (&self.rgb, (bytes.address(), *row_pitch), (0, 0))
            }
            DevicePicture::Nv12 { luma, chroma } => {
                expect_rows("luma", &luma.0, luma.1, width, height)?;
                expect_rows("chroma", &chroma.0, chroma.1, 2 * half_width, half_height)?;
                (&self.nv12, (luma.0.address(), luma.1), (chroma.0.address(), chroma.1))
            }
        };
        let overlay = OverlayArg {
            first: first.0,
            chroma: chroma.0,
            places: tints.bitmaps.places.address(),
            words: tints.bitmaps.words.address(),
            counts: tints.count.address(),
            tones: tints.tones.address(),
            first_pitch: small("row pitch", first.1)?,
            chroma_pitch: small("row pitch of chroma", chroma.1)?,
            width: size.width,
            height: size.height,
            masks: small("masks", masks)?,
            alpha: u32::from(tints.alpha),
        };
        let shape = LaunchShape {
            grid: [half_width.div_ceil(32) as u32, half_height.div_ceil(8) as u32, 1],
            block: [32, 8, 1],
            shared_bytes: 0,
        };
        // SAFETY: the argument is the kernel's own struct; the planes hold `size` (above), the tones as many as there are
        // places, and each place's bitmap lies in `words` by `DeviceBitmaps`' maker.
        unsafe { kernel.launch(stream, shape, &[arg(&overlay)]) }
    }
}

fn expect_rows(
    what: &str,
    bytes: &DeviceSliceMut<'_, u8>,
    row_pitch: usize,
    row: usize,
    rows: usize,
) -> Result<(), DeviceError> {
    expect_at_least("row pitch", row, row_pitch)?;
    let expected = (rows - 1).saturating_mul(row_pitch).saturating_add(row);
    expect_at_least(what, expected, bytes.len())
}
