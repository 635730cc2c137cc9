//! `maskcast coco`: label maps, as microscopy tools write them, as a COCO data set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use image::DynamicImage;
use serde_json::{Value, json};

use super::{folder, progress};
use crate::engine::replace;
use crate::geometry::ImageSize;
use crate::instances::{MaskRuns, Span};

/// Turn label maps into a COCO data set of one class
///
/// A label map is a PNG of one channel (8 or 16 bits): 0 is background, every other number one object. It has the name of
/// its picture. The pictures stay where they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of label maps
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    /// COCO JSON to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the class
    #[arg(long, default_value = "object")]
    class: String,
    /// Take only the pictures whose names stand in FILE, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "except")]
    only: Option<PathBuf>,
    /// Leave out the pictures whose names stand in FILE, one a line
    #[arg(long, value_name = "FILE")]
    except: Option<PathBuf>,
    /// Objects of fewer pixels are left out: what another mask has covered but for a speck
    #[arg(long, value_name = "PX", default_value_t = 4)]
    least_area: u32,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let files = chosen(&args)?;
    let bar = progress::bar(files.len(), "label maps");
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for file in &files {
        let (size, objects) = read(file)?;
        let image_id = images.len() + 1;
        let file_name = file.file_name().unwrap_or_default().to_string_lossy();
        images.push(json!({"id": image_id, "file_name": file_name, "width": size.width, "height": size.height}));
        for runs in objects.iter().filter(|runs| runs.area() >= args.least_area) {
            let id = annotations.len() + 1;
            annotations.push(annotation(id, image_id, runs, size).with_context(|| file.display().to_string())?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let categories = json!([{"id": 1, "name": args.class}]);
    let data = json!({"images": images, "annotations": annotations, "categories": categories});
    replace(&args.out, &serde_json::to_vec(&data)?).with_context(|| format!("cannot write {}", args.out.display()))?;
    let (pictures, objects) = (files.len(), data["annotations"].as_array().map_or(0, Vec::len));
    say!("{pictures} pictures, {objects} objects in {}", args.out.display());
    Ok(())
}

/// The label maps by name; every name of a list must be there.
fn chosen(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = folder::pictures(&args.labels)?;
    let Some(list) = args.only.as_ref().or(args.except.as_ref()) else {
        return Ok(files);
    };
    let text = std::fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let names: BTreeSet<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let there: BTreeSet<String> = files.iter().map(|file| name(file)).collect();
    if let Some(missing) = names.iter().find(|name| !there.contains(**name)) {
        bail!("{}: no {missing} in {}", list.display(), args.labels.display());
    }
    files.retain(|file| names.contains(name(file).as_str()) == args.only.is_some());
    if files.is_empty() {
        bail!("{}: leaves no label map of {}", list.display(), args.labels.display());
    }
    Ok(files)
}

fn read(file: &Path) -> anyhow::Result<(ImageSize, Vec<MaskRuns>)> {
    if !file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("png"))
    {
        bail!(
            "{}: a label map is a PNG: other formats do not keep its numbers",
            file.display()
        );
    }
    let picture = image::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let size = ImageSize::new(picture.width(), picture.height());
    // Numbers, not brightness: 8 bits are not stretched to 16.
    let labels = match picture {
        DynamicImage::ImageLuma8(map) => map.iter().map(|&label| u16::from(label)).collect(),
        DynamicImage::ImageLuma16(map) => map.into_raw(),
        other => bail!(
            "{}: a label map has one channel, this is {:?}",
            file.display(),
            other.color()
        ),
    };
    Ok((size, objects(&labels, size)))
}

/// Every number's pixels, by number. `labels`: row-major.
fn objects(labels: &[u16], size: ImageSize) -> Vec<MaskRuns> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut spans: BTreeMap<u16, Vec<Span>> = BTreeMap::new();
    for column in 0..width {
        let at = |row: usize| labels[row * width + column];
        let mut row = 0;
        while row < height {
            let (start, label) = (row, at(row));
            while row < height && at(row) == label {
                row += 1;
            }
            if label != 0 {
                spans.entry(label).or_default().push(Span {
                    column: column as u32,
                    row_start: start as u32,
                    row_end: row as u32,
                });
            }
        }
    }
    spans.values().filter_map(|spans| MaskRuns::from_spans(spans)).collect()
}

fn annotation(id: usize, image_id: usize, runs: &MaskRuns, size: ImageSize) -> anyhow::Result<Value> {
    let counts = runs
        .to_frame_counts(size)
        .context("a mask reaches beyond the picture")?;
    Ok(json!({
        "id": id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": runs.area(),
        "bbox": [runs.x, runs.y, runs.width, runs.height],
        "segmentation": {"size": [size.height, size.width], "counts": String::from_utf8(counts)?},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Kind;
    use crate::evaluate::dataset::DataSet;

    fn folder_of_two() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        // 300 and 7 side by side; 7 in two parts; 9 is a speck.
        let rows: [u16; 15] = [300, 300, 7, 0, 7, 300, 300, 7, 0, 7, 0, 0, 0, 9, 0];
        let map = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(5, 3, rows.to_vec()).expect("15 values");
        map.save(dir.path().join("b.png")).expect("a PNG");
        image::GrayImage::new(4, 4)
            .save(dir.path().join("a.png"))
            .expect("a PNG");
        dir
    }

    fn args(dir: &tempfile::TempDir) -> Args {
        Args {
            labels: dir.path().to_owned(),
            out: dir.path().join("coco.json"),
            class: "nucleus".to_owned(),
            only: None,
            except: None,
            least_area: 2,
        }
    }

    #[test]
    fn every_number_is_one_object() {
        let dir = folder_of_two();
        run(args(&dir)).expect("a data set");
        let data = DataSet::read(&dir.path().join("coco.json")).expect("COCO");
        assert_eq!(data.names(), ["nucleus"]);
        let names: Vec<&str> = data.images.iter().map(|i| i.file_name.as_str()).collect();
        assert_eq!(names, ["a.png", "b.png"]);
        assert!(data.truths(0, Kind::Masks).expect("truths").is_empty());
        let found = data.truths(1, Kind::Masks).expect("truths");
        let boxes: Vec<[f64; 5]> = found
            .iter()
            .map(|t| [t.bounds.x, t.bounds.y, t.bounds.width, t.bounds.height, t.area_px])
            .collect();
        assert_eq!(boxes, [[2.0, 0.0, 3.0, 2.0, 4.0], [0.0, 0.0, 2.0, 2.0, 4.0]]);
    }

    #[test]
    fn lists_choose_and_what_is_absent_is_named() {
        let dir = folder_of_two();
        let list = dir.path().join("list.txt");
        std::fs::write(&list, "b.png\n\n").expect("a list");
        let images = |args: Args| -> Vec<String> {
            let out = args.out.clone();
            run(args).expect("a data set");
            let data = DataSet::read(&out).expect("COCO");
            data.images.into_iter().map(|i| i.file_name).collect()
        };
        let with = |only: Option<&PathBuf>, except: Option<&PathBuf>| Args {
            only: only.cloned(),
            except: except.cloned(),
            ..args(&dir)
        };
        assert_eq!(images(with(Some(&list), None)), ["b.png"]);
        assert_eq!(images(with(None, Some(&list))), ["a.png"]);
        std::fs::write(&list, "b.png\nz.png\n").expect("a list");
        let text = format!("{:#}", run(with(Some(&list), None)).expect_err("z.png is not there"));
        assert!(text.contains("list.txt: no z.png in "), "{text}");
        std::fs::write(&list, "a.png\nb.png\n").expect("a list");
        let text = format!("{:#}", run(with(None, Some(&list))).expect_err("nothing left"));
        assert!(text.contains("leaves no label map"), "{text}");
    }

    #[test]
    fn a_picture_is_no_label_map() {
        let dir = folder_of_two();
        image::RgbImage::new(3, 3)
            .save(dir.path().join("c.png"))
            .expect("a PNG");
        let text = format!("{:#}", run(args(&dir)).expect_err("three channels"));
        assert!(
            text.contains("c.png: a label map has one channel, this is Rgb8"),
            "{text}"
        );
        image::GrayImage::new(3, 3)
            .save(dir.path().join("d.jpg"))
            .expect("a JPEG");
        std::fs::remove_file(dir.path().join("c.png")).expect("it is there");
        let text = format!("{:#}", run(args(&dir)).expect_err("a JPEG"));
        assert!(text.contains("d.jpg: a label map is a PNG"), "{text}");
        std::fs::write(dir.path().join("c.png"), b"no PNG").expect("a file");
        let text = format!("{:#}", run(args(&dir)).expect_err("no PNG"));
        assert!(text.contains("cannot read ") && text.contains("c.png"), "{text}");
        assert!(!dir.path().join("coco.json").exists());
    }
}
