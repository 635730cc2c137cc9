//! Weights as the steps read them: convolutions' in f16, [K, k, k, C] with channels padded to eights, the padding zero;
//! biases and the few weights of depthwise layers in f32.

use half::f16;

use super::error::CudnnError;
use super::steps::{Axes, Conv, WeightForm, WeightPart, padded};
use crate::engine::graph::{Array, Constant, Graph};

/// A convolution's, packed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packed {
    /// [K, k, k, C].
    pub weight: Vec<f16>,
    /// [K].
    pub bias: Vec<f32>,
}

/// The constant `name` of `graph`, for `layer`.
fn constant<'a>(graph: &'a Graph, layer: &str, name: &str) -> Result<&'a Array, CudnnError> {
    match graph.initializers.get(name) {
        Some(Constant::F32(array)) => Ok(array),
        _ => Err(CudnnError::Layer {
            graph: graph.name().to_owned(),
            layer: layer.to_owned(),
            reason: format!("{name:?} is no f32 constant"),
        }),
    }
}

/// All parts of `conv`, one below the other.
pub(super) fn pack(graph: &Graph, conv: &Conv) -> Result<Packed, CudnnError> {
    let (k, c) = (conv.shape.kernel, conv.shape.c);
    let row = k * k * c;
    let mut packed = Packed {
        weight: vec![f16::ZERO; conv.shape.k * row],
        bias: vec![0.0; conv.shape.k],
    };
    for part in &conv.parts {
        let weight = constant(graph, &conv.name, &part.weight)?;
        let bias = constant(graph, &conv.name, &part.bias)?;
        pack_part(conv, part, weight, bias, &mut packed)?;
    }
    Ok(packed)
}

fn pack_part(
    conv: &Conv,
    part: &WeightPart,
    weight: &Array,
    bias: &Array,
    packed: &mut Packed,
) -> Result<(), CudnnError> {
    let shape = &weight.shape;
    let row = conv.shape.kernel * conv.shape.kernel * conv.shape.c;
    let half = |value: f32| {
        let half = f16::from_f32(value);
        if half.is_infinite() && value.is_finite() {
            return Err(CudnnError::Overflow {
                layer: conv.name.clone(),
                value,
            });
        }
        Ok(half)
    };
    let base = part.first_row * row;
    match part.form {
        WeightForm::Conv => {
            let (inputs, cells) = (shape[1], shape[2] * shape[3]);
            for (o, filter) in weight.values.chunks_exact((inputs * cells).max(1)).enumerate() {
                for (i, plane) in filter.chunks_exact(cells).enumerate() {
                    for (cell, &value) in plane.iter().enumerate() {
                        packed.weight[base + o * row + cell * conv.shape.c + i] = half(value)?;
                    }
                }
            }
        }
        WeightForm::Linear {
            cells,
            channels,
            pitch,
            axes,
        } => {
            for (o, columns) in weight.values.chunks_exact((cells * channels).max(1)).enumerate() {
                for (column, &value) in columns.iter().enumerate() {
                    let (cell, channel) = match axes {
                        Axes::First | Axes::FlatFirst => (column % cells, column / cells),
                        Axes::Last | Axes::FlatLast => (column / channels, column % channels),
                    };
                    packed.weight[base + o * row + cell * pitch + channel] = half(value)?;
                }
            }
        }
        WeightForm::Deconv2x { pitch } => {
            let outs = shape[1];
            for (i, planes) in weight.values.chunks_exact((outs * 4).max(1)).enumerate() {
                for (o, corners) in planes.chunks_exact(4).enumerate() {
                    for (corner, &value) in corners.iter().enumerate() {
                        packed.weight[base + (corner * pitch + o) * row + i] = half(value)?;
                    }
                }
            }
            for corner in 0..4 {
                let at = part.first_row + corner * pitch;
                packed.bias[at..at + outs].copy_from_slice(&bias.values);
            }
            return Ok(());
        }
    }
    packed.bias[part.first_row..part.first_row + bias.values.len()].copy_from_slice(&bias.values);
    Ok(())
}

/// A depthwise layer's weight [k * k, P] and bias [P].
pub(super) fn pack_depthwise(
    graph: &Graph,
    layer: &str,
    weight: &str,
    bias: &str,
) -> Result<(Vec<f32>, Vec<f32>), CudnnError> {
    let weight = constant(graph, layer, weight)?;
    let bias = constant(graph, layer, bias)?;
    let channels = bias.values.len();
    let (pitch, cells) = (padded(channels), weight.values.len() / channels.max(1));
    let mut values = vec![0.0; cells * pitch];
    for (channel, plane) in weight.values.chunks_exact(cells.max(1)).enumerate() {
        for (cell, &value) in plane.iter().enumerate() {
            values[cell * pitch + channel] = value;
        }
    }
    let mut biases = bias.values.clone();
    biases.resize(pitch, 0.0);
    Ok((values, biases))
}
