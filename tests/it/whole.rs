//! The whole way with the bundled engine: pictures in, messages and video out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use maskcast::client::{ConnectConfig, Event, Maskcast};
use maskcast::config::{self, Launch};
use maskcast::frame::{Image, PixelFormat};
use maskcast::geometry::ImageSize;
use maskcast::instances::Limits;
use maskcast::pipeline::{MaskBranch, MaskRcnnSegmenter, Service, Snapshot};
use maskcast::time::{Clocks, SystemClocks};
use maskcast::wire::Form;
use maskcast::wire::v1::TombstoneReason;

use super::command_line::{data, root};

fn clocks() -> Arc<dyn Clocks> {
    Arc::new(SystemClocks)
}

/// A launch file with the bundled engine, a prefix of its own and a free port.
fn launch(prefix: &str, rest: &str) -> Launch {
    let engine = root().join("engines/conveyor.toml");
    let text = format!(
        "engine = {engine:?}\n{rest}\n[publish]\nkey_prefix = \"{prefix}\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n"
    );
    config::parse(Path::new("test.toml"), &text).unwrap_or_else(|e| panic!("{e}"))
}

fn robot(service: &Service, prefix: &str) -> Maskcast {
    let config = ConnectConfig {
        endpoints: service.publisher.listening(),
        prefix: prefix.to_owned(),
        ..Default::default()
    };
    Maskcast::connect(&config).expect("connects")
}

fn run_to_end(launch: &Launch, within: Duration) -> Snapshot {
    let service = Service::start(launch, clocks()).unwrap_or_else(|e| panic!("{e}"));
    service.pipeline.wait(Some(within), &SystemClocks, |_| false);
    assert!(service.pipeline.is_finished(), "not finished within {within:?}");
    service.stop()
}

/// The video files anywhere below a folder, in order.
fn videos(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(videos(&path));
        } else if path.extension().is_some_and(|e| e == "mkv") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Frames that decode, counted by GStreamer.
fn decoded_frames(video: &Path) -> usize {
    use gstreamer::prelude::*;
    gstreamer::init().expect("GStreamer");
    let text = format!(
        "filesrc location={video:?} ! matroskademux ! h264parse ! avdec_h264 ! appsink name=sink sync=false max-buffers=2"
    );
    let pipeline = gstreamer::parse::launch(&text)
        .expect("a pipeline")
        .downcast::<gstreamer::Pipeline>()
        .expect("one");
    let sink = pipeline
        .by_name("sink")
        .expect("sink")
        .downcast::<gstreamer_app::AppSink>()
        .expect("an appsink");
    pipeline.set_state(gstreamer::State::Playing).expect("plays");
    let mut frames = 0;
    while sink.pull_sample().is_ok() {
        frames += 1;
    }
    pipeline.set_state(gstreamer::State::Null).expect("stops");
    frames
}

#[test]
fn a_robot_receives_what_the_engine_saw_on_every_picture() {
    let dir = tempfile::tempdir().expect("folder");
    let options = maskcast::source::simulated::synth::SynthOptions {
        scene: maskcast::source::simulated::SceneKind::Conveyor,
        first_seed: 910_000_000,
        count: 9,
        out_dir: dir.path().to_owned(),
        width: 320,
        height: 240,
        objects: 10,
        threads: 2,
        format: maskcast::source::simulated::synth::ImageFormat::Png,
    };
    maskcast::source::simulated::synth::write_dataset(&options, &|_| {}).expect("pictures");
    // The last one is damaged: the robot must hear that it was not looked at.
    let victim = dir.path().join("images/000009.png");
    let bytes = std::fs::read(&victim).expect("reads");
    std::fs::write(&victim, &bytes[..bytes.len() / 2]).expect("writes");
    // The pictures repeat: the robot subscribes after the start and still sees each of them.
    let launch = launch(
        "whole-robot",
        &format!(
            "[[camera]]\nid = \"belt\"\nuri = \"images://{}\"\npace = \"unpaced\"\nrepeat = \"loop\"\n",
            dir.path().join("images").display()
        ),
    );
    let service = Service::start(&launch, clocks()).unwrap_or_else(|e| panic!("{e}"));
    let mut eye = robot(&service, "whole-robot")
        .camera("belt")
        .form(Form::Rle)
        .max_age(Duration::from_secs(60))
        .history(4096)
        .open()
        .expect("opens");
    let mut seen = std::collections::BTreeMap::new();
    let mut damaged = 0;
    let start = Instant::now();
    while (seen.len() < 8 || damaged == 0) && start.elapsed() < Duration::from_secs(60) {
        match eye.next(Duration::from_millis(500)) {
            Event::Answer(answer) => {
                let instances: Vec<_> = answer
                    .instances()
                    .map(|i| (i.class_id, i.bounds, i.mask.clone()))
                    .collect();
                seen.insert((answer.result.header.frame_number - 1) % 9, instances);
            }
            Event::NoAnswer(tombstone) if tombstone.reason == TombstoneReason::DecodeError => {
                assert!(tombstone.detail.contains("000009.png"), "{tombstone:?}");
                damaged += 1;
            }
            Event::Rejected(why) => panic!("the robot rejected a message: {why}"),
            _ => {}
        }
    }
    assert!(damaged > 0, "the damaged picture is a tombstone");
    service.stop();
    assert_eq!(seen.len(), 8, "an answer for each picture");

    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 100,
    };
    let mut engine = MaskRcnnSegmenter::load(
        &launch.engine,
        limits,
        &maskcast::model::Options {
            score_threshold: Some(0.5),
            ..Default::default()
        },
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let mut objects = 0;
    for (index, received) in seen {
        let path = dir.path().join(format!("images/{:06}.png", index + 1));
        let rgb = image::open(&path).expect("reads").to_rgb8();
        let size = ImageSize::new(rgb.width(), rgb.height());
        let picture = Image::packed(PixelFormat::Rgb8, size, rgb.into_raw()).expect("a picture");
        let direct = engine
            .find(&picture, MaskBranch::Run, &SystemClocks)
            .expect("segments")
            .instances;
        let direct: Vec<_> = direct
            .into_iter()
            .map(|i| (i.class_id, i.bounds, i.mask.and_then(|m| m.runs)))
            .collect();
        objects += direct.len();
        assert_eq!(received, direct, "picture {}", index + 1);
    }
    assert!(objects >= 20, "only {objects} objects on 8 pictures");
}

#[test]
fn an_unpaced_folder_is_answered_whole_and_its_video_has_every_frame() {
    let dir = tempfile::tempdir().expect("folder");
    let options = maskcast::source::simulated::synth::SynthOptions {
        scene: maskcast::source::simulated::SceneKind::Conveyor,
        first_seed: 920_000_000,
        count: 30,
        out_dir: dir.path().to_owned(),
        width: 320,
        height: 240,
        objects: 6,
        threads: 2,
        format: maskcast::source::simulated::synth::ImageFormat::Jpeg,
    };
    maskcast::source::simulated::synth::write_dataset(&options, &|_| {}).expect("pictures");
    let images = dir.path().join("images");
    // One of them is damaged: a tombstone, nothing else.
    let victim = images.join("000011.jpg");
    let bytes = std::fs::read(&victim).expect("reads");
    std::fs::write(&victim, &bytes[..200]).expect("writes");
    let recordings = dir.path().join("recordings");
    let launch = launch(
        "whole-folder",
        &format!(
            "[[camera]]\nid = \"belt\"\nuri = \"images://{}\"\npace = \"unpaced\"\n[[outlet]]\nkind = \"annotated_video\"\n\
             dir = {recordings:?}\nmin_free_megabytes = 0\nqueue_frames = 1024\n",
            images.display()
        ),
    );
    let snapshot = run_to_end(&launch, Duration::from_secs(60));
    let camera = snapshot.cameras.values().next().expect("a camera");
    assert_eq!((camera.frames, camera.answers), (30, 29));
    assert_eq!(camera.tombstones.get(&TombstoneReason::DecodeError), Some(&1));
    assert!(
        snapshot
            .troubles
            .iter()
            .any(|t| t.contains("camera belt frame 11") && t.contains("000011.jpg"))
    );
    let frames: usize = videos(&recordings).iter().map(|v| decoded_frames(v)).sum();
    assert_eq!(
        frames, 30,
        "the damaged frame shows the picture before it, with a banner"
    );
}

#[test]
fn real_footage_runs_at_its_own_pace_and_unpaced() {
    let Some(video) = data("video/intel_bottle-detection.mp4") else {
        return;
    };
    let camera = |pace: &str| {
        format!(
            "[[camera]]\nid = \"clip\"\nuri = \"file://{}\"\npace = \"{pace}\"\nvalid_for_millis = 2000\n",
            video.display()
        )
    };
    let unpaced = run_to_end(&launch("whole-unpaced", &camera("unpaced")), Duration::from_secs(180));
    let unpaced = unpaced.cameras.values().next().expect("a camera");
    assert_eq!(
        unpaced.answers, unpaced.frames,
        "unpaced files push back instead of losing frames"
    );
    assert!(unpaced.tombstones.is_empty(), "{:?}", unpaced.tombstones);
    assert!(unpaced.frames > 300, "{} frames", unpaced.frames);

    let service =
        Service::start(&launch("whole-paced", &camera("real_time")), clocks()).unwrap_or_else(|e| panic!("{e}"));
    service
        .pipeline
        .wait(Some(Duration::from_secs(4)), &SystemClocks, |_| false);
    let paced = service.stop();
    let paced = paced.cameras.values().next().expect("a camera");
    let lost: u64 = paced.tombstones.values().sum();
    // 30 frames a second for four seconds, less the time the pipeline takes to start.
    assert!((60..=135).contains(&paced.frames), "{} frames in 4 s", paced.frames);
    assert!(paced.answers + lost >= paced.frames, "{paced:?}");
}

#[test]
fn an_absent_file_fails_that_camera_and_the_other_goes_on() {
    let launch = launch(
        "whole-absent",
        "[[camera]]\nid = \"gone\"\nuri = \"file:///nowhere/at/all.mp4\"\n[[camera]]\nid = \"sim\"\n\
         uri = \"sim://conveyor?seed=3&size=160x120&fps=20\"\n",
    );
    let service = Service::start(&launch, clocks()).unwrap_or_else(|e| panic!("{e}"));
    service
        .pipeline
        .wait(Some(Duration::from_secs(20)), &SystemClocks, |s| {
            s.cameras.iter().any(|(id, c)| id.as_str() == "sim" && c.answers >= 10)
        });
    let snapshot = service.stop();
    let of = |name: &str| {
        snapshot
            .cameras
            .iter()
            .find(|(id, _)| id.as_str() == name)
            .map(|(_, c)| c.clone())
            .expect(name)
    };
    assert!(of("sim").answers >= 10, "{:?}", of("sim"));
    assert!(of("gone").failed && of("gone").frames == 0, "{:?}", of("gone"));
    assert!(
        snapshot
            .troubles
            .iter()
            .any(|t| t.contains("gone") && t.contains("/nowhere/at/all.mp4")),
        "{:?}",
        snapshot.troubles
    );
}

#[test]
fn an_independent_subscriber_finds_every_message_of_a_run_in_order() {
    let Some(python) = std::env::var_os("MASKCAST_ORACLE_PYTHON") else {
        println!("not run: MASKCAST_ORACLE_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().expect("folder");
    let options = maskcast::source::simulated::synth::SynthOptions {
        scene: maskcast::source::simulated::SceneKind::Conveyor,
        first_seed: 930_000_000,
        count: 5,
        out_dir: dir.path().to_owned(),
        width: 320,
        height: 240,
        objects: 8,
        threads: 2,
        format: maskcast::source::simulated::synth::ImageFormat::Png,
    };
    maskcast::source::simulated::synth::write_dataset(&options, &|_| {}).expect("pictures");
    std::fs::write(dir.path().join("images/000003.png"), b"no picture").expect("writes");
    let launch = launch(
        "whole-peer",
        &format!(
            "[[camera]]\nid = \"folder\"\nuri = \"images://{}\"\nrepeat = \"loop\"\nvalid_for_millis = 2000\n\
             [[camera]]\nid = \"belt\"\nuri = \"sim://conveyor?seed=5&size=320x240&fps=10\"\nvalid_for_millis = 2000\n",
            dir.path().join("images").display()
        ),
    );
    let service = Service::start(&launch, clocks()).unwrap_or_else(|e| panic!("{e}"));
    let status = std::process::Command::new(python)
        .arg(root().join("tests/oracle/zenoh_peer.py"))
        .args(["--connect", &service.publisher.listening()[0], "--prefix", "whole-peer"])
        .args(["--seconds", "10", "--min-results", "50", "--strict-start"])
        .status()
        .expect("the peer starts");
    service.stop();
    assert!(status.success(), "{status}");
}
