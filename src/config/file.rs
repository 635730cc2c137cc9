//! A launch file as written: every key, every one optional that has a default, nothing interpreted.
//! `Spanned` values are checked in `resolve`, which can so point at the line.

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchFile {
    pub(super) engine: Spanned<String>,
    pub(super) executor: Option<Spanned<String>>,
    #[serde(default, rename = "camera")]
    pub(super) cameras: Vec<Spanned<CameraTable>>,
    #[serde(default, rename = "outlet")]
    pub(super) outlets: Vec<OutletTable>,
    #[serde(default)]
    pub(super) publish: PublishTable,
    #[serde(default)]
    pub(super) zenoh: ZenohTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraTable {
    pub(super) id: Spanned<String>,
    pub(super) uri: Spanned<String>,
    pub(super) pace: Option<PaceName>,
    pub(super) repeat: Option<RepeatName>,
    pub(super) max_rate_hz: Option<Spanned<f64>>,
    pub(super) valid_for_millis: Option<Spanned<u64>>,
    pub(super) arrival_delay_millis: Option<Spanned<u64>>,
    pub(super) rtsp_latency_millis: Option<Spanned<u64>>,
    pub(super) stall_timeout_millis: Option<Spanned<u64>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PaceName {
    RealTime,
    Unpaced,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RepeatName {
    Once,
    Loop,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutletKind {
    AnnotatedVideo,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutletTable {
    pub(super) kind: OutletKind,
    pub(super) dir: Spanned<String>,
    #[serde(default)]
    pub(super) cameras: Vec<Spanned<String>>,
    pub(super) segment_seconds: Option<Spanned<u64>>,
    pub(super) segment_megabytes: Option<Spanned<u64>>,
    pub(super) queue_frames: Option<Spanned<usize>>,
    pub(super) min_free_megabytes: Option<Spanned<u64>>,
    pub(super) score_threshold: Option<Spanned<f32>>,
    pub(super) bitrate_kbit: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishTable {
    pub(super) key_prefix: Option<Spanned<String>>,
    pub(super) score_threshold: Option<Spanned<f32>>,
    pub(super) max_instances: Option<Spanned<usize>>,
    pub(super) idle: Option<IdleName>,
    pub(super) demand: Option<DemandName>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IdleName {
    Boxes,
    Masks,
    Off,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DemandName {
    Matching,
    Always,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZenohTable {
    pub(super) config: Option<Spanned<String>>,
    pub(super) mode: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) connect: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) listen: Vec<Spanned<String>>,
}
