//! 8-bit forms of graphs. Belongs here: the ranges of values as calibration sees them ([`Observer`]), the committed table
//! of them ([`ScaleTable`], `calibration/int8/NAME.toml`), and the graph with Q/DQ nodes by that table ([`quantize`]).
//! Not here: which pictures are shown, and what runs between the parts of a network (`model`).
//!
//! To calibrate: for each part compile the graph of [`observable`] in f32; after each run give every output it names to
//! [`Observer::observe`]; at the end [`Observer::finish`] has the table's ranges.
//!
//! A number q of 8 bits stands for `scale * (q - zero_point)`. Weights: i8, symmetric, a scale each output channel.
//! Activations: u8, one scale a tensor; zero itself is always one of the 256 values, for padding and ReLU are made of it.

mod histogram;
mod insert;
mod observe;
mod table;

pub use histogram::{Histogram, Method};
pub use insert::{observable, quantize};
pub use observe::Observer;
pub use table::{Data, Range, ScaleTable, TableError};

use super::graph::GraphError;

/// Why a graph cannot be calibrated or quantised. Tensors and layers are named `part/name`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    #[error("the scale table has no range for {tensor:?}, which layer {layer:?} reads: calibrate again")]
    NoRange { tensor: String, layer: String },
    #[error("the scale table has a range for {0:?}, which the network does not have: calibrate again")]
    UnknownTensor(String),
    #[error("keep_float names {0:?}, which is no layer with weights")]
    UnknownLayer(String),
    #[error("layer {layer:?}: expected finite weights, got {got}")]
    Weight { layer: String, got: f32 },
    #[error("{tensor:?}: expected finite values, got {count} that are not")]
    NotFinite { tensor: String, count: u64 },
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// `trunk/image`: how tables and errors name what belongs to one part of a network.
fn full_name(part: &str, name: &str) -> String {
    format!("{part}/{name}")
}

#[cfg(test)]
mod tests;
