//! What a camera did lately: rates and capture-to-published latency over the last 10 s, tombstones since the start.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::v1::TombstoneReason;

/// Window of rates and percentiles, nanoseconds.
const WINDOW_NANOS: i64 = 10_000_000_000;
/// Most events kept: 10 s at 400 Hz. Faster sources are measured over less time.
const MAX_EVENTS: usize = 4096;

/// A snapshot for status and metrics. Latencies in milliseconds; 0 = nothing measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CameraFigures {
    pub source_hz: f32,
    pub answer_hz: f32,
    pub tombstone_hz: f32,
    pub capture_to_published_p50_millis: f32,
    pub capture_to_published_p95_millis: f32,
    pub capture_to_published_p99_millis: f32,
    /// Since the start of the session.
    pub answers: u64,
    pub tombstones: BTreeMap<TombstoneReason, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    mono_nanos: i64,
    /// A frame was delivered (not so for SOURCE_STALLED).
    frame: bool,
    /// Of an answer with a capture time.
    latency_nanos: Option<i64>,
    answer: bool,
}

/// What happened, in order.
#[derive(Debug)]
pub(super) struct Log {
    started: i64,
    events: VecDeque<Event>,
    answers: u64,
    tombstones: BTreeMap<TombstoneReason, u64>,
}

impl Log {
    pub(super) fn new(started: i64) -> Log {
        Log {
            started,
            events: VecDeque::new(),
            answers: 0,
            tombstones: BTreeMap::new(),
        }
    }

    /// An answer went out (or would have, had somebody listened).
    pub(super) fn answer(&mut self, mono_nanos: i64, latency_nanos: Option<i64>) {
        self.answers += 1;
        self.push(Event {
            mono_nanos,
            frame: true,
            latency_nanos,
            answer: true,
        });
    }

    pub(super) fn tombstone(&mut self, mono_nanos: i64, reason: TombstoneReason) {
        *self.tombstones.entry(reason).or_default() += 1;
        self.push(Event {
            mono_nanos,
            frame: reason != TombstoneReason::SourceStalled,
            latency_nanos: None,
            answer: false,
        });
    }

    fn push(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// A copy to compute figures from without holding the lock.
    pub(super) fn snapshot(&mut self, now: i64) -> Snapshot {
        while self
            .events
            .front()
            .is_some_and(|e| now.saturating_sub(e.mono_nanos) > WINDOW_NANOS)
        {
            self.events.pop_front();
        }
        let oldest = match self.events.front() {
            Some(first) if self.events.len() == MAX_EVENTS => first.mono_nanos,
            _ => self.started.max(now.saturating_sub(WINDOW_NANOS)),
        };
        Snapshot {
            span_nanos: now.saturating_sub(oldest).max(1),
            events: self.events.iter().copied().collect(),
            answers: self.answers,
            tombstones: self.tombstones.clone(),
        }
    }
}

pub(super) struct Snapshot {
    span_nanos: i64,
    events: Vec<Event>,
    answers: u64,
    tombstones: BTreeMap<TombstoneReason, u64>,
}

impl Snapshot {
    pub(super) fn figures(self) -> CameraFigures {
        let hz = |count: usize| (count as f64 * 1e9 / self.span_nanos as f64) as f32;
        let count = |keep: fn(&Event) -> bool| self.events.iter().filter(|e| keep(e)).count();
        let mut latencies: Vec<i64> = self.events.iter().filter_map(|e| e.latency_nanos).collect();
        latencies.sort_unstable();
        CameraFigures {
            source_hz: hz(count(|e| e.frame)),
            answer_hz: hz(count(|e| e.answer)),
            tombstone_hz: hz(count(|e| !e.answer)),
            capture_to_published_p50_millis: percentile_millis(&latencies, 50),
            capture_to_published_p95_millis: percentile_millis(&latencies, 95),
            capture_to_published_p99_millis: percentile_millis(&latencies, 99),
            answers: self.answers,
            tombstones: self.tombstones,
        }
    }
}

/// Nearest rank: the smallest value that at least `percent` % of the sorted values do not exceed.
fn percentile_millis(sorted: &[i64], percent: usize) -> f32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |nanos| (*nanos as f64 / 1e6) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn percentiles_are_nearest_rank() {
        let hundred: Vec<i64> = (1..=100).map(|ms| ms * 1_000_000).collect();
        assert_eq!([50, 95, 99].map(|p| percentile_millis(&hundred, p)), [50.0, 95.0, 99.0]);
        assert_eq!(percentile_millis(&hundred[..1], 99), 1.0);
        assert_eq!(percentile_millis(&[], 50), 0.0);
    }

    #[test]
    fn rates_are_over_the_last_ten_seconds_or_since_the_start() {
        let mut log = Log::new(0);
        for i in 1..=60 {
            log.answer(i * SECOND / 30, Some(7_000_000));
        }
        let early = log.snapshot(2 * SECOND).figures();
        assert_eq!(
            (early.source_hz, early.answer_hz, early.tombstone_hz),
            (30.0, 30.0, 0.0)
        );
        log.tombstone(11 * SECOND, TombstoneReason::SourceStalled);
        log.tombstone(11 * SECOND, TombstoneReason::Overloaded);
        let late = log.snapshot(15 * SECOND).figures();
        assert_eq!((late.source_hz, late.answer_hz, late.tombstone_hz), (0.1, 0.0, 0.2));
        assert_eq!(late.capture_to_published_p50_millis, 0.0);
        assert_eq!((late.answers, late.tombstones.values().sum::<u64>()), (60, 2));
    }

    #[test]
    fn a_fast_source_is_measured_over_what_is_kept() {
        let mut log = Log::new(0);
        for i in 1..=10_000 {
            log.answer(i * SECOND / 1000, None);
        }
        let figures = log.snapshot(10 * SECOND).figures();
        assert!((figures.answer_hz - 1000.0).abs() < 1.0, "{}", figures.answer_hz);
        assert_eq!(figures.answers, 10_000);
    }
}
