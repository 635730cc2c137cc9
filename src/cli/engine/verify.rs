//! `maskcast engine verify`: does an engine still answer what it answers in a float precision?

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::verified::{Limits as Allowed, Sides, Verified};
use crate::cli::eval::engine::{FAULTS_SHOWN, Failed, load, match_classes, rename};
use crate::cli::folder;
use crate::cli::progress;
use crate::config::Executor;
use crate::engine::Precision;
use crate::evaluate::agreement::{PictureAgreement, Rules};
use crate::evaluate::dataset::DataSet;
use crate::evaluate::{Detected, Evaluation, Kind};
use crate::frame::Image;
use crate::instances::Limits;
use crate::model::Options;
use crate::pipeline::{Choice, Engine, MaskBranch};
use crate::source::{Orientation, read_still};
use crate::time::{Clocks, SystemClocks};

/// Run an engine in two precisions, or on two executors, over the same pictures and say how far the answers differ.
///
/// Objects of both are paired by class and box (IoU 0.5 or more). With ground truth both are
/// scored as well. Exit code 1 when a limit is passed.
///
/// Examples:
///   maskcast engine verify --engine my-int8.toml --against f32 --images frames/
///   maskcast engine verify --engine my.toml --precision int8 --against bf16 \
///     --images val/images --coco val/annotations.json --json verified.json
///   maskcast engine verify --engine my.toml --executor cudnn --against f32 \
///     --images val/images --coco val/annotations.json --max-ap-drop 0.2 --max-edge-shift 0.5
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Recipe of the engine.
    #[arg(long, value_name = "TOML")]
    engine: PathBuf,
    /// f32, bf16 or int8, instead of the recipe's: what is verified.
    #[arg(long)]
    precision: Option<Precision>,
    /// cpu or cudnn: what is verified runs on it.
    #[arg(long, value_name = "EXECUTOR", default_value_t = Executor::Cpu)]
    executor: Executor,
    /// What it is held against runs on this one.
    #[arg(long, value_name = "EXECUTOR", default_value_t = Executor::Cpu)]
    against_executor: Executor,
    /// f32 or bf16: what it is held against.
    #[arg(long, value_name = "PRECISION", value_parser = float)]
    against: Precision,
    /// Folder of PNG, JPEG and BMP pictures.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Ground truth of the pictures in COCO's format.
    #[arg(long, value_name = "FILE")]
    coco: Option<PathBuf>,
    /// Pictures to look at, spread evenly; all unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// Objects below are not compared.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    score_threshold: f64,
    /// Points of AP (of 100) that may be lost, of boxes and of masks; needs --coco.
    #[arg(long, value_name = "POINTS", default_value_t = 0.5, value_parser = points)]
    max_ap_drop: f64,
    /// Least mean IoU of the masks of paired objects.
    #[arg(long, value_name = "IOU", default_value_t = 0.9, value_parser = share)]
    min_mask_iou: f64,
    /// Largest mean change of the scores of paired objects.
    #[arg(long, value_name = "SCORE", default_value_t = 0.1, value_parser = share)]
    max_score_shift: f64,
    /// Largest share of objects that only one of the two finds.
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    max_unmatched: f64,
    /// Px that an edge of a paired object's box may move; any unless given.
    #[arg(long, value_name = "PX", value_parser = points)]
    max_edge_shift: Option<f64>,
    /// Write the numbers as JSON as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads of the networks; one a processor, at most eight, unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

fn float(text: &str) -> Result<Precision, String> {
    match text.parse() {
        Ok(precision @ (Precision::F32 | Precision::Bf16)) => Ok(precision),
        _ => Err(format!(
            "{text:?} is nothing to hold an engine against: use \"f32\" or \"bf16\""
        )),
    }
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 1.0)
}

fn points(text: &str) -> Result<f64, String> {
    within(text, 100.0)
}

fn within(text: &str, most: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=most).contains(&value) => Ok(value),
        _ => Err(format!("{text:?} is no limit: expected 0 to {most}")),
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let clocks = SystemClocks;
    let pictures = Pictures::of(&args)?;
    let options = |precision| Options {
        precision,
        threads: args.threads.map(usize::from),
        ..Options::default()
    };
    let everything = || Limits {
        score_threshold: 0.0,
        max_instances: usize::MAX,
    };
    let load_one = |executor, precision| {
        let choice = Choice {
            executor,
            options: options(precision),
            cameras: 1,
        };
        Engine::load(&args.engine, everything(), &choice)
    };
    let against = match args.against_executor {
        Executor::Cudnn => None, // which has one precision
        _ => Some(args.against),
    };
    let mut engines = Sides {
        reference: load_one(args.against_executor, against)?,
        candidate: load_one(args.executor, args.precision)?,
    };
    let executors = engines.map(|engine| engine.identity().executor.clone());
    if executors.reference == executors.candidate {
        bail!(
            "both engines run in {} here, so there is nothing to verify: give another --precision, --against or \
             --executor, or a processor that has them",
            executors.reference.precision
        );
    }
    let classes = engines.reference.classes().names;
    let mut judged = match &pictures.truth {
        Some(data) => Some(Judged {
            class_of_engine: match_classes(&classes, &data.names())?,
            kind: if data.has_masks() && engines.reference.draws_masks() {
                Kind::Masks
            } else {
                Kind::Boxes
            },
            evaluations: Sides {
                reference: Evaluation::new(data.names()),
                candidate: Evaluation::new(data.names()),
            },
        }),
        None => None,
    };

    let rules = Rules {
        score_threshold: args.score_threshold,
        iou_threshold: 0.5,
    };
    let mut verified = Verified::new(args.engine.display().to_string(), executors);
    let bar = progress::bar(pictures.shown.len(), "pictures");
    for shown in &pictures.shown {
        bar.inc(1);
        let picture = match pictures.read(shown) {
            Ok(picture) => picture,
            Err(bad) => {
                if verified.failed.len() < FAULTS_SHOWN {
                    bar.suspend(|| say!("{}: {}", bad.file, bad.why));
                }
                verified.failed.push(bad);
                continue;
            }
        };
        let find = |engine: &mut Engine| -> anyhow::Result<(Vec<Detected>, Duration)> {
            let start = clocks.mono_nanos();
            let found = engine.find(&picture, MaskBranch::Run, &clocks);
            let found = found.with_context(|| shown.file.display().to_string())?;
            let took = Duration::from_nanos((clocks.mono_nanos() - start).unsigned_abs());
            Ok((found.instances.iter().map(Detected::from_instance).collect(), took))
        };
        let (reference, reference_took) = find(&mut engines.reference)?;
        let (candidate, candidate_took) = find(&mut engines.candidate)?;
        verified.took.reference.push(reference_took);
        verified.took.candidate.push(candidate_took);
        let agreement = PictureAgreement::of(&reference, &candidate, &rules);
        verified.agreement.add(shown.name(), agreement);
        if let (Some(judged), Some(data), Some(index)) = (&mut judged, &pictures.truth, shown.entry) {
            judged.add(data, index, reference, candidate)?;
        }
    }
    bar.finish_and_clear();
    if verified.took.reference.is_empty() {
        bail!(
            "{}: none of {} pictures can be used",
            args.images.display(),
            pictures.shown.len()
        );
    }
    verified.ap = judged.map_or_else(Vec::new, |judged| judged.scores());
    let past = verified.past(&Allowed {
        ap_drop_points: args.max_ap_drop,
        mask_iou: args.min_mask_iou,
        score_shift: args.max_score_shift,
        unmatched: args.max_unmatched,
        edge_shift_px: args.max_edge_shift,
    });
    crate::cli::answer(verified.page().trim_end())?;
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&verified.to_json(&past))? + "\n";
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    match past.is_empty() {
        true => crate::cli::answer("within all limits"),
        false => bail!("{}", past.join("; ")),
    }
}

/// Scores against truth.
struct Judged {
    class_of_engine: Vec<Option<u32>>,
    /// Masks are judged with boxes beside them.
    kind: Kind,
    evaluations: Sides<Evaluation>,
}

impl Judged {
    fn add(
        &mut self,
        data: &DataSet,
        index: usize,
        reference: Vec<Detected>,
        candidate: Vec<Detected>,
    ) -> anyhow::Result<()> {
        let class_of = &self.class_of_engine;
        let renamed = |mut all: Vec<Detected>| {
            all.retain_mut(|detected| rename(&mut detected.class_id, class_of));
            all
        };
        let truths = data.truths(index, self.kind)?;
        self.evaluations
            .reference
            .add_image(truths.clone(), renamed(reference))?;
        self.evaluations.candidate.add_image(truths, renamed(candidate))?;
        Ok(())
    }

    /// AP of boxes, and of masks where there are any.
    fn scores(&self) -> Vec<(Kind, Sides<Option<f64>>)> {
        let kinds: &[Kind] = match self.kind {
            Kind::Boxes => &[Kind::Boxes],
            Kind::Masks => &[Kind::Boxes, Kind::Masks],
        };
        let score = |&kind: &Kind| (kind, self.evaluations.map(|evaluation| evaluation.summary(kind).ap));
        kinds.iter().map(score).collect()
    }
}

/// What is looked at.
struct Pictures {
    folder: PathBuf,
    truth: Option<DataSet>,
    shown: Vec<Shown>,
}

#[derive(Clone)]
struct Shown {
    file: PathBuf,
    /// Of the data set.
    entry: Option<usize>,
}

impl Shown {
    fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Pictures {
    fn of(args: &Args) -> anyhow::Result<Pictures> {
        let folder: &Path = &args.images;
        if !folder.is_dir() {
            bail!("{}: not a folder", folder.display());
        }
        let truth = args.coco.as_deref().map(DataSet::read).transpose()?;
        let all: Vec<Shown> = match &truth {
            Some(data) => (0..)
                .zip(&data.images)
                .map(|(i, image)| Shown {
                    file: folder.join(&image.file_name),
                    entry: Some(i),
                })
                .collect(),
            None => folder::pictures(folder)?
                .into_iter()
                .map(|file| Shown { file, entry: None })
                .collect(),
        };
        let count = args.frames.map_or(all.len(), |n| n as usize);
        Ok(Pictures {
            folder: folder.to_owned(),
            truth,
            shown: folder::evenly(&all, count),
        })
    }

    fn read(&self, shown: &Shown) -> Result<Image, Failed> {
        let entry = shown.entry.and_then(|i| self.truth.as_ref()?.images.get(i));
        match entry {
            Some(entry) => load(&self.folder, entry),
            None => read_still(&shown.file, Orientation::AsStored).map_err(|why| Failed {
                file: shown.file.display().to_string(),
                why: why.to_string(),
            }),
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
