//! When the next picture of a folder or a simulated camera is due.

use std::sync::Arc;
use std::time::Duration;

use crate::time::{Clocks, nanos};

/// Due times, each a given time after the one before, as a sensor would have them. A picture that is ready too late is
/// taken at once, and the times go on from there: none is skipped.
#[derive(Debug)]
pub(super) struct Pacer {
    clocks: Arc<dyn Clocks>,
    due: Option<i64>,
}

/// Whether it is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Now; the instant at which it was due, monotonic.
    Due {
        mono_nanos: i64,
    },
    NotYet,
}

impl Pacer {
    /// The first picture is due when first asked for.
    pub(super) fn new(clocks: Arc<dyn Clocks>) -> Pacer {
        Pacer { clocks, due: None }
    }

    /// Sleeps until the picture is due, at most `timeout`. It is shown for `period`: then the next is due.
    pub(super) fn wait(&mut self, timeout: Duration, period: Duration) -> Wait {
        let now = self.clocks.mono_nanos();
        let due = *self.due.get_or_insert(now);
        let ahead = due.saturating_sub(now);
        if ahead > nanos(timeout) {
            self.clocks.sleep(timeout);
            return Wait::NotYet;
        }
        if ahead > 0 {
            self.clocks.sleep(Duration::from_nanos(ahead.unsigned_abs()));
        }
        // Up to a period late is a hiccup that is caught up with; more is a load that cannot be.
        let at = if ahead < -nanos(period) { now } else { due };
        self.due = Some(at.saturating_add(nanos(period)));
        Wait::Due { mono_nanos: at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SimulatedClocks;

    const MS: i64 = 1_000_000;

    #[test]
    fn pictures_are_due_at_equal_steps_whatever_the_work_between() {
        let clocks = Arc::new(SimulatedClocks::new(1_000 * MS, 0));
        let mut pacer = Pacer::new(clocks.clone());
        let mut due = Vec::new();
        for work_ms in [5, 39, 60, 1, 0] {
            loop {
                if let Wait::Due { mono_nanos } = pacer.wait(Duration::from_millis(15), Duration::from_millis(40)) {
                    due.push(mono_nanos / MS);
                    break;
                }
            }
            clocks.advance(Duration::from_millis(work_ms));
        }
        assert_eq!(due, [1_000, 1_040, 1_080, 1_120, 1_160]);
        assert_eq!(clocks.mono_nanos() / MS, 1_160);
    }

    #[test]
    fn far_behind_the_times_start_anew() {
        let clocks = Arc::new(SimulatedClocks::new(0, 0));
        let mut pacer = Pacer::new(clocks.clone());
        assert_eq!(
            pacer.wait(Duration::ZERO, Duration::from_millis(10)),
            Wait::Due { mono_nanos: 0 }
        );
        clocks.advance(Duration::from_millis(500));
        assert_eq!(
            pacer.wait(Duration::ZERO, Duration::from_millis(10)),
            Wait::Due { mono_nanos: 500 * MS }
        );
        assert_eq!(pacer.wait(Duration::ZERO, Duration::from_millis(10)), Wait::NotYet);
    }
}
