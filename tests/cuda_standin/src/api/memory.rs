//! Memory: allocation, copies, fills. What cuda.h calls synchronous is so towards the host only where cuda.h says so:
//! fills and copies from ordinary memory may still be underway on the legacy stream when the call returns.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use super::device::synchronize_all;
use super::{api, give};
use crate::driver::driver;
use crate::memory::Kind;
use crate::queue::{Fault, Work, key, nudge, run_until};
use crate::status::{ILLEGAL_ADDRESS, INVALID_VALUE, NOT_SUPPORTED, Outcome};

type P = *mut c_void;
type D = u64;

const LEGACY: P = std::ptr::null_mut();

/// CUDA_MEMCPY2D.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy2D {
    from_x: usize,
    from_y: usize,
    from_kind: c_uint,
    from_host: *const c_void,
    from_device: D,
    from_array: P,
    from_pitch: usize,
    to_x: usize,
    to_y: usize,
    to_kind: c_uint,
    to_host: P,
    to_device: D,
    to_array: P,
    to_pitch: usize,
    width: usize,
    height: usize,
}

/// Rows of bytes.
#[derive(Debug, Clone, Copy)]
struct Rows {
    address: usize,
    pitch: usize,
    on_host: bool,
}

fn line(address: usize, on_host: bool) -> Rows {
    Rows {
        address,
        pitch: 0,
        on_host,
    }
}

/// How the host sees a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// It goes on at once.
    GoesOn,
    /// It goes on when the copy is over.
    Waits,
}

/// Queues a copy of `height` rows of `width` bytes.
fn copy(to: Rows, from: Rows, width: usize, height: usize, stream: P, host: Host) -> Outcome {
    if width == 0 || height == 0 {
        return Ok(());
    }
    let extent = move |rows: Rows| rows.pitch * (height - 1) + width;
    let mut ordinary = false;
    {
        let driver = driver();
        for rows in [from, to] {
            if rows.on_host {
                ordinary |= !driver.memory.host_is_pinned(rows.address, extent(rows))?;
            } else {
                driver.memory.expect_device(rows.address, extent(rows))?;
            }
        }
    }
    let work = move || {
        let memory = &driver().memory;
        for rows in [from, to] {
            let gone = if rows.on_host {
                !ordinary && !memory.host_is_pinned(rows.address, extent(rows)).unwrap_or(false)
            } else {
                memory.expect_device(rows.address, extent(rows)).is_err()
            };
            if gone {
                let words = format!("a queued copy of {width} x {height} bytes ran after its memory was freed");
                return Err(Fault {
                    code: ILLEGAL_ADDRESS,
                    words,
                });
            }
        }
        for row in 0..height {
            let (from, to) = (from.address + row * from.pitch, to.address + row * to.pitch);
            // SAFETY: both ranges lie in live allocations (checked above), or in memory of the host that the caller
            // answers for until the copy is over.
            unsafe { std::ptr::copy(from as *const u8, to as *mut u8, width) };
        }
        Ok(())
    };
    // Ordinary memory: the bytes are taken, or there, when the call returns.
    let waits = host == Host::Waits || ordinary;
    queue(Arc::new(work), stream, waits)
}

fn queue(work: Work, stream: P, waits: bool) -> Outcome {
    let marker = {
        let mut driver = driver();
        if waits && driver.queue.stream(key(stream))?.capture.is_some() {
            driver.expect_not_captured(stream)?;
        }
        driver.push(stream, work)?;
        if waits {
            Some(driver.queue.mark(key(stream))?)
        } else {
            None
        }
    };
    match marker {
        Some(marker) => run_until(&[marker]),
        None => nudge(stream),
    }
}

/// A copy from memory of the host, on the legacy stream: ordinary memory is read at once and written later.
fn copy_from_host(to: D, from: P, bytes: usize) -> Outcome {
    driver().expect_no_capture()?;
    let to = to as usize;
    let pinned = driver().memory.host_is_pinned(from as usize, bytes)?;
    if pinned || bytes == 0 {
        return copy(
            line(to, false),
            line(from as usize, true),
            bytes,
            1,
            LEGACY,
            Host::Waits,
        );
    }
    driver().memory.expect_device(to, bytes)?;
    // SAFETY: the caller's `bytes` bytes.
    let staged = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) }.to_vec();
    let work = move || {
        if driver().memory.expect_device(to, staged.len()).is_err() {
            let words = format!("a queued copy of {} bytes ran after its memory was freed", staged.len());
            return Err(Fault {
                code: ILLEGAL_ADDRESS,
                words,
            });
        }
        // SAFETY: the range is live (checked above), and `staged` is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(staged.as_ptr(), to as *mut u8, staged.len()) };
        Ok(())
    };
    queue(Arc::new(work), LEGACY, false)
}

fn fill<T: Copy + Send + Sync + 'static>(to: D, value: T, count: usize, stream: P) -> Outcome {
    if count == 0 {
        return Ok(());
    }
    let (to, bytes) = (to as usize, count * size_of::<T>());
    driver().memory.expect_device(to, bytes)?;
    if !to.is_multiple_of(size_of::<T>()) {
        return Err(INVALID_VALUE);
    }
    let work = move || {
        if driver().memory.expect_device(to, bytes).is_err() {
            let words = format!("a queued fill of {bytes} bytes ran after its memory was freed");
            return Err(Fault {
                code: ILLEGAL_ADDRESS,
                words,
            });
        }
        // SAFETY: the range is live and aligned (checked above).
        unsafe { std::slice::from_raw_parts_mut(to as *mut T, count) }.fill(value);
        Ok(())
    };
    queue(Arc::new(work), stream, false)
}

fn rows(kind: c_uint, host: usize, device: D, pitch: usize, x: usize, y: usize, width: usize) -> Result<Rows, c_int> {
    const HOST: c_uint = 1;
    const DEVICE: c_uint = 2;
    const UNIFIED: c_uint = 4;
    let (base, on_host) = match kind {
        HOST => (host, true),
        DEVICE | UNIFIED => (device as usize, false),
        _ => return Err(NOT_SUPPORTED),
    };
    if x + width > pitch {
        return Err(INVALID_VALUE);
    }
    Ok(Rows {
        address: base + y * pitch + x,
        pitch,
        on_host,
    })
}

fn copy_2d(of: *const Copy2D, stream: P, host: Host) -> Outcome {
    // SAFETY: the caller's description, or null.
    let of = unsafe { of.as_ref() }.ok_or(INVALID_VALUE)?;
    let from = rows(
        of.from_kind,
        of.from_host as usize,
        of.from_device,
        of.from_pitch,
        of.from_x,
        of.from_y,
        of.width,
    )?;
    let to = rows(
        of.to_kind,
        of.to_host as usize,
        of.to_device,
        of.to_pitch,
        of.to_x,
        of.to_y,
        of.width,
    )?;
    copy(to, from, of.width, of.height, stream, host)
}

fn allocate(bytes: usize, kind: Kind) -> Result<usize, c_int> {
    let mut driver = driver();
    driver.expect_no_capture()?;
    driver.memory.allocate(bytes, kind)
}

fn free(address: usize, kind: Kind) -> Outcome {
    if address == 0 {
        return Ok(());
    }
    if kind == Kind::Device {
        synchronize_all()?;
    }
    let mut driver = driver();
    driver.expect_no_capture()?;
    if let Some(words) = driver.memory.faults().first().cloned() {
        return Err(driver.break_with(&Fault {
            code: ILLEGAL_ADDRESS,
            words,
        }));
    }
    driver.memory.free(address, kind)
}

api! {
    Context fn cuMemAlloc_v2(address: *mut D, bytes: usize) {
        // SAFETY: the caller's place.
        unsafe { give(address, allocate(bytes, Kind::Device)? as D) }
    }
    Context fn cuMemAllocPitch_v2(address: *mut D, pitch: *mut usize, width: usize, height: usize, _element: c_uint) {
        let whole = width.next_multiple_of(512);
        // SAFETY: the caller's places.
        unsafe {
            give(pitch, whole)?;
            give(address, allocate(whole * height, Kind::Device)? as D)
        }
    }
    Context fn cuMemFree_v2(address: D) { free(address as usize, Kind::Device) }
    Context fn cuMemHostAlloc(address: *mut P, bytes: usize, _flags: c_uint) {
        // SAFETY: the caller's place.
        unsafe { give(address, allocate(bytes, Kind::Pinned)? as P) }
    }
    Context fn cuMemAllocHost_v2(address: *mut P, bytes: usize) {
        // SAFETY: the caller's place.
        unsafe { give(address, allocate(bytes, Kind::Pinned)? as P) }
    }
    Context fn cuMemFreeHost(address: P) { free(address as usize, Kind::Pinned) }
    Context fn cuMemAllocAsync(_address: *mut D, _bytes: usize, _stream: P) { Err(NOT_SUPPORTED) }
    Context fn cuMemFreeAsync(_address: D, _stream: P) { Err(NOT_SUPPORTED) }
    Driver fn cuDeviceGetDefaultMemPool(_pool: *mut P, _device: c_int) { Err(NOT_SUPPORTED) }
    Driver fn cuMemPoolSetAttribute(_pool: P, _attribute: c_int, _value: P) { Err(NOT_SUPPORTED) }
    Context fn cuMemGetAddressRange_v2(base: *mut D, bytes: *mut usize, address: D) {
        let (start, length) = driver().memory.range_of(address as usize).ok_or(INVALID_VALUE)?;
        // SAFETY: the caller's places.
        unsafe {
            give(base, start as D)?;
            give(bytes, length)
        }
    }
    Context fn cuMemcpyHtoD_v2(to: D, from: P, bytes: usize) { copy_from_host(to, from, bytes) }
    Context fn cuMemcpyDtoH_v2(to: P, from: D, bytes: usize) {
        driver().expect_no_capture()?;
        copy(line(to as usize, true), line(from as usize, false), bytes, 1, LEGACY, Host::Waits)
    }
    Context fn cuMemcpyDtoD_v2(to: D, from: D, bytes: usize) {
        driver().expect_no_capture()?;
        copy(line(to as usize, false), line(from as usize, false), bytes, 1, LEGACY, Host::GoesOn)
    }
    Context fn cuMemcpyHtoDAsync_v2(to: D, from: P, bytes: usize, stream: P) {
        copy(line(to as usize, false), line(from as usize, true), bytes, 1, stream, Host::GoesOn)
    }
    Context fn cuMemcpyDtoHAsync_v2(to: P, from: D, bytes: usize, stream: P) {
        copy(line(to as usize, true), line(from as usize, false), bytes, 1, stream, Host::GoesOn)
    }
    Context fn cuMemcpyDtoDAsync_v2(to: D, from: D, bytes: usize, stream: P) {
        copy(line(to as usize, false), line(from as usize, false), bytes, 1, stream, Host::GoesOn)
    }
    Context fn cuMemcpyAsync(to: D, from: D, bytes: usize, stream: P) {
        let on_host = |address: D| driver().memory.expect_device(address as usize, bytes).is_err();
        copy(line(to as usize, on_host(to)), line(from as usize, on_host(from)), bytes, 1, stream, Host::GoesOn)
    }
    Context fn cuMemcpy2D_v2(of: *const Copy2D) {
        driver().expect_no_capture()?;
        copy_2d(of, LEGACY, Host::Waits)
    }
    Context fn cuMemcpy2DAsync_v2(of: *const Copy2D, stream: P) { copy_2d(of, stream, Host::GoesOn) }
    Context fn cuMemsetD8_v2(to: D, value: u8, count: usize) {
        driver().expect_no_capture()?;
        fill(to, value, count, LEGACY)
    }
    Context fn cuMemsetD8Async(to: D, value: u8, count: usize, stream: P) { fill(to, value, count, stream) }
    Context fn cuMemsetD32_v2(to: D, value: u32, count: usize) {
        driver().expect_no_capture()?;
        fill(to, value, count, LEGACY)
    }
    Context fn cuMemsetD32Async(to: D, value: u32, count: usize, stream: P) { fill(to, value, count, stream) }
}
