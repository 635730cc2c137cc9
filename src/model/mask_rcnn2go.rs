//! MaskRCNN2Go, the dense parts on one page, in data order: a small Mask R-CNN on one feature map at stride 16 ("C4"),
//! by its published Caffe2 nets (facebookarchive/models, weights/maskrcnn2go, Apache-2.0). Weights under the names of
//! those nets, [O, I, k, k], of transposed convolutions [I, O, k, k]. The nets compute in 8 bits; these layers do not,
//! and lose nothing by it. Letters: R RoIs, A anchors a cell, K+1 classes with the background at 0.

use super::backbone::{BlockShape, InvertedResidual, take_folded};
use super::infer::ModelError;
use super::parts::{Between, CHANNELS_FIRST, CHANNELS_LAST, IMAGE, ROIS};
use super::recipe::TestSettings;
use super::weights::{Weights, WeightsError};
use crate::engine::graph::{Array, Dim, Element, Graph, GraphError, Tensor, Window};
use crate::geometry::ImageSize;
use crate::ops::box_deltas::BoxCoder;
use crate::ops::detections::HeadSettings;
use crate::ops::proposals::{RpnSettings, Strides};
use crate::ops::roi_align::{Alignment, RoiAlign, Sampling};
use crate::ops::{BoxWidth, NetworkBox};

/// Channels of the feature map, and its stride.
pub(super) const FEATURES: usize = 128;
pub(super) const STRIDE: usize = 16;
/// A.
pub(super) const ANCHORS: usize = 15;
/// K+1.
pub(super) const CLASSES: usize = 81;
/// Side of a RoI as both heads see it, and of a mask.
pub(super) const ROI_SIDE: usize = 6;
pub(super) const MASK_SIDE: usize = 24;

/// Channels inside the blocks at stride 16, and of what the heads end in.
const WIDE: usize = 768;
const HEAD: usize = 160;

const fn block(input: usize, inner: usize, output: usize, stride: usize) -> BlockShape {
    BlockShape {
        input,
        inner,
        output,
        stride,
    }
}

/// A block that keeps the feature map's shape.
const KEEP: BlockShape = block(FEATURES, WIDE, FEATURES, 1);

/// After the first convolution, which is 3 -> 32 channels at stride 2.
const TRUNK: [(&str, BlockShape); 13] = [
    ("xif0_0", block(32, 32, 16, 1)),
    ("xif1_0", block(16, 96, 32, 2)), // stride 4
    ("xif1_1", block(32, 192, 32, 1)),
    ("xif2_0", block(32, 192, 48, 2)), // stride 8
    ("xif2_1", block(48, 288, 48, 1)),
    ("xif2_2", block(48, 288, 48, 1)),
    ("xif3_0", block(48, 288, 96, 2)), // stride 16
    ("xif3_1", block(96, 576, 96, 1)),
    ("xif3_2", block(96, 576, 96, 1)),
    ("xif3_3", block(96, 576, 96, 1)),
    ("xif3_4", block(96, 576, FEATURES, 1)),
    ("xif3_5", KEEP),
    ("xif3_6", KEEP),
];
const RPN: [(&str, BlockShape); 3] = [("xif3_4", KEEP), ("xif3_5", KEEP), ("xif3_6", KEEP)];
const BOX_HEAD: [(&str, BlockShape); 4] = [
    ("xif4_0", block(FEATURES, WIDE, FEATURES, 2)), // 6x6 -> 3x3
    ("xif4_1", KEEP),
    ("xif4_2", KEEP),
    ("xif4_3", block(FEATURES, WIDE, HEAD, 1)),
];
const MASK_HEAD: [(&str, BlockShape); 4] = [
    ("xif4_0", KEEP),
    ("xif4_1", KEEP),
    ("xif4_2", KEEP),
    ("xif4_3", block(FEATURES, WIDE, HEAD, 1)),
];

const ONE: Window = Window::new(1, 1, 0);

/// What the trunk says of one picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trunk {
    /// [1, 128, H/16, W/16].
    pub features: Tensor,
    /// [1, A, H/16, W/16], logits.
    pub objectness: Tensor,
    /// [1, 4A, H/16, W/16], anchor-major: channel 4a + (dx, dy, dw, dh).
    pub deltas: Tensor,
}

/// The layers with their weights.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    weights: Weights,
    heads: HeadWeights,
    anchors: Vec<NetworkBox>,
}

impl Layers {
    pub(super) fn take(mut weights: Weights) -> Result<Layers, ModelError> {
        let heads = HeadWeights::take(&mut weights)?;
        let anchors = take_anchors(&mut weights)?.map(|[x0, y0, x1, y1]| NetworkBox::new(x0, y0, x1, y1));
        Ok(Layers {
            anchors: anchors.to_vec(),
            weights,
            heads,
        })
    }

    /// The convolution that sees the picture.
    pub(super) const FIRST_LAYER: &str = "conv0_conv_w_int8";

    /// image [N,3,H,W] -> features [N,H/16,W/16,128], objectness [N,h,w,A], deltas [N,h,w,4A].
    pub(super) fn trunk(&mut self, size: ImageSize, batch: usize, features: Element) -> Result<Graph, ModelError> {
        let mut g = Graph::new("trunk");
        let shape = [batch, 3, size.height as usize, size.width as usize];
        let image = g.input(IMAGE, &shape.map(Dim::Fixed))?;
        let trunk = trunk_layers(&mut g, &mut self.weights, image)?;
        let last = g.transpose("features.channels_last", trunk.features, &CHANNELS_LAST)?;
        g.output_as("features", last, features)?;
        let last = g.transpose("objectness.channels_last", trunk.objectness, &CHANNELS_LAST)?;
        g.output("objectness", last)?;
        let last = g.transpose("deltas.channels_last", trunk.deltas, &CHANNELS_LAST)?;
        g.output("deltas", last)?;
        Ok(g)
    }

    /// rois [R,6,6,128] -> logits [R,K+1], deltas [R,4(K+1)].
    pub(super) fn box_head(&self, rows: Dim, features: Element) -> Result<Graph, ModelError> {
        let mut g = Graph::new("box_head");
        let rois = rois(&mut g, rows, features)?;
        let (logits, deltas) = box_head_layers(&mut g, &self.heads, rois)?;
        g.output("logits", logits)?;
        g.output("deltas", deltas)?;
        Ok(g)
    }

    /// rois [R,6,6,128] -> logits [R,K+1,24,24].
    pub(super) fn mask_head(&self, rows: Dim, features: Element) -> Result<Graph, ModelError> {
        let mut g = Graph::new("mask_head");
        let rois = rois(&mut g, rows, features)?;
        let logits = mask_head_layers(&mut g, &self.heads, rois)?;
        g.output("logits", logits)?;
        Ok(g)
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn between(&self, test: &TestSettings) -> Between {
        let coder = |weights| BoxCoder {
            weights,
            width: BoxWidth::Inclusive,
        };
        let pool = RoiAlign {
            channels: FEATURES,
            output_side: ROI_SIDE,
            sampling: Sampling::Adaptive,
            alignment: Alignment::Corner,
            // One level: whatever is said here, a RoI is pooled from it.
            canonical_scale: 224.0,
            canonical_level: 0,
            min_level: 0,
            level_epsilon: 0.0,
        };
        Between {
            roi_scales: vec![1.0 / STRIDE as f32],
            proposals: RpnSettings {
                base_anchors: vec![self.anchors.clone()],
                strides: Strides::Fixed(vec![STRIDE as u32]),
                coder: coder([1.0; 4]),
                pre_nms_top_n: test.pre_nms_top_n,
                post_nms_top_n: test.post_nms_top_n,
                iou_threshold: test.rpn_nms_threshold,
                min_size_px: 0.0,
            },
            box_pool: pool.clone(),
            select: HeadSettings {
                coder: coder([10.0, 10.0, 5.0, 5.0]),
                score_threshold: test.score_threshold,
                iou_threshold: test.nms_threshold,
                min_size_px: f32::NEG_INFINITY,
                max_detections: test.detections,
            },
            mask_pool: pool,
            mask_side: MASK_SIDE,
        }
    }
}

/// RoIs as RoIAlign writes them -> [R,128,6,6].
fn rois(g: &mut Graph, rows: Dim, features: Element) -> Result<Tensor, GraphError> {
    let side = Dim::Fixed(ROI_SIDE);
    let rois = g.input_of(ROIS, &[rows, side, side, Dim::Fixed(FEATURES)], features)?;
    g.transpose("rois.channels_first", rois, &CHANNELS_FIRST)
}

/// image [N,3,H,W]: colours in 0..255.
pub(super) fn trunk_layers(g: &mut Graph, weights: &mut Weights, image: Tensor) -> Result<Trunk, ModelError> {
    let (w, b) = take_folded(weights, "conv0", &[32, 3, 3, 3])?;
    let x = g.conv("conv0", image, w, b, Window::new(3, 2, 1))?;
    let x = g.relu("conv0.relu", x)?;
    let features = run_blocks(g, &take_blocks(weights, "", "", &TRUNK)?, x)?;
    let x = run_blocks(g, &take_blocks(weights, "[rpn]", "rpn.", &RPN)?, features)?;
    let (w, b) = take_layer(weights, "rpn_cls_logits", &[ANCHORS, FEATURES, 1, 1], 0)?;
    let objectness = g.conv("rpn.cls_logits", x, w, b, ONE)?;
    let (w, b) = take_layer(weights, "rpn_bbox_pred", &[4 * ANCHORS, FEATURES, 1, 1], 0)?;
    let deltas = g.conv("rpn.bbox_pred", x, w, b, ONE)?;
    Ok(Trunk {
        features,
        objectness,
        deltas,
    })
}

/// The anchors of the cell at the origin, x0 y0 x1 y1 with the old convention: x1 is the last pixel, so a width is
/// x1 - x0 + 1.
pub(super) fn take_anchors(weights: &mut Weights) -> Result<[[f32; 4]; ANCHORS], WeightsError> {
    weights.take("im_info", &[1, 3])?; // the size of the picture the nets were exported with
    let stored = weights.take("anchor", &[ANCHORS, 4])?;
    let mut anchors = [[0.0; 4]; ANCHORS];
    for (anchor, row) in anchors.iter_mut().zip(stored.values.as_chunks().0) {
        *anchor = *row;
    }
    Ok(anchors)
}

/// Weights of both heads: a head is built once a batch size, so they are kept.
#[derive(Debug, Clone)]
pub(super) struct HeadWeights {
    box_blocks: Vec<InvertedResidual>,
    box_last: (Array, Array),
    cls_score: (Array, Array),
    bbox_pred: (Array, Array),
    mask_blocks: Vec<InvertedResidual>,
    conv5_mask: (Array, Array),
    mask_logits: (Array, Array),
    mask_up: (Array, Array),
}

impl HeadWeights {
    pub(super) fn take(weights: &mut Weights) -> Result<HeadWeights, ModelError> {
        let w = weights;
        let (up, up_bias) = take_layer(w, "mask_fcn_logits_up", &[CLASSES, CLASSES, 4, 4], 1)?;
        Ok(HeadWeights {
            box_blocks: take_blocks(w, "_[bbox]_", "box_head.", &BOX_HEAD)?,
            box_last: take_folded(w, "_[bbox]_xif4_3_bn_1x1", &[HEAD, HEAD, 1, 1])?,
            cls_score: take_layer(w, "cls_score", &[CLASSES, HEAD], 0)?,
            bbox_pred: take_layer(w, "bbox_pred", &[4 * CLASSES, HEAD], 0)?,
            mask_blocks: take_blocks(w, "_[mask]_", "mask_head.", &MASK_HEAD)?,
            conv5_mask: take_layer(w, "conv5_mask", &[HEAD, FEATURES, 2, 2], 1)?,
            mask_logits: take_layer(w, "mask_fcn_logits", &[CLASSES, FEATURES, 1, 1], 0)?,
            mask_up: (own_channel(&up)?, up_bias),
        })
    }
}

/// rois [R,128,6,6] -> logits [R,K+1] before the softmax, deltas [R,4(K+1)].
pub(super) fn box_head_layers(
    g: &mut Graph,
    weights: &HeadWeights,
    rois: Tensor,
) -> Result<(Tensor, Tensor), ModelError> {
    let x = run_blocks(g, &weights.box_blocks, rois)?;
    let (w, b) = weights.box_last.clone();
    let x = g.conv("box_head.last", x, w, b, ONE)?;
    let x = g.relu("box_head.last.relu", x)?;
    let x = g.plane_means("box_head.mean", x)?;
    let (w, b) = weights.cls_score.clone();
    let logits = g.linear("box_head.cls_score", x, w, b)?;
    let (w, b) = weights.bbox_pred.clone();
    let deltas = g.linear("box_head.bbox_pred", x, w, b)?;
    Ok((logits, deltas))
}

/// rois [R,128,6,6] -> logits [R,K+1,24,24] before the sigmoid.
pub(super) fn mask_head_layers(g: &mut Graph, weights: &HeadWeights, rois: Tensor) -> Result<Tensor, ModelError> {
    let x = run_blocks(g, &weights.mask_blocks, rois)?;
    let (w, b) = weights.conv5_mask.clone();
    let x = g.deconv_2x("mask_head.conv5_mask", x, w, b)?;
    let x = g.relu("mask_head.conv5_mask.relu", x)?;
    let (w, b) = weights.mask_logits.clone();
    let x = g.conv("mask_head.logits", x, w, b, ONE)?;
    let (w, b) = weights.mask_up.clone();
    Ok(g.depthwise_deconv("mask_head.up", x, w, b, Window::new(4, 2, 1))?)
}

fn take_blocks(
    weights: &mut Weights,
    stored: &str,
    name: &str,
    blocks: &[(&str, BlockShape)],
) -> Result<Vec<InvertedResidual>, WeightsError> {
    let mut take = |&(block, shape): &(&str, BlockShape)| {
        InvertedResidual::take(weights, &format!("{stored}{block}"), format!("{name}{block}"), shape)
    };
    blocks.iter().map(&mut take).collect()
}

fn run_blocks(g: &mut Graph, blocks: &[InvertedResidual], mut x: Tensor) -> Result<Tensor, GraphError> {
    for block in blocks {
        x = block.layers(g, x)?;
    }
    Ok(x)
}

/// A layer without batch norm: `shape` = the weight's, with `shape[out_axis]` biases.
fn take_layer(
    weights: &mut Weights,
    stored: &str,
    shape: &[usize],
    out_axis: usize,
) -> Result<(Array, Array), WeightsError> {
    let weight = weights.take(&format!("{stored}_w_int8"), shape)?;
    let bias = weights.take(&format!("{stored}_b_int8"), &[shape[out_axis]])?;
    Ok((weight, bias))
}

/// The last layer only doubles each class's own plane, yet is stored with every pair of classes: [C,C,k,k] ->
/// [C,1,k,k]. A third of the mask head's work would be multiplying by those zeros.
fn own_channel(dense: &Array) -> Result<Array, GraphError> {
    let &[channels, _, rows, columns] = dense.shape.as_slice() else {
        return Err(GraphError::Array {
            shape: dense.shape.clone(),
            got: dense.values.len(),
        });
    };
    let mut own = Vec::with_capacity(channels * rows * columns);
    for (pair, kernel) in dense.values.chunks_exact(rows * columns).enumerate() {
        if pair / channels == pair % channels {
            own.extend_from_slice(kernel);
        } else if kernel.iter().any(|&v| v != 0.0) {
            return Err(GraphError::Layer {
                layer: "mask_head.up".to_owned(),
                expected: "no weight between two classes".to_owned(),
                got: format!("one from class {} to class {}", pair / channels, pair % channels),
            });
        }
    }
    Array::new(vec![channels, 1, rows, columns], own)
}

#[cfg(test)]
#[path = "mask_rcnn2go_tests.rs"]
mod tests;
