//! Handles given out: numbers, looked up at each use, so that one that was destroyed is refused and never followed.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::status::INVALID_HANDLE;

#[derive(Debug)]
pub struct Handles<T>(BTreeMap<usize, T>);

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles(BTreeMap::new())
    }
}

/// A number that no other handle of this process has.
pub fn fresh() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
    NEXT.fetch_add(16, Ordering::Relaxed)
}

impl<T> Handles<T> {
    pub fn add(&mut self, value: T) -> *mut c_void {
        let handle = fresh();
        self.0.insert(handle, value);
        handle as *mut c_void
    }

    pub fn get(&mut self, handle: *mut c_void) -> Result<&mut T, c_int> {
        self.0.get_mut(&(handle as usize)).ok_or(INVALID_HANDLE)
    }

    pub fn remove(&mut self, handle: *mut c_void) -> Result<T, c_int> {
        self.0.remove(&(handle as usize)).ok_or(INVALID_HANDLE)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
