//! cuDNN as an executor: a [`Graph`] becomes a [`Program`] that runs on a GPU in f16 with sums in f32. Belongs here: which
//! layers become one, where values lie, plans and their timing, the layers cuDNN is not asked for. Not here: what runs
//! between the dense parts (`ops`), memory and streams (`device`). The library is loaded at run time; without it there is
//! one sentence that says what to install.

// A C library is called, and memory is handed to it by address.
#![allow(unsafe_code)]

mod arena;
mod backend;
mod error;
mod fuse;
mod launch;
mod layers;
mod library;
mod plans;
mod program;
mod steps;
mod store;
mod tune;
mod weights;

pub use error::CudnnError;
pub use launch::SOURCE;
pub use layers::{LayerTime, convolutions};
pub use plans::{PlanReport, plans};
pub use program::Program;
pub use steps::ConvShape;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use self::arena::{lives, plan as plan_arena};
use self::backend::{Arrays, Handle, Pack};
use self::fuse::fuse;
use self::launch::{Addresses, LayerKernels};
use self::plans::Plans;
use self::program::{Port, Ready, Uploaded};
use self::steps::{Conv, Layer, LayerKind, Step, Steps};
use self::store::Machine;
use super::graph::Graph;
use super::{EngineError, ExecutorIdentity, Precision};
use crate::device::{Device, Kernels, TensorElement};

/// Whether the configurations of a layer are timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tuning {
    /// The first one cuDNN suggests is taken: for tests, and where a start must not take long.
    Off,
    /// They are timed at the first start, and the best kept on disk.
    Kept {
        /// `None` = maskcast/cudnn in the user's cache.
        folder: Option<PathBuf>,
        /// How many of a layer's are timed, as cuDNN suggests them; `None` = all.
        most: Option<usize>,
        /// Bytes of numbers to time on; `None` = more than a GPU's caches hold.
        pool_bytes: Option<usize>,
    },
}

impl Tuning {
    /// In the user's cache.
    pub const KEPT: Tuning = Tuning::Kept {
        folder: None,
        most: None,
        pool_bytes: None,
    };
}

/// How far making plans is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    pub layer: &'a str,
    /// Layers before it.
    pub done: usize,
    pub of: usize,
}

/// Called on the thread that compiles.
pub type OnProgress = Box<dyn FnMut(Progress<'_>) + Send>;

/// How programs are made.
pub struct Settings {
    pub tuning: Tuning,
    /// Told before each plan that is not there yet.
    pub progress: Option<OnProgress>,
}

/// The library, on one device.
pub struct Cudnn {
    device: Device,
    handle: Arc<Mutex<Handle>>,
    kernels: LayerKernels,
    identity: ExecutorIdentity,
    plans: Plans,
    /// By the digest of their packed values: levels and batch sizes share.
    weights: HashMap<[u8; 32], Arc<Uploaded>>,
}

/// Loads the library and asks it for its version, for `doctor`.
pub fn probe() -> Result<String, EngineError> {
    Ok(library::load()?.to_string())
}

impl Cudnn {
    pub fn open(device: &Device, settings: Settings) -> Result<Cudnn, EngineError> {
        let version = library::load()?;
        device.bind()?;
        let facts = device.facts();
        let (major, minor) = facts.driver_version;
        let machine = Machine {
            cudnn: version.to_string(),
            driver: format!("{major}.{minor}"),
            device: facts.name.clone(),
            sm: facts.sm,
        };
        Ok(Cudnn {
            identity: ExecutorIdentity {
                name: "cudnn".to_owned(),
                version: version.to_string(),
                device: facts.name.clone(),
                precision: Precision::F16,
            },
            kernels: LayerKernels::new(&Kernels::load(device, &[SOURCE])?),
            handle: Arc::new(Mutex::new(Handle::new()?)),
            plans: Plans::new(machine, settings),
            weights: HashMap::new(),
            device: device.clone(),
        })
    }

    /// From now on a layer without a stored plan takes the first that cuDNN suggests.
    pub fn stop_tuning(&mut self) {
        self.plans.stop_tuning();
    }

    pub fn identity(&self) -> &ExecutorIdentity {
        &self.identity
    }

    /// Compiles `graph`, whose dimensions are all fixed. All memory is allocated here.
    pub fn compile(&mut self, graph: &Graph) -> Result<Program, EngineError> {
        let mut steps = fuse(graph)?;
        self.device.bind()?;
        self.prepare_plans(&mut steps)?;
        let arena = plan_arena(&lives(&steps));
        let memory = self
            .device
            .buffer(&format!("values of network {}", graph.name()), arena.bytes)?;
        let workspace = steps
            .convs()
            .filter_map(|conv| Some(self.plans.get(&conv.shape)?.workspace));
        let workspace = workspace.max().unwrap_or(0);
        let workspace = self
            .device
            .buffer(&format!("workspace of network {}", graph.name()), workspace)?;
        let place = Place {
            graph,
            steps: &steps,
            arena: memory.slice().address(),
            offsets: &arena.offsets,
            workspace: workspace.slice().address(),
        };
        let (mut ready, mut weights) = (Vec::with_capacity(steps.steps.len()), Vec::new());
        for step in &steps.steps {
            ready.push(match step {
                Step::Conv(conv) => self.ready_conv(&place, conv, &mut weights)?,
                Step::Layer(layer) => self.ready_layer(&place, layer, &mut weights)?,
            });
        }
        let ports = |views: &[steps::View]| views.iter().map(|v| Port::of(&steps, &arena.offsets, v)).collect();
        Ok(Program {
            network: graph.name().to_owned(),
            ready,
            inputs: ports(&steps.inputs),
            outputs: ports(&steps.outputs),
            handle: Arc::clone(&self.handle),
            arena: memory,
            _workspace: workspace,
            _weights: weights,
        })
    }

    fn prepare_plans(&mut self, steps: &mut Steps) -> Result<(), EngineError> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut convs: Vec<&mut Conv> = steps
            .steps
            .iter_mut()
            .filter_map(|step| match step {
                Step::Conv(conv) => Some(conv),
                Step::Layer(_) => None,
            })
            .collect();
        self.plans.prepare(&self.device, &mut handle, &mut convs)?;
        for conv in convs {
            steps.buffers[conv.output].element = match conv.shape.f32_out {
                true => TensorElement::F32,
                false => TensorElement::F16,
            };
        }
        Ok(())
    }

    fn ready_conv(
        &mut self,
        place: &Place<'_>,
        conv: &Conv,
        weights: &mut Vec<Arc<Uploaded>>,
    ) -> Result<Ready, EngineError> {
        let plan = self.plans.get(&conv.shape).ok_or_else(|| CudnnError::NoPlan {
            layer: conv.name.clone(),
            shape: Box::new(conv.shape),
            reason: "it was not prepared".to_owned(),
        })?;
        let packed = weights::pack(place.graph, conv)?;
        let bytes: Vec<u8> = packed.weight.iter().flat_map(|half| half.to_le_bytes()).collect();
        let own = self.upload(&conv.name, &bytes, &packed.bias)?;
        let arrays = Arrays {
            x: place.address(conv.input),
            weight: own.weight.slice().address(),
            bias: own.bias.slice().address(),
            residual: conv.residual.map(|buffer| place.address(buffer)),
            y: place.address(conv.output),
            workspace: place.workspace,
        };
        weights.push(own);
        // SAFETY: the arena holds each buffer in full, weights and bias were packed for this shape, and the workspace is
        // the largest of all plans; the program keeps all of them.
        let pack = unsafe { Pack::new(&arrays) }?;
        Ok(Ready::Conv {
            conv: conv.clone(),
            plan,
            pack,
        })
    }

    fn ready_layer(
        &mut self,
        place: &Place<'_>,
        layer: &Layer,
        weights: &mut Vec<Arc<Uploaded>>,
    ) -> Result<Ready, EngineError> {
        let (second, bias) = match &layer.kind {
            LayerKind::Depthwise { weight, bias, .. } | LayerKind::DepthwiseDeconv { weight, bias, .. } => {
                let (weight, bias) = weights::pack_depthwise(place.graph, &layer.name, weight, bias)?;
                let bytes: Vec<u8> = weight.iter().flat_map(|value| value.to_le_bytes()).collect();
                let own = self.upload(&layer.name, &bytes, &bias)?;
                let both = (own.weight.slice().address(), own.bias.slice().address());
                weights.push(own);
                both
            }
            LayerKind::Sum {
                second: Some(second), ..
            } => (place.address(*second), 0),
            _ => (0, 0),
        };
        let addresses = Addresses {
            input: place.address(layer.input.buffer),
            second,
            bias,
            output: place.address(layer.output.buffer),
        };
        let element = place.steps.buffers[layer.output.buffer].element;
        // SAFETY: the arena holds each buffer in full, weights were packed for this layer; the program keeps both.
        Ok(Ready::Layer(unsafe { self.kernels.ready(layer, element, addresses) }?))
    }

    /// On the device once, whoever asks.
    fn upload(&mut self, layer: &str, weight: &[u8], bias: &[f32]) -> Result<Arc<Uploaded>, EngineError> {
        let mut digest = Sha256::new();
        digest.update(weight);
        bias.iter().for_each(|value| digest.update(value.to_le_bytes()));
        let key: [u8; 32] = digest.finalize().into();
        if let Some(known) = self.weights.get(&key) {
            return Ok(Arc::clone(known));
        }
        let uploaded = Arc::new(Uploaded {
            weight: self.device.upload(&format!("weights of layer {layer}"), weight)?,
            bias: self.device.upload(&format!("biases of layer {layer}"), bias)?,
        });
        self.weights.insert(key, Arc::clone(&uploaded));
        Ok(uploaded)
    }
}

/// Where the values of a graph lie.
struct Place<'a> {
    graph: &'a Graph,
    steps: &'a Steps,
    arena: u64,
    offsets: &'a [usize],
    workspace: u64,
}

impl Place<'_> {
    fn address(&self, buffer: steps::BufferId) -> u64 {
        self.arena + self.offsets[buffer] as u64
    }
}
