//! What can go wrong between this program and a GPU.

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

/// Why a CUDA device cannot be used, or did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "no NVIDIA driver: libcuda.so.1 is not on this machine; install the driver of the distribution (nvidia-driver)"
    )]
    NoDriver,
    #[error("no CUDA device {ordinal}: the driver sees {count}")]
    NoDevice { ordinal: usize, count: usize },
    #[error("the NVIDIA driver does not answer {call}: {reason}")]
    Driver { call: &'static str, reason: String },
    #[error("the GPU has no room for {bytes} bytes of {what}: {free} of {total} are free")]
    OutOfMemory {
        what: String,
        bytes: usize,
        free: usize,
        total: usize,
    },
    #[error("kernel {kernel}: {reason}")]
    Kernel { kernel: String, reason: String },
    #[error("{what} of {got} values: expected {expected}")]
    Size { what: String, expected: usize, got: usize },
    #[error("all {slots} slots for {what} are in use: pictures are held longer than they are read")]
    Busy { what: String, slots: usize },
    #[error("{what} cannot be captured on stream {stream}")]
    Captured { stream: String, what: &'static str },
    #[error("kernels for sm_{sm}: {reason}")]
    Cubins { sm: u32, reason: String },
}

/// A refused driver call, with the driver's own words.
pub(super) fn refused(call: &'static str, error: DriverError) -> DeviceError {
    DeviceError::Driver {
        call,
        reason: words(error),
    }
}

pub(super) fn words(error: DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("{:?}", error.0))
}

pub(super) fn is_out_of_memory(error: &DriverError) -> bool {
    error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
}
