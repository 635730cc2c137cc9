//! Instances onto zenoh: an embedded peer, one prefix a daemon. Belongs here: the zenoh session of the daemon, what is
//! sent when, demand, heartbeats, tokens, queries. Not here: the bytes of a message (`wire`), what a robot concludes
//! (`client`), which frames are expected and in which order (`pipeline`).
//!
//! [`Publisher::deliver`](crate::outlets::Outlet::deliver) encodes and puts on the caller's thread and never waits for a
//! subscriber: congestion drops. Heartbeats, tokens and queries have threads of their own.

mod camera;
mod channel;
mod demand;
mod figures;
mod handle;
mod heartbeat;
mod queries;
mod session;

pub use figures::CameraFigures;
pub use handle::{HealthState, PublisherHandle};
pub use session::PublishError;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use zenoh::Wait;

use self::camera::CameraRoom;
use self::handle::{Shared, Wake};
use super::{Demand, Outlet, Report};
use crate::config;
use crate::geometry::ImageSize;
use crate::instances::ClassMap;
use crate::names::CameraId;
use crate::time::Clocks;
use crate::wire::SessionId;
use crate::wire::keyexpr::KeyPrefix;

/// `[publish]` and `[zenoh]` of a launch file.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishSettings {
    pub publish: config::Publish,
    pub zenoh: config::Zenoh,
}

/// Who publishes: told in `info`, and in part in each result.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub session_id: SessionId,
    /// Of maskcast.
    pub version: String,
    pub hostname: String,
    /// Of the launch file as meant, hex.
    pub config_sha256: String,
    pub engine: EngineIdentity,
}

/// What produced the masks.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineIdentity {
    /// For people: `mask_rcnn_r18_fpn fp32`.
    pub name: String,
    /// Canonical JSON: keys sorted, no spaces. Everything that changes an answer stands in it.
    pub identity_json: String,
    /// `passed`, `failed: ...` or `skipped: ...`.
    pub self_test: String,
    /// For people: where it runs.
    pub device: String,
}

impl EngineIdentity {
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.identity_json.as_bytes()).into()
    }

    /// First half of [`EngineIdentity::sha256`], as each result names it.
    pub fn engine_id(&self) -> [u8; 16] {
        let whole = self.sha256();
        std::array::from_fn(|i| whole[i])
    }
}

/// What is known of a camera before its first frame.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraInfo {
    pub camera: CameraId,
    /// For people, without passwords.
    pub source: String,
    /// Learnt from the first report where absent.
    pub size: Option<ImageSize>,
    /// 0 = not known yet.
    pub nominal_hz: f32,
    pub valid_for: Duration,
}

/// The zenoh outlet.
pub struct Publisher {
    session: zenoh::Session,
    shared: Arc<Shared>,
    heartbeat: Option<heartbeat::Heartbeat>,
    queries: Option<queries::Queries>,
}

impl Publisher {
    /// Opens the session, claims the prefix, declares every key and sends the first heartbeats.
    pub fn start(
        settings: &PublishSettings,
        identity: Identity,
        cameras: &[CameraInfo],
        classes: &ClassMap,
        clocks: Arc<dyn Clocks>,
    ) -> Result<Publisher, PublishError> {
        let prefix = KeyPrefix::new(&settings.publish.key_prefix)?;
        let opened = session::open(&settings.zenoh)?;
        let session = opened.session.clone();
        let started = Publisher::declare(opened, prefix, settings, identity, cameras, classes, clocks);
        if started.is_err() {
            // Nobody else holds the session; the cause is already on its way up.
            let _ = session.close().wait();
        }
        started
    }

    fn declare(
        opened: session::Opened,
        prefix: KeyPrefix,
        settings: &PublishSettings,
        identity: Identity,
        cameras: &[CameraInfo],
        classes: &ClassMap,
        clocks: Arc<dyn Clocks>,
    ) -> Result<Publisher, PublishError> {
        let session = &opened.session;
        session::claim(session, &prefix, identity.session_id)?;
        let mut rooms = BTreeMap::new();
        let wake = Arc::new(Wake::default());
        for info in cameras {
            let room = CameraRoom::declare(session, &prefix, info, settings, &clocks, &wake)?;
            rooms.insert(info.camera.clone(), Arc::new(room));
        }
        let shared = Arc::new(Shared::new(
            &opened, prefix, settings, identity, rooms, classes, clocks, wake,
        )?);
        let queries = queries::Queries::declare(session, &shared)?;
        let heartbeat = heartbeat::Heartbeat::start(session, &shared)?;
        Ok(Publisher {
            session: session.clone(),
            shared,
            heartbeat: Some(heartbeat),
            queries: Some(queries),
        })
    }

    /// For those who tell the outlet about cameras and health.
    pub fn handle(&self) -> PublisherHandle {
        PublisherHandle::new(&self.shared)
    }

    fn close(&mut self) {
        let Some(heartbeat) = self.heartbeat.take() else { return };
        // Last status and health go out, tokens are undeclared; only then does the session close.
        heartbeat.stop();
        if let Some(queries) = self.queries.take() {
            queries.stop();
        }
        if let Err(why) = self.session.close().wait() {
            tracing::warn!(%why, "zenoh session did not close cleanly");
        }
    }
}

impl Outlet for Publisher {
    fn name(&self) -> &str {
        "zenoh"
    }

    fn demand(&self, camera: &CameraId) -> Demand {
        self.shared.demand(camera)
    }

    fn deliver(&mut self, report: &Arc<Report>) {
        self.shared.deliver(report);
    }

    fn finish(&mut self) {
        self.close();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Publisher({} of {:?})",
            self.shared.identity.session_id, self.shared.prefix
        )
    }
}
