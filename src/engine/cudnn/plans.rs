//! A plan for each shape of a graph: kept in memory, on disk, or made now.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::{Handle, Plan, Target, described_device};
use super::error::CudnnError;
use super::fuse::fuse;
use super::steps::{Conv, ConvShape};
use super::store::{Machine, Store};
use super::tune::{Tuner, first_plan};
use super::{Progress, Settings, Tuning};
use crate::device::Device;
use crate::engine::EngineError;
use crate::engine::graph::Graph;

pub(super) struct Plans {
    known: HashMap<ConvShape, Arc<Plan>>,
    store: Option<Store>,
    settings: Settings,
}

impl Plans {
    pub(super) fn new(machine: Machine, settings: Settings) -> Plans {
        let store = match &settings.tuning {
            Tuning::Off => None,
            Tuning::Kept { folder: Some(root), .. } => Some(Store::at(root, machine)),
            Tuning::Kept { folder: None, .. } => Store::of(machine),
        };
        Plans {
            known: HashMap::new(),
            store,
            settings,
        }
    }

    /// What is stored is still used.
    pub(super) fn stop_tuning(&mut self) {
        self.settings.tuning = Tuning::Off;
    }

    /// Makes what is missing for `convs`. An f32 result for which there is no plan becomes f16, in `convs` too.
    pub(super) fn prepare(
        &mut self,
        device: &Device,
        handle: &mut Handle,
        convs: &mut [&mut Conv],
    ) -> Result<(), EngineError> {
        let mut tuner = None;
        let of = convs.len();
        for done in 0..of {
            let conv = &*convs[done];
            let shape = conv.shape;
            if self.known.contains_key(&shape) {
                continue;
            }
            if let Some(progress) = &mut self.settings.progress {
                progress(Progress {
                    layer: &conv.name,
                    done,
                    of,
                });
            }
            if tuner.is_none()
                && let Tuning::Kept { most, pool_bytes, .. } = self.settings.tuning
                && !self.is_stored(&shape)
            {
                let shapes: Vec<ConvShape> = convs.iter().map(|conv| conv.shape).collect();
                tuner = Some(Tuner::new(device, shapes.iter(), most, pool_bytes)?);
                tracing::info!(
                    "cuDNN: timing the configurations of {of} layers, about a second each; the result is kept"
                );
            }
            let conv = &mut *convs[done];
            let plan = match self.make(&shape, handle, tuner.as_mut()) {
                Err(EngineError::Cudnn(error)) if shape.f32_out => {
                    tracing::info!("layer {:?} gives f16 instead of f32: {error}", conv.name);
                    conv.shape.f32_out = false;
                    self.make(&conv.shape, handle, tuner.as_mut())
                }
                made => made,
            };
            let plan = plan.map_err(|error| match error {
                EngineError::Cudnn(error) => EngineError::Cudnn(CudnnError::NoPlan {
                    layer: conv.name.clone(),
                    shape: Box::new(conv.shape),
                    reason: error.to_string(),
                }),
                other => other,
            })?;
            self.known.insert(conv.shape, plan);
        }
        Ok(())
    }

    fn is_stored(&self, shape: &ConvShape) -> bool {
        self.store.as_ref().is_some_and(|store| store.read(shape).is_some())
    }

    pub(super) fn make(
        &self,
        shape: &ConvShape,
        handle: &mut Handle,
        tuner: Option<&mut Tuner>,
    ) -> Result<Arc<Plan>, EngineError> {
        if let Some(plan) = self.known.get(shape) {
            return Ok(Arc::clone(plan));
        }
        if let Some(store) = &self.store
            && let Some(json) = store.read(shape)
        {
            match Plan::from_json(&json, Target::Device(handle)) {
                Ok(plan) => return Ok(Arc::new(plan)),
                Err(error) => tracing::warn!("the kept plan for {shape} is refused ({error}): it is made again"),
            }
        }
        if let Some(tuner) = tuner
            && let Some(best) = tuner.best(shape, handle)?
        {
            if let Some(store) = &self.store
                && let Ok(json) = best.plan.json()
            {
                store.write(shape, best.micros, json);
            }
            return Ok(Arc::new(best.plan));
        }
        Ok(Arc::new(first_plan(shape, Target::Device(handle))?))
    }

    pub(super) fn get(&self, shape: &ConvShape) -> Option<Arc<Plan>> {
        self.known.get(shape).cloned()
    }
}

/// One distinct convolution of a graph, and whether cuDNN can run it.
#[derive(Debug, Clone)]
pub struct PlanReport {
    /// The first layer of this shape, and how many there are.
    pub layer: String,
    pub layers: usize,
    pub shape: ConvShape,
    /// Bytes of workspace and of the plan's text; else why there is no plan.
    pub plan: Result<(usize, usize), String>,
}

/// Plans for every distinct convolution of `graphs` on a device that is only described: no GPU is needed.
pub fn plans(graphs: &[Graph], device_json: &[u8]) -> Result<Vec<PlanReport>, EngineError> {
    super::library::load()?;
    let device = described_device(device_json)?;
    let target = Target::Described(&device);
    let mut reports: Vec<PlanReport> = Vec::new();
    for graph in graphs {
        for conv in fuse(graph)?.convs() {
            if let Some(report) = reports.iter_mut().find(|report| report.shape == conv.shape) {
                report.layers += 1;
                continue;
            }
            let plan = first_plan(&conv.shape, target).and_then(|plan| Ok((plan.workspace, plan.json()?.len())));
            reports.push(PlanReport {
                layer: format!("{}/{}", graph.name(), conv.name),
                layers: 1,
                shape: conv.shape,
                plan: plan.map_err(|error| error.to_string()),
            });
        }
    }
    Ok(reports)
}
