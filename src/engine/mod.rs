//! Dense networks and what runs them. Belongs here: the graph builder, its ONNX and text forms, their 8-bit forms, the
//! executors. Not here: which layers make a Mask R-CNN (`model`), what runs between the dense parts (`ops`). This room
//! knows no network.

pub mod cudnn;
mod file;
pub mod graph;
pub mod openvino;
pub mod quantize;

pub use file::{Digest, place_in, replace};

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use graph::{Element, GraphError};

/// What the dense parts compute in. Weights are given in f32 and rounded by the executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    F32,
    /// Products of bf16 summed in f32: twice as fast where the processor has AVX512_BF16 or AMX.
    Bf16,
    /// Products of f16 summed in f32: what GPUs are made for.
    F16,
    /// Products of int8 summed in i32, where a scale table says how; the rest in the best float there is.
    Int8,
}

impl Precision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => Ok(Precision::F16),
            "int8" => Ok(Precision::Int8),
            _ => Err(format!(
                "{text:?} is no precision: use \"f32\", \"bf16\", \"f16\" or \"int8\""
            )),
        }
    }
}

/// What runs the dense parts, as it goes into the engine identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorIdentity {
    /// `openvino` or `cudnn`.
    pub name: String,
    /// Full build number of the library.
    pub version: String,
    /// The processor's name.
    pub device: String,
    /// What is really computed in: f32 where the processor has no bf16.
    pub precision: Precision,
}

/// Why a network cannot be built, loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "OpenVINO is not installed ({0}): run `make`, or `pip install 'openvino==2026.4.*'` and set \
         MASKCAST_OPENVINO_DIR to the folder of libopenvino_c.so"
    )]
    NotInstalled(String),
    #[error(
        "{path} is not a usable OpenVINO library ({reason}): run `make`, or `pip install 'openvino==2026.4.*'` and set \
         MASKCAST_OPENVINO_DIR to the folder of its libopenvino_c.so"
    )]
    WrongLibrary { path: PathBuf, reason: String },
    #[error("OpenVINO failed to {action} network {network:?}: {reason}")]
    Executor {
        action: &'static str,
        network: String,
        reason: String,
    },
    #[error("network {network:?} has no {port} {index}: it has {count}")]
    NoPort {
        network: String,
        port: &'static str,
        index: usize,
        count: usize,
    },
    #[error("{port} {name:?} of network {network:?}: expected {expected} values, got {got}")]
    Size {
        network: String,
        port: &'static str,
        name: String,
        expected: usize,
        got: usize,
    },
    #[error("{port} {name:?} of network {network:?} is stored as {stored}, not {asked}")]
    Element {
        network: String,
        port: &'static str,
        name: String,
        stored: Element,
        asked: Element,
    },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("OpenVINO does not compute in {0}: use f32, bf16 or int8")]
    Precision(Precision),
    #[error(transparent)]
    Cudnn(#[from] cudnn::CudnnError),
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
}
