//! Whole recordings, read back by decoding them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::encoder::{CANDIDATES, Candidate, Kind, choose};
use super::*;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::instances::{ClassMap, Instance};
use crate::outlets::overlay::tests::instance_of;
use crate::outlets::{Outcome, StageMarks};
use crate::time::{CaptureTime, CaptureTimeSource, Pts, SystemClocks};
use crate::wire::v1::TombstoneReason;

mod faults;

const VGA: ImageSize = ImageSize::new(640, 480);
const FRAME_NANOS: i64 = 33_333_334;
const START_UNIX: i64 = 1_700_000_000_000_000_000;

fn camera() -> CameraId {
    CameraId::new("front").expect("id")
}

fn settings(dir: &Path) -> AnnotatedVideo {
    AnnotatedVideo {
        dir: dir.to_owned(),
        cameras: vec![],
        segment: Duration::from_secs(60),
        segment_bytes: 512 << 20,
        queue_frames: 400,
        min_free_bytes: 0,
        score_threshold: 0.5,
        bitrate_kbit: 2000,
    }
}

fn open_with(settings: &AnnotatedVideo, clocks: Arc<dyn Clocks>) -> AnnotatedVideoOutlet {
    let info = RecordingInfo {
        engine_name: "conveyor".into(),
        engine_identity: r#"{"precision":"fp32"}"#.into(),
        classes: ClassMap {
            names: ["bottle", "can"].map(str::to_owned).to_vec(),
        },
    };
    AnnotatedVideoOutlet::open(settings, &[camera()], info, clocks).expect("outlet")
}

fn open(settings: &AnnotatedVideo) -> AnnotatedVideoOutlet {
    open_with(settings, Arc::new(SystemClocks))
}

/// A grey picture; `noise` makes it hard to encode.
fn picture(size: ImageSize, noise: bool) -> Image {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if noise { (state >> 24) as u8 } else { 100 }
    };
    let bytes = (0..size.area() * 3).map(|_| next()).collect();
    Image::packed(PixelFormat::Rgb8, size, bytes).expect("image")
}

fn report(number: u64, image: Option<Image>, instances: Vec<Instance>) -> Report {
    let at = number as i64 * FRAME_NANOS;
    Report {
        camera: camera(),
        result_number: number,
        frame_number: number,
        pts: Some(Pts { nanos: at }),
        capture_time: Some(CaptureTime {
            unix_nanos: START_UNIX + at,
            mono_nanos: at,
            uncertainty_nanos: 0,
            source: CaptureTimeSource::Simulated,
        }),
        size: image.as_ref().map(|image| image.size),
        outcome: Outcome::Answer {
            instances: Arc::new(instances),
            score_threshold: 0.5,
        },
        marks: StageMarks {
            instances: at + 30_000_000,
            ..StageMarks::default()
        },
        image,
        valid_for_nanos: 300_000_000,
        degraded: vec![],
    }
}

fn tombstone(number: u64, reason: TombstoneReason, image: Option<Image>) -> Report {
    Report {
        outcome: Outcome::Tombstone {
            reason,
            detail: String::new(),
            stalled_for_nanos: 0,
        },
        ..report(number, image, vec![])
    }
}

fn disc(class_id: u32, score: f32) -> Instance {
    instance_of(class_id, score, VGA, |x, y| {
        (x as i32 - 320).pow(2) + (y as i32 - 240).pow(2) <= 80 * 80
    })
}

struct Decoded {
    size: ImageSize,
    pts_nanos: u64,
    rgb: Vec<u8>,
}

impl Decoded {
    fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = 3 * (y * self.size.width + x) as usize;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }
}

/// Every picture of a video file, as far as it can be read.
fn decode(video: &Path) -> Vec<Decoded> {
    let text = "filesrc name=in ! matroskademux ! h264parse ! decodebin ! videoconvert ! \
                video/x-raw,format=RGB ! appsink name=out sync=false max-buffers=4";
    let pipeline = gst::parse::launch(text)
        .expect("pipeline")
        .downcast::<gst::Pipeline>()
        .expect("pipeline");
    pipeline.by_name("in").expect("in").set_property("location", video);
    let sink = pipeline
        .by_name("out")
        .expect("out")
        .downcast::<gst_app::AppSink>()
        .expect("sink");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let mut frames = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let info = gst_video::VideoInfo::from_caps(sample.caps().expect("caps")).expect("info");
        let buffer = sample.buffer().expect("buffer");
        let map = buffer.map_readable().expect("map");
        let row = 3 * info.width() as usize;
        let rows = map.chunks(info.stride()[0] as usize).take(info.height() as usize);
        frames.push(Decoded {
            size: ImageSize::new(info.width(), info.height()),
            pts_nanos: buffer.pts().expect("pts").nseconds(),
            rgb: rows.flat_map(|line| line[..row].to_vec()).collect(),
        });
    }
    pipeline.set_state(gst::State::Null).expect("null");
    frames
}

/// Files below `dir` whose names end so, sorted.
fn files_of(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("read_dir") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files_of(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn index_rows(video: &Path) -> Vec<Vec<i64>> {
    let text = std::fs::read_to_string(video.with_extension("idx.csv")).expect("index");
    let (head, rows) = text.split_once('\n').expect("head");
    assert_eq!(head, "pts_nanos,frame_number,result_number,capture_time_unix_nanos");
    let row = |line: &str| line.split(',').map(|v| v.parse().expect("number")).collect();
    rows.lines().map(row).collect()
}

/// Waits until as many frames are written, dropped or lost.
fn wait_for(status: &RecorderStatuses, frames: u64) -> RecorderSnapshot {
    let begun = Instant::now();
    loop {
        let now = status.snapshot().remove(0);
        let seen = now.frames_written + now.frames_dropped + now.frames_failed + now.frames_without_picture;
        if seen >= frames || begun.elapsed() > Duration::from_secs(10) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn near(got: [u8; 3], expected: [u8; 3], by: u8) -> bool {
    got.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= by)
}

#[test]
fn what_was_delivered_can_be_seen_in_the_file() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&settings(home.path()));
    let status = outlet.status();
    let image = picture(VGA, false);
    for number in 1..=45 {
        // The second instance is below the threshold of the recording.
        let instances = vec![disc(1, 0.9), instance_of(0, 0.3, VGA, |x, y| x < 40 && y < 40)];
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), instances)));
    }
    outlet.finish();
    let now = status.snapshot().remove(0);
    assert_eq!((now.frames_written, now.frames_dropped, now.frames_failed), (45, 0, 0));
    assert_eq!((now.segments_finished, &now.error), (1, &None));

    let videos = files_of(home.path(), ".mkv");
    assert_eq!(videos.len(), 1);
    assert!(videos[0].ends_with("front_0000.mkv") && files_of(home.path(), ".part").is_empty());
    let frames = decode(&videos[0]);
    let rows = index_rows(&videos[0]);
    assert_eq!((frames.len(), rows.len()), (45, 45));
    assert_eq!(rows[44], [44 * FRAME_NANOS, 45, 45, START_UNIX + 45 * FRAME_NANOS]);
    for (frame, row) in frames.iter().zip(&rows) {
        assert!(
            (frame.pts_nanos as i64 - row[0]).abs() <= 1_000_000,
            "{} {}",
            frame.pts_nanos,
            row[0]
        );
    }
    let last = &frames[44];
    assert_eq!(last.size, VGA);
    assert!(
        near(last.pixel(320, 240), [156, 114, 64], 8),
        "fill {:?}",
        last.pixel(320, 240)
    );
    assert!(
        near(last.pixel(20, 20), [100, 100, 100], 6),
        "not drawn {:?}",
        last.pixel(20, 20)
    );
    assert!(last.pixel(500, 475)[0] < 70, "status bar {:?}", last.pixel(500, 475));

    let line = std::fs::read_to_string(videos[0].with_file_name("index.jsonl")).expect("index.jsonl");
    let line: serde_json::Value = serde_json::from_str(line.trim()).expect("one line");
    assert_eq!((&line["frames"], &line["gaps"]), (&45.into(), &0.into()));
    assert_eq!(line["sha256"], files::sha256(&videos[0]).expect("sha256"));

    let still = status.best_still(&camera()).expect("still");
    assert_eq!((still.frame_number, still.instances), (1, 1));
    let png = home.path().join("still.png");
    still.write_png(&png).expect("png");
    let read = image::open(&png).expect("png").to_rgb8();
    assert!(near(read.get_pixel(320, 240).0, [156, 114, 64], 3));
}

#[test]
fn files_are_split_at_key_frames_by_time_and_by_size() {
    let home = tempfile::tempdir().expect("tempdir");
    let by_time = AnnotatedVideo {
        segment: Duration::from_secs(1),
        ..settings(&home.path().join("time"))
    };
    let by_size = AnnotatedVideo {
        segment_bytes: 100_000,
        ..settings(&home.path().join("size"))
    };
    for settings in [by_time, by_size] {
        let mut outlet = open(&settings);
        let image = picture(ImageSize::new(320, 240), true);
        for number in 1..=100 {
            outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![])));
        }
        outlet.finish();
        let videos = files_of(&settings.dir, ".mkv");
        let counts: Vec<usize> = videos.iter().map(|video| decode(video).len()).collect();
        // Key frames at frames 1, 31, 61, 91 (one a second): files begin there.
        assert_eq!(counts, [30, 30, 30, 10], "{:?}", settings.dir);
        for (video, count) in videos.iter().zip(counts) {
            let rows = index_rows(video);
            assert_eq!((rows.len(), rows[0][0]), (count, 0), "each file begins at its own zero");
        }
        assert_eq!(outlet.status().snapshot()[0].segments_finished, 4);
    }
}

#[test]
fn a_full_queue_drops_the_newest_counts_it_and_never_waits() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&AnnotatedVideo {
        queue_frames: 3,
        ..settings(home.path())
    });
    let image = picture(ImageSize::new(1280, 720), true);
    let begun = Instant::now();
    for number in 1..=300 {
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![])));
    }
    let mean = begun.elapsed() / 300;
    outlet.finish();
    let now = outlet.status().snapshot().remove(0);
    assert!(mean < Duration::from_micros(500), "deliver took {mean:?} on average");
    assert_eq!(now.frames_written + now.frames_dropped, 300, "{now:?}");
    assert!(now.frames_dropped > 200 && now.frames_written >= 3, "{now:?}");
    let video = files_of(home.path(), ".mkv").remove(0);
    let rows = index_rows(&video);
    assert_eq!(rows.len() as u64, now.frames_written);
    assert_eq!(decode(&video).len(), rows.len());
    assert_eq!([rows[0][1], rows[1][1], rows[2][1]], [1, 2, 3], "the oldest are kept");
}

#[test]
fn a_camera_that_comes_back_with_another_size_gets_another_file() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&settings(home.path()));
    let sizes = [
        VGA,
        ImageSize::new(320, 240),
        ImageSize::new(641, 479),
        ImageSize::new(5, 3),
    ];
    for (number, size) in (1..).zip(sizes.iter().flat_map(|size| [size; 8])) {
        outlet.deliver(&Arc::new(report(number, Some(picture(*size, false)), vec![])));
    }
    outlet.finish();
    let now = outlet.status().snapshot().remove(0);
    assert_eq!((now.frames_written, now.error), (32, None));
    let videos = files_of(home.path(), ".mkv");
    let seen: Vec<(usize, ImageSize)> = videos.iter().map(|v| decode(v)).map(|f| (f.len(), f[0].size)).collect();
    // Odd sides are rounded up; tiny pictures are padded to 16.
    let coded = [
        VGA,
        ImageSize::new(320, 240),
        ImageSize::new(642, 480),
        ImageSize::new(16, 16),
    ];
    assert_eq!(seen, coded.map(|size| (8, size)));
}

#[test]
fn tombstones_show_a_banner_and_never_a_stale_mask() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&settings(home.path()));
    let image = picture(VGA, false);
    // Before any picture there is nothing to show.
    outlet.deliver(&Arc::new(tombstone(1, TombstoneReason::SourceStalled, None)));
    outlet.deliver(&Arc::new(report(2, Some(image.clone()), vec![disc(1, 0.9)])));
    outlet.deliver(&Arc::new(tombstone(
        3,
        TombstoneReason::Overloaded,
        Some(image.clone()),
    )));
    let stalled = Report {
        frame_number: 0,
        pts: None,
        capture_time: None,
        ..tombstone(4, TombstoneReason::SourceStalled, None)
    };
    outlet.deliver(&Arc::new(stalled));
    outlet.finish();
    let now = outlet.status().snapshot().remove(0);
    assert_eq!((now.frames_written, now.frames_without_picture), (3, 1));
    let video = files_of(home.path(), ".mkv").remove(0);
    let frames = decode(&video);
    let middle: Vec<[u8; 3]> = frames.iter().map(|frame| frame.pixel(320, 290)).collect();
    assert!(near(middle[0], [156, 114, 64], 8), "mask {:?}", middle[0]);
    assert!(near(middle[1], [100, 100, 100], 8), "no stale mask {:?}", middle[1]);
    assert!(
        near(middle[2], [41, 41, 41], 8),
        "the last picture, darkened {:?}",
        middle[2]
    );
    let banner = |frame: &Decoded| (60..240).any(|y| near(frame.pixel(20, y), [180, 35, 45], 30));
    assert_eq!(
        [banner(&frames[0]), banner(&frames[1]), banner(&frames[2])],
        [false, true, true]
    );
    assert_eq!(index_rows(&video)[2][1..], [0, 4, 0]);
}

#[test]
fn only_the_cameras_asked_for_are_recorded() {
    let home = tempfile::tempdir().expect("tempdir");
    let outlet = open(&AnnotatedVideo {
        cameras: vec![CameraId::new("rear").expect("id")],
        ..settings(home.path())
    });
    assert_eq!(outlet.demand(&camera()), Demand::default());
    assert_eq!(outlet.status().snapshot().len(), 0);
    let all = open(&settings(home.path()));
    assert_eq!(
        all.demand(&camera()),
        Demand {
            boxes: true,
            masks: true
        }
    );
}

#[test]
fn an_encoder_that_is_installed_but_does_not_work_is_passed_over() {
    gst::init().expect("gst");
    let broken = |factory| Candidate {
        factory,
        kind: Kind::Hardware,
        settings: &[("no-such-property", "7")],
    };
    // `no-such-enc` is not installed, `theoraenc` and `identity` are no H.264 encoders.
    let candidates = [
        broken("no-such-enc"),
        broken("theoraenc"),
        broken("identity"),
        CANDIDATES[5],
    ];
    let chosen = choose(&candidates, VGA, 2000).expect("x264enc");
    assert_eq!(chosen.factory, "x264enc");
    let error = choose(&candidates[..3], VGA, 2000).expect_err("none works").to_string();
    assert!(
        error.contains("no-such-enc, theoraenc, identity") && error.contains("plugins-ugly"),
        "{error}"
    );
    // Our software encoder passes the trial that hardware has to pass.
    let tried = Candidate {
        kind: Kind::Hardware,
        ..CANDIDATES[5]
    };
    assert_eq!(choose(&[tried], VGA, 2000).expect("works").factory, "x264enc");
}
