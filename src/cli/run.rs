//! `maskcast run`: a launch file until its cameras end or a signal comes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::answer;
use super::progress::{LiveLine, live_text, summary_table};
use crate::config;
use crate::outlets::record::RecorderStatuses;
use crate::pipeline::{Service, Snapshot, looks_like_recipe};
use crate::time::{Clocks, SystemClocks};

/// Attach the cameras of a launch file, publish every frame's instances on zenoh, record annotated video
///
/// Ends when every camera has ended (files read once), after --seconds, or on Ctrl-C or SIGTERM; recordings are closed
/// properly in each case.
///
/// Example launch file:
///
///   engine = "engines/conveyor.toml"
///   [[camera]]
///   id = "dock-3"
///   uri = "rtsp://192.0.2.7/stream"   # file://, v4l2://, images://, gst:..., sim://conveyor?seed=7
///   [[outlet]]
///   kind = "annotated_video"
///   dir = "recordings"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The launch file (TOML)
    launch: PathBuf,
    /// Stop after this many seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// Check the launch file, print it as it is meant and stop
    #[arg(long)]
    check: bool,
}

/// Exit code 1 when a camera failed for good or a recording has an error.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let launch = match config::read(&args.launch) {
        Err(error) if looks_like_recipe(&args.launch) => {
            return Err(anyhow::Error::new(error).context("this is an engine recipe, not a launch file"));
        }
        other => other?,
    };
    if args.check {
        answer(format!("{launch:#?}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let limit = args
        .seconds
        .map(Duration::try_from_secs_f64)
        .transpose()
        .context("--seconds")?;
    let stop = stop_on_signals()?;
    let clocks: Arc<dyn Clocks> = Arc::new(SystemClocks);
    let service = Service::start(&launch, Arc::clone(&clocks))?;
    say!("engine   {}", service.engine);
    let listening = service.publisher.listening().join(", ");
    say!("zenoh    {listening} (prefix {})", launch.publish.key_prefix);
    for camera in &launch.cameras {
        say!("camera   {}  {}", camera.id, camera.uri.redacted());
    }
    let start = clocks.mono_nanos();
    let elapsed = || (clocks.mono_nanos() - start) as f64 / 1e9;
    let mut line = LiveLine::new();
    service.wait(limit, &*clocks, |snapshot| {
        line.say(elapsed(), live_text(snapshot, elapsed()));
        stop.load(Ordering::Relaxed)
    });
    let seconds = elapsed();
    line.finish();
    let recorders = service.recorders.clone();
    let snapshot = service.stop();
    say!("{}", summary_table(&snapshot, seconds));
    Ok(conclude(&snapshot, &recorders))
}

/// Says what went wrong and where the recordings are.
fn conclude(snapshot: &Snapshot, recorders: &[RecorderStatuses]) -> ExitCode {
    let mut failed = snapshot.cameras.values().any(|c| c.failed) || !snapshot.faults.is_empty();
    for (id, camera) in snapshot.cameras.iter().filter(|(_, c)| c.frames == 0 && !c.failed) {
        say!("trouble: camera {id} never delivered a frame ({})", camera.state);
        failed = true;
    }
    for trouble in snapshot.troubles.iter().chain(&snapshot.faults) {
        say!("trouble: {trouble}");
    }
    for recorder in recorders.iter().flat_map(RecorderStatuses::snapshot) {
        let dir = recorder.dir.map(|d| d.display().to_string()).unwrap_or_default();
        let (written, dropped, lost) = (recorder.frames_written, recorder.frames_dropped, recorder.frames_failed);
        say!(
            "recorded {}  {written} frames, {dropped} dropped, {lost} failed  {dir}",
            recorder.camera
        );
        if let Some(error) = recorder.error {
            say!("trouble: recording {}: {error}", recorder.camera);
        }
        failed |= lost > 0;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A flag that Ctrl-C, SIGTERM and a closed terminal set; a second signal kills.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Order matters: the conditional shutdown sees the flag as it was before this signal.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).context("signal handler")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signal handler")?;
    }
    Ok(stop)
}
