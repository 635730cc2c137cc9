//! May a result be acted on? Order, session, age, quality: pure, so that a table of clocks can test it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Counts, LostReason, Rejection};
use crate::time::nanos;
use crate::wire::attachment::Attachment;
use crate::wire::decode::{Decoded, Outcome};
use crate::wire::{SessionId, v1};

/// A capture time may lie this far in our future before the clocks are called faulty.
const FUTURE_TOLERANCE_NANOS: i64 = 5_000_000;

/// Whether recorded results are acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// No robot acts on the past by accident.
    #[default]
    Refuse,
    Accept,
}

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rules {
    pub(super) max_age: Duration,
    pub(super) require_uncertainty: bool,
    pub(super) replay: Replay,
}

/// The state of one subscription.
#[derive(Debug)]
pub(super) struct Judge {
    rules: Rules,
    session: Option<SessionId>,
    last_number: i64,
    degraded: Vec<v1::Degradation>,
    pub(super) counts: Counts,
}

/// What the attachment alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Next in order; so many were lost on the way, and so many overwritten by us.
    Next { missed: u64, skipped: u64 },
    /// Repeated, overtaken or of another daemon: counted, otherwise ignored.
    Ignore,
}

/// What the content tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Young enough to act on.
    Fresh {
        age: Duration,
    },
    Stale {
        age: Duration,
    },
    Tombstone,
    ClockFault(LostReason),
    Rejected(Rejection),
}

impl Judge {
    pub(super) fn new(rules: Rules) -> Judge {
        Judge {
            rules,
            session: None,
            last_number: 0,
            degraded: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Before the payload is parsed. `alive` are the sessions that hold a token of this camera.
    pub(super) fn order(&mut self, it: &Attachment, alive: &BTreeSet<SessionId>, overwritten: u64) -> Order {
        self.counts.skipped += overwritten;
        match self.session {
            Some(own) if own == it.session_id => {
                if it.sequence <= self.last_number {
                    self.counts.old += 1;
                    return Order::Ignore;
                }
                let gap = it.sequence.abs_diff(self.last_number) - 1;
                let skipped = gap.min(overwritten);
                self.last_number = it.sequence;
                self.counts.missed += gap - skipped;
                Order::Next {
                    missed: gap - skipped,
                    skipped,
                }
            }
            Some(own) if alive.contains(&own) && !alive.contains(&it.session_id) => {
                self.counts.foreign += 1;
                Order::Ignore
            }
            // The first session, or a new one: numbers and words of the old one are forgotten.
            _ => {
                self.session = Some(it.session_id);
                self.counts.sessions += 1;
                self.last_number = it.sequence;
                self.degraded.clear();
                Order::Next {
                    missed: 0,
                    skipped: overwritten,
                }
            }
        }
    }

    /// After parsing: may it be acted on now?
    pub(super) fn verdict(&self, it: &Decoded, now_unix_nanos: i64) -> Verdict {
        let header = &it.header;
        let replayed = header.capture_time_source == v1::CaptureTimeSource::Recording
            || it.degraded.contains(&v1::Degradation::Replay);
        if replayed && self.rules.replay == Replay::Refuse {
            return Verdict::Rejected(Rejection::Replayed(self.rules.replay));
        }
        if matches!(it.outcome, Outcome::Tombstone { .. }) {
            return Verdict::Tombstone;
        }
        let doubt = header.capture_time_uncertainty_nanos;
        if doubt == 0 && self.rules.require_uncertainty {
            return Verdict::Rejected(Rejection::UncertaintyUnknown);
        }
        let since = now_unix_nanos.saturating_sub(header.capture_time_unix_nanos);
        if since < -FUTURE_TOLERANCE_NANOS {
            let ahead = Duration::from_nanos(since.unsigned_abs());
            return Verdict::ClockFault(LostReason::ClockFault { ahead });
        }
        let age_nanos = since.max(0).saturating_add(doubt);
        let age = Duration::from_nanos(age_nanos.unsigned_abs());
        let valid_for = if it.valid_for_nanos > 0 {
            it.valid_for_nanos
        } else {
            i64::MAX
        };
        if age_nanos <= nanos(self.rules.max_age).min(valid_for) {
            Verdict::Fresh { age }
        } else {
            Verdict::Stale { age }
        }
    }

    /// The words that hold now, where they changed.
    pub(super) fn new_words(&mut self, it: &Decoded) -> Option<Vec<v1::Degradation>> {
        if it.degraded == self.degraded {
            return None;
        }
        self.degraded.clone_from(&it.degraded);
        Some(self.degraded.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::ImageSize;
    use crate::names::CameraId;
    use crate::wire::Form;
    use crate::wire::decode::Header;

    const MS: i64 = 1_000_000;
    const NOW: i64 = 1_790_000_000_000_000_000;

    fn session(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    fn rules() -> Rules {
        Rules {
            max_age: Duration::from_millis(250),
            require_uncertainty: false,
            replay: Replay::Refuse,
        }
    }

    fn from(number: i64, of: u8) -> Attachment {
        Attachment {
            sequence: number,
            unix_nanos: 0,
            session_id: session(of),
        }
    }

    fn result(captured: i64, doubt: i64, valid_for: i64) -> Decoded {
        Decoded {
            header: Header {
                camera: CameraId::new("a").unwrap(),
                optical_frame: String::new(),
                session_id: session(1),
                result_number: 1,
                frame_number: 1,
                capture_time_unix_nanos: captured,
                capture_time_uncertainty_nanos: doubt,
                capture_time_source: v1::CaptureTimeSource::Driver,
                capture_mono_nanos: 0,
                pts_nanos: 0,
                clock_state: v1::ClockState::Synced,
                size: Some(ImageSize::new(4, 4)),
                original_source: v1::CaptureTimeSource::Unspecified,
            },
            form: Form::Rle,
            outcome: Outcome::Answer {
                instances: Vec::new(),
                score_threshold: 0.5,
            },
            stage_times: None,
            publish_time_unix_nanos: 0,
            valid_for_nanos: valid_for,
            engine_id: None,
            label_map_id: 0,
            calibration_id: 0,
            degraded: Vec::new(),
        }
    }

    #[test]
    fn age_over_a_table_of_clocks() {
        let judge = Judge::new(rules());
        let ms = |v: u64| Duration::from_millis(v);
        for (captured, doubt, valid_for, want) in [
            (NOW - 100 * MS, 0, 0, Verdict::Fresh { age: ms(100) }),
            (NOW - 250 * MS, 0, 0, Verdict::Fresh { age: ms(250) }),
            (NOW - 251 * MS, 0, 0, Verdict::Stale { age: ms(251) }),
            // The doubt is part of the age.
            (NOW - 200 * MS, 50 * MS, 0, Verdict::Fresh { age: ms(250) }),
            (NOW - 200 * MS, 51 * MS, 0, Verdict::Stale { age: ms(251) }),
            // The shorter of the two limits holds.
            (NOW - 120 * MS, 0, 100 * MS, Verdict::Stale { age: ms(120) }),
            (NOW - 120 * MS, 0, 300 * MS, Verdict::Fresh { age: ms(120) }),
            (NOW - 260 * MS, 0, 300 * MS, Verdict::Stale { age: ms(260) }),
            // A little in the future is jitter, more is a fault.
            (NOW + 5 * MS, 0, 0, Verdict::Fresh { age: ms(0) }),
            (
                NOW + 6 * MS,
                0,
                0,
                Verdict::ClockFault(LostReason::ClockFault { ahead: ms(6) }),
            ),
        ] {
            assert_eq!(
                judge.verdict(&result(captured, doubt, valid_for), NOW),
                want,
                "{captured} {doubt} {valid_for}"
            );
        }
    }

    #[test]
    fn replays_and_unknown_doubt_are_refused_unless_told() {
        let mut it = result(NOW, 0, 0);
        let strict = Judge::new(Rules {
            require_uncertainty: true,
            ..rules()
        });
        assert_eq!(
            strict.verdict(&it, NOW),
            Verdict::Rejected(Rejection::UncertaintyUnknown)
        );
        it.degraded = vec![v1::Degradation::Replay];
        assert_eq!(
            Judge::new(rules()).verdict(&it, NOW),
            Verdict::Rejected(Rejection::Replayed(Replay::Refuse))
        );
        let told = Judge::new(Rules {
            replay: Replay::Accept,
            ..rules()
        });
        assert_eq!(told.verdict(&it, NOW), Verdict::Fresh { age: Duration::ZERO });
    }

    #[test]
    fn gaps_are_told_apart_from_our_own_slowness() {
        let mut judge = Judge::new(rules());
        let none = BTreeSet::new();
        let next = |missed, skipped| Order::Next { missed, skipped };
        assert_eq!(judge.order(&from(40, 1), &none, 0), next(0, 0));
        assert_eq!(judge.order(&from(41, 1), &none, 0), next(0, 0));
        assert_eq!(judge.order(&from(41, 1), &none, 0), Order::Ignore);
        assert_eq!(judge.order(&from(39, 1), &none, 0), Order::Ignore);
        assert_eq!(judge.order(&from(44, 1), &none, 0), next(2, 0));
        assert_eq!(judge.order(&from(50, 1), &none, 3), next(2, 3));
        assert_eq!((judge.counts.missed, judge.counts.skipped, judge.counts.old), (4, 3, 2));
    }

    #[test]
    fn a_restart_is_followed_and_an_intruder_is_not() {
        let mut judge = Judge::new(rules());
        let alive = |of: &[u8]| of.iter().map(|n| session(*n)).collect::<BTreeSet<_>>();
        let next = Order::Next { missed: 0, skipped: 0 };
        assert_eq!(judge.order(&from(900, 1), &alive(&[1]), 0), next);
        assert_eq!(judge.order(&from(901, 2), &alive(&[1]), 0), Order::Ignore);
        assert_eq!(judge.order(&from(901, 1), &alive(&[1]), 0), next);
        // The daemon restarts: its numbers begin anew, and that is no gap.
        assert_eq!(judge.order(&from(1, 2), &alive(&[2]), 0), next);
        assert_eq!(judge.order(&from(2, 2), &alive(&[2]), 0), next);
        assert_eq!(
            (judge.counts.foreign, judge.counts.sessions, judge.counts.missed),
            (1, 2, 0)
        );
    }

    #[test]
    fn words_are_told_when_they_change() {
        let mut judge = Judge::new(rules());
        let mut it = result(NOW, 0, 0);
        assert_eq!(judge.new_words(&it), None);
        it.degraded = vec![v1::Degradation::Dark];
        assert_eq!(judge.new_words(&it), Some(vec![v1::Degradation::Dark]));
        assert_eq!(judge.new_words(&it), None);
        it.degraded.clear();
        assert_eq!(judge.new_words(&it), Some(Vec::new()));
    }
}
