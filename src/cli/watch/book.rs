//! What was heard of each camera.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::client::{Liveliness, Maskcast, Observation, Observed};
use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::wire::decode::{Decoded, Outcome};
use crate::wire::{SessionId, v1};

/// Ages kept for percentiles: about 10 s at 50 Hz.
const AGES: usize = 512;
/// A fetch of labels blocks the display at most this long.
const LABELS_TIMEOUT: Duration = Duration::from_millis(500);

/// Everything heard.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) cameras: BTreeMap<CameraId, CameraBook>,
    pub(super) daemons: BTreeMap<SessionId, Liveliness>,
    pub(super) health: Option<v1::Health>,
    /// Results of all cameras, tombstones included.
    pub(super) results: u64,
    pub(super) malformed: u64,
    labels: BTreeMap<u32, ClassMap>,
}

/// One camera.
#[derive(Debug, Default)]
pub(super) struct CameraBook {
    pub(super) status: Option<v1::CameraStatus>,
    pub(super) last_answer: Option<Decoded>,
    pub(super) last_number: u64,
    session: Option<SessionId>,
    /// Capture to received, milliseconds, newest last.
    ages: VecDeque<f64>,
    pub(super) missed: u64,
    pub(super) skipped: u64,
    pub(super) tombstones: BTreeMap<v1::TombstoneReason, u64>,
    pub(super) malformed: u64,
    pub(super) alive: bool,
}

/// What a result told about the ones before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Lost on the way.
    pub(super) missed: u64,
    /// Overwritten here.
    pub(super) skipped: u64,
}

impl Book {
    pub(super) fn new() -> Book {
        Book {
            cameras: BTreeMap::new(),
            daemons: BTreeMap::new(),
            health: None,
            results: 0,
            malformed: 0,
            labels: BTreeMap::new(),
        }
    }

    pub(super) fn daemon_seen(&self) -> bool {
        self.daemons.values().any(|l| *l == Liveliness::Alive) || self.health.is_some()
    }

    pub(super) fn labels(&self) -> &BTreeMap<u32, ClassMap> {
        &self.labels
    }

    /// Fetches the names of a label map the first time it is seen.
    pub(super) fn learn_labels(&mut self, maskcast: &Maskcast, camera: &CameraId, id: u32) {
        if self.labels.contains_key(&id) {
            return;
        }
        // Without the right names, numbers are shown; not asked again, so that the display does not stutter.
        let fetched = maskcast.labels(camera, LABELS_TIMEOUT).ok();
        let right = fetched.filter(|classes| classes.id() == id);
        self.labels.insert(id, right.unwrap_or(ClassMap { names: Vec::new() }));
    }

    pub(super) fn note(&mut self, message: &Observed) -> Gaps {
        match &message.what {
            Observation::Result(id, result) => {
                self.results += 1;
                let camera = self.cameras.entry(id.clone()).or_default();
                match result.as_ref() {
                    Ok(result) => return camera.result(result, message),
                    Err(_) => camera.malformed += 1,
                }
            }
            Observation::Status(id, status) => {
                let camera = self.cameras.entry(id.clone()).or_default();
                camera.status = Some(status.as_ref().clone());
            }
            Observation::Health(health) => self.health = Some(health.as_ref().clone()),
            Observation::Token(id, _, liveliness) => {
                self.cameras.entry(id.clone()).or_default().alive = *liveliness == Liveliness::Alive;
            }
            Observation::Daemon(session, liveliness) => {
                self.daemons.insert(*session, *liveliness);
            }
            Observation::Malformed(_) => self.malformed += 1,
        }
        Gaps::default()
    }
}

impl CameraBook {
    fn result(&mut self, result: &Decoded, message: &Observed) -> Gaps {
        let header = &result.header;
        let mut gaps = Gaps::default();
        if self.session == Some(header.session_id) {
            let gap = header.result_number.saturating_sub(self.last_number).saturating_sub(1);
            gaps.skipped = gap.min(message.skipped);
            gaps.missed = gap - gaps.skipped;
        }
        self.session = Some(header.session_id);
        self.last_number = header.result_number;
        self.missed += gaps.missed;
        self.skipped += gaps.skipped;
        match &result.outcome {
            Outcome::Answer { .. } => {
                if self.ages.len() == AGES {
                    self.ages.pop_front();
                }
                self.ages.push_back(age_millis(result, message.received_unix_nanos));
                self.last_answer = Some(result.clone());
            }
            Outcome::Tombstone { reason, .. } => *self.tombstones.entry(*reason).or_default() += 1,
        }
        gaps
    }

    /// p50 and p95 of capture to received; `None` before the first answer.
    pub(super) fn ages_millis(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = self.ages.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some((rank(50)?, rank(95)?))
    }
}

/// Capture to received, by the clocks of both hosts.
pub(super) fn age_millis(result: &Decoded, received_unix_nanos: i64) -> f64 {
    received_unix_nanos.saturating_sub(result.header.capture_time_unix_nanos) as f64 / 1e6
}
