//! Pictures that GStreamer has on the device stay there: its cudaupload stands for a decoder. The test proper runs in a
//! process of its own, where the stand-in is the driver from the start, since GStreamer looks for CUDA once.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use maskcast::config::{Camera, Pace, Repeat};
use maskcast::device::{DeviceShare, Kernels, UploadRing};
use maskcast::frame::{Image, Residence};
use maskcast::geometry::{ImageSize, Letterbox, Resampling};
use maskcast::names::CameraId;
use maskcast::preprocess::{DevicePreprocess, Normalise, PictureTable, Preprocessor, launch};
use maskcast::source::{self, Read, Source};
use maskcast::time::{Clocks, SystemClocks};

use crate::{device, standin};

const IN_CHILD: &str = "MASKCAST_TEST_GST_CUDA_CHILD";
/// Stands for a decoder on the GPU.
const UPLOADED: &str = " ! cudaupload ! video/x-raw(memory:CUDAMemory)";
const NORMALISE: Normalise = Normalise {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// Runs the ignored test `name` of this file in a process where the stand-in's folder is on the library path.
fn in_child(name: &str) {
    let folder = std::env::var_os("MASKCAST_CUDA_STANDIN")
        .map(PathBuf::from)
        .unwrap_or_default();
    for library in ["libcuda.so.1", "libnvcuvid.so.1"] {
        assert!(
            folder.join(library).is_file(),
            "MASKCAST_CUDA_STANDIN names no folder with {library}: run `make cuda-standin`"
        );
    }
    // GStreamer remembers which elements it has found, or not.
    let registry = tempfile::tempdir().unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("LD_LIBRARY_PATH", &folder)
        .env("GST_REGISTRY", registry.path().join("registry.bin"))
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

#[test]
fn frames_are_taken_where_they_are() {
    in_child("gst_cuda::child_frames_are_taken_where_they_are");
}

#[test]
fn buffers_go_back_to_their_pool() {
    in_child("gst_cuda::child_buffers_go_back_to_their_pool");
}

fn open(pictures: &str, share: Option<&DeviceShare>) -> Box<dyn Source> {
    let camera = Camera {
        id: CameraId::new("dock-3").unwrap(),
        uri: format!("gst:{pictures}").parse().unwrap(),
        pace: Pace::Unpaced,
        repeat: Repeat::Once,
        max_rate_hz: None,
        valid_for: Duration::from_millis(300),
        arrival_delay: Duration::ZERO,
        rtsp_latency: Duration::from_millis(60),
        stall_timeout: Duration::from_secs(5),
    };
    let clocks: Arc<dyn Clocks> = Arc::new(SystemClocks);
    source::open_on(&camera, &clocks, share).unwrap()
}

/// The next picture; `None` at the end.
fn next(source: &mut dyn Source) -> Option<Image> {
    for _ in 0..100 {
        match source.read(Duration::from_millis(200)).unwrap() {
            Read::Frame(frame) => return Some(frame.image),
            Read::Idle => {}
            Read::End => return None,
            Read::Damaged { detail } => panic!("{detail}"),
        }
    }
    panic!("no frame within 20 s");
}

fn pattern(format: &str, frames: u32, tail: &str) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=smpte horizontal-speed=3 ! \
         video/x-raw,format={format},width=644,height=482,framerate=30/1,colorimetry=bt709{tail}"
    )
}

#[test]
#[ignore = "run by frames_are_taken_where_they_are"]
fn child_frames_are_taken_where_they_are() {
    assert!(std::env::var_os(IN_CHILD).is_some());
    let device = device();
    let share = DeviceShare::new(&device).unwrap();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let network = ImageSize::new(160, 128);
    let kernel = DevicePreprocess::new(&kernels, NORMALISE, network, 1).unwrap();
    let mut table = PictureTable::new(&device, 1).unwrap();
    let mut ring = UploadRing::new(&device, "pictures", 2).unwrap();
    let stream = device.stream("engine").unwrap();
    let area = network.area() as usize;
    let mut out = device.buffer("input", area * launch::CHANNELS).unwrap();
    let host = Preprocessor::new(NORMALISE, Resampling::Bilinear);
    for format in ["NV12", "I420"] {
        let mut on_device = open(&pattern(format, 20, UPLOADED), Some(&share));
        let mut on_host = open(&pattern(format, 20, ""), Some(&share));
        let mut frames = 0;
        while let (Some(picture), Some(expected)) = (next(on_device.as_mut()), next(on_host.as_mut())) {
            assert_eq!(
                (picture.residence(), expected.residence()),
                (Residence::Device, Residence::Host)
            );
            assert_eq!(
                (picture.format, picture.matrix, picture.size),
                (expected.format, expected.matrix, expected.size)
            );
            assert!(picture.planes[0].row_pitch > 644, "rows lie as the device wants them");

            let letterbox = Letterbox::fit(picture.size, network).unwrap();
            stream.fill(out.slice_mut(), 0xff).unwrap();
            let shown = picture.to_device(&mut ring).unwrap();
            table.put(&stream, vec![Some((shown, letterbox))]).unwrap();
            kernel
                .enqueue(&stream, table.params(), launch::output(&mut out, area).unwrap())
                .unwrap();
            table.mark(&stream).unwrap();
            let got = device.download(out.slice()).unwrap();
            let mut planes = vec![0.0; 3 * area];
            host.run_plain(&expected, &letterbox, &mut planes).unwrap();
            for (i, position) in got.chunks_exact(launch::CHANNELS).enumerate() {
                for (channel, value) in position.iter().enumerate() {
                    let wanted = planes.get(channel * area + i).copied().unwrap_or(0.0);
                    let wanted = if channel < 3 {
                        half::f16::from_f32(wanted)
                    } else {
                        half::f16::ZERO
                    };
                    assert_eq!(
                        value.to_bits(),
                        wanted.to_bits(),
                        "{format} frame {frames}, position {i}"
                    );
                }
            }
            // What a recorder sees of it.
            let back = picture.to_host().unwrap();
            for (plane, (_, rows)) in picture.format.plane_extents(picture.size).into_iter().enumerate() {
                for row in 0..rows {
                    assert_eq!(
                        back.row(plane, row),
                        expected.row(plane, row),
                        "{format} plane {plane} row {row}"
                    );
                }
            }
            assert_eq!(back.bytes().as_ptr(), picture.bytes().as_ptr(), "copied once");
            frames += 1;
        }
        assert_eq!(frames, 20);
    }
    assert_eq!(ring.uploads(), 0, "nothing travelled through the host");
}

/// Bytes that the stand-in's driver has handed out, those of GStreamer's included.
fn live_bytes() -> usize {
    // SAFETY: the stand-in exports this function, which takes nothing.
    unsafe {
        let count = standin()
            .get::<unsafe extern "C" fn() -> usize>(b"cuda_standin_live_bytes\0")
            .unwrap();
        count()
    }
}

/// The most pictures that are out of the pool at a time: held by the test, waiting in the sink, on their way there, and one
/// that an element may keep. How many of them are, and when first, is for threads to say: the pool may grow late.
const OUT: usize = 4 + 3 + 1 + 1;
/// What GStreamer allocates for one: the stand-in's rows are of 1024 bytes, and those of the colours as many as those of
/// the brightness.
const PICTURE_BYTES: usize = 1024 * 2 * 482;

#[test]
#[ignore = "run by buffers_go_back_to_their_pool"]
fn child_buffers_go_back_to_their_pool() {
    assert!(std::env::var_os(IN_CHILD).is_some());
    let device = device();
    let at_start = live_bytes();
    let share = DeviceShare::new(&device).unwrap();
    let mut source = open(&pattern("NV12", 200, UPLOADED), Some(&share));
    let (mut held, mut frames) = (std::collections::VecDeque::new(), 0);
    while let Some(picture) = next(source.as_mut()) {
        assert_eq!(picture.residence(), Residence::Device);
        held.push_back(picture);
        if held.len() > 3 {
            held.pop_front();
        }
        frames += 1;
        let taken = live_bytes() - at_start;
        assert!(taken >= PICTURE_BYTES, "{taken}");
        assert!(taken <= OUT * PICTURE_BYTES, "{taken} after {frames} pictures");
    }
    assert_eq!(frames, 200);
    // A picture outlives the source it came from.
    let last = held.pop_back().unwrap();
    drop((held, source, share));
    assert_eq!(last.to_host().unwrap().row(0, 0).len(), 644);
    drop(last);
    assert_eq!(live_bytes(), at_start);
}

#[test]
fn without_the_drivers_libraries_pictures_come_through_the_host() {
    // This process has the stand-in, but GStreamer found no CUDA elements: a share changes nothing for other sources.
    let device = device();
    match DeviceShare::new(&device) {
        Ok(share) => {
            let mut source = open(&pattern("NV12", 3, ""), Some(&share));
            assert_eq!(next(source.as_mut()).unwrap().residence(), Residence::Host);
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.contains("libgstcuda") && words.contains("install"), "{words}");
        }
    }
}
