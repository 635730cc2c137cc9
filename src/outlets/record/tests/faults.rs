//! What goes wrong: kill -9, full disks, directories that cannot be written, too little time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gstreamer as gst;

use super::*;
use crate::time::SimulatedClocks;

/// Runs in a process of its own and is killed: see the test below.
#[test]
fn recording_child() {
    let Some(dir) = std::env::var_os("MASKCAST_RECORD_CHILD") else {
        return;
    };
    let mut outlet = open(&settings(Path::new(&dir)));
    let image = picture(VGA, false);
    for number in 1.. {
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![disc(1, 0.9)])));
        std::thread::sleep(Duration::from_millis(33));
    }
}

#[test]
fn what_was_recorded_survives_kill_9() {
    let home = tempfile::tempdir().expect("tempdir");
    gst::init().expect("gst");
    let name = "outlets::record::tests::faults::recording_child";
    let mut child = Command::new(std::env::current_exe().expect("exe"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("MASKCAST_RECORD_CHILD", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("child");
    let rows = || {
        files_of(home.path(), ".idx.csv").first().map_or(0, |index| {
            let text = std::fs::read_to_string(index).unwrap_or_default();
            text.lines().count().saturating_sub(1)
        })
    };
    let begun = Instant::now();
    while rows() < 70 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("kill"); // SIGKILL
    child.wait().expect("wait");
    let written = rows();
    assert!(written >= 70, "the child recorded {written} frames");
    assert_eq!(
        (
            files_of(home.path(), ".mkv").len(),
            files_of(home.path(), ".part").len()
        ),
        (0, 1)
    );

    let outlet = open(&settings(home.path()));
    assert_eq!(outlet.status().snapshot()[0].segments_repaired, 1);
    let video = home
        .path()
        .join(files_of(home.path(), ".mkv").first().expect("repaired"));
    let readable = decode(&video).len();
    assert!(
        readable + 2 >= written && readable <= written + 1,
        "{readable} of {written}"
    );
}

#[test]
fn below_min_free_bytes_recording_stops_with_an_error_and_what_is_there_stays() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&AnnotatedVideo {
        min_free_bytes: u64::MAX / 2,
        ..settings(home.path())
    });
    let status = outlet.status();
    for number in 1..=5 {
        outlet.deliver(&Arc::new(report(number, Some(picture(VGA, false)), vec![])));
    }
    outlet.finish();
    let now = status.snapshot().remove(0);
    assert_eq!((now.frames_written, now.frames_failed), (0, 5));
    let error = now.error.expect("error");
    assert!(
        error.contains("camera front") && error.contains(&home.path().display().to_string()),
        "{error}"
    );
    assert!(error.contains("min_free_bytes"), "{error}");
}

/// A small file system of its own, if this user may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, kib: u32) -> Option<SmallDisk> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(at);
        let mounted = mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_recording_until_there_is_space_again() {
    let home = tempfile::tempdir().expect("tempdir");
    let Some(_disk) = SmallDisk::mount(home.path(), 1500) else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let filler = home.path().join("filler");
    std::fs::write(&filler, vec![7u8; 700 << 10]).expect("filler");
    let clocks = Arc::new(SimulatedClocks::new(0, START_UNIX));
    let mut outlet = open_with(
        &AnnotatedVideo {
            segment: Duration::from_secs(1),
            bitrate_kbit: 4000,
            ..settings(home.path())
        },
        clocks.clone(),
    );
    let status = outlet.status();
    let image = picture(VGA, true);
    let mut number = 0;
    let mut deliver = |outlet: &mut AnnotatedVideoOutlet| {
        number += 1;
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![])));
        wait_for(&status, number)
    };
    let mut now = deliver(&mut outlet);
    for _ in 0..200 {
        now = deliver(&mut outlet);
        if now.error.is_some() {
            break;
        }
    }
    let error = now.error.clone().expect("the disk is full by now");
    assert!(
        error.contains("is full") && error.contains(&home.path().display().to_string()),
        "{error}"
    );
    let before = files_of(home.path(), ".mkv");
    let readable: Vec<usize> = before.iter().map(|video| decode(video).len()).collect();
    assert!(
        readable[0] == 30 && readable.len() >= 2,
        "finished files stay as they were: {readable:?}"
    );

    std::fs::remove_file(&filler).expect("space");
    let failed = deliver(&mut outlet).frames_written;
    assert_eq!(failed, now.frames_written, "not before the wait is over");
    clocks.advance(Duration::from_secs(2));
    for _ in 0..10 {
        now = deliver(&mut outlet);
    }
    assert_eq!(now.error, None, "recording goes on");
    outlet.finish();
    let after = files_of(home.path(), ".mkv");
    assert_eq!(after[..before.len()], before);
    assert_eq!(decode(&after[before.len()]).len(), 10);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_at_once() {
    let home = tempfile::tempdir().expect("tempdir");
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("write");
    let info = RecordingInfo {
        engine_name: String::new(),
        engine_identity: String::new(),
        classes: ClassMap { names: vec![] },
    };
    let opened = AnnotatedVideoOutlet::open(
        &settings(&file.join("recordings")),
        &[camera()],
        info,
        Arc::new(SystemClocks),
    );
    let error = opened.expect_err("not a directory").to_string();
    assert!(
        error.contains("file/recordings") && error.contains("cannot create it"),
        "{error}"
    );
}

#[test]
fn recording_that_stops_for_space_closes_its_files_properly() {
    let home = tempfile::tempdir().expect("tempdir");
    let Some(_disk) = SmallDisk::mount(home.path(), 1500) else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let clocks = Arc::new(SimulatedClocks::new(0, START_UNIX));
    let mut outlet = open_with(
        &AnnotatedVideo {
            segment: Duration::from_secs(1),
            min_free_bytes: 900 << 10,
            ..settings(home.path())
        },
        clocks.clone(),
    );
    let status = outlet.status();
    let image = picture(VGA, true);
    let mut number = 0;
    let now = loop {
        number += 1;
        clocks.advance(Duration::from_millis(33));
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![])));
        let now = wait_for(&status, number);
        if now.error.is_some() || number == 300 {
            break now;
        }
    };
    let error = now.error.clone().expect("too little space by now");
    assert!(
        error.contains("921600 must stay free") && error.contains("camera front"),
        "{error}"
    );
    outlet.finish();
    let videos = files_of(home.path(), ".mkv");
    let readable: usize = videos.iter().map(|video| decode(video).len()).sum();
    // One more frame may have been on its way when the error was seen.
    let end = status.snapshot().remove(0);
    assert_eq!(readable as u64, end.frames_written);
    assert!((1..=2).contains(&end.frames_failed), "{end:?}");
    assert_eq!(
        end.frames_written + end.frames_failed + end.frames_dropped,
        number,
        "{end:?}"
    );
    let lines = std::fs::read_to_string(videos[0].with_file_name("index.jsonl")).expect("index.jsonl");
    assert_eq!(lines.lines().count(), videos.len(), "every file was finished");
    assert!(files_of(home.path(), ".part").is_empty());
}

#[test]
fn finishing_takes_a_bounded_time_and_accounts_for_every_frame() {
    let home = tempfile::tempdir().expect("tempdir");
    let mut outlet = open(&settings(home.path()));
    let image = picture(ImageSize::new(1920, 1080), true);
    for number in 1..=400 {
        outlet.deliver(&Arc::new(report(number, Some(image.clone()), vec![])));
    }
    let begun = Instant::now();
    outlet.finish();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(5500), "{took:?}");
    let now = outlet.status().snapshot().remove(0);
    assert_eq!(
        now.frames_written + now.frames_failed + now.frames_dropped,
        400,
        "{now:?}"
    );
    let videos = files_of(home.path(), ".mkv");
    assert_eq!((videos.len(), files_of(home.path(), ".part").len()), (1, 0));
    assert_eq!(index_rows(&videos[0]).len() as u64, now.frames_written);
}
