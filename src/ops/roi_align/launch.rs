//! RoIAlign on a GPU: the bits of [`RoiAlign::run_plain`] over f16 features.

// Kernels take their arguments by address.
#![allow(unsafe_code)]

use super::{RoiAlign, Sampling};
use crate::device::{
    CudaStream, Device, DeviceError, DeviceSlice, Kernel, KernelArg, KernelSource, Kernels, LaunchShape, TensorElement,
    TensorView, TensorViewMut, arg, expect_at_least,
};
use crate::geometry::ImageSize;
use crate::ops::device::{COMMON, VECTOR8, small};

pub const SOURCE: KernelSource = KernelSource {
    name: "roi_align",
    text: include_str!("kernel.cu"),
    headers: &[COMMON, VECTOR8],
};

/// Levels that the kernels' argument has room for.
const MOST_LEVELS: usize = 8;
const BLOCK: u32 = 224; // seven cells of 256 channels, eight at a time

/// Features of one level, of all pictures of a batch.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLevel<'a> {
    /// [N * H * W, C], f16.
    pub features: TensorView<'a>,
    /// W x H.
    pub grid: ImageSize,
    /// Feature px in a network px: 1/4 for P2.
    pub spatial_scale: f32,
}

/// [`RoiAlign`] with its kernels.
#[derive(Debug)]
pub struct DeviceRoiAlign {
    op: RoiAlign,
    /// The least side, network px, of the RoIs of each level; of the first, unused.
    from_side: Vec<f32>,
    rois_per_image: usize,
    batch: usize,
    /// For this side and these samples, eight channels a thread.
    wide: Kernel,
    /// One channel a thread: where values do not come in eights.
    single: Kernel,
}

/// `Level` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct LevelArg {
    features: u64,
    width: u32,
    height: u32,
    pitch: u32,
    scale: f32,
    from_side: f32,
    unused: u32,
}

/// `RoiAlign` of kernel.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct RoiAlignArg {
    levels: [LevelArg; MOST_LEVELS],
    level_count: u32,
    channels: u32,
    side: u32,
    samples: u32,
    shift: f32,
    least: f32,
    rois_per_image: u32,
    out_channels: u32,
    out_pitch: u32,
    unused: u32,
    rois: u64,
    counts: u64,
    out: u64,
}

// SAFETY: repr(C), and member by member the struct of kernel.cu.
unsafe impl KernelArg for RoiAlignArg {}

impl DeviceRoiAlign {
    /// For at most `rois_per_image` RoIs in each of `batch` pictures, and a pyramid of `levels`.
    pub fn new(
        _device: &Device,
        kernels: &Kernels,
        op: &RoiAlign,
        levels: usize,
        rois_per_image: usize,
        batch: usize,
    ) -> Result<DeviceRoiAlign, DeviceError> {
        op.check_settings(levels).map_err(|e| refused(&e.to_string()))?;
        let most = u16::MAX as usize; // of a launch, in its second and third dimension
        let many_cells = op.output_side > 1024 || op.channels > 1 << 16; // a RoI's threads are counted in 32 bits
        if levels > MOST_LEVELS || rois_per_image > most || batch > most || many_cells {
            return Err(refused(&format!(
                "{levels} levels, {rois_per_image} RoIs of {batch} pictures: expected at most 8, 65535 and 65535"
            )));
        }
        let wide = match (op.output_side, op.sampling) {
            (7, Sampling::Fixed(2)) => "roi_align_7",
            (14, Sampling::Fixed(2)) => "roi_align_14",
            _ => "roi_align_wide",
        };
        Ok(DeviceRoiAlign {
            op: op.clone(),
            from_side: op.least_sides(levels),
            rois_per_image,
            batch,
            wide: kernels.get(wide)?,
            single: kernels.get("roi_align_single")?,
        })
    }

    /// Pools RoI r of picture n (network px) into the S x S positions of `out` from `(n * rois_per_image + r) * S * S` on;
    /// zeros where `r >= counts[n]`, and in channels of `out` beyond the op's.
    pub fn enqueue(
        &self,
        stream: &CudaStream,
        levels: &[DeviceLevel<'_>],
        rois: DeviceSlice<'_, [f32; 4]>,
        counts: DeviceSlice<'_, u32>,
        out: TensorViewMut<'_>,
    ) -> Result<(), DeviceError> {
        let RoiAlign {
            channels,
            output_side: side,
            ..
        } = self.op;
        let out = out.as_view();
        let rows = self.batch * self.rois_per_image;
        if levels.len() != self.from_side.len() {
            return Err(refused(&format!(
                "{} levels of features: expected {}",
                levels.len(),
                self.from_side.len()
            )));
        }
        let mut arg_levels = [LevelArg::default(); MOST_LEVELS];
        let mut in_eights = channels.is_multiple_of(8) && out.channels.is_multiple_of(8) && aligned(&out);
        for ((to, level), &from_side) in arg_levels.iter_mut().zip(levels).zip(&self.from_side) {
            let features = &level.features;
            expect_f16("a level", features, channels, features.channels == channels)?;
            let cells = level.grid.area().saturating_mul(self.batch as u64);
            expect_at_least("features of a level", cells.max(1) as usize, features.positions)?;
            expect_at_least("cells of a level", 1, level.grid.area().min(1) as usize)?;
            in_eights &= aligned(features);
            *to = LevelArg {
                features: features.address(),
                width: level.grid.width,
                height: level.grid.height,
                pitch: small("pitch of features", features.pitch)?,
                scale: level.spatial_scale,
                from_side,
                unused: 0,
            };
        }
        expect_f16("the pooled tensor", &out, channels, out.channels >= channels)?;
        expect_at_least("pooled positions", rows * side * side, out.positions)?;
        expect_at_least("RoIs", rows, rois.len())?;
        expect_at_least("counts of RoIs", self.batch, counts.len())?;
        if rows == 0 {
            return Ok(());
        }
        let (shift, least) = self.op.alignment.shift_and_least();
        let pool = RoiAlignArg {
            levels: arg_levels,
            level_count: levels.len() as u32,
            channels: channels as u32,
            side: side as u32,
            samples: match self.op.sampling {
                Sampling::Fixed(samples) => small("samples", samples)?,
                Sampling::Adaptive => 0,
            },
            shift,
            least,
            rois_per_image: self.rois_per_image as u32,
            out_channels: small("pooled channels", out.channels)?,
            out_pitch: small("pitch of the pooled tensor", out.pitch)?,
            unused: 0,
            rois: rois.address(),
            counts: counts.address(),
            out: out.address(),
        };
        let (kernel, at_once) = if in_eights { (&self.wide, 8) } else { (&self.single, 1) };
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
        // SAFETY: the argument is the kernel's own struct. Read: `batch` times the cells of each level, `rows` RoIs and
        // `batch` counts; written: `rows * side * side` positions of `out`; all checked above. Views of eight values at
        // a time begin at multiples of 16 bytes (`aligned`).
        unsafe { kernel.launch(stream, shape, &[arg(&pool)]) }
    }
}

/// Whether eight values can be read at once at every position.
fn aligned(view: &TensorView<'_>) -> bool {
    view.address().is_multiple_of(16) && view.pitch.is_multiple_of(8)
}

fn expect_f16(
    what: &'static str,
    view: &TensorView<'_>,
    expected: usize,
    channels_fit: bool,
) -> Result<(), DeviceError> {
    if view.element == TensorElement::F16 && channels_fit {
        return Ok(());
    }
    Err(refused(&format!(
        "{what} holds {:?} values of {} channels: expected F16 of {expected}",
        view.element, view.channels
    )))
}

fn refused(reason: &str) -> DeviceError {
    DeviceError::Kernel {
        kernel: "roi_align".to_owned(),
        reason: reason.to_owned(),
    }
}

impl RoiAlign {
    /// For each level the least side, network px, of the RoIs pooled from it or a later one; NaN where no side is large
    /// enough. The level grows with the side, so that comparing with these is the same as the logarithm, to the bit.
    pub(super) fn least_sides(&self, levels: usize) -> Vec<f32> {
        let least = |level: usize| {
            let reaches = |bits: u32| self.level_of_side(f32::from_bits(bits), levels) >= level;
            let (mut below, mut from) = (0, f32::INFINITY.to_bits());
            if reaches(below) {
                return 0.0;
            }
            if !reaches(from) {
                return f32::NAN;
            }
            while from - below > 1 {
                let middle = below + (from - below) / 2;
                if reaches(middle) { from = middle } else { below = middle }
            }
            f32::from_bits(from)
        };
        (0..levels).map(least).collect()
    }
}
