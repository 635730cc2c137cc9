//! `maskcast gpu-check`: what a GPU machine has to say in one run: kernels bit for bit, times, and at last one table.
//! `tests/gpu/run.sh` calls it, with the steps that are not ours between.

mod cameras;
mod kernels;
mod layers;
mod network;
mod ops;
mod record;
mod table;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::config::Executor;
use crate::device::Device;
use crate::engine::cudnn::Tuning;
use crate::geometry::{ImageSize, Letterbox};
use crate::instances::Limits;
use crate::model::device_net::{DeviceMaskRcnn, DeviceOptions, ReadyInput};
use crate::model::{Masks, Options, Recipe, Weights};
use crate::ops::bench::noise;
use crate::pipeline::{Choice, Engine};
use record::{Record, Row, is_stand_in};

/// Check the GPU path on this machine: kernels bit for bit, times, one table
#[derive(Debug, clap::Args)]
pub struct Args {
    /// These steps only, in this order
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// Folder of the records, one JSON file a step
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rounds of each timing
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Seconds of each camera count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of the layers' table, both batches together
    #[arg(long, default_value_t = 90)]
    layer_seconds: u64,
    /// Recipe of the network, whose weights are made here
    #[arg(long, default_value = "engines/coco-resnet50.toml", value_name = "TOML")]
    network: PathBuf,
    /// Time every configuration that cuDNN knows of the network's layers and keep the best: minutes, the first time
    #[arg(long)]
    tuned: bool,
    /// Engine of the cameras
    #[arg(long, default_value = "engines/conveyor.toml", value_name = "TOML")]
    engine: PathBuf,
    /// What runs the engine of the cameras
    #[arg(long, default_value = "cudnn")]
    executor: Executor,
    /// How many cameras, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = cameras::COUNTS)]
    cameras: Vec<usize>,
    /// What the kernels gave on the machine that the program was made on
    #[arg(long, default_value = "tests/data/kernel_hashes.json", value_name = "JSON")]
    hashes: PathBuf,
    /// Write those hashes instead of comparing with them
    #[arg(long)]
    bless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Each kernel against its plain loop
    Kernels,
    /// Each kernel's time, and the ceiling of copies
    Ops,
    /// The whole network, batch 1 and 8
    Network,
    /// Its convolutions alone
    Layers,
    /// The pipeline with simulated cameras
    Cameras,
    /// The table, of all records in the folder
    Table,
}

impl Step {
    const ALL: [Step; 6] = [
        Step::Kernels,
        Step::Ops,
        Step::Network,
        Step::Cameras,
        Step::Layers,
        Step::Table,
    ];

    fn name(self) -> &'static str {
        match self {
            Step::Kernels => "kernels",
            Step::Ops => "ops",
            Step::Network => "network",
            Step::Layers => "layers",
            Step::Cameras => "cameras",
            Step::Table => "table",
        }
    }
}

/// Failure when a kernel differs or a goal is missed; what could not be measured is no failure.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let out = &args.out;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let each = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let rounds = args.rounds as usize;
    let steps = if args.only.is_empty() {
        Step::ALL.to_vec()
    } else {
        args.only.clone()
    };
    let mut fine = true;
    for step in steps {
        say!("{}", step.name());
        match step {
            Step::Kernels => {
                let device = Device::open(0)?;
                let mut record = Record::begin(out, step.name(), Some(&device))?;
                fine &= kernels::run(&device, &args.hashes, args.bless, &mut record)? == 0;
            }
            Step::Ops => {
                let device = Device::open(0)?;
                let mut record = Record::begin(out, step.name(), Some(&device))?;
                ops::run(&device, rounds, &mut record)?;
            }
            Step::Network => {
                let device = Device::open(0)?;
                let mut record = Record::begin(out, step.name(), Some(&device))?;
                if is_stand_in(&device) {
                    stand_in(network::BATCHES.map(network::name), "ms", &mut record)?;
                } else {
                    let tuning = if args.tuned { Tuning::KEPT } else { Tuning::Off };
                    network::run(rounds, &mut record, |batch| {
                        seeded_network(&args.network, batch, tuning.clone())
                    })?;
                }
            }
            Step::Cameras => {
                let mut record = Record::begin(out, step.name(), None)?;
                cameras::run(&args.engine, &args.cameras, each, &mut record, |cameras| {
                    engine(&args.engine, args.executor, cameras)
                })?;
            }
            Step::Layers => {
                let device = Device::open(0)?;
                let mut record = Record::begin(out, step.name(), Some(&device))?;
                if is_stand_in(&device) {
                    stand_in(
                        network::BATCHES.map(layers::names).into_iter().flatten(),
                        "ms",
                        &mut record,
                    )?;
                } else {
                    let patience = Duration::from_secs(args.layer_seconds);
                    layers::run(&device, out, &args.network, patience, &mut record)?;
                }
            }
            Step::Table => fine &= table::run(out)?,
        }
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why nothing is timed there.
const STAND_IN: &str = "stand-in: no timings";

fn stand_in(names: impl IntoIterator<Item = String>, unit: &str, record: &mut Record) -> anyhow::Result<()> {
    for name in names {
        record.add(Row::missing(name, unit, STAND_IN))?;
    }
    Ok(())
}

/// ResNet-50-FPN of seeded weights on the first GPU; no detection's score is too low. Its answer is more than was asked for:
/// masks are pasted and encoded too, on the device.
fn seeded_network(recipe: &Path, batch: usize, tuning: Tuning) -> anyhow::Result<network::Forward> {
    let (padded, picture) = (ImageSize::new(1344, 800), ImageSize::new(1333, 800));
    let options = DeviceOptions {
        score_threshold: Some(0.0),
        tuning,
        ..DeviceOptions::default()
    };
    let mut net: DeviceMaskRcnn<ReadyInput> =
        DeviceMaskRcnn::build(Recipe::read(recipe)?, Weights::seeded(1), &options, &[])?;
    let values = noise(3 * padded.area() as usize, 1);
    net.prepare(padded, batch, |device, _| {
        ReadyInput::new(device, padded, batch, &values)
    })?;
    let placed = Letterbox {
        source: picture,
        resized: picture,
        network: padded,
    };
    let placed = vec![placed; batch];
    Ok(Box::new(move || {
        net.submit(&placed, Masks::Yes)?;
        net.collect(padded, batch)?;
        Ok(())
    }))
}

/// The engine of `recipe`, run by `executor` for so many cameras.
fn engine(recipe: &Path, executor: Executor, cameras: usize) -> anyhow::Result<cameras::Engine> {
    if executor == Executor::Cudnn && is_stand_in(&Device::open(0)?) {
        bail!(STAND_IN);
    }
    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 100,
    };
    let choice = Choice {
        executor,
        options: Options {
            score_threshold: Some(limits.score_threshold),
            ..Options::default()
        },
        cameras,
    };
    let loaded = Engine::load(recipe, limits, &choice)?;
    Ok(cameras::Engine {
        classes: loaded.classes(),
        name: format!("{} on {}", loaded.recipe().name, loaded.identity().executor.name),
        segmenter: Box::new(loaded),
    })
}
