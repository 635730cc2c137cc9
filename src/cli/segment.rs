//! `maskcast segment`: pictures in, instances out as JSON and drawn into copies. The JSON's masks are COCO compressed RLE
//! over the whole picture, as pycocotools reads them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::tiles::TileArgs;
use crate::config::Executor;
use crate::engine::Precision;
use crate::frame::Image;
use crate::geometry::{ImageSize, PixelBox, SourcePx};
use crate::instances::{ClassMap, Limits, MaskRuns};
use crate::model::Options;
use crate::outlets::overlay::{Canvas, Caption, Painter, Space, Style, save_png};
use crate::pipeline::{Choice, Engine, MaskBranch};
use crate::source::{Orientation, read_still};
use crate::time::SystemClocks;

/// Find and outline the objects in pictures.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Pictures (PNG, JPEG, BMP), looked at as they are stored: rotation tags are not applied.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Recipe of the engine.
    #[arg(long, value_name = "TOML")]
    pub engine: PathBuf,
    /// Where the instances of all pictures are written. Standard output when neither this nor --annotated is given.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the drawn pictures go, always PNG: a file for one picture; for several, or when the path is a folder or ends
    /// with '/', a folder that gets <name>.png for each (<name>-2.png if that name is taken).
    #[arg(long, value_name = "PATH")]
    pub annotated: Option<PathBuf>,
    /// Instances below are left out.
    #[arg(long, default_value_t = 0.5, value_parser = parse_score)]
    pub score_threshold: f32,
    /// The wire's own rule, exact in integers; or torchvision's, with boxes as the network gave them, to compare with it.
    #[arg(long, value_enum, default_value_t = Paste::Exact, conflicts_with_all = ["annotated", "tile"])]
    pub paste: Paste,
    /// With --paste torchvision: pictures of one size that go through the network together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), conflicts_with = "tile")]
    pub batch: u16,
    #[command(flatten)]
    pub tiles: TileArgs,
    /// auto, cpu, cudnn or tensorrt; auto takes the GPU where there is one.
    #[arg(long, value_name = "EXECUTOR", default_value_t = Executor::Auto)]
    executor: Executor,
    /// f32, bf16 or int8, instead of the recipe's.
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Threads of the network; one a processor, at most eight, unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// How masks become pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Paste {
    Exact,
    Torchvision,
}

fn parse_score(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err(format!("{text:?} is no score: expected 0 to 1")),
    }
}

/// What the JSON says of one picture.
#[derive(Debug, Serialize)]
struct PictureJson {
    image: String,
    width: u32,
    height: u32,
    instances: Vec<InstanceJson>,
}

#[derive(Debug, Serialize)]
struct InstanceJson {
    /// 0-based foreground class.
    class_id: u32,
    class_name: String,
    score: f32,
    /// x0, y0, x1, y1 in the picture's px.
    #[serde(rename = "box")]
    bounds: [f32; 4],
    mask: MaskJson,
}

#[derive(Debug, Serialize)]
struct MaskJson {
    /// Height, width.
    size: [u32; 2],
    counts: String,
}

/// Pictures that fail are named on standard error and the others still run; then the end is an error.
pub fn run(args: Args) -> anyhow::Result<()> {
    let outputs = args
        .annotated
        .as_deref()
        .map(|path| outputs(path, &args.images))
        .transpose()?;
    let options = Options {
        precision: args.precision,
        threads: args.threads.map(usize::from),
        score_threshold: Some(args.score_threshold),
        clocks: Arc::new(SystemClocks),
    };
    let limits = Limits {
        score_threshold: args.score_threshold,
        max_instances: usize::MAX, // beyond the recipe's own number
    };
    let choice = Choice {
        // torchvision's paste rule is the processor's alone.
        executor: match args.paste {
            Paste::Torchvision if args.executor == Executor::Auto => Executor::Cpu,
            _ => args.executor,
        },
        options,
        cameras: 1,
    };
    let segmenter = Engine::load(&args.engine, limits, &choice)?;
    let mut segmenter = segmenter.with_tiling(args.tiles.tiling);
    if args.paste == Paste::Torchvision {
        let pictures = as_torchvision(&mut segmenter, &args)?;
        return write_json(&args, &pictures);
    }
    let mut painter = Painter::new(Style::of_classes(segmenter.classes().names.len()));
    let (mut pictures, mut failed) = (Vec::new(), 0);
    for (index, path) in args.images.iter().enumerate() {
        let annotated = outputs.as_ref().map(|paths| paths[index].as_path());
        match one(&mut segmenter, &mut painter, path, annotated) {
            Ok(picture) => pictures.push(picture),
            Err(error) => {
                say!("error: {}: {}", path.display(), super::whole(&error));
                failed += 1;
            }
        }
    }
    if args.json.is_some() || outputs.is_none() {
        write_json(&args, &pictures)?;
    }
    if failed > 0 {
        bail!("{failed} of {} pictures failed", args.images.len());
    }
    Ok(())
}

/// To --json or standard output.
fn write_json(args: &Args, pictures: &[PictureJson]) -> anyhow::Result<()> {
    let json = serde_json::to_vec(pictures).context("JSON of the instances")?;
    if let Some(path) = &args.json {
        return std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&json)
        .and_then(|()| out.write_all(b"\n"))
        .context("standard output")
}

/// Every picture must be readable here: what is compared must be whole.
fn as_torchvision(segmenter: &mut Engine, args: &Args) -> anyhow::Result<Vec<PictureJson>> {
    let classes = segmenter.classes();
    let mut pictures = Vec::new();
    for paths in args.images.chunks(usize::from(args.batch)) {
        let mut images = Vec::with_capacity(paths.len());
        for path in paths {
            let image = read_still(path, Orientation::AsStored)?;
            if images.first().is_some_and(|first: &Image| first.size != image.size) {
                bail!("{}: --batch needs pictures of one size", path.display());
            }
            images.push(image);
        }
        let answers = segmenter.find_as_torchvision(&images)?;
        for ((path, image), found) in paths.iter().zip(&images).zip(answers) {
            let found = found.iter().map(|u| (u.class_id, u.score, u.bounds, u.runs.as_ref()));
            pictures.push(picture_json(path, image.size, &classes, found)?);
        }
    }
    Ok(pictures)
}

fn one(
    segmenter: &mut Engine,
    painter: &mut Painter,
    path: &Path,
    annotated: Option<&Path>,
) -> anyhow::Result<PictureJson> {
    let image = read_still(path, Orientation::AsStored)?;
    let instances = segmenter.find(&image, MaskBranch::Run, &SystemClocks)?.instances;
    let classes = segmenter.classes();
    if let Some(out) = annotated {
        let mut canvas = Canvas::from_image(&image, Space::Rgb);
        painter.draw(&mut canvas, &instances, &classes, &Caption::default());
        save_png(&canvas, out)?;
    }
    let found = instances.iter().map(|instance| {
        let runs = instance.mask.as_ref().and_then(|mask| mask.runs.as_ref());
        (instance.class_id, instance.score, instance.bounds.to_px(), runs)
    });
    picture_json(path, image.size, &classes, found)
}

/// `found`: class id, score, box and pixels of each instance.
fn picture_json<'a>(
    path: &Path,
    size: ImageSize,
    classes: &ClassMap,
    found: impl Iterator<Item = (u32, f32, PixelBox<SourcePx>, Option<&'a MaskRuns>)>,
) -> anyhow::Result<PictureJson> {
    let instances = found.map(|(class_id, score, b, runs)| {
        Ok(InstanceJson {
            class_id,
            class_name: classes.names.get(class_id as usize).cloned().unwrap_or_default(),
            score,
            bounds: [b.x0, b.y0, b.x1, b.y1],
            mask: mask_json(runs, size)?,
        })
    });
    Ok(PictureJson {
        image: path.display().to_string(),
        width: size.width,
        height: size.height,
        instances: instances.collect::<anyhow::Result<_>>()?,
    })
}

/// A mask without pixels is one run of zeros.
fn mask_json(runs: Option<&MaskRuns>, frame: ImageSize) -> anyhow::Result<MaskJson> {
    let counts = match runs {
        Some(runs) => runs
            .to_frame_counts(frame)
            .ok_or_else(|| anyhow!("a mask reaches beyond the picture"))?,
        None => MaskRuns {
            x: 0,
            y: 0,
            width: frame.width,
            height: frame.height,
            runs: vec![u32::try_from(frame.area()).context("the picture is too large for COCO masks")?],
        }
        .to_counts(),
    };
    Ok(MaskJson {
        size: [frame.height, frame.width],
        counts: String::from_utf8(counts)?,
    })
}

/// The annotated path of each picture; makes the folder.
fn outputs(path: &Path, images: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if images.len() == 1 && !path.is_dir() && !ends_in_slash {
        let png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if !png {
            bail!(
                "--annotated {}: expected a name that ends in .png, or a folder",
                path.display()
            );
        }
        return Ok(vec![path.to_owned()]);
    }
    std::fs::create_dir_all(path).with_context(|| format!("--annotated {}: cannot make the folder", path.display()))?;
    let mut taken = BTreeSet::new();
    let named = images.iter().map(|image| {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = format!("{stem}.png");
        let mut copy = 2;
        while !taken.insert(name.clone()) {
            name = format!("{stem}-{copy}.png");
            copy += 1;
        }
        path.join(name)
    });
    Ok(named.collect())
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
