//! TensorRT: whether it loads, and which version it says it is. Nothing is computed with it here.

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

/// Loads the newest TensorRT there is, and asks it for its version.
pub fn probe_tensorrt() -> Result<Found, LibraryError> {
    let tried: &'static [&'static str] = &[
        "libnvinfer.so.11",
        "libnvinfer.so.10",
        "libnvinfer.so.8",
        "libnvinfer.so",
    ];
    for soname in tried {
        // SAFETY: loading runs the library's initialisers. The sonames are NVIDIA's and are searched for on the
        // system's own library path only, as for any program that links them.
        let Ok(loaded) = (unsafe { libloading::Library::new(soname) }) else {
            continue;
        };
        let version = tensorrt_version(&loaded).map(dotted);
        // Unloading it is known to crash at exit in some versions: keep it until the process ends.
        std::mem::forget(loaded);
        return match version {
            Some(version) => Ok(Found { soname, version }),
            None => Err(LibraryError::Symbol {
                soname,
                symbol: "getInferLibVersion",
            }),
        };
    }
    Err(LibraryError::Absent { tried })
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

/// It writes major * 1000 + minor * 100 + patch up to version 8, and major * 10000 + ... from 10 on.
fn dotted(version: u64) -> String {
    let unit = if version >= 100_000 { 10_000 } else { 1_000 };
    format!("{}.{}.{}", version / unit, version % unit / 100, version % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_numberings_are_read() {
        assert_eq!(dotted(8601), "8.6.1");
        assert_eq!(dotted(100_302), "10.3.2");
    }

    #[test]
    fn an_absent_library_names_what_was_tried() {
        match probe_tensorrt() {
            Ok(found) => assert!(found.version.split('.').count() == 3, "{found:?}"),
            Err(e) => assert!(e.to_string().contains(".so"), "{e}"),
        }
    }
}
