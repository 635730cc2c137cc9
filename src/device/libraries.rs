//! NVIDIA's inference libraries: whether they load, and which version they say they are. Nothing is computed with them
//! here.

/// A library to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Cudnn,
    TensorRt,
}

/// A library that loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub soname: &'static str,
    /// `major.minor.patch`.
    pub version: String,
}

/// Why a library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    #[error("none of {} can be loaded", tried.join(", "))]
    Absent { tried: &'static [&'static str] },
    #[error("{soname} has no {symbol}: it is not the library it is named after")]
    Symbol { soname: &'static str, symbol: &'static str },
}

/// Loads the newest version there is, and asks it.
pub fn probe(library: Library) -> Result<Found, LibraryError> {
    let tried: &'static [&'static str] = match library {
        Library::Cudnn => &["libcudnn.so.9", "libcudnn.so.8", "libcudnn.so"],
        Library::TensorRt => &[
            "libnvinfer.so.11",
            "libnvinfer.so.10",
            "libnvinfer.so.8",
            "libnvinfer.so",
        ],
    };
    for soname in tried {
        // SAFETY: loading runs the library's initialisers. The sonames are NVIDIA's and are searched for on the
        // system's own library path only, as for any program that links them.
        let Ok(loaded) = (unsafe { libloading::Library::new(soname) }) else {
            continue;
        };
        let version = match library {
            Library::Cudnn => cudnn_version(&loaded).map(|v| dotted(v, 90_000)),
            Library::TensorRt => tensorrt_version(&loaded).map(|v| dotted(v, 100_000)),
        };
        // Unloading either library is known to crash at exit in some versions: keep it until the process ends.
        std::mem::forget(loaded);
        return match version {
            Some(version) => Ok(Found { soname, version }),
            None => Err(LibraryError::Symbol {
                soname,
                symbol: match library {
                    Library::Cudnn => "cudnnGetVersion",
                    Library::TensorRt => "getInferLibVersion",
                },
            }),
        };
    }
    Err(LibraryError::Absent { tried })
}

fn cudnn_version(library: &libloading::Library) -> Option<u64> {
    // SAFETY: cudnn.h declares `size_t cudnnGetVersion(void)`; it needs no context and cannot fail.
    let version = unsafe {
        library
            .get::<unsafe extern "C" fn() -> usize>(b"cudnnGetVersion\0")
            .ok()?()
    };
    u64::try_from(version).ok()
}

fn tensorrt_version(library: &libloading::Library) -> Option<u64> {
    // SAFETY: NvInferRuntimeBase.h declares `int32_t getInferLibVersion(void)` with C linkage; it cannot fail.
    let version = unsafe {
        library
            .get::<unsafe extern "C" fn() -> i32>(b"getInferLibVersion\0")
            .ok()?()
    };
    u64::try_from(version).ok()
}

/// Both libraries write major * 1000 + minor * 100 + patch up to version 8, and major * 10000 + ... from `wide_from` on.
fn dotted(version: u64, wide_from: u64) -> String {
    let unit = if version >= wide_from { 10_000 } else { 1_000 };
    format!("{}.{}.{}", version / unit, version % unit / 100, version % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_numberings_are_read() {
        assert_eq!(dotted(8907, 90_000), "8.9.7");
        assert_eq!(dotted(90100, 90_000), "9.1.0");
        assert_eq!(dotted(8601, 100_000), "8.6.1");
        assert_eq!(dotted(100_302, 100_000), "10.3.2");
    }

    #[test]
    fn an_absent_library_names_what_was_tried() {
        for library in [Library::Cudnn, Library::TensorRt] {
            match probe(library) {
                Ok(found) => assert!(found.version.split('.').count() == 3, "{found:?}"),
                Err(e) => assert!(e.to_string().contains(".so"), "{e}"),
            }
        }
    }
}
