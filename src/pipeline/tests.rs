//! Scenarios over the real threads: a camera driven by hand, an engine and an outlet that remember.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::admission::Admission;
use super::assemble::{CameraStateSink, Core, Parts};
use super::engine_loop::{MaskBranch, Segmented, Segmenter};
use crate::config::{Camera, Idle, Pace, Repeat, SourceUri};
use crate::frame::{Frame, Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::names::CameraId;
use crate::outlets::{Demand, Outcome, Outlet, Report};
use crate::source::{Flow, SourceEvent, SourceState};
use crate::time::{CaptureTime, CaptureTimeSource, Clocks, Pts, SystemClocks};
use crate::wire::v1::TombstoneReason;

/// An engine that waits for a permit a frame, and does with frame 13 what it is told.
#[derive(Default)]
struct Permits {
    given: Mutex<u32>,
    changed: Condvar,
    /// Frames that the engine has begun.
    asked: AtomicU32,
}

impl Permits {
    fn give(&self, n: u32) {
        *self.given.lock().expect("lock") += n;
        self.changed.notify_all();
    }

    fn take(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut given = self.given.lock().expect("lock");
        while *given == 0 {
            given = self.changed.wait(given).expect("lock");
        }
        *given -= 1;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum OnRed {
    Fail,
    Panic,
}

struct Engine {
    permits: Arc<Permits>,
    branches: Arc<Mutex<Vec<MaskBranch>>>,
    on_red: OnRed,
}

impl Segmenter for Engine {
    fn segment(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, String> {
        self.permits.take();
        self.branches.lock().expect("lock").push(masks);
        if image.bytes()[0] == 255 {
            match self.on_red {
                OnRed::Fail => return Err("tensor roi_features is not finite".to_owned()),
                OnRed::Panic => panic!("a library went wrong"),
            }
        }
        let now = clocks.mono_nanos();
        Ok(Segmented {
            instances: Vec::new(),
            truncated: false,
            preprocessed_mono_nanos: now,
            inferred_mono_nanos: now,
        })
    }

    fn score_threshold(&self) -> f32 {
        0.5
    }
}

#[derive(Clone, Default)]
struct Memory {
    reports: Arc<Mutex<Vec<Report>>>,
    wants_masks: Arc<AtomicBool>,
    finished: Arc<AtomicBool>,
}

impl Outlet for Memory {
    fn name(&self) -> &str {
        "memory"
    }
    fn demand(&self, _: &CameraId) -> Demand {
        Demand {
            boxes: true,
            masks: self.wants_masks.load(Ordering::SeqCst),
        }
    }
    fn deliver(&mut self, report: &Arc<Report>) {
        self.reports.lock().expect("lock").push((**report).clone());
    }
    fn finish(&mut self) {
        self.finished.store(true, Ordering::SeqCst);
    }
}

struct NoStates;
impl CameraStateSink for NoStates {
    fn camera_state(&mut self, _: &CameraId, _: SourceState, _: &str, _: u32) {}
}

struct Rig {
    core: Core,
    door: Admission,
    permits: Arc<Permits>,
    branches: Arc<Mutex<Vec<MaskBranch>>>,
    memory: Memory,
}

fn rig(pace: Pace, valid_for: Duration, on_red: OnRed) -> Rig {
    let (permits, branches, memory) = (Arc::new(Permits::default()), Arc::default(), Memory::default());
    let camera = Camera {
        id: CameraId::new("front").expect("id"),
        uri: SourceUri::Gst("videotestsrc".to_owned()),
        pace,
        repeat: Repeat::Once,
        max_rate_hz: None,
        valid_for,
        arrival_delay: Duration::ZERO,
        rtsp_latency: Duration::ZERO,
        stall_timeout: Duration::from_secs(3),
    };
    let parts = Parts {
        cameras: vec![camera],
        segmenter: Box::new(Engine {
            permits: Arc::clone(&permits),
            branches: Arc::clone(&branches),
            on_red,
        }),
        outlets: vec![Box::new(memory.clone())],
        states: Box::new(NoStates),
        idle: Idle::Boxes,
        clocks: Arc::new(SystemClocks),
    };
    let (core, mut doors) = Core::start(parts).expect("starts");
    Rig {
        core,
        door: doors.remove(0),
        permits,
        branches,
        memory,
    }
}

fn arrived_now() -> CaptureTime {
    CaptureTime {
        unix_nanos: SystemClocks.unix_nanos(),
        mono_nanos: SystemClocks.mono_nanos(),
        uncertainty_nanos: 0,
        source: CaptureTimeSource::Arrival,
    }
}

fn frame(frame_number: u64, red: u8) -> SourceEvent {
    let now = SystemClocks.mono_nanos();
    SourceEvent::Frame(Frame {
        camera: CameraId::new("front").expect("id"),
        frame_number,
        pts: Some(Pts {
            nanos: i64::try_from(frame_number).expect("small"),
        }),
        capture_time: arrived_now(),
        arrival_mono_nanos: now,
        decoded_mono_nanos: now,
        image: Image::packed(PixelFormat::Rgb8, ImageSize::new(1, 1), vec![red, 0, 0]).expect("picture"),
    })
}

impl Rig {
    fn wait_for(&self, reports: usize) {
        for _ in 0..400 {
            if self.memory.reports.lock().expect("lock").len() >= reports {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{reports} reports did not come");
    }

    /// Until the engine has begun `frames` frames in all.
    fn wait_for_pick_up(&self, frames: u32) {
        for _ in 0..1000 {
            if self.permits.asked.load(Ordering::SeqCst) >= frames {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the engine did not begin frame {frames}");
    }

    fn end(self) -> Vec<(u64, u64, Option<TombstoneReason>)> {
        let Rig {
            core,
            door,
            permits,
            memory,
            ..
        } = self;
        core.close();
        permits.give(100);
        drop(door);
        core.join();
        assert!(memory.finished.load(Ordering::SeqCst), "outlets are finished");
        let reports = memory.reports.lock().expect("lock");
        reports
            .iter()
            .map(|r| {
                let reason = match &r.outcome {
                    Outcome::Answer { .. } => None,
                    Outcome::Tombstone { reason, .. } => Some(*reason),
                };
                (r.result_number, r.frame_number, reason)
            })
            .collect()
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_newer_frame_replaces_one_that_waits_and_every_frame_is_accounted_for_in_order() {
    let mut rig = rig(Pace::RealTime, LONG, OnRed::Fail);
    assert_eq!(rig.door.event(frame(1, 0)), Flow::Continue);
    rig.wait_for_pick_up(1);
    for n in 2..=4 {
        rig.door.event(frame(n, 0));
    }
    rig.permits.give(2);
    rig.wait_for(4);
    let overloaded = Some(TombstoneReason::Overloaded);
    assert_eq!(
        rig.end(),
        vec![(1, 1, None), (2, 2, overloaded), (3, 3, overloaded), (4, 4, None)]
    );
}

#[test]
fn an_unpaced_source_waits_and_loses_nothing() {
    let mut rig = rig(Pace::Unpaced, Duration::from_millis(1), OnRed::Fail);
    let permits = Arc::clone(&rig.permits);
    let giver = std::thread::spawn(move || {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(3));
            permits.give(1);
        }
    });
    for n in 1..=20 {
        rig.door.event(frame(n, 0));
    }
    giver.join().expect("no panic");
    rig.wait_for(20);
    let expected: Vec<_> = (1..=20).map(|n| (n, n, None)).collect();
    assert_eq!(rig.end(), expected);
}

#[test]
fn one_bad_frame_is_a_tombstone_that_names_the_tensor_and_the_next_is_answered() {
    for on_red in [OnRed::Fail, OnRed::Panic] {
        let mut rig = rig(Pace::Unpaced, LONG, on_red);
        rig.permits.give(3);
        for (n, red) in [(1, 0), (2, 255), (3, 0)] {
            rig.door.event(frame(n, red));
        }
        rig.wait_for(3);
        let troubles = rig.core.snapshot().troubles;
        let what = if on_red == OnRed::Fail {
            "tensor roi_features"
        } else {
            "panicked"
        };
        assert!(
            troubles.len() == 1 && troubles[0].starts_with("camera front frame 2: "),
            "{troubles:?}"
        );
        assert!(troubles[0].contains(what), "{troubles:?}");
        assert_eq!(
            rig.end(),
            vec![
                (1, 1, None),
                (2, 2, Some(TombstoneReason::InferenceError)),
                (3, 3, None)
            ]
        );
    }
}

#[test]
fn a_frame_still_in_flight_when_its_time_runs_out_is_late() {
    let mut rig = rig(Pace::RealTime, Duration::from_millis(60), OnRed::Fail);
    rig.door.event(frame(1, 0));
    rig.wait_for(1);
    rig.permits.give(1);
    rig.wait_for_pick_up(1);
    rig.permits.give(1);
    rig.door.event(frame(2, 0));
    rig.wait_for(2);
    // Frame 2 is fresh, but the engine has just shown that it needs longer than its time.
    let said = rig.end();
    assert_eq!(said[0], (1, 1, Some(TombstoneReason::Late)));
    assert_eq!(said[1], (2, 2, Some(TombstoneReason::DroppedStale)));
}

#[test]
fn stalls_and_damaged_frames_are_numbered_results_behind_the_frame_in_flight() {
    let mut rig = rig(Pace::RealTime, LONG, OnRed::Fail);
    rig.door.event(frame(1, 0));
    rig.wait_for_pick_up(1);
    rig.door.event(SourceEvent::Damaged {
        frame_number: 2,
        capture_time: arrived_now(),
        detail: "broken JPEG".to_owned(),
    });
    rig.door.event(SourceEvent::Stalled {
        since_mono_nanos: 0,
        last_frame_number: 2,
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        rig.memory.reports.lock().expect("lock").len(),
        0,
        "they wait for frame 1"
    );
    rig.permits.give(1);
    rig.wait_for(3);
    let damaged = rig.memory.reports.lock().expect("lock")[1].clone();
    assert!(
        damaged.capture_time.is_some(),
        "a delivered frame has a capture time, damaged or not"
    );
    let stalled = rig.memory.reports.lock().expect("lock")[2].clone();
    assert!(matches!(stalled.outcome, Outcome::Tombstone { stalled_for_nanos, .. } if stalled_for_nanos > 0));
    let reasons = [
        None,
        Some(TombstoneReason::DecodeError),
        Some(TombstoneReason::SourceStalled),
    ];
    assert_eq!(
        rig.end(),
        vec![(1, 1, reasons[0]), (2, 2, reasons[1]), (3, 0, reasons[2])]
    );
}

#[test]
fn shutdown_answers_the_frame_in_the_engine_and_stops_the_one_that_waits() {
    let mut rig = rig(Pace::RealTime, LONG, OnRed::Fail);
    rig.door.event(frame(1, 0));
    rig.wait_for_pick_up(1);
    rig.door.event(frame(2, 0));
    rig.core.close();
    assert_eq!(rig.door.event(frame(3, 0)), Flow::Stop);
    let stopping = Some(TombstoneReason::Stopping);
    assert_eq!(rig.end(), vec![(1, 1, None), (2, 2, stopping), (3, 3, stopping)]);
}

#[test]
fn the_mask_branch_runs_only_for_those_who_want_masks() {
    let mut rig = rig(Pace::Unpaced, LONG, OnRed::Fail);
    rig.permits.give(2);
    rig.door.event(frame(1, 0));
    rig.wait_for(1);
    rig.memory.wants_masks.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(60));
    rig.door.event(frame(2, 0));
    rig.wait_for(2);
    assert_eq!(
        *rig.branches.lock().expect("lock"),
        vec![MaskBranch::Skip, MaskBranch::Run]
    );
    rig.end();
}
