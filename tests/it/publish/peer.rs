//! A peer that shares no code with us: Python, eclipse-zenoh, protobuf, pycocotools.

use std::process::Command;
use std::time::{Duration, Instant};

use maskcast::wire::v1::TombstoneReason;

use super::daemon::{fresh_prefix, settings, start, triangle};

/// `MASKCAST_ORACLE_PYTHON` names a Python that has the packages of tests/oracle/zenoh_peer.py.
#[test]
fn an_independent_subscriber_agrees() {
    let Some(python) = std::env::var_os("MASKCAST_ORACLE_PYTHON") else {
        println!("not run: MASKCAST_ORACLE_PYTHON is not set");
        return;
    };
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let mut peer = Command::new(python)
        .arg(format!("{root}/tests/oracle/zenoh_peer.py"))
        .args([
            "--connect",
            &daemon.handle.listening()[0],
            "--prefix",
            &daemon.prefix,
            "--seconds",
            "2.5",
        ])
        .args(["--min-results", "20", "--strict-start"])
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = peer.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the peer hangs");
        let n = daemon.answer(
            (0..12u32)
                .map(|i| triangle(i % 3, 0.9 - i as f32 / 50.0, 37 * i, 11 * i, 20 + 7 * i))
                .collect(),
        );
        if n.is_multiple_of(5) {
            daemon.tombstone(if n.is_multiple_of(2) {
                TombstoneReason::Overloaded
            } else {
                TombstoneReason::SourceStalled
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}
