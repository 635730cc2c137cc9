//! From a launch file as written to one as meant: defaults in one place, ranges checked, each error at its line.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::error::ConfigError;
use super::file::{CameraTable, DemandName, IdleName, LaunchFile, OutletKind, OutletTable, PaceName, RepeatName};
use super::file::{PublishTable, ZenohTable};
use super::{
    AnnotatedVideo, Camera, DemandPolicy, Executor, Idle, Launch, Outlet, Pace, Publish, Repeat, SourceUri, Zenoh,
};
use crate::names::CameraId;

const VALID_FOR_MILLIS: u64 = 300;
const RTSP_LATENCY_MILLIS: u64 = 80;
const STALL_TIMEOUT_MILLIS: u64 = 3000;
const SEGMENT_SECONDS: u64 = 60;
const SEGMENT_MEGABYTES: u64 = 512;
const RECORD_QUEUE_FRAMES: usize = 32;
const MIN_FREE_MEGABYTES: u64 = 512;
const SCORE_THRESHOLD: f32 = 0.5;
const BITRATE_KBIT: u32 = 2500;
const MAX_INSTANCES: usize = 100;
const KEY_PREFIX: &str = "maskcast";

/// Reads a launch file.
pub fn read(path: &Path) -> Result<Launch, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::whole(path, format!("cannot read: {e}")))?;
    parse(path, &text)
}

/// Reads the text of a launch file; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Launch, ConfigError> {
    let file: LaunchFile = toml::from_str(text).map_err(|e| with_hint(ConfigError::toml(path, text, &e)))?;
    Resolve { path, text }.launch(file)
}

/// A key without its unit, or with another one, is the commonest slip: name the key that was meant.
fn with_hint(mut error: ConfigError) -> ConfigError {
    let Some(rest) = error.message.strip_prefix("unknown field `") else {
        return error;
    };
    let Some((key, known)) = rest.split_once('`') else {
        return error;
    };
    let stem = |k: &str| {
        let units = [
            "_millis",
            "_ms",
            "_seconds",
            "_secs",
            "_s",
            "_megabytes",
            "_mb",
            "_kbit",
            "_hz",
            "_frames",
        ];
        units.iter().find_map(|u| k.strip_suffix(u)).unwrap_or(k).to_owned()
    };
    let meant = known.split('`').skip(1).step_by(2).find(|k| stem(k) == stem(key));
    if let Some(meant) = meant {
        error.message = format!("unknown key `{key}`: did you mean `{meant}`? Units are part of a key");
    } else {
        error.message = error.message.replacen("unknown field", "unknown key", 1);
    }
    error
}

struct Resolve<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Resolve<'_> {
    fn fault<T>(&self, at: &Spanned<T>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path, self.text, at.span(), message)
    }

    fn parsed<T: FromStr>(&self, from: &Spanned<String>) -> Result<T, ConfigError>
    where
        T::Err: Display,
    {
        from.get_ref()
            .parse()
            .map_err(|e: T::Err| self.fault(from, e.to_string()))
    }

    fn ranged<T>(&self, key: &str, value: Option<Spanned<T>>, default: T, low: T, high: T) -> Result<T, ConfigError>
    where
        T: PartialOrd + Display + Copy,
    {
        match value {
            None => Ok(default),
            Some(v) if (low..=high).contains(v.get_ref()) => Ok(*v.get_ref()),
            Some(v) => Err(self.fault(&v, format!("{key} is {}, must be {low} to {high}", v.get_ref()))),
        }
    }

    fn millis(&self, key: &str, value: Option<Spanned<u64>>, default: u64, low: u64) -> Result<Duration, ConfigError> {
        self.ranged(key, value, default, low, 3_600_000)
            .map(Duration::from_millis)
    }

    fn launch(&self, file: LaunchFile) -> Result<Launch, ConfigError> {
        let engine = PathBuf::from(file.engine.get_ref());
        if !engine.is_file() {
            return Err(self.fault(&file.engine, format!("no engine recipe at {}", engine.display())));
        }
        let executor = match &file.executor {
            Some(executor) => self.parsed(executor)?,
            None => Executor::default(),
        };
        if file.cameras.is_empty() {
            return Err(ConfigError::whole(self.path, "no [[camera]]: attach at least one"));
        }
        let mut cameras: Vec<Camera> = Vec::new();
        for table in file.cameras {
            let id_span = table.get_ref().id.clone();
            let camera = self.camera(table.into_inner())?;
            if cameras.iter().any(|c| c.id == camera.id) {
                return Err(self.fault(&id_span, format!("camera id {:?} is used twice", camera.id.as_str())));
            }
            cameras.push(camera);
        }
        let known: Vec<CameraId> = cameras.iter().map(|c| c.id.clone()).collect();
        let outlets = file
            .outlets
            .into_iter()
            .map(|o| self.outlet(o, &known))
            .collect::<Result<_, _>>()?;
        Ok(Launch {
            engine,
            executor,
            cameras,
            outlets,
            publish: self.publish(file.publish)?,
            zenoh: self.zenoh(file.zenoh)?,
        })
    }

    fn camera(&self, table: CameraTable) -> Result<Camera, ConfigError> {
        let uri: SourceUri = self.parsed(&table.uri)?;
        let live = matches!(uri, SourceUri::Rtsp(_) | SourceUri::V4l2(_) | SourceUri::Gst(_));
        if live && matches!(table.pace, Some(PaceName::Unpaced)) {
            return Err(self.fault(
                &table.uri,
                "pace = \"unpaced\" is for files, image folders and simulated cameras",
            ));
        }
        Ok(Camera {
            id: self.parsed(&table.id)?,
            uri,
            pace: match table.pace {
                Some(PaceName::Unpaced) => Pace::Unpaced,
                Some(PaceName::RealTime) | None => Pace::RealTime,
            },
            repeat: match table.repeat {
                Some(RepeatName::Loop) => Repeat::Loop,
                Some(RepeatName::Once) | None => Repeat::Once,
            },
            max_rate_hz: match table.max_rate_hz {
                None => None,
                some => Some(self.ranged("max_rate_hz", some, 0.0, 0.01, 1000.0)?),
            },
            valid_for: self.millis("valid_for_millis", table.valid_for_millis, VALID_FOR_MILLIS, 1)?,
            arrival_delay: self.millis("arrival_delay_millis", table.arrival_delay_millis, 0, 0)?,
            rtsp_latency: self.millis("rtsp_latency_millis", table.rtsp_latency_millis, RTSP_LATENCY_MILLIS, 0)?,
            stall_timeout: self.millis(
                "stall_timeout_millis",
                table.stall_timeout_millis,
                STALL_TIMEOUT_MILLIS,
                200,
            )?,
        })
    }

    fn outlet(&self, table: OutletTable, known: &[CameraId]) -> Result<Outlet, ConfigError> {
        let mut cameras = Vec::new();
        for name in &table.cameras {
            let id: CameraId = self.parsed(name)?;
            if !known.contains(&id) {
                return Err(self.fault(name, format!("no [[camera]] has the id {:?}", id.as_str())));
            }
            cameras.push(id);
        }
        const MIB: u64 = 1 << 20;
        let segment = self.ranged("segment_seconds", table.segment_seconds, SEGMENT_SECONDS, 1, 86_400)?;
        let megabytes = self.ranged(
            "segment_megabytes",
            table.segment_megabytes,
            SEGMENT_MEGABYTES,
            1,
            1 << 20,
        )?;
        let free = self.ranged(
            "min_free_megabytes",
            table.min_free_megabytes,
            MIN_FREE_MEGABYTES,
            0,
            1 << 30,
        )?;
        match table.kind {
            OutletKind::AnnotatedVideo => Ok(Outlet::AnnotatedVideo(AnnotatedVideo {
                dir: PathBuf::from(table.dir.get_ref()),
                cameras,
                segment: Duration::from_secs(segment),
                segment_bytes: megabytes * MIB,
                queue_frames: self.ranged("queue_frames", table.queue_frames, RECORD_QUEUE_FRAMES, 1, 1024)?,
                min_free_bytes: free * MIB,
                score_threshold: self.threshold(table.score_threshold)?,
                bitrate_kbit: self.ranged("bitrate_kbit", table.bitrate_kbit, BITRATE_KBIT, 50, 200_000)?,
            })),
        }
    }

    fn threshold(&self, value: Option<Spanned<f32>>) -> Result<f32, ConfigError> {
        self.ranged("score_threshold", value, SCORE_THRESHOLD, 0.0, 1.0)
    }

    fn publish(&self, table: PublishTable) -> Result<Publish, ConfigError> {
        let key_prefix = match table.key_prefix {
            None => KEY_PREFIX.to_owned(),
            Some(prefix) => {
                let chunk = |c: &str| CameraId::new(c).is_ok();
                if !prefix.get_ref().split('/').all(chunk) {
                    let message = "key_prefix must be chunks of a-z, 0-9, '_' and '-', joined by '/'";
                    return Err(self.fault(&prefix, message));
                }
                prefix.into_inner()
            }
        };
        Ok(Publish {
            key_prefix,
            score_threshold: self.threshold(table.score_threshold)?,
            max_instances: self.ranged("max_instances", table.max_instances, MAX_INSTANCES, 1, 1000)?,
            idle: match table.idle {
                Some(IdleName::Off) => Idle::Off,
                Some(IdleName::Masks) => Idle::Masks,
                Some(IdleName::Boxes) | None => Idle::Boxes,
            },
            demand: match table.demand {
                Some(DemandName::Always) => DemandPolicy::Always,
                Some(DemandName::Matching) | None => DemandPolicy::Matching,
            },
        })
    }

    fn zenoh(&self, table: ZenohTable) -> Result<Zenoh, ConfigError> {
        if let Some(mode) = &table.mode
            && !["peer", "client"].contains(&mode.get_ref().as_str())
        {
            return Err(self.fault(mode, "mode must be \"peer\" or \"client\""));
        }
        let config = match table.config {
            Some(path) if !Path::new(path.get_ref()).is_file() => {
                return Err(self.fault(&path, format!("no zenoh configuration at {}", path.get_ref())));
            }
            other => other.map(|p| PathBuf::from(p.into_inner())),
        };
        for endpoint in table.connect.iter().chain(&table.listen) {
            if !endpoint.get_ref().contains('/') {
                return Err(self.fault(endpoint, "a zenoh endpoint looks like tcp/192.0.2.7:7447"));
            }
        }
        let texts = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
        Ok(Zenoh {
            config,
            mode: table.mode.map(Spanned::into_inner),
            connect: texts(table.connect),
            listen: texts(table.listen),
        })
    }
}
