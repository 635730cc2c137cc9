//! GStreamer's CUDA memory without a copy. Its library, libgstcuda, is loaded at run time: 1.22 has no bindings for Rust, and
//! a machine without a GPU does not have it.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::{Arc, OnceLock};

use gst::glib::translate::from_glib_full;
use gst::glib::{ffi as glib_ffi, gobject_ffi};
use gstreamer as gst;

use super::share::ShareError;
use super::shared::{DeviceBytes, DeviceOwner};
use super::{CudaStream, Device, DeviceError};

const SONAME: &str = "libgstcuda-1.0.so.0";

/// gstcudamemory.h: `GST_MAP_CUDA = GST_MAP_FLAG_LAST << 1`; mapped so, `data` is a device address.
const MAP_CUDA: gst::ffi::GstMapFlags = gst::ffi::GST_MAP_FLAG_LAST << 1;

type ContextObject = gobject_ffi::GObject;

/// The entry points that are used.
struct Library {
    load: unsafe extern "C" fn() -> glib_ffi::gboolean,
    init_memory: unsafe extern "C" fn(),
    wrap: unsafe extern "C" fn(*mut c_void, c_int) -> *mut ContextObject,
    handle: unsafe extern "C" fn(*mut ContextObject) -> *mut c_void,
    gst_context: unsafe extern "C" fn(*mut ContextObject) -> *mut gst::ffi::GstContext,
    is_cuda: unsafe extern "C" fn(*mut gst::ffi::GstMemory) -> glib_ffi::gboolean,
    /// From 1.24 on: waits on the host for the stream that writes the memory. Before, memory is handed on when it is written.
    sync: Option<unsafe extern "C" fn(*mut gst::ffi::GstMemory)>,
}

/// The first members of gstcudamemory.h's `GstCudaMemory`, the public ones that are read here.
#[repr(C)]
struct CudaMemoryHead {
    memory: gst::ffi::GstMemory,
    context: *mut ContextObject,
}

impl Library {
    fn load() -> Result<&'static Library, ShareError> {
        static LOADED: OnceLock<Result<Library, ShareError>> = OnceLock::new();
        LOADED.get_or_init(Library::open).as_ref().map_err(Clone::clone)
    }

    fn open() -> Result<Library, ShareError> {
        let failed = |detail: String| ShareError::Library { detail };
        // SAFETY: loading runs the library's initialisers; it is GStreamer's own, found on the system's library path.
        let library = unsafe { libloading::Library::new(SONAME) }.map_err(|e| failed(e.to_string()))?;
        macro_rules! entry {
            ($name:literal) => {
                // SAFETY: the types above are those that GStreamer's headers of 1.22 to 1.26 declare for these names.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }
                    .map_err(|_| failed(format!("{SONAME} has no {}", $name)))?
            };
        }
        let loaded = Library {
            load: entry!("gst_cuda_load_library"),
            init_memory: entry!("gst_cuda_memory_init_once"),
            wrap: entry!("gst_cuda_context_new_wrapped"),
            handle: entry!("gst_cuda_context_get_handle"),
            gst_context: entry!("gst_context_new_cuda_context"),
            is_cuda: entry!("gst_is_cuda_memory"),
            // SAFETY: as above.
            sync: unsafe { library.get(b"gst_cuda_memory_sync\0") }
                .ok()
                .map(|entry| *entry),
        };
        // It registers types with GLib, which keeps pointers into it: never unloaded.
        std::mem::forget(library);
        // SAFETY: takes nothing; loads libcuda and says whether that went well.
        if unsafe { (loaded.load)() } == 0 {
            return Err(failed(format!("{SONAME} does not find the NVIDIA driver")));
        }
        // SAFETY: takes nothing, may be called more than once, and the driver is loaded.
        unsafe { (loaded.init_memory)() };
        Ok(loaded)
    }
}

/// A device's context as GStreamer's elements take it.
#[derive(Clone)]
pub(super) struct SharedContext {
    library: &'static Library,
    context: gst::Context,
}

impl SharedContext {
    pub(super) fn new(device: &Device) -> Result<SharedContext, ShareError> {
        gst::init().map_err(|e| ShareError::Library { detail: e.to_string() })?;
        let library = Library::load()?;
        // SAFETY: the context is the device's own and lives: whoever holds a `SharedContext` or what is mapped through it holds
        // the device beside it. GStreamer does not destroy a wrapped context.
        let object = unsafe { (library.wrap)(device.raw_context(), device.raw_device()) };
        if object.is_null() {
            return Err(ShareError::Context);
        }
        // SAFETY: `object` is a GstCudaContext (just made), of which the new context takes a reference of its own; ours is
        // given back here.
        let context = unsafe {
            let context = (library.gst_context)(object);
            gobject_ffi::g_object_unref(object);
            context
        };
        if context.is_null() {
            return Err(ShareError::Context);
        }
        Ok(SharedContext {
            library,
            // SAFETY: a GstContext that nobody else owns.
            context: unsafe { from_glib_full(context) },
        })
    }

    pub(super) fn context(&self) -> gst::Context {
        self.context.clone()
    }

    pub(super) fn map(&self, device: &Device, buffer: gst::Buffer) -> Result<DeviceBytes, ShareError> {
        let failed = |detail| ShareError::Picture { detail };
        if buffer.n_memory() != 1 {
            return Err(failed("it lies in several memories"));
        }
        // SAFETY: the buffer has a first memory (checked above), which lives as long as the buffer.
        let memory = unsafe { gst::ffi::gst_buffer_peek_memory(buffer.as_mut_ptr(), 0) };
        // SAFETY: `memory` is a GstMemory of a buffer that lives.
        if memory.is_null() || unsafe { (self.library.is_cuda)(memory) } == 0 {
            return Err(failed("it is not CUDA memory"));
        }
        // SAFETY: a GstMemory that is CUDA memory (checked above) is a GstCudaMemory, whose context is set when it is allocated.
        let handle = unsafe { (self.library.handle)((*memory.cast::<CudaMemoryHead>()).context) };
        if handle != device.raw_context() {
            return Err(failed("it is in a CUDA context of another"));
        }
        if let Some(sync) = self.library.sync {
            // SAFETY: as for `is_cuda`.
            unsafe { sync(memory) };
        }
        let mut info = std::mem::MaybeUninit::<gst::ffi::GstMapInfo>::zeroed();
        let flags = gst::ffi::GST_MAP_READ | MAP_CUDA;
        // SAFETY: `memory` lives; `info` is a valid place for the answer.
        if unsafe { gst::ffi::gst_memory_map(memory, info.as_mut_ptr(), flags) } == 0 {
            return Err(failed("GStreamer does not map it"));
        }
        // SAFETY: all zeros, or written by the call above, are a GstMapInfo.
        let info = unsafe { info.assume_init() };
        let (address, len) = (info.data as u64, info.size);
        let mapped = Mapped {
            info,
            memory,
            _buffer: buffer,
            _device: device.clone(),
        };
        Ok(DeviceBytes::new(device, address, len, Arc::new(mapped)))
    }
}

impl fmt::Debug for SharedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedContext({SONAME})")
    }
}

/// A mapped buffer.
struct Mapped {
    info: gst::ffi::GstMapInfo,
    memory: *mut gst::ffi::GstMemory,
    // Both after the mapping, which `drop` ends: it needs them.
    _buffer: gst::Buffer,
    _device: Device,
}

// SAFETY: GStreamer maps and unmaps memory from any thread; the pointers are used in `drop` alone, which runs once.
unsafe impl Send for Mapped {}
// SAFETY: as above; nothing is read through a shared reference.
unsafe impl Sync for Mapped {}

impl DeviceOwner for Mapped {
    /// Written before it was mapped.
    fn before(&self, _stream: &CudaStream) -> Result<(), DeviceError> {
        Ok(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped with this `info` in `map`, and unmapped nowhere else; the buffer still holds the memory.
        unsafe { gst::ffi::gst_memory_unmap(self.memory, &raw mut self.info) };
    }
}
