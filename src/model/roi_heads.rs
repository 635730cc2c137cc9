//! The two heads that see pooled RoIs. R RoIs, C = FPN width, K classes and the background (index 0).

use super::infer::ModelError;
use super::weights::Weights;
use crate::engine::graph::{Array, Graph, Tensor, Window};

/// Weights of both heads: a head is built once a batch size, so they are kept.
#[derive(Debug, Clone)]
pub(super) struct HeadWeights {
    fc6: (Array, Array),
    fc7: (Array, Array),
    cls_score: (Array, Array),
    bbox_pred: (Array, Array),
    mask_fcn: [(Array, Array); 4],
    conv5_mask: (Array, Array),
    mask_fcn_logits: (Array, Array),
}

impl HeadWeights {
    /// `pooled` = side of the box head's input.
    pub(super) fn take(
        weights: &mut Weights,
        width: usize,
        representation: usize,
        classes: usize,
        pooled: usize,
    ) -> Result<HeadWeights, ModelError> {
        let k = classes + 1;
        let mut convolution = |i: usize| {
            let (new, old) = (
                format!("roi_heads.mask_head.{i}.0"),
                format!("roi_heads.mask_head.mask_fcn{}", i + 1),
            );
            let stored = weights.known_name([&new, &old]).to_owned();
            weights.take_layer(&stored, &[width, width, 3, 3], 0)
        };
        let mask_fcn = [convolution(0)?, convolution(1)?, convolution(2)?, convolution(3)?];
        let flat = width * pooled * pooled;
        let mut layer = |name: &str, shape: &[usize], out| weights.take_layer(&format!("roi_heads.{name}"), shape, out);
        Ok(HeadWeights {
            fc6: layer("box_head.fc6", &[representation, flat], 0)?,
            fc7: layer("box_head.fc7", &[representation, representation], 0)?,
            cls_score: layer("box_predictor.cls_score", &[k, representation], 0)?,
            bbox_pred: layer("box_predictor.bbox_pred", &[4 * k, representation], 0)?,
            mask_fcn,
            // A transposed convolution stores its inputs first.
            conv5_mask: layer("mask_predictor.conv5_mask", &[width, width, 2, 2], 1)?,
            mask_fcn_logits: layer("mask_predictor.mask_fcn_logits", &[k, width, 1, 1], 0)?,
        })
    }

    /// rois [R, C, 7, 7] -> logits [R, K+1], deltas [R, 4(K+1)].
    pub(super) fn box_head(&self, g: &mut Graph, rois: Tensor) -> Result<(Tensor, Tensor), ModelError> {
        let linear = |g: &mut Graph, name: &str, x, (w, b): &(Array, Array)| g.linear(name, x, w.clone(), b.clone());
        let x = g.flatten("roi_heads.box_head.flatten", rois)?;
        let x = linear(g, "roi_heads.box_head.fc6", x, &self.fc6)?;
        let x = g.relu("roi_heads.box_head.fc6.relu", x)?;
        let x = linear(g, "roi_heads.box_head.fc7", x, &self.fc7)?;
        let x = g.relu("roi_heads.box_head.fc7.relu", x)?;
        let logits = linear(g, "roi_heads.box_predictor.cls_score", x, &self.cls_score)?;
        let deltas = linear(g, "roi_heads.box_predictor.bbox_pred", x, &self.bbox_pred)?;
        Ok((logits, deltas))
    }

    /// rois [R, C, 14, 14] -> logits [R, K+1, 28, 28].
    pub(super) fn mask_head(&self, g: &mut Graph, rois: Tensor) -> Result<Tensor, ModelError> {
        let mut x = rois;
        for (i, (w, b)) in self.mask_fcn.iter().enumerate() {
            let name = format!("roi_heads.mask_head.{i}");
            x = g.conv(&name, x, w.clone(), b.clone(), Window::new(3, 1, 1))?;
            x = g.relu(&format!("{name}.relu"), x)?;
        }
        let (w, b) = self.conv5_mask.clone();
        let x = g.deconv_2x("roi_heads.mask_predictor.conv5_mask", x, w, b)?;
        let x = g.relu("roi_heads.mask_predictor.conv5_mask.relu", x)?;
        let (w, b) = self.mask_fcn_logits.clone();
        let one = Window::new(1, 1, 0);
        Ok(g.conv("roi_heads.mask_predictor.mask_fcn_logits", x, w, b, one)?)
    }
}
