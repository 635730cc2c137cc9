//! The head of the region proposal network: one or two 3x3 convolutions, then two 1x1, with the same weights on each
//! level.

use super::backbone::Levels;
use super::infer::ModelError;
use super::recipe::{Layout, Pyramid};
use super::weights::Weights;
use crate::engine::graph::{Graph, Tensor, Window};

/// What the head says of one level: A anchors a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct RpnLevel {
    /// [N, A, H, W], logits.
    pub objectness: Tensor,
    /// [N, 4A, H, W], anchor-major: channel 4a + (dx, dy, dw, dh).
    pub deltas: Tensor,
}

pub(super) fn rpn_head(
    g: &mut Graph,
    weights: &mut Weights,
    levels: Levels,
    network: &Pyramid,
) -> Result<[RpnLevel; 5], ModelError> {
    let (width, anchors) = (network.fpn_width, network.anchor_ratios.len());
    let steps = match network.layout {
        Layout::V1 => 1,
        Layout::V2 => 2,
    };
    let mut convolutions = Vec::with_capacity(steps);
    for step in 0..steps {
        let name = format!("rpn.head.conv.{step}.0");
        convolutions.push(weights.take_layer(&name, &[width, width, 3, 3], 0)?);
    }
    let logits = weights.take_layer("rpn.head.cls_logits", &[anchors, width, 1, 1], 0)?;
    let boxes = weights.take_layer("rpn.head.bbox_pred", &[4 * anchors, width, 1, 1], 0)?;
    let mut out = levels.map(|t| RpnLevel {
        objectness: t,
        deltas: t,
    });
    for (level, features) in levels.into_iter().enumerate() {
        let name = |layer: &str| format!("rpn.head.{layer}.{level}");
        let mut x = features;
        for (step, (w, b)) in convolutions.iter().enumerate() {
            let step = name(&format!("conv{step}"));
            x = g.conv(&step, x, w.clone(), b.clone(), Window::new(3, 1, 1))?;
            x = g.relu(&format!("{step}.relu"), x)?;
        }
        let one = Window::new(1, 1, 0);
        out[level] = RpnLevel {
            objectness: g.conv(&name("cls_logits"), x, logits.0.clone(), logits.1.clone(), one)?,
            deltas: g.conv(&name("bbox_pred"), x, boxes.0.clone(), boxes.1.clone(), one)?,
        };
    }
    Ok(out)
}
