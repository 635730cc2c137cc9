//! What reaches the publishing thread, and what goes back from it.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::outlets::{Demand, Report};
use crate::source::SourceState;

/// Name: desk. Capacity below; policy: the sender waits, because outcomes are never dropped.
pub(super) const DESK_CAPACITY: usize = 256;

/// A message to the publishing thread; cameras by index.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame was admitted (or a stall noticed): the report as far as it is known.
    Expected {
        camera: usize,
        report: Box<Report>,
        deadline_mono_nanos: Option<i64>,
    },
    /// Everything that can be said has been said: drain and finish, even if a hung source keeps its door open.
    Close,
    /// What became of it: outcome, marks and picture of this report count.
    Settled { camera: usize, report: Box<Report> },
    State {
        camera: usize,
        state: SourceState,
        detail: String,
        reconnects: u32,
    },
}

/// What somebody wants of each camera, written by the publishing thread, read by sources and the engine.
#[derive(Debug)]
pub(super) struct DemandBoard(Vec<AtomicU8>);

impl DemandBoard {
    pub(super) fn new(cameras: usize) -> DemandBoard {
        DemandBoard((0..cameras).map(|_| AtomicU8::new(0)).collect())
    }

    pub(super) fn set(&self, camera: usize, demand: Demand) {
        let bits = u8::from(demand.boxes) | u8::from(demand.masks) << 1;
        self.0[camera].store(bits, Ordering::Relaxed);
    }

    pub(super) fn get(&self, camera: usize) -> Demand {
        let bits = self.0[camera].load(Ordering::Relaxed);
        Demand {
            boxes: bits & 1 != 0,
            masks: bits & 2 != 0,
        }
    }
}
