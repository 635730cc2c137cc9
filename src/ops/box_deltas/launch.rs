//! Box deltas on a GPU: the device functions of `boxes.cuh`, and what they are told.

// Kernel arguments are laid out by hand.
#![allow(unsafe_code)]

use super::BoxCoder;
use crate::device::{DeviceError, KernelArg, TensorView};

pub(in crate::ops) const BOXES: (&str, &str) = ("boxes.cuh", include_str!("../boxes.cuh"));

/// `BoxCoder` of boxes.cuh.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct CoderArg {
    weights: [f32; 4],
    extra: f32,
    min_size_px: f32,
}

// SAFETY: repr(C), and the same six numbers as in boxes.cuh.
unsafe impl KernelArg for CoderArg {}

impl CoderArg {
    pub(in crate::ops) fn new(coder: &BoxCoder, min_size_px: f32) -> CoderArg {
        CoderArg {
            weights: coder.weights,
            extra: coder.width.extra(),
            min_size_px,
        }
    }

    /// As [`crate::ops::BoxWidth::extra`].
    pub(in crate::ops) fn extra(&self) -> f32 {
        self.extra
    }
}

/// An error naming `what` unless `view` is [`positions`, `channels`] and its places can be counted.
pub(in crate::ops) fn expect_tensor(
    what: &str,
    view: &TensorView<'_>,
    positions: usize,
    channels: usize,
) -> Result<(), DeviceError> {
    let wrong = |part: &str, expected, got| DeviceError::Size {
        what: format!("{what}, {part}"),
        expected,
        got,
    };
    if view.positions != positions {
        return Err(wrong("positions", positions, view.positions));
    }
    if view.channels != channels {
        return Err(wrong("channels", channels, view.channels));
    }
    if view.pitch < channels || u32::try_from(view.pitch).is_err() {
        return Err(wrong("pitch", channels, view.pitch));
    }
    Ok(())
}

/// An error of `kernel` naming `what` when it is more than the kernel has room for.
pub(in crate::ops) fn expect_at_most(kernel: &str, what: &str, most: usize, got: usize) -> Result<(), DeviceError> {
    if got <= most {
        return Ok(());
    }
    Err(DeviceError::Kernel {
        kernel: kernel.to_owned(),
        reason: format!("{got} {what}: at most {most}"),
    })
}
