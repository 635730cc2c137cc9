//! Where cuDNN is: the folder in `MASKCAST_CUDNN_DIR`, else the system's library path.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cudarc::cudnn::sys;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::error::CudnnError;

/// Names the folder of `libcudnn.so.9`.
const FOLDER_VARIABLE: &str = "MASKCAST_CUDNN_DIR";

const SONAME: &str = "libcudnn.so.9";

/// cuDNN writes 9.1.2 as 90102.
const OLDEST: usize = 90_000;

/// Every function called here. The bindings panic when one is missing, so they are looked for first.
const NEEDED: [&[u8]; 12] = [
    b"cudnnGetVersion\0",
    b"cudnnGetErrorString\0",
    b"cudnnGetLastErrorString\0",
    b"cudnnCreate\0",
    b"cudnnDestroy\0",
    b"cudnnSetStream\0",
    b"cudnnBackendCreateDescriptor\0",
    b"cudnnBackendDestroyDescriptor\0",
    b"cudnnBackendSetAttribute\0",
    b"cudnnBackendGetAttribute\0",
    b"cudnnBackendFinalize\0",
    b"cudnnBackendExecute\0",
];

/// The loaded library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(usize);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0 / 10_000, self.0 % 10_000 / 100, self.0 % 100)
    }
}

/// Only the first library found is ever loaded.
static LOADED: Mutex<Option<Version>> = Mutex::new(None);

/// Finds, checks and loads the library.
pub(super) fn load() -> Result<Version, CudnnError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(version) = *loaded {
        return Ok(version);
    }
    let folder = std::env::var_os(FOLDER_VARIABLE)
        .filter(|f| !f.is_empty())
        .map(PathBuf::from);
    let version = open(folder.as_deref())?;
    *loaded = Some(version);
    Ok(version)
}

fn open(folder: Option<&Path>) -> Result<Version, CudnnError> {
    let path = folder.map_or_else(|| PathBuf::from(SONAME), |folder| folder.join(SONAME));
    // SAFETY: loading runs the library's initialisers. It is the one the user names, or the system's own; its symbols
    // are made global since cuDNN's other libraries, and the bindings, look it up by its soname.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|e| CudnnError::Absent(format!("{}: {e}", path.display())))?;
    for symbol in NEEDED {
        // SAFETY: the symbol is looked at, not called.
        if unsafe { library.get::<unsafe extern "C" fn()>(symbol) }.is_err() {
            let name = String::from_utf8_lossy(symbol.strip_suffix(b"\0").unwrap_or(symbol));
            return Err(CudnnError::Absent(format!("{} has no {name}", path.display())));
        }
    }
    // SAFETY: cudnn.h declares `size_t cudnnGetVersion(void)`; it cannot fail.
    let version = Version(unsafe {
        library
            .get::<unsafe extern "C" fn() -> usize>(NEEDED[0])
            .map_or(0, |get| get())
    });
    // Never unloaded: plans and handles point into it.
    std::mem::forget(library);
    if version.0 < OLDEST {
        return Err(CudnnError::Old(version.to_string()));
    }
    // SAFETY: opens the library by soname, which is in the process by now, and closes it.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudnnError::Absent(format!(
            "{} is not found by its soname",
            path.display()
        )));
    }
    // SAFETY: the library is there and has the function (above); it takes nothing and cannot fail.
    let bound = Version(unsafe { sys::cudnnGetVersion() });
    // The bindings look for libcudnn.so first, which may be another one.
    if bound != version {
        return Err(CudnnError::Absent(format!(
            "{} is {version}, but libcudnn.so is {bound}",
            path.display()
        )));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_it_is_said() {
        let error = open(Some(Path::new("no/such/folder"))).unwrap_err().to_string();
        assert!(
            error.contains("no/such/folder") && error.contains("pip install nvidia-cudnn-cu13"),
            "{error}"
        );
        assert_eq!(Version(91_900).to_string(), "9.19.0");
    }
}
