//! Good files and descriptions: every frame, in its own format, uncopied, upright.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use super::super::super::{Flow, Read, Source, SourceEvent, spawn};
use super::super::GstSource;
use super::{Stopwatch, camera, drain, drain_camera, media, system_clocks};
use crate::config::{Camera, Pace, Repeat};
use crate::frame::{PixelFormat, YuvMatrix};
use crate::geometry::ImageSize;
use crate::time::CaptureTimeSource;

fn file(path: &std::path::Path) -> Camera {
    camera(&format!("file://{}", path.display()))
}

#[test]
fn every_frame_of_every_container_comes_once() {
    let dir = tempfile::tempdir().expect("dir");
    let audio = "audiotestsrc num-buffers=40 ! audio/x-raw,rate=44100 ! vorbisenc ! queue ! mux.";
    // The audio track is asked for first, and so is the first stream of the file.
    let audio_first = dir.path().join("audio_first.mkv");
    media::run(&format!(
        "matroskamux name=mux ! filesink location={} {audio} {} ! queue ! mux.",
        audio_first.display(),
        media::h264(40)
    ));
    let files = [
        audio_first,
        media::write(dir.path(), "a.mp4", &media::h264(40), "mp4mux"),
        media::write(dir.path(), "a b.mkv", &media::h264(40), "matroskamux"),
        media::write(dir.path(), "a.ts", &media::h264(40), "mpegtsmux"),
        media::write(dir.path(), "m.avi", &media::mjpeg(40), "avimux"),
    ];
    for path in files {
        let got = drain_camera(&file(&path));
        assert_eq!((got.error, got.damaged), (None, vec![]), "{}", path.display());
        assert_eq!(got.frames.len(), 40, "{}", path.display());
        for (n, pair) in got.frames.windows(2).enumerate() {
            let [a, b] = [0, 1].map(|i| pair[i].pts.expect("pts").nanos);
            assert!(
                (b - a - 40_000_000).abs() < 1_100_000,
                "{}: {n}: {a} {b}",
                path.display()
            );
        }
        let frame = &got.frames[0];
        assert_eq!(frame.image.size, ImageSize::new(160, 120));
        assert_eq!(frame.image.format, PixelFormat::I420);
        assert_eq!(frame.capture_time.source, CaptureTimeSource::Arrival);
        assert_eq!(frame.capture_time.mono_nanos, frame.arrival_mono_nanos);
    }
}

#[test]
fn a_description_keeps_its_format_and_its_matrix() {
    for (format, want) in [
        ("NV12", PixelFormat::Nv12),
        ("I420", PixelFormat::I420),
        ("YUY2", PixelFormat::Yuy2),
        ("RGB", PixelFormat::Rgb8),
        ("BGR", PixelFormat::Bgr8),
        ("GRAY8", PixelFormat::Gray8),
        // Not ours: converted to the nearest.
        ("BGRx", PixelFormat::Bgr8),
        ("Y42B", PixelFormat::Yuy2),
    ] {
        let description =
            format!("gst:videotestsrc num-buffers=2 ! video/x-raw,format={format},width=33,height=17,framerate=30/1");
        let got = drain_camera(&camera(&description));
        assert_eq!(got.error, None, "{format}");
        assert_eq!(got.frames.len(), 2, "{format}");
        assert_eq!(got.frames[0].image.format, want, "{format}");
        assert_eq!(got.frames[0].image.size, ImageSize::new(33, 17));
    }
    let hd = "gst:videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=64,height=48,colorimetry=bt709";
    assert_eq!(
        drain_camera(&camera(hd)).frames[0].image.matrix,
        YuvMatrix::Bt709Limited
    );
}

#[test]
fn the_picture_is_the_one_that_was_sent() {
    let red = "gst:videotestsrc num-buffers=1 pattern=red ! video/x-raw,format=RGB,width=31,height=9";
    let got = drain_camera(&camera(red));
    let image = &got.frames[0].image;
    for y in 0..9 {
        assert_eq!(image.row(0, y), [255, 0, 0].repeat(31), "row {y}");
    }
}

/// Addresses of the pixels that enter the elements between decoder and sink, and of those that are given.
fn addresses(camera: &Camera, most: usize) -> (Vec<usize>, Vec<usize>) {
    let mut source = GstSource::open(camera, &system_clocks(), None).expect("opens");
    let sent = Arc::new(Mutex::new(Vec::new()));
    let converter = source
        .built
        .pipeline
        .iterate_recurse()
        .into_iter()
        .flatten()
        .find(|e| e.factory().is_some_and(|f| f.name() == "videoconvert"))
        .expect("videoconvert");
    let seen = sent.clone();
    converter
        .static_pad("sink")
        .expect("pad")
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                let address = buffer.map_readable().expect("maps").as_ptr() as usize;
                seen.lock().expect("lock").push(address);
            }
            gst::PadProbeReturn::Ok
        });
    let got = drain(&mut source, most);
    let given = got.frames.iter().map(|f| f.image.bytes().as_ptr() as usize).collect();
    let sent = sent.lock().expect("lock").clone();
    (sent, given)
}

#[test]
fn no_pixel_is_copied_between_decoder_and_frame() {
    let dir = tempfile::tempdir().expect("dir");
    // 162: rows that a decoder pads.
    let odd = media::h264(12).replace("width=160", "width=162");
    let path = media::write(dir.path(), "a.mp4", &odd, "mp4mux");
    let mut looped = file(&path);
    looped.repeat = Repeat::Loop;
    let raw = "gst:videotestsrc num-buffers=20 ! video/x-raw,format=NV12,width=162,height=120,framerate=30/1";
    for camera in [looped, camera(raw)] {
        // The first few may have passed before the probe was set.
        let (sent, given) = addresses(&camera, 12);
        let uncopied = given.iter().filter(|address| sent.contains(address)).count();
        assert!(uncopied >= 8, "{}: {uncopied} of {}", camera.uri, given.len());
    }
}

#[test]
fn rotation_tags_are_honoured() {
    // Left half white, right half black, then tagged.
    let tagged = |tag: &str| {
        format!(
            "gst:videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,format=GRAY8,width=64,height=32,framerate=5/1 \
             ! taginject tags=\"image-orientation={tag}\""
        )
    };
    let image = |tag: &str| drain_camera(&camera(&tagged(tag))).frames.remove(0).image;
    let upright = image("rotate-0");
    assert_eq!(upright.size, ImageSize::new(64, 32));
    let turned = image("rotate-90");
    assert_eq!(turned.size, ImageSize::new(32, 64));
    let half = image("rotate-180");
    for (x, y) in [(0, 0), (63, 0), (13, 7), (40, 31)] {
        let pixel = upright.row(0, y)[x];
        // Clockwise: the left edge becomes the upper one.
        assert_eq!(turned.row(0, x)[31 - y], pixel, "{x},{y}");
        assert_eq!(half.row(0, 31 - y)[63 - x], pixel, "{x},{y}");
    }
}

#[test]
fn the_rotation_of_an_mp4_is_honoured() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mp4", &media::h264(3), "mp4mux");
    let mut bytes = std::fs::read(&path).expect("reads");
    // A phone held upright: the track header's matrix turns by 90 degrees clockwise.
    let tkhd = bytes.windows(4).position(|w| w == b"tkhd").expect("tkhd");
    let matrix = tkhd + 4 + 40;
    let turned: [u32; 9] = [0, 0x1_0000, 0, 0xffff_0000, 0, 0, 0, 0, 0x4000_0000];
    for (n, value) in turned.into_iter().enumerate() {
        bytes[matrix + 4 * n..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(&path, bytes).expect("writes");
    let got = drain_camera(&file(&path));
    assert_eq!(got.frames.len(), 3);
    assert_eq!(got.frames[0].image.size, ImageSize::new(120, 160));
}

#[test]
fn a_paced_file_takes_its_time() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mkv", &media::h264(25), "matroskamux");
    let mut camera = file(&path);
    camera.pace = Pace::RealTime;
    let got = drain_camera(&camera);
    assert_eq!((got.error, got.frames.len()), (None, 25));
    let times: Vec<i64> = got.frames.iter().map(|f| f.capture_time.mono_nanos).collect();
    let took = (times[24] - times[0]) as f64 / 1e9;
    // 24 periods of 40 ms; the machine may be busy at either end.
    assert!((0.75..1.6).contains(&took), "{took} s");
    assert!(times.windows(2).all(|w| w[1] > w[0]));
}

#[test]
fn a_looped_file_goes_on_and_on() {
    let dir = tempfile::tempdir().expect("dir");
    let mp4 = media::write(dir.path(), "a.mp4", &media::h264(10), "mp4mux");
    let avi = media::write(dir.path(), "a.avi", &media::mjpeg(10), "avimux");
    for path in [mp4, avi] {
        let mut camera = file(&path);
        camera.repeat = Repeat::Loop;
        let mut source = GstSource::open(&camera, &system_clocks(), None).expect("opens");
        let frames = drain(&mut source, 35).frames;
        assert_eq!(frames.len(), 35, "{}", path.display());
        let first: Vec<i64> = frames.iter().map(|f| f.pts.expect("pts").nanos).collect();
        for n in 10..35 {
            assert_eq!(first[n], first[n % 10], "{}: frame {n}", path.display());
        }
        assert_eq!(source.nominal_period(), Some(Duration::from_millis(40)));
    }
}

#[test]
fn an_unpaced_reader_that_pauses_loses_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mkv", &media::h264(30), "matroskamux");
    let mut source = GstSource::open(&file(&path), &system_clocks(), None).expect("opens");
    let started = Stopwatch::start();
    let mut frames = 0;
    loop {
        match source.read(Duration::from_millis(200)).expect("reads") {
            Read::Frame(_) => {
                frames += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Read::End => break,
            _ => assert!(started.elapsed() < Duration::from_secs(20)),
        }
    }
    assert_eq!(frames, 30);
}

#[test]
fn a_live_description_is_live_and_stamped_as_it_arrives() {
    let live = "gst:videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=50/1";
    let mut source = GstSource::open(&camera(live), &system_clocks(), None).expect("opens");
    assert_eq!(source.nature(), super::super::super::Nature::Live);
    let frames = drain(&mut source, 10).frames;
    for pair in frames.windows(2) {
        let step = pair[1].arrival_mono_nanos - pair[0].arrival_mono_nanos;
        assert!((15_000_000..25_000_000).contains(&step), "{step}");
        assert!(pair[1].arrival_mono_nanos <= pair[1].decoded_mono_nanos);
    }
}

/// Runs a camera under its supervisor until `frames` frames came, or it ended: arrival times, and what else it said.
fn supervised(camera: Camera, frames: usize) -> (Vec<i64>, Vec<String>) {
    let (give, take) = crossbeam_channel::bounded(10_000);
    let handle = spawn(camera, system_clocks(), move |event| match give.send(event) {
        Ok(()) => Flow::Continue,
        Err(_) => Flow::Stop,
    })
    .expect("spawns");
    let (mut times, mut said) = (Vec::new(), Vec::new());
    while times.len() < frames {
        match take.recv_timeout(Duration::from_secs(20)).expect("event") {
            SourceEvent::Frame(frame) => {
                times.push(frame.arrival_mono_nanos);
                assert_eq!(frame.frame_number, times.len() as u64);
            }
            SourceEvent::State { state, .. } => said.push(state.to_string()),
            SourceEvent::Damaged { detail, .. } => said.push(detail),
            SourceEvent::Stalled { .. } => said.push("stalled".to_owned()),
            SourceEvent::Ended { error } => {
                said.push(format!("ended {error:?}"));
                break;
            }
        }
    }
    assert!(handle.join());
    (times, said)
}

#[test]
fn a_paced_file_ends_as_a_state() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mp4", &media::h264(15), "mp4mux");
    let mut camera = file(&path);
    camera.pace = Pace::RealTime;
    let (times, mut said) = supervised(camera, usize::MAX);
    assert_eq!(times.len(), 15);
    // Loading GStreamer's plugins may take longer than the 150 ms after which frames are missed.
    said.retain(|what| what != "stalled");
    assert_eq!(said, ["CONNECTING", "STREAMING", "OFFLINE", "ended None"]);
}

#[test]
fn a_paced_loop_has_no_long_gap() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mp4", &media::h264(10), "mp4mux");
    let mut camera = file(&path);
    camera.pace = Pace::RealTime;
    camera.repeat = Repeat::Loop;
    let (times, _) = supervised(camera, 45);
    let gaps: Vec<i64> = times.windows(2).map(|w| (w[1] - w[0]) / 1_000_000).collect();
    eprintln!("ms between frames of a loop of ten: {gaps:?}");
    // Generous: four other tests may run on the same two cores.
    assert!(gaps.iter().all(|ms| *ms < 500), "{gaps:?}");
    let took = times[44] - times[0];
    assert!(took > 44 * 38_000_000, "{took}");
}
