//! When frames that did not come are said to be missing.

use std::time::Duration;

use crate::time::nanos;

const QUIET_PERIODS: u32 = 3;
const QUIET_AT_LEAST: Duration = Duration::from_millis(150);
const TICK_AT_LEAST: Duration = Duration::from_millis(100);

/// Once nothing came for max(3 periods, 150 ms) since the last frame or since attach: one tick every max(period,
/// 100 ms), until a frame comes. Monotonic nanoseconds throughout.
#[derive(Debug)]
pub(super) struct StallWatch {
    since: i64,
    last_tick: Option<i64>,
}

impl StallWatch {
    pub(super) fn new(now: i64) -> StallWatch {
        StallWatch {
            since: now,
            last_tick: None,
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, now: i64) {
        *self = StallWatch::new(now);
    }

    /// The last frame, or attach.
    pub(super) fn since(&self) -> i64 {
        self.since
    }

    /// When the next tick is due if no frame comes.
    pub(super) fn due(&self, period: Option<Duration>) -> i64 {
        let period = period.unwrap_or_default();
        let wait = match self.last_tick {
            None => (period * QUIET_PERIODS).max(QUIET_AT_LEAST),
            Some(_) => period.max(TICK_AT_LEAST),
        };
        self.last_tick.unwrap_or(self.since).saturating_add(nanos(wait))
    }

    /// Takes the tick that is due, if one is. Ask again until there is none: a late caller owes several.
    pub(super) fn tick(&mut self, now: i64, period: Option<Duration>) -> bool {
        let due = self.due(period);
        if now < due {
            return false;
        }
        self.last_tick = Some(due);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn ticks(watch: &mut StallWatch, until_ms: i64, period: Option<Duration>) -> Vec<i64> {
        (0..=until_ms)
            .filter(|ms| {
                let mut any = false;
                while watch.tick(ms * MS, period) {
                    any = true;
                }
                any
            })
            .collect()
    }

    #[test]
    fn ticks_start_after_150_ms_and_come_every_100() {
        let mut watch = StallWatch::new(0);
        let period = Some(Duration::from_millis(33));
        assert_eq!(ticks(&mut watch, 460, period), [150, 250, 350, 450]);
        watch.frame(460 * MS);
        assert_eq!(watch.due(period), 610 * MS);
    }

    #[test]
    fn slow_cameras_get_three_periods() {
        let mut watch = StallWatch::new(0);
        assert_eq!(
            ticks(&mut watch, 2500, Some(Duration::from_millis(500))),
            [1500, 2000, 2500]
        );
    }

    #[test]
    fn before_the_period_is_known_the_least_times_hold() {
        assert_eq!(ticks(&mut StallWatch::new(0), 300, None), [150, 250]);
    }

    #[test]
    fn a_late_caller_owes_every_tick() {
        let mut watch = StallWatch::new(0);
        let mut owed = 0;
        while watch.tick(1_000 * MS, None) {
            owed += 1;
        }
        assert_eq!(owed, 9); // 150, 250 ... 950
    }
}
