//! One GPU: its primary context, which every CUDA library of this process shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use super::error::{is_out_of_memory, refused};
use super::{DeviceError, split_version};

/// A GPU in use. Clones share it; the context is given back when the last owner of anything on it is gone.
#[derive(Debug, Clone)]
pub struct Device(Arc<Context>);

/// What a GPU says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    pub ordinal: usize,
    pub name: String,
    /// 90 = sm_90.
    pub sm: u32,
    pub multiprocessors: u32,
    /// Shared memory a block may ask for, bytes.
    pub shared_bytes: u32,
    pub memory_bytes: u64,
    /// Newest CUDA version the driver serves.
    pub driver_version: (u32, u32),
}

#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    facts: DeviceFacts,
    /// Device and pinned allocations so far: in steady state this stands still.
    allocations: AtomicU64,
    live_bytes: AtomicU64,
}

// SAFETY: a CUcontext is a handle; the driver lets any thread make it current and use it.
unsafe impl Send for Context {}
// SAFETY: as above; driver calls are thread-safe.
unsafe impl Sync for Context {}

impl Device {
    /// GPU `ordinal`, through its primary context: the one that cuDNN, TensorRT and the CUDA runtime use too.
    pub fn open(ordinal: usize) -> Result<Device, DeviceError> {
        // SAFETY: opens the driver's library by name and closes it; its initialisers have no preconditions.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver);
        }
        result::init().map_err(|e| refused("cuInit", e))?;
        let count = result::device::get_count().map_err(|e| refused("cuDeviceGetCount", e))?;
        let count = usize::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(DeviceError::NoDevice { ordinal, count });
        }
        let device = result::device::get(ordinal as i32).map_err(|e| refused("cuDeviceGet", e))?;
        let facts = facts(ordinal, device)?;
        // SAFETY: `device` comes from cuDeviceGet just above; the reference taken here is released in `Drop`.
        let raw = unsafe { result::primary_ctx::retain(device) }.map_err(|e| refused("cuDevicePrimaryCtxRetain", e))?;
        let context = Context {
            device,
            raw,
            facts,
            allocations: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
        };
        context.bind()?;
        Ok(Device(Arc::new(context)))
    }

    pub fn facts(&self) -> &DeviceFacts {
        &self.0.facts
    }

    /// Device and pinned allocations since the device was opened.
    pub fn allocations(&self) -> u64 {
        self.0.allocations.load(Ordering::Relaxed)
    }

    /// Bytes of device memory this program holds now.
    pub fn live_bytes(&self) -> u64 {
        self.0.live_bytes.load(Ordering::Relaxed)
    }

    /// Waits for everything on the device.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.0.bind()?;
        result::ctx::synchronize().map_err(|e| refused("cuCtxSynchronize", e))
    }

    /// The primary context as other libraries take it. It must not be destroyed, nor used after the last clone of
    /// this is gone.
    pub fn raw_context(&self) -> *mut std::ffi::c_void {
        self.0.raw.cast()
    }

    /// The CUdevice, for libraries that ask for it beside the context.
    pub fn raw_device(&self) -> std::ffi::c_int {
        self.0.device
    }

    /// Makes the context current on the calling thread, for libraries that ask for that.
    pub fn bind(&self) -> Result<(), DeviceError> {
        self.0.bind()
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.0
    }
}

impl Context {
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: `raw` is retained until this is dropped.
        unsafe { result::ctx::set_current(self.raw) }.map_err(|e| refused("cuCtxSetCurrent", e))
    }

    pub(super) fn counted(&self, bytes: usize) {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        self.live_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn freed(&self, bytes: usize) {
        self.live_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// The error of a failed allocation, with what is free where memory is short.
    pub(super) fn no_memory(
        &self,
        call: &'static str,
        what: &str,
        bytes: usize,
        error: result::DriverError,
    ) -> DeviceError {
        if !is_out_of_memory(&error) {
            return refused(call, error);
        }
        let (free, total) = result::mem_get_info().unwrap_or((0, 0));
        DeviceError::OutOfMemory {
            what: what.to_owned(),
            bytes,
            free,
            total,
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: releases the reference taken in `open`; nothing on the device is left, as all of it holds an Arc of
        // this.
        if let Err(error) = unsafe { result::primary_ctx::release(self.device) } {
            tracing::warn!("cuDevicePrimaryCtxRelease: {:?}", error.0);
        }
    }
}

fn facts(ordinal: usize, device: sys::CUdevice) -> Result<DeviceFacts, DeviceError> {
    let mut version = 0;
    // SAFETY: the driver is initialised (`open`); `version` is a valid place for one integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(|e| refused("cuDriverGetVersion", e))?;
    let attribute = |which| {
        // SAFETY: `device` comes from cuDeviceGet; the attributes asked for exist in every driver.
        unsafe { result::device::get_attribute(device, which) }
            .map(i32::unsigned_abs)
            .map_err(|e| refused("cuDeviceGetAttribute", e))
    };
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(device) }.map_err(|e| refused("cuDeviceTotalMem", e))?;
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(DeviceFacts {
        ordinal,
        name: result::device::get_name(device).map_err(|e| refused("cuDeviceGetName", e))?,
        sm: 10 * major + minor,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        memory_bytes: memory as u64,
        driver_version: split_version(version.unsigned_abs()),
    })
}
