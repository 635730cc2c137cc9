//! What reading costs. Not a test of anything: `make bench`.

use super::super::super::{Read, Source};
use super::super::GstSource;
use super::{camera, media, system_clocks};
use crate::time::{Clocks, SystemClocks};

/// CPU time of this process, milliseconds, to 10 ms.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    // User and system ticks of 1/100 s are the 14th and 15th field; the 2nd, in brackets, may hold spaces.
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|ticks| 10.0 * ticks.parse::<f64>().expect("ticks"))
        .sum()
}

#[test]
#[ignore = "a measurement"]
fn bench_cpu_of_a_640x480_frame() {
    let dir = tempfile::tempdir().expect("dir");
    let size = |video: String| video.replace("width=160,height=120", "width=640,height=480");
    let mp4 = media::write(dir.path(), "a.mp4", &size(media::h264(600)), "mp4mux");
    let avi = media::write(dir.path(), "a.avi", &size(media::mjpeg(600)), "avimux");
    let raw =
        "gst:videotestsrc pattern=black num-buffers=600 ! video/x-raw,format=NV12,width=640,height=480 ! identity";
    for uri in [
        format!("file://{}", mp4.display()),
        format!("file://{}", avi.display()),
        raw.to_owned(),
    ] {
        let mut source = GstSource::open(&camera(&uri), &system_clocks(), None).expect("opens");
        let (cpu, wall, mut frames) = (cpu_ms(), SystemClocks.mono_nanos(), 0u32);
        loop {
            match source.read(std::time::Duration::from_secs(1)).expect("reads") {
                Read::Frame(_) => frames += 1,
                Read::End => break,
                _ => {}
            }
        }
        let wall = (SystemClocks.mono_nanos() - wall) as f64 / 1e6;
        let n = f64::from(frames);
        let kind = uri.rsplit('.').next().unwrap_or("");
        eprintln!(
            "{kind}: {frames} frames, CPU {:.3} ms, wall {:.3} ms each",
            (cpu_ms() - cpu) / n,
            wall / n
        );
    }
}
