//! Bad input: each gives a clear error that names camera and file, or a damaged frame, and nothing else stops.

use std::path::Path;

use super::super::super::Fault;
use super::{Outcome, camera, drain_camera, media};
use crate::config::{Pace, Repeat};

fn read(path: &Path) -> Outcome {
    drain_camera(&camera(&format!("file://{}", path.display())))
}

fn said(outcome: &Outcome) -> String {
    outcome.error.as_ref().expect("error").to_string()
}

#[test]
fn files_that_are_none_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let absent = said(&read(&dir.path().join("absent.mp4")));
    assert!(absent.starts_with("camera dock-3 (file://"), "{absent}");
    assert!(absent.ends_with("absent.mp4 does not exist"), "{absent}");
    let folder = said(&read(dir.path()));
    assert!(
        folder.contains("is a folder") && folder.contains("images://"),
        "{folder}"
    );
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, b"").expect("writes");
    assert!(said(&read(&empty)).contains("is empty (0 bytes)"));
    let junk = dir.path().join("junk.mp4");
    std::fs::write(&junk, (0..40_000u32).map(|n| (n * n / 7) as u8).collect::<Vec<_>>()).expect("writes");
    let junk = read(&junk);
    assert!(junk.frames.is_empty());
    assert!(said(&junk).contains("junk.mp4"), "{}", said(&junk));
}

#[test]
fn a_cut_file_gives_its_frames_and_then_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    let video = media::h264(50);
    for (name, muxer, video) in [
        ("a.mkv", "matroskamux", &video),
        ("fast.mp4", "mp4mux faststart=true", &video),
        ("a.avi", "avimux", &media::mjpeg(50)),
    ] {
        let whole = media::write(dir.path(), name, video, muxer);
        let got = read(&media::cut(&whole, 0.6));
        let frames = got.frames.len() + got.damaged.len();
        assert!((15..50).contains(&frames), "{name}: {frames} frames");
        let error = got.error.expect(name);
        assert!(matches!(error.fault, Fault::Truncated { .. }), "{name}: {error}");
        assert!(error.to_string().contains("is cut short"), "{error}");
    }
}

#[test]
fn a_cut_mp4_without_its_index_gives_an_error() {
    let dir = tempfile::tempdir().expect("dir");
    let whole = media::write(dir.path(), "a.mp4", &media::h264(30), "mp4mux");
    let got = read(&media::cut(&whole, 0.6));
    assert!(got.frames.is_empty());
    assert!(said(&got).contains("cut_a.mp4"), "{}", said(&got));
}

#[test]
fn a_cut_file_that_loops_goes_on() {
    let dir = tempfile::tempdir().expect("dir");
    let whole = media::write(dir.path(), "a.mkv", &media::h264(50), "matroskamux");
    let cut = media::cut(&whole, 0.6);
    let mut looped = camera(&format!("file://{}", cut.display()));
    looped.repeat = Repeat::Loop;
    let mut source = super::super::GstSource::open(&looped, &super::system_clocks(), None).expect("opens");
    assert_eq!(super::drain(&mut source, 120).frames.len(), 120);
}

#[test]
fn corrupt_jpeg_frames_are_damaged_in_their_place_and_the_stream_goes_on() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "m.avi", &media::mjpeg(30), "avimux");
    let good = std::fs::read(&path).expect("reads");
    let starts = media::jpeg_starts(&good);
    assert_eq!(starts.len(), 30);
    let mut bad = good.clone();
    // 10: no start. 15: its last third zeroed, end marker included. 20: junk that no decoder takes. 21: a stray marker.
    bad[starts[10]..starts[10] + 64].fill(0);
    let end = starts[16] - 8;
    let cut = starts[15] + (end - starts[15]) * 2 / 3;
    bad[cut..end].fill(0);
    bad[starts[20]..starts[20] + 700].fill(0x55);
    let stray = starts[21] + (starts[22] - starts[21]) * 3 / 4;
    bad[stray..stray + 2].copy_from_slice(&[0xff, 0x42]);
    std::fs::write(&path, bad).expect("writes");

    let uri = format!("file://{}", path.display());
    for pace in [Pace::Unpaced, Pace::RealTime] {
        let mut camera = camera(&uri);
        camera.pace = pace;
        let mut source = super::super::GstSource::open(&camera, &super::system_clocks(), None).expect("opens");
        let mut order = String::new();
        loop {
            use super::super::super::{Read, Source};
            match source.read(std::time::Duration::from_millis(100)).expect("goes on") {
                Read::Frame(_) => order.push('.'),
                Read::Damaged { .. } => order.push('x'),
                Read::Idle => {}
                Read::End => break,
            }
        }
        assert_eq!(order, "..........x....x....xx........", "{pace:?}");
    }
}

#[test]
fn corrupt_h264_goes_on_to_its_end() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mkv", &media::h264(40), "matroskamux");
    let mut bytes = std::fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].iter_mut().for_each(|b| *b ^= 0x5a);
    std::fs::write(&path, bytes).expect("writes");
    let got = read(&path);
    assert_eq!(got.error, None);
    // libav paints over what it cannot decode, and says so of some frames only.
    let frames = got.frames.len() + got.damaged.len();
    assert!((30..=40).contains(&frames), "{frames}");
}

#[test]
fn odd_sizes_are_read() {
    let dir = tempfile::tempdir().expect("dir");
    let video = media::mjpeg(3).replace("width=160,height=120", "width=33,height=17");
    let got = read(&media::write(dir.path(), "odd.avi", &video, "avimux"));
    assert_eq!(got.error, None);
    assert_eq!(got.frames[2].image.size, crate::geometry::ImageSize::new(33, 17));
}

#[test]
fn a_file_of_only_corrupt_frames_gives_an_error() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "m.avi", &media::mjpeg(12), "avimux");
    let mut bytes = std::fs::read(&path).expect("reads");
    for start in media::jpeg_starts(&bytes) {
        bytes[start..start + 300].fill(0x55);
    }
    std::fs::write(&path, bytes).expect("writes");
    let got = read(&path);
    assert_eq!((got.frames.len(), got.damaged.len()), (0, 12));
    assert!(said(&got).contains("without a single frame"), "{}", said(&got));
}

#[test]
fn a_file_without_video_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.ogg", "audiotestsrc num-buffers=20 ! vorbisenc", "oggmux");
    assert!(
        said(&read(&path)).contains("there is no video in it"),
        "{}",
        said(&read(&path))
    );
}

#[test]
fn a_codec_that_nothing_here_decodes_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let path = media::write(dir.path(), "a.mkv", &media::h264(5), "matroskamux");
    let mut bytes = std::fs::read(&path).expect("reads");
    let codec = bytes.windows(15).position(|w| w == b"V_MPEG4/ISO/AVC").expect("codec");
    bytes[codec..codec + 15].copy_from_slice(b"V_NONSENSE/ABCD");
    std::fs::write(&path, bytes).expect("writes");
    let error = read(&path).error.expect("error");
    assert!(matches!(error.fault, Fault::MissingPlugin { .. }), "{error}");
    assert!(error.to_string().contains("install gstreamer1.0-"), "{error}");
}

#[test]
fn descriptions_that_cannot_be_are_refused() {
    let of = |uri: &str| drain_camera(&camera(uri)).error.expect(uri);
    let missing = of("gst:frobnicate ! videoconvert");
    assert!(missing.to_string().contains("element \"frobnicate\""), "{missing}");
    assert!(missing.fault.is_permanent());
    for wrong in [
        "gst:videotestsrc !",
        "gst:videotestsrc frobnicate=1",
        "gst:videotestsrc ! ! fakesink",
        "gst:fakesink",
        "gst:audiotestsrc",
    ] {
        let error = of(wrong);
        assert!(matches!(error.fault, Fault::Description { .. }), "{wrong}: {error}");
    }
    let secret = of("gst:rtspsrc location=rtsp://u:secret@127.0.0.1:9/x frobnicate=1");
    assert!(!secret.to_string().contains("secret"), "{secret}");
}

#[test]
fn absent_devices_are_named() {
    let error = drain_camera(&camera("v4l2:///dev/video-absent")).error.expect("error");
    assert!(
        error.to_string().contains("/dev/video-absent does not exist"),
        "{error}"
    );
}
