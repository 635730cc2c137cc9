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
use crate::instances::Limits;
use crate::model::Options;
use crate::pipeline::MaskRcnnSegmenter;
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
                    network::run(rounds, &mut record, |batch| seeded_network(&device, batch))?;
                }
            }
            Step::Cameras => {
                let mut record = Record::begin(out, step.name(), None)?;
                cameras::run(&args.engine, &args.cameras, each, &mut record, || {
                    engine(&args.engine, args.executor)
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

fn stand_in(names: impl IntoIterator<Item = String>, unit: &str, record: &mut Record) -> anyhow::Result<()> {
    for name in names {
        record.add(Row::missing(name, unit, "stand-in: no timings"))?;
    }
    Ok(())
}

/// ResNet-50-FPN of seeded weights on `device`.
fn seeded_network(_: &Device, _: usize) -> anyhow::Result<network::Forward> {
    bail!("this build has no network on a GPU")
}

/// The engine of `recipe`, run by `executor`.
fn engine(recipe: &Path, executor: Executor) -> anyhow::Result<cameras::Engine> {
    if executor != Executor::Cpu {
        bail!("this build has no executor {executor} for the pipeline");
    }
    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 100,
    };
    let segmenter = MaskRcnnSegmenter::load(recipe, limits, &Options::default())?;
    Ok(cameras::Engine {
        classes: segmenter.classes(),
        name: format!("{} on {executor}", segmenter.network().recipe().name),
        segmenter: Box::new(segmenter),
    })
}
