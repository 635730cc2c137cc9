//! The plan of this room as one kernel: a batch of pictures of any size and format in one launch, by the bits of the plain
//! loop, rounded to f16.

// A kernel is launched, and its arguments are laid out by hand.
#![allow(unsafe_code)]

use super::colour::YuvToRgb;
use super::{Normalise, PreprocessError};
use crate::device::{
    CudaStream, DeviceBuffer, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape, Plain,
    TensorElement, TensorView, TensorViewMut, arg, expect_at_least,
};
use crate::frame::{DevicePicture, PixelFormat};
use crate::geometry::{ImageSize, Letterbox};
use crate::ops::device::COMMON;

pub const SOURCE: KernelSource = KernelSource {
    name: "preprocess",
    text: include_str!("kernel.cu"),
    headers: &[COMMON],
};

/// Values of a position of the network's input: red, green, blue, and zeros up to a 16-byte store.
pub const CHANNELS: usize = 8;

/// Threads of a block, across and down.
const BLOCK: (u32, u32) = (32, 8);

/// One picture of a batch as the kernel reads it. Zero bytes are an empty slot.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureParams {
    planes: [u64; 3],
    pitches: [u32; 3],
    format: u32,
    source: [u32; 2],
    resized: [u32; 2],
    /// Source / resized, across and down.
    scale: [f32; 2],
    /// Luma; Cr to red; Cb, Cr to green; Cb to blue.
    yuv: [f32; 5],
    offset: [f32; 3],
}

const _: () = assert!(size_of::<PictureParams>() == 96 && align_of::<PictureParams>() == 8);

// SAFETY: numbers only, and no padding: 3 * 8 + 18 * 4 = 96 bytes, as the assertion above says.
unsafe impl Plain for PictureParams {}

impl PictureParams {
    /// A slot without a picture: its input becomes zeros.
    pub const EMPTY: PictureParams = PictureParams {
        planes: [0; 3],
        pitches: [0; 3],
        format: 0,
        source: [0; 2],
        resized: [0; 2],
        scale: [0.0; 2],
        yuv: [0.0; 5],
        offset: [0.0; 3],
    };

    /// `picture` placed by `letterbox`. Whoever has these lets go of the picture after the kernel.
    pub fn new(picture: &DevicePicture, letterbox: &Letterbox) -> Result<PictureParams, PreprocessError> {
        super::check_sizes(picture.size, letterbox)?;
        let planes = picture.planes();
        let mut pitches = [0; 3];
        for (short, (_, pitch)) in pitches.iter_mut().zip(planes) {
            *short = u32::try_from(pitch).map_err(|_| PreprocessError::Pitch { pitch })?;
        }
        let (source, resized) = (letterbox.source, letterbox.resized);
        let yuv = YuvToRgb::of(picture.matrix);
        Ok(PictureParams {
            planes: planes.map(|(address, _)| address),
            pitches,
            format: match picture.format {
                PixelFormat::Rgb8 => 0,
                PixelFormat::Bgr8 => 1,
                PixelFormat::Gray8 => 2,
                PixelFormat::Nv12 => 3,
                PixelFormat::I420 => 4,
                PixelFormat::Yuy2 => 5,
            },
            source: [source.width, source.height],
            resized: [resized.width, resized.height],
            scale: [
                source.width as f32 / resized.width as f32,
                source.height as f32 / resized.height as f32,
            ],
            yuv: [yuv.luma, yuv.red_cr, yuv.green_cb, yuv.green_cr, yuv.blue_cb],
            offset: yuv.offset,
        })
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct NormaliseArg {
    mean: [f32; 3],
    std: [f32; 3],
}

// SAFETY: repr(C), and the same six floats as in kernel.cu.
unsafe impl KernelArg for NormaliseArg {}

/// The kernel for one size of network input and one size of batch.
#[derive(Debug)]
pub struct DevicePreprocess {
    kernel: Kernel,
    normalise: NormaliseArg,
    network: ImageSize,
    batch: usize,
}

impl DevicePreprocess {
    /// `kernels` were loaded with [`SOURCE`].
    pub fn new(
        kernels: &Kernels,
        normalise: Normalise,
        network: ImageSize,
        batch: usize,
    ) -> Result<DevicePreprocess, DeviceError> {
        Ok(DevicePreprocess {
            kernel: kernels.get("preprocess")?,
            normalise: NormaliseArg {
                mean: normalise.mean,
                std: normalise.std,
            },
            network,
            batch,
        })
    }

    /// Writes every value of `out`, f16 [batch, height, width, 8], from the first `batch` of `pictures`: what they are is read
    /// on the device, so that a captured launch serves every frame. The pictures live until `stream` has passed this
    /// ([`super::PictureTable`] sees to that), and the stream waits for their bytes before.
    pub fn enqueue(
        &self,
        stream: &CudaStream,
        pictures: DeviceSlice<'_, PictureParams>,
        out: TensorViewMut<'_>,
    ) -> Result<(), DeviceError> {
        let (width, height) = (self.network.width, self.network.height);
        let view = out.as_view();
        expect_at_least("picture table", self.batch, pictures.len())?;
        let positions = (self.batch * width as usize).saturating_mul(height as usize);
        exactly("positions of the network's input", positions, view.positions)?;
        exactly("channels of the network's input", CHANNELS, view.channels)?;
        exactly("pitch of the network's input", CHANNELS, view.pitch)?;
        exactly("bytes of a value of the network's input", 2, view.element.bytes())?;
        exactly("16-byte remainder of its address", 0, (view.address() % 16) as usize)?;
        if positions == 0 {
            return Ok(());
        }
        debug_assert_eq!(view.element, TensorElement::F16);
        let shape = LaunchShape {
            grid: [
                width.div_ceil(BLOCK.0),
                height.div_ceil(BLOCK.1),
                u32::try_from(self.batch).unwrap_or(u32::MAX),
            ],
            block: [BLOCK.0, BLOCK.1, 1],
            shared_bytes: 0,
        };
        let (table, to) = (pictures.address(), view.address());
        let args = [arg(&table), arg(&to), arg(&width), arg(&height), arg(&self.normalise)];
        // SAFETY: the parameters of kernel.cu in order. It reads `batch` entries of `pictures`, which has as many, and writes
        // batch * height * width positions of 16 bytes, which are all of `out` (both checked above). An entry is EMPTY or of
        // `PictureParams::new`, whose picture has every row that the kernel reads.
        unsafe { self.kernel.launch(stream, shape, &args) }
    }
}

/// A buffer of `positions` positions as [`DevicePreprocess::enqueue`] writes it.
pub fn output(buffer: &mut DeviceBuffer<half::f16>, positions: usize) -> Result<TensorViewMut<'_>, DeviceError> {
    let needed = positions.saturating_mul(CHANNELS);
    expect_at_least("values of the network's input", needed, buffer.len())?;
    let address = buffer.slice_mut().address();
    // SAFETY: the buffer has that many values (just checked), and is borrowed for as long as the view.
    Ok(unsafe {
        TensorViewMut::new(TensorView::new(
            address,
            TensorElement::F16,
            positions,
            CHANNELS,
            CHANNELS,
        ))
    })
}

fn exactly(what: &str, expected: usize, got: usize) -> Result<(), DeviceError> {
    if expected == got {
        return Ok(());
    }
    Err(DeviceError::Size {
        what: what.to_owned(),
        expected,
        got,
    })
}
