//! Other names -> the names of torchvision's state dicts today. K foreground classes: detectron2 has class rows 0..K with
//! the background last, and boxes and masks for the foreground alone; ours have the background first, everywhere.

use std::collections::BTreeMap;

use super::{Fault, Tensor};

type Tensors = BTreeMap<String, Tensor>;

/// torchvision's own, of any age.
pub(super) fn of_torchvision(tensors: Tensors) -> Result<Tensors, Fault> {
    rename(tensors, current_name)
}

/// detectron2's `GeneralizedRCNN` with an FPN.
pub(super) fn of_detectron2(mut tensors: Tensors) -> Result<Tensors, Fault> {
    background_first(&mut tensors)?;
    let conv_prefix = "roi_heads.box_head.conv";
    let mut box_convs: Vec<usize> = tensors
        .keys()
        .filter_map(|name| name.strip_prefix(conv_prefix)?.strip_suffix(".weight")?.parse().ok())
        .collect();
    box_convs.dedup();
    rename(tensors, |name| name_of_detectron2(name, box_convs.len()))
}

fn rename(tensors: Tensors, ours: impl Fn(&str) -> Option<String>) -> Result<Tensors, Fault> {
    let mut renamed = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(new) = ours(name.strip_prefix("module.").unwrap_or(&name)) else {
            continue;
        };
        if renamed.insert(new.clone(), tensor).is_some() {
            return Err(Fault::tensor(
                &new,
                "one stored name for it",
                format_args!("{name:?} besides another"),
            ));
        }
    }
    Ok(renamed)
}

/// torchvision's name of today for one of any age. None: of no use to inference.
pub(in crate::model) fn current_name(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    Some(match parts.as_slice() {
        [.., "num_batches_tracked"] => return None,
        ["rpn", "head", "conv", leaf] => format!("rpn.head.conv.0.0.{leaf}"),
        [
            "backbone",
            "fpn",
            block @ ("inner_blocks" | "layer_blocks"),
            index,
            leaf,
        ] => {
            format!("backbone.fpn.{block}.{index}.0.{leaf}")
        }
        ["roi_heads", "mask_head", layer, leaf] => match nth(layer, "mask_fcn").and_then(|n| n.checked_sub(1)) {
            Some(index) => format!("roi_heads.mask_head.{index}.0.{leaf}"),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    })
}

/// None: of no use here. `box_convs`: convolutions of the box head before its linear layers.
fn name_of_detectron2(name: &str, box_convs: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let known = match parts.as_slice() {
        [.., "num_batches_tracked"] | ["pixel_mean" | "pixel_std"] => return None,
        ["proposal_generator", "anchor_generator", ..] => return None,
        ["backbone", "bottom_up", "stem", "conv1", leaf] => Some(format!("backbone.body.conv1.{leaf}")),
        ["backbone", "bottom_up", "stem", "conv1", "norm", leaf] => Some(format!("backbone.body.bn1.{leaf}")),
        ["backbone", "bottom_up", stage, block, layer @ ..] => trunk_layer(layer).and_then(|layer| {
            let stage = nth(stage, "res")?.checked_sub(1)?;
            Some(format!("backbone.body.layer{stage}.{block}.{layer}"))
        }),
        ["backbone", layer, leaf @ ..] => fpn_layer(layer, leaf),
        ["proposal_generator", "rpn_head", layer @ ..] => rpn_layer(layer),
        ["roi_heads", "box_head", layer, leaf @ ..] => box_layer(layer, leaf, box_convs),
        ["roi_heads", "mask_head", layer, leaf @ ..] => mask_layer(layer, leaf),
        _ => None,
    };
    Some(known.unwrap_or_else(|| name.to_owned()))
}

/// `conv1.weight`, `conv1.norm.weight`, `shortcut.weight` of a residual block.
fn trunk_layer(layer: &[&str]) -> Option<String> {
    Some(match layer {
        ["shortcut", leaf] => format!("downsample.0.{leaf}"),
        ["shortcut", "norm", leaf] => format!("downsample.1.{leaf}"),
        [conv, leaf] => format!("conv{}.{leaf}", nth(conv, "conv")?),
        [conv, "norm", leaf] => format!("bn{}.{leaf}", nth(conv, "conv")?),
        _ => return None,
    })
}

fn fpn_layer(layer: &str, leaf: &[&str]) -> Option<String> {
    let (block, stage) = match (nth(layer, "fpn_lateral"), nth(layer, "fpn_output")) {
        (Some(stage), _) => ("inner_blocks", stage),
        (_, Some(stage)) => ("layer_blocks", stage),
        _ => return None,
    };
    Some(format!(
        "backbone.fpn.{block}.{}.{}",
        stage.checked_sub(2)?,
        conv_or_norm(leaf)?
    ))
}

fn rpn_layer(layer: &[&str]) -> Option<String> {
    Some(match layer {
        ["objectness_logits", leaf] => format!("rpn.head.cls_logits.{leaf}"),
        ["anchor_deltas", leaf] => format!("rpn.head.bbox_pred.{leaf}"),
        ["conv", leaf] => format!("rpn.head.conv.0.0.{leaf}"),
        // Of an RPN with several.
        ["conv", conv, leaf] => format!("rpn.head.conv.{}.0.{leaf}", nth(conv, "conv")?),
        _ => return None,
    })
}

fn box_layer(layer: &str, leaf: &[&str], convs: usize) -> Option<String> {
    if let Some(index) = nth(layer, "conv") {
        return Some(format!(
            "roi_heads.box_head.{}.{}",
            index.checked_sub(1)?,
            conv_or_norm(leaf)?
        ));
    }
    let (index, [leaf]) = (nth(layer, "fc")?.checked_sub(1)?, leaf) else {
        return None;
    };
    Some(match convs {
        0 => format!("roi_heads.box_head.fc{}.{leaf}", index.checked_add(6)?),
        // Counted as modules of a sequence: convolutions, a flattening, then each linear layer with its activation.
        _ => format!(
            "roi_heads.box_head.{}.{leaf}",
            index.checked_mul(2)?.checked_add(convs + 1)?
        ),
    })
}

fn mask_layer(layer: &str, leaf: &[&str]) -> Option<String> {
    Some(match (layer, leaf) {
        ("deconv", [leaf]) => format!("roi_heads.mask_predictor.conv5_mask.{leaf}"),
        ("predictor", [leaf]) => format!("roi_heads.mask_predictor.mask_fcn_logits.{leaf}"),
        _ => {
            let index = nth(layer, "mask_fcn")?.checked_sub(1)?;
            format!("roi_heads.mask_head.{index}.{}", conv_or_norm(leaf)?)
        }
    })
}

/// Of a block of convolution (0) and norm (1).
fn conv_or_norm(leaf: &[&str]) -> Option<String> {
    match leaf {
        [leaf] => Some(format!("0.{leaf}")),
        ["norm", leaf] => Some(format!("1.{leaf}")),
        _ => None,
    }
}

/// 3 for `fc3`.
fn nth(layer: &str, kind: &str) -> Option<usize> {
    layer.strip_prefix(kind)?.parse().ok()
}

/// Makes room for, or moves, the background's rows.
fn background_first(tensors: &mut Tensors) -> Result<(), Fault> {
    let prefix = if tensors.keys().any(|name| name.starts_with("module.")) {
        "module."
    } else {
        ""
    };
    let scores = format!("{prefix}roi_heads.box_predictor.cls_score");
    let Some(rows) = tensors
        .get(&format!("{scores}.weight"))
        .and_then(|t| t.shape.first().copied())
    else {
        return Ok(());
    };
    if rows < 2 {
        let got = format!("{rows} rows");
        return Err(Fault::tensor(&scores, "a class and the background", got));
    }
    let classes = rows - 1;
    for leaf in ["weight", "bias"] {
        if let Some(Tensor { values, .. }) = rows_of(tensors, &format!("{scores}.{leaf}"), rows)? {
            let row = values.len() / rows;
            values.rotate_right(row);
        }
        for (name, rows_each) in [
            (format!("{prefix}roi_heads.box_predictor.bbox_pred.{leaf}"), 4),
            (format!("{prefix}roi_heads.mask_head.predictor.{leaf}"), 1),
        ] {
            if let Some(Tensor { shape, values }) = rows_of(tensors, &name, classes * rows_each)? {
                let row = values.len() / (classes * rows_each);
                values.splice(..0, vec![0.0; row * rows_each]);
                shape[0] += rows_each;
            }
        }
    }
    Ok(())
}

/// The tensor, checked to have so many rows.
fn rows_of<'t>(tensors: &'t mut Tensors, name: &str, rows: usize) -> Result<Option<&'t mut Tensor>, Fault> {
    let Some(tensor) = tensors.get_mut(name) else {
        return Ok(None);
    };
    if tensor.shape.first() != Some(&rows) {
        // Among others, boxes or masks that do not depend on the class.
        let expected = format!("{rows} rows, by the classes of cls_score");
        return Err(Fault::tensor(name, expected, format_args!("shape {:?}", tensor.shape)));
    }
    Ok(Some(tensor))
}
