//! Runs a kernel's grid on the CPU: each thread of a block is a fiber; barriers are yields.
use corosensei::{stack::DefaultStack, Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Dim {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}
pub const fn dim(x: u32, y: u32, z: u32) -> Dim {
    Dim { x, y, z }
}
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Thread {
    tid: Dim,
    bid: Dim,
    bdim: Dim,
    gdim: Dim,
    lane_base: u32,
}
pub type Entry = unsafe extern "C" fn(*mut *mut c_void);
unsafe extern "C" {
    fn cuemu_set_thread(t: *const Thread);
}

thread_local! {
    static YIELDER: Cell<*const Yielder<(), u32>> = const { Cell::new(std::ptr::null()) };
    static SLOTS: Cell<*mut u64> = const { Cell::new(std::ptr::null_mut()) };
    static DYN: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}
#[unsafe(no_mangle)]
extern "C" fn cuemu_yield(kind: u32) {
    let y = YIELDER.get();
    assert!(!y.is_null(), "barrier in a kernel launched without fibers");
    unsafe { (*y).suspend(kind) }
}
#[unsafe(no_mangle)]
extern "C" fn cuemu_dyn_shared() -> *mut c_void {
    DYN.with_borrow_mut(|d| d.as_mut_ptr().cast())
}
#[unsafe(no_mangle)]
extern "C" fn cuemu_warp_slots() -> *mut u64 {
    SLOTS.get()
}

#[derive(Clone, Copy, PartialEq)]
enum St {
    Ready,
    Block,
    Warp,
    Done,
}
type Co = Coroutine<(), u32, (), DefaultStack>;

pub struct Launch {
    pub grid: Dim,
    pub block: Dim,
    /// Bytes of dynamic shared memory (filled with 0xdeadbeef before each block).
    pub shared: usize,
    /// False: the kernel has no barrier and no warp exchange; its threads run one after another.
    pub barriers: bool,
    /// 0: natural order; otherwise blocks, warps and lanes run in a shuffled order.
    pub seed: u64,
    /// OS threads; blocks are spread over them.
    pub threads: usize,
}

/// # Safety
/// `args` must point at values of the kernel's parameter types, with live buffers behind them.
pub unsafe fn launch(f: Entry, l: &Launch, args: &[*mut c_void]) -> Result<(), String> {
    let n = (l.grid.x * l.grid.y * l.grid.z) as usize;
    let mut order: Vec<u32> = (0..n as u32).collect();
    let mut s = l.seed;
    if s != 0 {
        for i in (1..n).rev() {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            order.swap(i, (s % (i as u64 + 1)) as usize);
        }
    }
    let a: Vec<usize> = args.iter().map(|p| *p as usize).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|sc| {
        let hs: Vec<_> = (0..l.threads.max(1))
            .map(|_| {
                sc.spawn(|| {
                    let mut args: Vec<*mut c_void> = a.iter().map(|p| *p as *mut c_void).collect();
                    loop {
                        let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if i >= n {
                            return Ok(());
                        }
                        let b = order[i];
                        let bid = dim(b % l.grid.x, b / l.grid.x % l.grid.y, b / l.grid.x / l.grid.y);
                        run_block(f, l, bid, args.as_mut_ptr())?;
                    }
                })
            })
            .collect();
        hs.into_iter().map(|h| h.join().unwrap()).collect::<Result<Vec<()>, String>>()
    })?;
    Ok(())
}

fn shuffle(v: &mut [usize], s: &mut u64) {
    for i in (1..v.len()).rev() {
        *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        v.swap(i, (*s >> 33) as usize % (i + 1));
    }
}

unsafe fn run_block(f: Entry, l: &Launch, bid: Dim, args: *mut *mut c_void) -> Result<(), String> {
    let b = l.block;
    let n = (b.x * b.y * b.z) as usize;
    let th = |i: usize| {
        let i = i as u32;
        Thread {
            tid: dim(i % b.x, i / b.x % b.y, i / b.x / b.y),
            bid,
            bdim: b,
            gdim: l.grid,
            lane_base: i & !31,
        }
    };
    if !l.barriers {
        for i in 0..n {
            let t = th(i);
            cuemu_set_thread(&t);
            f(args);
        }
        return Ok(());
    }
    DYN.with_borrow_mut(|d| {
        d.clear();
        d.resize(l.shared.div_ceil(16), 0xdeadbeef_deadbeef_deadbeef_deadbeef);
    });
    let mut slots = vec![0u64; n.div_ceil(32) * 32];
    let mut co: Vec<Option<Co>> = (0..n)
        .map(|_| {
            let st =
                STACKS.with_borrow_mut(|s| s.pop()).unwrap_or_else(|| DefaultStack::new(32 << 10).unwrap());
            let a = args as usize;
            Some(Coroutine::with_stack(st, move |y: &Yielder<(), u32>, ()| {
                YIELDER.set(y);
                f(a as *mut *mut c_void);
            }))
        })
        .collect();
    let mut st = vec![St::Ready; n];
    let mut ys: Vec<*const Yielder<(), u32>> = vec![std::ptr::null(); n];
    let mut rng = l.seed ^ ((bid.x as u64) << 40 | (bid.y as u64) << 20 | bid.z as u64);
    let mut warps: Vec<usize> = (0..n).step_by(32).collect();
    let mut lanes: Vec<usize> = (0..32).collect();
    loop {
        if l.seed != 0 {
            shuffle(&mut warps, &mut rng);
        }
        for &w in &warps {
            let e = (w + 32).min(n);
            loop {
                if l.seed != 0 {
                    shuffle(&mut lanes, &mut rng);
                }
                for &ln in &lanes {
                    let i = w + ln;
                    if i >= e {
                        continue;
                    }
                    if st[i] != St::Ready {
                        continue;
                    }
                    let t = th(i);
                    cuemu_set_thread(&t);
                    SLOTS.set(slots.as_mut_ptr().add(w));
                    YIELDER.set(ys[i]);
                    let c = co[i].as_mut().unwrap();
                    st[i] = match c.resume(()) {
                        CoroutineResult::Yield(0) => St::Block,
                        CoroutineResult::Yield(_) => St::Warp,
                        CoroutineResult::Return(()) => St::Done,
                    };
                    ys[i] = YIELDER.get();
                    if st[i] == St::Done {
                        let c = co[i].take().unwrap();
                        STACKS.with_borrow_mut(|s| s.push(c.into_stack()));
                    }
                }
                if !st[w..e].contains(&St::Warp) {
                    break;
                }
                if st[w..e].iter().any(|s| *s != St::Warp) {
                    std::mem::forget(co);
                    return Err(format!(
                        "block {:?}: warp barrier reached by part of warp {}",
                        (bid.x, bid.y, bid.z),
                        w / 32
                    ));
                }
                st[w..e].fill(St::Ready);
            }
        }
        if st.iter().all(|s| *s == St::Done) {
            YIELDER.set(std::ptr::null());
            return Ok(());
        }
        if st.contains(&St::Done) {
            std::mem::forget(co);
            YIELDER.set(std::ptr::null());
            return Err(format!(
                "block {:?}: __syncthreads reached by part of the block",
                (bid.x, bid.y, bid.z)
            ));
        }
        st.fill(St::Ready);
    }
}
