//! The GPU path on the stand-in driver: the unchanged program, with its kernels compiled for the host. Each module runs
//! what a GPU machine runs too.

// Helpers outside of #[test] functions are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// The stand-in is a library to be loaded.
#![allow(unsafe_code)]

mod barriers;
mod cudnn;
mod detections;
mod device_room;
mod gpu_check;
#[cfg(feature = "gstreamer")]
mod gst_cuda;
mod masks;
mod network;
mod overlay;
mod preprocess;
mod proposals;
mod resources;
mod roi_align;
mod roi_pool;

use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use maskcast::device::Device;
use maskcast::ops::device::Check;

/// The stand-in, loaded once by its full path: whoever asks for `libcuda.so.1` afterwards gets it.
fn standin() -> &'static Library {
    static LOADED: OnceLock<Library> = OnceLock::new();
    LOADED.get_or_init(|| {
        let folder = std::env::var_os("MASKCAST_CUDA_STANDIN").map(PathBuf::from);
        let path = folder.unwrap_or_default().join("libcuda.so.1");
        assert!(
            path.is_file(),
            "MASKCAST_CUDA_STANDIN names no folder with libcuda.so.1: run `make cuda-standin`, then set it to \
             cuda-standin/lib in the target folder"
        );
        // SAFETY: loading runs the initialisers of the library that `make cuda-standin` built of this tree.
        unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.expect("the stand-in loads")
    })
}

/// The stand-in's device.
fn device() -> Device {
    standin();
    let device = Device::open(0).expect("the stand-in has one device");
    let name = &device.facts().name;
    assert!(name.contains("stand-in"), "tests run on the stand-in, never on {name}");
    device
}

/// No value differs from the plain loops' in a bit. A check of a pool without room has no values; not all are such.
#[track_caller]
fn assert_alike(checks: &[Check]) {
    assert!(checks.iter().any(|check| check.values > 0));
    for check in checks {
        assert_eq!(check.different, 0, "{check:?}");
    }
}
