//! The functions of cuda.h that the program and GStreamer's CUDA elements look up.

mod absent;
mod device;
pub mod kernel;
mod memory;
mod own;
mod stream;

/// Exports each function under its CUDA name; `Ok` is CUDA_SUCCESS. What stands before the name is what the call needs.
macro_rules! api {
    ($($needs:ident fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $body:block)*) => {
        $(
            /// As cuda.h has it.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $kind),*) -> std::ffi::c_int {
                let body = move || -> $crate::status::Outcome {
                    $crate::driver::enter(stringify!($name), $crate::driver::Needs::$needs)?;
                    $body
                };
                body().err().unwrap_or(0)
            }
        )*
    };
}
pub(crate) use api;

/// Writes a result where the caller wants it; a null place is an invalid value.
///
/// # Safety
/// `place` is null or valid for a write.
pub(crate) unsafe fn give<T>(place: *mut T, value: T) -> crate::status::Outcome {
    if place.is_null() {
        return Err(crate::status::INVALID_VALUE);
    }
    // SAFETY: not null, and the caller's.
    unsafe { place.write(value) };
    Ok(())
}
