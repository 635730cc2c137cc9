//! Mask R-CNN, the whole network on one page, in data order. Three dense parts; what happens between them is in
//! `infer.rs`. Letters: W H the input size, C = FPN width, A = anchor ratios, K = classes, R = RoIs.

use super::backbone::{feature_pyramid, resnet};
use super::infer::ModelError;
use super::recipe::{Channels, Recipe};
use super::roi_heads::HeadWeights;
use super::rpn::rpn_head;
use super::weights::Weights;
use crate::engine::graph::{Dim, Graph};
use crate::geometry::ImageSize;

/// FPN levels: P2 P3 P4 P5 and the pooled one; RoIs are pooled from the first [`ROI_LEVELS`].
pub(super) const LEVELS: usize = 5;
pub(super) const ROI_LEVELS: usize = 4;
/// The finest level is P2, a quarter of the input.
pub(super) const MIN_LEVEL: u32 = 2;
/// Side of a RoI as the box head and as the mask head see it, and of a mask.
pub(super) const BOX_SIDE: usize = 7;
pub(super) const MASK_ROI_SIDE: usize = 14;
pub(super) const MASK_SIDE: usize = 28;
/// Anchors narrower than this are dropped, px.
pub(super) const MIN_BOX_PX: f32 = 1e-3;
/// Proposals and detections smaller than this are dropped by the box head, px.
pub(super) const MIN_DETECTION_PX: f32 = 1e-2;

const IMAGE: &str = "image";
const ROIS: &str = "rois";

/// Outputs of [`trunk`], in its order.
pub(super) const fn features_output(level: usize) -> usize {
    level
}
pub(super) const fn objectness_output(level: usize) -> usize {
    ROI_LEVELS + level
}
pub(super) const fn deltas_output(level: usize) -> usize {
    ROI_LEVELS + LEVELS + level
}

/// Cells of each level: /4 /8 /16 /32, and half of the last rounded up.
pub(super) fn grids(input: ImageSize) -> [ImageSize; LEVELS] {
    let over = |stride: u32| ImageSize::new(input.width / stride, input.height / stride);
    let p5 = over(32);
    let pool = ImageSize::new(p5.width.div_ceil(2), p5.height.div_ceil(2));
    [over(4), over(8), over(16), p5, pool]
}

/// image [1,3,H,W] normalised RGB -> features P2..P5 [1,C,H/4..,W/4..]; for P2..P5 and pool objectness [1,A,h,w] and
/// deltas [1,4A,h,w].
pub(super) fn trunk(recipe: &Recipe, weights: &mut Weights) -> Result<Graph, ModelError> {
    let (network, size) = (&recipe.network, recipe.input.size);
    if recipe.input.channels == Channels::Bgr {
        weights.reverse_inputs("backbone.body.conv1.weight"); // the input is always RGB
    }
    let mut g = Graph::new("trunk");
    let image = g.input(
        IMAGE,
        &[1, 3, size.height as usize, size.width as usize].map(Dim::Fixed),
    )?;
    let stages = resnet(&mut g, weights, network, image)?;
    let pyramid = feature_pyramid(&mut g, weights, stages, network.fpn_width)?;
    let levels = rpn_head(&mut g, weights, pyramid, network.fpn_width, network.anchor_ratios.len())?;
    for (i, &features) in pyramid.iter().take(ROI_LEVELS).enumerate() {
        g.output(&format!("features.p{}", MIN_LEVEL as usize + i), features)?;
    }
    for (i, level) in levels.iter().enumerate() {
        g.output(&format!("objectness.{i}"), level.objectness)?;
    }
    for (i, level) in levels.iter().enumerate() {
        g.output(&format!("deltas.{i}"), level.deltas)?;
    }
    Ok(g)
}

/// The weights both heads are built from.
pub(super) fn head_weights(recipe: &Recipe, weights: &mut Weights) -> Result<HeadWeights, ModelError> {
    let network = &recipe.network;
    let (width, representation) = (network.fpn_width, network.representation_size);
    HeadWeights::take(weights, width, representation, recipe.classes.len(), BOX_SIDE)
}

/// rois [R,C,7,7] -> logits [R,K+1], deltas [R,4(K+1)].
pub(super) fn box_head(recipe: &Recipe, weights: &HeadWeights, r: Dim) -> Result<Graph, ModelError> {
    let mut g = Graph::new("box_head");
    let c = Dim::Fixed(recipe.network.fpn_width);
    let rois = g.input(ROIS, &[r, c, Dim::Fixed(BOX_SIDE), Dim::Fixed(BOX_SIDE)])?;
    let (logits, deltas) = weights.box_head(&mut g, rois)?;
    g.output("logits", logits)?;
    g.output("deltas", deltas)?;
    Ok(g)
}

/// rois [R,C,14,14] -> logits [R,K+1,28,28].
pub(super) fn mask_head(recipe: &Recipe, weights: &HeadWeights, r: Dim) -> Result<Graph, ModelError> {
    let mut g = Graph::new("mask_head");
    let c = Dim::Fixed(recipe.network.fpn_width);
    let rois = g.input(ROIS, &[r, c, Dim::Fixed(MASK_ROI_SIDE), Dim::Fixed(MASK_ROI_SIDE)])?;
    let logits = weights.mask_head(&mut g, rois)?;
    g.output("logits", logits)?;
    Ok(g)
}
