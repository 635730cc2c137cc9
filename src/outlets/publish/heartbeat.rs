//! Heartbeats on a thread of their own, independent of frames: status, health, and the descriptions that changed.
//! Liveliness tokens live here too: the daemon's from start to stop, a camera's only while it is STREAMING.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;

use super::channel::Channel;
use super::demand::lock;
use super::handle::{Shared, Signals};
use super::session::{PublishError, failed};
use crate::names::CameraId;
use crate::time::nanos;
use crate::wire::encode::Published;
use crate::wire::keyexpr::{CameraKey, Key};
use crate::wire::{Attachment, v1};

/// Of CameraStatus: at least 5 Hz, with room for a late wake-up.
pub(super) const STATUS_PERIOD: Duration = Duration::from_millis(180);
/// Of Health.
const HEALTH_PERIOD: Duration = Duration::from_millis(500);
/// "publish/heartbeat" would be cut by the kernel.
const THREAD: &str = "publish/beat";

/// The running thread.
#[derive(Debug)]
pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Beat {
    shared: Arc<Shared>,
    session: zenoh::Session,
    /// Held while the daemon runs.
    daemon: Option<LivelinessToken>,
    streaming: BTreeMap<CameraId, LivelinessToken>,
    next_status: i64,
    next_health: i64,
    health_number: u64,
    info_number: u64,
}

impl Heartbeat {
    /// Sends everything once, declares the daemon's token, and goes on in the background.
    pub(super) fn start(session: &zenoh::Session, shared: &Arc<Shared>) -> Result<Heartbeat, PublishError> {
        let mut beat = Beat {
            shared: shared.clone(),
            session: session.clone(),
            daemon: None,
            streaming: BTreeMap::new(),
            next_status: 0,
            next_health: 0,
            health_number: 0,
            info_number: 0,
        };
        beat.labels();
        beat.tick(&Signals {
            statuses: true,
            health: true,
            info: true,
            ..Signals::default()
        });
        beat.daemon = Some(beat.token(&Key::Alive(shared.identity.session_id))?);
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || beat.run())
            .map_err(|why| PublishError::Thread { name: THREAD, why })?;
        Ok(Heartbeat {
            shared: shared.clone(),
            thread: Some(thread),
        })
    }

    /// Sends the last status and health, undeclares the tokens, ends the thread.
    pub(super) fn stop(mut self) {
        self.shared.wake.signal(|s| s.stop = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("thread {THREAD} panicked");
        }
    }
}

impl Beat {
    fn run(mut self) {
        loop {
            let next = self.next_status.min(self.next_health);
            let wait = next.saturating_sub(self.shared.clocks.mono_nanos()).max(1_000_000);
            let signals = self.shared.wake.wait(Duration::from_nanos(wait.unsigned_abs()));
            if signals.stop {
                self.end();
                return;
            }
            self.tick(&signals);
        }
    }

    fn tick(&mut self, signals: &Signals) {
        let now = self.shared.now();
        let shared = self.shared.clone();
        let due = signals.statuses || now.mono_nanos >= self.next_status;
        for room in shared.cameras.values() {
            self.hold_token(&room.id, room.state() == v1::CameraState::Streaming);
            if room.take_status_due() || due {
                let status = room.next_status(shared.identity.session_id, now);
                let number = status.status_number;
                self.send(&room.status, &status, number, now);
            }
        }
        if due {
            self.next_status = now.mono_nanos.saturating_add(nanos(STATUS_PERIOD));
        }
        if signals.health || now.mono_nanos >= self.next_health {
            self.health(now);
            self.next_health = now.mono_nanos.saturating_add(nanos(HEALTH_PERIOD));
        }
        if signals.info {
            self.info(now);
        }
    }

    /// Shutdown: the last words of each camera, then no tokens.
    fn end(mut self) {
        let now = self.shared.now();
        let shared = self.shared.clone();
        shared.close();
        lock(&shared.health).state = v1::ServiceState::Draining;
        for room in shared.cameras.values() {
            room.set_state(v1::CameraState::Offline, "stopped", room.reconnects(), now.unix_nanos);
            let status = room.next_status(shared.identity.session_id, now);
            let number = status.status_number;
            self.send(&room.status, &status, number, now);
        }
        self.health(now);
        let tokens = std::mem::take(&mut self.streaming)
            .into_values()
            .chain(self.daemon.take());
        for token in tokens {
            if let Err(why) = token.undeclare().wait() {
                tracing::debug!(%why, "token was not undeclared");
            }
        }
    }

    fn send(&self, channel: &Channel, message: &impl Message, number: u64, now: Published) {
        let attachment = Attachment {
            sequence: i64::try_from(number).unwrap_or(i64::MAX),
            unix_nanos: now.unix_nanos,
            session_id: self.shared.identity.session_id,
        };
        channel.put_kept(ZBytes::from(message.encode_to_vec()), attachment);
    }

    fn health(&mut self, now: Published) {
        self.health_number += 1;
        let shared = &self.shared;
        let state = lock(&shared.health).clone();
        let message = v1::Health {
            session_id: shared.identity.session_id.as_bytes().to_vec().into(),
            health_number: self.health_number,
            time_unix_nanos: now.unix_nanos,
            period_nanos: nanos(HEALTH_PERIOD),
            uptime_nanos: now.mono_nanos.saturating_sub(shared.started.mono_nanos),
            state: state.state.into(),
            degraded: state.degraded.iter().map(|d| i32::from(*d)).collect(),
            detail: state.detail,
            clock_state: state.clock_state.into(),
            clock_error_nanos: state.clock_error_nanos,
            engine_id: shared.engine_id.to_vec().into(),
            device: shared.identity.engine.device.clone(),
            device_busy: state.device_busy,
            device_memory_free_bytes: state.device_memory_free_bytes,
            disk_free_bytes: state.disk_free_bytes,
            recording: state.recording,
        };
        self.send(&shared.health_channel, &message, self.health_number, now);
    }

    fn info(&mut self, now: Published) {
        self.info_number += 1;
        let shared = &self.shared;
        let identity = &shared.identity;
        let message = v1::SystemInfo {
            session_id: identity.session_id.as_bytes().to_vec().into(),
            version: identity.version.clone(),
            hostname: identity.hostname.clone(),
            started_time_unix_nanos: shared.started.unix_nanos,
            engine: Some(v1::EngineInfo {
                name: identity.engine.name.clone(),
                identity_json: identity.engine.identity_json.clone(),
                identity_sha256: identity.engine.sha256().to_vec().into(),
                self_test: identity.engine.self_test.clone(),
                self_test_box_iou: 0.0,
                self_test_mask_iou: 0.0,
                loaded_time_unix_nanos: shared.started.unix_nanos,
            }),
            cameras: shared.cameras.values().map(|room| room.summary()).collect(),
            keys: shared.keys().iter().map(|key| shared.prefix.text(key)).collect(),
            config_sha256: identity.config_sha256.clone(),
        };
        self.send(&shared.info_channel, &message, self.info_number, now);
    }

    fn labels(&self) {
        let now = self.shared.now();
        for room in self.shared.cameras.values() {
            self.send(&room.labels, &self.shared.label_map, 1, now);
        }
    }

    fn hold_token(&mut self, camera: &CameraId, streaming: bool) {
        if streaming == self.streaming.contains_key(camera) {
            return;
        }
        if !streaming {
            if let Some(token) = self.streaming.remove(camera)
                && let Err(why) = token.undeclare().wait()
            {
                tracing::warn!(%camera, %why, "token was not undeclared");
            }
            return;
        }
        let session = self.shared.identity.session_id;
        match self.token(&Key::Camera(camera.clone(), CameraKey::Alive(session))) {
            Ok(token) => drop(self.streaming.insert(camera.clone(), token)),
            // Tried again at the next heartbeat.
            Err(why) => tracing::warn!(%camera, %why, "no token"),
        }
    }

    fn token(&self, key: &Key) -> Result<LivelinessToken, PublishError> {
        let expr = KeyExpr::from(self.shared.prefix.expr(key)?);
        self.session
            .liveliness()
            .declare_token(expr)
            .wait()
            .map_err(failed(format!("declare the token {}", self.shared.prefix.text(key))))
    }
}
