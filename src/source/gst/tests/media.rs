//! Small videos, written with GStreamer.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gstreamer as gst;

/// `count` frames of 160x120 at 25/s, H.264 with a key frame each 10.
pub(super) fn h264(count: u32) -> String {
    format!(
        "videotestsrc pattern=ball num-buffers={count} ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 \
         ! x264enc key-int-max=10 speed-preset=ultrafast threads=1 ! h264parse"
    )
}

/// The same, each frame a JPEG.
pub(super) fn mjpeg(count: u32) -> String {
    format!(
        "videotestsrc pattern=ball num-buffers={count} ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 \
         ! jpegenc"
    )
}

/// Runs a description to its end.
pub(super) fn run(description: &str) {
    gst::init().expect("GStreamer");
    let pipeline = gst::parse::launch(description).expect(description);
    pipeline.set_state(gst::State::Playing).expect("plays");
    let bus = pipeline.bus().expect("bus");
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(30),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).expect("stops");
    if let gst::MessageView::Error(e) = message.expect("ends within 30 s").view() {
        panic!("{description}: {} {:?}", e.error(), e.debug());
    }
}

/// `<video> ! <muxer> ! file`.
pub(super) fn write(dir: &Path, name: &str, video: &str, muxer: &str) -> PathBuf {
    let path = dir.join(name);
    run(&format!("{video} ! {muxer} ! filesink location=\"{}\"", path.display()));
    path
}

/// Keeps the first `keep` of a file.
pub(super) fn cut(path: &Path, keep: f64) -> PathBuf {
    let bytes = std::fs::read(path).expect("reads");
    let cut = path.with_file_name(format!("cut_{}", path.file_name().expect("name").to_string_lossy()));
    std::fs::write(&cut, &bytes[..(bytes.len() as f64 * keep) as usize]).expect("writes");
    cut
}

/// Where each JPEG of a file starts.
pub(super) fn jpeg_starts(bytes: &[u8]) -> Vec<usize> {
    let starts = bytes.windows(3).enumerate().filter(|(_, w)| *w == [0xff, 0xd8, 0xff]);
    starts.map(|(at, _)| at).collect()
}
