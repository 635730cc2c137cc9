//! The head of the region proposal network: one 3x3 convolution, then two 1x1, with the same weights on each level.

use super::backbone::Pyramid;
use super::infer::ModelError;
use super::weights::Weights;
use crate::engine::graph::{Graph, Tensor, Window};

/// What the head says of one level: A anchors a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct RpnLevel {
    /// [1, A, H, W], logits.
    pub objectness: Tensor,
    /// [1, 4A, H, W], anchor-major: channel 4a + (dx, dy, dw, dh).
    pub deltas: Tensor,
}

pub(super) fn rpn_head(
    g: &mut Graph,
    weights: &mut Weights,
    levels: Pyramid,
    width: usize,
    anchors: usize,
) -> Result<[RpnLevel; 5], ModelError> {
    let stored = weights.known_name(["rpn.head.conv.0.0", "rpn.head.conv"]);
    let conv = weights.take_layer(stored, &[width, width, 3, 3], 0)?;
    let logits = weights.take_layer("rpn.head.cls_logits", &[anchors, width, 1, 1], 0)?;
    let boxes = weights.take_layer("rpn.head.bbox_pred", &[4 * anchors, width, 1, 1], 0)?;
    let mut out = levels.map(|t| RpnLevel {
        objectness: t,
        deltas: t,
    });
    for (level, features) in levels.into_iter().enumerate() {
        let name = |layer: &str| format!("rpn.head.{layer}.{level}");
        let one = Window::new(1, 1, 0);
        let x = g.conv(
            &name("conv"),
            features,
            conv.0.clone(),
            conv.1.clone(),
            Window::new(3, 1, 1),
        )?;
        let x = g.relu(&name("relu"), x)?;
        out[level] = RpnLevel {
            objectness: g.conv(&name("cls_logits"), x, logits.0.clone(), logits.1.clone(), one)?,
            deltas: g.conv(&name("bbox_pred"), x, boxes.0.clone(), boxes.1.clone(), one)?,
        };
    }
    Ok(out)
}
