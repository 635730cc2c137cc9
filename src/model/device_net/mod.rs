//! The network on a GPU: pictures go in on the device, and nothing comes back before their instances. The dense parts are
//! cuDNN's, what lies between them our kernels; a batch is one replay of a captured graph.

mod answers;
mod plan;
mod self_test;

pub use answers::{DeviceRuns, Found, FoundMasks, Taken};
pub use plan::{BATCHES_IN_FLIGHT, InputStage, Plan};
pub use self_test::ReadyInput;

use std::path::Path;

use super::identity::EngineIdentity;
use super::infer::{Deviation, Masks, ModelError};
use super::parts::{self, Between, Layers};
use super::recipe::Recipe;
use super::weights::Weights;
use crate::device::{CudaStream, Device, DeviceError, KernelSource, Kernels};
use crate::engine::cudnn::{Cudnn, Progress, Settings, Tuning};
use crate::engine::graph::{Element, Graph};
use crate::engine::{EngineError, Precision};
use crate::geometry::{ImageSize, Letterbox, Resampling};
use crate::instances::ClassMap;
use crate::ops;

/// Plans that stay ready: some input sizes, each for several numbers of pictures.
const KEPT: usize = 16;

/// How to load an engine onto a GPU.
#[derive(Debug, Clone)]
pub struct DeviceOptions {
    /// Which GPU.
    pub ordinal: usize,
    /// `None` or f16: nothing else is computed in.
    pub precision: Option<Precision>,
    /// Instead of the recipe's.
    pub score_threshold: Option<f32>,
    pub tuning: Tuning,
}

impl Default for DeviceOptions {
    fn default() -> DeviceOptions {
        DeviceOptions {
            ordinal: 0,
            precision: None,
            score_threshold: None,
            tuning: Tuning::KEPT,
        }
    }
}

/// Why a network cannot be loaded onto a GPU, or run there.
#[derive(Debug, thiserror::Error)]
pub enum DeviceNetError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("the cudnn executor computes in f16, not in {0}: leave the precision out, or use executor cpu")]
    Precision(Precision),
    #[error("{got} pictures: expected 1 to {expected}")]
    Batch { expected: usize, got: usize },
    #[error("picture {picture} has {got} detections: at most {most} were asked for")]
    Count { picture: usize, got: usize, most: usize },
    #[error("two batches are on their way: collect one first")]
    Full,
    #[error("nothing is on its way")]
    NothingSubmitted,
    #[error("no plan was made for this yet")]
    NotReady,
}

impl DeviceNetError {
    /// Whether the GPU has no room.
    pub fn is_out_of_memory(&self) -> bool {
        let of = |error: &DeviceError| matches!(error, DeviceError::OutOfMemory { .. });
        match self {
            DeviceNetError::Device(error) => of(error),
            DeviceNetError::Model(ModelError::Engine(EngineError::Device(error))) => of(error),
            _ => false,
        }
    }
}

impl From<EngineError> for DeviceNetError {
    fn from(error: EngineError) -> DeviceNetError {
        DeviceNetError::Model(error.into())
    }
}

/// Everything but the plans.
pub(super) struct Core {
    pub recipe: Recipe,
    pub layers: Layers,
    pub between: Between,
    pub device: Device,
    pub kernels: Kernels,
    pub cudnn: Cudnn,
    pub stream: CudaStream,
    pub draws_masks: bool,
}

/// A model on a GPU. One thread owns it.
pub struct DeviceMaskRcnn<S> {
    // The last one used at the end.
    plans: Vec<Plan<S>>,
    core: Core,
    identity: EngineIdentity,
    text: String,
    self_test: Option<Deviation>,
}

impl<S: InputStage> DeviceMaskRcnn<S> {
    /// Reads the recipe and its weights and checks that the engine computes here what it computed where it was made.
    /// `kernels`: those of the input stage, beside the ops'.
    pub fn load(
        recipe: &Path,
        options: &DeviceOptions,
        kernels: &[KernelSource],
    ) -> Result<DeviceMaskRcnn<S>, DeviceNetError> {
        let (recipe, weights) = parts::read(recipe)?;
        let mut net = DeviceMaskRcnn::build(recipe, weights, options, kernels)?;
        net.self_test = self_test::check(&mut net.core, net.identity.executor.precision)?;
        Ok(net)
    }

    /// From parts in memory; neither the recipe's digest of the weights nor its self-test is looked at.
    pub fn build(
        mut recipe: Recipe,
        weights: Weights,
        options: &DeviceOptions,
        kernels: &[KernelSource],
    ) -> Result<DeviceMaskRcnn<S>, DeviceNetError> {
        if let Some(precision) = options.precision.filter(|&p| p != Precision::F16) {
            return Err(DeviceNetError::Precision(precision));
        }
        if let Some(score) = options.score_threshold {
            recipe.test.score_threshold = score;
        }
        let weights_sha256 = weights.sha256();
        let mut layers = Layers::take(&recipe, weights)?;
        let graphs = layers.described(&recipe, Element::F32)?;
        let device = Device::open(options.ordinal)?;
        let stream = device.stream("compute")?;
        let mut sources = ops::KERNEL_SOURCES.to_vec();
        sources.extend(kernels);
        let kernels = Kernels::load(&device, &sources)?;
        let cudnn = Cudnn::open(
            &device,
            Settings {
                tuning: options.tuning.clone(),
                progress: Some(Box::new(say_progress)),
            },
        )?;
        let onnx: Vec<_> = graphs.iter().map(Graph::to_onnx).collect();
        let identity = EngineIdentity::new(&recipe, weights_sha256, &onnx, cudnn.identity(), None)
            .map_err(ModelError::Identity)?;
        Ok(DeviceMaskRcnn {
            plans: Vec::new(),
            text: graphs.iter().map(Graph::to_text).collect(),
            core: Core {
                between: layers.between(&recipe.test),
                recipe,
                layers,
                device,
                kernels,
                cudnn,
                stream,
                draws_masks: graphs.len() > 2,
            },
            identity,
            self_test: None,
        })
    }

    pub fn recipe(&self) -> &Recipe {
        &self.core.recipe
    }

    pub fn classes(&self) -> ClassMap {
        ClassMap {
            names: self.core.recipe.classes.clone(),
        }
    }

    pub fn draws_masks(&self) -> bool {
        self.core.draws_masks
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
        self.core.recipe.rgb_mean_std()
    }

    pub fn resampling(&self) -> Resampling {
        self.core.recipe.input.resampling
    }

    /// Where a picture of this size goes in the network's input. `None` for an empty size.
    pub fn fit(&self, image: ImageSize) -> Option<Letterbox> {
        Letterbox::of(image, &self.core.recipe.input.sizing)
    }

    pub fn device(&self) -> &Device {
        &self.core.device
    }

    pub fn kernels(&self) -> &Kernels {
        &self.core.kernels
    }

    /// The stream that plans run on: input stages upload on it.
    pub fn stream(&self) -> &CudaStream {
        &self.core.stream
    }

    /// Makes the plan for an input size and a number of pictures the current one. A new one takes seconds, and
    /// minutes the first time on a machine where layers are timed; `stage` makes what writes its input.
    pub fn prepare(
        &mut self,
        network: ImageSize,
        batch: usize,
        stage: impl Fn(&Device, &Kernels) -> Result<S, DeviceError>,
    ) -> Result<(), DeviceNetError> {
        let known = self.plans.iter().position(|p| p.size == network && p.batch == batch);
        match known {
            Some(at) => self.plans[at..].rotate_left(1),
            None => {
                if self.plans.len() >= KEPT {
                    self.plans.remove(0); // before the new one: they are large
                }
                let plan = loop {
                    let stage = stage(&self.core.device, &self.core.kernels)?;
                    match Plan::new(&mut self.core, network, batch, stage) {
                        // Room is made by what was used longest ago; the last two may be on their way.
                        Err(error) if error.is_out_of_memory() && self.plans.len() > BATCHES_IN_FLIGHT => {
                            tracing::warn!("{error}: a plan that was not used lately goes");
                            self.plans.remove(0);
                        }
                        made => break made?,
                    }
                };
                self.plans.push(plan);
            }
        }
        Ok(())
    }

    /// Numbers of pictures that plans for `network` are there for.
    pub fn ready_batches(&self, network: ImageSize) -> impl Iterator<Item = usize> {
        let of_size = self.plans.iter().filter(move |plan| plan.size == network);
        of_size.map(|plan| plan.batch)
    }

    /// From now on new plans take what was stored or what cuDNN suggests first, and are ready in seconds.
    pub fn stop_tuning(&mut self) {
        self.core.cudnn.stop_tuning();
    }

    /// The current plan's input stage, and the stream to show it pictures on.
    pub fn stage_mut(&mut self) -> Result<(&mut S, &CudaStream), DeviceNetError> {
        let plan = self.plans.last_mut().ok_or(DeviceNetError::NotReady)?;
        Ok((plan.stage_mut(), &self.core.stream))
    }

    /// Every plan's input stage: what they hold of pictures that were read can go.
    pub fn stages_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.plans.iter_mut().map(Plan::stage_mut)
    }

    /// Queues what the current plan's stage was shown; `placed`: where each picture lies in the input. At most
    /// [`BATCHES_IN_FLIGHT`] are on their way.
    pub fn submit(&mut self, placed: &[Letterbox], masks: Masks) -> Result<(), DeviceNetError> {
        let plan = self.plans.last_mut().ok_or(DeviceNetError::NotReady)?;
        plan.submit(&self.core.stream, placed, masks)
    }

    /// Waits for the batch of `network` and `batch` that was submitted first.
    pub fn collect(&mut self, network: ImageSize, batch: usize) -> Result<Taken<'_>, DeviceNetError> {
        let mut plans = self.plans.iter_mut();
        let plan = plans.find(|p| p.size == network && p.batch == batch);
        plan.ok_or(DeviceNetError::NotReady)?.collect()
    }
}

/// The first start on a machine takes minutes, and a person shall see why.
fn say_progress(progress: Progress<'_>) {
    let Progress { layer, done, of } = progress;
    tracing::info!("cuDNN: layer {layer}, {done} of {of}");
}
