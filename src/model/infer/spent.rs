//! How long the parts of one picture took.

use std::time::Duration;

use crate::time::Clocks;

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub trunk: Duration,
    pub proposals: Duration,
    pub box_pool: Duration,
    pub box_head: Duration,
    pub detections: Duration,
    pub mask_pool: Duration,
    pub mask_head: Duration,
    pub mask_select: Duration,
}

impl Spent {
    /// The dense parts.
    pub fn network(&self) -> Duration {
        self.trunk + self.box_head + self.mask_head
    }

    /// What runs between them.
    pub fn ops(&self) -> Duration {
        self.proposals + self.box_pool + self.detections + self.mask_pool + self.mask_select
    }

    pub fn total(&self) -> Duration {
        self.network() + self.ops()
    }
}

/// Time since the last look at the clock.
pub(super) struct Lap<'a> {
    clocks: &'a dyn Clocks,
    last: i64,
}

impl Lap<'_> {
    pub(super) fn start(clocks: &dyn Clocks) -> Lap<'_> {
        let last = clocks.mono_nanos();
        Lap { clocks, last }
    }

    pub(super) fn split(&mut self, into: &mut Duration) {
        let now = self.clocks.mono_nanos();
        *into += Duration::from_nanos(now.saturating_sub(self.last).try_into().unwrap_or(0));
        self.last = now;
    }
}
