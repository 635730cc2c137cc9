//! What all rooms' tests of sources share, and the simulated camera and the image folder as whole sources.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Pace, Repeat};
use crate::frame::PixelFormat;
use crate::geometry::ImageSize;
use crate::names::CameraId;
use crate::time::{CaptureTimeSource, SimulatedClocks, SystemClocks};

pub(super) fn camera(uri: &str) -> Camera {
    Camera {
        id: CameraId::new("dock-3").expect("id"),
        uri: uri.parse().expect(uri),
        pace: Pace::Unpaced,
        repeat: Repeat::Once,
        max_rate_hz: None,
        valid_for: Duration::from_millis(300),
        arrival_delay: Duration::ZERO,
        rtsp_latency: Duration::from_millis(60),
        stall_timeout: Duration::from_secs(5),
    }
}

pub(super) fn system_clocks() -> Arc<dyn Clocks> {
    Arc::new(SystemClocks)
}

/// Measures real time.
pub(super) struct Stopwatch(i64);

impl Stopwatch {
    pub(super) fn start() -> Stopwatch {
        Stopwatch(SystemClocks.mono_nanos())
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos((SystemClocks.mono_nanos() - self.0).unsigned_abs())
    }
}

/// All that a source gives until its end.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: Vec<Captured>,
    pub(super) damaged: Vec<String>,
    pub(super) error: Option<SourceError>,
}

/// Reads until the end, an error, `most` frames, or 30 s without a word.
pub(super) fn drain(source: &mut dyn Source, most: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut idle = 0;
    while outcome.frames.len() < most && idle < 300 {
        idle += 1;
        match source.read(Duration::from_millis(100)) {
            Ok(Read::Frame(frame)) => {
                outcome.frames.push(frame);
                idle = 0;
            }
            Ok(Read::Damaged { detail }) => {
                outcome.damaged.push(detail);
                idle = 0;
            }
            Ok(Read::Idle) => {}
            Ok(Read::End) => return outcome,
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        }
    }
    assert!(idle < 300, "no word for 30 s after {} frames", outcome.frames.len());
    outcome
}

pub(super) fn drain_camera(camera: &Camera) -> Outcome {
    match open(camera, &system_clocks()) {
        Ok(mut source) => drain(source.as_mut(), usize::MAX),
        Err(error) => Outcome {
            error: Some(error),
            ..Outcome::default()
        },
    }
}

fn rgb(image: &crate::frame::Image, x: usize, y: usize) -> [u8; 3] {
    let row = image.row(0, y);
    [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
}

#[test]
fn the_simulated_camera_is_paced_and_shows_the_frame_of_its_number() {
    let clocks = Arc::new(SimulatedClocks::new(7_000_000_000, 1_800_000_000_000_000_000));
    let shared: Arc<dyn Clocks> = clocks.clone();
    let mut camera = camera("sim://conveyor?seed=3&objects=4&size=96x64&fps=20");
    camera.pace = Pace::RealTime;
    let mut source = open(&camera, &shared).expect("opens");
    assert_eq!(source.nominal_period(), Some(Duration::from_millis(50)));
    let frames = drain(source.as_mut(), 4).frames;
    let mut scene = simulated::Scene::new(simulated::SceneConfig {
        seed: 3,
        objects: 4,
        width: 96,
        height: 64,
        fps: 20.0,
    })
    .expect("scene");
    for (index, frame) in frames.iter().enumerate() {
        let after = index as i64 * 50_000_000;
        assert_eq!(frame.image.bytes(), scene.render(index as u64).rgb, "frame {index}");
        assert_eq!(frame.pts, Some(Pts { nanos: after }));
        assert_eq!(frame.capture_time.mono_nanos, 7_000_000_000 + after);
        assert_eq!(frame.capture_time.unix_nanos, 1_800_000_000_000_000_000 + after);
        assert_eq!(frame.capture_time.source, CaptureTimeSource::Simulated);
    }
    assert_eq!(clocks.mono_nanos(), 7_150_000_000);
}

#[test]
fn the_unpaced_simulated_camera_does_not_wait() {
    let clocks = Arc::new(SimulatedClocks::new(0, 0));
    let shared: Arc<dyn Clocks> = clocks.clone();
    let mut source = open(&camera("sim://conveyor?size=64x64"), &shared).expect("opens");
    assert_eq!(drain(source.as_mut(), 3).frames.len(), 3);
    assert_eq!(clocks.mono_nanos(), 0);
}

fn write_picture(dir: &Path, name: &str, width: u32, height: u32, colour: [u8; 3]) {
    image::RgbImage::from_pixel(width, height, image::Rgb(colour))
        .save(dir.join(name))
        .expect(name);
}

#[test]
fn a_folder_is_shown_in_natural_order_and_a_corrupt_picture_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    write_picture(dir.path(), "img10.png", 5, 3, [10, 0, 0]);
    write_picture(dir.path(), "img2.png", 1, 1, [2, 0, 0]);
    write_picture(dir.path(), "img1.jpg", 7, 5, [200, 200, 200]);
    std::fs::write(dir.path().join("img3.png"), b"\x89PNG\r\n\x1a\n but no more").expect("writes");
    let whole = std::fs::read(dir.path().join("img1.jpg")).expect("reads");
    std::fs::write(dir.path().join("img4.jpeg"), &whole[..whole.len() / 2]).expect("writes");
    std::fs::write(dir.path().join("notes.txt"), b"not a picture").expect("writes");
    let grey = image::GrayImage::from_pixel(3, 2, image::Luma([77]));
    grey.save(dir.path().join("img11.PNG")).expect("saves");

    let camera = camera(&format!("images://{}", dir.path().display()));
    let got = drain_camera(&camera);
    let sizes: Vec<_> = got.frames.iter().map(|f| f.image.size).collect();
    assert_eq!(
        sizes,
        [
            ImageSize::new(7, 5),
            ImageSize::new(1, 1),
            ImageSize::new(5, 3),
            ImageSize::new(3, 2)
        ]
    );
    assert_eq!(rgb(&got.frames[1].image, 0, 0), [2, 0, 0]);
    assert_eq!(rgb(&got.frames[2].image, 4, 2), [10, 0, 0]);
    assert_eq!(got.frames[3].image.format, PixelFormat::Gray8);
    assert_eq!(got.frames[3].image.row(0, 1), [77, 77, 77]);
    assert_eq!(got.damaged.len(), 2);
    assert!(got.damaged[0].contains("img3.png"), "{:?}", got.damaged);
    assert!(got.damaged[1].contains("img4.jpeg"), "{:?}", got.damaged);
    // Damaged ones have their place in time.
    let pts: Vec<_> = got
        .frames
        .iter()
        .filter_map(|f| f.pts)
        .map(|p| p.nanos / 1_000_000)
        .collect();
    assert_eq!(pts, [0, 100, 400, 500]);
    assert_eq!(got.error, None);
}

#[test]
fn a_folder_is_paced_and_looped() {
    let dir = tempfile::tempdir().expect("dir");
    write_picture(dir.path(), "a.png", 2, 2, [1, 1, 1]);
    write_picture(dir.path(), "b.png", 2, 2, [2, 2, 2]);
    let clocks = Arc::new(SimulatedClocks::new(0, 0));
    let shared: Arc<dyn Clocks> = clocks.clone();
    let mut camera = camera(&format!("images://{}", dir.path().display()));
    camera.pace = Pace::RealTime;
    camera.repeat = Repeat::Loop;
    let mut source = open(&camera, &shared).expect("opens");
    let got = drain(source.as_mut(), 5);
    let first: Vec<_> = got.frames.iter().map(|f| f.image.row(0, 0)[0]).collect();
    assert_eq!(first, [1, 2, 1, 2, 1]);
    assert_eq!(clocks.mono_nanos(), 400_000_000);
}

#[test]
fn folders_that_cannot_be_shown_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let of = |path: &Path| {
        let error = drain_camera(&camera(&format!("images://{}", path.display()))).error;
        error.expect("error").to_string()
    };
    let said = of(dir.path());
    assert!(
        said.contains("camera dock-3") && said.contains("no PNG or JPEG file in"),
        "{said}"
    );
    assert!(of(&dir.path().join("absent")).contains("absent does not exist"));
    std::fs::write(dir.path().join("bad.png"), b"nothing").expect("writes");
    assert!(of(&dir.path().join("bad.png")).contains("is a file, wanted a folder"));
    assert!(of(dir.path()).contains("is a readable picture"));
}

#[test]
fn what_a_build_without_gstreamer_can_open_is_known_from_the_uri() {
    let needs = |uri: &str| needs_gstreamer(&uri.parse().expect(uri));
    for uri in [
        "rtsp://192.0.2.7/s",
        "v4l2:///dev/video0",
        "gst:videotestsrc",
        "file:///absent.mp4",
    ] {
        assert!(needs(uri), "{uri}");
    }
    let dir = tempfile::tempdir().expect("dir");
    let gif = dir.path().join("a.gif");
    std::fs::write(&gif, b"GIF89a").expect("writes");
    for uri in [
        "sim://conveyor",
        "images://pictures",
        &format!("file://{}", gif.display()),
    ] {
        assert!(!needs(uri), "{uri}");
    }
}

#[test]
fn a_film_shows_the_scenes_pictures_again_and_again() {
    let camera = camera("sim://conveyor?seed=3&objects=2&size=64x64");
    let SourceUri::Simulated(scene) = &camera.uri else {
        panic!("simulated");
    };
    let film = Film::render(scene, 2).expect("renders");
    let mut rendered = open(&camera, &system_clocks()).expect("opens");
    let mut shown = open_with_film(&camera, &film, &system_clocks()).expect("opens");
    let (expected, got) = (drain(rendered.as_mut(), 2).frames, drain(shown.as_mut(), 5).frames);
    for (index, frame) in got.iter().enumerate() {
        assert_eq!(frame.image.bytes(), expected[index % 2].image.bytes(), "frame {index}");
    }
}
