//! In which form the dense parts are compiled: as they are, in 8 bits by a scale table, or giving out what their layers
//! read, to make such a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{MaskRcnn, ModelError, Options, Purpose};
use crate::engine::graph::Graph;
use crate::engine::openvino::Program;
use crate::engine::quantize::{Data, Method, Observer, QuantizeError, ScaleTable, observable, quantize};
use crate::engine::{Digest, EngineError};
use crate::model::recipe::Recipe;

pub(in crate::model) enum Form {
    Float,
    Int8 { path: PathBuf, table: ScaleTable },
    Watched(Watch),
}

/// Gathers what the layers read.
pub(in crate::model) struct Watch {
    method: Method,
    weights_sha256: Digest,
    network_sha256: Digest,
    observer: Observer,
    /// Part -> its outputs that are looked at, and which tensor each is.
    tensors: BTreeMap<String, Vec<(usize, String)>>,
}

/// Why there is no scale table after a calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    #[error("the engine was not loaded for it")]
    NotWatched,
    #[error("{0} saw nothing: show pictures in which the network finds objects")]
    Unseen(String),
    #[error(transparent)]
    Range(#[from] QuantizeError),
}

impl Form {
    /// By the table that `recipe` names, which must be of these weights and float parts.
    pub(in crate::model) fn int8(
        recipe: &Recipe,
        parts: &[&Graph],
        weights_sha256: [u8; 32],
    ) -> Result<Form, ModelError> {
        let Some(path) = recipe.scale_table.clone() else {
            return Err(ModelError::NoScaleTable(recipe.name.clone()));
        };
        let table = ScaleTable::read(&path)?;
        table.check(&path, weights_sha256, parts)?;
        Ok(Form::Int8 { path, table })
    }

    pub(super) fn watched(parts: &[&Graph], weights_sha256: [u8; 32], method: Method) -> Result<Form, ModelError> {
        let mut tensors = BTreeMap::new();
        for part in parts {
            tensors.insert(part.name().to_owned(), observable(part)?.1);
        }
        Ok(Form::Watched(Watch {
            method,
            weights_sha256: Digest(weights_sha256),
            network_sha256: Digest::of_layers(parts),
            observer: Observer::new(method),
            tensors,
        }))
    }

    /// What is compiled of a float part.
    pub(in crate::model) fn apply(&self, part: &Graph) -> Result<Graph, ModelError> {
        match self {
            Form::Float => Ok(part.clone()),
            Form::Int8 { path, table } => quantize(part, table).map_err(|source| ModelError::Quantize {
                path: path.clone(),
                source,
            }),
            Form::Watched(_) => Ok(observable(part)?.0),
        }
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Form::Int8 { table, .. } => Some(table.digest()),
            Form::Float | Form::Watched(_) => None,
        }
    }

    /// Looks at the last run of `program`, where that is asked for: `used` rows of `all`, the rest is padding.
    pub(super) fn watch(&mut self, part: &str, program: &Program, used: usize, all: usize) -> Result<(), EngineError> {
        let Form::Watched(watch) = self else {
            return Ok(());
        };
        for (index, tensor) in watch.tensors.get(part).into_iter().flatten() {
            let values = program.output::<f32>(*index)?;
            let seen = values.len() / all.max(1) * used;
            watch
                .observer
                .observe(part, tensor, values.get(..seen).unwrap_or(values));
        }
        Ok(())
    }
}

impl Watch {
    fn table(self, data: Data, keep_float: BTreeMap<String, String>) -> Result<ScaleTable, CalibrateError> {
        let activations = self.observer.finish()?;
        for (part, tensors) in &self.tensors {
            let unseen = |(_, tensor): &&(usize, String)| !activations.contains_key(&format!("{part}/{tensor}"));
            if tensors.iter().any(|tensor| unseen(&tensor)) {
                return Err(CalibrateError::Unseen(part.clone()));
            }
        }
        Ok(ScaleTable {
            weights_sha256: self.weights_sha256,
            network_sha256: self.network_sha256,
            method: self.method,
            data,
            keep_float,
            activations,
        })
    }
}

impl MaskRcnn {
    /// The engine in f32, to gather the ranges of its values: after [`Self::infer`] with masks for each picture,
    /// [`Self::into_scale_table`] has them.
    pub fn load_to_calibrate(recipe: &Path, method: Method, options: &Options) -> Result<MaskRcnn, ModelError> {
        MaskRcnn::read(recipe, options, Purpose::Calibrate(method))
    }

    /// What was seen since [`Self::load_to_calibrate`]. `data` says what the pictures were, `keep_float` which layers
    /// are not to be quantised and why.
    pub fn into_scale_table(
        self,
        data: Data,
        keep_float: BTreeMap<String, String>,
    ) -> Result<ScaleTable, CalibrateError> {
        match self.form {
            Form::Watched(watch) => watch.table(data, keep_float),
            Form::Float | Form::Int8 { .. } => Err(CalibrateError::NotWatched),
        }
    }
}
