//! The COCO data set file: images, categories, annotations with polygons or run lengths.
//!
//! Read in one go; masks are rasterised when asked for. Like pycocotools, an `ignore` key of an annotation is not
//! looked at: only `iscrowd` takes an object out of the count. Unlike it, annotations that name no image or category
//! of the file are errors.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::polygon::rasterise;
use super::{Crowd, Kind, Region, Truth, Xywh};
use crate::geometry::ImageSize;
use crate::instances::MaskRuns;

/// Why a data set or result file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {why}", path.display())]
    Read { path: PathBuf, why: std::io::Error },
    #[error("{}: not the JSON of {what}: {why}", path.display())]
    Json {
        path: PathBuf,
        what: &'static str,
        why: serde_json::Error,
    },
    /// `entry` such as `annotation 17` (by id) or `result 3` (by position from 0).
    #[error("{}: {entry}: {detail}", path.display())]
    Entry {
        path: PathBuf,
        entry: String,
        detail: String,
    },
}

/// A data set in memory.
#[derive(Debug, Clone)]
pub struct DataSet {
    pub path: PathBuf,
    /// Ascending id: the order in which images are evaluated.
    pub images: Vec<ImageEntry>,
    /// Ascending id; the position is the class id of the evaluation.
    pub categories: Vec<Category>,
    annotations: Vec<Vec<Annotation>>,
    image_of_id: HashMap<i64, usize>,
    class_of_id: HashMap<i64, u32>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ImageEntry {
    pub id: i64,
    pub width: u32,
    pub height: u32,
    #[serde(default)]
    pub file_name: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Category {
    pub id: i64,
    pub name: String,
}

/// A mask as COCO writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "a segmentation must be polygons [[x0, y0, x1, y1, ...], ...] or {\"size\": [height, width], \"counts\": text or list}"
)]
pub(super) enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { size: [u32; 2], counts: Counts },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Counts {
    Text(String),
    List(Vec<u32>),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Annotation {
    id: i64,
    image_id: i64,
    category_id: i64,
    bbox: Option<[f64; 4]>,
    area: f64,
    #[serde(default)]
    iscrowd: u8,
    segmentation: Option<Segmentation>,
}

#[derive(Deserialize)]
struct DataSetFile {
    images: Vec<ImageEntry>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
}

impl DataSet {
    pub fn read(path: &Path) -> Result<DataSet, DataError> {
        DataSet::parse(path, &read_file(path)?)
    }

    /// `path` is for messages.
    pub fn parse(path: &Path, text: &[u8]) -> Result<DataSet, DataError> {
        let file: DataSetFile = serde_json::from_slice(text).map_err(|why| blame_entry(path, text, why))?;
        DataSet::index(path, file)
    }

    fn index(path: &Path, file: DataSetFile) -> Result<DataSet, DataError> {
        let fault = |entry: String, detail: String| DataError::Entry {
            path: path.to_owned(),
            entry,
            detail,
        };
        let DataSetFile {
            mut images,
            mut categories,
            annotations,
        } = file;
        images.sort_by_key(|i| i.id);
        categories.sort_by_key(|c| c.id);
        if let Some(pair) = images.windows(2).find(|p| p[0].id == p[1].id) {
            return Err(fault(
                format!("image {}", pair[0].id),
                "there are two of this id".into(),
            ));
        }
        if let Some(pair) = categories.windows(2).find(|p| p[0].id == p[1].id) {
            return Err(fault(
                format!("category {}", pair[0].id),
                "there are two of this id".into(),
            ));
        }
        let image_of_id: HashMap<i64, usize> = images.iter().enumerate().map(|(i, e)| (e.id, i)).collect();
        let class_of_id: HashMap<i64, u32> = (0u32..).zip(&categories).map(|(i, c)| (c.id, i)).collect();
        let mut of_image: Vec<Vec<Annotation>> = vec![Vec::new(); images.len()];
        let mut seen = HashSet::with_capacity(annotations.len());
        for annotation in annotations {
            let entry = || format!("annotation {}", annotation.id);
            if !seen.insert(annotation.id) {
                return Err(fault(entry(), "there are two of this id".into()));
            }
            if !class_of_id.contains_key(&annotation.category_id) {
                let detail = format!("category_id {} is not among the categories", annotation.category_id);
                return Err(fault(entry(), detail));
            }
            match image_of_id.get(&annotation.image_id) {
                Some(&image) => of_image[image].push(annotation),
                None => {
                    let detail = format!("image_id {} is not among the images", annotation.image_id);
                    return Err(fault(entry(), detail));
                }
            }
        }
        Ok(DataSet {
            path: path.to_owned(),
            images,
            categories,
            annotations: of_image,
            image_of_id,
            class_of_id,
        })
    }

    /// Names in order of class id.
    pub fn names(&self) -> Vec<String> {
        self.categories.iter().map(|c| c.name.clone()).collect()
    }

    /// All categories as one class of this name: for engines that tell objects from ground and not from each other.
    pub fn as_one_class(&mut self, name: &str) {
        self.categories.truncate(1);
        if let Some(category) = self.categories.first_mut() {
            name.clone_into(&mut category.name);
        }
        self.class_of_id.values_mut().for_each(|class| *class = 0);
    }

    /// Whether any annotation has a mask.
    pub fn has_masks(&self) -> bool {
        self.annotations.iter().flatten().any(|a| a.segmentation.is_some())
    }

    /// Keeps the first images, in order of id.
    pub fn truncate(&mut self, images: usize) {
        self.images.truncate(images);
        self.annotations.truncate(images);
        self.image_of_id.retain(|_, i| *i < images);
    }

    /// The objects of an image. For [`Kind::Masks`] with masks, and every annotation must have one; boxes are there
    /// for both.
    pub fn truths(&self, image: usize, kind: Kind) -> Result<Vec<Truth>, DataError> {
        let size = self.images[image].size();
        self.annotations[image]
            .iter()
            .map(|a| {
                self.truth(a, size, kind).map_err(|detail| DataError::Entry {
                    path: self.path.clone(),
                    entry: format!("annotation {}", a.id),
                    detail,
                })
            })
            .collect()
    }

    fn truth(&self, annotation: &Annotation, size: ImageSize, kind: Kind) -> Result<Truth, String> {
        let mask = match (kind, annotation.bbox, &annotation.segmentation) {
            (Kind::Masks, _, Some(s)) | (Kind::Boxes, None, Some(s)) => Some(s.region(size)?),
            (Kind::Masks, _, None) => return Err("there is no segmentation".to_owned()),
            (Kind::Boxes, Some(_), _) => None,
            (Kind::Boxes, None, None) => return Err("there is neither bbox nor segmentation".to_owned()),
        };
        let bounds = match (annotation.bbox, &mask) {
            (Some(b), _) => Xywh::from(b),
            (None, Some(region)) => region.bounds(),
            (None, None) => Xywh::default(),
        };
        Ok(Truth {
            class_id: self.class_of_id[&annotation.category_id],
            bounds,
            area_px: annotation.area,
            crowd: if annotation.iscrowd == 0 { Crowd::No } else { Crowd::Yes },
            mask,
        })
    }

    pub(super) fn image_of_id(&self, id: i64) -> Option<usize> {
        self.image_of_id.get(&id).copied()
    }

    pub(super) fn class_of_id(&self, id: i64) -> Option<u32> {
        self.class_of_id.get(&id).copied()
    }
}

impl ImageEntry {
    pub fn size(&self) -> ImageSize {
        ImageSize::new(self.width, self.height)
    }
}

impl From<[f64; 4]> for Xywh {
    fn from([x, y, width, height]: [f64; 4]) -> Xywh {
        Xywh::new(x, y, width, height)
    }
}

impl Segmentation {
    /// The pixels in a picture of `size`, or what is wrong.
    pub(super) fn region(&self, size: ImageSize) -> Result<Region, String> {
        match self {
            Segmentation::Polygons(polygons) => rasterise(polygons, size).map_err(|e| e.to_string()),
            Segmentation::Runs {
                size: [height, width], ..
            } if ImageSize::new(*width, *height) != size => {
                let of_mask = ImageSize::new(*width, *height);
                Err(format!("the mask is {of_mask} (width x height), the image is {size}"))
            }
            Segmentation::Runs {
                counts: Counts::List(counts),
                ..
            } => Region::from_counts(counts, size).map_err(|e| e.to_string()),
            Segmentation::Runs {
                counts: Counts::Text(text),
                ..
            } => MaskRuns::from_counts(0, 0, size.width, size.height, text.as_bytes())
                .map(|runs| Region::from_runs(&runs))
                .map_err(|e| e.to_string()),
        }
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|why| DataError::Read {
        path: path.to_owned(),
        why,
    })
}

/// The parser knows line and column only: find out which entry it is. Slow, for files that are wrong anyway.
fn blame_entry(path: &Path, text: &[u8], why: serde_json::Error) -> DataError {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    let list = |key: &str| parsed.as_ref().and_then(|v| v.get(key)).and_then(|v| v.as_array());
    let found = first_fault::<ImageEntry>(list("images"), "image")
        .or_else(|| first_fault::<Category>(list("categories"), "category"))
        .or_else(|| first_fault::<Annotation>(list("annotations"), "annotation"));
    match found {
        Some((entry, detail)) => DataError::Entry {
            path: path.to_owned(),
            entry,
            detail,
        },
        None => DataError::Json {
            path: path.to_owned(),
            what: "a COCO data set",
            why,
        },
    }
}

/// The first entry that is no `T`: what it is called, and why.
pub(super) fn first_fault<T: DeserializeOwned>(
    entries: Option<&Vec<serde_json::Value>>,
    what: &str,
) -> Option<(String, String)> {
    entries?.iter().enumerate().find_map(|(position, entry)| {
        let error = T::deserialize(entry).err()?;
        let name = match entry.get("id") {
            Some(id) => format!("{what} {id}"),
            None => format!("{what} number {position} (from 0)"),
        };
        Some((name, error.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_can_count_as_one_class() {
        let truth = serde_json::json!({
            "images": [{"id": 7, "width": 9, "height": 9}],
            "categories": [{"id": 4, "name": "fig"}, {"id": 9, "name": "date"}],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 1, 4, 4], "area": 16},
                {"id": 2, "image_id": 7, "category_id": 4, "bbox": [5, 5, 2, 2], "area": 4, "iscrowd": 1},
            ],
        });
        let mut data = DataSet::parse(Path::new("gt.json"), truth.to_string().as_bytes()).expect("truth");
        data.as_one_class("object");
        assert_eq!(data.names(), ["object"]);
        let truths = data.truths(0, Kind::Boxes).expect("truths");
        let seen: Vec<(u32, f64, Crowd)> = truths.iter().map(|t| (t.class_id, t.area_px, t.crowd)).collect();
        assert_eq!(seen, [(0, 16.0, Crowd::No), (0, 4.0, Crowd::Yes)]);
    }
}
