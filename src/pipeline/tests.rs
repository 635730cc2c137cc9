//! Scenarios over the real threads: a camera driven by hand, an engine and an outlet that remember.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::admission::Admission;
use super::assemble::{CameraStateSink, Core, Parts};
use super::engine_loop::{Asked, Capacity, MaskBranch, Segmented, Segmenter, Ticket};
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
    capacity: Capacity,
    waiting: VecDeque<(Ticket, Vec<Asked>)>,
    batches: Arc<Mutex<Vec<usize>>>,
    permits: Arc<Permits>,
    branches: Arc<Mutex<Vec<MaskBranch>>>,
    on_red: OnRed,
}

impl Segmenter for Engine {
    fn submit(&mut self, ticket: Ticket, asked: Vec<Asked>, _: &dyn Clocks) {
        self.batches.lock().expect("lock").push(asked.len());
        self.waiting.push_back((ticket, asked));
    }

    fn collect(&mut self, ticket: Ticket, clocks: &dyn Clocks) -> Vec<Result<Segmented, String>> {
        let (of, batch) = self.waiting.pop_front().expect("a batch was submitted");
        assert_eq!(of, ticket);
        self.permits.take();
        batch
            .into_iter()
            .map(|one| self.look(&one.image, one.masks, clocks))
            .collect()
    }

    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn score_threshold(&self) -> f32 {
        0.5
    }
}

impl Engine {
    fn look(&self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, String> {
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
    /// One a camera: front, and with more of them camera1, camera2, ...
    doors: Vec<Admission>,
    permits: Arc<Permits>,
    branches: Arc<Mutex<Vec<MaskBranch>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    memory: Memory,
}

fn rig(pace: Pace, valid_for: Duration, on_red: OnRed) -> Rig {
    rig_of(1, Capacity::ONE, pace, valid_for, on_red)
}

fn rig_of(cameras: usize, capacity: Capacity, pace: Pace, valid_for: Duration, on_red: OnRed) -> Rig {
    let (permits, branches, memory) = (Arc::new(Permits::default()), Arc::default(), Memory::default());
    let batches = Arc::default();
    let camera = |index| Camera {
        id: camera_id(index),
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
        cameras: (0..cameras).map(camera).collect(),
        segmenter: Box::new(Engine {
            capacity,
            waiting: VecDeque::new(),
            batches: Arc::clone(&batches),
            permits: Arc::clone(&permits),
            branches: Arc::clone(&branches),
            on_red,
        }),
        outlets: vec![Box::new(memory.clone())],
        states: Box::new(NoStates),
        idle: Idle::Boxes,
        clocks: Arc::new(SystemClocks),
    };
    let (core, doors) = Core::start(parts).expect("starts");
    Rig {
        core,
        doors,
        permits,
        branches,
        batches,
        memory,
    }
}

fn camera_id(index: usize) -> CameraId {
    let name = if index == 0 {
        "front".to_owned()
    } else {
        format!("camera{index}")
    };
    CameraId::new(&name).expect("id")
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
    frame_of(0, frame_number, red)
}

fn frame_of(camera: usize, frame_number: u64, red: u8) -> SourceEvent {
    let now = SystemClocks.mono_nanos();
    SourceEvent::Frame(Frame {
        camera: camera_id(camera),
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
            doors,
            permits,
            memory,
            ..
        } = self;
        core.close();
        permits.give(100);
        drop(doors);
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
    assert_eq!(rig.doors[0].event(frame(1, 0)), Flow::Continue);
    rig.wait_for_pick_up(1);
    for n in 2..=4 {
        rig.doors[0].event(frame(n, 0));
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
        rig.doors[0].event(frame(n, 0));
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
            rig.doors[0].event(frame(n, red));
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
    rig.doors[0].event(frame(1, 0));
    rig.wait_for(1);
    rig.permits.give(1);
    rig.wait_for_pick_up(1);
    rig.permits.give(1);
    rig.doors[0].event(frame(2, 0));
    rig.wait_for(2);
    // Frame 2 is fresh, but the engine has just shown that it needs longer than its time.
    let said = rig.end();
    assert_eq!(said[0], (1, 1, Some(TombstoneReason::Late)));
    assert_eq!(said[1], (2, 2, Some(TombstoneReason::DroppedStale)));
}

#[test]
fn stalls_and_damaged_frames_are_numbered_results_behind_the_frame_in_flight() {
    let mut rig = rig(Pace::RealTime, LONG, OnRed::Fail);
    rig.doors[0].event(frame(1, 0));
    rig.wait_for_pick_up(1);
    rig.doors[0].event(SourceEvent::Damaged {
        frame_number: 2,
        capture_time: arrived_now(),
        detail: "broken JPEG".to_owned(),
    });
    rig.doors[0].event(SourceEvent::Stalled {
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
    rig.doors[0].event(frame(1, 0));
    rig.wait_for_pick_up(1);
    rig.doors[0].event(frame(2, 0));
    rig.core.close();
    assert_eq!(rig.doors[0].event(frame(3, 0)), Flow::Stop);
    let stopping = Some(TombstoneReason::Stopping);
    assert_eq!(rig.end(), vec![(1, 1, None), (2, 2, stopping), (3, 3, stopping)]);
}

#[test]
fn the_mask_branch_runs_only_for_those_who_want_masks() {
    let mut rig = rig(Pace::Unpaced, LONG, OnRed::Fail);
    rig.permits.give(2);
    rig.doors[0].event(frame(1, 0));
    rig.wait_for(1);
    rig.memory.wants_masks.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(60));
    rig.doors[0].event(frame(2, 0));
    rig.wait_for(2);
    assert_eq!(
        *rig.branches.lock().expect("lock"),
        vec![MaskBranch::Skip, MaskBranch::Run]
    );
    rig.end();
}

#[test]
fn frames_of_several_cameras_go_together_and_the_next_batch_departs_before_the_last_is_back() {
    let two_of_two = Capacity {
        pictures: 2,
        batches: 2,
    };
    let mut rig = rig_of(3, two_of_two, Pace::RealTime, Duration::from_secs(10), OnRed::Fail);
    rig.doors[0].event(frame_of(0, 1, 0));
    rig.wait_for_pick_up(1);
    for camera in 0..3 {
        let red = if camera == 2 { 255 } else { 0 };
        rig.doors[camera].event(frame_of(camera, 2, red));
    }
    // The engine waits for its first batch: nothing was taken meanwhile.
    assert_eq!(*rig.batches.lock().expect("lock"), [1]);
    rig.permits.give(1);
    rig.wait_for_pick_up(2);
    assert_eq!(
        *rig.batches.lock().expect("lock"),
        [1, 2, 1],
        "both depart before either is back"
    );
    rig.permits.give(2);
    rig.wait_for(4);
    let reports = rig.memory.reports.lock().expect("lock").clone();
    let bad = |report: &&Report| !matches!(report.outcome, Outcome::Answer { .. });
    let bad: Vec<&Report> = reports.iter().filter(bad).collect();
    assert_eq!(bad.len(), 1, "one camera's bad frame is its own trouble");
    assert_eq!(bad[0].camera, camera_id(2));
    rig.core.close();
    drop(rig.doors);
    rig.core.join();
}

#[test]
fn a_panic_costs_its_own_batch_alone() {
    let two_of_two = Capacity {
        pictures: 1,
        batches: 2,
    };
    let mut rig = rig_of(2, two_of_two, Pace::RealTime, Duration::from_secs(10), OnRed::Panic);
    rig.doors[0].event(frame_of(0, 1, 0));
    rig.wait_for_pick_up(1);
    rig.doors[1].event(frame_of(1, 1, 255));
    rig.doors[0].event(frame_of(0, 2, 0));
    rig.permits.give(3);
    rig.wait_for(3);
    let reports = rig.memory.reports.lock().expect("lock").clone();
    for report in &reports {
        let answered = matches!(report.outcome, Outcome::Answer { .. });
        assert_eq!(answered, report.camera == camera_id(0), "{report:?}");
    }
    rig.core.close();
    drop(rig.doors);
    rig.core.join();
}
