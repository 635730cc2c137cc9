//! Launch files: defaults, and each mistake with its line.

use super::*;
use std::path::Path;

const ENGINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/conveyor.toml");

fn with_engine(rest: &str) -> String {
    format!("engine = \"{ENGINE}\"\n{rest}")
}

fn parsed(rest: &str) -> Result<Launch, ConfigError> {
    parse(Path::new("x.toml"), &with_engine(rest))
}

fn fault(rest: &str) -> (usize, String) {
    match parsed(rest) {
        Ok(launch) => panic!("accepted: {launch:?}"),
        Err(error) => (error.at.as_ref().map_or(0, |p| p.line), error.message),
    }
}

const CAMERA: &str = "[[camera]]\nid = \"dock-3\"\nuri = \"sim://conveyor?seed=7\"\n";

#[test]
fn the_smallest_file_gets_its_defaults_in_one_place() {
    let launch = parsed(&format!(
        "{CAMERA}[[outlet]]\nkind = \"annotated_video\"\ndir = \"recordings\"\n"
    ))
    .expect("valid");
    let camera = &launch.cameras[0];
    assert_eq!(camera.id.as_str(), "dock-3");
    assert_eq!(
        (camera.pace, camera.repeat, camera.max_rate_hz),
        (Pace::RealTime, Repeat::Once, None)
    );
    assert_eq!(camera.valid_for, Duration::from_millis(300));
    assert_eq!(launch.publish.key_prefix, "maskcast");
    assert_eq!(
        (launch.publish.idle, launch.publish.demand),
        (Idle::Boxes, DemandPolicy::Matching)
    );
    assert_eq!(
        (launch.publish.score_threshold, launch.publish.max_instances),
        (0.5, 100)
    );
    let Outlet::AnnotatedVideo(video) = &launch.outlets[0];
    assert_eq!((video.segment, video.queue_frames), (Duration::from_secs(60), 32));
    assert_eq!(video.segment_bytes, 512 << 20);
}

#[test]
fn an_unknown_key_is_refused_at_its_line() {
    let (line, message) = fault(&format!("{CAMERA}colour = \"red\"\n"));
    assert_eq!(line, 5);
    assert!(message.starts_with("unknown key `colour`"), "{message}");
    let (line, message) = fault("speed = 3\n");
    assert_eq!(line, 2);
    assert!(message.contains("`speed`"), "{message}");
}

#[test]
fn a_wrong_unit_names_the_key_that_was_meant() {
    for (written, meant) in [
        ("valid_for_seconds = 1", "valid_for_millis"),
        ("valid_for = 300", "valid_for_millis"),
        ("rtsp_latency_ms = 300", "rtsp_latency_millis"),
        ("max_rate = 3.0", "max_rate_hz"),
    ] {
        let (line, message) = fault(&format!("{CAMERA}{written}\n"));
        assert_eq!(line, 5);
        assert!(message.contains(&format!("did you mean `{meant}`")), "{message}");
    }
    let (line, message) = fault(&format!("{CAMERA}valid_for_millis = \"300 ms\"\n"));
    assert_eq!(line, 5);
    assert!(
        message.contains("expected u64") || message.contains("integer"),
        "{message}"
    );
}

#[test]
fn values_out_of_range_point_at_the_value() {
    let (line, message) = fault(&format!("{CAMERA}valid_for_millis = 0\n"));
    assert_eq!(
        (line, message.as_str()),
        (5, "valid_for_millis is 0, must be 1 to 3600000")
    );
    let error = parsed(&format!("{CAMERA}max_rate_hz = -2.0\n")).expect_err("negative rate");
    let place = error.at.expect("a place");
    assert_eq!(
        (place.line, place.column, place.text.as_str()),
        (5, 15, "max_rate_hz = -2.0")
    );
    let (line, message) = fault(&format!("{CAMERA}[publish]\nscore_threshold = 1.5\n"));
    assert_eq!((line, message.as_str()), (6, "score_threshold is 1.5, must be 0 to 1"));
}

#[test]
fn names_that_do_not_fit_together_are_refused() {
    let (line, message) = fault("[[camera]]\nid = \"Dock 3\"\nuri = \"sim://conveyor\"\n");
    assert_eq!(line, 3);
    assert!(message.contains("\"Dock 3\""), "{message}");
    let (line, message) = fault(&format!("{CAMERA}{CAMERA}"));
    assert_eq!((line, message.as_str()), (6, "camera id \"dock-3\" is used twice"));
    let (line, message) = fault(&format!(
        "{CAMERA}[[outlet]]\nkind = \"annotated_video\"\ndir = \"r\"\ncameras = [\"x\"]\n"
    ));
    assert_eq!((line, message.as_str()), (8, "no [[camera]] has the id \"x\""));
    let (_, message) = fault("");
    assert_eq!(message, "no [[camera]]: attach at least one");
    let (line, message) = fault(&format!("{CAMERA}[[outlet]]\nkind = \"smoke_signals\"\ndir = \"r\"\n"));
    assert_eq!(line, 6);
    assert!(message.contains("annotated_video"), "{message}");
}

#[test]
fn live_sources_cannot_be_unpaced() {
    let (line, message) = fault("[[camera]]\nid = \"a\"\nuri = \"rtsp://192.0.2.7/s\"\npace = \"unpaced\"\n");
    assert_eq!(line, 4);
    assert!(message.contains("unpaced"), "{message}");
}

#[test]
fn an_absent_engine_or_launch_file_is_named() {
    let text = format!("engine = \"engines/nowhere.toml\"\n{CAMERA}");
    let error = parse(Path::new("x.toml"), &text).expect_err("no engine");
    assert_eq!(
        error.to_string().lines().next(),
        Some("x.toml:1:10: no engine recipe at engines/nowhere.toml")
    );
    let error = read(Path::new("launch/nowhere.toml")).expect_err("no file");
    assert!(
        error.to_string().starts_with("launch/nowhere.toml: cannot read: "),
        "{error}"
    );
}

#[test]
fn errors_show_the_line_and_underline_the_fault() {
    let error = parse(Path::new("x.toml"), "engine = 5\n").expect_err("not a text");
    let shown = error.to_string();
    assert!(shown.starts_with("x.toml:1:10: "), "{shown}");
    assert!(shown.ends_with("\n    1 | engine = 5\n      |          ^"), "{shown}");
}

#[test]
fn every_bundled_launch_file_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("launch")).expect("launch/") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|e| e == "toml") {
            // Their paths are relative to the package, where tests run.
            read(&path).unwrap_or_else(|e| panic!("{e}"));
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} launch files");
}

#[test]
fn the_executor_is_chosen_by_name() {
    assert_eq!(parsed(CAMERA).expect("valid").executor, Executor::Auto);
    for executor in Executor::ALL {
        let text = format!("executor = \"{executor}\"\n{CAMERA}");
        assert_eq!(parsed(&text).expect("valid").executor, executor);
    }
    let error = parsed(&format!("executor = \"gpu\"\n{CAMERA}")).expect_err("no such executor");
    assert_eq!(
        error.to_string().lines().next(),
        Some("x.toml:2:12: \"gpu\" is no executor: use \"auto\", \"cpu\", \"cudnn\" or \"tensorrt\"")
    );
}
