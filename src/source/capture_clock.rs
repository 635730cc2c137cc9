//! Capture times: from whatever stamp a source has to both scales of this host, with its provenance.
//!
//! utc = mono + offset. The offset is measured each second, from the closest of three readings of both clocks, and
//! slewed, so that capture times of one camera do not jump with each correction of UTC; a jump above 5 ms is taken over
//! at once, and counted.

use std::sync::Arc;
use std::time::Duration;

use crate::time::{CaptureTime, CaptureTimeSource, Clocks, nanos};

const MEASURED_EACH_NANOS: i64 = 1_000_000_000;
const STEP_NANOS: i64 = 5_000_000;
/// Offset followed per second at most: twice what NTP slews.
const SLEW_PER_SECOND: f64 = 1_000_000.0;
/// A camera clock further from the host's is not set at all.
const CAMERA_CLOCK_LIMIT_NANOS: i64 = 10_000_000_000;
/// Simulated stamps are exact, and 0 would mean "not known".
const EXACT_NANOS: i64 = 1;

#[derive(Debug)]
pub(super) struct CaptureClock {
    clocks: Arc<dyn Clocks>,
    arrival_delay_nanos: i64,
    /// UTC minus monotonic.
    offset: i64,
    measured_at: i64,
    steps: u64,
    camera_offset: Option<i64>,
}

impl CaptureClock {
    pub(super) fn new(clocks: Arc<dyn Clocks>, arrival_delay: Duration) -> CaptureClock {
        let (offset, measured_at) = measure(&*clocks);
        CaptureClock {
            clocks,
            arrival_delay_nanos: nanos(arrival_delay),
            offset,
            measured_at,
            steps: 0,
            camera_offset: None,
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.clocks.mono_nanos()
    }

    /// Jumps of UTC so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Camera UTC at capture minus host UTC at arrival, of the last frame that had the former.
    pub(super) fn camera_offset_nanos(&self) -> Option<i64> {
        self.camera_offset
    }

    /// No stamp but the buffer's arrival: an upper bound, less the configured delay. Nobody measured the doubt of that
    /// delay; half of it is taken.
    pub(super) fn arrival(&mut self, arrival_mono: i64) -> CaptureTime {
        let mono = arrival_mono.saturating_sub(self.arrival_delay_nanos);
        self.at(mono, self.arrival_delay_nanos / 2, CaptureTimeSource::Arrival)
    }

    /// A driver's stamp on the monotonic clock. One from the future, or far from arrival, is of another clock.
    pub(super) fn driver(&mut self, stamp_mono: i64, arrival_mono: i64) -> CaptureTime {
        let age = arrival_mono.saturating_sub(stamp_mono);
        if !(0..=CAMERA_CLOCK_LIMIT_NANOS).contains(&age) {
            return self.arrival(arrival_mono);
        }
        self.at(stamp_mono, 0, CaptureTimeSource::Driver)
    }

    /// The camera's own UTC. Further than 10 s from arrival it is reported and ignored.
    pub(super) fn camera(&mut self, camera_unix: i64, arrival_mono: i64) -> CaptureTime {
        self.follow();
        let off = camera_unix.saturating_sub(arrival_mono.saturating_add(self.offset));
        self.camera_offset = Some(off);
        if off.saturating_abs() > CAMERA_CLOCK_LIMIT_NANOS {
            return self.arrival(arrival_mono);
        }
        CaptureTime {
            unix_nanos: camera_unix,
            mono_nanos: camera_unix.saturating_sub(self.offset),
            uncertainty_nanos: 0,
            source: CaptureTimeSource::Rtcp,
        }
    }

    pub(super) fn simulated(&mut self, mono: i64) -> CaptureTime {
        self.at(mono, EXACT_NANOS, CaptureTimeSource::Simulated)
    }

    fn at(&mut self, mono: i64, uncertainty_nanos: i64, source: CaptureTimeSource) -> CaptureTime {
        self.follow();
        CaptureTime {
            unix_nanos: mono.saturating_add(self.offset),
            mono_nanos: mono,
            uncertainty_nanos,
            source,
        }
    }

    fn follow(&mut self) {
        let elapsed = self.clocks.mono_nanos().saturating_sub(self.measured_at);
        if elapsed < MEASURED_EACH_NANOS {
            return;
        }
        let (offset, measured_at) = measure(&*self.clocks);
        let change = offset.saturating_sub(self.offset);
        if change.saturating_abs() > STEP_NANOS {
            self.steps += 1;
            self.offset = offset;
            tracing::warn!(change_nanos = change, "UTC of this host jumped");
        } else {
            let most = (elapsed as f64 / 1e9 * SLEW_PER_SECOND) as i64;
            self.offset += change.clamp(-most, most);
        }
        self.measured_at = measured_at;
    }
}

/// UTC minus monotonic, and when: of three readings the one that was interrupted least.
fn measure(clocks: &dyn Clocks) -> (i64, i64) {
    let mut best = (i64::MAX, 0, 0);
    for _ in 0..3 {
        let before = clocks.mono_nanos();
        let unix = clocks.unix_nanos();
        let after = clocks.mono_nanos();
        let took = after - before;
        if took < best.0 {
            let middle = before + took / 2;
            best = (took, unix.saturating_sub(middle), middle);
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SimulatedClocks;

    const MS: i64 = 1_000_000;
    const UNIX0: i64 = 1_800_000_000_000_000_000;

    fn clock(delay_ms: u64) -> (Arc<SimulatedClocks>, CaptureClock) {
        let clocks = Arc::new(SimulatedClocks::new(5_000 * MS, UNIX0));
        let capture = CaptureClock::new(clocks.clone(), Duration::from_millis(delay_ms));
        (clocks, capture)
    }

    #[test]
    fn arrival_is_taken_back_by_the_measured_delay() {
        let (_, mut clock) = clock(40);
        let time = clock.arrival(5_000 * MS);
        assert_eq!(time.mono_nanos, 4_960 * MS);
        assert_eq!(time.unix_nanos, UNIX0 - 40 * MS);
        assert_eq!(time.uncertainty_nanos, 20 * MS);
        assert_eq!(time.source, CaptureTimeSource::Arrival);
    }

    #[test]
    fn a_driver_stamp_of_another_clock_is_not_believed() {
        let (_, mut clock) = clock(0);
        let good = clock.driver(4_990 * MS, 5_000 * MS);
        assert_eq!((good.mono_nanos, good.source), (4_990 * MS, CaptureTimeSource::Driver));
        assert_eq!(good.unix_nanos, UNIX0 - 10 * MS);
        for stamp in [5_001 * MS, -5_001 * MS] {
            let time = clock.driver(stamp, 5_000 * MS);
            assert_eq!((time.mono_nanos, time.source), (5_000 * MS, CaptureTimeSource::Arrival));
        }
    }

    #[test]
    fn camera_clocks_up_to_ten_seconds_off_are_used() {
        let (_, mut clock) = clock(0);
        assert_eq!(clock.camera_offset_nanos(), None);
        let time = clock.camera(UNIX0 - 120 * MS, 5_000 * MS);
        assert_eq!((time.unix_nanos, time.mono_nanos), (UNIX0 - 120 * MS, 4_880 * MS));
        assert_eq!(time.source, CaptureTimeSource::Rtcp);
        assert_eq!(clock.camera_offset_nanos(), Some(-120 * MS));
        assert_eq!(
            clock.camera(UNIX0 + 10_000 * MS, 5_000 * MS).source,
            CaptureTimeSource::Rtcp
        );
        let ignored = clock.camera(UNIX0 + 10_001 * MS, 5_000 * MS);
        assert_eq!(
            (ignored.unix_nanos, ignored.source),
            (UNIX0, CaptureTimeSource::Arrival)
        );
        assert_eq!(clock.camera_offset_nanos(), Some(10_001 * MS));
        // A camera that booted without a clock says 1970.
        assert_eq!(clock.camera(0, 5_000 * MS).source, CaptureTimeSource::Arrival);
    }

    #[test]
    fn small_corrections_of_utc_are_slewed() {
        let (clocks, mut clock) = clock(0);
        clocks.step_unix(3 * MS);
        let offset = |clock: &mut CaptureClock| {
            let time = clock.arrival(0);
            (time.unix_nanos - time.mono_nanos - (UNIX0 - 5_000 * MS)) as f64 / MS as f64
        };
        assert_eq!(offset(&mut clock), 0.0, "not before a second is over");
        for want in [1.0, 2.0, 3.0, 3.0] {
            clocks.advance(Duration::from_secs(1));
            assert_eq!(offset(&mut clock), want);
        }
        assert_eq!(clock.steps(), 0);
    }

    #[test]
    fn jumps_of_utc_are_taken_over_and_counted() {
        let (clocks, mut clock) = clock(0);
        clocks.step_unix(-6 * MS);
        clocks.advance(Duration::from_secs(1));
        let time = clock.arrival(6_000 * MS);
        assert_eq!(time.unix_nanos, UNIX0 + 1_000 * MS - 6 * MS);
        assert_eq!(clock.steps(), 1);
    }

    #[test]
    fn simulated_stamps_are_exact() {
        let (_, mut clock) = clock(40);
        let time = clock.simulated(5_010 * MS);
        assert_eq!((time.unix_nanos, time.mono_nanos), (UNIX0 + 10 * MS, 5_010 * MS));
        assert_eq!((time.uncertainty_nanos, time.source), (1, CaptureTimeSource::Simulated));
    }
}
