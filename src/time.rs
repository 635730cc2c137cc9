//! Time: what a capture time is worth, and the only place that reads a clock.
//!
//! Durations are differences of monotonic nanoseconds (`CLOCK_MONOTONIC`, the clock GStreamer uses too); published
//! instants are UNIX nanoseconds (`CLOCK_REALTIME`). Nobody reads a clock except through [`Clocks`], so that a test
//! can run the real loop on simulated time.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Presentation time of a source, nanoseconds. Orders frames of one source, and means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pts {
    pub nanos: i64,
}

/// Where a capture time comes from. Same meaning and order as `maskcast.v1.CaptureTimeSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaptureTimeSource {
    /// Host clock when the buffer reached the process, less the configured arrival delay: an upper bound.
    Arrival,
    /// Kernel or driver stamp on the monotonic clock.
    Driver,
    /// The camera's own clock, from RTCP sender reports.
    Rtcp,
    Ptp,
    Recording,
    Simulated,
}

/// Best estimate of when light hit the sensor, never rewritten by a later stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureTime {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub unix_nanos: i64,
    /// The same instant on this host's monotonic clock.
    pub mono_nanos: i64,
    /// The true instant lies within this of `unix_nanos` with 95 %; 0 = not known.
    pub uncertainty_nanos: i64,
    pub source: CaptureTimeSource,
}

/// The two clocks of a host.
pub trait Clocks: Send + Sync + fmt::Debug {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    fn mono_nanos(&self) -> i64;
    /// `CLOCK_REALTIME`, nanoseconds since the UNIX epoch.
    fn unix_nanos(&self) -> i64;
    /// Blocks for `duration` of this clock's monotonic time.
    fn sleep(&self, duration: Duration);
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClocks;

fn read(id: rustix::time::ClockId) -> i64 {
    let t = rustix::time::clock_gettime(id);
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

impl Clocks for SystemClocks {
    fn mono_nanos(&self) -> i64 {
        read(rustix::time::ClockId::Monotonic)
    }
    fn unix_nanos(&self) -> i64 {
        read(rustix::time::ClockId::Realtime)
    }
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Clocks that only move when told: for tests. `sleep` advances both.
#[derive(Debug)]
pub struct SimulatedClocks {
    mono: AtomicI64,
    unix: AtomicI64,
}

impl SimulatedClocks {
    pub fn new(mono_nanos: i64, unix_nanos: i64) -> SimulatedClocks {
        SimulatedClocks {
            mono: AtomicI64::new(mono_nanos),
            unix: AtomicI64::new(unix_nanos),
        }
    }

    pub fn advance(&self, by: Duration) {
        let nanos = nanos(by);
        self.mono.fetch_add(nanos, Ordering::SeqCst);
        self.unix.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Steps UTC alone, as a clock correction does.
    pub fn step_unix(&self, by_nanos: i64) {
        self.unix.fetch_add(by_nanos, Ordering::SeqCst);
    }
}

impl Clocks for SimulatedClocks {
    fn mono_nanos(&self) -> i64 {
        self.mono.load(Ordering::SeqCst)
    }
    fn unix_nanos(&self) -> i64 {
        self.unix.load(Ordering::SeqCst)
    }
    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// A duration as signed nanoseconds, saturating (292 years).
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_goes_forward_and_utc_is_of_this_century() {
        let clocks = SystemClocks;
        let (a, b) = (clocks.mono_nanos(), clocks.mono_nanos());
        assert!(b >= a);
        assert!(clocks.unix_nanos() > 1_700_000_000_000_000_000);
    }

    #[test]
    fn a_step_of_utc_leaves_the_monotonic_clock_alone() {
        let clocks = SimulatedClocks::new(5, 1_000);
        clocks.step_unix(-400);
        clocks.sleep(Duration::from_nanos(7));
        assert_eq!((clocks.mono_nanos(), clocks.unix_nanos()), (12, 607));
    }
}
