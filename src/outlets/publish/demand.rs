//! Who wants a form of a camera: nobody pays for what nobody reads.

use std::sync::Mutex;
use std::time::Duration;

use crate::config::DemandPolicy;
use crate::outlets::{Outcome, Report};
use crate::time::nanos;
use crate::wire::Form;

/// The end of demand is acted on after this, so that a subscriber that comes back costs no restart.
const HOLD: Duration = Duration::from_secs(2);

/// Demand for one form of one camera.
#[derive(Debug)]
pub(super) struct FormDemand {
    form: Form,
    policy: DemandPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    matching: bool,
    /// When the last subscriber went, monotonic.
    gone: Option<i64>,
    /// When the demand began, monotonic.
    since: i64,
    /// A message of this demand was sent: from now on each expected frame gives one.
    started: bool,
}

impl State {
    fn held(&self, now: i64) -> bool {
        self.matching || self.gone.is_some_and(|gone| now.saturating_sub(gone) < nanos(HOLD))
    }
}

impl FormDemand {
    pub(super) fn new(form: Form, policy: DemandPolicy) -> FormDemand {
        FormDemand {
            form,
            policy,
            state: Mutex::default(),
        }
    }

    /// zenoh's matching status changed.
    pub(super) fn set_matching(&self, matching: bool, now: i64) {
        let mut state = lock(&self.state);
        if matching {
            if !state.held(now) {
                state.since = now;
                state.started = false;
            }
            state.gone = None;
        } else if state.matching {
            state.gone = Some(now);
        }
        state.matching = matching;
    }

    /// Whether somebody wants the form, or did so less than 2 s ago.
    pub(super) fn wanted(&self, now: i64) -> bool {
        self.policy == DemandPolicy::Always || lock(&self.state).held(now)
    }

    /// Whether `report` is to be sent. A form starts with the first frame that was computed for it, never with half a
    /// result; once started, every report is sent, so that numbers have no gaps.
    pub(super) fn admits(&self, report: &Report, now: i64) -> bool {
        let mut state = lock(&self.state);
        if self.policy == DemandPolicy::Always {
            state.started = true;
        } else if !state.held(now) {
            state.started = false;
            return false;
        }
        state.started = state.started || !self.form.has_masks() || computed_for_masks(report, state.since);
        state.started
    }
}

/// Whether masks of this report (and hence of all later ones) were asked for in time.
fn computed_for_masks(report: &Report, since: i64) -> bool {
    if let Outcome::Answer { instances, .. } = &report.outcome
        && !instances.is_empty()
    {
        return instances.iter().all(|i| i.mask.is_some());
    }
    // An empty answer or a tombstone looks the same with and without masks. The frames after it were submitted later.
    let marks = &report.marks;
    let latest = marks.submitted.max(marks.arrival);
    latest == 0 || latest >= since
}

/// A poisoned lock means that another thread panicked; what it guards here is whole at every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::geometry::LatticeBox;
    use crate::instances::{Instance, InstanceMask, SoftMask};
    use crate::names::CameraId;
    use crate::outlets::StageMarks;
    use crate::wire::v1::TombstoneReason;

    const SECOND: i64 = 1_000_000_000;

    fn report(outcome: Outcome, submitted: i64) -> Report {
        Report {
            camera: CameraId::new("a").unwrap(),
            result_number: 1,
            frame_number: 1,
            pts: None,
            capture_time: None,
            size: None,
            outcome,
            marks: StageMarks {
                submitted,
                ..StageMarks::default()
            },
            image: None,
            valid_for_nanos: 0,
            degraded: Vec::new(),
        }
    }

    fn answer(masks: &[bool]) -> Outcome {
        let bounds = LatticeBox {
            x0: 0,
            y0: 0,
            x1: 256,
            y1: 256,
        };
        let soft = SoftMask {
            roi: bounds,
            side: 1,
            values: vec![0],
        };
        let instances = masks.iter().map(|has| Instance {
            class_id: 0,
            score: 1.0,
            bounds,
            mask: has.then(|| InstanceMask {
                soft: Some(soft.clone()),
                runs: None,
            }),
        });
        Outcome::Answer {
            instances: Arc::new(instances.collect()),
            score_threshold: 0.0,
        }
    }

    #[test]
    fn off_is_acted_on_after_two_seconds() {
        let demand = FormDemand::new(Form::Boxes, DemandPolicy::Matching);
        assert!(!demand.wanted(5));
        demand.set_matching(false, 5); // the first status of a listener: no demand was there, none is held
        assert!(!demand.wanted(6));
        demand.set_matching(true, 10);
        assert!(demand.wanted(10 * SECOND));
        demand.set_matching(false, 10 * SECOND);
        assert!(demand.wanted(12 * SECOND - 1));
        assert!(!demand.wanted(12 * SECOND));
        assert!(!demand.admits(&report(answer(&[]), 0), 12 * SECOND));
    }

    #[test]
    fn always_means_always() {
        let demand = FormDemand::new(Form::Rle, DemandPolicy::Always);
        assert!(demand.wanted(0) && demand.admits(&report(answer(&[false]), 0), 0));
    }

    #[test]
    fn masks_start_with_the_first_frame_computed_for_them_and_then_go_on() {
        let demand = FormDemand::new(Form::Rle, DemandPolicy::Matching);
        demand.set_matching(true, 100);
        // In flight when the demand came: no masks, or unknown.
        assert!(!demand.admits(&report(answer(&[false, false]), 90), 110));
        assert!(!demand.admits(&report(answer(&[]), 99), 120));
        let tombstone = Outcome::Tombstone {
            reason: TombstoneReason::Overloaded,
            detail: String::new(),
            stalled_for_nanos: 0,
        };
        assert!(!demand.admits(&report(tombstone, 95), 125));
        assert!(demand.admits(&report(answer(&[]), 100), 130));
        // Started: even an answer without masks is sent (and announced as such by the encoder).
        assert!(demand.admits(&report(answer(&[false]), 101), 140));
        // A break shorter than the hold does not restart the form, a longer one does.
        demand.set_matching(false, 150);
        demand.set_matching(true, 150 + SECOND);
        assert!(demand.admits(&report(answer(&[false]), 101), 160 + SECOND));
        demand.set_matching(false, 2 * SECOND);
        demand.set_matching(true, 5 * SECOND);
        assert!(!demand.admits(&report(answer(&[false]), 101), 6 * SECOND));
        assert!(demand.admits(&report(answer(&[true]), 101), 6 * SECOND));
    }

    #[test]
    fn boxes_start_at_once() {
        let demand = FormDemand::new(Form::Boxes, DemandPolicy::Matching);
        demand.set_matching(true, 100);
        assert!(demand.admits(&report(answer(&[false]), 1), 101));
    }
}
