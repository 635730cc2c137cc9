//! Pictures on their way to the device: a ring of slots, each with pinned memory that the host fills and device memory that
//! a stream of the ring's own copies it to, so that one picture travels while another is computed.

use std::sync::{Arc, Mutex, PoisonError};

use super::shared::{DeviceBytes, DeviceOwner};
use super::{CudaStream, Device, DeviceBuffer, DeviceError, Event, PinnedBuffer, Timing, expect_at_least};

/// Rows and planes start at multiples of these, bytes.
const ROW_ALIGN: usize = 64;
const PLANE_ALIGN: usize = 256;

/// Rows of one plane on the host.
#[derive(Debug, Clone, Copy)]
pub struct HostRows<'a> {
    /// From the first byte of the first row.
    pub bytes: &'a [u8],
    /// Bytes of a row that count.
    pub row: usize,
    pub rows: usize,
    /// Bytes from row to row.
    pub row_pitch: usize,
}

/// Where the planes of an uploaded picture lie.
#[derive(Debug)]
pub struct Uploaded {
    pub bytes: DeviceBytes,
    /// `(offset in bytes, row pitch)`, in the order they were given.
    pub planes: Vec<(usize, usize)>,
}

/// Slots for pictures. A slot is free again when nobody holds its [`DeviceBytes`] any more; readers on the device that the
/// slot was told of are waited for there.
#[derive(Debug)]
pub struct UploadRing {
    name: String,
    device: Device,
    stream: CudaStream,
    slots: Vec<Slot>,
    most_slots: usize,
    next: usize,
    uploads: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Slot {
    staging: PinnedBuffer<u8>,
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct Memory {
    buffer: DeviceBuffer<u8>,
    /// After the copy.
    copied: Event,
    /// After what reads this picture: the next one is copied here when they have passed.
    read: Mutex<Vec<Arc<Event>>>,
}

impl DeviceOwner for Memory {
    fn before(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        stream.wait(&self.copied)
    }

    fn waits_for(&self, read: &Arc<Event>) -> bool {
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|event| Arc::ptr_eq(event, read)) {
            known.push(Arc::clone(read));
        }
        true
    }
}

impl Memory {
    fn readers(&mut self) -> &mut Vec<Arc<Event>> {
        self.read.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadRing {
    /// A ring of at most `most_slots` pictures, allocated as they are needed: twice the batch, so that the pictures of one
    /// batch travel while those of the one before are read.
    pub fn new(device: &Device, name: &str, most_slots: usize) -> Result<UploadRing, DeviceError> {
        Ok(UploadRing {
            name: name.to_owned(),
            device: device.clone(),
            stream: device.stream(name)?,
            slots: Vec::new(),
            most_slots: most_slots.max(1),
            next: 0,
            uploads: 0,
            bytes: 0,
        })
    }

    /// Copies the rows into pinned memory and queues their way to the device. Returns before they are there: whoever reads
    /// them queues [`DeviceBytes::before`] first. Allocates only where the slot has never held a picture as large.
    pub fn put(&mut self, planes: &[HostRows<'_>]) -> Result<Uploaded, DeviceError> {
        let mut end = 0usize;
        let mut places = Vec::with_capacity(planes.len());
        for plane in planes {
            let has_rows = plane.rows > 0 && plane.row > 0;
            let needed = match plane.row_pitch.checked_mul(plane.rows.saturating_sub(1)) {
                Some(before_last) if has_rows => before_last.saturating_add(plane.row),
                Some(_) => 0,
                None => usize::MAX,
            };
            expect_at_least("rows of a picture", needed, plane.bytes.len())?;
            let offset = end.next_multiple_of(PLANE_ALIGN);
            let pitch = plane.row.next_multiple_of(ROW_ALIGN);
            places.push((offset, pitch));
            end = offset + pitch * plane.rows;
        }
        let at = self.free_slot(end)?;
        let slot = &mut self.slots[at];
        // Waits only while this slot's own last copy is under way.
        let staging = slot.staging.write()?;
        for (plane, &(offset, pitch)) in planes.iter().zip(&places) {
            copy_rows(plane, pitch, &mut staging[offset..offset + pitch * plane.rows]);
        }
        let Some(memory) = Arc::get_mut(&mut slot.memory) else {
            return Err(self.busy()); // `free_slot` has seen that nobody holds it
        };
        // On the device, not here: the host goes on.
        for read in memory.readers().drain(..) {
            self.stream.wait(&read)?;
        }
        self.stream
            .upload(&slot.staging, memory.buffer.slice_mut().part(0, end)?)?;
        self.stream.record(&memory.copied)?;
        self.next = (at + 1) % self.slots.len();
        self.uploads += 1;
        self.bytes += end as u64;
        let memory = Arc::clone(&self.slots[at].memory);
        Ok(Uploaded {
            bytes: DeviceBytes::new(&self.device, memory.buffer.slice().address(), end, memory),
            planes: places,
        })
    }

    /// Pictures so far.
    pub fn uploads(&self) -> u64 {
        self.uploads
    }

    /// Bytes copied to the device so far, with what lies between rows.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Slots allocated so far.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Index of a slot that nobody holds, of at least `bytes`: one whose readers are through, else a new one, else the one
    /// unused longest.
    fn free_slot(&mut self, bytes: usize) -> Result<usize, DeviceError> {
        let count = self.slots.len();
        let (mut idle, mut free) = (None, None);
        for at in (0..count).map(|i| (self.next + i) % count) {
            let Some(memory) = Arc::get_mut(&mut self.slots[at].memory) else {
                continue; // held
            };
            free = free.or(Some(at));
            let mut is_idle = true;
            for read in memory.readers() {
                is_idle &= read.is_done()?;
            }
            if is_idle {
                idle = Some(at);
                break;
            }
        }
        let at = match (idle, free) {
            (Some(at), _) => at,
            (None, _) if count < self.most_slots => {
                self.slots.push(self.slot(bytes)?);
                count
            }
            (None, Some(at)) => at,
            (None, None) => return Err(self.busy()),
        };
        if self.slots[at].staging.len() < bytes {
            self.slots[at] = self.slot(bytes)?;
        }
        Ok(at)
    }

    fn slot(&self, bytes: usize) -> Result<Slot, DeviceError> {
        Ok(Slot {
            staging: self.device.pinned(&self.name, bytes)?,
            memory: Arc::new(Memory {
                buffer: self.device.buffer(&self.name, bytes)?,
                copied: self.device.event(Timing::No)?,
                read: Mutex::default(),
            }),
        })
    }

    fn busy(&self) -> DeviceError {
        DeviceError::Busy {
            what: self.name.clone(),
            slots: self.most_slots,
        }
    }
}

/// `to` has `pitch * rows` bytes, `from` all its rows.
fn copy_rows(from: &HostRows<'_>, pitch: usize, to: &mut [u8]) {
    if from.row == 0 || from.rows == 0 {
        return;
    }
    if from.row_pitch == pitch {
        // What lies between rows comes along.
        let whole = from.bytes.len().min(to.len());
        to[..whole].copy_from_slice(&from.bytes[..whole]);
        return;
    }
    for (to, from_row) in to.chunks_exact_mut(pitch).zip(from.bytes.chunks(from.row_pitch.max(1))) {
        to[..from.row].copy_from_slice(&from_row[..from.row]);
    }
}
