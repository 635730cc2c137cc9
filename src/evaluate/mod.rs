//! COCO evaluation: how well detections agree with ground truth, by the rules and to the numbers of pycocotools'
//! `COCOeval` for boxes and masks. Belongs here: the data set and result files, rasterising of polygons, IoU, matching,
//! the curves and their means, how well one picture went, and how far two engines agree. Not here: running an engine over a
//! data set (`cli::eval`), the COCO counts codec (`instances::rle`).
//!
//! ```text
//! dataset, results -> Evaluation -> matching (an image and class at a time) -> accumulate (a class at a time) -> summary
//! ```
//!
//! Boxes are `x, y, width, height` in source px, f64, as the files hold them. Areas are px². IoU thresholds are
//! 0.50:0.05:0.95, recall is sampled at 101 points, at most 100 detections an image and class count
//! unless another number is given.
//!
//! One deliberate difference: pycocotools takes a match with the annotation whose id is 0 for no match; here every id
//! is an ordinary id.

mod accumulate;
pub mod agreement;
pub mod dataset;
mod iou;
mod matching;
pub mod polygon;
mod quality;
mod region;
pub mod results;
mod summary;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub use quality::Quality;
pub use region::{Region, RegionError};
pub use summary::{ClassSummary, Summary};

use crate::geometry::LatticeBox;
use crate::instances::{Instance, MaskRuns};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Boxes,
    Masks,
}

/// Whether a truth stands for one object or for many that nobody told apart: a crowd may be matched any number of
/// times and counts neither for nor against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crowd {
    #[default]
    No,
    Yes,
}

/// A box in source px, corner origin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Xywh {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// One annotated object.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// 0-based, an index into the names of the [`Evaluation`].
    pub class_id: u32,
    pub bounds: Xywh,
    /// Decides small, medium or large, for boxes and for masks: in COCO the area of the mask.
    pub area_px: f64,
    pub crowd: Crowd,
    /// `None` counts as an empty mask.
    pub mask: Option<Region>,
}

/// One detected object.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    pub class_id: u32,
    /// Only the order matters. Equal scores keep the order in which they are given.
    pub score: f64,
    pub bounds: Xywh,
    /// Decides small, medium or large; `None` = the area of the box for boxes and of the mask for masks.
    pub area_px: Option<f64>,
    /// `None` counts as an empty mask.
    pub mask: Option<Region>,
}

/// Why an image cannot be added.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvaluationError {
    #[error("image {image}: {what} {index} has class id {class_id}, but there are {classes} classes")]
    UnknownClass {
        image: usize,
        what: &'static str,
        index: usize,
        class_id: u32,
        classes: usize,
    },
    #[error("image {image}: detection {index} has the score NaN")]
    NotANumber { image: usize, index: usize },
}

/// Truth and detections of a set of images, in the order given.
#[derive(Debug, Clone)]
pub struct Evaluation {
    names: Vec<String>,
    images: Vec<Picture>,
    /// Of an image and class, by descending score.
    max_detections: usize,
}

#[derive(Debug, Clone)]
struct Picture {
    truths: Vec<Truth>,
    detections: Vec<Detected>,
}

impl Evaluation {
    /// `names` in order of class id.
    pub fn new(names: Vec<String>) -> Evaluation {
        Evaluation {
            names,
            images: Vec::new(),
            max_detections: 100,
        }
    }

    /// So many detections of an image and class count, instead of COCO's 100; at least 10, the lesser number that
    /// recall is given for.
    pub fn with_max_detections(self, max_detections: usize) -> Evaluation {
        Evaluation {
            max_detections: max_detections.max(10),
            ..self
        }
    }

    /// Adds an image; also one without objects: what is detected there is wrong.
    pub fn add_image(&mut self, truths: Vec<Truth>, detections: Vec<Detected>) -> Result<(), EvaluationError> {
        let (image, classes) = (self.images.len(), self.names.len());
        let checked = |what, index, class_id: u32| match (class_id as usize) < classes {
            true => Ok(()),
            false => Err(EvaluationError::UnknownClass {
                image,
                what,
                index,
                class_id,
                classes,
            }),
        };
        for (index, truth) in truths.iter().enumerate() {
            checked("truth", index, truth.class_id)?;
        }
        for (index, detected) in detections.iter().enumerate() {
            checked("detection", index, detected.class_id)?;
            if detected.score.is_nan() {
                return Err(EvaluationError::NotANumber { image, index });
            }
        }
        self.images.push(Picture { truths, detections });
        Ok(())
    }

    /// Images so far.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// The twelve numbers, and those of each class. Images and classes are spread over rayon's threads; the result
    /// does not depend on how many there are.
    pub fn summary(&self, kind: Kind) -> Summary {
        let matched: Vec<Vec<matching::ImageClass>> = self
            .images
            .par_iter()
            .map(|picture| matching::match_image(&picture.truths, &picture.detections, kind, self.max_detections))
            .collect();
        let mut of_class: Vec<Vec<&matching::ImageClass>> = vec![Vec::new(); self.names.len()];
        for entry in matched.iter().flatten() {
            of_class[entry.class_id as usize].push(entry); // add_image has checked the class id
        }
        let curves: Vec<accumulate::ClassCurves> = of_class
            .par_iter()
            .map(|entries| accumulate::accumulate(entries, self.max_detections))
            .collect();
        let counts = (self.images.len(), self.max_detections);
        summary::summarise(kind, counts, &self.names, &of_class, &curves)
    }
}

impl Xywh {
    pub fn new(x: f64, y: f64, width: f64, height: f64) -> Xywh {
        Xywh { x, y, width, height }
    }

    pub fn area(&self) -> f64 {
        self.width * self.height
    }
}

impl Truth {
    /// One object of known pixels: its box is the tight one, its area their number.
    pub fn from_runs(class_id: u32, runs: &MaskRuns) -> Truth {
        Truth::from_region(class_id, Region::from_runs(runs))
    }

    /// As [`Truth::from_runs`].
    pub fn from_region(class_id: u32, region: Region) -> Truth {
        Truth {
            class_id,
            bounds: region.bounds(),
            area_px: region.area() as f64,
            crowd: Crowd::No,
            mask: Some(region),
        }
    }
}

impl Detected {
    /// What the wire gave, as it is.
    pub fn new(class_id: u32, score: f32, bounds: LatticeBox, mask: Option<&MaskRuns>) -> Detected {
        let b = bounds.to_px();
        let (x, y) = (f64::from(b.x0), f64::from(b.y0));
        Detected {
            class_id,
            score: f64::from(score),
            bounds: Xywh::new(x, y, f64::from(b.x1) - x, f64::from(b.y1) - y),
            area_px: None,
            mask: mask.map(Region::from_runs),
        }
    }

    /// What the pipeline gave, as it is.
    pub fn from_instance(instance: &Instance) -> Detected {
        let runs = instance.mask.as_ref().and_then(|m| m.runs.as_ref());
        Detected::new(instance.class_id, instance.score, instance.bounds, runs)
    }
}
