//! The self-test: each dense part sees a bundled picture, and what it says is held against what the engine's maker stored.
//! It finds what digests cannot: a library, a processor or a driver that computes something else.
//!
//! Compared are [`SAMPLES`] values of each output: root mean square of the difference over that of the stored values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MaskRcnn, ModelError};
use crate::engine::graph::Element;
use crate::engine::openvino::{PortElement, Program};
use crate::engine::{Precision, replace};
use crate::geometry::{ImageSize, Sizing};
use crate::model::recipe::Recipe;
use crate::ops::{self, NetworkBox};

/// A frame of the simulated camera, RGB8.
const PICTURE: &[u8] = include_bytes!("self_test.rgb");
const PICTURE_SIZE: ImageSize = ImageSize::new(96, 72);
/// Input of networks without a size of their own: the smallest that has all levels.
const SMALL: ImageSize = ImageSize::new(256, 192);
/// Values kept of an output.
const SAMPLES: usize = 64;
/// RoIs the heads see.
const ROIS: usize = 8;

/// What the parts said, by `part/output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    outputs: BTreeMap<String, Vec<f32>>,
}

/// How far an engine is from its self-test.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// `part/output` with the largest error.
    pub output: String,
    /// Of the root mean square of the stored values.
    pub error: f32,
    pub limit: f32,
}

#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    #[error("self-test {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error(
        "self-test {path}: it is of another engine, whose {output} is not that of this one; `maskcast engine self-test \
         --write` makes a new one"
    )]
    Outputs { path: PathBuf, output: String },
    #[error(
        "self-test {path} failed: {output} is off by {error:.4} of its size (limit {limit} in {precision}): this engine computes \
         something else here than where it was made"
    )]
    Failed {
        path: PathBuf,
        output: String,
        error: f32,
        limit: f32,
        precision: Precision,
    },
}

impl SelfTest {
    pub fn read(path: &Path) -> Result<SelfTest, SelfTestError> {
        let fail = |reason: String| SelfTestError::File {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| fail(e.to_string()))
    }

    pub fn write(&self, path: &Path) -> Result<(), SelfTestError> {
        let fail = |reason: String| SelfTestError::File {
            path: path.to_owned(),
            reason,
        };
        // JSON has no word for them, and an engine that says so is no engine.
        if let Some((name, _)) = self.outputs.iter().find(|(_, v)| v.iter().any(|v| !v.is_finite())) {
            return Err(fail(format!("{name} is not finite")));
        }
        let text = serde_json::to_string(self).map_err(|e| fail(e.to_string()))?;
        replace(path, (text + "\n").as_bytes()).map_err(|e| fail(e.to_string()))
    }

    pub(in crate::model) fn of(outputs: BTreeMap<String, Vec<f32>>) -> SelfTest {
        SelfTest { outputs }
    }

    /// `self` as stored in `path`, `now` as computed.
    pub(in crate::model) fn compare(
        &self,
        now: &SelfTest,
        precision: Precision,
        path: &Path,
    ) -> Result<Deviation, SelfTestError> {
        let names = self.outputs.keys().chain(now.outputs.keys());
        let count = |test: &SelfTest, name: &String| test.outputs.get(name).map(Vec::len);
        let unlike = |name: &&String| count(self, name) != count(now, name);
        if let Some(name) = names.into_iter().find(unlike) {
            let (path, output) = (path.to_owned(), name.clone());
            return Err(SelfTestError::Outputs { path, output });
        }
        let limit = limit(precision);
        let mut worst = Deviation {
            output: String::new(),
            error: -1.0,
            limit,
        };
        for ((name, want), got) in self.outputs.iter().zip(now.outputs.values()) {
            let error = deviation(want, got);
            if error > worst.error || error.is_nan() {
                (worst.output, worst.error) = (name.clone(), error);
            }
            if error.is_nan() {
                break;
            }
        }
        // NaN fails too.
        if worst.error <= limit {
            return Ok(worst);
        }
        Err(SelfTestError::Failed {
            path: path.to_owned(),
            output: worst.output,
            error: worst.error,
            limit,
            precision,
        })
    }
}

/// Drift that the precision alone brings; measured: f32 1e-6 to 1e-5, bf16 0.01 to 0.03, int8 0.06 (the bundled model).
const fn limit(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 0.002,
        Precision::Bf16 => 0.1,
        // Between the two: 11 bits against 24 and 8.
        Precision::F16 => 0.02,
        Precision::Int8 => 0.2,
    }
}

fn deviation(want: &[f32], got: &[f32]) -> f32 {
    if want.len() != got.len() {
        return f32::NAN;
    }
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>();
    let size = square(&mut want.iter().copied());
    let apart = square(&mut want.iter().zip(got).map(|(w, g)| w - g));
    (apart / size.max(1e-30)).sqrt() as f32
}

impl MaskRcnn {
    /// Holds this engine against its stored self-test; `None` when its recipe names none.
    pub fn check_self_test(&mut self) -> Result<Option<Deviation>, ModelError> {
        let Some(path) = self.recipe.self_test.clone() else {
            return Ok(None);
        };
        let stored = SelfTest::read(&path)?;
        let now = self.self_test()?;
        Ok(Some(stored.compare(&now, self.identity.executor.precision, &path)?))
    }

    /// What the parts say of the bundled picture.
    pub fn self_test(&mut self) -> Result<SelfTest, ModelError> {
        let size = input_size(&self.recipe);
        let values = picture(size, self.rgb_mean_std());
        self.input_mut(size, 1)?.copy_from_slice(&values);
        self.run()?;
        let mut outputs = BTreeMap::new();
        let trunk = self.trunks.current()?;
        for (index, name) in trunk.output_names.iter().enumerate() {
            outputs.insert(format!("trunk/{name}"), sampled(&trunk.program, index)?);
        }
        let rois = rois(size);
        match self.openvino.feature_element() {
            Element::F32 => self.heads::<f32>(&rois, &mut outputs)?,
            Element::Bf16 => self.heads::<half::bf16>(&rois, &mut outputs)?,
        }
        Ok(SelfTest { outputs })
    }

    fn heads<T: PortElement + ops::Element>(
        &mut self,
        rois: &[NetworkBox],
        outputs: &mut BTreeMap<String, Vec<f32>>,
    ) -> Result<(), ModelError> {
        let levels = self.trunks.current()?.roi_levels::<T>(0, &self.between.roi_scales)?;
        self.box_head.set_rows(rois.len())?;
        self.between
            .box_pool
            .run(&levels, rois, self.box_head.input_mut::<T>(0)?)?;
        self.box_head.run()?;
        outputs.insert("box_head/logits".to_owned(), sampled(&self.box_head, 0)?);
        outputs.insert("box_head/deltas".to_owned(), sampled(&self.box_head, 1)?);
        let Some(mask_head) = &mut self.mask_head else {
            return Ok(());
        };
        // The batch of as many RoIs, which is one of those there are.
        if let Some((program, range)) = mask_head.next(0, rois.len()) {
            let taken = &rois[range];
            let pool = &self.between.mask_pool;
            let values = pool.channels * pool.output_side * pool.output_side;
            pool.run(&levels, taken, &mut program.input_mut::<T>(0)?[..taken.len() * values])?;
            program.run()?;
            outputs.insert("mask_head/logits".to_owned(), sampled(program, 0)?);
        }
        Ok(())
    }
}

/// Of the network, for the picture.
pub(in crate::model) fn input_size(recipe: &Recipe) -> ImageSize {
    match recipe.input.sizing {
        Sizing::Fixed(size) => size,
        Sizing::ShortestEdge { .. } => SMALL,
    }
}

/// The picture as the network's input [3, H, W].
pub(in crate::model) fn picture(size: ImageSize, (mean, std): ([f32; 3], [f32; 3])) -> Vec<f32> {
    let plane = size.area() as usize;
    let value = |i: usize| {
        let (channel, at) = (i / plane, i % plane);
        let (x, y) = (at % size.width as usize, at / size.width as usize);
        let from = |i: usize, side: u32, of: u32| i * of as usize / side as usize;
        let row = from(y, size.height, PICTURE_SIZE.height) * PICTURE_SIZE.width as usize;
        let pixel = row + from(x, size.width, PICTURE_SIZE.width);
        (f32::from(PICTURE[3 * pixel + channel]) / 255.0 - mean[channel]) / std[channel]
    };
    (0..3 * plane).map(value).collect()
}

/// Boxes of several sizes and places.
pub(in crate::model) fn rois(size: ImageSize) -> Vec<NetworkBox> {
    let (w, h) = (size.width as f32, size.height as f32);
    let one = |i: usize| {
        let part = (i + 1) as f32 / (ROIS + 1) as f32;
        let (cx, cy) = (w * part, h * (1.0 - part));
        let side = 0.5 * w.min(h) * part;
        let clip = |v: f32, to: f32| v.clamp(0.0, to);
        NetworkBox::new(
            clip(cx - side, w),
            clip(cy - side, h),
            clip(cx + side, w),
            clip(cy + side, h),
        )
    };
    (0..ROIS).map(one).collect()
}

/// Which of `len` values are kept: from all over; each a channel further, or even steps would meet the same channel each
/// time.
pub(in crate::model) fn picks(len: usize) -> impl Iterator<Item = usize> {
    let count = SAMPLES.min(len);
    (0..count).map(move |i| (i * len / count + i) % len)
}

fn sampled(program: &Program, index: usize) -> Result<Vec<f32>, ModelError> {
    Ok(match program.output_element(index)? {
        Element::F32 => {
            let all = program.output::<f32>(index)?;
            picks(all.len()).map(|i| all[i]).collect()
        }
        Element::Bf16 => {
            let all = program.output::<half::bf16>(index)?;
            picks(all.len()).map(|i| all[i].to_f32()).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> SelfTest {
        SelfTest {
            outputs: BTreeMap::from([("trunk/x".to_owned(), values.to_vec())]),
        }
    }

    #[test]
    fn the_largest_error_is_named_and_judged_by_precision() {
        let path = Path::new("t.json");
        let stored = of(&[3.0, 4.0]);
        let near = of(&[3.0, 4.05]); // 0.05 / 5
        let deviation = stored.compare(&near, Precision::Bf16, path).unwrap();
        assert_eq!(deviation.output, "trunk/x");
        assert!((deviation.error - 0.01).abs() < 1e-6, "{deviation:?}");
        let text = stored.compare(&near, Precision::F32, path).unwrap_err().to_string();
        assert!(
            text.starts_with("self-test t.json failed: trunk/x is off by 0.0100 of its size (limit 0.002 in f32)"),
            "{text}"
        );
        assert!(stored.compare(&of(&[f32::NAN, 4.0]), Precision::Int8, path).is_err());
        assert!(stored.compare(&of(&[3.0]), Precision::Int8, path).is_err());
        let other = SelfTest {
            outputs: BTreeMap::new(),
        };
        assert!(
            stored
                .compare(&other, Precision::F32, path)
                .unwrap_err()
                .to_string()
                .contains("t.json: it is of another engine, whose trunk/x")
        );
    }
}
