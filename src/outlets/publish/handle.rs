//! What all threads of the outlet share, and the handle by which others feed it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::camera::CameraRoom;
use super::channel::{Channel, Urgency};
use super::demand::lock;
use super::figures::CameraFigures;
use super::session::{Opened, PublishError};
use super::{Identity, PublishSettings};
use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::outlets::{Demand, Report};
use crate::time::Clocks;
use crate::wire::encode::{Limits, Published};
use crate::wire::keyexpr::{CameraKey, Key, KeyPrefix};
use crate::wire::{Form, MESSAGE_LIMIT_BYTES, SessionId, v1};

/// Health of the daemon as others report it.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthState {
    pub state: v1::ServiceState,
    pub degraded: Vec<v1::Degradation>,
    /// For people.
    pub detail: String,
    /// [0, 1].
    pub device_busy: f32,
    pub device_memory_free_bytes: i64,
    pub disk_free_bytes: i64,
    pub recording: bool,
    pub clock_state: v1::ClockState,
    /// Estimated error of host UTC, 0 = unknown.
    pub clock_error_nanos: i64,
}

impl Default for HealthState {
    fn default() -> HealthState {
        HealthState {
            state: v1::ServiceState::Starting,
            degraded: Vec::new(),
            detail: String::new(),
            device_busy: 0.0,
            device_memory_free_bytes: 0,
            disk_free_bytes: 0,
            recording: false,
            clock_state: v1::ClockState::Unspecified,
            clock_error_nanos: 0,
        }
    }
}

impl HealthState {
    /// Whether a change is told at once; figures wait for the next heartbeat.
    fn differs(&self, other: &HealthState) -> bool {
        let words = |h: &HealthState| {
            (
                h.state,
                h.degraded.clone(),
                h.detail.clone(),
                h.recording,
                h.clock_state,
            )
        };
        words(self) != words(other)
    }
}

/// Wakes the heartbeat thread.
#[derive(Debug, Default)]
pub(super) struct Wake {
    signals: Mutex<Signals>,
    changed: Condvar,
}

/// What the heartbeat thread is to do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signals {
    pub(super) changed: bool,
    /// All statuses: demand changed.
    pub(super) statuses: bool,
    pub(super) health: bool,
    pub(super) info: bool,
    pub(super) stop: bool,
}

impl Wake {
    pub(super) fn signal(&self, set: impl FnOnce(&mut Signals)) {
        let mut signals = lock(&self.signals);
        set(&mut signals);
        signals.changed = true;
        self.changed.notify_all();
    }

    pub(super) fn statuses(&self) {
        self.signal(|s| s.statuses = true);
    }

    /// Waits for a signal, at most `timeout`, and takes it.
    pub(super) fn wait(&self, timeout: Duration) -> Signals {
        let signals = lock(&self.signals);
        let waited = self.changed.wait_timeout_while(signals, timeout, |s| !s.changed);
        let (mut signals, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *signals)
    }
}

/// Everything but the zenoh session itself.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clocks: Arc<dyn Clocks>,
    pub(super) prefix: KeyPrefix,
    pub(super) identity: Identity,
    pub(super) engine_id: [u8; 16],
    pub(super) label_map: v1::LabelMap,
    pub(super) limits: Limits,
    pub(super) cameras: BTreeMap<CameraId, Arc<CameraRoom>>,
    pub(super) health: Mutex<HealthState>,
    pub(super) health_channel: Channel,
    pub(super) info_channel: Channel,
    pub(super) wake: Arc<Wake>,
    pub(super) started: Published,
    /// Of `health`, for the publishing thread.
    clock_state: AtomicI32,
    listening: Vec<String>,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        opened: &Opened,
        prefix: KeyPrefix,
        settings: &PublishSettings,
        identity: Identity,
        cameras: BTreeMap<CameraId, Arc<CameraRoom>>,
        classes: &ClassMap,
        clocks: Arc<dyn Clocks>,
        wake: Arc<Wake>,
    ) -> Result<Shared, PublishError> {
        let session = &opened.session;
        Ok(Shared {
            health_channel: Channel::declare::<v1::Health>(session, &prefix, &Key::Health, Urgency::Heartbeat)?,
            info_channel: Channel::declare::<v1::SystemInfo>(session, &prefix, &Key::Info, Urgency::Description)?,
            started: Published {
                unix_nanos: clocks.unix_nanos(),
                mono_nanos: clocks.mono_nanos(),
            },
            engine_id: identity.engine.engine_id(),
            label_map: crate::wire::label_map(classes),
            limits: Limits {
                score_threshold: settings.publish.score_threshold,
                max_instances: settings.publish.max_instances,
                message_bytes: MESSAGE_LIMIT_BYTES,
            },
            health: Mutex::default(),
            clock_state: AtomicI32::new(v1::ClockState::Unspecified.into()),
            listening: opened.listening.clone(),
            closed: AtomicBool::new(false),
            clocks,
            prefix,
            identity,
            cameras,
            wake,
        })
    }

    pub(super) fn now(&self) -> Published {
        Published {
            unix_nanos: self.clocks.unix_nanos(),
            mono_nanos: self.clocks.mono_nanos(),
        }
    }

    pub(super) fn clock_state(&self) -> v1::ClockState {
        let state = self.clock_state.load(Ordering::Relaxed);
        v1::ClockState::try_from(state).unwrap_or(v1::ClockState::Unspecified)
    }

    /// What subscribers want of the camera's next frame.
    pub(super) fn demand(&self, camera: &CameraId) -> Demand {
        let Some(room) = self.cameras.get(camera) else {
            return Demand::default();
        };
        let now = self.clocks.mono_nanos();
        let masks = room.wants(Form::Rle, now);
        Demand {
            boxes: masks || room.wants(Form::Boxes, now),
            masks,
        }
    }

    pub(super) fn deliver(&self, report: &Report) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let Some(room) = self.cameras.get(&report.camera) else {
            tracing::error!(camera = %report.camera, "report of a camera that was not declared: not published");
            return;
        };
        if room.deliver(self, report) {
            self.wake.signal(|s| s.info = true);
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Every key served, in order of the key tree.
    pub(super) fn keys(&self) -> Vec<Key> {
        let own = [
            Key::Alive(self.identity.session_id),
            Key::Health,
            Key::Info,
            Key::Schema,
        ];
        let of_camera = self.cameras.keys().flat_map(|id| {
            let session = self.identity.session_id;
            let keys = [CameraKey::Alive(session), CameraKey::Status, CameraKey::Labels];
            let results = Form::ALL.map(CameraKey::Result);
            keys.into_iter()
                .chain(results)
                .map(move |key| Key::Camera(id.clone(), key))
        });
        own.into_iter().chain(of_camera).collect()
    }
}

/// Feeds the outlet what only others know. Clones are the same outlet; after `finish` nothing is sent any more.
#[derive(Debug, Clone)]
pub struct PublisherHandle {
    shared: Arc<Shared>,
}

impl PublisherHandle {
    pub(super) fn new(shared: &Arc<Shared>) -> PublisherHandle {
        PublisherHandle { shared: shared.clone() }
    }

    /// Told at once where anything changed. The camera's token is held only while it is STREAMING.
    pub fn set_camera_state(&self, camera: &CameraId, state: v1::CameraState, detail: &str, reconnects: u32) {
        if let Some(room) = self.shared.cameras.get(camera)
            && room.set_state(state, detail, reconnects, self.shared.clocks.unix_nanos())
        {
            self.shared.wake.signal(|_| ());
        }
    }

    /// The camera's nominal rate, once its source knows it.
    pub fn set_nominal_hz(&self, camera: &CameraId, hz: f32) {
        if let Some(room) = self.shared.cameras.get(camera)
            && room.set_nominal_hz(hz)
        {
            self.shared.wake.signal(|s| s.info = true);
        }
    }

    /// Camera UTC minus host UTC, where both are known.
    pub fn set_camera_clock_offset(&self, camera: &CameraId, offset_nanos: i64) {
        if let Some(room) = self.shared.cameras.get(camera) {
            room.set_clock_offset(offset_nanos);
        }
    }

    /// Changes of words are told at once, figures with the next heartbeat.
    pub fn update_health(&self, update: impl FnOnce(&mut HealthState)) {
        let differs = {
            let mut health = lock(&self.shared.health);
            let before = health.clone();
            update(&mut health);
            self.shared
                .clock_state
                .store(health.clock_state.into(), Ordering::Relaxed);
            health.differs(&before)
        };
        if differs {
            self.shared.wake.signal(|s| s.health = true);
        }
    }

    /// Announces the end: STOPPING tombstones and `finish` follow.
    pub fn drain(&self) {
        self.update_health(|h| h.state = v1::ServiceState::Draining);
    }

    pub fn demand(&self, camera: &CameraId) -> Demand {
        self.shared.demand(camera)
    }

    /// `None` for a camera that was not declared.
    pub fn figures(&self, camera: &CameraId) -> Option<CameraFigures> {
        let room = self.shared.cameras.get(camera)?;
        Some(room.figures(self.shared.clocks.mono_nanos()))
    }

    /// Endpoints that clients may connect to.
    pub fn listening(&self) -> Vec<String> {
        self.shared.listening.clone()
    }

    pub fn session_id(&self) -> SessionId {
        self.shared.identity.session_id
    }
}
