//! What the pipeline counts: outcomes by cause and the latency from capture to publication.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::names::CameraId;
use crate::outlets::{Outcome, Report};
use crate::wire::v1::TombstoneReason;

/// Counts of one camera since the start.
#[derive(Debug, Clone, Default)]
pub struct CameraSnapshot {
    /// Frames the source delivered, rate-limited ones not counted.
    pub frames: u64,
    pub answers: u64,
    pub instances: u64,
    pub tombstones: BTreeMap<TombstoneReason, u64>,
    pub reconnects: u32,
    /// Last state of the source, for people.
    pub state: String,
    pub ended: bool,
    /// Its source is gone without having said that it ended.
    pub orphaned: bool,
    /// It ended because of an error.
    pub failed: bool,
}

/// Percentiles of a duration.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub count: u64,
}

/// Everything counted, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub cameras: BTreeMap<CameraId, CameraSnapshot>,
    pub capture_to_publish: Latency,
    /// From picture to instances: preprocess, network and decode.
    pub engine: Latency,
    /// Everything after the network: decode, paste, encode, publish.
    pub after_engine: Latency,
    /// Frames that an engine, decoder or source damaged, and other trouble, newest last, at most 16.
    pub troubles: Vec<String>,
    /// What went wrong with the program itself: a run that has any has failed.
    pub faults: Vec<String>,
}

impl Snapshot {
    pub fn answers(&self) -> u64 {
        self.cameras.values().map(|c| c.answers).sum()
    }

    pub fn frames(&self) -> u64 {
        self.cameras.values().map(|c| c.frames).sum()
    }
}

#[derive(Debug)]
struct Inner {
    cameras: BTreeMap<CameraId, CameraSnapshot>,
    /// Microseconds, 3 digits, bounded memory.
    capture_to_publish: Option<Histogram<u64>>,
    engine: Option<Histogram<u64>>,
    after_engine: Option<Histogram<u64>>,
    troubles: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Metrics(Mutex<Inner>);

/// Up to ten minutes, in microseconds.
const HIGHEST_MICROS: u64 = 600_000_000;

fn histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, HIGHEST_MICROS, 3).ok()
}

fn record(histogram: &mut Option<Histogram<u64>>, nanos: i64) {
    if let Some(h) = histogram {
        h.saturating_record(u64::try_from(nanos / 1000).unwrap_or(0).clamp(1, HIGHEST_MICROS));
    }
}

fn percentiles(histogram: &Option<Histogram<u64>>) -> Latency {
    let Some(h) = histogram else { return Latency::default() };
    let at = |q| Duration::from_micros(h.value_at_quantile(q));
    if h.is_empty() {
        return Latency::default();
    }
    Latency {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
        count: h.len(),
    }
}

impl Metrics {
    pub(super) fn new(cameras: impl Iterator<Item = CameraId>) -> Metrics {
        Metrics(Mutex::new(Inner {
            cameras: cameras.map(|id| (id, CameraSnapshot::default())).collect(),
            capture_to_publish: histogram(),
            engine: histogram(),
            after_engine: histogram(),
            troubles: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn camera(&self, id: &CameraId, change: impl FnOnce(&mut CameraSnapshot)) {
        change(self.lock().cameras.entry(id.clone()).or_default());
    }

    pub(super) fn trouble(&self, text: String) {
        let mut inner = self.lock();
        if inner.troubles.len() == 16 {
            inner.troubles.remove(0);
        }
        inner.troubles.push(text);
    }

    /// A report has just been handed to the outlets.
    pub(super) fn published(&self, report: &Report, now_mono_nanos: i64) {
        let mut inner = self.lock();
        let camera = inner.cameras.entry(report.camera.clone()).or_default();
        match &report.outcome {
            Outcome::Answer { instances, .. } => {
                camera.answers += 1;
                camera.instances += instances.len() as u64;
                if let Some(capture) = &report.capture_time {
                    record(&mut inner.capture_to_publish, now_mono_nanos - capture.mono_nanos);
                }
                if report.marks.submitted > 0 && report.marks.inferred > 0 {
                    record(&mut inner.engine, report.marks.inferred - report.marks.submitted);
                    record(&mut inner.after_engine, now_mono_nanos - report.marks.inferred);
                }
            }
            Outcome::Tombstone { reason, .. } => *camera.tombstones.entry(*reason).or_default() += 1,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            cameras: inner.cameras.clone(),
            capture_to_publish: percentiles(&inner.capture_to_publish),
            engine: percentiles(&inner.engine),
            after_engine: percentiles(&inner.after_engine),
            troubles: inner.troubles.clone(),
            faults: Vec::new(),
        }
    }
}
