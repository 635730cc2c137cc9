//! Device and pinned memory: ordinary memory between guard bytes, in a table that copies are checked against.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;

use crate::settings::settings;
use crate::status::{INVALID_VALUE, OUT_OF_MEMORY};

/// What nobody wrote yet.
const FRESH: u8 = 0xCD;
/// What was freed.
const FREED: u8 = 0xDD;
const GUARD: u8 = 0xA5;
const ALIGNMENT: usize = 256;
/// Guard bytes on each side. The sanitizer has its own, right at the end of an allocation.
const GUARD_BYTES: usize = if cfg!(sanitizer) { 0 } else { 256 };
/// Freed memory that is kept for a while, to see writes into it.
const KEPT_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Device,
    Pinned,
}

#[derive(Debug)]
struct Block {
    bytes: usize,
    kind: Kind,
    layout: Layout,
}

#[derive(Debug, Default)]
pub struct Memory {
    live: BTreeMap<usize, Block>,
    freed: VecDeque<(usize, Block)>,
    freed_bytes: usize,
    device_bytes: usize,
    pinned_bytes: usize,
    pub allocations: usize,
}

impl Memory {
    pub fn device_bytes(&self) -> usize {
        self.device_bytes
    }

    pub fn live_bytes(&self) -> usize {
        self.device_bytes + self.pinned_bytes
    }

    pub fn allocate(&mut self, bytes: usize, kind: Kind) -> Result<usize, c_int> {
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        let used = if kind == Kind::Device {
            self.device_bytes
        } else {
            self.pinned_bytes
        };
        if bytes > settings().memory_bytes.saturating_sub(used) {
            return Err(OUT_OF_MEMORY);
        }
        let whole = bytes + 2 * GUARD_BYTES;
        let layout = Layout::from_size_align(whole, ALIGNMENT).map_err(|_| OUT_OF_MEMORY)?;
        // SAFETY: `layout` has at least one byte.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            return Err(OUT_OF_MEMORY);
        }
        // SAFETY: all three ranges lie in the `whole` bytes just allocated.
        unsafe {
            start.write_bytes(GUARD, GUARD_BYTES);
            start.add(GUARD_BYTES).write_bytes(FRESH, bytes);
            start.add(GUARD_BYTES + bytes).write_bytes(GUARD, GUARD_BYTES);
        }
        let address = start as usize + GUARD_BYTES;
        self.live.insert(address, Block { bytes, kind, layout });
        *self.used(kind) += bytes;
        self.allocations += 1;
        Ok(address)
    }

    fn used(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Device => &mut self.device_bytes,
            Kind::Pinned => &mut self.pinned_bytes,
        }
    }

    /// Frees what [`allocate`](Memory::allocate) gave at `address`. Its guards were looked at by the caller.
    pub fn free(&mut self, address: usize, kind: Kind) -> Result<(), c_int> {
        if self.live.get(&address).is_none_or(|block| block.kind != kind) {
            return Err(INVALID_VALUE);
        }
        let Some(block) = self.live.remove(&address) else {
            return Err(INVALID_VALUE);
        };
        *self.used(kind) -= block.bytes;
        // SAFETY: the block is live until `release` below.
        unsafe { (address as *mut u8).write_bytes(FREED, block.bytes) };
        if cfg!(sanitizer) {
            release(address, &block);
            return Ok(());
        }
        self.freed_bytes += block.bytes;
        self.freed.push_back((address, block));
        while self.freed_bytes > KEPT_BYTES {
            let Some((address, block)) = self.freed.pop_front() else {
                break;
            };
            self.freed_bytes -= block.bytes;
            release(address, &block);
        }
        Ok(())
    }

    /// What was written where nothing may be written, in words. Mends it, so that each fault is told once.
    pub fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        let freed = self.freed.iter().map(|(address, block)| (*address, block, true));
        let blocks = self
            .live
            .iter()
            .map(|(address, block)| (*address, block, false))
            .chain(freed);
        for (address, block, was_freed) in blocks {
            let mut check = |start: usize, bytes: usize, expected: u8, place: &str| {
                // SAFETY: the range lies in a block that is not released yet; nothing else runs (the caller's lock).
                let range = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, bytes) };
                if let Some(at) = range.iter().position(|&byte| byte != expected) {
                    let kind = block.kind;
                    faults.push(format!(
                        "byte {at} {place} an allocation of {} bytes ({kind:?}) was written",
                        block.bytes
                    ));
                    range.fill(expected);
                }
            };
            check(address + block.bytes, GUARD_BYTES, GUARD, "past the end of");
            check(address - GUARD_BYTES, GUARD_BYTES, GUARD, "of the 256 bytes before");
            if was_freed {
                check(address, block.bytes.min(4096), FREED, "after the freeing of");
            }
        }
        faults
    }

    /// The kind of memory that holds `address`, and how many bytes of it are left from there.
    fn at(&self, address: usize) -> Option<(Kind, usize)> {
        let (start, block) = self.live.range(..=address).next_back()?;
        let left = (start + block.bytes).checked_sub(address)?;
        (left > 0).then_some((block.kind, left))
    }

    /// Refuses `bytes` at `address` that do not lie in one allocation the device may use.
    pub fn expect_device(&self, address: usize, bytes: usize) -> Result<(), c_int> {
        match self.at(address) {
            Some((_, left)) if left >= bytes => Ok(()),
            _ => Err(INVALID_VALUE),
        }
    }

    /// Whether host memory is pinned; refuses a range that is partly so, or on the device.
    pub fn host_is_pinned(&self, address: usize, bytes: usize) -> Result<bool, c_int> {
        match self.at(address) {
            None => Ok(false),
            Some((Kind::Pinned, left)) if left >= bytes => Ok(true),
            Some(_) => Err(INVALID_VALUE),
        }
    }

    /// Base address and length of the allocation that holds `address`.
    pub fn range_of(&self, address: usize) -> Option<(usize, usize)> {
        let (start, block) = self.live.range(..=address).next_back()?;
        (address < start + block.bytes).then_some((*start, block.bytes))
    }
}

fn release(address: usize, block: &Block) {
    // SAFETY: allocated with this layout `GUARD_BYTES` before `address`, and in no table any more.
    unsafe { dealloc((address - GUARD_BYTES) as *mut u8, block.layout) };
}
