//! One message as one JSON object. Keys are stable: they are only ever added.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::book::{Gaps, age_millis};
use super::table::{class_name, short};
use crate::client::{Liveliness, Observation, Observed};
use crate::instances::{ClassMap, MaskRuns};
use crate::names::CameraId;
use crate::wire::decode::{Decoded, Outcome, SeenInstance};
use crate::wire::v1;

/// For `--help`.
pub(super) const HELP: &str = "\
JSON, one object a line, keys only ever added:
  all        type, received_unix_nanos
  result     camera, session, result_number, frame_number, form, capture_unix_nanos, uncertainty_millis, age_millis
             (capture to received), capture_to_published_millis, size [width, height], degraded [words], missed (lost on
             the way before it), skipped (overwritten here), outcome = \"answer\" | \"tombstone\"
    answer   score_threshold, instances [{index, class_id, class_name, score, box [x0, y0, x1, y1] px, area_px,
             centroid_px [x, y], contact_px [x, y], borders [words], mask = null | {x, y, size [height, width],
             counts: COCO compressed RLE of the crop at x, y}}]
    tombstone  reason, detail
  status     camera, session, status_number, state, detail, source_hz, answer_hz, tombstone_hz,
             capture_to_published_p50_millis, capture_to_published_p99_millis, last_result_number, tombstones {reason: count},
             forms [words], degraded [words], reconnects
  health     session, state, detail, degraded [words], device, recording, uptime_millis
  token      camera (null: the daemon), session, alive
  malformed  camera (null where unknown), detail

Ends with Ctrl-C, --count or --timeout.";

/// The object of a message.
pub(super) fn line(message: &Observed, gaps: &Gaps, labels: &BTreeMap<u32, ClassMap>) -> Value {
    let mut object = match &message.what {
        Observation::Result(camera, result) => match result.as_ref() {
            Ok(result) => self::result(result, message, gaps, labels),
            Err(why) => malformed(Some(camera), &why.to_string()),
        },
        Observation::Status(camera, status) => self::status(camera, status),
        Observation::Health(health) => self::health(health),
        Observation::Token(camera, session, liveliness) => json!({
            "type": "token", "camera": camera.as_str(), "session": session.to_string(), "alive": *liveliness == Liveliness::Alive,
        }),
        Observation::Daemon(session, liveliness) => json!({
            "type": "token", "camera": null, "session": session.to_string(), "alive": *liveliness == Liveliness::Alive,
        }),
        Observation::Malformed(why) => malformed(None, why),
    };
    object["received_unix_nanos"] = message.received_unix_nanos.into();
    object
}

fn malformed(camera: Option<&CameraId>, detail: &str) -> Value {
    json!({ "type": "malformed", "camera": camera.map(CameraId::as_str), "detail": detail })
}

fn result(result: &Decoded, message: &Observed, gaps: &Gaps, labels: &BTreeMap<u32, ClassMap>) -> Value {
    let h = &result.header;
    let mut object = json!({
        "type": "result",
        "camera": h.camera.as_str(),
        "session": h.session_id.to_string(),
        "result_number": h.result_number,
        "frame_number": h.frame_number,
        "form": result.form.to_string(),
        "capture_unix_nanos": h.capture_time_unix_nanos,
        "uncertainty_millis": h.capture_time_uncertainty_nanos as f64 / 1e6,
        "age_millis": (h.capture_time_unix_nanos > 0).then(|| age_millis(result, message.received_unix_nanos)),
        "capture_to_published_millis": result.stage_times.map(|t| t.capture_to_published_nanos as f64 / 1e6),
        "size": h.size.map(|s| [s.width, s.height]),
        "degraded": words(&result.degraded),
        "missed": gaps.missed,
        "skipped": gaps.skipped,
    });
    match &result.outcome {
        Outcome::Answer {
            instances,
            score_threshold,
        } => {
            let classes = labels.get(&result.label_map_id);
            object["outcome"] = "answer".into();
            object["score_threshold"] = number(*score_threshold);
            object["instances"] = instances.iter().map(|i| instance(i, classes)).collect();
        }
        Outcome::Tombstone { reason, detail, .. } => {
            object["outcome"] = "tombstone".into();
            object["reason"] = short(reason.as_str_name(), "TOMBSTONE_REASON_").into();
            object["detail"] = detail.as_str().into();
        }
    }
    object
}

fn instance(i: &SeenInstance, classes: Option<&ClassMap>) -> Value {
    let px = i.bounds.to_px();
    json!({
        "index": i.index,
        "class_id": i.class_id,
        "class_name": class_name(classes, i.class_id),
        "score": number(i.score),
        "box": [px.x0, px.y0, px.x1, px.y1],
        "area_px": i.area_px,
        "centroid_px": [i.centroid_px.0, i.centroid_px.1],
        "contact_px": [i.contact_px.0, i.contact_px.1],
        "borders": borders(i.borders),
        "mask": i.mask.as_ref().map(mask),
    })
}

fn mask(runs: &MaskRuns) -> Value {
    json!({
        "x": runs.x,
        "y": runs.y,
        "size": [runs.height, runs.width],
        // COCO counts are ASCII.
        "counts": String::from_utf8_lossy(&runs.to_counts()),
    })
}

fn borders(bits: u32) -> Vec<&'static str> {
    let all = [
        (v1::Border::Left, "left"),
        (v1::Border::Top, "top"),
        (v1::Border::Right, "right"),
        (v1::Border::Bottom, "bottom"),
    ];
    all.into_iter()
        .filter(|(bit, _)| bits & *bit as u32 != 0)
        .map(|(_, word)| word)
        .collect()
}

fn words(degraded: &[v1::Degradation]) -> Vec<&'static str> {
    degraded
        .iter()
        .map(|d| short(d.as_str_name(), "DEGRADATION_"))
        .collect()
}

/// A score as people write it: 0.9, not 0.8999999761581421.
fn number(score: f32) -> Value {
    let text = score.to_string();
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

fn status(camera: &CameraId, s: &v1::CameraStatus) -> Value {
    let tombstones: serde_json::Map<String, Value> = s
        .tombstones
        .iter()
        .map(|t| {
            (
                short(t.reason().as_str_name(), "TOMBSTONE_REASON_").to_owned(),
                t.count.into(),
            )
        })
        .collect();
    let forms: Vec<&str> = s.forms_published().map(|f| short(f.as_str_name(), "FORM_")).collect();
    json!({
        "type": "status",
        "camera": camera.as_str(),
        "session": hex(&s.session_id),
        "status_number": s.status_number,
        "state": short(s.state().as_str_name(), "CAMERA_STATE_"),
        "detail": s.detail,
        "source_hz": number(s.source_hz),
        "answer_hz": number(s.answer_hz),
        "tombstone_hz": number(s.tombstone_hz),
        "capture_to_published_p50_millis": number(s.capture_to_published_p50_millis),
        "capture_to_published_p99_millis": number(s.capture_to_published_p99_millis),
        "last_result_number": s.last_result_number,
        "tombstones": tombstones,
        "forms": forms,
        "degraded": words(&crate::wire::decode::degradations(&s.degraded)),
        "reconnects": s.reconnects,
    })
}

fn health(h: &v1::Health) -> Value {
    json!({
        "type": "health",
        "session": hex(&h.session_id),
        "state": short(h.state().as_str_name(), "SERVICE_STATE_"),
        "detail": h.detail,
        "degraded": words(&crate::wire::decode::degradations(&h.degraded)),
        "device": h.device,
        "recording": h.recording,
        "uptime_millis": h.uptime_nanos as f64 / 1e6,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
