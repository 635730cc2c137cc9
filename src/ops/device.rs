//! What the ops' kernels share on the host side: how a tensor is handed over, and how a kernel is compared with its plain
//! loop, on the stand-in driver of the tests as on a GPU.

// Kernel arguments are laid out by hand.
#![allow(unsafe_code)]

use crate::device::{CudaStream, Device, DeviceError, KernelArg, TensorElement, TensorView};

/// What every kernel includes.
pub const COMMON: (&str, &str) = ("common.cuh", include_str!("common.cuh"));
/// Eight f16 values in one access.
pub(crate) const VECTOR8: (&str, &str) = ("vector8.cuh", include_str!("vector8.cuh"));
/// Running sums over the threads of a block.
pub(crate) const BLOCK_SCAN: (&str, &str) = ("block_scan.cuh", include_str!("block_scan.cuh"));

/// Pasted masks.
pub(crate) const BITMAPS: (&str, &str) = ("bitmaps.cuh", include_str!("bitmaps.cuh"));

/// `Tensor` of common.cuh.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorArg {
    data: u64,
    pitch: u32,
    is_f32: u32,
}

// SAFETY: repr(C), and the same three members as in common.cuh.
unsafe impl KernelArg for TensorArg {}

impl From<&TensorView<'_>> for TensorArg {
    fn from(view: &TensorView<'_>) -> TensorArg {
        TensorArg {
            data: view.address(),
            pitch: u32::try_from(view.pitch).unwrap_or(u32::MAX),
            is_f32: u32::from(view.element == TensorElement::F32),
        }
    }
}

/// `value` as kernels count.
pub(crate) fn small(what: &str, value: usize) -> Result<u32, DeviceError> {
    u32::try_from(value).map_err(|_| DeviceError::Size {
        what: what.to_owned(),
        expected: u32::MAX as usize,
        got: value,
    })
}

/// Queues the same work as it is, and twice as a captured graph; after each, `look` at what it left. `queue` poisons its
/// outputs first.
pub(crate) fn each_way<S>(
    device: &Device,
    state: &mut S,
    queue: impl Fn(&mut S, &CudaStream) -> Result<(), DeviceError>,
    mut look: impl FnMut(&S, &'static str) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let stream = device.stream("check")?;
    queue(state, &stream)?;
    stream.synchronize()?;
    look(state, "eager")?;
    let mut graph = stream.capture(|| queue(state, &stream))?;
    for which in ["graph", "graph again"] {
        graph.launch(&stream)?;
        stream.synchronize()?;
        look(state, which)?;
    }
    Ok(())
}

/// One comparison of a kernel with its plain loop.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    pub what: String,
    /// Values compared.
    pub values: usize,
    /// Of them, those whose bits differ.
    pub different: usize,
    /// FNV-1a over what the device gave.
    pub hash: u64,
}

impl Check {
    /// Compares bits; a length that differs counts each missing value.
    pub fn of<T: Bits>(what: impl Into<String>, expected: &[T], got: &[T]) -> Check {
        let unequal = expected.iter().zip(got).filter(|(a, b)| a.bits() != b.bits()).count();
        let hash = got.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
            let bytes = value.bits().to_le_bytes();
            bytes[..size_of::<T>().min(8)]
                .iter()
                .fold(hash, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        });
        Check {
            what: what.into(),
            values: expected.len().max(got.len()),
            different: unequal + expected.len().abs_diff(got.len()),
            hash,
        }
    }
}

/// Values that are compared by their bits; all NaN are equal.
pub trait Bits: Copy {
    fn bits(self) -> u64;
}

impl Bits for f32 {
    fn bits(self) -> u64 {
        let canonical = if self.is_nan() { f32::NAN } else { self };
        u64::from(canonical.to_bits())
    }
}

impl Bits for half::f16 {
    fn bits(self) -> u64 {
        let canonical = if self.is_nan() { half::f16::NAN } else { self };
        u64::from(canonical.to_bits())
    }
}

macro_rules! bits {
    ($($kind:ty),*) => { $(impl Bits for $kind { fn bits(self) -> u64 { self as u64 } })* };
}
bits!(u8, u16, u32, u64, i32);

/// Numbers for checks, the same on every machine (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Noise(pub u64);

impl Noise {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `low .. high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 40) as f32 / (1u32 << 24) as f32)
    }

    /// `0 .. end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }
}
