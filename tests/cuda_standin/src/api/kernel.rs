//! Modules and launches. The cubin says which kernels there are, how many threads and which parameters they take; the
//! host-compiled kernel of the same name runs.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::device::{MOST_SHARED_BYTES, USUAL_SHARED_BYTES};
use super::{api, give};
use crate::cubin::{self, KernelFacts};
use crate::driver::driver;
use crate::queue::{Fault, nudge};
use crate::runner::{Dim, Entry, Launch, run_grid};
use crate::settings::settings;
use crate::status::{
    INVALID_HANDLE, INVALID_IMAGE, INVALID_VALUE, LAUNCH_FAILED, LAUNCH_OUT_OF_RESOURCES, NOT_FOUND, NOT_SUPPORTED,
    Outcome,
};

type P = *mut c_void;

pub struct Module {
    kernels: BTreeMap<String, KernelFacts>,
    functions: Vec<usize>,
}

pub struct Function {
    name: String,
    facts: KernelFacts,
    entry: Entry,
    barriers: bool,
    /// Dynamic shared memory that a launch may ask for.
    most_shared: AtomicU32,
    launches: AtomicU64,
}

unsafe extern "C" {
    /// Number of parameters, -1 where no source has the kernel.
    fn cuemu_lookup(name: *const c_char, entry: *mut Option<Entry>, barriers: *mut c_int, sizes: *mut usize) -> c_int;
}

const MOST_PARAMETERS: usize = 64;
const MOST_DYNAMIC_SHARED: c_int = 8;

fn function(facts: &KernelFacts, name: &CStr) -> Result<Function, c_int> {
    let (mut entry, mut barriers, mut sizes) = (None, 0, [0; MOST_PARAMETERS]);
    // SAFETY: `name` ends with zero; the table's rows have fewer parameters than there are places.
    let count = unsafe { cuemu_lookup(name.as_ptr(), &raw mut entry, &raw mut barriers, sizes.as_mut_ptr()) };
    let shown = name.to_string_lossy();
    let (Ok(count), Some(entry)) = (usize::try_from(count), entry) else {
        eprintln!("cuda stand-in: no source here has kernel {shown}: build the stand-in again");
        return Err(NOT_FOUND);
    };
    if facts.parameters != sizes[..count] {
        eprintln!(
            "cuda stand-in: kernel {shown} takes {:?} bytes in the cubin and {:?} here: build the stand-in again",
            facts.parameters,
            &sizes[..count]
        );
        return Err(INVALID_IMAGE);
    }
    Ok(Function {
        name: shown.into_owned(),
        facts: facts.clone(),
        entry,
        barriers: barriers != 0,
        most_shared: AtomicU32::new(USUAL_SHARED_BYTES - facts.shared_bytes.min(USUAL_SHARED_BYTES)),
        launches: AtomicU64::new(0),
    })
}

impl Function {
    /// Refuses what the device would.
    fn expect_launchable(&self, grid: Dim, block: Dim, shared_bytes: u32) -> Outcome {
        let counts = [grid.x, grid.y, grid.z, block.x, block.y, block.z];
        let limits = [i32::MAX as u32, 65_535, 65_535, 1024, 1024, 64];
        if counts
            .iter()
            .zip(limits)
            .any(|(&count, limit)| count == 0 || count > limit)
            || block.count() > 1024
        {
            return Err(INVALID_VALUE);
        }
        if self.facts.most_threads != 0 && block.count() > u64::from(self.facts.most_threads) {
            eprintln!(
                "cuda stand-in: {} is bound to {} threads a block",
                self.name, self.facts.most_threads
            );
            return Err(LAUNCH_OUT_OF_RESOURCES);
        }
        if shared_bytes > self.most_shared.load(Ordering::Relaxed) {
            return Err(INVALID_VALUE);
        }
        if grid.count() > u64::from(u32::MAX) {
            eprintln!(
                "cuda stand-in: {}: {} blocks are more than it runs",
                self.name,
                grid.count()
            );
            return Err(NOT_SUPPORTED);
        }
        Ok(())
    }
}

/// Copies of arguments, aligned as any of them may have to be.
fn arguments(sizes: &[usize], places: *mut P) -> Result<Vec<Vec<u128>>, c_int> {
    if places.is_null() && !sizes.is_empty() {
        return Err(INVALID_VALUE);
    }
    let copy = |(at, &size): (usize, &usize)| {
        // SAFETY: the caller's array of as many places as the kernel has parameters.
        let place = unsafe { *places.add(at) };
        if place.is_null() {
            return Err(INVALID_VALUE);
        }
        let mut value = vec![0_u128; size.div_ceil(16).max(1)];
        // SAFETY: each place holds a value of the parameter's size, and `value` at least as many bytes.
        unsafe { std::ptr::copy_nonoverlapping(place.cast::<u8>(), value.as_mut_ptr().cast(), size) };
        Ok(value)
    };
    sizes.iter().enumerate().map(copy).collect()
}

api! {
    Context fn cuModuleLoadData(module: *mut P, image: *const c_void) {
        // SAFETY: the caller's image.
        let kernels = unsafe { cubin::kernels(image.cast()) }?;
        let mut driver = driver();
        driver.expect_no_capture()?;
        // SAFETY: the caller's place.
        unsafe { give(module, driver.modules.add(Module { kernels, functions: Vec::new() })) }
    }
    Context fn cuModuleLoad(_module: *mut P, _file: *const c_char) { Err(NOT_SUPPORTED) }
    Context fn cuModuleUnload(module: P) {
        let mut driver = driver();
        let unloaded = driver.modules.remove(module)?;
        for function in unloaded.functions {
            driver.functions.remove(function as P)?;
        }
        Ok(())
    }
    Context fn cuModuleGetFunction(place: *mut P, module: P, name: *const c_char) {
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null; the caller's string.
        let name = unsafe { CStr::from_ptr(name) };
        let mut driver = driver();
        let kernels = &driver.modules.get(module)?.kernels;
        let facts = kernels.get(&*name.to_string_lossy()).ok_or(NOT_FOUND)?;
        let made = function(facts, name)?;
        let handle = driver.functions.add(Arc::new(made));
        driver.modules.get(module)?.functions.push(handle as usize);
        // SAFETY: the caller's place.
        unsafe { give(place, handle) }
    }
    Context fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: P) {
        let function = Arc::clone(driver().functions.get(function)?);
        let answer = match attribute {
            0 => function.facts.most_threads,
            1 => function.facts.shared_bytes,
            MOST_DYNAMIC_SHARED => function.most_shared.load(Ordering::Relaxed),
            _ => 0,
        };
        // SAFETY: the caller's place.
        unsafe { give(value, c_int::try_from(answer).unwrap_or(c_int::MAX)) }
    }
    Context fn cuFuncSetAttribute(function: P, attribute: c_int, value: c_int) {
        let function = Arc::clone(driver().functions.get(function)?);
        if attribute != MOST_DYNAMIC_SHARED {
            return Err(NOT_SUPPORTED);
        }
        let value = u32::try_from(value).map_err(|_| INVALID_VALUE)?;
        if value.saturating_add(function.facts.shared_bytes) > MOST_SHARED_BYTES {
            return Err(INVALID_VALUE);
        }
        function.most_shared.store(value, Ordering::Relaxed);
        Ok(())
    }
    Context fn cuLaunchKernel(
        function: P,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared_bytes: c_uint,
        stream: P,
        places: *mut P,
        extra: *mut P,
    ) {
        if !extra.is_null() {
            return Err(NOT_SUPPORTED);
        }
        let function = Arc::clone(driver().functions.get(function).map_err(|_| INVALID_HANDLE)?);
        let grid = Dim { x: grid_x, y: grid_y, z: grid_z };
        let block = Dim { x: block_x, y: block_y, z: block_z };
        function.expect_launchable(grid, block, shared_bytes)?;
        let arguments = arguments(&function.facts.parameters, places)?;
        let work = move || {
            let nth = function.launches.fetch_add(1, Ordering::Relaxed);
            let seed = settings().seed;
            let launch = Launch {
                entry: function.entry,
                grid,
                block,
                shared_bytes: shared_bytes as usize,
                barriers: function.barriers,
                seed: if seed == 0 { 0 } else { seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(nth) | 1 },
            };
            let places: Vec<P> = arguments.iter().map(|value| value.as_ptr().cast_mut().cast()).collect();
            // SAFETY: copies of the arguments, of the kernel's sizes; whoever launched answers for what they point at.
            unsafe { run_grid(&launch, &places) }.map_err(|words| Fault {
                code: LAUNCH_FAILED,
                words: format!("kernel {}: {words}", function.name),
            })
        };
        {
            let mut driver = driver();
            driver.push(stream, Arc::new(work))?;
            driver.launches += 1;
        }
        nudge(stream)
    }
}
