//! Data sets of simulated frames in COCO's format: `images/000001.jpg` ... and `annotations.json`.
//!
//! Image k (from 0) is a frame of the scene with seed `first_seed + k`, so the data set does not depend on how
//! many threads write it, and a longer one begins with the shorter one.

use super::num::hash;
use super::{RenderedFrame, Scene, SceneConfig, SceneError, SceneKind, TruthInstance, tabletop};
use crate::geometry::ImageSize;
use crate::instances::MaskRuns;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of the conveyor's pictures; each of the tabletop's has its own.
const JPEG_QUALITY: u8 = 92;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    Jpeg,
    Png,
}

impl ImageFormat {
    fn extension(self) -> &'static str {
        match self {
            ImageFormat::Jpeg => "jpg",
            ImageFormat::Png => "png",
        }
    }
}

#[derive(Clone, Debug)]
pub struct SynthOptions {
    pub scene: SceneKind,
    pub first_seed: u64,
    pub count: u64,
    pub out_dir: PathBuf,
    pub width: u32,
    pub height: u32,
    /// Mean number of objects in view.
    pub objects: u32,
    pub threads: usize,
    pub format: ImageFormat,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SynthSummary {
    pub images: u64,
    pub annotations: u64,
    /// By class id of the scene's kind.
    pub per_class: Vec<u64>,
}

#[derive(Debug)]
pub enum SynthError {
    Scene { seed: u64, source: SceneError },
    Io { path: PathBuf, source: io::Error },
    Encode { path: PathBuf, source: image::ImageError },
    Json { path: PathBuf, source: serde_json::Error },
    Worker { message: String },
}

impl fmt::Display for SynthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SynthError::Scene { seed, source } => write!(f, "seed {seed}: {source}"),
            SynthError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            SynthError::Encode { path, source } => write!(f, "{}: cannot encode the image: {source}", path.display()),
            SynthError::Json { path, source } => {
                write!(f, "{}: cannot write the annotations: {source}", path.display())
            }
            SynthError::Worker { message } => write!(f, "data set writer: {message}"),
        }
    }
}

impl std::error::Error for SynthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SynthError::Scene { source, .. } => Some(source),
            SynthError::Io { source, .. } => Some(source),
            SynthError::Encode { source, .. } => Some(source),
            SynthError::Json { source, .. } => Some(source),
            SynthError::Worker { .. } => None,
        }
    }
}

#[derive(Serialize)]
struct Coco {
    info: Info,
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Serialize)]
struct Info {
    description: &'static str,
    first_seed: u64,
}

#[derive(Serialize)]
struct Image {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    category_id: u32,
    bbox: [u32; 4],
    area: u64,
    iscrowd: u32,
    segmentation: Segmentation,
}

#[derive(Serialize)]
struct Segmentation {
    size: [u32; 2],
    counts: String,
}

#[derive(Serialize)]
struct Category {
    id: u32,
    name: &'static str,
}

/// Write the data set; `progress` is told how many images are done, from the calling thread.
pub fn write_dataset(options: &SynthOptions, progress: &dyn Fn(u64)) -> Result<SynthSummary, SynthError> {
    let images_dir = options.out_dir.join("images");
    fs::create_dir_all(&images_dir).map_err(|source| SynthError::Io {
        path: images_dir.clone(),
        source,
    })?;
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<SynthError>> = Mutex::new(None);
    let mut parts: Vec<(u64, Vec<Annotation>)> = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.max(1))
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let k = next.fetch_add(1, Ordering::Relaxed);
                        if k >= options.count {
                            break;
                        }
                        match one_image(options, &images_dir, k) {
                            Ok(annotations) => mine.push((k, annotations)),
                            Err(e) => {
                                stop.store(true, Ordering::Relaxed);
                                if let Ok(mut slot) = failed.lock() {
                                    slot.get_or_insert(e);
                                }
                            }
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    mine
                })
            })
            .collect();
        while !workers.iter().all(|w| w.is_finished()) {
            std::thread::sleep(std::time::Duration::from_millis(100));
            progress(done.load(Ordering::Relaxed));
        }
        for w in workers {
            match w.join() {
                Ok(mine) => parts.extend(mine),
                Err(_) => {
                    if let Ok(mut slot) = failed.lock() {
                        slot.get_or_insert(SynthError::Worker {
                            message: "a thread panicked".into(),
                        });
                    }
                }
            }
        }
    });
    if let Ok(Some(e)) = failed.into_inner() {
        return Err(e);
    }
    parts.sort_by_key(|p| p.0);
    let coco = collect(options, parts);
    let mut summary = SynthSummary {
        images: options.count,
        annotations: coco.annotations.len() as u64,
        per_class: vec![0; options.scene.class_names().len()],
    };
    for a in &coco.annotations {
        summary.per_class[a.category_id as usize - 1] += 1;
    }
    let path = options.out_dir.join("annotations.json");
    let text = serde_json::to_vec(&coco).map_err(|source| SynthError::Json {
        path: path.clone(),
        source,
    })?;
    write_whole(&path, &text)?;
    progress(options.count);
    Ok(summary)
}

fn collect(options: &SynthOptions, parts: Vec<(u64, Vec<Annotation>)>) -> Coco {
    let mut annotations = Vec::new();
    let mut images = Vec::new();
    for (k, list) in parts {
        images.push(Image {
            id: k + 1,
            file_name: file_name(k, options.format),
            width: options.width,
            height: options.height,
        });
        for mut a in list {
            a.id = annotations.len() as u64 + 1;
            annotations.push(a);
        }
    }
    let categories = options
        .scene
        .class_names()
        .iter()
        .enumerate()
        .map(|(k, name)| Category { id: k as u32 + 1, name })
        .collect();
    Coco {
        info: Info {
            description: "maskcast simulated camera",
            first_seed: options.first_seed,
        },
        images,
        annotations,
        categories,
    }
}

fn file_name(k: u64, format: ImageFormat) -> String {
    format!("{:06}.{}", k + 1, format.extension())
}

fn one_image(options: &SynthOptions, dir: &Path, k: u64) -> Result<Vec<Annotation>, SynthError> {
    let seed = options.first_seed.wrapping_add(k);
    let config = SceneConfig {
        seed,
        objects: options.objects,
        width: options.width,
        height: options.height,
        ..SceneConfig::default()
    };
    let fail = |source| SynthError::Scene { seed, source };
    let (frame, quality) = match options.scene {
        SceneKind::Conveyor => {
            let mut scene = Scene::new(config).map_err(fail)?;
            (scene.render(hash(seed) % 100_000), JPEG_QUALITY)
        }
        SceneKind::Tabletop => {
            let picture = tabletop::picture(&config).map_err(fail)?;
            (picture.frame, picture.jpeg_quality)
        }
    };
    let path = dir.join(file_name(k, options.format));
    let bytes = encode(&frame, options.format, quality).map_err(|source| SynthError::Encode {
        path: path.clone(),
        source,
    })?;
    write_whole(&path, &bytes)?;
    Ok(annotations(&frame, k + 1))
}

fn annotations(frame: &RenderedFrame, image_id: u64) -> Vec<Annotation> {
    let size = ImageSize::new(frame.width, frame.height);
    let annotation = |t: &TruthInstance| {
        let runs = MaskRuns::from_dense(t.x, t.y, t.width, t.height, &t.mask)?;
        let counts = String::from_utf8(runs.to_frame_counts(size)?).ok()?;
        Some(Annotation {
            id: 0,
            image_id,
            category_id: t.class_id + 1,
            bbox: [t.x, t.y, t.width, t.height],
            area: t.area(),
            iscrowd: 0,
            segmentation: Segmentation {
                size: [frame.height, frame.width],
                counts,
            },
        })
    };
    // An instance of the truth has set pixels and lies inside the frame, so none is lost here.
    frame.truth.iter().filter_map(annotation).collect()
}

fn encode(frame: &RenderedFrame, format: ImageFormat, quality: u8) -> Result<Vec<u8>, image::ImageError> {
    use image::ImageEncoder;
    let mut out = Vec::new();
    let colour = image::ExtendedColorType::Rgb8;
    match format {
        ImageFormat::Jpeg => image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, quality).write_image(
            &frame.rgb,
            frame.width,
            frame.height,
            colour,
        )?,
        ImageFormat::Png => {
            image::codecs::png::PngEncoder::new(&mut out).write_image(&frame.rgb, frame.width, frame.height, colour)?
        }
    }
    Ok(out)
}

/// Write beside the file and then take its name, so that no half-written file ever bears it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SynthError> {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.part"));
    let fail = |p: &Path, source| SynthError::Io {
        path: p.to_path_buf(),
        source,
    };
    fs::write(&beside, bytes).map_err(|e| fail(&beside, e))?;
    fs::rename(&beside, path).map_err(|e| fail(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, threads: usize) -> SynthOptions {
        let out_dir = std::env::temp_dir().join(format!("maskcast-synth-{}-{name}", std::process::id()));
        SynthOptions {
            scene: SceneKind::Conveyor,
            first_seed: 40,
            count: 4,
            out_dir,
            width: 160,
            height: 120,
            objects: 12,
            threads,
            format: ImageFormat::Jpeg,
        }
    }

    fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let mut out = Vec::new();
        for dir in [dir.to_path_buf(), dir.join("images")] {
            for entry in fs::read_dir(dir).expect("the data set's folder") {
                let path = entry.expect("a folder entry").path();
                if path.is_file() {
                    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                    out.push((name, fs::read(&path).expect("a readable file")));
                }
            }
        }
        out.sort();
        out
    }

    #[test]
    fn a_data_set_does_not_depend_on_the_number_of_threads() {
        let (one, three) = (options("one", 1), options("three", 3));
        let summary = write_dataset(&one, &|_| {}).expect("a data set");
        assert_eq!(summary, write_dataset(&three, &|_| {}).expect("the same data set"));
        let files = contents(&one.out_dir);
        let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(
            names,
            [
                "000001.jpg",
                "000002.jpg",
                "000003.jpg",
                "000004.jpg",
                "annotations.json"
            ]
        );
        assert!(files == contents(&three.out_dir));
        assert_eq!(summary.per_class.iter().sum::<u64>(), summary.annotations);
        let json: serde_json::Value = serde_json::from_slice(&files[4].1).expect("JSON");
        let first = &json["annotations"][0];
        assert_eq!(json["categories"][0]["name"], "box");
        assert_eq!(first["segmentation"]["size"], serde_json::json!([120, 160]));
        for dir in [one.out_dir, three.out_dir] {
            fs::remove_dir_all(dir).expect("the folder can be removed");
        }
    }

    #[test]
    fn a_tabletop_data_set_has_one_category_and_does_not_depend_on_threads() {
        let set = |name, threads| SynthOptions {
            scene: SceneKind::Tabletop,
            ..options(name, threads)
        };
        let (one, two) = (set("table-one", 1), set("table-two", 2));
        let summary = write_dataset(&one, &|_| {}).expect("a data set");
        assert_eq!(summary, write_dataset(&two, &|_| {}).expect("the same data set"));
        let files = contents(&one.out_dir);
        assert!(files == contents(&two.out_dir));
        assert_eq!(summary.per_class, [summary.annotations]);
        let json: serde_json::Value = serde_json::from_slice(&files[4].1).expect("JSON");
        assert_eq!(json["categories"], serde_json::json!([{"id": 1, "name": "object"}]));
        let list = json["annotations"].as_array().expect("a list");
        assert!(!list.is_empty() && list.iter().all(|a| a["category_id"] == 1));
        for dir in [one.out_dir, two.out_dir] {
            fs::remove_dir_all(dir).expect("the folder can be removed");
        }
    }

    #[test]
    fn errors_name_the_file_or_the_seed() {
        let mut bad = options("bad", 1);
        bad.out_dir = PathBuf::from("/dev/null/set");
        let e = write_dataset(&bad, &|_| {}).expect_err("no folder can be there");
        assert!(e.to_string().contains("/dev/null/set/images"), "{e}");
        let mut bad = options("size", 1);
        bad.width = 5000;
        let e = write_dataset(&bad, &|_| {}).expect_err("too wide");
        assert!(
            e.to_string().contains("seed 40") && e.to_string().contains("5000x120"),
            "{e}"
        );
        fs::remove_dir_all(&bad.out_dir).expect("the folder can be removed");
    }
}
