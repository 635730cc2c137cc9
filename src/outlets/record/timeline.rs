//! Presentation times of the recorded video, from what frames say about time.
//!
//! Differences between neighbouring frames are added up, from the best stamp both have: PTS of the source, then
//! capture time, then time of delivery. So a file read faster than real time plays at its own pace, a reconnect whose
//! PTS start anew leaves no hole, and pictures of a stalled source still take time.

use crate::outlets::Report;

/// Longest step that PTS may take before the other stamps are asked: beyond it the source has jumped.
const MAX_PTS_STEP_NANOS: i64 = 10_000_000_000;
/// Matroska counts milliseconds: two frames may not share one.
const MIN_STEP_NANOS: i64 = 1_000_000;

/// The stamps of one frame, nanoseconds, each on its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) pts: Option<i64>,
    pub(super) capture_mono: Option<i64>,
    pub(super) delivered_mono: i64,
}

impl Stamps {
    pub(super) fn of(report: &Report, delivered_mono: i64) -> Stamps {
        Stamps {
            pts: report.pts.map(|pts| pts.nanos),
            capture_mono: report.capture_time.map(|t| t.mono_nanos),
            delivered_mono,
        }
    }
}

/// Gives each frame its time in the video; strictly increasing.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<(Stamps, i64)>,
}

impl Timeline {
    /// Nanoseconds since the first frame.
    pub(super) fn next(&mut self, stamps: Stamps) -> i64 {
        let time = match self.last {
            None => 0,
            Some((before, time)) => time + step(before, stamps).max(MIN_STEP_NANOS),
        };
        self.last = Some((stamps, time));
        time
    }
}

fn step(before: Stamps, now: Stamps) -> i64 {
    let between = |a: Option<i64>, b: Option<i64>| Some(b?.saturating_sub(a?)).filter(|step| *step > 0);
    between(before.pts, now.pts)
        .filter(|step| *step <= MAX_PTS_STEP_NANOS)
        .or_else(|| between(before.capture_mono, now.capture_mono))
        .unwrap_or(now.delivered_mono.saturating_sub(before.delivered_mono))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn stamps(pts: Option<i64>, capture: Option<i64>, delivered: i64) -> Stamps {
        Stamps {
            pts: pts.map(|v| v * MS),
            capture_mono: capture.map(|v| v * MS),
            delivered_mono: delivered * MS,
        }
    }

    #[test]
    fn the_best_stamp_that_both_frames_have_decides() {
        let mut timeline = Timeline::default();
        let mut next = |pts, capture, delivered| timeline.next(stamps(pts, capture, delivered)) / MS;
        assert_eq!(next(Some(500), Some(10_000), 20_000), 0);
        assert_eq!(
            next(Some(540), Some(10_005), 20_006),
            40,
            "PTS, though frames came faster"
        );
        assert_eq!(next(None, Some(10_105), 20_300), 140, "no PTS: capture time");
        assert_eq!(next(None, None, 20_800), 640, "a stalled source: delivery");
        assert_eq!(next(Some(7), Some(10_700), 20_900), 740);
        assert_eq!(next(Some(2), Some(10_733), 20_940), 773, "PTS went back: capture time");
        assert_eq!(
            next(Some(60_000), Some(10_766), 20_970),
            806,
            "PTS jumped: capture time"
        );
        assert_eq!(
            next(Some(60_000), Some(10_766), 20_970),
            807,
            "never the same time twice"
        );
    }
}
