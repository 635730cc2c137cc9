//! The two heads that see pooled RoIs. R RoIs, C = FPN width, K classes and the background (index 0). RoIs come channels
//! last, as RoIAlign writes them.

use super::infer::ModelError;
use super::mask_rcnn::BOX_SIDE;
use super::parts::{CHANNELS_FIRST, CHANNELS_LAST};
use super::recipe::{Layout, MaskBranch, Pyramid};
use super::weights::{Weights, WeightsError};
use crate::engine::graph::{Array, Graph, Tensor, Window};

type Layer = (Array, Array);

/// Weights of both heads: a head is built once a batch size, so they are kept.
#[derive(Debug, Clone)]
pub(super) struct HeadWeights {
    /// The box head's convolutions; none in the first layout.
    box_convs: Vec<Layer>,
    /// Its linear layers with their names. The first reads cells channels last.
    linears: Vec<(&'static str, Layer)>,
    cls_score: Layer,
    bbox_pred: Layer,
    mask: Option<MaskWeights>,
}

#[derive(Debug, Clone)]
struct MaskWeights {
    convs: Vec<Layer>,
    conv5_mask: Layer,
    logits: Layer,
}

impl HeadWeights {
    pub(super) fn take(weights: &mut Weights, network: &Pyramid, classes: usize) -> Result<HeadWeights, ModelError> {
        let (c, representation, k) = (network.fpn_width, network.representation_size, classes + 1);
        let flat = c * BOX_SIDE * BOX_SIDE;
        let (mut box_convs, mut linears) = (Vec::new(), Vec::new());
        match network.layout {
            Layout::V1 => {
                let shapes = [("fc6", [representation, flat]), ("fc7", [representation; 2])];
                for (name, shape) in shapes {
                    linears.push((
                        name,
                        weights.take_layer(&format!("roi_heads.box_head.{name}"), &shape, 0)?,
                    ));
                }
            }
            Layout::V2 => {
                for i in 0..4 {
                    box_convs.push(take_normed(weights, network, &format!("roi_heads.box_head.{i}"))?);
                }
                // 4 is the flattening.
                linears.push((
                    "5",
                    weights.take_layer("roi_heads.box_head.5", &[representation, flat], 0)?,
                ));
            }
        }
        if let Some((_, (first, _))) = linears.first_mut() {
            *first = cells_channels_last(first, c, BOX_SIDE);
        }
        let mut layer = |name: &str, shape: &[usize], out| weights.take_layer(&format!("roi_heads.{name}"), shape, out);
        Ok(HeadWeights {
            box_convs,
            linears,
            cls_score: layer("box_predictor.cls_score", &[k, representation], 0)?,
            bbox_pred: layer("box_predictor.bbox_pred", &[4 * k, representation], 0)?,
            mask: match network.masks {
                MaskBranch::Yes => Some(MaskWeights::take(weights, network, k)?),
                MaskBranch::No => None,
            },
        })
    }

    /// rois [R, 7, 7, C] -> logits [R, K+1], deltas [R, 4(K+1)].
    pub(super) fn box_head(&self, g: &mut Graph, rois: Tensor) -> Result<(Tensor, Tensor), ModelError> {
        let mut x = rois;
        if !self.box_convs.is_empty() {
            x = g.transpose("roi_heads.box_head.channels_first", x, &CHANNELS_FIRST)?;
            x = convolutions(g, "roi_heads.box_head", x, &self.box_convs)?;
            x = g.transpose("roi_heads.box_head.channels_last", x, &CHANNELS_LAST)?;
        }
        x = g.flatten("roi_heads.box_head.flatten", x)?;
        for (name, (w, b)) in &self.linears {
            let name = format!("roi_heads.box_head.{name}");
            x = g.linear(&name, x, w.clone(), b.clone())?;
            x = g.relu(&format!("{name}.relu"), x)?;
        }
        let (w, b) = self.cls_score.clone();
        let logits = g.linear("roi_heads.box_predictor.cls_score", x, w, b)?;
        let (w, b) = self.bbox_pred.clone();
        let deltas = g.linear("roi_heads.box_predictor.bbox_pred", x, w, b)?;
        Ok((logits, deltas))
    }

    /// rois [R, 14, 14, C] -> logits [R, K+1, 28, 28]; `None` without a mask branch.
    pub(super) fn mask_head(&self, g: &mut Graph, rois: Tensor) -> Result<Option<Tensor>, ModelError> {
        let Some(mask) = &self.mask else { return Ok(None) };
        let x = g.transpose("roi_heads.mask_head.channels_first", rois, &CHANNELS_FIRST)?;
        let x = convolutions(g, "roi_heads.mask_head", x, &mask.convs)?;
        let (w, b) = mask.conv5_mask.clone();
        let x = g.deconv_2x("roi_heads.mask_predictor.conv5_mask", x, w, b)?;
        let x = g.relu("roi_heads.mask_predictor.conv5_mask.relu", x)?;
        let (w, b) = mask.logits.clone();
        let one = Window::new(1, 1, 0);
        Ok(Some(g.conv(
            "roi_heads.mask_predictor.mask_fcn_logits",
            x,
            w,
            b,
            one,
        )?))
    }
}

impl MaskWeights {
    fn take(weights: &mut Weights, network: &Pyramid, classes: usize) -> Result<MaskWeights, ModelError> {
        let c = network.fpn_width;
        let mut convs = Vec::with_capacity(4);
        for i in 0..4 {
            let name = format!("roi_heads.mask_head.{i}");
            convs.push(match network.layout {
                Layout::V1 => weights.take_layer(&format!("{name}.0"), &[c, c, 3, 3], 0)?,
                Layout::V2 => take_normed(weights, network, &name)?,
            });
        }
        let mut layer = |name: &str, shape: &[usize], out| {
            weights.take_layer(&format!("roi_heads.mask_predictor.{name}"), shape, out)
        };
        Ok(MaskWeights {
            convs,
            // A transposed convolution stores its inputs first.
            conv5_mask: layer("conv5_mask", &[c, c, 2, 2], 1)?,
            logits: layer("mask_fcn_logits", &[classes, c, 1, 1], 0)?,
        })
    }
}

/// A 3x3 convolution with batch norm, C to C.
fn take_normed(weights: &mut Weights, network: &Pyramid, block: &str) -> Result<Layer, WeightsError> {
    let c = network.fpn_width;
    let (conv, bn) = (format!("{block}.0"), format!("{block}.1"));
    weights.take_normed(&conv, &bn, &[c, c, 3, 3], network.batch_norm_eps)
}

/// 3x3 convolutions, each with its ReLU.
fn convolutions(g: &mut Graph, prefix: &str, mut x: Tensor, layers: &[Layer]) -> Result<Tensor, ModelError> {
    for (i, (w, b)) in layers.iter().enumerate() {
        let name = format!("{prefix}.{i}");
        x = g.conv(&name, x, w.clone(), b.clone(), Window::new(3, 1, 1))?;
        x = g.relu(&format!("{name}.relu"), x)?;
    }
    Ok(x)
}

/// Columns of a linear layer's weight [O, C S S] in the order [O, S S C].
fn cells_channels_last(weight: &Array, channels: usize, side: usize) -> Array {
    let cells = side * side;
    let mut values = Vec::with_capacity(weight.values.len());
    for row in weight.values.chunks_exact((channels * cells).max(1)) {
        for cell in 0..cells {
            values.extend(row.iter().skip(cell).step_by(cells));
        }
    }
    Array {
        shape: weight.shape.clone(),
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_layer_reads_cells_channels_last() {
        // 2 channels of 1x... cells 0..4: value = 10 channel + cell
        let weight = Array::new(vec![1, 8], vec![0., 1., 2., 3., 10., 11., 12., 13.]).unwrap();
        let turned = cells_channels_last(&weight, 2, 2);
        assert_eq!(turned.values, [0., 10., 1., 11., 2., 12., 3., 13.]);
    }
}
