use std::collections::BTreeMap;

use super::super::book::Gaps;
use super::super::json;
use super::*;
use crate::client::{Observation, Observed};
use crate::wire::SessionId;
use crate::wire::decode::{Decoded, decode_result};

fn conformance(name: &str) -> Decoded {
    let path = format!("{}/tests/conformance/results/{name}", env!("CARGO_MANIFEST_DIR"));
    decode_result(&std::fs::read(path).unwrap()).unwrap()
}

fn observed(what: Observation) -> Observed {
    Observed {
        what,
        attachment: None,
        received_unix_nanos: 1_790_000_000_173_456_789, // 50 ms after the capture
        bytes: 0,
        skipped: 0,
    }
}

fn result(decoded: Decoded) -> Observed {
    observed(Observation::Result(
        decoded.header.camera.clone(),
        Box::new(Ok(decoded)),
    ))
}

fn classes() -> BTreeMap<u32, ClassMap> {
    let names = vec!["box".to_owned()];
    BTreeMap::from([(7, ClassMap { names })])
}

#[test]
fn json_has_what_the_help_says() {
    let value = json::line(
        &result(conformance("one_instance.bin")),
        &Gaps { missed: 2, skipped: 1 },
        &classes(),
    );
    assert_eq!(value["age_millis"], 50.0);
    assert_eq!((&value["missed"], &value["skipped"]), (&2.into(), &1.into()));
    assert_eq!(value["instances"][0]["class_name"], "box");
    assert_eq!(value["instances"][0]["score"], 0.875);
    assert_eq!(value["instances"][0]["mask"]["counts"], "063LNO0124");
    assert_eq!(value["instances"][0]["mask"]["size"], serde_json::json!([5, 5]));
    let tombstone = json::line(&result(conformance("tombstone.bin")), &Gaps::default(), &classes());
    assert_eq!(
        (&tombstone["outcome"], &tombstone["reason"]),
        (&"tombstone".into(), &"DROPPED_STALE".into())
    );
    assert!(tombstone.get("instances").is_none());
    // Every key stands in the help text.
    for object in [
        &value,
        &tombstone,
        &value["instances"][0],
        &value["instances"][0]["mask"],
    ] {
        for key in object.as_object().unwrap().keys() {
            assert!(json::HELP.contains(key.as_str()), "{key}");
        }
    }
    let status = json::line(
        &observed(Observation::Status(CameraId::new("front").unwrap(), Box::default())),
        &Gaps::default(),
        &classes(),
    );
    let health = json::line(
        &observed(Observation::Health(Box::default())),
        &Gaps::default(),
        &classes(),
    );
    for key in status
        .as_object()
        .unwrap()
        .keys()
        .chain(health.as_object().unwrap().keys())
    {
        assert!(json::HELP.contains(key.as_str()), "{key}");
    }
}

#[test]
fn a_line_tells_state_latency_losses_and_instances() {
    let mut book = Book::new();
    let front = CameraId::new("front").unwrap();
    let session = SessionId::from_bytes(std::array::from_fn(|i| i as u8));
    book.note(&observed(Observation::Token(front.clone(), session, Liveliness::Alive)));
    book.note(&observed(Observation::Status(
        front.clone(),
        Box::new(v1::CameraStatus {
            state: v1::CameraState::Streaming.into(),
            answer_hz: 29.97,
            ..Default::default()
        }),
    )));
    book.note(&result(conformance("one_instance.bin"))); // number 41
    book.note(&result(conformance("tombstone.bin"))); // number 43: one is missing
    let screen = Screen::new(Colours::on(false), "here".to_owned());
    let line = screen.camera(&front, &book.cameras[&front], &book);
    assert_eq!(
        line,
        "front        STREAMING        43   30.0       50.0/50.0  1      class 0 0.88  dropped_stale 1"
    );
    assert!(screen.head(&book).ends_with("no daemon"));
    book.note(&observed(Observation::Daemon(session, Liveliness::Alive)));
    assert!(screen.head(&book).ends_with("session 00010203"));
}

#[test]
fn a_redraw_goes_back_over_what_it_drew() {
    let mut screen = Screen::new(Colours::on(true), "here".to_owned());
    let mut out = Vec::new();
    screen.redraw(&mut out, &Book::new()).unwrap();
    assert!(!String::from_utf8_lossy(&out).contains("\x1b[3A"));
    out.clear();
    screen.redraw(&mut out, &Book::new()).unwrap();
    assert!(
        String::from_utf8_lossy(&out).contains("\x1b[3A"),
        "three lines were drawn"
    );
}
