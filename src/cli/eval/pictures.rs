//! The best and the worst pictures of an evaluation, drawn: what was found beside what is there, and a page of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::engine::{Failed, load};
use crate::evaluate::dataset::{DataSet, ImageEntry};
use crate::evaluate::{Kind, Quality, Truth};
use crate::geometry::{ImageSize, LatticeBox};
use crate::instances::{ClassMap, Instance, InstanceMask, MaskRuns};
use crate::outlets::overlay::{Canvas, Caption, Painter, Space, Style};

/// Detections from here on are drawn and decide what a good picture is.
pub(super) const SHOWN_SCORE: f32 = 0.5;
/// px between what was found and what is there.
const GAP: u32 = 8;

/// What is asked for on the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Draw the best and the worst pictures beside their truth, with a page index.html of them
    #[arg(long, value_name = "DIR", conflicts_with = "results")]
    pub pictures: Option<PathBuf>,
    /// Best pictures to draw
    #[arg(long, value_name = "N", default_value_t = 3, requires = "pictures")]
    pub best: usize,
    /// Worst pictures to draw
    #[arg(long, value_name = "N", default_value_t = 3, requires = "pictures")]
    pub worst: usize,
}

/// A picture that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    /// Number in the data set.
    pub(super) image: usize,
    pub(super) quality: Quality,
    /// `best-1`, `worst-3`.
    pub(super) rank: String,
}

impl Wanted {
    /// Makes the folder, before any work is done for it.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        match &self.pictures {
            Some(folder) => std::fs::create_dir_all(folder)
                .with_context(|| format!("--pictures {}: cannot make the folder", folder.display())),
            None => Ok(()),
        }
    }

    /// The best first, then the worst first; a picture is chosen once. One object found well says little: the best are of
    /// the fuller half of the pictures, and of equally bad ones the fuller come first.
    pub(super) fn choose(&self, judged: &[(usize, Quality)]) -> Vec<Chosen> {
        let objects = |q: &Quality| q.found + q.missed;
        let mut order: Vec<&(usize, Quality)> = judged.iter().collect();
        order.sort_by_key(|(_, q)| std::cmp::Reverse(objects(q)));
        let fuller = &mut order[..judged.len().div_ceil(2)];
        fuller.sort_by(|(_, a), (_, b)| b.value().total_cmp(&a.value()));
        let best = fuller.iter().take(self.best).copied().collect::<Vec<_>>();
        order.drain(..best.len());
        order.sort_by(|(_, a), (_, b)| a.value().total_cmp(&b.value()).then(objects(b).cmp(&objects(a))));
        let best = (1..).zip(best).map(|(rank, judged)| (format!("best-{rank}"), judged));
        let worst = (1..).zip(order.into_iter().take(self.worst));
        let worst = worst.map(|(rank, judged)| (format!("worst-{rank}"), judged));
        best.chain(worst)
            .map(|(rank, (image, quality))| Chosen {
                image: *image,
                quality: quality.clone(),
                rank,
            })
            .collect()
    }
}

/// Draws the chosen pictures into `folder`, found on the left and truth on the right, and writes the page.
/// `kind`: what was judged. `find`: the instances of a picture with classes of the data set.
pub(super) fn write(
    folder: &Path,
    title: &str,
    data: &DataSet,
    images: &Path,
    kind: Kind,
    chosen: &[Chosen],
    mut find: impl FnMut(&crate::frame::Image) -> anyhow::Result<Vec<Instance>>,
) -> anyhow::Result<()> {
    let classes = ClassMap { names: data.names() };
    let mut painter = Painter::new(Style::of_classes(classes.names.len()));
    let mut rows = String::new();
    for one in chosen {
        let entry = &data.images[one.image];
        let picture = load(images, entry).map_err(|Failed { file, why }| anyhow!("{file}: {why}"))?;
        let found: Vec<Instance> = find(&picture)?.into_iter().filter(|i| i.score >= SHOWN_SCORE).collect();
        let there: Vec<Instance> = data
            .truths(one.image, kind)?
            .iter()
            .filter_map(|truth| as_instance(truth, entry.size()))
            .collect();
        let [left, right] = [&found, &there].map(|instances| {
            let mut canvas = Canvas::from_image(&picture, Space::Rgb);
            painter.draw(&mut canvas, instances, &classes, &Caption::default());
            canvas.to_rgb()
        });
        let file = folder.join(format!("{}.png", one.rank));
        side_by_side(&left, &right)
            .save(&file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        rows += &row(one, entry);
    }
    let page = folder.join("index.html");
    std::fs::write(&page, PAGE.replace("{title}", &escaped(title)).replace("{rows}", &rows))
        .with_context(|| format!("cannot write {}", page.display()))?;
    say!("{} pictures and {}", chosen.len(), page.display());
    Ok(())
}

/// An annotated object as one that was found for certain, to be drawn alike; `None` = outside the picture.
fn as_instance(truth: &Truth, frame: ImageSize) -> Option<Instance> {
    let b = truth.bounds;
    let lattice = |v: f64| (v * f64::from(LatticeBox::STEPS)).round() as i32;
    let bounds = LatticeBox {
        x0: lattice(b.x.max(0.0)),
        y0: lattice(b.y.max(0.0)),
        x1: lattice((b.x + b.width).min(f64::from(frame.width))),
        y1: lattice((b.y + b.height).min(f64::from(frame.height))),
    };
    if bounds.x0 >= bounds.x1 || bounds.y0 >= bounds.y1 {
        return None;
    }
    let mask = truth.mask.as_ref().map(|region| InstanceMask {
        soft: None,
        runs: Some(MaskRuns {
            x: 0,
            y: 0,
            width: frame.width,
            height: frame.height,
            runs: region.to_counts(frame),
        }),
    });
    Some(Instance {
        class_id: truth.class_id,
        score: 1.0,
        bounds,
        mask,
    })
}

fn side_by_side(left: &image::RgbImage, right: &image::RgbImage) -> image::RgbImage {
    let mut both = image::RgbImage::from_pixel(left.width() + GAP + right.width(), left.height(), image::Rgb([255; 3]));
    image::imageops::replace(&mut both, left, 0, 0);
    image::imageops::replace(&mut both, right, i64::from(left.width() + GAP), 0);
    both
}

fn row(one: &Chosen, entry: &ImageEntry) -> String {
    let Quality {
        found, missed, wrong, ..
    } = one.quality;
    format!(
        "<figure><img src=\"{rank}.png\" alt=\"{rank}\"><figcaption><b>{rank}</b> {file}: found {found} of {all}, {wrong} \
         wrong, panoptic quality {quality:.3}</figcaption></figure>\n",
        rank = one.rank,
        file = escaped(&entry.file_name),
        all = found + missed,
        quality = one.quality.value(),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const PAGE: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1320px; padding: 0 1rem; color: #1c2024; }
figure { margin: 0 0 2rem; } img { width: 100%; border-radius: 4px; } figcaption { color: #50585f; }
</style>
<h1>{title}</h1>
<p>Left: what was found with a score of at least 0.5. Right: what is there.</p>
{rows}</html>
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Detected, Xywh};

    fn judged(found: usize, missed: usize) -> Quality {
        let at = |i: usize| Xywh::new(20.0 * i as f64, 0.0, 10.0, 10.0);
        let truths: Vec<Truth> = (0..found + missed)
            .map(|i| Truth {
                class_id: 0,
                bounds: at(i),
                area_px: 100.0,
                crowd: Default::default(),
                mask: None,
            })
            .collect();
        let detections: Vec<Detected> = (0..found)
            .map(|i| Detected {
                class_id: 0,
                score: 0.9,
                bounds: at(i),
                area_px: None,
                mask: None,
            })
            .collect();
        Quality::of(&truths, &detections, Kind::Boxes)
    }

    #[test]
    fn the_best_are_of_the_fuller_half_and_no_picture_is_chosen_twice() {
        let wanted = Wanted {
            pictures: None,
            best: 2,
            worst: 2,
        };
        let list = [judged(1, 0), judged(0, 2), judged(5, 0), judged(4, 3), judged(3, 1)];
        let list: Vec<(usize, Quality)> = list.into_iter().enumerate().collect();
        let names = |wanted: &Wanted, list: &[(usize, Quality)]| -> Vec<(usize, String)> {
            wanted.choose(list).into_iter().map(|c| (c.image, c.rank)).collect()
        };
        // The fuller half has 7, 5 and 4 objects; the picture of one object, found whole, is none of the best.
        let expected = [(2, "best-1"), (4, "best-2"), (1, "worst-1"), (3, "worst-2")];
        assert_eq!(names(&wanted, &list), expected.map(|(i, rank)| (i, rank.to_owned())));
        // Fewer pictures than asked for.
        assert_eq!(names(&wanted, &list[..2]).len(), 2);
        assert!(names(&wanted, &[]).is_empty());
    }

    #[test]
    fn a_truth_is_drawn_where_it_is() {
        let runs = MaskRuns {
            x: 3,
            y: 2,
            width: 2,
            height: 2,
            runs: vec![0, 4],
        };
        let truth = Truth::from_runs(1, &runs);
        let instance = as_instance(&truth, ImageSize::new(8, 6)).expect("inside");
        assert_eq!(instance.class_id, 1);
        let b = instance.bounds;
        assert_eq!([b.x0, b.y0, b.x1, b.y1], [3, 2, 5, 4].map(|v| v * LatticeBox::STEPS));
        let runs = instance.mask.and_then(|m| m.runs).expect("a mask");
        assert_eq!(runs.area(), 4);
        assert!(runs.contains(4, 3) && !runs.contains(5, 3));
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escaped("<a&b>"), "&lt;a&amp;b&gt;");
    }
}
