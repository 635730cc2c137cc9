//! A launch file come to life: engine, publisher, outlets and cameras.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::assemble::{OpenSource, Parts, Pipeline, PipelineError};
use super::engine::{Choice, Engine, LoadError};
use super::metrics::Snapshot;
use crate::config::{Camera, Launch, Outlet as OutletConfig, SourceUri};
use crate::device::DeviceShare;
use crate::geometry::ImageSize;
use crate::instances::{ClassMap, Limits};
use crate::model::Options;
use crate::names::CameraId;
use crate::outlets::Outlet;
use crate::outlets::publish::{
    CameraInfo, EngineIdentity, Identity, PublishError, PublishSettings, Publisher, PublisherHandle,
};
use crate::outlets::record::{AnnotatedVideoOutlet, RecordError, RecorderStatuses, RecordingInfo};
use crate::source;
use crate::time::Clocks;
use crate::wire::SessionId;
use crate::wire::v1::{ClockState, Degradation, ServiceState};

/// Why a launch file could not be brought to life.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("this build has no GStreamer: {what} needs it")]
    BuiltWithoutGstreamer { what: String },
    #[error("engine {path}: {source}")]
    Engine { path: String, source: Box<LoadError> },
    #[error("engine {path}: first run failed: {message}")]
    WarmUp { path: String, message: String },
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("no random session id: {0}")]
    Session(std::io::Error),
}

/// Of the grey pictures an engine sees first.
const WARM_UP_SIZE: ImageSize = ImageSize::new(640, 480);
/// How often the publisher hears of sources and recorders.
const REFRESH_NANOS: i64 = 500_000_000;
/// How long a jump of UTC is announced.
const STEPPED_NANOS: i64 = 10_000_000_000;

/// Jumps of this host's UTC that the sources have seen.
#[derive(Debug, Default)]
struct Stepped {
    seen: u64,
    at: Option<i64>,
}

/// A running launch file.
pub struct Service {
    pub pipeline: Pipeline,
    pub publisher: PublisherHandle,
    pub recorders: Vec<RecorderStatuses>,
    recording_dirs: Vec<PathBuf>,
    pub classes: ClassMap,
    /// For people: name, executor, precision.
    pub engine: String,
}

impl Service {
    /// Loads the engine, joins zenoh, opens recordings and attaches the cameras, in this order: nothing is captured
    /// before it can be answered.
    pub fn start(launch: &Launch, clocks: Arc<dyn Clocks>) -> Result<Service, ServiceError> {
        if let Some(what) = needs_gstreamer(launch).filter(|_| !cfg!(feature = "gstreamer")) {
            return Err(ServiceError::BuiltWithoutGstreamer { what });
        }
        let limits = Limits {
            score_threshold: launch.publish.score_threshold,
            max_instances: launch.publish.max_instances,
        };
        let engine_path = launch.engine.display().to_string();
        let options = Options {
            // Nothing is computed beyond what will be published.
            score_threshold: Some(limits.score_threshold),
            ..Options::default()
        };
        let choice = Choice {
            executor: launch.executor,
            options,
            cameras: launch.cameras.len(),
        };
        let mut segmenter = Engine::load(&launch.engine, limits, &choice).map_err(|source| ServiceError::Engine {
            path: engine_path.clone(),
            source: Box::new(source),
        })?;
        let warmed = segmenter.warm_up(WARM_UP_SIZE, &*clocks);
        warmed.map_err(|error| ServiceError::WarmUp {
            path: engine_path,
            message: error.to_string(),
        })?;
        let classes = segmenter.classes();
        let name = segmenter.recipe().name.clone();
        let executor = segmenter.identity().executor.clone();
        let engine = format!(
            "{name} ({} {}, {})",
            executor.name, executor.version, executor.precision
        );
        let self_test = match segmenter.self_test_result() {
            Some(deviation) => format!("passed: {:.4} of {} allowed", deviation.error, deviation.limit),
            None => "skipped: the engine's recipe names none".to_owned(),
        };
        let identity_json = segmenter.identity().canonical_json.clone();

        let settings = PublishSettings {
            publish: launch.publish.clone(),
            zenoh: launch.zenoh.clone(),
        };
        let identity = Identity {
            session_id: SessionId::random().map_err(ServiceError::Session)?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: hostname::get()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default(),
            config_sha256: config_digest(launch),
            engine: EngineIdentity {
                name: engine.clone(),
                identity_json: identity_json.clone(),
                self_test,
                device: executor.device.clone(),
            },
        };
        let cameras: Vec<CameraInfo> = launch.cameras.iter().map(camera_info).collect();
        let publisher = Publisher::start(&settings, identity, &cameras, &classes, Arc::clone(&clocks))?;
        let handle = publisher.handle();

        let ids: Vec<CameraId> = launch.cameras.iter().map(|c| c.id.clone()).collect();
        let mut outlets: Vec<Box<dyn Outlet>> = vec![Box::new(publisher)];
        let mut recorders = Vec::new();
        for outlet in &launch.outlets {
            match outlet {
                OutletConfig::AnnotatedVideo(video) => {
                    let recorded = if video.cameras.is_empty() { &ids } else { &video.cameras };
                    let info = RecordingInfo {
                        engine_name: name.clone(),
                        engine_identity: identity_json.clone(),
                        classes: classes.clone(),
                    };
                    let outlet = AnnotatedVideoOutlet::open(video, recorded, info, Arc::clone(&clocks))?;
                    recorders.push(outlet.status());
                    outlets.push(Box::new(outlet));
                }
            }
        }
        // Pictures that a decoder makes on the engine's GPU stay there.
        let share = segmenter.device().and_then(|device| match DeviceShare::new(device) {
            Ok(share) => Some(share),
            Err(error) => {
                tracing::info!("decoded pictures go through host memory: {error}");
                None
            }
        });
        let open: OpenSource = Arc::new(move |camera, clocks| source::open_on(camera, clocks, share.as_ref()));
        let parts = Parts {
            cameras: launch.cameras.clone(),
            segmenter: Box::new(segmenter),
            outlets,
            states: Box::new(handle.clone()),
            idle: launch.publish.idle,
            clocks,
        };
        let pipeline = Pipeline::start_with(parts, open)?;
        handle.update_health(|h| h.state = ServiceState::Ready);
        let dirs = launch
            .outlets
            .iter()
            .map(|OutletConfig::AnnotatedVideo(video)| video.dir.clone());
        Ok(Service {
            pipeline,
            publisher: handle,
            recorders,
            recording_dirs: dirs.collect(),
            classes,
            engine,
        })
    }

    /// Waits as [`Pipeline::wait`] does, and meanwhile tells the publisher twice a second what sources and recorders know.
    pub fn wait(&self, timeout: Option<Duration>, clocks: &dyn Clocks, mut stop_when: impl FnMut(&Snapshot) -> bool) {
        let mut told = i64::MIN;
        let mut stepped = Stepped::default();
        self.pipeline.wait(timeout, clocks, |snapshot| {
            let now = clocks.mono_nanos();
            if now.saturating_sub(told) >= REFRESH_NANOS {
                told = now;
                self.refresh(&mut stepped, now);
            }
            stop_when(snapshot)
        });
    }

    fn refresh(&self, stepped: &mut Stepped, now: i64) {
        let mut steps = 0;
        for (camera, stats) in self.pipeline.source_stats() {
            if let Some(period) = stats.nominal_period.filter(|p| !p.is_zero()) {
                self.publisher.set_nominal_hz(&camera, 1.0 / period.as_secs_f32());
            }
            if let Some(offset) = stats.camera_clock_offset_nanos {
                self.publisher.set_camera_clock_offset(&camera, offset);
            }
            steps += stats.clock_steps;
        }
        if steps > stepped.seen {
            *stepped = Stepped {
                seen: steps,
                at: Some(now),
            };
        }
        let recorders: Vec<_> = self.recorders.iter().flat_map(RecorderStatuses::snapshot).collect();
        let failed: Vec<&str> = recorders.iter().filter_map(|r| r.error.as_deref()).collect();
        let free = self
            .recording_dirs
            .iter()
            .filter_map(|dir| rustix::fs::statvfs(dir).ok());
        let free = free.map(|v| v.f_bavail.saturating_mul(v.f_frsize)).min();
        self.publisher.update_health(|h| {
            h.clock_state = match stepped.at {
                Some(at) if now - at < STEPPED_NANOS => ClockState::Stepped,
                _ => ClockState::Unspecified,
            };
            h.recording = recorders.iter().any(|r| r.dir.is_some() && r.error.is_none());
            h.disk_free_bytes = free.and_then(|f| i64::try_from(f).ok()).unwrap_or(0);
            h.degraded.retain(|d| *d != Degradation::RecordingFailed);
            if failed.is_empty() {
                h.state = ServiceState::Ready;
                h.detail.clear();
            } else {
                h.state = ServiceState::Degraded;
                h.degraded.push(Degradation::RecordingFailed);
                h.detail = failed.join("; ");
            }
        });
    }

    /// Drains and closes everything; nothing recorded is lost.
    pub fn stop(self) -> Snapshot {
        self.publisher.drain();
        self.pipeline.stop()
    }
}

/// The first thing in a launch file that a build without GStreamer cannot do.
fn needs_gstreamer(launch: &Launch) -> Option<String> {
    let camera = launch
        .cameras
        .iter()
        .find(|camera| source::needs_gstreamer(&camera.uri));
    let camera = camera.map(|camera| format!("camera {} ({})", camera.id, camera.uri.redacted()));
    let outlet = launch.outlets.first();
    camera.or_else(|| outlet.map(|OutletConfig::AnnotatedVideo(_)| "the outlet annotated_video".to_owned()))
}

fn camera_info(camera: &Camera) -> CameraInfo {
    let (size, nominal_hz) = match &camera.uri {
        SourceUri::Simulated(scene) => (Some(scene.size), scene.fps as f32),
        _ => (None, 0.0),
    };
    CameraInfo {
        camera: camera.id.clone(),
        source: camera.uri.redacted(),
        size,
        nominal_hz,
        valid_for: camera.valid_for,
    }
}

/// SHA-256 of the launch file as meant (passwords left out), hexadecimal.
fn config_digest(launch: &Launch) -> String {
    let digest = Sha256::digest(format!("{launch:?}").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `path` looks like a launch file or a recipe was given by mistake.
pub fn looks_like_recipe(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("[network]"))
}
