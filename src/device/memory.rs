//! Memory on the device, and the host memory it reads and writes directly. All of it is allocated when a plan is made;
//! a frame allocates nothing.

use std::marker::PhantomData;
use std::sync::Arc;

use cudarc::driver::result;

use super::context::Context;
use super::error::refused;
use super::stream::{CudaStream, Fence};
use super::{Device, DeviceError};

/// Values that may be copied to and from a device as they lie in memory.
///
/// # Safety
/// Any bytes are a valid value, and the type has no padding.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

macro_rules! plain {
    ($($kind:ty),*) => {
        // SAFETY: numbers without invalid values or padding.
        $(unsafe impl Plain for $kind {})*
    };
}
plain!(
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    u64,
    i64,
    f32,
    half::f16,
    half::bf16,
    [f32; 4],
    [u32; 2],
    [i32; 4]
);

/// An array on the device.
#[derive(Debug)]
pub struct DeviceBuffer<T> {
    address: u64,
    len: usize,
    context: Arc<Context>,
    kind: PhantomData<T>,
}

/// An array on the host that the device copies from and to without the processor.
#[derive(Debug)]
pub struct PinnedBuffer<T> {
    start: *mut T,
    len: usize,
    fence: Arc<Fence>,
    context: Arc<Context>,
}

// SAFETY: owns its memory; what the device does with it is ordered by the fence.
unsafe impl<T: Plain> Send for PinnedBuffer<T> {}

/// Part of an array on the device.
#[derive(Debug)]
pub struct DeviceSlice<'a, T> {
    address: u64,
    len: usize,
    of: PhantomData<&'a [T]>,
}

/// Part of an array on the device that will be written.
#[derive(Debug)]
pub struct DeviceSliceMut<'a, T> {
    address: u64,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

impl Device {
    /// `len` values, all zero bytes. `what` names them where there is no room.
    pub fn buffer<T: Plain>(&self, what: &str, len: usize) -> Result<DeviceBuffer<T>, DeviceError> {
        self.bind()?;
        let context = Arc::clone(self.context());
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        // SAFETY: freed in `Drop` only.
        let address =
            unsafe { result::malloc_sync(bytes) }.map_err(|e| context.no_memory("cuMemAlloc", what, bytes, e))?;
        context.counted(bytes);
        let buffer = DeviceBuffer {
            address,
            len,
            context,
            kind: PhantomData,
        };
        // SAFETY: `bytes` bytes were allocated just above.
        unsafe { result::memset_d8_sync(address, 0, bytes) }.map_err(|e| refused("cuMemsetD8", e))?;
        finish_default_stream()?;
        Ok(buffer)
    }

    /// A device copy of `values`, done when this returns.
    pub fn upload<T: Plain>(&self, what: &str, values: &[T]) -> Result<DeviceBuffer<T>, DeviceError> {
        let buffer = self.buffer(what, values.len())?;
        if !values.is_empty() {
            // SAFETY: the buffer has as many values.
            unsafe { result::memcpy_htod_sync(buffer.address, values) }.map_err(|e| refused("cuMemcpyHtoD", e))?;
            finish_default_stream()?;
        }
        Ok(buffer)
    }

    /// A host copy of a device array, after waiting for everything on the device: for tests and start-up, not for frames.
    pub fn download<T: Plain>(&self, from: DeviceSlice<'_, T>) -> Result<Vec<T>, DeviceError> {
        self.synchronize()?;
        // SAFETY: any bytes are a T (`Plain`).
        let zero: T = unsafe { std::mem::zeroed() };
        let mut values = vec![zero; from.len];
        if from.len > 0 {
            // SAFETY: `from` borrows an array of at least `len` values.
            unsafe { result::memcpy_dtoh_sync(&mut values, from.address) }.map_err(|e| refused("cuMemcpyDtoH", e))?;
        }
        Ok(values)
    }

    /// Pinned host memory of `len` values, all zero bytes. Not write-combined: the host may read it as fast as any other.
    pub fn pinned<T: Plain>(&self, what: &str, len: usize) -> Result<PinnedBuffer<T>, DeviceError> {
        self.bind()?;
        let context = Arc::clone(self.context());
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        let fence = Arc::new(Fence::new(Arc::clone(&context))?);
        // SAFETY: freed in `Drop` only; 0 = no flags.
        let start = unsafe { result::malloc_host(bytes, 0) }
            .map_err(|e| context.no_memory("cuMemHostAlloc", what, bytes, e))?;
        context.counted(bytes);
        // SAFETY: `bytes` bytes were allocated just above.
        unsafe { std::ptr::write_bytes(start.cast::<u8>(), 0, bytes) };
        Ok(PinnedBuffer {
            start: start.cast(),
            len,
            fence,
            context,
        })
    }
}

/// Waits for fills and for copies from ordinary memory: their calls may return before the device is done, and our streams
/// do not wait for the default stream they run on.
fn finish_default_stream() -> Result<(), DeviceError> {
    // SAFETY: null is the default stream, which always is.
    unsafe { result::stream::synchronize(std::ptr::null_mut()) }.map_err(|e| refused("cuStreamSynchronize", e))
}

impl<T: Plain> DeviceBuffer<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn slice(&self) -> DeviceSlice<'_, T> {
        DeviceSlice {
            address: self.address,
            len: self.len,
            of: PhantomData,
        }
    }

    pub fn slice_mut(&mut self) -> DeviceSliceMut<'_, T> {
        DeviceSliceMut {
            address: self.address,
            len: self.len,
            of: PhantomData,
        }
    }
}

impl<T> Drop for DeviceBuffer<T> {
    fn drop(&mut self) {
        // Queued work may still use it. cuMemFree waits for that by itself; said here, since correctness hangs on it.
        let freed = self.context.bind().and_then(|()| {
            result::ctx::synchronize().map_err(|e| refused("cuCtxSynchronize", e))?;
            // SAFETY: allocated in `Device::buffer`; nothing uses it any more.
            unsafe { result::free_sync(self.address) }.map_err(|e| refused("cuMemFree", e))
        });
        if let Err(error) = freed {
            tracing::warn!("{error}");
        }
        self.context.freed((self.len * size_of::<T>()).max(1));
    }
}

impl<T: Plain> PinnedBuffer<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values, after waiting for copies that were queued.
    pub fn read(&self) -> Result<&[T], DeviceError> {
        self.fence.wait()?;
        // SAFETY: `len` values, initialised at allocation; the device is done with them, and can be given them again only
        // by a call that borrows `self` or by a graph whose launch raises the fence again. See `CudaGraph::launch`.
        Ok(unsafe { std::slice::from_raw_parts(self.start, self.len) })
    }

    /// The values to be written, after waiting for copies that were queued.
    pub fn write(&mut self) -> Result<&mut [T], DeviceError> {
        self.fence.wait()?;
        // SAFETY: as in `read`.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }
}

impl<T> Drop for PinnedBuffer<T> {
    fn drop(&mut self) {
        let freed = self.fence.wait().and_then(|()| self.context.bind()).and_then(|()| {
            // SAFETY: allocated in `Device::pinned`; the fence says that the device is done with it.
            unsafe { result::free_host(self.start.cast()) }.map_err(|e| refused("cuMemFreeHost", e))
        });
        if let Err(error) = freed {
            tracing::warn!("{error}");
        }
        self.context.freed((self.len * size_of::<T>()).max(1));
    }
}

impl CudaStream {
    /// Queues a copy of the first `to.len()` values to the device.
    pub fn upload<T: Plain>(&self, from: &PinnedBuffer<T>, to: DeviceSliceMut<'_, T>) -> Result<(), DeviceError> {
        expect_at_least("pinned buffer", to.len, from.len)?;
        if to.len == 0 {
            return Ok(());
        }
        self.expect_fences()?;
        self.context().bind()?;
        // SAFETY: `from` has at least `to.len` initialised values; the copy is over before they can be written again
        // (`touch`) or freed (`Drop` waits for the fence).
        let values = unsafe { std::slice::from_raw_parts(from.start, to.len) };
        // SAFETY: `to` has `to.len` values.
        unsafe { result::memcpy_htod_async(to.address, values, self.raw()) }
            .map_err(|e| refused("cuMemcpyHtoDAsync", e))?;
        self.touch(&from.fence)
    }

    /// Queues a copy of all of `from` into the first values of `to`.
    pub fn download<T: Plain>(&self, from: DeviceSlice<'_, T>, to: &mut PinnedBuffer<T>) -> Result<(), DeviceError> {
        expect_at_least("pinned buffer", from.len, to.len)?;
        if from.len == 0 {
            return Ok(());
        }
        self.expect_fences()?;
        self.context().bind()?;
        // SAFETY: `to` has at least `from.len` values; nobody reads them before the copy is over (`touch`).
        let values = unsafe { std::slice::from_raw_parts_mut(to.start, from.len) };
        // SAFETY: `from` has `from.len` values.
        unsafe { result::memcpy_dtoh_async(values, from.address, self.raw()) }
            .map_err(|e| refused("cuMemcpyDtoHAsync", e))?;
        self.touch(&to.fence)
    }

    /// Queues a copy of all of `from` into the first values of `to`, both on the device.
    pub fn copy<T: Plain>(&self, from: DeviceSlice<'_, T>, to: DeviceSliceMut<'_, T>) -> Result<(), DeviceError> {
        expect_at_least("device array", from.len, to.len)?;
        if from.len == 0 {
            return Ok(());
        }
        self.context().bind()?;
        // SAFETY: both have `from.len` values; `to` is borrowed alone, so they do not overlap.
        unsafe { result::memcpy_dtod_async(to.address, from.address, from.len * size_of::<T>(), self.raw()) }
            .map_err(|e| refused("cuMemcpyDtoDAsync", e))
    }

    /// Queues a fill with `byte`.
    pub fn fill<T: Plain>(&self, to: DeviceSliceMut<'_, T>, byte: u8) -> Result<(), DeviceError> {
        if to.len == 0 {
            return Ok(());
        }
        self.context().bind()?;
        // SAFETY: `to` has that many bytes.
        unsafe { result::memset_d8_async(to.address, byte, to.len * size_of::<T>(), self.raw()) }
            .map_err(|e| refused("cuMemsetD8Async", e))
    }
}

impl<T> Clone for DeviceSlice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for DeviceSlice<'_, T> {}

impl<'a, T: Plain> DeviceSlice<'a, T> {
    /// Memory of someone else.
    ///
    /// # Safety
    /// `address` is that of `len` values on this process's device, which live and are not written for `'a`.
    pub unsafe fn from_raw(address: u64, len: usize) -> DeviceSlice<'a, T> {
        DeviceSlice {
            address,
            len,
            of: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    /// Values `start .. start + len`; an error where there are not as many.
    pub fn part(self, start: usize, len: usize) -> Result<DeviceSlice<'a, T>, DeviceError> {
        expect_at_least("device array", start.saturating_add(len), self.len)?;
        Ok(DeviceSlice {
            address: self.address + (start * size_of::<T>()) as u64,
            len,
            of: PhantomData,
        })
    }
}

impl<'a, T: Plain> DeviceSliceMut<'a, T> {
    /// Memory of someone else.
    ///
    /// # Safety
    /// `address` is that of `len` values on this process's device, which live and are nobody else's for `'a`.
    pub unsafe fn from_raw(address: u64, len: usize) -> DeviceSliceMut<'a, T> {
        DeviceSliceMut {
            address,
            len,
            of: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn reborrow(&mut self) -> DeviceSliceMut<'_, T> {
        DeviceSliceMut {
            address: self.address,
            len: self.len,
            of: PhantomData,
        }
    }

    pub fn as_slice(&self) -> DeviceSlice<'_, T> {
        DeviceSlice {
            address: self.address,
            len: self.len,
            of: PhantomData,
        }
    }

    /// Values `start .. start + len`; an error where there are not as many.
    pub fn part(self, start: usize, len: usize) -> Result<DeviceSliceMut<'a, T>, DeviceError> {
        expect_at_least("device array", start.saturating_add(len), self.len)?;
        Ok(DeviceSliceMut {
            address: self.address + (start * size_of::<T>()) as u64,
            len,
            of: PhantomData,
        })
    }
}

/// An error naming `what` when it has fewer than `expected` values.
pub fn expect_at_least(what: &str, expected: usize, got: usize) -> Result<(), DeviceError> {
    if got >= expected {
        return Ok(());
    }
    Err(DeviceError::Size {
        what: what.to_owned(),
        expected,
        got,
    })
}
