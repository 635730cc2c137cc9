//! Driver, device and contexts. One device, which says that it is an sm_90.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{api, give};
use crate::cubin::SM;
use crate::driver::{CONTEXTS, PRIMARY, current, driver};
use crate::queue::run_until;
use crate::settings::settings;
use crate::status::{self, INVALID_CONTEXT, INVALID_DEVICE, INVALID_VALUE, Outcome};

type P = *mut c_void;

const NAME: &[u8] = b"stand-in on the host, sm_90\0";
/// Shared memory a block may ask for on sm_90.
pub const MOST_SHARED_BYTES: u32 = 227 << 10;
/// Without asking.
pub const USUAL_SHARED_BYTES: u32 = 48 << 10;

fn expect_device(ordinal: c_int) -> Outcome {
    if ordinal == 0 { Ok(()) } else { Err(INVALID_DEVICE) }
}

/// CUdevice_attribute by number.
fn attribute(which: c_uint) -> Option<c_int> {
    Some(match which {
        1 => 1024,       // threads of a block
        2 | 3 => 1024,   // of a block's x and y
        4 => 64,         // of its z
        5 => c_int::MAX, // of a grid's x
        6 | 7 => 65_535, // of its y and z
        8 => USUAL_SHARED_BYTES as c_int,
        10 => 32,       // threads of a warp
        14 => 512,      // alignment of textures
        16 => 2,        // multiprocessors: threads of this driver
        38 => 60 << 20, // second-level cache
        41 => 1,        // unified addressing
        75 => (SM / 10) as c_int,
        76 => (SM % 10) as c_int,
        97 => MOST_SHARED_BYTES as c_int,
        115 => 0, // memory pools
        _ => return None,
    })
}

/// Waits for all that is queued; not while capturing.
pub fn synchronize_all() -> Outcome {
    let markers = {
        let mut driver = driver();
        driver.expect_no_capture()?;
        driver.queue.mark_all()
    };
    run_until(&markers)
}

api! {
    Nothing fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        super::own::check_at_exit();
        driver().initialised = true;
        Ok(())
    }
    Nothing fn cuDriverGetVersion(version: *mut c_int) {
        // SAFETY: the caller's place.
        unsafe { give(version, 13_000) }
    }
    Nothing fn cuGetErrorName(code: c_int, text: *mut *const c_char) {
        let name = status::name(code);
        // SAFETY: the caller's place; the names are static.
        unsafe { give(text, name.map_or(std::ptr::null(), |name| name.as_ptr())) }?;
        name.map(|_| ()).ok_or(INVALID_VALUE)
    }
    Nothing fn cuGetErrorString(code: c_int, text: *mut *const c_char) {
        let name = status::name(code);
        // SAFETY: as above.
        unsafe { give(text, name.map_or(std::ptr::null(), |name| name.as_ptr())) }?;
        name.map(|_| ()).ok_or(INVALID_VALUE)
    }
    Driver fn cuDeviceGetCount(count: *mut c_int) {
        // SAFETY: the caller's place.
        unsafe { give(count, 1) }
    }
    Driver fn cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        expect_device(ordinal)?;
        // SAFETY: the caller's place.
        unsafe { give(device, 0) }
    }
    Driver fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        expect_device(device)?;
        let length = usize::try_from(length).unwrap_or(0).min(NAME.len());
        if name.is_null() || length == 0 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's `length` characters.
        unsafe {
            NAME.as_ptr().copy_to(name.cast(), length);
            name.add(length - 1).write(0);
        }
        Ok(())
    }
    Driver fn cuDeviceGetAttribute(value: *mut c_int, which: c_uint, device: c_int) {
        expect_device(device)?;
        // SAFETY: the caller's place.
        unsafe { give(value, attribute(which).unwrap_or(0)) }
    }
    Driver fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        expect_device(device)?;
        // SAFETY: the caller's place.
        unsafe { give(bytes, settings().memory_bytes) }
    }
    Context fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let whole = settings().memory_bytes;
        // SAFETY: the caller's places.
        unsafe {
            give(free, whole - driver().memory.device_bytes())?;
            give(total, whole)
        }
    }
    Driver fn cuDeviceCanAccessPeer(can: *mut c_int, _device: c_int, _peer: c_int) {
        // SAFETY: the caller's place.
        unsafe { give(can, 0) }
    }
    Driver fn cuDevicePrimaryCtxRetain(context: *mut P, device: c_int) {
        expect_device(device)?;
        driver().retained += 1;
        // SAFETY: the caller's place.
        unsafe { give(context, PRIMARY as P) }
    }
    Driver fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        expect_device(device)?;
        let mut driver = driver();
        driver.retained = driver.retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        Ok(())
    }
    Driver fn cuCtxCreate_v2(context: *mut P, _flags: c_uint, device: c_int) {
        expect_device(device)?;
        let made = driver().contexts.add(());
        CONTEXTS.with_borrow_mut(|contexts| contexts.push(made as usize));
        // SAFETY: the caller's place.
        unsafe { give(context, made) }
    }
    Driver fn cuCtxDestroy_v2(context: P) {
        driver().contexts.remove(context)?;
        CONTEXTS.with_borrow_mut(|contexts| contexts.retain(|&other| other != context as usize));
        Ok(())
    }
    Driver fn cuCtxSetCurrent(context: P) {
        expect_context(context)?;
        CONTEXTS.with_borrow_mut(|contexts| {
            contexts.pop();
            if !context.is_null() {
                contexts.push(context as usize);
            }
        });
        Ok(())
    }
    Driver fn cuCtxGetCurrent(context: *mut P) {
        // SAFETY: the caller's place.
        unsafe { give(context, current()) }
    }
    Driver fn cuCtxPushCurrent_v2(context: P) {
        if context.is_null() {
            return Err(INVALID_CONTEXT);
        }
        expect_context(context)?;
        CONTEXTS.with_borrow_mut(|contexts| contexts.push(context as usize));
        Ok(())
    }
    Driver fn cuCtxPopCurrent_v2(context: *mut P) {
        let popped = CONTEXTS.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?;
        if !context.is_null() {
            // SAFETY: not null, and the caller's.
            unsafe { context.write(popped as P) };
        }
        Ok(())
    }
    Context fn cuCtxSynchronize() { synchronize_all() }
    Context fn cuCtxEnablePeerAccess(_context: P, _flags: c_uint) { Err(status::NOT_SUPPORTED) }
    Context fn cuCtxDisablePeerAccess(_context: P) { Err(status::NOT_SUPPORTED) }
}

fn expect_context(context: P) -> Outcome {
    let mut driver = driver();
    match context as usize {
        0 => Ok(()),
        PRIMARY if driver.retained > 0 => Ok(()),
        PRIMARY => Err(INVALID_CONTEXT),
        _ if driver.contexts.get(context).is_ok() => Ok(()),
        _ => Err(INVALID_CONTEXT),
    }
}
