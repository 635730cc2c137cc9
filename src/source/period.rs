//! The time between two frames: as announced, then as measured.

use std::collections::VecDeque;
use std::time::Duration;

const KEPT: usize = 15;
/// With fewer differences the announcement is believed.
const ENOUGH: usize = 8;
const LONGEST: Duration = Duration::from_secs(60);

/// Median of the last differences of PTS. Cameras announce 25 Hz and send 12 in the dark, hence measured wins.
#[derive(Debug, Default)]
pub(super) struct PeriodEstimate {
    announced: Option<Duration>,
    last_pts: Option<i64>,
    steps: VecDeque<i64>,
}

impl PeriodEstimate {
    /// Frame rate as a fraction; 0/1 (variable) and nonsense announce nothing.
    pub(super) fn announce(&mut self, frames: i32, seconds: i32) {
        let period = Duration::from_secs_f64(if frames > 0 && seconds > 0 {
            f64::from(seconds) / f64::from(frames)
        } else {
            0.0
        });
        // Above 1000 frames/s stands for "a time base, not a rate".
        self.announced = (period >= Duration::from_millis(1) && period <= LONGEST).then_some(period);
    }

    pub(super) fn frame(&mut self, pts_nanos: i64) {
        if let Some(last) = self.last_pts.replace(pts_nanos) {
            let step = pts_nanos - last;
            if step > 0 && step <= LONGEST.as_nanos() as i64 {
                if self.steps.len() == KEPT {
                    self.steps.pop_front();
                }
                self.steps.push_back(step);
            }
        }
    }

    pub(super) fn period(&self) -> Option<Duration> {
        if self.steps.len() < ENOUGH {
            return self.announced;
        }
        let mut sorted: Vec<i64> = self.steps.iter().copied().collect();
        sorted.sort_unstable();
        Some(Duration::from_nanos(sorted[sorted.len() / 2].unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_holds_until_enough_was_measured() {
        let mut estimate = PeriodEstimate::default();
        assert_eq!(estimate.period(), None);
        estimate.announce(25, 1);
        for n in 0..8 {
            estimate.frame(n * 80_000_000);
            assert_eq!(estimate.period(), Some(Duration::from_millis(40)));
        }
        estimate.frame(8 * 80_000_000);
        assert_eq!(estimate.period(), Some(Duration::from_millis(80)));
    }

    #[test]
    fn gaps_and_restarts_do_not_move_it() {
        let mut estimate = PeriodEstimate::default();
        let mut pts = 0;
        for n in 0..40i64 {
            pts += if n % 10 == 9 { 2_000_000_000 } else { 33_000_000 };
            estimate.frame(if n == 20 { 0 } else { pts });
        }
        assert_eq!(estimate.period(), Some(Duration::from_millis(33)));
    }

    #[test]
    fn variable_and_absurd_rates_announce_nothing() {
        for (frames, seconds) in [(0, 1), (90_000, 1), (-5, 1), (1, 3600), (5, 0)] {
            let mut estimate = PeriodEstimate::default();
            estimate.announce(frames, seconds);
            assert_eq!(estimate.period(), None, "{frames}/{seconds}");
        }
    }
}
