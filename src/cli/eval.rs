//! `maskcast eval`: the twelve COCO numbers of an engine over a data set, or of a result file.

pub(super) mod engine;
mod pictures;

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;

use super::tiles::TileArgs;
use crate::config::Executor;
use crate::evaluate::dataset::DataSet;
use crate::evaluate::results::Results;
use crate::evaluate::{Evaluation, Kind, Summary};
use crate::model::Recipe;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["engine", "results"])))]
pub struct Args {
    /// Recipe of the engine to run over the images
    #[arg(long, value_name = "FILE", requires = "images")]
    pub engine: Option<PathBuf>,
    /// Result file to score instead: a COCO list of {image_id, category_id, score, bbox | segmentation}
    #[arg(long, value_name = "FILE", requires = "kind", conflicts_with_all = ["images", "limit", "results_out", "tile"])]
    pub results: Option<PathBuf>,
    /// Ground truth in COCO's format
    #[arg(long, value_name = "FILE")]
    pub coco: PathBuf,
    /// Folder of the images that the ground truth names
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// What to score of a result file
    #[arg(long = "type", value_enum, value_name = "TYPE", conflicts_with = "engine")]
    pub kind: Option<ResultKind>,
    /// Take the first N images, in order of their id
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Take all categories of the data set as one: for an engine of one class, whatever it is called
    #[arg(long, conflicts_with_all = ["results", "results_out"])]
    pub one_class: bool,
    /// Judge the N best detections of an image and class, where COCO takes 100: for pictures of more objects
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub max_detections: u32,
    /// auto, cpu, cudnn or tensorrt; auto takes the GPU where there is one
    #[arg(long, value_name = "EXECUTOR", default_value_t = Executor::Auto, conflicts_with = "results")]
    pub executor: Executor,
    #[command(flatten)]
    pub tiles: TileArgs,
    /// Write what the engine found: r.json gives r.bbox.json and r.segm.json, readable by pycocotools
    #[arg(long, value_name = "FILE")]
    pub results_out: Option<PathBuf>,
    #[command(flatten)]
    pub drawn: pictures::Wanted,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ResultKind {
    Bbox,
    Segm,
}

/// What is printed.
#[derive(Debug)]
struct Scores {
    title: String,
    summaries: Vec<Summary>,
    /// Only where an engine ran.
    speed: Option<Speed>,
}

#[derive(Debug, Clone, Copy)]
struct Speed {
    images: usize,
    seconds: f64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let mut data = DataSet::read(&args.coco)?;
    let max_detections = args.max_detections as usize;
    match (&args.results, &args.engine, &args.images) {
        (Some(results), _, _) => {
            let kind = match args.kind {
                Some(ResultKind::Bbox) => Kind::Boxes,
                Some(ResultKind::Segm) => Kind::Masks,
                None => bail!("--results needs --type bbox or --type segm"),
            };
            let evaluation = Results::read(results)?.against(&data, kind)?;
            let scores = Scores {
                title: format!("{} against {}", results.display(), args.coco.display()),
                summaries: vec![evaluation.with_max_detections(max_detections).summary(kind)],
                speed: None,
            };
            scores.print(args.json, &[])
        }
        (None, Some(engine), Some(images)) => {
            if let Some(limit) = args.limit {
                data.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            }
            if args.one_class {
                match Recipe::read(engine)?.classes.as_slice() {
                    [class] => data.as_one_class(class),
                    classes => bail!("--one-class: {} has {} classes", engine.display(), classes.len()),
                }
            }
            let evaluation = Evaluation::new(data.names()).with_max_detections(max_detections);
            let run = engine::run(engine, &data, images, evaluation, &args)
                .with_context(|| format!("evaluating {}", engine.display()))?;
            run.scores.print(args.json, &run.failed)?;
            run.written?;
            match run.failed.len() {
                0 => Ok(()),
                n => bail!(
                    "{n} of {} images could not be used and are not in the numbers",
                    data.images.len()
                ),
            }
        }
        _ => bail!("--engine needs --images"),
    }
}

impl Scores {
    fn print(&self, as_json: bool, failed: &[engine::Failed]) -> anyhow::Result<()> {
        if as_json {
            super::answer(serde_json::to_string_pretty(&self.to_json(failed))?)
        } else {
            super::answer(self.page().trim_end())
        }
    }

    fn to_json(&self, failed: &[engine::Failed]) -> serde_json::Value {
        let mut value = json!({ "title": self.title });
        for summary in &self.summaries {
            value[key(summary.kind)] = json!(summary);
        }
        if let Some(speed) = self.speed {
            value["images_per_second"] = json!(speed.images as f64 / speed.seconds);
            value["seconds"] = json!(speed.seconds);
            value["failed_images"] = failed.iter().map(|f| json!({"file": f.file, "why": f.why})).collect();
        }
        value
    }

    fn page(&self) -> String {
        let mut page = format!("{}\n", self.title);
        for summary in &self.summaries {
            page += &format!("\n{}\n{summary}\n{}", key(summary.kind), summary.class_table());
        }
        page.push('\n');
        if let Some(Speed { images, seconds }) = self.speed {
            let rate = images as f64 / seconds;
            page += &format!("{images} images in {seconds:.1} s: {rate:.1} images/s\n");
        }
        for summary in &self.summaries {
            let what = match summary.kind {
                Kind::Boxes => "box",
                Kind::Masks => "mask",
            };
            page += &match summary.ap {
                Some(ap) => format!("{what} AP {ap:.4}\n"),
                None => format!("{what} AP - (the ground truth has no objects)\n"),
            };
        }
        page
    }
}

fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::Boxes => "boxes",
        Kind::Masks => "masks",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::geometry::Tiling;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("eval").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|l| l.args).map_err(|e| e.to_string())
    }

    #[test]
    fn either_an_engine_with_images_or_results_with_a_type() {
        assert!(parse("--engine e.toml --coco a.json --images d --limit 5 --results-out r.json --json").is_ok());
        assert!(parse("--results r.json --coco a.json --type segm --max-detections 400").is_ok());
        let tiled = parse("--engine e.toml --coco a.json --images d --tile 512 --overlap 64 --max-detections 400");
        assert_eq!(
            tiled.map(|a| (a.tiles.tiling, a.max_detections)),
            Ok((Tiling::new(512, 64).ok(), 400))
        );
        for wrong in [
            "--coco a.json",
            "--engine e.toml --coco a.json",
            "--engine e.toml --images d",
            "--results r.json --coco a.json",
            "--results r.json --coco a.json --type boxes",
            "--results r.json --engine e.toml --coco a.json --images d --type bbox",
            "--engine e.toml --coco a.json --images d --type bbox",
            "--results r.json --coco a.json --type bbox --limit 3",
            "--engine e.toml --coco a.json --images d --limit 0",
            "--engine e.toml --coco a.json --images d --best 2",
            "--results r.json --coco a.json --type bbox --pictures p",
            "--engine e.toml --coco a.json --images d --max-detections 9",
            "--results r.json --coco a.json --type bbox --tile 512",
            "--results r.json --coco a.json --type bbox --one-class",
            "--engine e.toml --coco a.json --images d --one-class --results-out r.json",
            "--engine e.toml --coco a.json --images d --tile 512 --overlap 512",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    fn write(dir: &tempfile::TempDir, name: &str, value: &serde_json::Value) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, value.to_string()).expect("a file");
        path
    }

    #[test]
    fn a_result_file_is_scored_and_a_missing_or_wrong_one_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let truth = json!({
            "images": [{"id": 1, "width": 9, "height": 9}], "categories": [{"id": 4, "name": "bolt"}],
            "annotations": [{"id": 0, "image_id": 1, "category_id": 4, "bbox": [1, 1, 4, 4], "area": 16}],
        });
        let coco = write(&dir, "gt.json", &truth);
        let found = json!([{"image_id": 1, "category_id": 4, "score": 0.5, "bbox": [1, 1, 4, 4]}]);
        let results = write(&dir, "r.json", &found);
        let args = |coco: &PathBuf, results: &PathBuf, kind| Args {
            engine: None,
            results: Some(results.clone()),
            coco: coco.clone(),
            images: None,
            kind: Some(kind),
            limit: None,
            one_class: false,
            max_detections: 100,
            executor: Executor::Auto,
            tiles: TileArgs::default(),
            results_out: None,
            drawn: pictures::Wanted::default(),
            json: true,
        };
        assert!(run(args(&coco, &results, ResultKind::Bbox)).is_ok());
        let message = |args| run(args).map_err(|e| format!("{e:#}")).expect_err("wrong input");
        let no_masks = message(args(&coco, &results, ResultKind::Segm));
        assert!(
            no_masks.contains("gt.json: annotation 0: there is no segmentation"),
            "{no_masks}"
        );
        let absent = message(args(&coco, &dir.path().join("none.json"), ResultKind::Bbox));
        assert!(absent.contains("none.json: No such file"), "{absent}");
        let swapped = message(args(&results, &coco, ResultKind::Bbox));
        assert!(swapped.contains("r.json: not the JSON of a COCO data set"), "{swapped}");
    }

    #[test]
    fn the_page_ends_with_the_numbers_that_are_looked_for() {
        let mut evaluation = crate::evaluate::Evaluation::new(vec!["bolt".into()]);
        let square = crate::instances::MaskRuns {
            x: 0,
            y: 0,
            width: 2,
            height: 2,
            runs: vec![0, 4],
        };
        let truth = crate::evaluate::Truth::from_runs(0, &square);
        evaluation.add_image(vec![truth], vec![]).expect("class 0");
        let scores = Scores {
            title: "e on d".into(),
            summaries: vec![evaluation.summary(Kind::Boxes), evaluation.summary(Kind::Masks)],
            speed: Some(Speed {
                images: 1,
                seconds: 0.5,
            }),
        };
        let page = scores.page();
        assert!(
            page.ends_with("1 images in 0.5 s: 2.0 images/s\nbox AP 0.0000\nmask AP 0.0000\n"),
            "{page}"
        );
        assert_eq!(page.matches("Average Precision  (AP)").count(), 12);
        let failed = [engine::Failed {
            file: "x.png".into(),
            why: "gone".into(),
        }];
        let value = scores.to_json(&failed);
        assert_eq!(value["boxes"]["stats"][0], 0.0);
        assert_eq!(value["masks"]["ap_large"], serde_json::Value::Null);
        assert_eq!(value["images_per_second"], 2.0);
        assert_eq!(value["failed_images"][0]["file"], "x.png");
    }
}
