//! Our kernels on a device: sources compiled into this program, found as packed cubins or compiled here, and launched.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys;

use super::context::Context;
use super::error::{refused, words};
use super::stream::CudaStream;
use super::{Device, DeviceError, cubins};

/// One `kernel.cu`, with what it includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelSource {
    /// That of its room or op: `roi_align`.
    pub name: &'static str,
    pub text: &'static str,
    /// `(name as included, text)`.
    pub headers: &'static [(&'static str, &'static str)],
}

/// The kernels of some sources, ready on one device.
#[derive(Debug, Clone)]
pub struct Kernels {
    modules: Arc<Vec<Module>>,
}

#[derive(Debug)]
struct Module {
    raw: sys::CUmodule,
    /// Entry points by name.
    functions: BTreeMap<String, sys::CUfunction>,
    context: Arc<Context>,
}

// SAFETY: handles; the driver takes them from any thread.
unsafe impl Send for Module {}
// SAFETY: as above; nothing is changed after loading.
unsafe impl Sync for Module {}

/// One entry point.
#[derive(Debug, Clone)]
pub struct Kernel {
    name: String,
    raw: sys::CUfunction,
    // Keeps the module loaded.
    modules: Arc<Vec<Module>>,
}

// SAFETY: a handle into a module that `modules` keeps loaded.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// How many blocks of how many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchShape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Of dynamic shared memory, a block.
    pub shared_bytes: u32,
}

impl LaunchShape {
    /// `threads` in blocks of `block` threads, in one dimension; at least one block.
    pub fn linear(threads: usize, block: u32) -> LaunchShape {
        let blocks = threads.div_ceil(block.max(1) as usize).max(1);
        LaunchShape {
            grid: [u32::try_from(blocks).unwrap_or(u32::MAX), 1, 1],
            block: [block, 1, 1],
            shared_bytes: 0,
        }
    }
}

/// What a kernel takes by value. Device memory goes as its address (`u64`).
///
/// # Safety
/// The type is laid out as the kernel's parameter: `repr(C)`, or a plain number.
pub unsafe trait KernelArg: Copy {}

macro_rules! kernel_arg {
    ($($kind:ty),*) => {
        // SAFETY: numbers are laid out alike on both sides.
        $(unsafe impl KernelArg for $kind {})*
    };
}
kernel_arg!(u8, u16, u32, i32, u64, i64, f32);

/// One argument of a launch, borrowed until the launch returns (the driver copies it).
#[derive(Debug, Clone, Copy)]
pub struct Arg<'a>(*const c_void, std::marker::PhantomData<&'a ()>);

/// `value` as an argument.
pub fn arg<T: KernelArg>(value: &T) -> Arg<'_> {
    Arg((value as *const T).cast(), std::marker::PhantomData)
}

impl Kernels {
    /// Loads the kernels of `sources`: from packed cubins where there are some, else compiled by NVRTC and kept.
    pub fn load(device: &Device, sources: &[KernelSource]) -> Result<Kernels, DeviceError> {
        device.bind()?;
        let modules = sources.iter().map(|source| Module::load(device, source));
        Ok(Kernels {
            modules: Arc::new(modules.collect::<Result<_, _>>()?),
        })
    }

    /// Entry point `name`.
    pub fn get(&self, name: &str) -> Result<Kernel, DeviceError> {
        let raw = self.modules.iter().find_map(|module| module.functions.get(name));
        raw.map(|&raw| Kernel {
            name: name.to_owned(),
            raw,
            modules: Arc::clone(&self.modules),
        })
        .ok_or_else(|| DeviceError::Kernel {
            kernel: name.to_owned(),
            reason: "no source that was loaded has it".to_owned(),
        })
    }
}

impl Module {
    fn load(device: &Device, source: &KernelSource) -> Result<Module, DeviceError> {
        let cubin = cubins::find(source, device.facts().sm)?;
        let failed = |entry: &str, e| DeviceError::Kernel {
            kernel: format!("{}/{entry}", source.name),
            reason: words(e),
        };
        // SAFETY: `cubin` is a whole cubin in memory, which the driver copies.
        let raw = unsafe { result::module::load_data(cubin.as_ptr().cast()) }.map_err(|e| failed("module", e))?;
        let mut module = Module {
            raw,
            functions: BTreeMap::new(),
            context: Arc::clone(device.context()),
        };
        for name in source.entry_points() {
            let Ok(symbol) = CString::new(name) else {
                continue; // no identifier of C has a zero byte
            };
            // SAFETY: the module is loaded.
            let function = unsafe { result::module::get_function(raw, symbol) }.map_err(|e| failed(name, e))?;
            module.functions.insert(name.to_owned(), function);
        }
        Ok(module)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let unloaded = self.context.bind().and_then(|()| {
            result::ctx::synchronize().map_err(|e| refused("cuCtxSynchronize", e))?;
            // SAFETY: no kernel of it is queued any more, and nobody has its functions.
            unsafe { result::module::unload(self.raw) }.map_err(|e| refused("cuModuleUnload", e))
        });
        if let Err(error) = unloaded {
            tracing::warn!("{error}");
        }
    }
}

impl KernelSource {
    /// Names of the kernels: what follows `KERNEL(threads)` or `BLOCK_KERNEL(threads)` up to its parameters.
    pub fn entry_points(&self) -> impl Iterator<Item = &'static str> {
        let text = self.text;
        text.match_indices("KERNEL(").filter_map(move |(at, word)| {
            let before = text[..at].rsplit('\n').next().unwrap_or_default().trim();
            if !(before.is_empty() || before == "BLOCK_") {
                return None; // a definition or a comment
            }
            let after = text[at + word.len()..].split_once(')')?.1;
            let (name, _) = after.split_once('(')?;
            Some(name.trim())
        })
    }
}

impl Kernel {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets blocks of this kernel ask for up to `bytes` of dynamic shared memory. Not while capturing.
    pub fn allow_shared_bytes(&self, bytes: u32) -> Result<(), DeviceError> {
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if let Some(module) = self.modules.first() {
            module.context.bind()?;
        }
        // SAFETY: `raw` is a function of a loaded module.
        unsafe { result::function::set_function_attribute(self.raw, attribute, bytes as i32) }.map_err(|e| {
            DeviceError::Kernel {
                kernel: self.name.clone(),
                reason: format!("{bytes} bytes of shared memory: {}", words(e)),
            }
        })
    }

    /// Queues one launch.
    ///
    /// # Safety
    /// `args` are the kernel's parameters in order and of its types. What they point at is large enough for what the
    /// kernel reads and writes, and lives until the stream has passed the launch; what it writes nobody else uses by then.
    pub unsafe fn launch(&self, stream: &CudaStream, shape: LaunchShape, args: &[Arg<'_>]) -> Result<(), DeviceError> {
        stream.context().bind()?;
        let mut pointers: Vec<*mut c_void> = args.iter().map(|arg| arg.0.cast_mut()).collect();
        let [gx, gy, gz] = shape.grid;
        let [bx, by, bz] = shape.block;
        // SAFETY: the function and the stream live; the caller answers for the arguments.
        unsafe {
            result::launch_kernel(
                self.raw,
                (gx, gy, gz),
                (bx, by, bz),
                shape.shared_bytes,
                stream.raw(),
                &mut pointers,
            )
        }
        .map_err(|e| DeviceError::Kernel {
            kernel: self.name.clone(),
            reason: format!("{gx}x{gy}x{gz} blocks of {bx}x{by}x{bz} threads: {}", words(e)),
        })
    }
}
