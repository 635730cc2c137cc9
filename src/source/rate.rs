//! The configured rate limit: which frames are worth anything.

/// Lets frames through at most at a rate, by their own time stamps.
#[derive(Debug)]
pub(super) struct RateLimit {
    interval_nanos: Option<f64>,
    /// Time from which the next frame passes.
    due: Option<f64>,
}

impl RateLimit {
    /// `None`, or a rate that is no positive number, lets everything through.
    pub(super) fn new(max_rate_hz: Option<f64>) -> RateLimit {
        let rate = max_rate_hz.filter(|hz| hz.is_finite() && *hz > 0.0);
        RateLimit {
            interval_nanos: rate.map(|hz| 1e9 / hz),
            due: None,
        }
    }

    /// Whether the frame stamped `at_nanos` passes. Stamps may start again (loop, reconnect).
    pub(super) fn passes(&mut self, at_nanos: i64) -> bool {
        let Some(interval) = self.interval_nanos else {
            return true;
        };
        let at = at_nanos as f64;
        let due = self.due.unwrap_or(at);
        // A quarter of an interval of jitter does not cost a frame; far from the plan, the plan is void.
        if at < due - 0.25 * interval && at > due - 2.0 * interval {
            return false;
        }
        let late = at - due;
        self.due = Some(if late.abs() < interval {
            due + interval
        } else {
            at + interval
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of `count` at `fps` that pass a limit of `hz`.
    fn passed(fps: i64, hz: f64, count: i64) -> Vec<i64> {
        let mut limit = RateLimit::new(Some(hz));
        (0..count).filter(|n| limit.passes(n * 1_000_000_000 / fps)).collect()
    }

    #[test]
    fn a_third_of_the_rate_is_every_third_frame() {
        assert_eq!(passed(30, 10.0, 10), [0, 3, 6, 9]);
        assert_eq!(passed(30, 30.0, 5), [0, 1, 2, 3, 4]);
        assert_eq!(passed(25, 100.0, 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn uneven_rates_hold_on_average() {
        for (fps, hz, want) in [(30, 20.0, 200), (30, 25.0, 250), (25, 10.0, 120), (60, 7.0, 35)] {
            let got = passed(fps, hz, 300).len() as f64;
            assert!((got - f64::from(want)).abs() <= 2.0, "{fps} at {hz}: {got}");
        }
    }

    #[test]
    fn jitter_costs_no_frame_and_a_restart_starts_anew() {
        let mut limit = RateLimit::new(Some(10.0));
        for n in 0..100i64 {
            let jitter = if n % 2 == 0 { 20_000_000 } else { 0 };
            assert!(limit.passes(n * 100_000_000 + jitter), "{n}");
        }
        assert!(limit.passes(0));
        assert!(!limit.passes(50_000_000));
        assert!(limit.passes(100_000_000));
        assert!(limit.passes(60_000_000_000), "after a pause");
        assert!(!limit.passes(60_050_000_000));
    }

    #[test]
    fn no_limit_passes_everything() {
        for hz in [None, Some(0.0), Some(f64::NAN), Some(-1.0)] {
            let mut limit = RateLimit::new(hz);
            assert!((0..5).all(|_| limit.passes(7)));
        }
    }
}
