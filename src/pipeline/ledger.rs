//! One camera's account of expected frames: each leaves exactly once, in order, with an answer or a tombstone.
//!
//! A frame is expected when it is admitted, and settled when its outcome is known. It leaves when every older frame of
//! the camera has left. A frame whose time ran out is settled as LATE, in flight or not; an outcome that comes later
//! is discarded. Pure: no clock, no thread.

use std::collections::BTreeMap;

use crate::outlets::{Outcome, Report};
use crate::wire::v1::TombstoneReason;

#[derive(Debug)]
struct Entry {
    report: Report,
    settled: bool,
    /// Monotonic; past it only LATE can be said. `None`: an unpaced source is never late.
    deadline_mono_nanos: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By `result_number`.
    open: BTreeMap<u64, Entry>,
    last_expected: u64,
}

impl Ledger {
    /// `report` carries everything known at admission; its outcome is replaced when it is settled.
    pub(super) fn expect(&mut self, report: Report, deadline_mono_nanos: Option<i64>) {
        let number = report.result_number;
        self.last_expected = number;
        self.open.insert(
            number,
            Entry {
                report,
                settled: false,
                deadline_mono_nanos,
            },
        );
    }

    /// Gives a frame its outcome through `fill`. Nothing happens when it was settled or has left already.
    pub(super) fn settle(&mut self, result_number: u64, fill: impl FnOnce(&mut Report)) {
        if let Some(entry) = self.open.get_mut(&result_number)
            && !entry.settled
        {
            fill(&mut entry.report);
            entry.settled = true;
        }
    }

    /// Takes out the frames that may leave at `now`, in order.
    pub(super) fn leave(&mut self, now_mono_nanos: i64) -> Vec<Report> {
        let mut leaving = Vec::new();
        while let Some(mut first) = self.open.first_entry() {
            let entry = first.get_mut();
            let overdue = entry.deadline_mono_nanos.is_some_and(|d| now_mono_nanos > d);
            if overdue && !matches!(entry.report.outcome, Outcome::Tombstone { .. } if entry.settled) {
                let detail = if entry.settled {
                    "answered too late"
                } else {
                    "still in flight"
                };
                entry.report.outcome = tombstone(TombstoneReason::Late, detail);
                entry.settled = true;
            }
            if !entry.settled {
                break;
            }
            leaving.push(first.remove().report);
        }
        leaving
    }

    /// Number of the newest frame that was expected; 0 before the first.
    pub(super) fn last_expected(&self) -> u64 {
        self.last_expected
    }

    /// Number of the oldest frame that has not left.
    pub(super) fn first_open(&self) -> Option<u64> {
        self.open.first_key_value().map(|(number, _)| *number)
    }

    /// When `leave` must be called again although nothing happens.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.open
            .first_key_value()
            .and_then(|(_, entry)| entry.deadline_mono_nanos)
    }

    /// Settles whatever is open, at shutdown.
    pub(super) fn stop(&mut self) {
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        for number in numbers {
            self.settle(number, |r| {
                r.outcome = tombstone(TombstoneReason::Stopping, "shutting down")
            });
        }
    }
}

pub(super) fn tombstone(reason: TombstoneReason, detail: impl Into<String>) -> Outcome {
    Outcome::Tombstone {
        reason,
        detail: detail.into(),
        stalled_for_nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::CameraId;
    use crate::outlets::StageMarks;
    use std::sync::Arc;

    fn expected(result_number: u64) -> Report {
        Report {
            camera: CameraId::new("c").expect("id"),
            result_number,
            frame_number: result_number,
            pts: None,
            capture_time: None,
            size: None,
            outcome: tombstone(TombstoneReason::Unspecified, ""),
            marks: StageMarks::default(),
            image: None,
            valid_for_nanos: 300,
            degraded: Vec::new(),
        }
    }

    fn answer(r: &mut Report) {
        r.outcome = Outcome::Answer {
            instances: Arc::new(Vec::new()),
            score_threshold: 0.5,
        };
    }

    fn said(reports: &[Report]) -> Vec<(u64, Option<TombstoneReason>)> {
        let reason = |r: &Report| match &r.outcome {
            Outcome::Answer { .. } => None,
            Outcome::Tombstone { reason, .. } => Some(*reason),
        };
        reports.iter().map(|r| (r.result_number, reason(r))).collect()
    }

    #[test]
    fn a_tombstone_waits_for_older_frames_in_flight() {
        let mut ledger = Ledger::default();
        ledger.expect(expected(1), Some(100));
        ledger.expect(expected(2), Some(200));
        ledger.settle(2, |r| r.outcome = tombstone(TombstoneReason::Overloaded, ""));
        assert_eq!(said(&ledger.leave(50)), vec![]);
        ledger.settle(1, answer);
        assert_eq!(
            said(&ledger.leave(60)),
            vec![(1, None), (2, Some(TombstoneReason::Overloaded))]
        );
        assert_eq!(ledger.next_deadline(), None);
    }

    #[test]
    fn a_frame_out_of_time_is_late_and_its_answer_is_discarded() {
        let mut ledger = Ledger::default();
        ledger.expect(expected(1), Some(100));
        assert_eq!(ledger.next_deadline(), Some(100));
        assert_eq!(said(&ledger.leave(100)), vec![]);
        assert_eq!(said(&ledger.leave(101)), vec![(1, Some(TombstoneReason::Late))]);
        ledger.settle(1, answer);
        assert_eq!(said(&ledger.leave(102)), vec![]);
    }

    #[test]
    fn an_answer_that_waited_too_long_is_late_but_a_tombstone_keeps_its_reason() {
        let mut ledger = Ledger::default();
        ledger.expect(expected(1), None);
        ledger.expect(expected(2), Some(100));
        ledger.expect(expected(3), Some(100));
        ledger.settle(2, answer);
        ledger.settle(3, |r| r.outcome = tombstone(TombstoneReason::DecodeError, ""));
        assert_eq!(said(&ledger.leave(500)), vec![]);
        ledger.settle(1, answer);
        let expected = vec![
            (1, None),
            (2, Some(TombstoneReason::Late)),
            (3, Some(TombstoneReason::DecodeError)),
        ];
        assert_eq!(said(&ledger.leave(500)), expected);
    }

    #[test]
    fn stopping_settles_what_is_open() {
        let mut ledger = Ledger::default();
        ledger.expect(expected(1), None);
        ledger.expect(expected(2), None);
        ledger.settle(1, answer);
        ledger.stop();
        assert_eq!(
            said(&ledger.leave(0)),
            vec![(1, None), (2, Some(TombstoneReason::Stopping))]
        );
    }
}
