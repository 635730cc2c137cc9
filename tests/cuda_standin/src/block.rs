//! Runs one block: each thread is a fiber, a barrier gives way to the others. Which warp and which lane goes on is drawn.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::runner::{Dim, Launch, shuffle};

/// `CuThread` of cuemu.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Thread {
    thread: Dim,
    block: Dim,
    block_size: Dim,
    grid_size: Dim,
    lane_base: u32,
}

unsafe extern "C" {
    fn cuemu_set_thread(thread: *const Thread);
}

const STACK_BYTES: usize = if cfg!(sanitizer) { 256 << 10 } else { 64 << 10 };
const WARP: usize = 32;
/// What uninitialised shared memory holds.
const FRESH: u128 = 0xdead_beef_dead_beef_dead_beef_dead_beef;
/// Kinds of barrier in cuemu.h; the others are warp barriers.
const BLOCK_BARRIER: u32 = 0;

type Fiber = Coroutine<(), u32, (), DefaultStack>;

thread_local! {
    static YIELDER: Cell<*const Yielder<(), u32>> = const { Cell::new(std::ptr::null()) };
    static SLOTS: Cell<*mut u64> = const { Cell::new(std::ptr::null_mut()) };
    static SHARED: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A barrier of the kernel that runs.
#[unsafe(no_mangle)]
extern "C" fn cuemu_yield(kind: u32) {
    let yielder = YIELDER.get();
    if yielder.is_null() {
        eprintln!("cuda stand-in: a barrier in a kernel headed KERNEL: it must be headed BLOCK_KERNEL");
        std::process::abort();
    }
    // SAFETY: set by the fiber that runs now to its own yielder.
    unsafe { (*yielder).suspend(kind) };
}

/// Dynamic shared memory of the block that runs.
#[unsafe(no_mangle)]
extern "C" fn cuemu_dyn_shared() -> *mut c_void {
    SHARED.with_borrow_mut(|shared| shared.as_mut_ptr().cast())
}

/// Exchange slots of the warp that runs, one a lane.
#[unsafe(no_mangle)]
extern "C" fn cuemu_warp_slots() -> *mut u64 {
    SLOTS.get()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    AtBlockBarrier,
    AtWarpBarrier,
    Done,
}

struct Fibers {
    index: Dim,
    fibers: Vec<Option<Fiber>>,
    states: Vec<State>,
    yielders: Vec<*const Yielder<(), u32>>,
    slots: Vec<u64>,
}

/// # Safety
/// As `run_grid`.
pub unsafe fn run_block(launch: &Launch, index: Dim, arguments: *mut *mut c_void) -> Result<(), String> {
    let threads = launch.block.count() as usize;
    let thread = |at: usize| Thread {
        thread: launch.block.at(at as u32),
        block: index,
        block_size: launch.block,
        grid_size: launch.grid,
        lane_base: (at - at % WARP) as u32,
    };
    let mut seed = launch.seed ^ (u64::from(index.x) << 40 | u64::from(index.y) << 20 | u64::from(index.z));
    SHARED.with_borrow_mut(|shared| {
        shared.clear();
        shared.resize(launch.shared_bytes.div_ceil(16), FRESH);
    });
    if !launch.barriers {
        let mut order: Vec<usize> = (0..threads).collect();
        if launch.seed != 0 {
            shuffle(&mut order, &mut seed);
        }
        for at in order {
            // SAFETY: the argument is a whole `Thread`; the caller answers for the kernel's arguments.
            unsafe {
                cuemu_set_thread(&thread(at));
                (launch.entry)(arguments);
            }
        }
        return Ok(());
    }
    let entry = launch.entry;
    let start = |_| {
        let kept = STACKS.with_borrow_mut(Vec::pop);
        let stack = kept.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a fiber's stack"));
        let arguments = arguments as usize;
        Some(Coroutine::with_stack(stack, move |yielder: &Yielder<(), u32>, ()| {
            YIELDER.set(yielder);
            // SAFETY: the caller answers for the arguments.
            unsafe { entry(arguments as *mut *mut c_void) };
        }))
    };
    let mut block = Fibers {
        index,
        fibers: (0..threads).map(start).collect(),
        states: vec![State::Ready; threads],
        yielders: vec![std::ptr::null(); threads],
        slots: vec![0; threads.next_multiple_of(WARP)],
    };
    let ran = block.run(launch.seed != 0, &mut seed, &thread);
    YIELDER.set(std::ptr::null());
    if ran.is_err() {
        // Fibers that stand in the middle of foreign frames cannot be unwound.
        std::mem::forget(block);
    }
    ran
}

impl Fibers {
    fn run(&mut self, shuffled: bool, seed: &mut u64, thread: &dyn Fn(usize) -> Thread) -> Result<(), String> {
        let threads = self.states.len();
        let mut warps: Vec<usize> = (0..threads).step_by(WARP).collect();
        loop {
            if shuffled {
                shuffle(&mut warps, seed);
            }
            for &warp in &warps {
                self.run_warp(warp, (warp + WARP).min(threads), shuffled, seed, thread)?;
            }
            if self.states.iter().all(|state| *state == State::Done) {
                return Ok(());
            }
            if self.states.contains(&State::Done) {
                return Err(self.fault("__syncthreads reached by part of the block"));
            }
            self.states.fill(State::Ready);
        }
    }

    /// Runs the lanes `start..end` until each is done or at a barrier of the block.
    fn run_warp(
        &mut self,
        start: usize,
        end: usize,
        shuffled: bool,
        seed: &mut u64,
        thread: &dyn Fn(usize) -> Thread,
    ) -> Result<(), String> {
        let mut lanes: Vec<usize> = (start..end).collect();
        loop {
            if shuffled {
                shuffle(&mut lanes, seed);
            }
            for &lane in &lanes {
                if self.states[lane] == State::Ready {
                    self.resume(lane, start, thread);
                }
            }
            let states = &mut self.states[start..end];
            if !states.contains(&State::AtWarpBarrier) {
                return Ok(());
            }
            if states.iter().any(|state| *state != State::AtWarpBarrier) {
                return Err(self.fault(&format!("a warp barrier reached by part of warp {}", start / WARP)));
            }
            states.fill(State::Ready);
        }
    }

    fn resume(&mut self, lane: usize, warp: usize, thread: &dyn Fn(usize) -> Thread) {
        let Some(fiber) = &mut self.fibers[lane] else { return };
        SLOTS.set(&raw mut self.slots[warp]);
        YIELDER.set(self.yielders[lane]);
        // SAFETY: a whole `Thread`, copied by the call.
        unsafe { cuemu_set_thread(&thread(lane)) };
        self.states[lane] = match fiber.resume(()) {
            CoroutineResult::Yield(BLOCK_BARRIER) => State::AtBlockBarrier,
            CoroutineResult::Yield(_) => State::AtWarpBarrier,
            CoroutineResult::Return(()) => State::Done,
        };
        self.yielders[lane] = YIELDER.get();
        if self.states[lane] == State::Done
            && let Some(fiber) = self.fibers[lane].take()
        {
            STACKS.with_borrow_mut(|stacks| stacks.push(fiber.into_stack()));
        }
    }

    fn fault(&self, words: &str) -> String {
        let Dim { x, y, z } = self.index;
        format!("block ({x}, {y}, {z}): {words}")
    }
}
