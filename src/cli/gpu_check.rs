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

use anyhow::Context;
use clap::ValueEnum;

use crate::config::Executor;
use crate::device::Device;
use crate::engine::cudnn::Tuning;
use crate::geometry::{ImageSize, Letterbox};
use crate::instances::Limits;
use crate::model::device_net::{DeviceMaskRcnn, DeviceOptions, ReadyInput};
use crate::model::{Masks, Options, Recipe, Weights};
use crate::ops::bench::noise;
use crate::pipeline::{Choice, DeviceSegmenter, Engine};
use crate::time::SystemClocks;
use record::{Record, is_stand_in};

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
    /// Of each layer time so many of the configurations that cuDNN suggests, and take the fastest
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tune: u32,
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
                let small = is_stand_in(&device);
                let recipe = if small { &args.engine } else { &args.network };
                network::run(if small { 1 } else { rounds }, args.tune, &mut record, |batch, tune| {
                    seeded_network(recipe, small, batch, tuning(out, small, tune))
                })?;
            }
            Step::Cameras => {
                let device = match args.executor {
                    Executor::Cudnn => Some(Device::open(0)?),
                    _ => None, // the processor's engine asks no card
                };
                let tuning = tuning(out, device.as_ref().is_some_and(is_stand_in), args.tune);
                let mut record = Record::begin(out, step.name(), device.as_ref())?;
                cameras::run(&args.engine, &args.cameras, each, &mut record, |cameras| {
                    engine(&args.engine, args.executor, &tuning, cameras)
                })?;
            }
            Step::Layers => {
                let device = Device::open(0)?;
                let mut record = Record::begin(out, step.name(), Some(&device))?;
                let small = is_stand_in(&device);
                let asked = if small {
                    layers::Asked::small(&args.engine)
                } else {
                    layers::Asked::whole(&args.network, Duration::from_secs(args.layer_seconds))
                };
                layers::run(&device, out, tuning(out, small, args.tune), &asked, &mut record)?;
            }
            Step::Table => fine &= table::run(out)?,
        }
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plans are this run's own, as many configurations a layer as it asks for; on the stand-in, where all are one, none are kept.
fn tuning(out: &Path, stand_in: bool, most: u32) -> Tuning {
    if stand_in {
        return Tuning::Off;
    }
    Tuning::Kept {
        folder: Some(out.join(format!("plans/{most}"))),
        most: Some(most as usize),
        pool_bytes: None,
    }
}

/// A network of seeded weights on the first GPU; no detection's score is too low. Its answer is more than was asked for: masks
/// are pasted and encoded too, on the device. `small`: what the host computes in seconds.
fn seeded_network(recipe: &Path, small: bool, batch: usize, tuning: Tuning) -> anyhow::Result<network::Forward> {
    let (padded, picture) = match small {
        true => (ImageSize::new(128, 96), ImageSize::new(120, 96)),
        false => (ImageSize::new(1344, 800), ImageSize::new(1333, 800)),
    };
    let options = DeviceOptions {
        score_threshold: Some(0.0),
        tuning,
        ..DeviceOptions::default()
    };
    let mut recipe = Recipe::read(recipe)?;
    if small {
        (recipe.test.post_nms_top_n, recipe.test.detections) = (32, 8);
    }
    let mut net: DeviceMaskRcnn<ReadyInput> = DeviceMaskRcnn::build(recipe, Weights::seeded(1), &options, &[])?;
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
fn engine(recipe: &Path, executor: Executor, tuning: &Tuning, cameras: usize) -> anyhow::Result<cameras::Engine> {
    let limits = Limits {
        score_threshold: 0.5,
        max_instances: 100,
    };
    let mut loaded = match executor {
        Executor::Cudnn => {
            let options = DeviceOptions {
                score_threshold: Some(limits.score_threshold),
                tuning: tuning.clone(),
                ..DeviceOptions::default()
            };
            let loaded = DeviceSegmenter::load(recipe, limits, &options, cameras)?;
            Engine::Cudnn(Box::new(loaded))
        }
        _ => {
            let options = Options {
                score_threshold: Some(limits.score_threshold),
                ..Options::default()
            };
            let choice = Choice {
                executor,
                options,
                cameras,
            };
            Engine::load(recipe, limits, &choice)?
        }
    };
    // Every number of pictures has its plan before anything is timed.
    loaded.warm_up(ImageSize::new(640, 480), &SystemClocks)?;
    Ok(cameras::Engine {
        classes: loaded.classes(),
        name: format!("{} on {}", loaded.recipe().name, loaded.identity().executor.name),
        segmenter: Box::new(loaded),
    })
}
