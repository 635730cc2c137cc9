//! The CUDA driver: what this machine has. Belongs here: everything that owns a CUDA handle. Not here: kernels
//! (`ops/*/launch.rs`), dense parts on a GPU (`engine`).
//!
//! The driver is loaded at run time; a machine without one gets an error value and never a panic.

// cudarc's loader and attribute calls are unsafe functions.
#![allow(unsafe_code)]

mod context;
pub mod cubins;
mod error;
#[cfg(feature = "gstreamer")]
mod gst_cuda;
mod kernels;
pub mod libraries;
mod memory;
pub mod nvrtc;
mod share;
mod shared;
mod stream;
mod tensor;
mod upload;

pub use context::{Device, DeviceFacts};
pub use error::DeviceError;
pub use kernels::{Arg, Kernel, KernelArg, KernelSource, Kernels, LaunchShape, arg};
pub use memory::{DeviceBuffer, DeviceSlice, DeviceSliceMut, PinnedBuffer, Plain, expect_at_least};
pub use share::{DeviceShare, ShareError};
pub use shared::DeviceBytes;
pub use stream::{CudaGraph, CudaStream, Event, Timing};
pub use tensor::{TensorElement, TensorNumber, TensorView, TensorViewMut};
pub use upload::{HostRows, UploadRing, Uploaded};

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute};

use error::refused;

/// What the CUDA driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaProbe {
    /// Newest CUDA version the driver serves: (13, 0).
    pub driver_version: (u32, u32),
    pub devices: Vec<CudaDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaDevice {
    pub name: String,
    /// (9, 0) = Hopper.
    pub compute_capability: (u32, u32),
    pub memory_bytes: u64,
}

/// Asks the driver for its version and devices. Creates no context and no memory on any device.
pub fn probe() -> Result<CudaProbe, DeviceError> {
    // SAFETY: opens the driver's library by name and closes it; its initialisers have no preconditions.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    result::init().map_err(|e| refused("cuInit", e))?;
    let mut version = 0;
    // SAFETY: the library is present and initialised (above); `version` is a valid place for one integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(|e| refused("cuDriverGetVersion", e))?;
    let count = result::device::get_count().map_err(|e| refused("cuDeviceGetCount", e))?;
    let mut devices = Vec::new();
    for ordinal in 0..count {
        let device = result::device::get(ordinal).map_err(|e| refused("cuDeviceGet", e))?;
        let name = result::device::get_name(device).map_err(|e| refused("cuDeviceGetName", e))?;
        // SAFETY: `device` comes from cuDeviceGet just above.
        let memory = unsafe { result::device::total_mem(device) }.map_err(|e| refused("cuDeviceTotalMem", e))?;
        let attribute = |which| {
            // SAFETY: as above; the attributes asked for exist in every driver.
            unsafe { result::device::get_attribute(device, which) }
                .map(i32::unsigned_abs)
                .map_err(|e| refused("cuDeviceGetAttribute", e))
        };
        devices.push(CudaDevice {
            name,
            compute_capability: (
                attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            memory_bytes: memory as u64,
        });
    }
    Ok(CudaProbe {
        driver_version: split_version(version.unsigned_abs()),
        devices,
    })
}

/// 13020 -> (13, 2).
fn split_version(version: u32) -> (u32, u32) {
    (version / 1000, version % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_thousands_and_tens() {
        assert_eq!((split_version(13_020), split_version(12_080)), ((13, 2), (12, 8)));
    }

    /// With or without a driver: an answer, never a panic.
    #[test]
    fn a_probe_answers() {
        match probe() {
            Ok(found) => {
                assert!(found.driver_version.0 >= 11, "{found:?}");
                assert!(
                    found.devices.iter().all(|d| !d.name.is_empty() && d.memory_bytes > 0),
                    "{found:?}"
                );
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
    }
}
