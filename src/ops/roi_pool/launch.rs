//! RoI max pooling on a GPU: the bits of [`RoiPool::run_plain`] over f16 features.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::RoiPool;
use crate::device::{
    CudaStream, Device, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape, TensorElement,
    TensorView, TensorViewMut, arg, expect_at_least,
};
use crate::ops::device::{COMMON, VECTOR8, small};
use crate::ops::roi_align::launch::DeviceLevel;

pub const SOURCE: KernelSource = KernelSource {
    name: "roi_pool",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, VECTOR8],
};

const BLOCK: u32 = 224;

/// [`RoiPool`] with its kernels.
#[derive(Debug)]
pub struct DeviceRoiPool {
    op: RoiPool,
    rois_per_image: usize,
    batch: usize,
    /// Eight channels a thread.
    wide: Kernel,
    single: Kernel,
}

/// `RoiPool` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct RoiPoolArg {
    features: u64,
    rois: u64,
    counts: u64,
    out: u64,
    width: u32,
    height: u32,
    pitch: u32,
    scale: f32,
    channels: u32,
    side: u32,
    rois_per_image: u32,
    out_channels: u32,
    out_pitch: u32,
    unused: u32,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for RoiPoolArg {}

impl DeviceRoiPool {
    /// For at most `rois_per_image` RoIs in each of `batch` pictures.
    pub fn new(
        _device: &Device,
        kernels: &Kernels,
        op: &RoiPool,
        rois_per_image: usize,
        batch: usize,
    ) -> Result<DeviceRoiPool, DeviceError> {
        op.check_settings().map_err(|e| refused(&e.to_string()))?;
        let most = u16::MAX as usize; // of a launch, in its second and third dimension
        let many_cells = op.output_side > 1024 || op.channels > 1 << 16; // a RoI's threads are counted in 32 bits
        if rois_per_image > most || batch > most || many_cells {
            return Err(refused(&format!(
                "{rois_per_image} RoIs of {batch} pictures: expected at most 65535 of each"
            )));
        }
        Ok(DeviceRoiPool {
            op: *op,
            rois_per_image,
            batch,
            wide: kernels.get("roi_pool_wide")?,
            single: kernels.get("roi_pool_single")?,
        })
    }

    /// Pools RoI r of picture n (network px) into the S x S positions of `out` from `(n * rois_per_image + r) * S * S` on;
    /// zeros where `r >= counts[n]`, and in channels of `out` beyond the op's.
    pub fn enqueue(
        &self,
        stream: &CudaStream,
        map: &DeviceLevel<'_>,
        rois: DeviceSlice<'_, [f32; 4]>,
        counts: DeviceSlice<'_, u32>,
        out: TensorViewMut<'_>,
    ) -> Result<(), DeviceError> {
        let RoiPool {
            channels,
            output_side: side,
        } = self.op;
        let (out, features) = (out.as_view(), &map.features);
        let rows = self.batch * self.rois_per_image;
        let fits = features.channels == channels && out.channels >= channels;
        if !fits || features.element != TensorElement::F16 || out.element != TensorElement::F16 {
            return Err(refused(&format!(
                "{:?} of {} channels to {:?} of {}: expected F16 of {channels}",
                features.element, features.channels, out.element, out.channels
            )));
        }
        let cells = map.grid.area().saturating_mul(self.batch as u64) as usize;
        expect_at_least("cells of the map", 1, map.grid.area().min(1) as usize)?;
        expect_at_least("features of the map", cells, features.positions)?;
        expect_at_least("pooled positions", rows * side * side, out.positions)?;
        expect_at_least("RoIs", rows, rois.len())?;
        expect_at_least("counts of RoIs", self.batch, counts.len())?;
        if rows == 0 {
            return Ok(());
        }
        let pool = RoiPoolArg {
            features: features.address(),
            rois: rois.address(),
            counts: counts.address(),
            out: out.address(),
            width: map.grid.width,
            height: map.grid.height,
            pitch: small("pitch of features", features.pitch)?,
            scale: map.spatial_scale,
            channels: channels as u32,
            side: side as u32,
            rois_per_image: self.rois_per_image as u32,
            out_channels: small("pooled channels", out.channels)?,
            out_pitch: small("pitch of the pooled tensor", out.pitch)?,
            unused: 0,
        };
        let aligned = |view: &TensorView<'_>| view.address().is_multiple_of(16) && view.pitch.is_multiple_of(8);
        let eights = channels.is_multiple_of(8) && out.channels.is_multiple_of(8);
        let (kernel, at_once) = if eights && aligned(features) && aligned(&out) {
            (&self.wide, 8)
        } else {
            (&self.single, 1)
        };
        let threads = (side * side).saturating_mul(out.channels / at_once);
        let shape = LaunchShape {
            grid: [
                small("cells of a RoI", threads.div_ceil(BLOCK as usize))?,
                self.rois_per_image as u32,
                self.batch as u32,
            ],
            block: [BLOCK, 1, 1],
            shared_bytes: 0,
        };
        // SAFETY: the argument is the kernel's own struct. Read: `batch` times the cells of the map, `rows` RoIs and
        // `batch` counts; written: `rows * side * side` positions of `out`; all checked above. Views of eight values at
        // a time begin at multiples of 16 bytes (`aligned`).
        unsafe { kernel.launch(stream, shape, &[arg(&pool)]) }
    }
}

fn refused(reason: &str) -> DeviceError {
    DeviceError::Kernel {
        kernel: "roi_pool".to_owned(),
        reason: reason.to_owned(),
    }
}
