//! `maskcast synth`: the simulated camera as a data set.

use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::geometry::ImageSize;
use crate::source::simulated::SceneKind;
use crate::source::simulated::synth::{ImageFormat, SynthOptions, write_dataset};

/// Write pictures of the simulated camera with exact masks as a COCO data set
///
/// Each picture has a seed of its own (--seed, --seed + 1, ...), so two data sets share nothing when their seeds do
/// not. Writes DIR/images/*.jpg and DIR/annotations.json; the same arguments give the same bytes.
///
/// --scene conveyor: a belt seen from above with boxes, bottles, cans, mugs, balls, bolts, bags and cones, eight
/// classes. --scene tabletop: any things on any table under any light, one class named object, for networks that find
/// every separate thing whatever it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the pictures show
    #[arg(long, value_enum, default_value_t = SceneArg::Conveyor)]
    scene: SceneArg,
    /// Seed of the first picture
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of pictures
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Folder to write into
    #[arg(long)]
    out: PathBuf,
    /// Size of a picture
    #[arg(long, default_value = "640x480")]
    size: ImageSize,
    /// Mean number of objects in a picture (of a tabletop: about, and at most 40 at the default)
    #[arg(long, default_value_t = 12)]
    objects: u32,
    /// Threads; 0 = all cores
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: u16,
    /// Write PNG instead of JPEG
    #[arg(long)]
    png: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SceneArg {
    /// A belt seen from above, eight classes
    Conveyor,
    /// Any things on any table, one class: object
    Tabletop,
}

impl From<SceneArg> for SceneKind {
    fn from(scene: SceneArg) -> SceneKind {
        match scene {
            SceneArg::Conveyor => SceneKind::Conveyor,
            SceneArg::Tabletop => SceneKind::Tabletop,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let scene = SceneKind::from(args.scene);
    let options = SynthOptions {
        scene,
        first_seed: args.seed,
        count: args.count,
        out_dir: args.out.clone(),
        width: args.size.width,
        height: args.size.height,
        objects: args.objects,
        threads: if args.threads == 0 {
            cores
        } else {
            usize::from(args.threads)
        },
        format: if args.png { ImageFormat::Png } else { ImageFormat::Jpeg },
    };
    let bar = ProgressBar::new(args.count);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} pictures, {eta} left").context("bar")?);
    let summary = write_dataset(&options, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    say!(
        "{} pictures, {} objects in {}",
        summary.images,
        summary.annotations,
        args.out.display()
    );
    for (name, count) in scene.class_names().iter().zip(summary.per_class) {
        say!("{name:>8}  {count}");
    }
    Ok(())
}
