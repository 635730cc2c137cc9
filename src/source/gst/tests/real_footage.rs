//! Real footage from `MASKCAST_DATA`; frame counts as ffprobe counts them.

use std::path::PathBuf;

use super::{camera, drain};
use crate::frame::{PixelFormat, YuvMatrix};
use crate::geometry::ImageSize;
use crate::time::{Clocks, SystemClocks};

fn videos() -> Option<PathBuf> {
    let data = std::env::var_os("MASKCAST_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let videos = data.join("video");
    if !videos.is_dir() {
        eprintln!("not run: no data at {}", videos.display());
        return None;
    }
    Some(videos)
}

#[test]
fn every_frame_of_real_footage_is_read() {
    let Some(dir) = videos() else { return };
    for (name, size, frames, format, matrix) in [
        (
            "intel_bottle-detection.mp4",
            (640, 360),
            1189,
            PixelFormat::I420,
            YuvMatrix::Bt601Limited,
        ),
        (
            "intel_car-detection.mp4",
            (768, 432),
            377,
            PixelFormat::I420,
            YuvMatrix::Bt601Limited,
        ),
        (
            "intel_one-by-one-person-detection.mp4",
            (768, 432),
            1394,
            PixelFormat::I420,
            YuvMatrix::Bt601Limited,
        ),
        (
            "udacity_carnd_test_video.mp4",
            (1280, 720),
            38,
            PixelFormat::I420,
            YuvMatrix::Bt709Limited,
        ),
        (
            "intel_preview_fruit-and-vegetable-detection.gif",
            (480, 270),
            101,
            PixelFormat::Rgb8,
            YuvMatrix::Bt601Limited,
        ),
        (
            "intel_preview_people-detection.gif",
            (480, 270),
            23,
            PixelFormat::Rgb8,
            YuvMatrix::Bt601Limited,
        ),
        (
            "intel_preview_worker-zone-detection.gif",
            (480, 270),
            71,
            PixelFormat::Rgb8,
            YuvMatrix::Bt601Limited,
        ),
    ] {
        let camera = camera(&format!("file://{}", dir.join(name).display()));
        let started = SystemClocks.mono_nanos();
        let mut source = super::super::super::open(&camera, &super::system_clocks()).expect(name);
        let (mut seen, mut last) = (0, None);
        loop {
            // One at a time: 1189 pictures at once would be half a gigabyte.
            let got = drain(source.as_mut(), 1);
            assert_eq!((got.error, got.damaged), (None, vec![]), "{name}");
            let Some(frame) = got.frames.first() else { break };
            assert_eq!(frame.image.size, ImageSize::new(size.0, size.1), "{name}");
            assert_eq!(frame.image.format, format, "{name}");
            // RGB has no matrix.
            assert!(format == PixelFormat::Rgb8 || frame.image.matrix == matrix, "{name}");
            // The first two of one GIF have the same.
            assert!(frame.pts >= last, "{name}: {:?} after {last:?}", frame.pts);
            last = frame.pts;
            seen += 1;
        }
        assert_eq!(seen, frames, "{name}");
        let took = (SystemClocks.mono_nanos() - started) as f64 / 1e6;
        eprintln!("{name}: {seen} frames, {:.2} ms each", took / f64::from(seen));
    }
}

#[test]
fn a_gif_loops() {
    let Some(dir) = videos() else { return };
    let path = dir.join("intel_preview_people-detection.gif");
    let mut camera = camera(&format!("file://{}", path.display()));
    camera.repeat = crate::config::Repeat::Loop;
    let mut source = super::super::super::open(&camera, &super::system_clocks()).expect("opens");
    assert_eq!(drain(source.as_mut(), 60).frames.len(), 60);
}
