//! What can go wrong between a graph and cuDNN.

use super::steps::ConvShape;

/// Why a network cannot be built for cuDNN, or did not run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CudnnError {
    #[error(
        "cuDNN 9 is not installed ({0}): `pip install nvidia-cudnn-cu13` and set MASKCAST_CUDNN_DIR to the folder of \
         libcudnn.so.9"
    )]
    Absent(String),
    #[error("cuDNN {0} is too old: expected 9.0.0 or newer; `pip install nvidia-cudnn-cu13` has one")]
    Old(String),
    #[error("layer {layer:?} of graph {graph:?}: {reason}")]
    Layer {
        graph: String,
        layer: String,
        reason: String,
    },
    #[error("layer {layer:?}: weight {value} is beyond what f16 holds (65504)")]
    Overflow { layer: String, value: f32 },
    #[error("cuDNN has no plan for layer {layer:?}, {shape}: {reason}")]
    NoPlan {
        layer: String,
        shape: Box<ConvShape>,
        reason: String,
    },
    #[error("cuDNN, layer {layer:?}, {shape}: {reason}")]
    Run {
        layer: String,
        shape: Box<ConvShape>,
        reason: String,
    },
    /// One call that failed, in the library's own words.
    #[error("{call}: {reason}")]
    Call { call: String, reason: String },
}
