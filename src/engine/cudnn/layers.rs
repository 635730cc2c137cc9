//! How long each convolution of a network takes alone: what the whole can be compared with.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::Cudnn;
use super::fuse::fuse;
use super::steps::ConvShape;
use super::tune::{Tuner, bytes};
use crate::engine::EngineError;
use crate::engine::graph::Graph;

/// One distinct convolution of some graphs.
#[derive(Debug, Clone)]
pub struct LayerTime {
    /// The first layer of this shape, and how many there are.
    pub layer: String,
    pub layers: usize,
    pub shape: ConvShape,
    /// Read and written in one run.
    pub bytes: usize,
    /// Of one run over arrays of random numbers; else why there is none.
    pub micros: Result<f32, String>,
}

/// How many convolutions there are in `graphs`.
pub fn convolutions(graphs: &[Graph]) -> Result<usize, EngineError> {
    graphs.iter().map(|graph| Ok(fuse(graph)?.convs().count())).sum()
}

impl Cudnn {
    /// Times every distinct convolution of `graphs`, whose dimensions are all fixed, those with the most work first, until
    /// `each` has seen enough. A plan that is kept is timed, else the first that cuDNN suggests.
    pub fn layer_times(
        &mut self,
        graphs: &[Graph],
        mut each: impl FnMut(LayerTime) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut found: Vec<LayerTime> = Vec::new();
        for graph in graphs {
            for conv in fuse(graph)?.convs() {
                match found.iter_mut().find(|one| one.shape == conv.shape) {
                    Some(one) => one.layers += 1,
                    None => found.push(LayerTime {
                        layer: format!("{}/{}", graph.name(), conv.name),
                        layers: 1,
                        shape: conv.shape,
                        bytes: bytes(&conv.shape),
                        micros: Err("not reached".to_owned()),
                    }),
                }
            }
        }
        let work = |one: &LayerTime| one.shape.flops() * one.layers as f64;
        found.sort_by(|a, b| work(b).total_cmp(&work(a)));
        self.device.bind()?;
        let mut tuner = Tuner::new(&self.device, found.iter().map(|one| &one.shape), None, None)?;
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        for mut one in found {
            let plan = self.plans.make(&one.shape, &mut handle, None);
            let timed = plan.and_then(|plan| tuner.time(&one.shape, &plan, &mut handle));
            one.micros = timed.map_err(|error| error.to_string());
            if each(one).is_break() {
                break;
            }
        }
        Ok(())
    }
}
