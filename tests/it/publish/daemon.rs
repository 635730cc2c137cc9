//! A publisher fed by hand, and instances to feed it with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use maskcast::client::{ConnectConfig, Maskcast};
use maskcast::config::{DemandPolicy, Idle, Publish, Zenoh};
use maskcast::geometry::{ImageSize, LatticeBox};
use maskcast::instances::{ClassMap, Instance, InstanceMask, MaskRuns, SoftMask};
use maskcast::names::CameraId;
use maskcast::outlets::publish::{
    CameraInfo, EngineIdentity, Identity, PublishError, PublishSettings, Publisher, PublisherHandle,
};
use maskcast::outlets::{Outcome, Outlet, Report, StageMarks};
use maskcast::time::{CaptureTime, CaptureTimeSource, Clocks, Pts, SystemClocks};
use maskcast::wire::SessionId;
use maskcast::wire::v1::{CameraState, TombstoneReason};

pub(super) const FRAME: ImageSize = ImageSize::new(640, 480);
/// Long enough for a busy machine; nothing waits for it when all is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Daemon {
    pub(super) publisher: Publisher,
    pub(super) handle: PublisherHandle,
    pub(super) prefix: String,
    next: u64,
}

pub(super) fn camera(id: &str) -> CameraId {
    CameraId::new(id).unwrap()
}

/// No two tests share a prefix.
pub(super) fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("it{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn classes() -> ClassMap {
    ClassMap {
        names: vec!["box".to_owned(), "mug".to_owned(), "bolt".to_owned()],
    }
}

pub(super) fn settings(prefix: &str) -> PublishSettings {
    PublishSettings {
        publish: Publish {
            key_prefix: prefix.to_owned(),
            score_threshold: 0.3,
            max_instances: 100,
            idle: Idle::Off,
            demand: DemandPolicy::Matching,
        },
        zenoh: Zenoh {
            listen: vec!["tcp/127.0.0.1:0".to_owned()],
            ..Zenoh::default()
        },
    }
}

pub(super) fn start(settings: &PublishSettings) -> Result<Daemon, PublishError> {
    let identity = Identity {
        session_id: SessionId::random().unwrap(),
        version: "0.1.0".to_owned(),
        hostname: "test".to_owned(),
        config_sha256: "00".repeat(32),
        engine: EngineIdentity {
            name: "by hand".to_owned(),
            identity_json: r#"{"network":"none"}"#.to_owned(),
            self_test: "skipped: by hand".to_owned(),
            device: "cpu".to_owned(),
        },
    };
    let info = CameraInfo {
        camera: camera("front"),
        source: "by hand".to_owned(),
        size: None,
        nominal_hz: 30.0,
        valid_for: Duration::from_millis(300),
    };
    let publisher = Publisher::start(settings, identity, &[info], &classes(), Arc::new(SystemClocks))?;
    let handle = publisher.handle();
    handle.set_camera_state(&camera("front"), CameraState::Streaming, "", 0);
    Ok(Daemon {
        publisher,
        handle,
        prefix: settings.publish.key_prefix.clone(),
        next: 1,
    })
}

/// A box of `side` px with a mask that is set in the lower left triangle.
pub(super) fn triangle(class_id: u32, score: f32, x: u32, y: u32, side: u32) -> Instance {
    let dense: Vec<u8> = (0..side * side).map(|i| u8::from(i % side <= i / side)).collect();
    with_mask(class_id, score, x, y, side, &dense)
}

pub(super) fn with_mask(class_id: u32, score: f32, x: u32, y: u32, side: u32, dense: &[u8]) -> Instance {
    let corner = |v: u32| i32::try_from(v * 256).unwrap();
    let bounds = LatticeBox {
        x0: corner(x),
        y0: corner(y),
        x1: corner(x + side),
        y1: corner(y + side),
    };
    Instance {
        class_id,
        score,
        bounds,
        mask: Some(InstanceMask {
            soft: Some(SoftMask {
                roi: bounds,
                side: 28,
                values: vec![255; 784],
            }),
            runs: MaskRuns::from_dense(x, y, side, side, dense),
        }),
    }
}

impl Daemon {
    /// Delivers the next expected frame; returns its number.
    pub(super) fn deliver(&mut self, outcome: Outcome) -> u64 {
        let clocks = SystemClocks;
        let (mono, number) = (clocks.mono_nanos(), self.next);
        let stalled = matches!(
            &outcome,
            Outcome::Tombstone {
                reason: TombstoneReason::SourceStalled,
                ..
            }
        );
        let capture = CaptureTime {
            unix_nanos: clocks.unix_nanos() - 20_000_000,
            mono_nanos: mono - 20_000_000,
            uncertainty_nanos: 1_000_000,
            source: CaptureTimeSource::Simulated,
        };
        let report = Report {
            camera: camera("front"),
            result_number: number,
            frame_number: if stalled { 0 } else { number },
            pts: Some(Pts {
                nanos: 33_000_000 * number as i64,
            }),
            capture_time: (!stalled).then_some(capture),
            size: (!stalled).then_some(FRAME),
            outcome,
            marks: StageMarks {
                arrival: mono - 19_000_000,
                decoded: mono - 18_000_000,
                submitted: mono - 15_000_000,
                preprocessed: mono - 14_000_000,
                inferred: mono - 2_000_000,
                instances: mono - 1_000_000,
            },
            image: None,
            valid_for_nanos: 300_000_000,
            degraded: Vec::new(),
        };
        self.publisher.deliver(&Arc::new(report));
        self.next += 1;
        number
    }

    pub(super) fn answer(&mut self, instances: Vec<Instance>) -> u64 {
        self.deliver(Outcome::Answer {
            instances: Arc::new(instances),
            score_threshold: 0.25,
        })
    }

    pub(super) fn tombstone(&mut self, reason: TombstoneReason) -> u64 {
        self.deliver(Outcome::Tombstone {
            reason,
            detail: "by hand".to_owned(),
            stalled_for_nanos: 0,
        })
    }

    /// A frame that nobody is told of: what transport loss looks like to a receiver.
    pub(super) fn lose_one(&mut self) {
        self.next += 1;
    }

    pub(super) fn connect(&self) -> Maskcast {
        Maskcast::connect(&ConnectConfig {
            endpoints: self.handle.listening(),
            prefix: self.prefix.clone(),
            ..ConnectConfig::default()
        })
        .unwrap()
    }

    /// Waits until the daemon knows of a subscriber.
    pub(super) fn await_demand(&self, wanted: impl Fn(maskcast::outlets::Demand) -> bool) {
        until("demand", || wanted(self.handle.demand(&camera("front"))));
        // Frames are marked as submitted 15 ms before they are delivered: let the next one be younger than the demand.
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Waits for `holds`, at most [`PATIENCE`].
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
