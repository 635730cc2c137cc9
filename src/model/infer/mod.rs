//! One picture through the network: trunk, proposals, box head, detections, mask head. Boxes are network px throughout;
//! the caller turns them into source px (`instances::decode`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::batches::Batches;
use super::identity::EngineIdentity;
use super::mask_rcnn::{self as layout, BOX_SIDE, LEVELS, MASK_ROI_SIDE, MASK_SIDE, ROI_LEVELS};
use super::recipe::{Recipe, RecipeError};
use super::weights::{Weights, WeightsError};
use crate::engine::graph::{Dim, GraphError};
use crate::engine::openvino::{OpenVino, Program, Settings};
use crate::engine::{EngineError, Precision};
use crate::geometry::ImageSize;
use crate::instances::{ClassMap, Detection, MaskGrids};
use crate::ops::NetworkBox;
use crate::ops::box_deltas::BoxCoder;
use crate::ops::detections::{Detections, DetectionsError, HeadSettings};
use crate::ops::mask_select::{self, MaskSelectError};
use crate::ops::proposals::{LevelOutput, Proposals, ProposalsError, RpnSettings};
use crate::ops::roi_align::{PyramidLevel, RoiAlign, RoiAlignError};
use crate::time::Clocks;

/// RoIs the box head takes at once: the usual number of proposals.
const BOX_BATCH: usize = 100;
/// Batches of the mask head, descending: above 16 a RoI costs no less.
const MASK_BATCHES: [usize; 5] = [16, 8, 4, 2, 1];

/// How to load an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// `None` = the recipe's.
    pub precision: Option<Precision>,
    /// Threads of the dense parts; `None` = one a processor, at most eight.
    pub threads: Option<usize>,
    /// Instead of the recipe's. A higher one leaves the detections above it as they are and saves the masks of the rest.
    pub score_threshold: Option<f32>,
    /// Only read to say how long a stage took.
    pub clocks: Arc<dyn Clocks>,
}

/// Whether the mask head runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masks {
    Yes,
    No,
}

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("engine identity: {0}")]
    Identity(#[from] serde_json::Error),
    #[error("proposals: {0}")]
    Proposals(#[from] ProposalsError),
    #[error("RoIAlign: {0}")]
    RoiAlign(#[from] RoiAlignError),
    #[error("detections: {0}")]
    Detections(#[from] DetectionsError),
    #[error("mask selection: {0}")]
    MaskSelect(#[from] MaskSelectError),
    #[error("picture of {image} in a network input of {network}")]
    ImageSize { image: ImageSize, network: ImageSize },
}

/// A loaded model. One thread owns it.
pub struct MaskRcnn {
    recipe: Recipe,
    identity: EngineIdentity,
    text: String,
    clocks: Arc<dyn Clocks>,
    grids: [ImageSize; LEVELS],
    trunk: Program,
    proposals: Proposals,
    box_pool: RoiAlign,
    box_head: Batches,
    select: Detections,
    mask_pool: RoiAlign,
    mask_head: Batches,
    scratch: Scratch,
}

/// Kept between pictures for their memory.
#[derive(Default)]
struct Scratch {
    proposals: Vec<NetworkBox>,
    objectness: Vec<f32>,
    logits: Vec<f32>,
    deltas: Vec<f32>,
    detections: Vec<Detection>,
    boxes: Vec<NetworkBox>,
    selected: Vec<f32>,
    masks: Vec<f32>,
}

/// What was found in one picture.
#[derive(Debug)]
pub struct Inference<'a> {
    /// Descending score.
    pub detections: &'a [Detection],
    /// [detections, 28, 28]; `None` when the mask head was not asked for.
    pub masks: Option<MaskGrids<'a>>,
    pub spent: Spent,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub trunk: Duration,
    pub proposals: Duration,
    pub box_pool: Duration,
    pub box_head: Duration,
    pub detections: Duration,
    pub mask_pool: Duration,
    pub mask_head: Duration,
    pub mask_select: Duration,
}

impl Spent {
    /// The dense parts.
    pub fn network(&self) -> Duration {
        self.trunk + self.box_head + self.mask_head
    }

    /// What runs between them.
    pub fn ops(&self) -> Duration {
        self.proposals + self.box_pool + self.detections + self.mask_pool + self.mask_select
    }

    pub fn total(&self) -> Duration {
        self.network() + self.ops()
    }
}

/// Time since the last look at the clock.
struct Lap<'a> {
    clocks: &'a dyn Clocks,
    last: i64,
}

impl Lap<'_> {
    fn start(clocks: &dyn Clocks) -> Lap<'_> {
        let last = clocks.mono_nanos();
        Lap { clocks, last }
    }

    fn split(&mut self, into: &mut Duration) {
        let now = self.clocks.mono_nanos();
        *into += Duration::from_nanos(now.saturating_sub(self.last).try_into().unwrap_or(0));
        self.last = now;
    }
}

impl MaskRcnn {
    /// Reads the recipe and the weights it names, and checks that they belong together.
    pub fn load(recipe: &Path, options: &Options) -> Result<MaskRcnn, ModelError> {
        let recipe = Recipe::read(recipe)?;
        let weights = Weights::read(&recipe.weights.file)?;
        weights.check_digest(recipe.weights.sha256)?;
        MaskRcnn::build(recipe, weights, options)
    }

    /// From parts in memory; the recipe's digest of the weights is not looked at.
    pub fn build(mut recipe: Recipe, mut weights: Weights, options: &Options) -> Result<MaskRcnn, ModelError> {
        if let Some(score) = options.score_threshold {
            recipe.test.score_threshold = score;
        }
        let weights_sha256 = weights.sha256();
        let trunk = layout::trunk(&recipe, &mut weights)?;
        let heads = layout::head_weights(&recipe, &mut weights)?;
        weights.finish()?;
        let box_head = |r| layout::box_head(&recipe, &heads, r);
        let mask_head = |r| layout::mask_head(&recipe, &heads, r);
        // Identity and text do not depend on how RoIs are batched.
        let (any_box, any_mask) = (box_head(Dim::Named("r"))?, mask_head(Dim::Named("r"))?);
        let text = format!("{}{}{}", trunk.to_text(), any_box.to_text(), any_mask.to_text());

        let mut openvino = OpenVino::open(Settings {
            precision: options.precision.unwrap_or(recipe.precision),
            threads: options.threads,
        })?;
        let onnx = trunk.to_onnx();
        let parts = [&onnx[..], &any_box.to_onnx(), &any_mask.to_onnx()];
        let identity = EngineIdentity::new(&recipe, weights_sha256, &parts, openvino.identity())?;
        let (network, test) = (&recipe.network, &recipe.test);
        let pool = |side: usize| RoiAlign {
            channels: network.fpn_width,
            output_side: side,
            sampling_ratio: network.sampling_ratio as usize,
            canonical_scale: network.canonical_scale_px,
            canonical_level: network.canonical_level,
            min_level: layout::MIN_LEVEL,
        };
        Ok(MaskRcnn {
            grids: layout::grids(recipe.input.size),
            trunk: openvino.compile(&trunk, &onnx)?,
            proposals: Proposals::new(RpnSettings {
                anchor_sizes_px: network.anchor_sizes_px.map(|size| vec![size]).to_vec(),
                anchor_ratios: network.anchor_ratios.clone(),
                pre_nms_top_n: test.pre_nms_top_n,
                post_nms_top_n: test.post_nms_top_n,
                iou_threshold: test.rpn_nms_threshold,
                min_size_px: layout::MIN_BOX_PX,
            }),
            box_pool: pool(BOX_SIDE),
            box_head: Batches::compile(&mut openvino, &[BOX_BATCH.min(test.post_nms_top_n)], box_head)?,
            select: Detections::new(HeadSettings {
                coder: BoxCoder::HEADS,
                score_threshold: test.score_threshold,
                iou_threshold: test.nms_threshold,
                min_size_px: layout::MIN_DETECTION_PX,
                max_detections: test.detections,
            }),
            mask_pool: pool(MASK_ROI_SIDE),
            mask_head: Batches::compile(&mut openvino, &MASK_BATCHES, mask_head)?,
            scratch: Scratch::default(),
            clocks: Arc::clone(&options.clocks),
            identity,
            text,
            recipe,
        })
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub fn classes(&self) -> ClassMap {
        ClassMap {
            names: self.recipe.classes.clone(),
        }
    }

    pub fn input_size(&self) -> ImageSize {
        self.recipe.input.size
    }

    pub fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    /// One line a layer of the three parts.
    pub fn parts_text(&self) -> &str {
        &self.text
    }

    /// `(mean, std)` of red, green, blue in 0..1 that the input is normalised with.
    pub fn rgb_mean_std(&self) -> ([f32; 3], [f32; 3]) {
        self.recipe.rgb_mean_std()
    }

    /// The network's input [3,H,W], normalised RGB, zeros outside the picture; write it, then [`Self::infer`].
    pub fn input_mut(&mut self) -> Result<&mut [f32], ModelError> {
        Ok(self.trunk.input_mut(0)?)
    }

    /// Looks at what [`Self::input_mut`] holds. `image` = the part of the input that is picture (`Letterbox::resized`).
    pub fn infer(&mut self, image: ImageSize, masks: Masks) -> Result<Inference<'_>, ModelError> {
        let network = self.recipe.input.size;
        if image.area() == 0 || image.width > network.width || image.height > network.height {
            return Err(ModelError::ImageSize { image, network });
        }
        let mut spent = Spent::default();
        let clocks = Arc::clone(&self.clocks);
        let mut lap = Lap::start(&*clocks);

        self.trunk.run()?;
        lap.split(&mut spent.trunk);

        self.propose(image)?;
        lap.split(&mut spent.proposals);

        self.judge(&mut lap, &mut spent)?;
        let s = &mut self.scratch;
        self.select
            .run(&s.logits, &s.deltas, &s.proposals, image, &mut s.detections)?;
        lap.split(&mut spent.detections);

        if masks == Masks::Yes {
            self.draw_masks(&mut lap, &mut spent)?;
        }
        let s = &self.scratch;
        Ok(Inference {
            detections: &s.detections,
            masks: (masks == Masks::Yes).then_some(MaskGrids {
                side: MASK_SIDE as u32,
                probabilities: &s.masks,
            }),
            spent,
        })
    }

    /// Trunk outputs -> proposals, at most `post_nms_top_n`.
    fn propose(&mut self, image: ImageSize) -> Result<(), ModelError> {
        let mut levels = Vec::with_capacity(LEVELS);
        for (i, &grid) in self.grids.iter().enumerate() {
            levels.push(LevelOutput {
                grid,
                logits: self.trunk.output(layout::objectness_output(i))?,
                deltas: self.trunk.output(layout::deltas_output(i))?,
            });
        }
        let (s, network) = (&mut self.scratch, self.recipe.input.size);
        self.proposals
            .run(&levels, network, image, &mut s.proposals, &mut s.objectness)?;
        Ok(())
    }

    /// Proposals -> logits and deltas of the box head.
    fn judge(&mut self, lap: &mut Lap<'_>, spent: &mut Spent) -> Result<(), ModelError> {
        let pyramid = pyramid(&self.trunk, &self.grids)?;
        let values = self.recipe.network.fpn_width * BOX_SIDE * BOX_SIDE;
        let classes = self.recipe.classes.len() + 1;
        let s = &mut self.scratch;
        s.logits.clear();
        s.deltas.clear();
        let (mut done, total) = (0, s.proposals.len());
        while let Some((program, rois)) = self.box_head.next(done, total) {
            done = rois.end;
            let count = rois.len();
            self.box_pool.run(
                &pyramid,
                &s.proposals[rois],
                &mut program.input_mut(0)?[..count * values],
            )?;
            lap.split(&mut spent.box_pool);
            program.run()?;
            s.logits.extend_from_slice(&program.output(0)?[..count * classes]);
            s.deltas.extend_from_slice(&program.output(1)?[..count * classes * 4]);
            lap.split(&mut spent.box_head);
        }
        Ok(())
    }

    /// Detections -> masks of their classes.
    fn draw_masks(&mut self, lap: &mut Lap<'_>, spent: &mut Spent) -> Result<(), ModelError> {
        let pyramid = pyramid(&self.trunk, &self.grids)?;
        let values = self.recipe.network.fpn_width * MASK_ROI_SIDE * MASK_ROI_SIDE;
        let classes = self.recipe.classes.len() + 1;
        let s = &mut self.scratch;
        s.boxes.clear();
        s.boxes.extend(s.detections.iter().map(|d| d.bounds));
        s.masks.clear();
        let (mut done, total) = (0, s.boxes.len());
        while let Some((program, rois)) = self.mask_head.next(done, total) {
            done = rois.end;
            let count = rois.len();
            self.mask_pool.run(
                &pyramid,
                &s.boxes[rois.clone()],
                &mut program.input_mut(0)?[..count * values],
            )?;
            lap.split(&mut spent.mask_pool);
            program.run()?;
            lap.split(&mut spent.mask_head);
            let logits = &program.output(0)?[..count * classes * MASK_SIDE * MASK_SIDE];
            mask_select::select(logits, MASK_SIDE, classes, &s.detections[rois], &mut s.selected)?;
            s.masks.extend_from_slice(&s.selected);
            lap.split(&mut spent.mask_select);
        }
        Ok(())
    }
}

/// P2..P5 of the last run.
fn pyramid<'a>(trunk: &'a Program, grids: &[ImageSize; LEVELS]) -> Result<Vec<PyramidLevel<'a>>, ModelError> {
    let mut levels = Vec::with_capacity(ROI_LEVELS);
    for (i, &grid) in grids.iter().enumerate().take(ROI_LEVELS) {
        levels.push(PyramidLevel {
            features: trunk.output(layout::features_output(i))?,
            grid,
            spatial_scale: 1.0 / (1 << (layout::MIN_LEVEL as usize + i)) as f32,
        });
    }
    Ok(levels)
}

#[cfg(test)]
pub(super) mod tests;
