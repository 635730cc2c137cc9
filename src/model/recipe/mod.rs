//! Engine recipes (`engines/*.toml`): one file a model. As written (`written.rs`, serde), then as meant ([`Recipe`]):
//! unknown keys are refused with their line, numbers are checked where they are read.

mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::Precision;
use crate::geometry::{Resampling, Sizing};

/// A model, as meant. Paths are joined to the recipe's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub name: String,
    /// Position = class id; the background is not listed.
    pub classes: Vec<String>,
    pub network: Network,
    pub input: Input,
    pub weights: Origin,
    /// Where the weights can be had when they are not in the folder.
    pub source: Option<Source>,
    pub test: TestSettings,
    pub precision: Precision,
    /// Ranges of the activations, for int8.
    pub scale_table: Option<PathBuf>,
    /// What the parts say of the bundled picture, as computed where the engine was made.
    pub self_test: Option<PathBuf>,
}

/// Which layers there are.
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// A ResNet with a feature pyramid.
    Pyramid(Pyramid),
    /// The small COCO network of 2018, all of whose constants are in `model/mask_rcnn2go.rs`.
    MaskRcnn2Go,
}

/// Faster and Mask R-CNN over a ResNet with FPN.
#[derive(Debug, Clone, PartialEq)]
pub struct Pyramid {
    pub masks: MaskBranch,
    pub conventions: Conventions,
    pub layout: Layout,
    pub backbone: Depth,
    /// Planes of the four stages before a bottleneck's expansion by 4; 64, 128, 256, 512 as published.
    pub stage_planes: [usize; 4],
    pub fpn_width: usize,
    /// Outputs of the box head's last hidden layer.
    pub representation_size: usize,
    /// px of the network input, one a level: P2 P3 P4 P5 pool.
    pub anchor_sizes_px: [f32; 5],
    /// Height / width.
    pub anchor_ratios: Vec<f32>,
    /// A RoI of this side is pooled from `canonical_level`.
    pub canonical_scale_px: f32,
    pub canonical_level: u32,
    /// RoIAlign samples a bin and axis; 0 = as many as the bin has cells.
    pub sampling_ratio: u32,
    pub batch_norm_eps: f32,
}

/// Whether a network draws masks: Mask R-CNN does, Faster R-CNN does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskBranch {
    Yes,
    No,
}

/// What two libraries do differently with the same weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conventions {
    /// Stride in a bottleneck's 3x3; anchors of whole px, on whole strides; RoIs aligned to cell corners; boxes under 0.01 px
    /// dropped.
    Torchvision,
    /// Stride in the first 1x1, as in the ResNets of MSRA; exact anchors; RoIs moved by half a cell; no least box.
    Detectron2,
}

/// Torchvision's two generations of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Pyramid and heads of plain convolutions, one RPN convolution, a box head of two linear layers.
    V1,
    /// Batch norm in pyramid and heads, two RPN convolutions, a box head of four convolutions and one linear layer.
    V2,
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
    /// Both sides of the input become multiples of 32 where there is a pyramid.
    pub sizing: Sizing,
    pub resampling: Resampling,
    pub channels: Channels,
    /// Of values 0..1, in the order of `channels`.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// The order in which the first layer's weights expect the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Rgb,
    Bgr,
}

/// The weights, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub file: PathBuf,
    /// `None` = a recipe whose weights are imported first.
    pub sha256: Option<[u8; 32]>,
    pub licence: String,
    pub origin: String,
    /// What it was trained on.
    pub data: String,
    /// What trains or fetches it again.
    pub command: String,
    /// What was measured when it was made, by name; for people, nothing depends on it.
    pub figures: BTreeMap<String, Figure>,
}

/// A measured number, or words.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(untagged, expecting = "a figure must be a number or a text")]
pub enum Figure {
    Number(f64),
    Text(String),
}

/// A public file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub url: String,
    /// Whose file it is: what `engine import --from` takes.
    pub from: String,
    /// At least the first 8 hex digits of its SHA-256.
    pub sha256_prefix: String,
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
    #[error("{path}: its weights were not imported yet: {command}")]
    NotImported { path: PathBuf, command: String },
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

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Number(number) => number.fmt(f),
            Figure::Text(text) => f.write_str(text),
        }
    }
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
        written::parse(text, path)
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

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::EXAMPLE;
