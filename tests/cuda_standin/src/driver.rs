//! The state of the driver, under one lock, and what holds for every call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::api::kernel::{Function, Module};
use crate::capture::{Capture, Graph};
use crate::handles::Handles;
use crate::memory::Memory;
use crate::queue::{Fault, Marker, Queue, is_running_work};
use crate::settings::injected;
use crate::status::{INVALID_CONTEXT, NOT_INITIALIZED, NOT_PERMITTED, Outcome};

#[derive(Default)]
pub struct Driver {
    pub initialised: bool,
    /// References to the primary context.
    pub retained: usize,
    pub contexts: Handles<()>,
    pub memory: Memory,
    pub queue: Queue,
    pub events: Handles<Event>,
    pub captures: BTreeMap<usize, Capture>,
    pub graphs: Handles<Arc<Graph>>,
    pub execs: Handles<Arc<Graph>>,
    pub modules: Handles<Module>,
    pub functions: Handles<Arc<Function>>,
    pub launches: usize,
    /// The error of work that failed: every call gives it from then on, as after a fault on a GPU.
    broken: Option<c_int>,
}

pub struct Event {
    pub timing: bool,
    pub state: EventState,
}

#[derive(Clone)]
pub enum EventState {
    Never,
    Recorded(Arc<Marker>),
    /// In a capture, after these pieces of it.
    Captured(usize, Vec<usize>),
}

/// Handle of the primary context.
pub const PRIMARY: usize = 0x10;

thread_local! {
    /// Contexts of this thread, the current one last.
    pub static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

pub fn driver() -> MutexGuard<'static, Driver> {
    static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(Mutex::default);
    // A panic under the lock ends the process: it passes through an extern function.
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    pub fn expect_whole(&self) -> Outcome {
        self.broken.map_or(Ok(()), Err)
    }

    /// Tells of a fault once.
    pub fn break_with(&mut self, fault: &Fault) -> c_int {
        eprintln!("cuda stand-in: {}", fault.words);
        *self.broken.get_or_insert(fault.code)
    }
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Driver,
    Context,
}

/// What is looked at before each call.
pub fn enter(call: &str, needs: Needs) -> Outcome {
    if is_running_work() {
        return Err(NOT_PERMITTED);
    }
    if let Some(code) = injected(call) {
        return Err(code);
    }
    if needs == Needs::Nothing {
        return Ok(());
    }
    let driver = driver();
    if !driver.initialised {
        return Err(NOT_INITIALIZED);
    }
    if needs == Needs::Context {
        let current = CONTEXTS.with_borrow(|contexts| contexts.last().copied().unwrap_or(0));
        if current == 0 || current == PRIMARY && driver.retained == 0 {
            return Err(INVALID_CONTEXT);
        }
        return driver.expect_whole();
    }
    Ok(())
}

pub fn current() -> *mut c_void {
    CONTEXTS.with_borrow(|contexts| contexts.last().copied().unwrap_or(0)) as *mut c_void
}
