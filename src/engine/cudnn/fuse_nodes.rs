//! What is read off a node, and the layers that are kernels of our own.

use super::Fuser;
use crate::device::TensorElement;
use crate::engine::cudnn::error::CudnnError;
use crate::engine::cudnn::steps::{Axes, LayerKind, View, WeightForm, WeightPart};
use crate::engine::graph::{Attribute, Node, Window};

impl Fuser<'_> {
    /// What a kernel of our own does.
    pub(super) fn layer(&mut self, node: &Node, from: View) -> Result<(), CudnnError> {
        let name = self.output_name(node);
        let constant = |i: usize| node.inputs.get(i).cloned().unwrap_or_default();
        let (weight, bias) = (constant(1), constant(2));
        let spatial = matches!(
            node.op,
            "MaxPool" | "Resize" | "GlobalAveragePool" | "Conv" | "ConvTranspose"
        );
        if spatial && from.axes != Axes::First {
            return Err(self.refused(&node.name, "reads a value that is not [N, C, H, W]"));
        }
        let mut may_be_f32 = true;
        let kind = match node.op {
            "MaxPool" => {
                may_be_f32 = false;
                LayerKind::MaxPool(self.window(node)?)
            }
            "Resize" => {
                may_be_f32 = false;
                LayerKind::Upsample2x
            }
            "GlobalAveragePool" => LayerKind::Means,
            "Conv" | "ConvTranspose" if self.is_depthwise(node, &from) => {
                let window = self.window(node)?;
                match node.op {
                    "Conv" => LayerKind::Depthwise { window, weight, bias },
                    _ => LayerKind::DepthwiseDeconv { window, weight, bias },
                }
            }
            "Sigmoid" => LayerKind::Sigmoid,
            "Softmax" if from.axes == Axes::Last || from.h * from.w == 1 => LayerKind::Softmax,
            "Relu" => LayerKind::Sum {
                second: None,
                relu: true,
            },
            "Add" => {
                let second = *self.view(&node.name, &weight)?;
                if second.axes != from.axes {
                    return Err(self.refused(&node.name, "adds values whose axes are numbered differently"));
                }
                LayerKind::Sum {
                    second: Some(second.buffer),
                    relu: false,
                }
            }
            op => {
                let what = format!("the cuDNN executor has no {op} {}; it runs float graphs", node.detail);
                return Err(self.refused(&node.name, what.trim()));
            }
        };
        let sizes = match spatial {
            true => {
                let shape = self.fixed(&node.name, &self.graph.value(node.output).shape)?;
                match shape[..] {
                    [n, c, h, w] => [n, h, w, c],
                    _ => return Err(self.refused(&node.name, "gives no [N, C, H, W]")),
                }
            }
            false => [from.n, from.h, from.w, from.channels],
        };
        let element = match may_be_f32 && self.only_goes_out(name) {
            true => TensorElement::F32,
            false => TensorElement::F16,
        };
        let output = self.new_view(name, sizes, from.axes, element);
        self.push_layer(node, kind, from, output);
        self.views.insert(name.to_owned(), output);
        Ok(())
    }

    fn is_depthwise(&self, node: &Node, from: &View) -> bool {
        group(node) == Some(from.channels as i64)
    }
}

/// A convolution over all channels, or a linear layer.
pub(super) fn is_heavy(node: &Node) -> bool {
    match node.op {
        "Gemm" => true,
        "Conv" | "ConvTranspose" => group(node).is_none(),
        _ => false,
    }
}

pub(super) fn part(node: &Node, form: WeightForm, first_row: usize) -> WeightPart {
    WeightPart {
        weight: node.inputs[1].clone(),
        bias: node.inputs[2].clone(),
        form,
        first_row,
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attributes.iter().find(|(n, _)| *n == name).map(|(_, a)| a)
}

pub(super) fn ints<'a>(node: &'a Node, name: &str) -> Option<&'a [i64]> {
    match attribute(node, name) {
        Some(Attribute::Ints(values)) => Some(values),
        _ => None,
    }
}

pub(super) fn group(node: &Node) -> Option<i64> {
    match attribute(node, "group") {
        Some(Attribute::Int(group)) => Some(*group),
        _ => None,
    }
}

/// The square window of a node.
pub(super) fn window(node: &Node) -> Option<Window> {
    let one = |name: &str| {
        let values = ints(node, name)?;
        let &first = values.first()?;
        values.iter().all(|&v| v == first).then_some(first as usize)
    };
    Some(Window::new(one("kernel_shape")?, one("strides")?, one("pads")?))
}
