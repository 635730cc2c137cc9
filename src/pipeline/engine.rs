//! An engine on the executor that a launch file or a command chose.

use std::path::Path;
use std::time::Duration;

use super::device_segmenter::DeviceSegmenter;
use super::engine_loop::{Asked, Capacity, MaskBranch, Segmented, Segmenter, Ticket};
use super::segmenter::{MaskRcnnSegmenter, SegmentError, Unrounded};
use crate::config::Executor;
use crate::device::{Device, DeviceError};
use crate::frame::Image;
use crate::geometry::{ImageSize, Tiling};
use crate::instances::{ClassMap, Limits};
use crate::model::device_net::{DeviceNetError, DeviceOptions};
use crate::model::{Deviation, EngineIdentity, ModelError, Options, Recipe, Spent};
use crate::time::Clocks;

/// How to load an engine.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    pub executor: Executor,
    pub options: Options,
    /// Pictures that may come together: the cameras.
    pub cameras: usize,
}

/// A loaded network, wherever it runs.
pub enum Engine {
    Cpu(Box<MaskRcnnSegmenter>),
    Cudnn(Box<DeviceSegmenter>),
}

/// Why an engine cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Cpu(#[from] ModelError),
    #[error("executor cudnn: {0}")]
    Cudnn(#[from] DeviceNetError),
    #[error("this version has no TensorRT executor: use executor cudnn, cpu or auto")]
    NoTensorRt,
}

impl Engine {
    /// `limits` are what will be returned at most.
    pub fn load(recipe: &Path, limits: Limits, choice: &Choice) -> Result<Engine, LoadError> {
        let on_gpu = || {
            let options = DeviceOptions {
                precision: choice.options.precision,
                score_threshold: choice.options.score_threshold,
                ..DeviceOptions::default()
            };
            let loaded = DeviceSegmenter::load(recipe, limits, &options, choice.cameras)?;
            Ok(Engine::Cudnn(Box::new(loaded)))
        };
        let on_cpu = || {
            let loaded = MaskRcnnSegmenter::load(recipe, limits, &choice.options)?;
            Ok(Engine::Cpu(Box::new(loaded)))
        };
        match choice.executor {
            Executor::Cpu => on_cpu(),
            Executor::Cudnn => on_gpu(),
            Executor::TensorRt => Err(LoadError::NoTensorRt),
            Executor::Auto => match on_gpu() {
                Ok(engine) => Ok(engine),
                Err(error) => {
                    match &error {
                        // Nobody expects a GPU to be used where there is none.
                        LoadError::Cudnn(DeviceNetError::Device(
                            DeviceError::NoDriver | DeviceError::NoDevice { .. },
                        )) => {
                            tracing::info!("{error}: the processor computes");
                        }
                        _ => tracing::warn!("{error}: the processor computes instead"),
                    }
                    on_cpu()
                }
            },
        }
    }

    /// From now on [`Self::find`] looks at pictures larger than a tile tile by tile.
    pub fn with_tiling(self, tiling: Option<Tiling>) -> Engine {
        match self {
            Engine::Cpu(engine) => Engine::Cpu(Box::new(engine.with_tiling(tiling))),
            Engine::Cudnn(engine) => Engine::Cudnn(Box::new(engine.with_tiling(tiling))),
        }
    }

    /// The instances of one picture.
    pub fn find(&mut self, image: &Image, masks: MaskBranch, clocks: &dyn Clocks) -> Result<Segmented, SegmentError> {
        match self {
            Engine::Cpu(engine) => engine.find(image, masks, clocks),
            Engine::Cudnn(engine) => engine.find(image, masks, clocks),
        }
    }

    /// The instances of some pictures as torchvision would give them; on the processor only.
    pub fn find_as_torchvision(&mut self, images: &[Image]) -> Result<Vec<Vec<Unrounded>>, SegmentError> {
        match self {
            Engine::Cpu(engine) => engine.find_as_torchvision(images),
            Engine::Cudnn(_) => Err(SegmentError::NotHere("torchvision's paste rule needs executor cpu")),
        }
    }

    /// Runs on grey pictures of `size`, so that the first real frame does not pay for memory and code being touched first.
    /// Pictures of other sizes are prepared at their first frame where the engine has no size of its own.
    pub fn warm_up(&mut self, size: ImageSize, clocks: &dyn Clocks) -> Result<(), SegmentError> {
        match self {
            Engine::Cpu(engine) => engine.warm_up(size, clocks),
            Engine::Cudnn(engine) => engine.warm_up(size, clocks),
        }
    }

    pub fn recipe(&self) -> &Recipe {
        match self {
            Engine::Cpu(engine) => engine.network().recipe(),
            Engine::Cudnn(engine) => engine.network().recipe(),
        }
    }

    pub fn identity(&self) -> &EngineIdentity {
        match self {
            Engine::Cpu(engine) => engine.network().identity(),
            Engine::Cudnn(engine) => engine.network().identity(),
        }
    }

    /// The GPU it runs on.
    pub fn device(&self) -> Option<&Device> {
        match self {
            Engine::Cpu(_) => None,
            Engine::Cudnn(engine) => Some(engine.network().device()),
        }
    }

    pub fn draws_masks(&self) -> bool {
        match self {
            Engine::Cpu(engine) => engine.network().draws_masks(),
            Engine::Cudnn(engine) => engine.network().draws_masks(),
        }
    }

    /// How the self-test at load ended; `None` when the engine has none.
    pub fn self_test_result(&self) -> Option<&Deviation> {
        match self {
            Engine::Cpu(engine) => engine.network().self_test_result(),
            Engine::Cudnn(engine) => engine.network().self_test_result(),
        }
    }

    pub fn classes(&self) -> ClassMap {
        match self {
            Engine::Cpu(engine) => engine.classes(),
            Engine::Cudnn(engine) => engine.classes(),
        }
    }

    /// How long the last batch took on a GPU, from the first launch to the last copy.
    pub fn device_time(&self) -> Option<Duration> {
        match self {
            Engine::Cpu(_) => None,
            Engine::Cudnn(engine) => Some(engine.device_time()),
        }
    }

    /// How long the network's parts took for the last picture, or its last tile; `None` where they are one graph.
    pub fn spent(&self) -> Option<Spent> {
        match self {
            Engine::Cpu(engine) => Some(engine.spent()),
            Engine::Cudnn(_) => None,
        }
    }
}

impl Segmenter for Engine {
    fn submit(&mut self, ticket: Ticket, asked: Vec<Asked>, clocks: &dyn Clocks) {
        match self {
            Engine::Cpu(engine) => engine.submit(ticket, asked, clocks),
            Engine::Cudnn(engine) => engine.submit(ticket, asked, clocks),
        }
    }

    fn collect(&mut self, ticket: Ticket, clocks: &dyn Clocks) -> Vec<Result<Segmented, String>> {
        match self {
            Engine::Cpu(engine) => engine.collect(ticket, clocks),
            Engine::Cudnn(engine) => engine.collect(ticket, clocks),
        }
    }

    fn capacity(&self) -> Capacity {
        match self {
            Engine::Cpu(engine) => engine.capacity(),
            Engine::Cudnn(engine) => engine.capacity(),
        }
    }

    fn score_threshold(&self) -> f32 {
        match self {
            Engine::Cpu(engine) => engine.score_threshold(),
            Engine::Cudnn(engine) => engine.score_threshold(),
        }
    }
}
