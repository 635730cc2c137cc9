//! What the tensors under our names say of their network: enough to write its recipe or to tell why it cannot run.

use std::collections::BTreeMap;

use super::{Fault, Tensor};
use crate::model::Depth;

type Tensors = BTreeMap<String, Tensor>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub depth: Depth,
    /// Outputs of the first convolution of each stage's blocks.
    pub stage_planes: [usize; 4],
    /// Foreground classes.
    pub classes: usize,
    pub fpn_width: usize,
    /// Batch norm after the FPN's convolutions; the trunk's is trained then too, not frozen.
    pub fpn_norm: bool,
    pub rpn_convs: usize,
    pub box_head: BoxHead,
    /// Inputs of the box predictor.
    pub representation_size: usize,
    pub anchors_per_cell: usize,
    pub masks: bool,
    /// Batch norm in the mask head.
    pub mask_norm: bool,
    /// Trained values, as torchvision counts them for its weights: no running statistics, no frozen batch norm.
    pub parameters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxHead {
    /// `fc6` and `fc7`.
    TwoLinear,
    /// Convolutions, then one linear layer.
    Convolutions { count: usize },
}

impl Facts {
    pub(super) fn of(tensors: &Tensors) -> Result<Facts, Fault> {
        let has = |name: &str| tensors.contains_key(name);
        let fpn_norm = has("backbone.fpn.inner_blocks.0.1.weight");
        let (depth, stage_planes) = trunk(tensors)?;
        let representation_size = |layer: String| rows(tensors, &format!("roi_heads.box_head.{layer}.weight"));
        let (box_head, representation_size) = if has("roi_heads.box_head.fc6.weight") {
            (BoxHead::TwoLinear, representation_size("fc7".to_owned())?)
        } else {
            let count = (0..)
                .take_while(|i| has(&format!("roi_heads.box_head.{i}.0.weight")))
                .count();
            // The module between is the flattening.
            let size = representation_size(if count == 0 {
                "fc6".to_owned()
            } else {
                (count + 1).to_string()
            })?;
            (BoxHead::Convolutions { count }, size)
        };
        let mask_logits = "roi_heads.mask_predictor.mask_fcn_logits.weight";
        let scores = "roi_heads.box_predictor.cls_score.weight";
        let with_background = rows(
            tensors,
            if has(scores) || !has(mask_logits) {
                scores
            } else {
                mask_logits
            },
        )?;
        Ok(Facts {
            depth,
            stage_planes,
            classes: with_background.saturating_sub(1),
            fpn_width: rows(tensors, "backbone.fpn.inner_blocks.0.0.weight")?,
            fpn_norm,
            rpn_convs: (0..)
                .take_while(|i| has(&format!("rpn.head.conv.{i}.0.weight")))
                .count(),
            box_head,
            representation_size,
            anchors_per_cell: rows(tensors, "rpn.head.cls_logits.weight")?,
            masks: has(mask_logits),
            mask_norm: has("roi_heads.mask_head.0.1.weight"),
            parameters: parameters(tensors, fpn_norm),
        })
    }
}

fn rows(tensors: &Tensors, name: &str) -> Result<usize, Fault> {
    match tensors.get(name).map(|tensor| tensor.shape.as_slice()) {
        Some(&[rows, ..]) => Ok(rows),
        Some([]) => Err(Fault::tensor(name, "rows", "a single number")),
        None => Err(Fault::tensor(name, "a tensor", "none")),
    }
}

fn trunk(tensors: &Tensors) -> Result<(Depth, [usize; 4]), Fault> {
    let first = |stage: usize, block: usize| format!("backbone.body.layer{stage}.{block}.conv1.weight");
    let mut planes = [0; 4];
    let mut blocks = [0; 4];
    for (i, (planes, blocks)) in planes.iter_mut().zip(&mut blocks).enumerate() {
        *planes = rows(tensors, &first(i + 1, 0))?;
        *blocks = (0..).take_while(|&b| tensors.contains_key(&first(i + 1, b))).count();
    }
    let bottleneck = tensors.contains_key("backbone.body.layer1.0.conv3.weight");
    let depth = match (bottleneck, blocks) {
        (false, [2, 2, 2, 2]) => Depth::ResNet18,
        (false, [3, 4, 6, 3]) => Depth::ResNet34,
        (true, [3, 4, 6, 3]) => Depth::ResNet50,
        (true, [3, 4, 23, 3]) => Depth::ResNet101,
        (true, [3, 8, 36, 3]) => Depth::ResNet152,
        _ => {
            let kind = if bottleneck { "bottlenecks" } else { "basic blocks" };
            return Err(Fault::format(
                "the trunk of a ResNet 18, 34, 50, 101 or 152",
                format_args!("stages of {blocks:?} {kind}"),
            ));
        }
    };
    Ok((depth, planes))
}

fn parameters(tensors: &Tensors, norm_is_trained: bool) -> usize {
    let counts = |name: &str| {
        let Some((layer, leaf)) = name.rsplit_once('.') else {
            return true;
        };
        let norm = tensors.contains_key(&format!("{layer}.running_mean"));
        !norm || (norm_is_trained && matches!(leaf, "weight" | "bias"))
    };
    tensors
        .iter()
        .filter(|(name, _)| counts(name))
        .map(|(_, tensor)| tensor.values.len())
        .sum()
}
