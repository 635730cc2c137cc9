//! `maskcast engine time`: how long an engine takes, part by part.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::Executor;
use crate::engine::Precision;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::instances::Limits;
use crate::model::{Options, Spent};
use crate::pipeline::{Choice, Engine, MaskBranch};
use crate::source::{Orientation, read_still};
use crate::time::{Clocks, SystemClocks};

/// Time an engine on one picture: preprocessing, each part of the network, masks drawn.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(value_name = "TOML")]
    engine: PathBuf,
    /// The picture; without it, noise of --size.
    #[arg(long, value_name = "IMAGE", conflicts_with = "size")]
    image: Option<PathBuf>,
    /// Size of the noise.
    #[arg(long, value_name = "WxH", default_value = "640x480")]
    size: ImageSize,
    /// auto, cpu, cudnn or tensorrt; auto takes the GPU where there is one.
    #[arg(long, value_name = "EXECUTOR", default_value_t = Executor::Auto)]
    executor: Executor,
    /// f32, bf16 or int8, instead of the recipe's.
    #[arg(long)]
    precision: Option<Precision>,
    /// Threads of the network; one a processor, at most eight, unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Instances below are left out, and no mask is drawn for them.
    #[arg(long)]
    score_threshold: Option<f32>,
    /// Leave the mask branch out.
    #[arg(long)]
    boxes: bool,
    /// Runs, after three that are not counted.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Run once for each line of standard input and print the milliseconds: to take turns with something else.
    #[arg(long, conflicts_with = "rounds")]
    on_request: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let image = match &args.image {
        Some(path) => read_still(path, Orientation::AsStored).with_context(|| path.display().to_string())?,
        None => noise(args.size)?,
    };
    let options = Options {
        precision: args.precision,
        threads: args.threads.map(usize::from),
        score_threshold: args.score_threshold,
        ..Options::default()
    };
    let limits = Limits {
        score_threshold: 0.0,
        max_instances: usize::MAX,
    };
    let choice = Choice {
        executor: args.executor,
        options,
        cameras: 1,
    };
    let mut segmenter = Engine::load(&args.engine, limits, &choice)?;
    let masks = if args.boxes { MaskBranch::Skip } else { MaskBranch::Run };
    let mut once = || -> anyhow::Result<Round> {
        let start = SystemClocks.mono_nanos();
        let found = segmenter.find(&image, masks, &SystemClocks)?;
        let nanos = SystemClocks.mono_nanos() - start;
        let whole = Duration::from_nanos(nanos.unsigned_abs());
        Ok(Round {
            whole,
            spent: segmenter.spent(),
            device: segmenter.device_time(),
            instances: found.instances.len(),
        })
    };
    for _ in 0..3 {
        once()?;
    }
    if args.on_request {
        let mut out = std::io::stdout().lock();
        writeln!(out, "ready").context("standard output")?;
        for line in std::io::stdin().lock().lines() {
            line.context("standard input")?;
            let Round { whole, instances, .. } = once()?;
            writeln!(out, "{:.3} ms, {instances} instances", millis(whole)).context("standard output")?;
            out.flush().context("standard output")?;
        }
        return Ok(());
    }
    let mut rounds = Vec::with_capacity(args.rounds as usize);
    for _ in 0..args.rounds {
        rounds.push(once()?);
    }
    let Some(&Round { instances, .. }) = rounds.last() else {
        bail!("no round was run");
    };
    let median = |part: &dyn Fn(&Round) -> Duration| {
        let mut all: Vec<Duration> = rounds.iter().map(part).collect();
        all.sort_unstable();
        millis(all[all.len() / 2])
    };
    let identity = segmenter.identity();
    crate::cli::answer(format_args!(
        "{} {} on {}: {}, {instances} instances, medians of {} rounds, ms",
        args.engine.display(),
        identity.executor.precision,
        identity.executor.device.trim(),
        image.size,
        args.rounds
    ))?;
    type Part = fn(&Spent) -> Duration;
    let parts: [(&str, Part); 8] = [
        ("trunk", |s| s.trunk),
        ("proposals", |s| s.proposals),
        ("box RoIAlign", |s| s.box_pool),
        ("box head", |s| s.box_head),
        ("detections", |s| s.detections),
        ("mask RoIAlign", |s| s.mask_pool),
        ("mask head", |s| s.mask_head),
        ("mask selection", |s| s.mask_select),
    ];
    let line = |name: &str, millis: f64| crate::cli::answer(format_args!("{name:<16}{millis:9.2}"));
    // On a GPU the parts are one graph.
    if rounds.iter().all(|round| round.spent.is_some()) {
        let spent = |round: &Round| round.spent.unwrap_or_default();
        for (name, part) in parts {
            line(name, median(&|round| part(&spent(round))))?;
        }
        line(
            "before and after",
            median(&|round| round.whole.saturating_sub(spent(round).total())),
        )?;
    } else {
        line("on the device", median(&|round| round.device.unwrap_or_default()))?;
    }
    line("whole", median(&|round| round.whole))
}

/// One picture.
#[derive(Debug, Clone, Copy)]
struct Round {
    whole: Duration,
    spent: Option<Spent>,
    device: Option<Duration>,
    instances: usize,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Seeded noise, the same each time.
fn noise(size: ImageSize) -> anyhow::Result<Image> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = std::iter::repeat_with(byte).take(3 * size.area() as usize).collect();
    Ok(Image::packed(PixelFormat::Rgb8, size, bytes)?)
}
