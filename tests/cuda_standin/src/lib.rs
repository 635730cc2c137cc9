//! A libcuda.so.1 that runs on the CPU: memory is malloc, streams are in order and synchronous,
//! kernels are the host-compiled ones (looked up by name).  For CI only.
#![allow(non_snake_case, clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]
mod runner;
use runner::{dim, launch, Entry, Launch};
use std::{collections::HashMap, ffi::*, sync::Mutex, time::Instant};
type R = c_int;
type P = *mut c_void;
type D = u64;
unsafe extern "C" {
    fn cuemu_lookup(n: *const c_char, e: *mut Option<Entry>, b: *mut c_int, s: *mut usize)
        -> c_int;
    fn aligned_alloc(a: usize, n: usize) -> P;
    fn free(p: P);
}
struct Func {
    e: Entry,
    barriers: bool,
    sizes: Vec<usize>,
}
type Op = Box<dyn Fn() -> R + Send + Sync>;
#[derive(Default)]
struct St {
    capture: HashMap<usize, Vec<Op>>,
    graphs: HashMap<usize, std::sync::Arc<Vec<Op>>>,
    live: HashMap<D, usize>,
    next: usize,
    peak: usize,
    used: usize,
    launches: usize,
    allocations: usize,
}
static ST: Mutex<Option<St>> = Mutex::new(None);
fn st<T>(f: impl FnOnce(&mut St) -> T) -> T {
    f(ST.lock().unwrap().get_or_insert_with(St::default))
}
fn id() -> usize {
    st(|s| {
        s.next += 16;
        s.next
    })
}
const OK: R = 0;
const INVALID: R = 1;
const NOT_FOUND: R = 500;
const LAUNCH_FAILED: R = 719;
const NOT_SUPPORTED: R = 801;
/// Run now, or record when the stream is capturing.
fn go(stream: P, op: Op) -> R {
    let r = st(|s| match s.capture.get_mut(&(stream as usize)) {
        Some(v) => {
            v.push(op);
            None
        }
        None => Some(op),
    });
    match r {
        Some(op) => op(),
        None => OK,
    }
}
/// Every function below is exported under its CUDA name and returns a CUresult.
macro_rules! api {
    ($(fn $n:ident($($a:ident: $t:ty),* $(,)?) $b:block)*) => {
        $( #[unsafe(no_mangle)] pub unsafe extern "C" fn $n($($a: $t),*) -> R { $b } )*
    };
}
unsafe fn alloc(p: *mut D, n: usize) -> R {
    let n1 = n.max(1).div_ceil(256) * 256;
    let m = aligned_alloc(256, n1);
    std::ptr::write_bytes(m as *mut u8, 0xcd, n1);
    *p = m as D;
    st(|s| {
        s.live.insert(m as D, n1);
        s.used += n1;
        s.allocations += 1;
        s.peak = s.peak.max(s.used);
    });
    OK
}
unsafe fn release(p: D) -> R {
    if p == 0 {
        return OK;
    }
    match st(|s| s.live.remove(&p).inspect(|n| s.used -= n)) {
        Some(_) => {
            free(p as P);
            OK
        }
        None => INVALID,
    }
}
unsafe fn copy(d: usize, s: usize, n: usize) -> R {
    std::ptr::copy(s as *const u8, d as *mut u8, n);
    OK
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy2D {
    sx: usize,
    sy: usize,
    st: c_uint,
    sh: *const c_void,
    sd: D,
    sa: P,
    sp: usize,
    dx: usize,
    dy: usize,
    dt: c_uint,
    dh: P,
    dd: D,
    da: P,
    dp: usize,
    w: usize,
    h: usize,
}
unsafe impl Send for Copy2D {}
unsafe impl Sync for Copy2D {}
unsafe fn copy2d(c: &Copy2D) -> R {
    let s = if c.st == 1 {
        c.sh as usize
    } else {
        c.sd as usize
    };
    let d = if c.dt == 1 {
        c.dh as usize
    } else {
        c.dd as usize
    };
    for y in 0..c.h {
        copy(
            d + (c.dy + y) * c.dp + c.dx,
            s + (c.sy + y) * c.sp + c.sx,
            c.w,
        );
    }
    OK
}
api! {
    fn cuInit(_f: c_uint) { OK }
    fn cuDriverGetVersion(v: *mut c_int) { *v = 13000; OK }
    fn cuDeviceGetCount(n: *mut c_int) { *n = 1; OK }
    fn cuDeviceGet(d: *mut c_int, i: c_int) { if i != 0 { return 101; } *d = 0; OK }
    fn cuDeviceGetName(n: *mut c_char, len: c_int, _d: c_int) {
        let s = b"stand-in on the host, sm_90\0";
        std::ptr::copy(s.as_ptr().cast(), n, s.len().min(len as usize));
        OK
    }
    fn cuDeviceGetAttribute(v: *mut c_int, a: c_int, _d: c_int) {
        *v = match a {
            75 => 9,
            76 => 0,
            16 => 2,
            10 => 32,
            1 => 1024,
            14 => 512,
            115 => 1,
            8 => 49152,
            97 => 232448,
            41 => 1,
            38 => 60 << 20,
            _ => 0,
        };
        OK
    }
    fn cuDeviceTotalMem_v2(n: *mut usize, _d: c_int) { *n = 8 << 30; OK }
    fn cuMemGetInfo_v2(f: *mut usize, t: *mut usize) { *t = 8 << 30; *f = (8 << 30) - st(|s| s.used); OK }
    fn cuDeviceGetDefaultMemPool(p: *mut P, _d: c_int) { *p = 0x40 as P; OK }
    fn cuMemPoolSetAttribute(_p: P, _a: c_int, _v: P) { OK }
    fn cuDevicePrimaryCtxRetain(c: *mut P, _d: c_int) { *c = 0x10 as P; OK }
    fn cuDevicePrimaryCtxRelease_v2(_d: c_int) { OK }
    fn cuCtxCreate_v2(c: *mut P, _f: c_uint, _d: c_int) { *c = id() as P; OK }
    fn cuCtxDestroy_v2(_c: P) { OK }
    fn cuCtxSetCurrent(c: P) { CUR.set(c as usize); OK }
    fn cuCtxGetCurrent(c: *mut P) { *c = CUR.get() as P; OK }
    fn cuCtxPushCurrent_v2(c: P) { CUR.set(c as usize); OK }
    fn cuCtxPopCurrent_v2(c: *mut P) { if !c.is_null() { *c = CUR.get() as P; } OK }
    fn cuCtxSynchronize() { OK }
    fn cuCtxEnablePeerAccess(_c: P, _f: c_uint) { OK }
    fn cuCtxDisablePeerAccess(_c: P) { OK }
    fn cuDeviceCanAccessPeer(v: *mut c_int, _a: c_int, _b: c_int) { *v = 0; OK }
    fn cuStreamCreate(s: *mut P, _f: c_uint) { *s = id() as P; OK }
    fn cuStreamCreateWithPriority(s: *mut P, _f: c_uint, _p: c_int) { *s = id() as P; OK }
    fn cuStreamDestroy_v2(_s: P) { OK }
    fn cuStreamDestroy(_s: P) { OK }
    fn cuStreamSynchronize(_s: P) { OK }
    fn cuStreamWaitEvent(_s: P, _e: P, _f: c_uint) { OK }
    fn cuEventCreate(e: *mut P, _f: c_uint) {
        *e = Box::into_raw(Box::new(Mutex::new(Instant::now()))).cast();
        OK
    }
    fn cuEventDestroy_v2(e: P) { drop(Box::from_raw(e.cast::<Mutex<Instant>>())); OK }
    fn cuEventRecord(e: P, _s: P) { *(*e.cast::<Mutex<Instant>>()).lock().unwrap() = Instant::now(); OK }
    fn cuEventSynchronize(_e: P) { OK }
    fn cuEventQuery(_e: P) { OK }
    fn cuEventElapsedTime(ms: *mut f32, a: P, b: P) {
        let t = |e: P| *(*e.cast::<Mutex<Instant>>()).lock().unwrap();
        *ms = t(b).saturating_duration_since(t(a)).as_secs_f32() * 1e3;
        OK
    }
    fn cuEventElapsedTime_v2(ms: *mut f32, a: P, b: P) { cuEventElapsedTime(ms, a, b) }
    fn cuMemAlloc_v2(p: *mut D, n: usize) { alloc(p, n) }
    fn cuMemAllocAsync(p: *mut D, n: usize, _s: P) { alloc(p, n) }
    fn cuMemFree_v2(p: D) { release(p) }
    fn cuMemFreeAsync(p: D, _s: P) { release(p) }
    fn cuMemAllocPitch_v2(p: *mut D, pitch: *mut usize, w: usize, h: usize, _e: c_uint) {
        *pitch = w.div_ceil(512) * 512;
        alloc(p, *pitch * h)
    }
    fn cuMemHostAlloc(p: *mut P, n: usize, _f: c_uint) {
        *p = aligned_alloc(4096, n.div_ceil(4096).max(1) * 4096);
        OK
    }
    fn cuMemAllocHost_v2(p: *mut P, n: usize) { cuMemHostAlloc(p, n, 0) }
    fn cuMemFreeHost(p: P) { free(p); OK }
    fn cuMemcpyHtoD_v2(d: D, s: P, n: usize) { copy(d as usize, s as usize, n) }
    fn cuMemcpyDtoH_v2(d: P, s: D, n: usize) { copy(d as usize, s as usize, n) }
    fn cuMemcpyDtoD_v2(d: D, s: D, n: usize) { copy(d as usize, s as usize, n) }
    fn cuMemcpyHtoDAsync_v2(d: D, s: P, n: usize, q: P) {
        let s = s as usize;
        go(q, Box::new(move || copy(d as usize, s, n)))
    }
    fn cuMemcpyDtoHAsync_v2(d: P, s: D, n: usize, q: P) {
        let d = d as usize;
        go(q, Box::new(move || copy(d, s as usize, n)))
    }
    fn cuMemcpyDtoDAsync_v2(d: D, s: D, n: usize, q: P) {
        go(q, Box::new(move || copy(d as usize, s as usize, n)))
    }
    fn cuMemcpyAsync(d: D, s: D, n: usize, q: P) {
        go(q, Box::new(move || copy(d as usize, s as usize, n)))
    }
    fn cuMemcpy2D_v2(c: *const Copy2D) { copy2d(&*c) }
    fn cuMemcpy2DAsync_v2(c: *const Copy2D, q: P) {
        let c = *c;
        go(
            q,
            Box::new(move || {
                let r = &c;
                copy2d(r)
            }),
        )
    }
    fn cuMemsetD8_v2(d: D, v: u8, n: usize) { std::ptr::write_bytes(d as *mut u8, v, n); OK }
    fn cuMemsetD8Async(d: D, v: u8, n: usize, q: P) {
        go(
            q,
            Box::new(move || {
                std::ptr::write_bytes(d as *mut u8, v, n);
                OK
            }),
        )
    }
    fn cuModuleLoadData(m: *mut P, _i: *const c_void) { *m = id() as P; OK }
    fn cuModuleLoad(m: *mut P, _n: *const c_char) { *m = id() as P; OK }
    fn cuModuleUnload(_m: P) { OK }
    fn cuModuleGetFunction(f: *mut P, _m: P, n: *const c_char) {
        let (mut e, mut b, mut s) = (None, 0, [0usize; 64]);
        let k = cuemu_lookup(n, &mut e, &mut b, s.as_mut_ptr());
        if k < 0 {
            return NOT_FOUND;
        }
        *f = Box::into_raw(Box::new(Func {
            e: e.unwrap(),
            barriers: b != 0,
            sizes: s[..k as usize].to_vec(),
        }))
        .cast();
        OK
    }
    fn cuFuncGetAttribute(v: *mut c_int, _a: c_int, _f: P) { *v = 0; OK }
    fn cuFuncSetAttribute(_f: P, _a: c_int, _v: c_int) { OK }
    fn cuLaunchKernel(
        f: P,
        gx: c_uint,
        gy: c_uint,
        gz: c_uint,
        bx: c_uint,
        by: c_uint,
        bz: c_uint,
        sm: c_uint,
        q: P,
        a: *mut P,
        _x: *mut P,
    ) {
        if gx * gy * gz == 0 || bx * by * bz == 0 || bx * by * bz > 1024 {
            return INVALID;
        }
        let k = &*f.cast::<Func>();
        let vals: Vec<Vec<u128>> = k
            .sizes
            .iter()
            .enumerate()
            .map(|(i, n)| {
                let mut v = vec![0u128; n.div_ceil(16).max(1)];
                std::ptr::copy(*a.add(i) as *const u8, v.as_mut_ptr().cast(), *n);
                v
            })
            .collect();
        let (e, barriers) = (k.e, k.barriers);
        st(|s| s.launches += 1);
        let seed = std::env::var("CUDA_STANDIN_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        go(
            q,
            Box::new(move || {
                let args: Vec<P> = vals.iter().map(|v| v.as_ptr() as P).collect();
                match launch(
                    e,
                    &Launch {
                        grid: dim(gx, gy, gz),
                        block: dim(bx, by, bz),
                        shared: sm as usize,
                        barriers,
                        seed,
                        threads: 2,
                    },
                    &args,
                ) {
                    Ok(()) => OK,
                    Err(m) => {
                        eprintln!("fakecuda: {m}");
                        LAUNCH_FAILED
                    }
                }
            }),
        )
    }
    fn cuStreamBeginCapture_v2(s: P, _m: c_int) {
        if s.is_null() {
            return 900;
        }
        st(|t| t.capture.insert(s as usize, vec![]));
        OK
    }
    fn cuStreamEndCapture(s: P, g: *mut P) {
        let i = id();
        match st(|t| t.capture.remove(&(s as usize))) {
            Some(v) => {
                st(|t| t.graphs.insert(i, v.into()));
                *g = i as P;
                OK
            }
            None => 901,
        }
    }
    fn cuStreamIsCapturing(s: P, v: *mut c_int) {
        *v = st(|t| t.capture.contains_key(&(s as usize))) as c_int;
        OK
    }
    fn cuGraphInstantiateWithFlags(e: *mut P, g: P, _f: u64) { *e = g; OK }
    fn cuGraphUpload(_e: P, _s: P) { OK }
    fn cuGraphLaunch(e: P, _s: P) {
        let v = match st(|t| t.graphs.get(&(e as usize)).cloned()) {
            Some(v) => v,
            None => return INVALID,
        };
        for op in v.iter() {
            let r = op();
            if r != OK {
                return r;
            }
        }
        OK
    }
    fn cuGraphExecDestroy(_e: P) { OK }
    fn cuGraphDestroy(g: P) { st(|t| t.graphs.remove(&(g as usize))); OK }
    fn cuGetErrorName(e: R, s: *mut *const c_char) { *s = ERR(e).as_ptr(); OK }
    fn cuGetErrorString(e: R, s: *mut *const c_char) { *s = ERR(e).as_ptr(); OK }
    fn cuTexObjectCreate(_o: *mut u64, _a: P, _b: P, _c: P) { NOT_SUPPORTED }
    fn cuTexObjectDestroy(_o: u64) { OK }
    fn cuGLGetDevices(_a: P, _b: P, _c: c_uint, _d: c_int) { NOT_SUPPORTED }
    fn cuGraphicsResourceSetMapFlags(_r: P, _f: c_uint) { NOT_SUPPORTED }
    fn cuGraphicsResourceGetMappedPointer(_p: P, _s: P, _r: P) { NOT_SUPPORTED }
    fn cuGraphicsMapResources(_c: c_uint, _r: P, _s: P) { NOT_SUPPORTED }
    fn cuGraphicsUnmapResources(_c: c_uint, _r: P, _s: P) { NOT_SUPPORTED }
    fn cuGraphicsResourceSetMapFlags_v2(_r: P, _f: c_uint) { NOT_SUPPORTED }
    fn cuGraphicsSubResourceGetMappedArray(_a: P, _r: P, _i: c_uint, _m: c_uint) { NOT_SUPPORTED }
    fn cuGraphicsResourceGetMappedPointer_v2(_p: P, _s: P, _r: P) { NOT_SUPPORTED }
    fn cuGraphicsUnregisterResource(_r: P) { NOT_SUPPORTED }
    fn cuGraphicsGLRegisterImage(_a: P, _b: c_uint, _c: c_uint, _d: c_uint) { NOT_SUPPORTED }
    fn cuGraphicsGLRegisterBuffer(_a: P, _b: c_uint, _c: c_uint) { NOT_SUPPORTED }
    fn cuGLGetDevices_v2(_a: P, _b: P, _c: c_uint, _d: c_int) { NOT_SUPPORTED }
}
fn ERR(e: R) -> &'static CStr {
    match e {
        0 => c"CUDA_SUCCESS",
        1 => c"CUDA_ERROR_INVALID_VALUE",
        500 => c"CUDA_ERROR_NOT_FOUND",
        719 => c"CUDA_ERROR_LAUNCH_FAILED",
        _ => c"CUDA_ERROR_FAKE",
    }
}
/// Bytes still allocated (tests assert 0 at the end) and kernel launches so far.
#[unsafe(no_mangle)]
pub extern "C" fn fakecuda_live_bytes() -> usize {
    st(|s| s.used)
}
#[unsafe(no_mangle)]
pub extern "C" fn fakecuda_launches() -> usize {
    st(|s| s.launches)
}
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_live_bytes() -> usize {
    st(|s| s.used)
}
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_launches() -> usize {
    st(|s| s.launches)
}
#[unsafe(no_mangle)]
pub extern "C" fn cuda_standin_allocations() -> usize {
    st(|s| s.allocations)
}
/// Work of another stand-in: queued or captured like a kernel.
struct Foreign {
    run: unsafe extern "C" fn(P),
    data: P,
    release: Option<unsafe extern "C" fn(P)>,
}
unsafe impl Send for Foreign {}
unsafe impl Sync for Foreign {}
impl Foreign {
    fn call(&self) -> R {
        unsafe { (self.run)(self.data) };
        OK
    }
}
impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            unsafe { release(self.data) };
        }
    }
}
/// `run(data)` where a kernel would run: as often as a graph that captured it is launched. `release(data)` after the
/// last time, also when this call fails. `run` may be called on any thread and makes no call of the driver.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_standin_enqueue(
    stream: P,
    run: unsafe extern "C" fn(P),
    data: P,
    release: Option<unsafe extern "C" fn(P)>,
) -> R {
    let work = Foreign { run, data, release };
    st(|s| s.launches += 1);
    go(stream, Box::new(move || work.call()))
}
thread_local! { static CUR: std::cell::Cell<usize> = const { std::cell::Cell::new(0) }; }
