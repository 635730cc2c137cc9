//! The block mobile networks are made of: 1x1 to many channels with a ReLU, 3x3 in each channel alone, 1x1 to few; the
//! input is added where it has the output's shape. Nothing follows the last two: what they cut off would be lost.
//! Weights under the names of MaskRCNN2Go's Caffe2 nets, batch norm already folded in. R = pictures or RoIs.

use crate::engine::graph::{Array, Graph, GraphError, Tensor, Window};
use crate::model::weights::{Weights, WeightsError};

/// Channels of the input, inside and of the output; stride of the 3x3.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct BlockShape {
    pub input: usize,
    pub inner: usize,
    pub output: usize,
    pub stride: usize,
}

impl BlockShape {
    const fn has_sum(self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// One block's weights: a head is built once a batch size, so they are kept.
#[derive(Debug, Clone)]
pub(in crate::model) struct InvertedResidual {
    name: String,
    shape: BlockShape,
    expand: (Array, Array),
    depthwise: (Array, Array),
    project: (Array, Array),
}

impl InvertedResidual {
    /// `stored` = what the blobs' names begin with, `name` = what the layers' names begin with.
    pub fn take(
        weights: &mut Weights,
        stored: &str,
        name: String,
        shape: BlockShape,
    ) -> Result<InvertedResidual, WeightsError> {
        let BlockShape {
            input, inner, output, ..
        } = shape;
        let expand = take_folded(weights, &format!("{stored}_pw"), &[inner, input, 1, 1])?;
        let depthwise = (
            weights.take(&format!("{stored}_dw_conv_w_int8"), &[inner, 1, 3, 3])?,
            weights.take(&format!("{stored}_dw_conv_b_zero_generated_int8"), &[inner])?,
        );
        let project = if shape.has_sum() {
            format!("{stored}_pwl")
        } else {
            stored.to_owned()
        };
        Ok(InvertedResidual {
            project: take_folded(weights, &project, &[output, inner, 1, 1])?,
            name,
            shape,
            expand,
            depthwise,
        })
    }

    /// x [R, input, H, W] -> [R, output, H/stride, W/stride], rounded up.
    pub fn layers(&self, g: &mut Graph, x: Tensor) -> Result<Tensor, GraphError> {
        let name = |layer: &str| format!("{}.{layer}", self.name);
        let one = Window::new(1, 1, 0);
        let (w, b) = self.expand.clone();
        let wide = g.conv(&name("expand"), x, w, b, one)?;
        let wide = g.relu(&name("expand.relu"), wide)?;
        let (w, b) = self.depthwise.clone();
        let wide = g.depthwise_conv(&name("depthwise"), wide, w, b, Window::new(3, self.shape.stride, 1))?;
        let (w, b) = self.project.clone();
        let narrow = g.conv(&name("project"), wide, w, b, one)?;
        if self.shape.has_sum() {
            g.add(&name("sum"), narrow, x)
        } else {
            Ok(narrow)
        }
    }
}

/// A convolution and the bias its batch norm left.
pub(in crate::model) fn take_folded(
    weights: &mut Weights,
    stored: &str,
    shape: &[usize; 4],
) -> Result<(Array, Array), WeightsError> {
    let weight = weights.take(&format!("{stored}_conv_w_int8"), shape)?;
    let bias = weights.take(&format!("{stored}_bn_b_int8"), &shape[..1])?;
    Ok((weight, bias))
}
