//! `maskcast demo`: the main job on the simulated camera, watched by a robot of its own, judged against the truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};

use super::answer;
use super::progress::{LiveLine, live_text, row, summary_table};
use super::run::stop_on_signals;
use crate::client::{ConnectConfig, Event, Maskcast};
use crate::config::{self, Camera, Launch, SimulatedScene, SourceUri};
use crate::evaluate::{Detected, Evaluation, Kind, Truth};
use crate::instances::MaskRuns;
use crate::outlets::record::RecorderStatuses;
use crate::pipeline::Service;
use crate::source::simulated::{CLASS_NAMES, Scene, SceneConfig};
use crate::time::{Clocks, SystemClocks};
use crate::wire::Form;

/// Run the whole way on the simulated camera and judge it against the simulator's ground truth
///
/// Renders a conveyor, segments every frame, publishes on zenoh, subscribes to itself over TCP as a robot would,
/// records annotated video, and ends with a table, a still picture and the average precision of what was received.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A launch file whose first camera is simulated
    #[arg(long, default_value = "launch/demo.toml")]
    launch: PathBuf,
    /// How long to run
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

/// How long the robot waits for one message.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the robot received of one frame.
struct Received {
    frame_number: u64,
    detected: Vec<Detected>,
}

/// Everything the robot saw.
#[derive(Default)]
struct Robot {
    frames: Vec<Received>,
    tombstones: u64,
    missed: u64,
    rejected: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let launch = config::read(&args.launch)?;
    let (camera, scene) = simulated_camera(&launch, &args.launch)?;
    let limit = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let stop = stop_on_signals()?;
    let clocks: Arc<dyn Clocks> = Arc::new(SystemClocks);

    say!("loading {}", launch.engine.display());
    let service = Service::start(&launch, Arc::clone(&clocks))?;
    say!("engine   {}", service.engine);
    say!("camera   {}  {}", camera.id, camera.uri.redacted());
    say!(
        "zenoh    {}, a robot subscribes over TCP",
        service.publisher.listening().join(", ")
    );
    let over = Arc::new(AtomicBool::new(false));
    let robot = match start_robot(&launch, &service, camera, Arc::clone(&over), Arc::clone(&clocks)) {
        Ok(robot) => robot,
        Err(error) => {
            service.stop();
            return Err(error);
        }
    };

    let start = clocks.mono_nanos();
    let elapsed = || (clocks.mono_nanos() - start) as f64 / 1e9;
    let mut line = LiveLine::new();
    service.wait(Some(limit), &*clocks, |snapshot| {
        line.say(elapsed(), live_text(snapshot, elapsed()));
        stop.load(Ordering::Relaxed)
    });
    let seconds = elapsed();
    line.finish();
    let recorders = service.recorders.clone();
    let classes = service.classes.names.clone();
    let snapshot = service.stop();
    over.store(true, Ordering::Relaxed);
    let robot = match robot.join() {
        Ok(robot) => robot?,
        Err(_) => bail!("the robot's thread panicked"),
    };

    let evaluation = judge(scene, &classes, &robot)?;
    let (boxes, masks) = (evaluation.summary(Kind::Boxes), evaluation.summary(Kind::Masks));
    let mut table = summary_table(&snapshot, seconds);
    row(&mut table, "robot: answers received", robot.frames.len());
    row(&mut table, "robot: tombstones received", robot.tombstones);
    row(&mut table, "robot: messages missed", robot.missed);
    for (name, summary) in [("box", &boxes), ("mask", &masks)] {
        for (what, value) in [("AP50", summary.ap50), ("AP75", summary.ap75)] {
            row(
                &mut table,
                &format!("{name} {what} against the simulator"),
                figure(value),
            );
        }
    }
    say!("{table}");
    let troubles = snapshot.troubles.iter().chain(&snapshot.faults);
    for trouble in troubles.chain(&robot.rejected) {
        say!("trouble: {trouble}");
    }
    let recorded = say_recordings(&recorders)?;
    answer(format!("box AP {}", figure(boxes.ap)))?;
    answer(format!("mask AP {}", figure(masks.ap)))?;
    let fine = recorded && snapshot.faults.is_empty() && !robot.frames.is_empty() && robot.rejected.is_empty();
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn figure(value: Option<f64>) -> String {
    value.map_or("none".to_owned(), |v| format!("{v:.3}"))
}

fn simulated_camera<'a>(launch: &'a Launch, path: &Path) -> anyhow::Result<(&'a Camera, &'a SimulatedScene)> {
    match launch.cameras.first().map(|c| (c, &c.uri)) {
        Some((camera, SourceUri::Simulated(scene))) => Ok((camera, scene)),
        _ => bail!(
            "{}: the first camera must be a sim:// one, for its ground truth is what is judged",
            path.display()
        ),
    }
}

fn start_robot(
    launch: &Launch,
    service: &Service,
    camera: &Camera,
    over: Arc<AtomicBool>,
    clocks: Arc<dyn Clocks>,
) -> anyhow::Result<JoinHandle<anyhow::Result<Robot>>> {
    let maskcast = Maskcast::connect(&ConnectConfig {
        endpoints: service.publisher.listening(),
        prefix: launch.publish.key_prefix.clone(),
        ..Default::default()
    })?;
    let mut eye = maskcast
        .camera(camera.id.as_str())
        .form(Form::Rle)
        .max_age(camera.valid_for)
        .history(1024)
        .open()?;
    let thread = std::thread::Builder::new().name("robot".to_owned()).spawn(move || {
        let mut robot = Robot::default();
        loop {
            // Read before waiting: what was sent before the end is received before the end.
            let last_round = over.load(Ordering::Relaxed);
            let asked = clocks.mono_nanos();
            match eye.next(PATIENCE) {
                Event::Answer(answer) => {
                    robot.missed += answer.missed;
                    robot.frames.push(Received {
                        frame_number: answer.result.header.frame_number,
                        detected: answer
                            .instances()
                            .map(|i| Detected::new(i.class_id, i.score, i.bounds, i.mask.as_ref()))
                            .collect(),
                    });
                }
                Event::NoAnswer(_) => robot.tombstones += 1,
                Event::Rejected(why) => robot.rejected.push(format!("the robot rejected a message: {why}")),
                // Nothing came for the whole time, and nothing will.
                _ if last_round && clocks.mono_nanos() - asked >= crate::time::nanos(PATIENCE) => return Ok(robot),
                _ => {}
            }
        }
    });
    thread.context("cannot start the robot's thread")
}

/// Scores what was received; the truth is rendered again from the frame numbers.
fn judge(scene: &SimulatedScene, classes: &[String], robot: &Robot) -> anyhow::Result<Evaluation> {
    let config = SceneConfig {
        seed: scene.seed,
        objects: scene.objects,
        width: scene.size.width,
        height: scene.size.height,
        fps: scene.fps,
    };
    let mut simulator = Scene::new(config)?;
    let class_ids: BTreeMap<usize, u32> = CLASS_NAMES
        .iter()
        .enumerate()
        .filter_map(|(i, name)| Some((i, u32::try_from(classes.iter().position(|c| c == name)?).ok()?)))
        .collect();
    let mut evaluation = Evaluation::new(classes.to_vec());
    for frame in &robot.frames {
        let truths = simulator
            .truth(frame.frame_number.saturating_sub(1))
            .into_iter()
            .filter_map(|t| {
                let class_id = *class_ids.get(&(t.class_id as usize))?;
                let runs = MaskRuns::from_dense(t.x, t.y, t.width, t.height, &t.mask)?;
                Some(Truth::from_runs(class_id, &runs))
            });
        evaluation.add_image(truths.collect(), frame.detected.clone())?;
    }
    Ok(evaluation)
}

/// Prints where video and still are. False when a recording failed.
fn say_recordings(recorders: &[RecorderStatuses]) -> anyhow::Result<bool> {
    let mut fine = true;
    for statuses in recorders {
        for recorder in statuses.snapshot() {
            if let Some(error) = &recorder.error {
                say!("trouble: recording {}: {error}", recorder.camera);
                fine = false;
            }
            let Some(dir) = &recorder.dir else { continue };
            for video in videos(dir)? {
                say!("annotated video  {}", video.display());
            }
            let (written, dropped, lost) = (recorder.frames_written, recorder.frames_dropped, recorder.frames_failed);
            say!("                 {written} frames, {dropped} dropped, {lost} failed");
            fine &= lost == 0;
            if let Some(still) = statuses.best_still(&recorder.camera) {
                let path = dir.join("still.png");
                still.write_png(&path)?;
                say!("still picture    {}", path.display());
            }
        }
    }
    Ok(fine)
}

fn videos(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut videos: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    videos.retain(|path| path.extension().is_some_and(|e| e == "mkv"));
    videos.sort();
    Ok(videos)
}
