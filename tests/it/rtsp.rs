//! A network camera that dies and comes back, through the whole way: the robot hears of every expected frame.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::prelude::*;

use maskcast::client::{ConnectConfig, Event, Maskcast};
use maskcast::config;
use maskcast::pipeline::Service;
use maskcast::time::SystemClocks;
use maskcast::wire::Form;
use maskcast::wire::v1::TombstoneReason;

const PORT: &str = "MASKCAST_TEST_RTSP_PORT";

/// Not a test: the process that the test starts and kills.
#[test]
#[ignore = "the RTSP server of the other test"]
fn rtsp_server_process() {
    let Ok(port) = std::env::var(PORT) else { return };
    gstreamer::init().expect("GStreamer");
    let server = rtsp_server::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&port);
    let factory = rtsp_server::RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=5 \
         ! rtph264pay name=pay0 pt=96 config-interval=1 )",
    );
    server.mount_points().expect("mounts").add_factory("/stream", factory);
    let _attached = server.attach(None).expect("attaches");
    let parent = std::os::unix::process::parent_id();
    let main_loop = gstreamer::glib::MainLoop::new(None, false);
    let leave = main_loop.clone();
    // Not to outlive a test that was killed.
    gstreamer::glib::timeout_add(Duration::from_millis(500), move || {
        if std::os::unix::process::parent_id() != parent {
            leave.quit();
        }
        gstreamer::glib::ControlFlow::Continue
    });
    main_loop.run();
}

struct Server(Child);

impl Server {
    fn start(port: u16) -> Server {
        let process = Command::new(std::env::current_exe().expect("own path"))
            .args(["rtsp::rtsp_server_process", "--exact", "--ignored"])
            .env(PORT, port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the RTSP server does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Server(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("kills");
        self.0.wait().expect("is gone");
    }
}

/// What the robot heard of one expected frame.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Heard {
    result_number: u64,
    /// 0 for a stall.
    frame_number: u64,
    stalled: bool,
}

#[test]
fn a_camera_that_dies_is_told_in_tombstones_and_comes_back_with_its_numbers_going_on() {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/conveyor.toml");
    let text = format!(
        "engine = {engine:?}\n[[camera]]\nid = \"dock\"\nuri = \"rtsp://127.0.0.1:{port}/stream\"\nvalid_for_millis = 5000\n\
         stall_timeout_millis = 1500\n[publish]\nkey_prefix = \"whole-rtsp\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n"
    );
    let launch = config::parse(Path::new("test.toml"), &text).unwrap_or_else(|e| panic!("{e}"));
    let server = Server::start(port);
    let service = Service::start(&launch, Arc::new(SystemClocks)).unwrap_or_else(|e| panic!("{e}"));
    let config = ConnectConfig {
        endpoints: service.publisher.listening(),
        prefix: "whole-rtsp".to_owned(),
        ..Default::default()
    };
    let mut eye = Maskcast::connect(&config)
        .expect("connects")
        .camera("dock")
        .form(Form::Boxes)
        .max_age(Duration::from_secs(30))
        .history(4096)
        .open()
        .expect("opens");

    let mut heard: Vec<Heard> = Vec::new();
    let mut until = |heard: &mut Vec<Heard>, what: &str, enough: &dyn Fn(&[Heard]) -> bool| {
        let start = Instant::now();
        while !enough(heard) {
            assert!(
                start.elapsed() < Duration::from_secs(40),
                "{what} did not come: {:?}",
                heard.last()
            );
            match eye.next(Duration::from_millis(200)) {
                Event::Answer(a) => heard.push(Heard {
                    result_number: a.result.header.result_number,
                    frame_number: a.result.header.frame_number,
                    stalled: false,
                }),
                Event::NoAnswer(t) => heard.push(Heard {
                    result_number: t.result_number,
                    frame_number: 0,
                    stalled: t.reason == TombstoneReason::SourceStalled,
                }),
                _ => {}
            }
        }
    };
    let answers = |from: usize| move |heard: &[Heard]| heard[from..].iter().filter(|h| h.frame_number > 0).count() >= 8;
    until(&mut heard, "the first pictures", &answers(0));
    let before = heard.len();
    drop(server);
    let stalls = move |heard: &[Heard]| heard[before..].iter().filter(|h| h.stalled).count() >= 10;
    until(&mut heard, "tombstones", &stalls);
    let gap = heard.len();
    let server = Server::start(port);
    until(&mut heard, "pictures after the restart", &answers(gap));
    let snapshot = service.stop();
    drop(server);

    for pair in heard.windows(2) {
        assert_eq!(pair[1].result_number, pair[0].result_number + 1, "no gap: {pair:?}");
    }
    let frames: Vec<u64> = heard.iter().map(|h| h.frame_number).filter(|n| *n > 0).collect();
    assert!(
        frames.windows(2).all(|p| p[1] > p[0]),
        "frame numbers go on: {frames:?}"
    );
    assert!(frames.first() < frames.last() && frames.last() > Some(&8), "{frames:?}");
    let camera = snapshot.cameras.values().next().expect("a camera");
    assert!(camera.reconnects >= 1 && !camera.failed, "{camera:?}");
}
