//! Runs a kernel's grid: blocks in an order the seed draws, on two threads.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::run_block;

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dim {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

impl Dim {
    pub fn count(self) -> u64 {
        u64::from(self.x) * u64::from(self.y) * u64::from(self.z)
    }

    /// Element `at`, x running fastest.
    pub fn at(self, at: u32) -> Dim {
        Dim {
            x: at % self.x,
            y: at / self.x % self.y,
            z: at / self.x / self.y,
        }
    }
}

/// A kernel as compiled for the host: takes pointers to its arguments.
pub type Entry = unsafe extern "C" fn(*mut *mut c_void);

#[derive(Debug, Clone, Copy)]
pub struct Launch {
    pub entry: Entry,
    pub grid: Dim,
    pub block: Dim,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: usize,
    /// False: no barrier and no warp exchange; the threads of a block run one after another.
    pub barriers: bool,
    /// 0: natural order; otherwise blocks, warps and lanes run in a drawn one.
    pub seed: u64,
}

struct Grid {
    launch: Launch,
    /// Addresses of the arguments, which live until the grid is done.
    arguments: Vec<usize>,
    order: Vec<u32>,
    next: AtomicUsize,
    fault: Mutex<Option<String>>,
}

/// Grids of fewer blocks are not worth a second thread.
const BLOCKS_FOR_TWO: usize = 4;

/// # Safety
/// `arguments` are addresses of values of the kernel's parameter types; what they point at lives.
pub unsafe fn run_grid(launch: &Launch, arguments: &[*mut c_void]) -> Result<(), String> {
    let mut order: Vec<u32> = (0..launch.grid.count() as u32).collect();
    if launch.seed != 0 {
        shuffle(&mut order, &mut launch.seed.clone());
    }
    let grid = Arc::new(Grid {
        launch: *launch,
        arguments: arguments.iter().map(|argument| *argument as usize).collect(),
        order,
        next: AtomicUsize::new(0),
        fault: Mutex::new(None),
    });
    if grid.order.len() < BLOCKS_FOR_TWO {
        grid.run();
    } else {
        HELPER.with_borrow_mut(|helper| {
            let (work, done) = helper.get_or_insert_with(helper_thread);
            let helps = work.send(Arc::clone(&grid)).is_ok();
            grid.run();
            if helps && done.recv().is_err() {
                *grid.fault.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some("a thread of the stand-in died".into());
            }
        });
    }
    let fault = grid.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    fault.map_or(Ok(()), Err)
}

type Helper = (SyncSender<Arc<Grid>>, Receiver<()>);

thread_local! {
    static HELPER: RefCell<Option<Helper>> = const { RefCell::new(None) };
}

/// A second thread for grids of this one; it ends when its channel does.
fn helper_thread() -> Helper {
    let (work, queue) = sync_channel::<Arc<Grid>>(1);
    let (finished, done) = sync_channel(1);
    std::thread::Builder::new()
        .name("cuda-standin".to_owned())
        .spawn(move || {
            for grid in queue {
                grid.run();
                if finished.send(()).is_err() {
                    break;
                }
            }
        })
        .expect("a thread");
    (work, done)
}

impl Grid {
    /// Runs blocks until none is left.
    fn run(&self) {
        let mut arguments: Vec<*mut c_void> = self.arguments.iter().map(|&address| address as *mut c_void).collect();
        while let Some(&block) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let index = self.launch.grid.at(block);
            // SAFETY: the arguments are those that `run_grid` was given, and live while it waits.
            if let Err(words) = unsafe { run_block(&self.launch, index, arguments.as_mut_ptr()) } {
                self.fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(words);
                self.next.store(self.order.len(), Ordering::Relaxed);
            }
        }
    }
}

pub fn shuffle<T>(values: &mut [T], seed: &mut u64) {
    for last in (1..values.len()).rev() {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        values.swap(last, (*seed >> 33) as usize % (last + 1));
    }
}
