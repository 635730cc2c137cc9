//! The COCO result file: a list of `{image_id, category_id, score, bbox | segmentation}`.
//!
//! As pycocotools reads it: when the first result has a `bbox`, all need one, and the area of the box puts a detection
//! into small, medium or large, for masks too; otherwise boxes and areas come from the masks.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::dataset::{DataError, DataSet, Segmentation, first_fault, read_file};
use super::{Detected, Evaluation, Kind, Xywh};
use crate::geometry::ImageSize;

/// Detections as a file holds them.
#[derive(Debug, Clone)]
pub struct Results {
    path: PathBuf,
    entries: Vec<Entry>,
    areas: Areas,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Areas {
    OfBoxes,
    OfMasks,
}

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    image_id: i64,
    category_id: i64,
    score: f64,
    #[serde(default)]
    bbox: Vec<f64>,
    segmentation: Option<Segmentation>,
}

impl Results {
    pub fn read(path: &Path) -> Result<Results, DataError> {
        Results::parse(path, &read_file(path)?)
    }

    /// `path` is for messages.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Results, DataError> {
        let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|why| {
            let parsed: Option<serde_json::Value> = serde_json::from_slice(text).ok();
            match first_fault::<Entry>(parsed.as_ref().and_then(|v| v.as_array()), "result") {
                Some((entry, detail)) => DataError::Entry {
                    path: path.to_owned(),
                    entry,
                    detail,
                },
                None => DataError::Json {
                    path: path.to_owned(),
                    what: "a COCO result list",
                    why,
                },
            }
        })?;
        let areas = match entries.first() {
            Some(first) if first.bbox.is_empty() => Areas::OfMasks,
            _ => Areas::OfBoxes,
        };
        Ok(Results {
            path: path.to_owned(),
            entries,
            areas,
        })
    }

    /// Results in the file.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// These results against a data set, ready to be summarised for `kind`.
    pub fn against(&self, data: &DataSet, kind: Kind) -> Result<Evaluation, DataError> {
        let fault = |position: usize, detail: String| DataError::Entry {
            path: self.path.clone(),
            entry: format!("result number {position} (from 0)"),
            detail,
        };
        let mut of_image: Vec<Vec<(usize, u32)>> = vec![Vec::new(); data.images.len()];
        for (position, entry) in self.entries.iter().enumerate() {
            let Some(class_id) = data.class_of_id(entry.category_id) else {
                let detail = format!("category_id {} is not in {}", entry.category_id, data.path.display());
                return Err(fault(position, detail));
            };
            match data.image_of_id(entry.image_id) {
                Some(image) => of_image[image].push((position, class_id)),
                None => {
                    let detail = format!("image_id {} is not in {}", entry.image_id, data.path.display());
                    return Err(fault(position, detail));
                }
            }
        }
        let images: Result<Vec<_>, DataError> = of_image
            .par_iter()
            .enumerate()
            .map(|(image, entries)| {
                let size = data.images[image].size();
                let detections: Result<Vec<Detected>, DataError> = entries
                    .iter()
                    .map(|&(position, class_id)| {
                        let detected = self.detected(&self.entries[position], class_id, size, kind);
                        detected.map_err(|detail| fault(position, format!("image {}: {detail}", data.images[image].id)))
                    })
                    .collect();
                Ok((data.truths(image, kind)?, detections?))
            })
            .collect();
        let mut evaluation = Evaluation::new(data.names());
        for (image, (truths, detections)) in images?.into_iter().enumerate() {
            evaluation
                .add_image(truths, detections)
                .map_err(|e| fault(image, e.to_string()))?;
        }
        Ok(evaluation)
    }

    fn detected(&self, entry: &Entry, class_id: u32, size: ImageSize, kind: Kind) -> Result<Detected, String> {
        let masks_needed = kind == Kind::Masks || self.areas == Areas::OfMasks;
        let mask = match &entry.segmentation {
            Some(s) if masks_needed => Some(s.region(size)?),
            None if kind == Kind::Masks => return Err("there is no segmentation: score this file as bbox".to_owned()),
            None if masks_needed => return Err("there is neither bbox nor segmentation".to_owned()),
            _ => None,
        };
        let of_mask = || mask.as_ref().map(|m| (m.bounds(), m.area() as f64)).unwrap_or_default();
        let (bounds, area_px) = match (self.areas, entry.bbox.as_slice()) {
            (Areas::OfBoxes, &[x, y, width, height]) => (Xywh::new(x, y, width, height), width * height),
            (Areas::OfMasks, &[x, y, width, height]) => (Xywh::new(x, y, width, height), of_mask().1),
            (Areas::OfMasks, []) => of_mask(),
            (_, other) => {
                return Err(format!(
                    "bbox has {} numbers, it needs x, y, width, height",
                    other.len()
                ));
            }
        };
        Ok(Detected {
            class_id,
            score: entry.score,
            bounds,
            area_px: Some(area_px),
            mask,
        })
    }
}
