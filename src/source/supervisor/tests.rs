//! The real loop on simulated time, with a source that follows a script.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::tests::camera;
use super::*;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::time::{CaptureTime, CaptureTimeSource, SimulatedClocks};

/// What a source does next.
#[derive(Debug, Clone)]
enum Step {
    /// Frames, the first after the given milliseconds, then each after the same.
    Frames(u32, u64),
    Damaged,
    Silence(u64),
    Fail,
    End,
}

struct Scripted {
    clocks: Arc<SimulatedClocks>,
    steps: VecDeque<Step>,
    nature: Nature,
    due: Option<i64>,
    sent: i64,
}

fn picture() -> Image {
    Image::packed(PixelFormat::Gray8, ImageSize::new(1, 1), vec![0]).expect("picture")
}

impl Scripted {
    /// Waits until `millis` after this step began; false = not yet.
    fn waited(&mut self, millis: u64, timeout: Duration) -> bool {
        let now = self.clocks.mono_nanos();
        let due = *self.due.get_or_insert(now + millis as i64 * 1_000_000);
        let left = Duration::from_nanos((due - now).max(0) as u64);
        self.clocks.advance(left.min(timeout));
        let over = left <= timeout;
        if over {
            self.due = None;
        }
        over
    }
}

impl Source for Scripted {
    fn read(&mut self, timeout: Duration) -> Result<Read, SourceError> {
        match self.steps.front().cloned() {
            None | Some(Step::Frames(0, _)) => {
                if self.steps.pop_front().is_none() {
                    self.clocks.advance(timeout);
                }
                Ok(Read::Idle)
            }
            Some(Step::Frames(count, millis)) => {
                if !self.waited(millis, timeout) {
                    return Ok(Read::Idle);
                }
                self.steps[0] = Step::Frames(count - 1, millis);
                let now = self.clocks.mono_nanos();
                self.sent += 1;
                Ok(Read::Frame(Captured {
                    image: picture(),
                    pts: Some(Pts {
                        nanos: self.sent * millis as i64 * 1_000_000,
                    }),
                    capture_time: CaptureTime {
                        unix_nanos: now,
                        mono_nanos: now,
                        uncertainty_nanos: 0,
                        source: CaptureTimeSource::Arrival,
                    },
                    arrival_mono_nanos: now,
                    decoded_mono_nanos: now,
                }))
            }
            Some(Step::Silence(millis)) => {
                if self.waited(millis, timeout) {
                    self.steps.pop_front();
                }
                Ok(Read::Idle)
            }
            Some(Step::Damaged) => {
                self.steps.pop_front();
                Ok(Read::Damaged {
                    detail: "cut off".to_owned(),
                })
            }
            Some(Step::Fail) => Err(failure()),
            Some(Step::End) => Ok(Read::End),
        }
    }

    fn nominal_period(&self) -> Option<Duration> {
        Some(Duration::from_millis(40))
    }

    fn nature(&self) -> Nature {
        self.nature
    }
}

fn failure() -> SourceError {
    Fault::Stream {
        detail: "the cable is out".to_owned(),
    }
    .of(&live_camera())
}

fn live_camera() -> Camera {
    let mut camera = camera("rtsp://cam/1");
    camera.pace = Pace::RealTime;
    camera
}

/// One line an event: `milliseconds what`.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    frames: Vec<Frame>,
}

/// Runs one script an opening, an empty one standing for a failure to open; stops after `most` milliseconds.
fn play(camera: Camera, nature: Nature, scripts: Vec<Vec<Step>>, most: i64) -> Log {
    let clocks = Arc::new(SimulatedClocks::new(0, 0));
    let opened = AtomicUsize::new(0);
    let of = clocks.clone();
    let open: Opener = Arc::new(move || {
        let n = opened.fetch_add(1, Ordering::SeqCst);
        match scripts.get(n).or(scripts.last()) {
            Some(steps) if !steps.is_empty() => Ok(Box::new(Scripted {
                clocks: of.clone(),
                steps: steps.clone().into(),
                nature,
                due: None,
                sent: 0,
            })),
            _ => Err(failure()),
        }
    });
    let mut log = Log::default();
    let now = clocks.clone();
    let on_event = |event: SourceEvent| {
        let ms = now.mono_nanos() / 1_000_000;
        log.lines.push(match &event {
            SourceEvent::Frame(f) => format!("{ms} frame {}", f.frame_number),
            SourceEvent::Damaged { frame_number, .. } => format!("{ms} damaged {frame_number}"),
            SourceEvent::Stalled {
                since_mono_nanos,
                last_frame_number,
            } => format!(
                "{ms} stalled since {} last {last_frame_number}",
                since_mono_nanos / 1_000_000
            ),
            SourceEvent::State { state, reconnects, .. } => format!("{ms} {state} {reconnects}"),
            SourceEvent::Ended { error } => format!("{ms} ended {}", error.is_some()),
        });
        if let SourceEvent::Frame(frame) = event {
            log.frames.push(frame);
        }
        if ms < most { Flow::Continue } else { Flow::Stop }
    };
    let _ = Supervisor::new(camera, clocks.clone(), open, on_event, Arc::new(Shared::new())).run();
    log
}

#[test]
fn a_pause_is_said_by_ticks_and_the_stream_goes_on() {
    let steps = vec![Step::Frames(2, 40), Step::Silence(360), Step::Frames(1, 40)];
    let log = play(live_camera(), Nature::Live, vec![steps], 480);
    assert_eq!(
        log.lines,
        [
            "0 CONNECTING 0",
            "40 STREAMING 0",
            "40 frame 1",
            "80 frame 2",
            "230 STALLED 0",
            "230 stalled since 80 last 2",
            "330 stalled since 80 last 2",
            "430 stalled since 80 last 2",
            "480 STREAMING 0",
        ]
    );
}

#[test]
fn a_failure_is_a_state_and_numbers_and_stamps_go_on() {
    let scripts = vec![
        vec![Step::Frames(3, 40), Step::Damaged, Step::Fail],
        vec![],
        vec![Step::Frames(2, 40), Step::End],
    ];
    let log = play(live_camera(), Nature::Live, scripts, 3_000);
    let numbers: Vec<u64> = log.frames.iter().map(|f| f.frame_number).collect();
    assert_eq!(numbers[..5], [1, 2, 3, 5, 6]);
    assert!(log.lines.contains(&"120 damaged 4".to_owned()), "{:#?}", log.lines);
    let pts: Vec<i64> = log
        .frames
        .iter()
        .filter_map(|f| f.pts)
        .map(|p| p.nanos / 1_000_000)
        .collect();
    assert_eq!(pts[..5], [40, 80, 120, 160, 200]);
    let states: Vec<&str> = log
        .lines
        .iter()
        .filter_map(|l| l.split_once(' '))
        .map(|(_, what)| what)
        .filter(|what| what.chars().next().is_some_and(char::is_uppercase))
        .collect();
    assert_eq!(
        states[..7],
        [
            "CONNECTING 0",
            "STREAMING 0",
            "OFFLINE 0",
            "CONNECTING 1",
            "OFFLINE 1",
            "CONNECTING 2",
            "STREAMING 2"
        ]
    );
    // Back-off 0.25 s and 0.5 s, each +-20 %: ticks cover it, from 150 ms on, each 100 ms.
    let ticks = log
        .lines
        .iter()
        .filter(|l| l.contains("stalled since 120 last 4"))
        .count();
    assert!((5..=8).contains(&ticks), "{:#?}", log.lines);
}

#[test]
fn back_off_is_bounded_and_ticks_never_pause() {
    let log = play(live_camera(), Nature::Live, vec![vec![]], 60_000);
    let at = |word: &str| -> Vec<i64> {
        let lines = log.lines.iter().filter(|l| l.contains(word));
        lines.filter_map(|l| l.split(' ').next()?.parse().ok()).collect()
    };
    let attempts = at("CONNECTING");
    let waits: Vec<i64> = attempts.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.len() >= 13, "{waits:?}");
    assert!(waits.iter().all(|ms| (200..=6_000).contains(ms)), "{waits:?}");
    assert!(waits[6..].iter().all(|ms| *ms >= 4_000), "{waits:?}");
    let ticks = at("stalled");
    assert_eq!(ticks[0], 150);
    assert!(ticks.windows(2).all(|w| w[1] - w[0] == 100), "{ticks:?}");
    assert_eq!(ticks.last(), Some(&60_050));
}

#[test]
fn silence_of_a_live_source_is_given_up_and_it_is_opened_again() {
    let mut camera = live_camera();
    camera.stall_timeout = Duration::from_secs(2);
    let scripts = vec![vec![Step::Frames(1, 40)], vec![Step::Frames(1, 40)]];
    let log = play(camera, Nature::Live, scripts, 5_000);
    let numbers: Vec<u64> = log.frames.iter().map(|f| f.frame_number).collect();
    assert_eq!(numbers[..2], [1, 2]);
    let offline = log.lines.iter().find(|l| l.ends_with("OFFLINE 0")).expect("offline");
    let at: i64 = offline.split(' ').next().and_then(|ms| ms.parse().ok()).expect("ms");
    assert!((2_040..2_140).contains(&at), "{offline}");
}

#[test]
fn connecting_may_take_longer_than_a_pause() {
    let mut camera = live_camera();
    camera.stall_timeout = Duration::from_secs(1);
    let log = play(
        camera,
        Nature::Live,
        vec![vec![Step::Silence(8_000), Step::Frames(1, 40)]],
        8_041,
    );
    assert_eq!(log.frames.len(), 1);
    assert!(!log.lines.iter().any(|l| l.contains("OFFLINE")));
}

#[test]
fn a_file_read_once_ends_and_says_how() {
    let once = || {
        let mut camera = camera("file:///a.mp4");
        camera.pace = Pace::RealTime;
        camera
    };
    let ended = play(
        once(),
        Nature::Stored,
        vec![vec![Step::Frames(1, 40), Step::End]],
        9_000,
    );
    assert_eq!(
        ended.lines,
        [
            "0 CONNECTING 0",
            "40 STREAMING 0",
            "40 frame 1",
            "40 OFFLINE 0",
            "40 ended false"
        ]
    );
    let failed = play(
        once(),
        Nature::Stored,
        vec![vec![Step::Frames(1, 40), Step::Fail]],
        9_000,
    );
    assert_eq!(failed.lines[3..], ["40 OFFLINE 0", "40 ended true"]);
    let absent = play(once(), Nature::Stored, vec![vec![]], 9_000);
    assert_eq!(absent.lines, ["0 CONNECTING 0", "0 OFFLINE 0", "0 ended true"]);
}

#[test]
fn a_looped_file_that_fails_is_tried_again() {
    let mut looped = camera("file:///a.mp4");
    looped.repeat = Repeat::Loop;
    looped.pace = Pace::RealTime;
    let scripts = vec![vec![Step::Frames(1, 40), Step::Fail], vec![Step::Frames(1, 40)]];
    let log = play(looped, Nature::Stored, scripts, 1_000);
    assert_eq!(log.frames.len(), 2);
    assert!(!log.lines.iter().any(|l| l.contains("ended")));
}

#[test]
fn what_no_attempt_can_heal_is_not_tried_again() {
    let clocks: Arc<dyn Clocks> = Arc::new(SimulatedClocks::new(0, 0));
    let open: Opener = Arc::new(|| {
        Err(Fault::Description {
            detail: "no such property".to_owned(),
        }
        .of(&live_camera()))
    });
    let mut ended = None;
    let on_event = |event| {
        if let SourceEvent::Ended { error } = event {
            ended = Some(error);
        }
        Flow::Continue
    };
    let _ = Supervisor::new(camera("gst:x"), clocks, open, on_event, Arc::new(Shared::new())).run();
    let error = ended.expect("ended").expect("error");
    assert!(error.to_string().contains("no such property"), "{error}");
}

#[test]
fn the_rate_limit_skips_frames_but_not_their_numbers() {
    let mut camera = live_camera();
    camera.max_rate_hz = Some(12.5);
    let log = play(camera, Nature::Live, vec![vec![Step::Frames(8, 40), Step::Fail]], 320);
    let numbers: Vec<u64> = log.frames.iter().map(|f| f.frame_number).collect();
    assert_eq!(numbers, [1, 3, 5, 7]);
}

#[test]
fn an_unpaced_source_is_never_said_to_stall() {
    let mut unpaced = camera("file:///a.mp4");
    unpaced.pace = Pace::Unpaced;
    let steps = vec![
        Step::Frames(1, 40),
        Step::Silence(5_000),
        Step::Frames(1, 40),
        Step::End,
    ];
    let log = play(unpaced, Nature::Stored, vec![steps], 9_000);
    assert!(!log.lines.iter().any(|l| l.contains("stalled")), "{:#?}", log.lines);
    assert_eq!(log.lines.last().map(String::as_str), Some("5080 ended false"));
}

#[test]
fn stop_and_join_are_prompt_and_the_callback_may_stop_too() {
    let clocks: Arc<dyn Clocks> = super::super::tests::system_clocks();
    let mut sim = camera("sim://conveyor?size=64x64&fps=200");
    sim.pace = Pace::RealTime;
    let (give, take) = bounded(1_000);
    let handle = spawn(sim.clone(), clocks.clone(), move |event| {
        let _ = give.try_send(std::thread::current().name().map(str::to_owned));
        drop(event);
        Flow::Continue
    })
    .expect("spawns");
    for _ in 0..5 {
        let name = take.recv_timeout(Duration::from_secs(10)).expect("events");
        assert_eq!(name.as_deref(), Some("source/dock-3"));
    }
    assert!(!handle.is_finished());
    assert!(handle.stats().frames >= 3);
    assert!(handle.join());
    let handle = spawn(sim, clocks, |_| Flow::Stop).expect("spawns");
    assert!(handle.join());
}
