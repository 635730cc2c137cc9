//! Runs an engine over the images of a data set, as the pipeline would: preprocess, infer, decode.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, bail};
use serde_json::json;

use super::{Args, Scores, Speed, pictures};
use crate::cli::progress;
use crate::evaluate::dataset::{DataSet, ImageEntry};
use crate::evaluate::{Detected, Evaluation, Kind, Quality, Truth};
use crate::frame::Image;
use crate::instances::{Instance, Limits};
use crate::model::{Options, Recipe};
use crate::pipeline::{Choice, Engine, MaskBranch};
use crate::source::{Orientation, read_still};
use crate::time::{Clocks, SystemClocks};

/// Pictures that are decoded ahead of the network.
const AHEAD: usize = 4;

/// Bad images that are named as they come; all of them are in the JSON and in the count.
pub(in crate::cli) const FAULTS_SHOWN: usize = 10;

/// An image that is absent, damaged or of another size than the data set says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Failed {
    pub(in crate::cli) file: String,
    pub(in crate::cli) why: String,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) scores: Scores,
    pub(super) failed: Vec<Failed>,
    /// Of the files that were asked for; the scores are there in any case.
    pub(super) written: anyhow::Result<()>,
}

/// `evaluation` is for the classes of `data`, and has no image yet.
pub(super) fn run(
    recipe: &Path,
    data: &DataSet,
    images: &Path,
    mut evaluation: Evaluation,
    asked: &Args,
) -> anyhow::Result<Run> {
    if !images.is_dir() {
        bail!("{}: not a folder", images.display());
    }
    asked.drawn.prepare()?;
    let clocks: Arc<dyn Clocks> = Arc::new(SystemClocks);
    let choice = Choice {
        executor: asked.executor,
        options: Options::default(),
        cameras: 1,
    };
    // Before the network is loaded and compiled: this is where a wrong data set shows.
    let class_of_engine = match_classes(&Recipe::read(recipe)?.classes, &data.names())?;
    let everything = Limits {
        score_threshold: 0.0,
        max_instances: usize::MAX,
    };
    let mut segmenter = Engine::load(recipe, everything, &choice)?.with_tiling(asked.tiles.tiling);
    let category_ids: Vec<i64> = data.categories.iter().map(|c| c.id).collect();
    let kinds: &[Kind] = match data.has_masks() && segmenter.draws_masks() {
        true => &[Kind::Boxes, Kind::Masks],
        false => &[Kind::Boxes],
    };
    let finest = *kinds.last().unwrap_or(&Kind::Boxes);
    let truth_of = |image| data.truths(image, finest);

    let mut failed = Vec::new();
    let mut found = FoundResults::default();
    let mut qualities = Vec::new();
    let bar = progress::bar(data.images.len(), "images");
    let started = clocks.mono_nanos();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let (sender, pictures) = sync_channel(AHEAD);
        let loader = std::thread::Builder::new().name("eval/images".to_owned());
        loader.spawn_scoped(scope, move || {
            for entry in &data.images {
                if sender.send(load(images, entry)).is_err() {
                    return; // the network failed and has said why
                }
            }
        })?;
        let pictures: Receiver<Result<Image, Failed>> = pictures; // dropped on an error: the loader ends
        for (number, picture) in pictures.iter().enumerate() {
            bar.inc(1);
            match picture {
                Ok(picture) => {
                    let entry = &data.images[number];
                    let truths: Vec<Truth> = truth_of(number)?;
                    let place = || format!("image {} ({})", entry.id, entry.file_name);
                    let answer = segmenter
                        .find(&picture, MaskBranch::Run, &*clocks)
                        .with_context(place)?;
                    let mut instances = answer.instances;
                    instances.retain_mut(|instance| rename(&mut instance.class_id, &class_of_engine));
                    if asked.results_out.is_some() {
                        found.add(entry, &category_ids, &instances);
                    }
                    let detections: Vec<Detected> = instances.iter().map(Detected::from_instance).collect();
                    if asked.drawn.pictures.is_some() {
                        let shown = instances.iter().filter(|i| i.score >= pictures::SHOWN_SCORE);
                        let shown: Vec<Detected> = shown.map(Detected::from_instance).collect();
                        qualities.push((number, Quality::of(&truths, &shown, finest)));
                    }
                    evaluation.add_image(truths, detections)?;
                }
                Err(bad) => {
                    if failed.len() < FAULTS_SHOWN {
                        bar.suspend(|| say!("{}: {}", bad.file, bad.why));
                    }
                    failed.push(bad);
                }
            }
        }
        Ok(())
    })?;
    let seconds = (clocks.mono_nanos() - started) as f64 * 1e-9;
    bar.finish_and_clear();
    if evaluation.images() == 0 {
        let first = failed.first().map(|f| format!("; the first: {}: {}", f.file, f.why));
        bail!(
            "none of the {} images can be used{}",
            data.images.len(),
            first.unwrap_or_default()
        );
    }
    let title = format!(
        "{} on {} ({} images)",
        recipe.display(),
        data.path.display(),
        evaluation.images()
    );
    let mut write = || -> anyhow::Result<()> {
        if let Some(path) = &asked.results_out {
            found.write(path)?;
        }
        let Some(folder) = &asked.drawn.pictures else {
            return Ok(());
        };
        let chosen = asked.drawn.choose(&qualities);
        pictures::write(folder, &title, data, images, finest, &chosen, |picture| {
            let mut instances = segmenter.find(picture, MaskBranch::Run, &*clocks)?.instances;
            instances.retain_mut(|instance| rename(&mut instance.class_id, &class_of_engine));
            Ok(instances)
        })
    };
    let written = write();
    Ok(Run {
        written,
        scores: Scores {
            title,
            summaries: kinds.iter().map(|kind| evaluation.summary(*kind)).collect(),
            speed: Some(Speed {
                images: evaluation.images(),
                seconds,
            }),
        },
        failed,
    })
}

/// Positions of an output that no class was ever trained for: those COCO left out are so named in our recipes.
const UNUSED: &str = "unused ";

/// Gives a detection the data set's class; false = its class is not judged.
pub(in crate::cli) fn rename(class_id: &mut u32, class_of_engine: &[Option<u32>]) -> bool {
    match class_of_engine.get(*class_id as usize) {
        Some(Some(class)) => {
            *class_id = *class;
            true
        }
        _ => false,
    }
}

/// Engine class id -> class id of the data set, by name; both must have the same names, unused ones aside (`None`).
pub(in crate::cli) fn match_classes(engine: &[String], data: &[String]) -> anyhow::Result<Vec<Option<u32>>> {
    let only = |these: &[String], others: &[String]| -> String {
        let list: Vec<&str> = these
            .iter()
            .filter(|n| !others.contains(n))
            .map(String::as_str)
            .collect();
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(", ")
        }
    };
    let repeated = |names: &[String]| {
        names
            .iter()
            .enumerate()
            .find(|(i, n)| names[..*i].contains(n))
            .map(|(_, n)| n.clone())
    };
    if let Some(name) = repeated(engine).or_else(|| repeated(data)) {
        bail!("the class {name:?} occurs twice");
    }
    let is_used = |name: &&String| data.contains(name) || !name.starts_with(UNUSED);
    let used: Vec<String> = engine.iter().filter(is_used).cloned().collect();
    let position = |name: &String| (0u32..).zip(data).find(|(_, n)| *n == name).map(|(i, _)| i);
    match used.len() == data.len() && used.iter().all(|name| position(name).is_some()) {
        true => Ok(engine.iter().map(position).collect()),
        false => bail!(
            "engine and data set have different classes; only the engine has: {}; only the data set has: {}",
            only(&used, data),
            only(data, &used)
        ),
    }
}

/// Reads a picture and holds it against what the data set says of it.
pub(in crate::cli) fn load(folder: &Path, entry: &ImageEntry) -> Result<Image, Failed> {
    let file = folder.join(&entry.file_name);
    let fail = |why: String| Failed {
        file: file.display().to_string(),
        why,
    };
    // Annotations are written for the pixels as stored, whatever the picture says of its orientation.
    let picture = read_still(&file, Orientation::AsStored).map_err(|e| fail(e.to_string()))?;
    let size = picture.size;
    if size != entry.size() {
        return Err(fail(format!(
            "the picture is {size}, the data set says {}",
            entry.size()
        )));
    }
    Ok(picture)
}

/// Result lists in COCO's format, one for boxes and one for masks: scorers take a mask's own area only where there is
/// no box beside it.
#[derive(Debug, Default)]
struct FoundResults {
    boxes: Vec<serde_json::Value>,
    masks: Vec<serde_json::Value>,
}

impl FoundResults {
    fn add(&mut self, entry: &ImageEntry, category_ids: &[i64], instances: &[Instance]) {
        for instance in instances {
            let Some(category_id) = category_ids.get(instance.class_id as usize) else {
                continue; // refused when it was found
            };
            let d = Detected::from_instance(instance);
            let common = json!({"image_id": entry.id, "category_id": category_id, "score": d.score});
            let mut boxed = common.clone();
            boxed["bbox"] = json!([d.bounds.x, d.bounds.y, d.bounds.width, d.bounds.height]);
            self.boxes.push(boxed);
            let runs = instance.mask.as_ref().and_then(|m| m.runs.as_ref());
            let counts = match runs {
                Some(runs) => runs.to_frame_counts(entry.size()),
                None => crate::instances::MaskRuns {
                    x: 0,
                    y: 0,
                    width: entry.width,
                    height: entry.height,
                    runs: vec![entry.width * entry.height],
                }
                .to_frame_counts(entry.size()),
            };
            let mut masked = common;
            let counts = String::from_utf8(counts.unwrap_or_default()).unwrap_or_default();
            masked["segmentation"] = json!({"size": [entry.height, entry.width], "counts": counts});
            self.masks.push(masked);
        }
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        for (kind, list) in [("bbox", &self.boxes), ("segm", &self.masks)] {
            let file = beside(path, kind);
            let text = serde_json::to_vec(list)?;
            std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            say!("wrote {} results to {}", list.len(), file.display());
        }
        Ok(())
    }
}

/// r.json -> r.bbox.json
fn beside(path: &Path, kind: &str) -> PathBuf {
    path.with_extension(format!("{kind}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::ImageSize;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name_and_both_lists_are_shown_when_they_differ() {
        let matched = match_classes(&names(&["can", "bolt"]), &names(&["bolt", "can"]));
        assert_eq!(matched.ok(), Some(vec![Some(1), Some(0)]));
        let unused = match_classes(&names(&["can", "unused 2", "bolt"]), &names(&["bolt", "can"])).ok();
        assert_eq!(unused, Some(vec![Some(1), None, Some(0)]));
        let (mut class, classes) = (2, unused.unwrap_or_default());
        assert!(rename(&mut class, &classes) && class == 0);
        assert!(!rename(&mut 1, &classes) && !rename(&mut 3, &classes));
        let message =
            match_classes(&names(&["can", "mug"]), &names(&["can", "bolt", "bag"])).map_err(|e| e.to_string());
        let expected =
            "engine and data set have different classes; only the engine has: mug; only the data set has: bolt, bag";
        assert_eq!(message, Err(expected.to_owned()));
        let fewer = match_classes(&names(&["can"]), &names(&["can", "bolt"])).map_err(|e| e.to_string());
        assert!(fewer.is_err_and(|m| m.contains("only the engine has: none; only the data set has: bolt")));
        assert!(match_classes(&names(&["can", "can"]), &names(&["can", "bolt"])).is_err());
    }

    #[test]
    fn absent_damaged_and_misfit_images_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let entry = |file_name: &str, width, height| ImageEntry {
            id: 1,
            width,
            height,
            file_name: file_name.to_owned(),
        };
        image::RgbImage::new(5, 3)
            .save(dir.path().join("a.png"))
            .expect("a picture");
        std::fs::write(dir.path().join("broken.jpg"), b"\xff\xd8\xff\xe0 no picture").expect("a file");
        assert_eq!(
            load(dir.path(), &entry("a.png", 5, 3)).map(|p| p.size),
            Ok(ImageSize::new(5, 3))
        );
        for (case, words) in [
            (entry("a.png", 3, 5), "a.png: the picture is 5x3, the data set says 3x5"),
            (entry("none.png", 5, 3), "none.png: cannot read: No such file"),
            (entry("broken.jpg", 5, 3), "broken.jpg: "),
        ] {
            let message = load(dir.path(), &case).map_err(|f| format!("{}: {}", f.file, f.why));
            assert!(message.as_ref().is_err_and(|m| m.contains(words)), "{message:?}");
        }
    }

    #[test]
    fn result_files_stand_beside_the_name_given() {
        assert_eq!(beside(Path::new("out/r.json"), "segm"), Path::new("out/r.segm.json"));
    }
}
