//! Engine recipes (`engines/*.toml`): one file a model. As written (`Written*`, serde), then as meant ([`Recipe`]):
//! unknown keys are refused with their line, numbers are checked where they are read.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::engine::Precision;
use crate::geometry::ImageSize;

/// A model, as meant. Paths are joined to the recipe's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub name: String,
    /// Position = class id; the background is not listed.
    pub classes: Vec<String>,
    pub network: Network,
    pub input: Input,
    pub weights: Origin,
    pub test: TestSettings,
    pub precision: Precision,
}

/// Mask R-CNN over a ResNet with FPN, as torchvision builds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub backbone: Depth,
    /// Planes of the four stages before a bottleneck's expansion by 4; 64, 128, 256, 512 as published.
    pub stage_planes: [usize; 4],
    pub fpn_width: usize,
    /// Outputs of the box head's two layers.
    pub representation_size: usize,
    /// px of the network input, one a level: P2 P3 P4 P5 pool.
    pub anchor_sizes_px: [f32; 5],
    /// Height / width.
    pub anchor_ratios: Vec<f32>,
    /// A RoI of this side is pooled from `canonical_level`.
    pub canonical_scale_px: f32,
    pub canonical_level: u32,
    /// RoIAlign samples a bin and axis.
    pub sampling_ratio: u32,
    pub batch_norm_eps: f32,
}

/// ResNet depths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
}

/// What the network wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Both sides multiples of 32.
    pub size: ImageSize,
    pub channels: Channels,
    /// Of values 0..1, in the order of `channels`.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// The order in which the first layer's weights expect the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Rgb,
    Bgr,
}

/// The weights, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub file: PathBuf,
    pub sha256: [u8; 32],
    pub licence: String,
    pub origin: String,
    /// What it was trained on.
    pub data: String,
    /// What trains it again.
    pub command: String,
}

/// Thresholds and limits of the parts between the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestSettings {
    /// Anchors kept a level before NMS.
    pub pre_nms_top_n: usize,
    /// Proposals kept in all after NMS.
    pub post_nms_top_n: usize,
    /// IoU; f64, as torchvision compares with it.
    pub rpn_nms_threshold: f64,
    pub score_threshold: f32,
    pub nms_threshold: f64,
    /// Detections kept a picture.
    pub detections: usize,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error("recipe {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}:{column}: {reason}")]
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        reason: String,
    },
    #[error("{path}: {key} is {got}: expected {expected}")]
    Value {
        path: PathBuf,
        key: &'static str,
        expected: String,
        got: String,
    },
}

impl Depth {
    pub const ALL: [Depth; 5] = [
        Depth::ResNet18,
        Depth::ResNet34,
        Depth::ResNet50,
        Depth::ResNet101,
        Depth::ResNet152,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Depth::ResNet18 => "resnet18",
            Depth::ResNet34 => "resnet34",
            Depth::ResNet50 => "resnet50",
            Depth::ResNet101 => "resnet101",
            Depth::ResNet152 => "resnet152",
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    classes: Vec<String>,
    network: WrittenNetwork,
    input: WrittenInput,
    weights: WrittenWeights,
    test: WrittenTest,
    executor: WrittenExecutor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNetwork {
    kind: String,
    backbone: String,
    stage_planes: Option<[usize; 4]>,
    fpn_width: usize,
    representation_size: usize,
    anchor_sizes_px: [f32; 5],
    anchor_ratios: Vec<f32>,
    canonical_scale_px: f32,
    canonical_level: u32,
    sampling_ratio: u32,
    batch_norm_eps: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenInput {
    size: String,
    channels: Channels,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWeights {
    file: PathBuf,
    sha256: String,
    licence: String,
    origin: String,
    data: String,
    command: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    pre_nms_top_n: usize,
    post_nms_top_n: usize,
    rpn_nms_threshold: f64,
    score_threshold: f32,
    nms_threshold: f64,
    detections: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExecutor {
    precision: String,
}

impl Recipe {
    pub fn read(path: &Path) -> Result<Recipe, RecipeError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Read {
            path: path.to_owned(),
            source,
        })?;
        Recipe::parse(&text, path)
    }

    /// `path` names the recipe in errors, and its folder holds the weights.
    pub fn parse(text: &str, path: &Path) -> Result<Recipe, RecipeError> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            RecipeError::Syntax {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before.chars().rev().take_while(|&c| c != '\n').count() + 1,
                reason: error.message().to_owned(),
            }
        })?;
        written.meant(&Reader { path })
    }

    /// `(mean, std)` of red, green, blue, whatever order the network takes them in.
    pub fn rgb_mean_std(&self) -> ([f32; 3], [f32; 3]) {
        let rgb = |[a, b, c]: [f32; 3]| match self.input.channels {
            Channels::Rgb => [a, b, c],
            Channels::Bgr => [c, b, a],
        };
        (rgb(self.input.mean), rgb(self.input.std))
    }
}

impl Written {
    fn meant(self, reader: &Reader<'_>) -> Result<Recipe, RecipeError> {
        if self.classes.is_empty() || self.classes.len() > 65_535 {
            return Err(reader.wrong("classes", "1 to 65535 names", self.classes.len()));
        }
        if let Some(bad) = self.classes.iter().find(|c| c.trim().is_empty()) {
            return Err(reader.wrong("classes", "names that are not empty", format!("{bad:?}")));
        }
        let network = self.network.meant(reader)?;
        let size: ImageSize = match self.input.size.parse() {
            Ok(size) => size,
            Err(_) => return Err(reader.wrong("input.size", "a size such as \"384x288\"", self.input.size)),
        };
        // The pyramid halves five times, and its levels are added after doubling.
        if !size.width.is_multiple_of(32) || !size.height.is_multiple_of(32) {
            return Err(reader.wrong("input.size", "both sides multiples of 32", size));
        }
        for (key, values) in [("input.mean", self.input.mean), ("input.std", self.input.std)] {
            for value in values {
                let least = if key == "input.std" { 1e-6 } else { -1e6 };
                reader.real(key, value, least..=1e6)?;
            }
        }
        let sha256 = hex32(&self.weights.sha256)
            .ok_or_else(|| reader.wrong("weights.sha256", "64 hex digits", format!("{:?}", self.weights.sha256)))?;
        let folder = reader.path.parent().unwrap_or(Path::new(""));
        let precision = self
            .executor
            .precision
            .parse()
            .map_err(|_| reader.wrong("executor.precision", "\"f32\" or \"bf16\"", &self.executor.precision))?;
        let test = &self.test;
        Ok(Recipe {
            name: self.name,
            classes: self.classes,
            network,
            input: Input {
                size,
                channels: self.input.channels,
                mean: self.input.mean,
                std: self.input.std,
            },
            weights: Origin {
                file: folder.join(self.weights.file),
                sha256,
                licence: self.weights.licence,
                origin: self.weights.origin,
                data: self.weights.data,
                command: self.weights.command,
            },
            test: TestSettings {
                pre_nms_top_n: reader.whole("test.pre_nms_top_n", test.pre_nms_top_n, 1..=100_000)?,
                post_nms_top_n: reader.whole("test.post_nms_top_n", test.post_nms_top_n, 1..=4096)?,
                rpn_nms_threshold: reader.real("test.rpn_nms_threshold", test.rpn_nms_threshold, 0.0..=1.0)?,
                score_threshold: reader.real("test.score_threshold", test.score_threshold, 0.0..=1.0)?,
                nms_threshold: reader.real("test.nms_threshold", test.nms_threshold, 0.0..=1.0)?,
                detections: reader.whole("test.detections", test.detections, 1..=4096)?,
            },
            precision,
        })
    }
}

impl WrittenNetwork {
    fn meant(self, reader: &Reader<'_>) -> Result<Network, RecipeError> {
        if self.kind != "mask_rcnn" {
            return Err(reader.wrong("network.kind", "\"mask_rcnn\"", format!("{:?}", self.kind)));
        }
        let Some(backbone) = Depth::ALL.into_iter().find(|d| d.as_str() == self.backbone) else {
            let known = Depth::ALL.map(Depth::as_str).join(", ");
            return Err(reader.wrong(
                "network.backbone",
                &format!("one of {known}"),
                format!("{:?}", self.backbone),
            ));
        };
        let stage_planes = self.stage_planes.unwrap_or([64, 128, 256, 512]);
        for planes in stage_planes {
            reader.whole("network.stage_planes", planes, 1..=4096)?;
        }
        for size in self.anchor_sizes_px {
            reader.real("network.anchor_sizes_px", size, 1.0..=16_384.0)?;
        }
        reader.whole("network.anchor_ratios (how many)", self.anchor_ratios.len(), 1..=16)?;
        for &ratio in &self.anchor_ratios {
            reader.real("network.anchor_ratios", ratio, 0.01..=100.0)?;
        }
        Ok(Network {
            backbone,
            stage_planes,
            fpn_width: reader.whole("network.fpn_width", self.fpn_width, 1..=4096)?,
            representation_size: reader.whole("network.representation_size", self.representation_size, 1..=65_536)?,
            anchor_sizes_px: self.anchor_sizes_px,
            anchor_ratios: self.anchor_ratios,
            canonical_scale_px: reader.real("network.canonical_scale_px", self.canonical_scale_px, 1.0..=16_384.0)?,
            canonical_level: reader.whole("network.canonical_level", self.canonical_level as usize, 2..=5)? as u32,
            sampling_ratio: reader.whole("network.sampling_ratio", self.sampling_ratio as usize, 1..=16)? as u32,
            batch_norm_eps: reader.real("network.batch_norm_eps", self.batch_norm_eps.unwrap_or(1e-5), 0.0..=1.0)?,
        })
    }
}

/// Checks values and names the recipe when they are wrong.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, key: &'static str, expected: &str, got: impl fmt::Display) -> RecipeError {
        RecipeError::Value {
            path: self.path.to_owned(),
            key,
            expected: expected.to_owned(),
            got: got.to_string(),
        }
    }

    fn whole(&self, key: &'static str, got: usize, range: RangeInclusive<usize>) -> Result<usize, RecipeError> {
        if range.contains(&got) {
            return Ok(got);
        }
        Err(self.wrong(key, &format!("{} to {}", range.start(), range.end()), got))
    }

    /// NaN lies in no range.
    fn real<T: PartialOrd + fmt::Display>(
        &self,
        key: &'static str,
        got: T,
        range: RangeInclusive<T>,
    ) -> Result<T, RecipeError> {
        if range.contains(&got) {
            return Ok(got);
        }
        Err(self.wrong(key, &format!("{} to {}", range.start(), range.end()), got))
    }
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
#[cfg(test)]
pub(super) use tests::EXAMPLE;
