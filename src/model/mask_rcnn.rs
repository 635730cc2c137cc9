//! Mask R-CNN with a feature pyramid, the whole network on one page, in data order (without its last part: Faster R-CNN).
//! Three dense parts, and the settings of the ops between them. Letters: N pictures, W H the input size, C = FPN width, A =
//! anchor ratios, K = classes, R = RoIs. What other rooms read is channels last.

use super::backbone::{feature_pyramid, resnet};
use super::infer::ModelError;
use super::parts::{Between, CHANNELS_LAST, IMAGE, ROIS};
use super::recipe::{Conventions, Pyramid, TestSettings};
use super::roi_heads::HeadWeights;
use super::rpn::rpn_head;
use super::weights::Weights;
use crate::engine::graph::{Dim, Element, Graph};
use crate::geometry::ImageSize;
use crate::ops::box_deltas::BoxCoder;
use crate::ops::detections::HeadSettings;
use crate::ops::proposals::{AnchorRounding, RpnSettings, Strides, base_anchors};
use crate::ops::roi_align::{Alignment, RoiAlign, Sampling};

/// FPN levels: P2 P3 P4 P5 and the pooled one; RoIs are pooled from the first [`ROI_LEVELS`].
const ROI_LEVELS: usize = 4;
/// Network px a cell, of each level.
const STRIDES: [u32; 5] = [4, 8, 16, 32, 64];
/// The finest level is P2, a quarter of the input.
const MIN_LEVEL: u32 = 2;
/// Side of a RoI as the box head and as the mask head see it, and of a mask.
pub(super) const BOX_SIDE: usize = 7;
pub(super) const MASK_ROI_SIDE: usize = 14;
const MASK_SIDE: usize = 28;

/// The layers with their weights.
#[derive(Debug, Clone)]
pub(super) struct PyramidLayers {
    network: Pyramid,
    weights: Weights,
    heads: HeadWeights,
}

impl PyramidLayers {
    pub(super) fn take(network: &Pyramid, classes: usize, mut weights: Weights) -> Result<PyramidLayers, ModelError> {
        Ok(PyramidLayers {
            heads: HeadWeights::take(&mut weights, network, classes)?,
            network: network.clone(),
            weights,
        })
    }

    /// The convolution that sees the picture.
    pub(super) const FIRST_LAYER: &str = "backbone.body.conv1.weight";

    /// image [N,3,H,W] normalised RGB -> features P2..P5 [N,H/4..,W/4..,C]; for P2..P5 and pool objectness [N,h,w,A] and
    /// deltas [N,h,w,4A].
    pub(super) fn trunk(&mut self, size: ImageSize, batch: usize, features: Element) -> Result<Graph, ModelError> {
        let mut g = Graph::new("trunk");
        let shape = [batch, 3, size.height as usize, size.width as usize];
        let image = g.input(IMAGE, &shape.map(Dim::Fixed))?;
        let stages = resnet(&mut g, &mut self.weights, &self.network, image)?;
        let pyramid = feature_pyramid(&mut g, &mut self.weights, stages, &self.network)?;
        let levels = rpn_head(&mut g, &mut self.weights, pyramid, &self.network)?;
        for (i, &level) in pyramid.iter().take(ROI_LEVELS).enumerate() {
            let name = format!("features.p{}", MIN_LEVEL as usize + i);
            let last = g.transpose(&format!("{name}.channels_last"), level, &CHANNELS_LAST)?;
            g.output_as(&name, last, features)?;
        }
        for (i, level) in levels.iter().enumerate() {
            let last = g.transpose(
                &format!("objectness.{i}.channels_last"),
                level.objectness,
                &CHANNELS_LAST,
            )?;
            g.output(&format!("objectness.{i}"), last)?;
        }
        for (i, level) in levels.iter().enumerate() {
            let last = g.transpose(&format!("deltas.{i}.channels_last"), level.deltas, &CHANNELS_LAST)?;
            g.output(&format!("deltas.{i}"), last)?;
        }
        Ok(g)
    }

    /// rois [R,7,7,C] -> logits [R,K+1], deltas [R,4(K+1)].
    pub(super) fn box_head(&self, rows: Dim, features: Element) -> Result<Graph, ModelError> {
        let mut g = Graph::new("box_head");
        let rois = g.input_of(ROIS, &self.rois(rows, BOX_SIDE), features)?;
        let (logits, deltas) = self.heads.box_head(&mut g, rois)?;
        g.output("logits", logits)?;
        g.output("deltas", deltas)?;
        Ok(g)
    }

    /// rois [R,14,14,C] -> logits [R,K+1,28,28].
    pub(super) fn mask_head(&self, rows: Dim, features: Element) -> Result<Option<Graph>, ModelError> {
        let mut g = Graph::new("mask_head");
        let rois = g.input_of(ROIS, &self.rois(rows, MASK_ROI_SIDE), features)?;
        let Some(logits) = self.heads.mask_head(&mut g, rois)? else {
            return Ok(None);
        };
        g.output("logits", logits)?;
        Ok(Some(g))
    }

    fn rois(&self, rows: Dim, side: usize) -> [Dim; 4] {
        let side = Dim::Fixed(side);
        [rows, side, side, Dim::Fixed(self.network.fpn_width)]
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn between(&self, test: &TestSettings) -> Between {
        let network = &self.network;
        let sampling = match network.sampling_ratio {
            0 => Sampling::Adaptive,
            n => Sampling::Fixed(n as usize),
        };
        let torchvision = network.conventions == Conventions::Torchvision;
        let (rounding, alignment) = match network.conventions {
            Conventions::Torchvision => (AnchorRounding::WholePixels, Alignment::Corner),
            Conventions::Detectron2 => (AnchorRounding::Exact, Alignment::HalfPixel),
        };
        let pool = |output_side: usize| RoiAlign {
            channels: network.fpn_width,
            output_side,
            sampling,
            alignment,
            canonical_scale: network.canonical_scale_px,
            canonical_level: network.canonical_level,
            min_level: MIN_LEVEL,
            level_epsilon: if torchvision { 1e-6 } else { 0.0 },
        };
        let anchors = |size: f32| base_anchors(&[size], &network.anchor_ratios, rounding);
        Between {
            roi_scales: STRIDES.iter().take(ROI_LEVELS).map(|&s| 1.0 / s as f32).collect(),
            proposals: RpnSettings {
                base_anchors: network.anchor_sizes_px.map(anchors).to_vec(),
                strides: if torchvision {
                    Strides::Whole
                } else {
                    Strides::Fixed(STRIDES.to_vec())
                },
                coder: BoxCoder::RPN,
                pre_nms_top_n: test.pre_nms_top_n,
                post_nms_top_n: test.post_nms_top_n,
                iou_threshold: test.rpn_nms_threshold,
                // detectron2 drops what has no area at all.
                min_size_px: if torchvision { 1e-3 } else { f32::MIN_POSITIVE },
            },
            box_pool: pool(BOX_SIDE),
            select: HeadSettings {
                coder: BoxCoder::HEADS,
                score_threshold: test.score_threshold,
                iou_threshold: test.nms_threshold,
                min_size_px: if torchvision { 1e-2 } else { f32::NEG_INFINITY },
                max_detections: test.detections,
            },
            mask_pool: pool(MASK_ROI_SIDE),
            mask_side: MASK_SIDE,
        }
    }
}
