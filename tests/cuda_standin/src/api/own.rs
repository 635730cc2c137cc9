//! What the driver offers beyond cuda.h, to tests and to stand-ins of libraries that run on it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Once};

use super::api;
use crate::driver::driver;
use crate::queue::nudge;
use crate::settings::fail_here;
use crate::status::INVALID_VALUE;

type P = *mut c_void;
type Callback = unsafe extern "C" fn(P);

/// Work of another stand-in.
struct Foreign {
    run: Callback,
    data: P,
    release: Option<Callback>,
}

// SAFETY: whoever queues the work answers for its data on any thread.
unsafe impl Send for Foreign {}
// SAFETY: as above; one piece of work runs at a time.
unsafe impl Sync for Foreign {}

impl Foreign {
    fn run(&self) {
        // SAFETY: the caller's function and data, released in `Drop` only.
        unsafe { (self.run)(self.data) };
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as above, once.
            unsafe { release(self.data) };
        }
    }
}

/// `run(data)` where a kernel would run: queued or captured, and as often as a graph that captured it is launched.
/// `release(data)` after the last time, also where this call fails. `run` may be called on any thread and calls nothing
/// of the driver.
///
/// # Safety
/// `run` and `release` take `data` on any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_standin_enqueue(stream: P, run: Callback, data: P, release: Option<Callback>) -> c_int {
    let foreign = Foreign { run, data, release };
    enqueue(stream, foreign).err().unwrap_or(0)
}

fn enqueue(stream: P, foreign: Foreign) -> crate::status::Outcome {
    crate::driver::enter("cuda_standin_enqueue", crate::driver::Needs::Context)?;
    let work = Arc::new(move || {
        foreign.run();
        Ok(())
    });
    {
        let mut driver = driver();
        driver.push(stream, work)?;
        driver.launches += 1;
    }
    nudge(stream)
}

/// Bytes of device and pinned memory that are allocated.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_live_bytes() -> usize {
    driver().memory.live_bytes()
}

/// Kernels and foreign work queued or captured so far.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_launches() -> usize {
    driver().launches
}

/// Allocations of device and pinned memory so far.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_allocations() -> usize {
    driver().memory.allocations
}

/// Streams, events, graphs, modules and contexts that were made and not destroyed.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_live_handles() -> usize {
    let driver = driver();
    let graphs = driver.graphs.len() + driver.execs.len();
    driver.queue.live() + driver.events.len() + graphs + driver.modules.len() + driver.contexts.len() + driver.retained
}

unsafe extern "C" {
    fn cuemu_barrier(number: c_int) -> *const c_char;
}

/// Where barrier `number` of the tree's kernels stands, `file:line:column`; null past the last. A process with
/// `CUDA_STANDIN_WITHOUT=number` runs without it.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_barrier(number: c_int) -> *const c_char {
    // SAFETY: looks into a table of static strings.
    unsafe { cuemu_barrier(number) }
}

/// Looks at all guard bytes: how many faults there are, each told on stderr.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_faults() -> usize {
    let faults = driver().memory.faults();
    for words in &faults {
        eprintln!("cuda stand-in: {words}");
    }
    faults.len()
}

api! {
    Nothing fn cuda_standin_fail(call: *const c_char, nth: usize, code: c_int) {
        if call.is_null() || nth == 0 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: not null; the caller's string.
        let call = unsafe { CStr::from_ptr(call) };
        fail_here(&call.to_string_lossy(), nth, code);
        Ok(())
    }
}

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> c_int;
    fn _exit(code: c_int) -> !;
}

extern "C" fn at_exit() {
    if cuda_standin_faults() > 0 {
        // SAFETY: ends the process, with a status that nobody takes for success.
        unsafe { _exit(86) };
    }
}

/// Has the guard bytes looked at when the process ends.
pub fn check_at_exit() {
    static ONCE: Once = Once::new();
    // SAFETY: a function without arguments that lives as long as this library, which is never unloaded in a test.
    ONCE.call_once(|| unsafe {
        atexit(at_exit);
    });
}
