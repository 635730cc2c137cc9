//! `maskcast segment`: pictures in, instances out as JSON and drawn into copies. The JSON's masks are COCO compressed RLE
//! over the whole picture, as pycocotools reads them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use crate::engine::Precision;
use crate::geometry::ImageSize;
use crate::instances::{InstanceMask, Limits, MaskRuns};
use crate::model::Options;
use crate::outlets::overlay::{Canvas, Caption, Painter, Space, Style, save_png};
use crate::pipeline::{MaskBranch, MaskRcnnSegmenter};
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
    /// f32 or bf16, instead of the recipe's.
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Threads of the network; one a processor, at most eight, unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
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
    let mut segmenter = MaskRcnnSegmenter::load(&args.engine, limits, &options)?;
    let mut painter = Painter::new(Style::default());
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
    let json = || serde_json::to_vec(&pictures).context("JSON of the instances");
    if let Some(path) = &args.json {
        std::fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
    } else if outputs.is_none() {
        let mut out = std::io::stdout().lock();
        out.write_all(&json()?)
            .and_then(|()| out.write_all(b"\n"))
            .context("standard output")?;
    }
    if failed > 0 {
        bail!("{failed} of {} pictures failed", args.images.len());
    }
    Ok(())
}

fn one(
    segmenter: &mut MaskRcnnSegmenter,
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
    let name = |id: u32| classes.names.get(id as usize).cloned().unwrap_or_default();
    let instances = instances.iter().map(|instance| {
        let b = instance.bounds.to_px();
        Ok(InstanceJson {
            class_id: instance.class_id,
            class_name: name(instance.class_id),
            score: instance.score,
            bounds: [b.x0, b.y0, b.x1, b.y1],
            mask: mask_json(instance.mask.as_ref(), image.size)?,
        })
    });
    Ok(PictureJson {
        image: path.display().to_string(),
        width: image.size.width,
        height: image.size.height,
        instances: instances.collect::<anyhow::Result<_>>()?,
    })
}

/// A mask without pixels is one run of zeros.
fn mask_json(mask: Option<&InstanceMask>, frame: ImageSize) -> anyhow::Result<MaskJson> {
    let counts = match mask.and_then(|mask| mask.runs.as_ref()) {
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
