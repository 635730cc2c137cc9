//! One picture through the network: trunk, proposals, box head, detections, mask head. Boxes are network px throughout;
//! the caller turns them into source px (`instances::decode`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod form;
pub(super) mod self_test;
mod spent;
mod trunk;

pub use form::CalibrateError;
pub(super) use form::Form;
pub use self_test::{Deviation, SelfTest, SelfTestError};

use spent::Lap;
pub use spent::Spent;
use trunk::{Trunk, Trunks};

use super::batches::Batches;
use super::identity::EngineIdentity;
use super::parts::{self, Between, Layers, ROWS};
use super::recipe::{Recipe, RecipeError};
use super::weights::{Weights, WeightsError};
use crate::engine::graph::{Element, Graph, GraphError};
use crate::engine::openvino::{OpenVino, PortElement, Program, Settings};
use crate::engine::quantize::{Method, QuantizeError, TableError};
use crate::engine::{EngineError, Precision};
use crate::geometry::{ImageSize, Letterbox, Resampling, Sizing};
use crate::instances::{ClassMap, Detection, GridValues, MaskGrids};
use crate::ops::detections::{Detections, DetectionsError};
use crate::ops::mask_select::{self, MaskSelectError};
use crate::ops::proposals::{Proposals, ProposalsError};
use crate::ops::roi_align::RoiAlignError;
use crate::ops::{self, NetworkBox};
use crate::time::{Clocks, SystemClocks};

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

impl Default for Options {
    fn default() -> Options {
        Options {
            precision: None,
            threads: None,
            score_threshold: None,
            clocks: Arc::new(SystemClocks),
        }
    }
}

/// Whether the mask head runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masks {
    Yes,
    No,
}

/// What a model is loaded for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Purpose {
    Use,
    Calibrate(Method),
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
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    #[error(
        "engine {0:?} names no executor.scale_table, which int8 needs: make one with `maskcast calibrate` and name it in the \
         recipe"
    )]
    NoScaleTable(String),
    #[error(transparent)]
    ScaleTable(#[from] TableError),
    #[error("scale table {path}: {source}")]
    Quantize { path: PathBuf, source: QuantizeError },
    #[error("calibration: {0}")]
    Calibrate(#[from] CalibrateError),
    #[error("picture {index} of a batch of {batch}")]
    Batch { index: usize, batch: usize },
    #[error("nothing was put into the network's input yet")]
    NoInput,
}

/// A loaded model. One thread owns it.
pub struct MaskRcnn {
    recipe: Recipe,
    identity: EngineIdentity,
    text: String,
    clocks: Arc<dyn Clocks>,
    openvino: OpenVino,
    form: Form,
    layers: Layers,
    between: Between,
    trunks: Trunks,
    proposals: Proposals,
    box_head: Program,
    select: Detections,
    /// `None`: the network draws no masks.
    mask_head: Option<Batches>,
    scratch: Scratch,
    self_test: Option<Deviation>,
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
    /// [detections, M, M]; `None` when the mask head was not asked for, or there is none.
    pub masks: Option<MaskGrids<'a>>,
    pub spent: Spent,
}

impl MaskRcnn {
    /// Reads the recipe and the weights it names, checks that they belong together, and that the engine computes here what
    /// it computed where it was made.
    pub fn load(recipe: &Path, options: &Options) -> Result<MaskRcnn, ModelError> {
        let mut net = MaskRcnn::load_untested(recipe, options)?;
        net.self_test = net.check_self_test()?;
        if let Sizing::ShortestEdge { .. } = net.recipe.input.sizing {
            net.trunks = Trunks::default(); // that of the self-test's own size serves no camera
        }
        Ok(net)
    }

    /// [`Self::load`] without the self-test, to make one.
    pub fn load_untested(recipe: &Path, options: &Options) -> Result<MaskRcnn, ModelError> {
        MaskRcnn::read(recipe, options, Purpose::Use)
    }

    fn read(recipe: &Path, options: &Options, purpose: Purpose) -> Result<MaskRcnn, ModelError> {
        let (recipe, weights) = parts::read(recipe)?;
        MaskRcnn::assemble(recipe, weights, options, purpose)
    }

    /// From parts in memory; neither the recipe's digest of the weights nor its self-test is looked at.
    pub fn build(recipe: Recipe, weights: Weights, options: &Options) -> Result<MaskRcnn, ModelError> {
        MaskRcnn::assemble(recipe, weights, options, Purpose::Use)
    }

    fn assemble(
        mut recipe: Recipe,
        weights: Weights,
        options: &Options,
        purpose: Purpose,
    ) -> Result<MaskRcnn, ModelError> {
        if let Some(score) = options.score_threshold {
            recipe.test.score_threshold = score;
        }
        let weights_sha256 = weights.sha256();
        let mut layers = Layers::take(&recipe, weights)?;
        let precision = match purpose {
            Purpose::Use => options.precision.unwrap_or(recipe.precision),
            Purpose::Calibrate(_) => Precision::F32,
        };
        let threads = options.threads;
        let mut openvino = OpenVino::open(Settings { precision, threads })?;
        let features = openvino.feature_element();
        // Identity and text do not depend on how RoIs are batched.
        let graphs = layers.described(&recipe, features)?;
        let described: Vec<&Graph> = graphs.iter().collect();
        let form = match purpose {
            Purpose::Calibrate(method) => Form::watched(&described, weights_sha256, method)?,
            // Read and checked also where the processor has no int8: a wrong recipe is wrong everywhere.
            Purpose::Use if precision == Precision::Int8 => {
                let int8 = Form::int8(&recipe, &described, weights_sha256)?;
                match openvino.identity().precision {
                    Precision::Int8 => int8,
                    Precision::F32 | Precision::Bf16 | Precision::F16 => Form::Float,
                }
            }
            Purpose::Use => Form::Float,
        };
        let graphs: Vec<Graph> = graphs.iter().map(|graph| form.apply(graph)).collect::<Result<_, _>>()?;
        let text: String = graphs.iter().map(Graph::to_text).collect();
        let onnx: Vec<_> = graphs.iter().map(Graph::to_onnx).collect();
        let identity = EngineIdentity::new(&recipe, weights_sha256, &onnx, openvino.identity(), form.digest())?;
        let between = layers.between(&recipe.test);
        let mask_head = Batches::compile(&mut openvino, &MASK_BATCHES, |rows| {
            let graph = layers.mask_head(rows, features)?;
            graph.map(|graph| form.apply(&graph)).transpose()
        })?;
        let box_head = form.apply(&layers.box_head(ROWS, features)?)?;
        let mut net = MaskRcnn {
            form,
            trunks: Trunks::default(),
            proposals: Proposals::new(between.proposals.clone()),
            box_head: openvino.compile(&box_head, &box_head.to_onnx())?,
            select: Detections::new(between.select.clone()),
            mask_head,
            scratch: Scratch::default(),
            clocks: Arc::clone(&options.clocks),
            openvino,
            layers,
            between,
            identity,
            text,
            recipe,
            self_test: None,
        };
        if let Sizing::Fixed(size) = net.recipe.input.sizing {
            net.input_mut(size, 1)?; // compiled now, not at the first picture
        }
        Ok(net)
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub fn classes(&self) -> ClassMap {
        ClassMap {
            names: self.recipe.classes.clone(),
        }
    }

    /// Whether there is a mask branch.
    pub fn draws_masks(&self) -> bool {
        self.mask_head.is_some()
    }

    pub fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    /// How the self-test at load ended; `None` when the engine has none. A failed one is never loaded.
    pub fn self_test_result(&self) -> Option<&Deviation> {
        self.self_test.as_ref()
    }

    /// One line a layer of the three parts.
    pub fn parts_text(&self) -> &str {
        &self.text
    }

    /// `(mean, std)` of red, green, blue in 0..1 that the input is normalised with.
    pub fn rgb_mean_std(&self) -> ([f32; 3], [f32; 3]) {
        self.recipe.rgb_mean_std()
    }

    pub fn resampling(&self) -> Resampling {
        self.recipe.input.resampling
    }

    /// Where a picture of this size goes in the network's input. `None` for an empty size.
    pub fn fit(&self, image: ImageSize) -> Option<Letterbox> {
        Letterbox::of(image, &self.recipe.input.sizing)
    }

    /// The network's input [N,3,H,W], normalised RGB, zeros outside the pictures; write it, then [`Self::run`]. A new size
    /// or number of pictures is compiled first, which takes as long as loading.
    pub fn input_mut(&mut self, network: ImageSize, batch: usize) -> Result<&mut [f32], ModelError> {
        let (layers, openvino, form) = (&mut self.layers, &mut self.openvino, &self.form);
        let levels = self.between.roi_scales.len();
        let trunk = self.trunks.select(network, batch, || {
            let graph = layers.trunk(network, batch, openvino.feature_element())?;
            let compiled = form.apply(&graph)?;
            let program = openvino.compile(&compiled, &compiled.to_onnx())?;
            Trunk::new(network, batch, &graph, program, levels)
        })?;
        Ok(trunk.program.input_mut(0)?)
    }

    /// Looks at the one picture [`Self::input_mut`] holds. `image` = the part of the input that is picture
    /// (`Letterbox::resized`).
    pub fn infer(&mut self, image: ImageSize, masks: Masks) -> Result<Inference<'_>, ModelError> {
        let trunk = self.run()?;
        let mut found = self.inference(0, image, masks)?;
        found.spent.trunk = trunk;
        Ok(found)
    }

    /// Runs the trunk over all pictures [`Self::input_mut`] holds; each is then asked for with [`Self::inference`].
    pub fn run(&mut self) -> Result<Duration, ModelError> {
        let mut spent = Duration::ZERO;
        let clocks = Arc::clone(&self.clocks);
        let mut lap = Lap::start(&*clocks);
        let trunk = self.trunks.current_mut()?;
        trunk.program.run()?;
        self.form.watch("trunk", &trunk.program, 1, 1)?;
        lap.split(&mut spent);
        Ok(spent)
    }

    /// What is in picture `index` of the last [`Self::run`].
    pub fn inference(&mut self, index: usize, image: ImageSize, masks: Masks) -> Result<Inference<'_>, ModelError> {
        let trunk = self.trunks.current()?;
        let network = trunk.size;
        if image.area() == 0 || image.width > network.width || image.height > network.height {
            return Err(ModelError::ImageSize { image, network });
        }
        if index >= trunk.batch {
            let batch = trunk.batch;
            return Err(ModelError::Batch { index, batch });
        }
        let mut spent = Spent::default();
        let clocks = Arc::clone(&self.clocks);
        let mut lap = Lap::start(&*clocks);

        let s = &mut self.scratch;
        let levels = trunk.rpn_levels(index)?;
        self.proposals
            .run(&levels, network, image, &mut s.proposals, &mut s.objectness)?;
        lap.split(&mut spent.proposals);

        match self.openvino.feature_element() {
            Element::F32 => self.judge::<f32>(index, &mut lap, &mut spent)?,
            Element::Bf16 => self.judge::<half::bf16>(index, &mut lap, &mut spent)?,
        }
        let s = &mut self.scratch;
        self.select
            .run(&s.logits, &s.deltas, &s.proposals, image, &mut s.detections)?;
        lap.split(&mut spent.detections);

        let draw = masks == Masks::Yes && self.mask_head.is_some();
        if draw {
            match self.openvino.feature_element() {
                Element::F32 => self.draw_masks::<f32>(index, &mut lap, &mut spent)?,
                Element::Bf16 => self.draw_masks::<half::bf16>(index, &mut lap, &mut spent)?,
            }
        }
        let s = &self.scratch;
        Ok(Inference {
            detections: &s.detections,
            masks: draw.then_some(MaskGrids {
                side: self.between.mask_side as u32,
                values: GridValues::Probabilities(&s.masks),
            }),
            spent,
        })
    }

    /// Proposals -> logits and deltas of the box head.
    fn judge<T: PortElement + ops::Element>(
        &mut self,
        index: usize,
        lap: &mut Lap<'_>,
        spent: &mut Spent,
    ) -> Result<(), ModelError> {
        let s = &mut self.scratch;
        s.logits.clear();
        s.deltas.clear();
        if s.proposals.is_empty() {
            return Ok(()); // no executor likes a batch of nothing
        }
        let levels = self
            .trunks
            .current()?
            .roi_levels::<T>(index, &self.between.roi_scales)?;
        self.box_head.set_rows(s.proposals.len())?;
        let rois = self.box_head.input_mut::<T>(0)?;
        self.between.box_pool.run(&levels, &s.proposals, rois)?;
        lap.split(&mut spent.box_pool);
        self.box_head.run()?;
        self.form.watch("box_head", &self.box_head, 1, 1)?;
        s.logits.extend_from_slice(self.box_head.output(0)?);
        s.deltas.extend_from_slice(self.box_head.output(1)?);
        lap.split(&mut spent.box_head);
        Ok(())
    }

    /// Detections -> masks of their classes.
    fn draw_masks<T: PortElement + ops::Element>(
        &mut self,
        index: usize,
        lap: &mut Lap<'_>,
        spent: &mut Spent,
    ) -> Result<(), ModelError> {
        let Some(mask_head) = &mut self.mask_head else {
            return Ok(());
        };
        let Between {
            mask_pool,
            mask_side,
            roi_scales,
            ..
        } = &self.between;
        let levels = self.trunks.current()?.roi_levels::<T>(index, roi_scales)?;
        let values = mask_pool.channels * mask_pool.output_side * mask_pool.output_side;
        let classes = self.recipe.classes.len() + 1;
        let s = &mut self.scratch;
        s.boxes.clear();
        s.boxes.extend(s.detections.iter().map(|d| d.bounds));
        s.masks.clear();
        let (mut done, total) = (0, s.boxes.len());
        while let Some((program, rois)) = mask_head.next(done, total) {
            done = rois.end;
            let count = rois.len();
            let input = &mut program.input_mut::<T>(0)?[..count * values];
            mask_pool.run(&levels, &s.boxes[rois.clone()], input)?;
            lap.split(&mut spent.mask_pool);
            program.run()?;
            lap.split(&mut spent.mask_head);
            let (logits, of_a_roi) = (program.output::<f32>(0)?, classes * mask_side * mask_side);
            self.form.watch("mask_head", program, count, logits.len() / of_a_roi)?;
            let logits = &logits[..count * of_a_roi];
            mask_select::select(logits, *mask_side, classes, &s.detections[rois], &mut s.selected)?;
            s.masks.extend_from_slice(&s.selected);
            lap.split(&mut spent.mask_select);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
