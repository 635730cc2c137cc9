//! An RTSP server on loopback, killed for real and started again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use gstreamer as gst;
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::prelude::*;

use super::super::super::{Flow, SourceEvent, SourceHandle, SourceState, spawn};
use super::{Stopwatch, camera, system_clocks};
use crate::config::{Camera, Pace};
use crate::frame::Frame;
use crate::geometry::ImageSize;
use crate::time::CaptureTimeSource;

const PORT: &str = "MASKCAST_TEST_RTSP_PORT";

/// Not a test: the process that `Server` starts and kills.
#[test]
#[ignore = "the RTSP server of the other tests"]
fn rtsp_server_process() {
    let Ok(port) = std::env::var(PORT) else { return };
    gst::init().expect("GStreamer");
    let server = rtsp_server::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&port);
    let video = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 \
                 ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=10 \
                 ! rtph264pay name=pay0 pt=96 config-interval=1";
    let audio = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0";
    let mounts = server.mount_points().expect("mounts");
    for (mount, launch) in [
        ("/stream", format!("( {video} )")),
        ("/with_audio", format!("( {video} {audio} )")),
    ] {
        let factory = rtsp_server::RTSPMediaFactory::new();
        factory.set_shared(true);
        factory.set_launch(&launch);
        mounts.add_factory(mount, factory);
    }
    let _attached = server.attach(None).expect("attaches");
    let parent = std::os::unix::process::parent_id();
    let main_loop = gst::glib::MainLoop::new(None, false);
    let leave = main_loop.clone();
    // Not to outlive a test that was killed.
    gst::glib::timeout_add(Duration::from_millis(500), move || {
        if std::os::unix::process::parent_id() != parent {
            leave.quit();
        }
        gst::glib::ControlFlow::Continue
    });
    main_loop.run();
}

struct Server {
    process: Child,
}

impl Server {
    fn start(port: u16) -> Server {
        let process = Command::new(std::env::current_exe().expect("own path"))
            .args(["source::gst::tests::rtsp::rtsp_server_process", "--exact", "--ignored"])
            .env(PORT, port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let started = Stopwatch::start();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "the RTSP server does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Server { process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("kills");
        self.process.wait().expect("is gone");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("address").port()
}

fn rtsp_camera(port: u16) -> Camera {
    let mut camera = camera(&format!("rtsp://user:secret@127.0.0.1:{port}/stream"));
    camera.pace = Pace::RealTime;
    camera.stall_timeout = Duration::from_secs(2);
    camera
}

struct Watched {
    handle: SourceHandle,
    events: Receiver<SourceEvent>,
    log: Vec<String>,
    numbers: Vec<u64>,
    stalled: usize,
}

impl Watched {
    fn start(camera: Camera) -> Watched {
        let (give, events) = bounded(10_000);
        let on_event = move |event| match give.send(event) {
            Ok(()) => Flow::Continue,
            Err(_) => Flow::Stop,
        };
        Watched {
            handle: spawn(camera, system_clocks(), on_event).expect("spawns"),
            events,
            log: Vec::new(),
            numbers: Vec::new(),
            stalled: 0,
        }
    }

    /// Reads events until one is as wanted.
    fn until(&mut self, what: &str, within: Duration, mut wanted: impl FnMut(&SourceEvent) -> bool) -> SourceEvent {
        let started = Stopwatch::start();
        loop {
            let left = within.saturating_sub(started.elapsed());
            let event = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|e| panic!("{what}: {e} after {:?}: {:#?}", started.elapsed(), self.log));
            match &event {
                SourceEvent::Frame(frame) => self.numbers.push(frame.frame_number),
                SourceEvent::Damaged { frame_number, .. } => self.numbers.push(*frame_number),
                SourceEvent::Stalled { .. } => self.stalled += 1,
                SourceEvent::State { state, detail, .. } => self.log.push(format!("{state} {detail}")),
                SourceEvent::Ended { error } => self.log.push(format!("ended {error:?}")),
            }
            if wanted(&event) {
                return event;
            }
        }
    }

    fn frame(&mut self, what: &str, within: Duration, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        match self.until(what, within, |e| matches!(e, SourceEvent::Frame(f) if wanted(f))) {
            SourceEvent::Frame(frame) => frame,
            _ => unreachable!("only frames are wanted"),
        }
    }
}

#[test]
fn a_killed_server_comes_back_and_frame_numbers_go_on() {
    let port = free_port();
    let server = Server::start(port);
    let mut watched = Watched::start(rtsp_camera(port));
    let within = Duration::from_secs(15);

    let first = watched.frame("first frame", within, |_| true);
    assert_eq!(first.frame_number, 1);
    assert_eq!(first.image.size, ImageSize::new(160, 120));
    // Until the first sender report the camera's clock is not known.
    assert_eq!(first.capture_time.source, CaptureTimeSource::Arrival);
    let rtcp = watched.frame("RTCP capture time", within, |f| {
        f.capture_time.source == CaptureTimeSource::Rtcp
    });
    // The server's clock is this host's: the frame was captured shortly before it came.
    let age = rtcp.arrival_mono_nanos - rtcp.capture_time.mono_nanos;
    assert!((-100_000_000..1_000_000_000).contains(&age), "{age} ns");
    assert!(watched.handle.stats().camera_clock_offset_nanos.is_some());

    let decoding = (rtcp.decoded_mono_nanos - rtcp.arrival_mono_nanos) as f64 / 1e6;
    eprintln!(
        "RTSP: {decoding:.1} ms from first packet to pixels, {:.1} ms from capture to arrival",
        age as f64 / 1e6
    );

    drop(server);
    watched.until("OFFLINE", within, |e| {
        matches!(
            e,
            SourceEvent::State {
                state: SourceState::Offline,
                ..
            }
        )
    });
    // Tombstones cover the gap.
    let before = watched.stalled;
    watched.until("ticks", within, |e| matches!(e, SourceEvent::Stalled { .. }));
    watched.until("ticks", within, |e| matches!(e, SourceEvent::Stalled { .. }));
    assert!(watched.stalled >= before + 2);
    let last_before = *watched.numbers.last().expect("frames");

    let server = Server::start(port);
    let back = watched.frame("frames again", within, |_| true);
    assert_eq!(back.frame_number, last_before + 1);
    assert!(back.pts > rtcp.pts, "{:?} after {:?}", back.pts, rtcp.pts);
    watched.frame("ten more", within, |f| f.frame_number >= last_before + 10);
    assert!(watched.handle.stats().reconnects >= 1);

    let expected: Vec<u64> = (1..=watched.numbers.len() as u64).collect();
    assert_eq!(watched.numbers, expected, "numbers without gaps");
    assert!(
        watched.log.iter().all(|line| !line.contains("secret")),
        "{:#?}",
        watched.log
    );
    let states: Vec<&str> = watched.log.iter().map(|l| l.split(' ').next().unwrap_or("")).collect();
    assert_eq!(states[..2], ["CONNECTING", "STREAMING"]);
    assert_eq!(states.last(), Some(&"STREAMING"));
    let started = Stopwatch::start();
    assert!(watched.handle.join());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(server);
}

#[test]
fn audio_beside_the_video_is_left_alone() {
    let port = free_port();
    let _server = Server::start(port);
    let mut with_audio = rtsp_camera(port);
    with_audio.uri = format!("rtsp://127.0.0.1:{port}/with_audio").parse().expect("uri");
    let mut watched = Watched::start(with_audio);
    watched.frame("frames", Duration::from_secs(15), |f| f.frame_number >= 10);
    assert!(watched.handle.join());
}

#[test]
fn a_server_that_is_not_there_is_a_state_and_attempts_go_on() {
    let port = free_port();
    let mut watched = Watched::start(rtsp_camera(port));
    for _ in 0..2 {
        let event = watched.until("OFFLINE", Duration::from_secs(10), |e| {
            matches!(
                e,
                SourceEvent::State {
                    state: SourceState::Offline,
                    ..
                }
            )
        });
        let SourceEvent::State { detail, .. } = event else {
            return;
        };
        assert!(
            detail.contains("not reached") && detail.contains("rtsp://user:***@127.0.0.1"),
            "{detail}"
        );
        assert!(!detail.contains("secret"), "{detail}");
    }
    assert!(watched.stalled > 0, "robots are told meanwhile");
    assert!(watched.handle.join());
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("address").port();
    let started = Stopwatch::start();
    let mut watched = Watched::start(rtsp_camera(port));
    watched.until("OFFLINE", Duration::from_secs(14), |e| {
        matches!(
            e,
            SourceEvent::State {
                state: SourceState::Offline,
                ..
            }
        )
    });
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    // Stopped while it hangs in the next attempt.
    watched.until("CONNECTING", Duration::from_secs(5), |e| {
        matches!(
            e,
            SourceEvent::State {
                state: SourceState::Connecting,
                ..
            }
        )
    });
    let stopping = Stopwatch::start();
    assert!(watched.handle.join());
    assert!(stopping.elapsed() < Duration::from_secs(2), "{:?}", stopping.elapsed());
}
