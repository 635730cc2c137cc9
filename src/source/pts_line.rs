//! One line of PTS for one camera: a loop or a reconnect starts a source's own again at zero.

use crate::time::Pts;

/// A step back of this much is a restart; less is a sloppy file.
const RESTART_NANOS: i64 = 500_000_000;

/// Places PTS so that they only grow. What grows by itself is left as it is.
#[derive(Debug, Default)]
pub(super) struct PtsLine {
    shift: i64,
    last: Option<i64>,
    reopened: bool,
}

impl PtsLine {
    /// The next PTS belongs to a newly opened stream.
    pub(super) fn reopened(&mut self) {
        self.reopened = true;
    }

    pub(super) fn place(&mut self, pts: Pts, period_nanos: i64) -> Pts {
        let reopened = std::mem::take(&mut self.reopened);
        let mut placed = pts.nanos.saturating_add(self.shift);
        if let Some(last) = self.last {
            if reopened || placed <= last.saturating_sub(RESTART_NANOS) {
                placed = last.saturating_add(period_nanos.max(1));
                self.shift = placed.saturating_sub(pts.nanos);
            }
            placed = placed.max(last.saturating_add(1));
        }
        self.last = Some(placed);
        Pts { nanos: placed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(line: &mut PtsLine, millis: &[i64]) -> Vec<i64> {
        let at = |ms: &i64| line.place(Pts { nanos: ms * 1_000_000 }, 40_000_000).nanos;
        millis.iter().map(at).collect()
    }

    #[test]
    fn growing_stamps_stay_and_a_loop_goes_on() {
        let mut line = PtsLine::default();
        let got = placed(&mut line, &[7_000, 7_040, 7_080, 0, 40, 80, 120]);
        let ms: Vec<i64> = got.iter().map(|n| n / 1_000_000).collect();
        assert_eq!(ms, [7_000, 7_040, 7_080, 7_120, 7_160, 7_200, 7_240]);
    }

    #[test]
    fn a_reconnect_goes_on_from_the_last_stamp_even_if_its_own_are_later() {
        let mut line = PtsLine::default();
        placed(&mut line, &[0, 40]);
        line.reopened();
        assert_eq!(placed(&mut line, &[90_000, 90_040]), [80_000_000, 120_000_000]);
    }

    #[test]
    fn small_steps_back_stay_in_order_without_a_shift() {
        let mut line = PtsLine::default();
        assert_eq!(
            placed(&mut line, &[100, 100, 90, 200]),
            [100_000_000, 100_000_001, 100_000_002, 200_000_000]
        );
    }
}
