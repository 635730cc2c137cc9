//! A graph as this executor runs it: a list of steps over channels-last arrays whose channels are padded to eights.
//!
//! Letters: N pictures or RoIs, H W rows and columns, C channels, P the pitch = C rounded up to eight.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::device::TensorElement;
use crate::engine::graph::Window;

/// Channels come in eights: 16 bytes of f16, which is what the fast kernels read at once.
pub(super) const EIGHT: usize = 8;

pub(super) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(EIGHT)
}

/// Place of a [`Buffer`] in its list.
pub(super) type BufferId = usize;

/// An array on the device: `positions` cells, of `pitch` values each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Buffer {
    /// The value of the graph that it holds.
    pub name: String,
    pub positions: usize,
    pub pitch: usize,
    pub element: TensorElement,
}

impl Buffer {
    pub(super) fn bytes(&self) -> usize {
        self.positions * self.pitch * self.element.bytes()
    }
}

/// How the graph numbers the axes of a value that lies channels last on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axes {
    /// [N, C, H, W].
    First,
    /// [N, H, W, C].
    Last,
    /// [N, C H W].
    FlatFirst,
    /// [N, H W C].
    FlatLast,
}

/// A value of the graph in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub buffer: BufferId,
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub channels: usize,
    /// Its first channel in the buffer.
    pub first: usize,
    pub axes: Axes,
}

impl View {
    pub(super) fn positions(&self) -> usize {
        self.n * self.h * self.w
    }
}

/// What a fused convolution is to cuDNN: y = relu(x * w + bias + residual), f16 in, sums in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConvShape {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    /// Channels of y.
    pub k: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub residual: bool,
    pub relu: bool,
    /// y is f32, not f16.
    pub f32_out: bool,
}

impl ConvShape {
    /// `(rows, columns)` of y.
    pub fn output(&self) -> (usize, usize) {
        let over = |extent: usize| (extent + 2 * self.pad).saturating_sub(self.kernel) / self.stride.max(1) + 1;
        (over(self.h), over(self.w))
    }

    /// Multiplications and additions.
    pub fn flops(&self) -> f64 {
        let (h, w) = self.output();
        2.0 * (self.n * h * w) as f64 * (self.k * self.c * self.kernel * self.kernel) as f64
    }
}

impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConvShape { n, c, h, w, k, .. } = self;
        write!(f, "{n}x{h}x{w}x{c} -> {k}, {0}x{0}/{1}", self.kernel, self.stride)?;
        if self.residual {
            f.write_str(" + residual")?;
        }
        if self.relu {
            f.write_str(" + relu")?;
        }
        if self.f32_out {
            f.write_str(", f32 out")?;
        }
        Ok(())
    }
}

/// How a stored weight becomes rows of a convolution's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WeightForm {
    /// [O, C, k, k].
    Conv,
    /// [O, I] over the cells of a value with `cells` positions of `channels` channels, in the order of `axes`.
    Linear {
        cells: usize,
        channels: usize,
        pitch: usize,
        axes: Axes,
    },
    /// [C, O, 2, 2]: four times `pitch` rows, one O each for the corners 00 01 10 11.
    Deconv2x { pitch: usize },
}

/// Rows `first_row ..` of a convolution's weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WeightPart {
    /// Names of initializers.
    pub weight: String,
    pub bias: String,
    pub form: WeightForm,
    pub first_row: usize,
}

/// One fused convolution, run by cuDNN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conv {
    pub name: String,
    pub shape: ConvShape,
    pub input: BufferId,
    pub residual: Option<BufferId>,
    pub output: BufferId,
    pub parts: Vec<WeightPart>,
}

/// What kernels of our own do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LayerKind {
    MaxPool(Window),
    /// Each cell becomes 2x2.
    Upsample2x,
    /// The four corners that a cell holds become 2x2 cells.
    Shuffle2x,
    /// Weight [C, 1, k, k] and bias, by name; relu.
    Depthwise {
        window: Window,
        weight: String,
        bias: String,
    },
    /// The transposed one.
    DepthwiseDeconv {
        window: Window,
        weight: String,
        bias: String,
    },
    /// Of each plane.
    Means,
    /// Over channels.
    Softmax,
    Sigmoid,
    /// Of two, or one alone, and its positive part.
    Sum {
        second: Option<BufferId>,
        relu: bool,
    },
}

/// One step of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub name: String,
    pub kind: LayerKind,
    pub input: View,
    pub output: View,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Conv(Conv),
    Layer(Layer),
}

impl Step {
    pub(super) fn reads(&self) -> Vec<BufferId> {
        match self {
            Step::Conv(conv) => [Some(conv.input), conv.residual].into_iter().flatten().collect(),
            Step::Layer(layer) => match layer.kind {
                LayerKind::Sum {
                    second: Some(second), ..
                } => vec![layer.input.buffer, second],
                _ => vec![layer.input.buffer],
            },
        }
    }

    pub(super) fn writes(&self) -> BufferId {
        match self {
            Step::Conv(conv) => conv.output,
            Step::Layer(layer) => layer.output.buffer,
        }
    }
}

/// A whole graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    pub graph: String,
    pub buffers: Vec<Buffer>,
    pub steps: Vec<Step>,
    pub inputs: Vec<View>,
    /// In the graph's order.
    pub outputs: Vec<View>,
}

impl Steps {
    pub(super) fn convs(&self) -> impl Iterator<Item = &Conv> {
        self.steps.iter().filter_map(|step| match step {
            Step::Conv(conv) => Some(conv),
            Step::Layer(_) => None,
        })
    }
}
