//! The twelve numbers of COCO, and those of each class, as text and as JSON.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::Kind;
use super::accumulate::ClassCurves;
use super::matching::{ImageClass, THRESHOLDS};

/// How well detections agree with truth, in [0, 1]. `None` where there is nothing to be found: pycocotools prints -1.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub kind: Kind,
    pub images: usize,
    /// Of an image and class, that counted; COCO's own number is 100.
    pub max_detections: usize,
    /// Crowds included.
    pub truths: usize,
    pub detections: usize,
    /// Average precision over classes and IoU 0.50:0.95.
    pub ap: Option<f64>,
    pub ap50: Option<f64>,
    pub ap75: Option<f64>,
    /// Up to 32² px.
    pub ap_small: Option<f64>,
    /// 32² to 96² px.
    pub ap_medium: Option<f64>,
    /// From 96² px.
    pub ap_large: Option<f64>,
    /// Average recall with one detection an image and class.
    pub ar1: Option<f64>,
    pub ar10: Option<f64>,
    /// With all that count.
    pub ar: Option<f64>,
    pub ar_small: Option<f64>,
    pub ar_medium: Option<f64>,
    pub ar_large: Option<f64>,
    /// In order of class id.
    pub classes: Vec<ClassSummary>,
}

/// The numbers of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSummary {
    pub name: String,
    pub truths: usize,
    pub detections: usize,
    pub ap: Option<f64>,
    pub ap50: Option<f64>,
    pub ap75: Option<f64>,
    pub ar: Option<f64>,
}

type ByThreshold = Option<[f64; THRESHOLDS]>;

pub(super) fn summarise(
    kind: Kind,
    (images, max_detections): (usize, usize),
    names: &[String],
    entries: &[Vec<&ImageClass>],
    curves: &[ClassCurves],
) -> Summary {
    let over_all = |pick: fn(&ClassCurves) -> ByThreshold| mean(curves.iter().filter_map(pick).flatten());
    let at = |t: usize| mean(curves.iter().filter_map(|c| c.precision[0]).map(|p| p[t]));
    let classes: Vec<ClassSummary> = names
        .iter()
        .zip(entries)
        .zip(curves)
        .map(|((name, entries), c)| ClassSummary {
            name: name.clone(),
            truths: entries.iter().map(|e| e.truths).sum(),
            detections: entries.iter().map(|e| e.detections).sum(),
            ap: c.precision[0].and_then(mean),
            ap50: c.precision[0].map(|p| p[0]),
            ap75: c.precision[0].map(|p| p[5]),
            ar: c.recall[0].and_then(mean),
        })
        .collect();
    Summary {
        kind,
        images,
        max_detections,
        truths: classes.iter().map(|c| c.truths).sum(),
        detections: classes.iter().map(|c| c.detections).sum(),
        ap: over_all(|c| c.precision[0]),
        ap50: at(0),
        ap75: at(5),
        ap_small: over_all(|c| c.precision[1]),
        ap_medium: over_all(|c| c.precision[2]),
        ap_large: over_all(|c| c.precision[3]),
        ar1: over_all(|c| c.recall_of_few[0]),
        ar10: over_all(|c| c.recall_of_few[1]),
        ar: over_all(|c| c.recall[0]),
        ar_small: over_all(|c| c.recall[1]),
        ar_medium: over_all(|c| c.recall[2]),
        ar_large: over_all(|c| c.recall[3]),
        classes,
    }
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.into_iter().fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

impl Summary {
    /// The twelve numbers in pycocotools' order, -1 for `None`.
    pub fn stats(&self) -> [f64; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar1,
            self.ar10,
            self.ar,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
        .map(|v| v.unwrap_or(-1.0))
    }

    /// A row a class: objects, detections, AP, AP50, AP75, AR. Classes that occur nowhere are left out.
    pub fn class_table(&self) -> String {
        let present = || self.classes.iter().filter(|c| c.truths + c.detections > 0);
        let width = present().map(|c| c.name.chars().count()).max().unwrap_or(0).max(5);
        let mut text = format!(
            " {:<width$}  {:>7}  {:>10}  {:>5}  {:>5}  {:>5}  {:>5}\n",
            "class", "objects", "detections", "AP", "AP50", "AP75", "AR"
        );
        for c in present() {
            let [ap, ap50, ap75, ar] = [c.ap, c.ap50, c.ap75, c.ar].map(|v| match v {
                Some(v) => format!("{v:.3}"),
                None => "-".to_owned(),
            });
            text += &format!(
                " {:<width$}  {:>7}  {:>10}  {ap:>5}  {ap50:>5}  {ap75:>5}  {ar:>5}\n",
                c.name, c.truths, c.detections
            );
        }
        text
    }
}

/// The usual twelve lines.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.max_detections;
        let rows = [
            ("Average Precision", "0.50:0.95", "all", most),
            ("Average Precision", "0.50", "all", most),
            ("Average Precision", "0.75", "all", most),
            ("Average Precision", "0.50:0.95", "small", most),
            ("Average Precision", "0.50:0.95", "medium", most),
            ("Average Precision", "0.50:0.95", "large", most),
            ("Average Recall", "0.50:0.95", "all", 1),
            ("Average Recall", "0.50:0.95", "all", 10),
            ("Average Recall", "0.50:0.95", "all", most),
            ("Average Recall", "0.50:0.95", "small", most),
            ("Average Recall", "0.50:0.95", "medium", most),
            ("Average Recall", "0.50:0.95", "large", most),
        ];
        for ((title, iou, area, most), value) in rows.iter().zip(self.stats()) {
            let letters = if *title == "Average Recall" { "(AR)" } else { "(AP)" };
            writeln!(
                f,
                " {title:<18} {letters} @[ IoU={iou:<9} | area={area:>6} | maxDets={most:>3} ] = {value:.3}"
            )?;
        }
        Ok(())
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Summary", 19)?;
        s.serialize_field("kind", &self.kind)?;
        s.serialize_field("images", &self.images)?;
        s.serialize_field("max_detections", &self.max_detections)?;
        s.serialize_field("truths", &self.truths)?;
        s.serialize_field("detections", &self.detections)?;
        s.serialize_field("ap", &self.ap)?;
        s.serialize_field("ap50", &self.ap50)?;
        s.serialize_field("ap75", &self.ap75)?;
        s.serialize_field("ap_small", &self.ap_small)?;
        s.serialize_field("ap_medium", &self.ap_medium)?;
        s.serialize_field("ap_large", &self.ap_large)?;
        s.serialize_field("ar1", &self.ar1)?;
        s.serialize_field("ar10", &self.ar10)?;
        s.serialize_field("ar", &self.ar)?;
        s.serialize_field("ar_small", &self.ar_small)?;
        s.serialize_field("ar_medium", &self.ar_medium)?;
        s.serialize_field("ar_large", &self.ar_large)?;
        s.serialize_field("stats", &self.stats())?;
        s.serialize_field("classes", &self.classes)?;
        s.end()
    }
}
