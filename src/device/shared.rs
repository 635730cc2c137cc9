//! Bytes on the device that came from outside a plan and have several readers: an upload slot, a decoder's frame.

use std::fmt;
use std::sync::Arc;

use cudarc::driver::result;

use super::error::refused;
use super::{CudaStream, Device, DeviceError, Event};

/// Bytes on the device, shared and immutable: they live, and stay as they are, while anyone holds this. A reader that
/// queues work holds it until that work is done, or has told the owner (see [`Self::is_left_to_owner`]).
#[derive(Clone)]
pub struct DeviceBytes {
    address: u64,
    len: usize,
    device: Device,
    owner: Arc<dyn DeviceOwner>,
}

/// Whose bytes they are: gives them back when it is dropped.
pub(super) trait DeviceOwner: Send + Sync {
    /// What is queued on `stream` from now on finds the bytes written.
    fn before(&self, stream: &CudaStream) -> Result<(), DeviceError>;

    /// Whether the owner waits for `read`, a point after what reads the bytes, before it changes them.
    fn waits_for(&self, read: &Arc<Event>) -> bool {
        let _ = read;
        false
    }
}

impl DeviceBytes {
    /// `owner` keeps `len` bytes at `address` alive and unchanged until it is dropped.
    pub(super) fn new(device: &Device, address: u64, len: usize, owner: Arc<dyn DeviceOwner>) -> DeviceBytes {
        DeviceBytes {
            address,
            len,
            device: device.clone(),
            owner,
        }
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is queued on `stream` from now on finds the bytes written.
    pub fn before(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        self.owner.before(stream)
    }

    /// Tells the owner of a reader: `read` was recorded after what it queued. `true` = the owner waits for it, and the reader
    /// may let go; `false` = the reader holds the bytes until then.
    pub fn is_left_to_owner(&self, read: &Arc<Event>) -> bool {
        self.owner.waits_for(read)
    }

    /// A host copy, there when this returns. Waits for the bytes to be written, and for nothing else on the device.
    pub fn to_host(&self) -> Result<Vec<u8>, DeviceError> {
        let stream = self.device.stream("pictures to the host")?;
        self.before(&stream)?;
        let mut bytes = vec![0u8; self.len];
        if self.len > 0 {
            // SAFETY: `owner` keeps `len` bytes at `address`; `bytes` has as many, and outlives the copy: it is waited for
            // on the next line.
            unsafe { result::memcpy_dtoh_async(&mut bytes, self.address, stream.raw()) }
                .map_err(|e| refused("cuMemcpyDtoHAsync", e))?;
            stream.synchronize()?;
        }
        Ok(bytes)
    }
}

impl fmt::Debug for DeviceBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceBytes({} at {:#x})", self.len, self.address)
    }
}
