//! The files of tests/data/checkpoints, made by tests/oracle/checkpoint_goldens.py.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::*;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile;

const FILES: [(&str, Format); 10] = [
    ("kinds_zip.pth", Format::Torchvision),
    ("kinds_legacy.pth", Format::Torchvision),
    ("torchvision_2019.pth", Format::Torchvision),
    ("detectron2.pkl", Format::Detectron2),
    ("numpy_2.pkl", Format::Detectron2),
    ("numpy_3.pkl", Format::Detectron2),
    ("numpy_4.pkl", Format::Detectron2),
    ("numpy_5.pkl", Format::Detectron2),
    ("tensors.pkl", Format::Detectron2),
    ("caffe2.pb", Format::MaskRcnn2Go),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints")
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn parse(bytes: &[u8], format: Format) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes(bytes, Path::new("a file"), format)
}

fn canonical(name: &str, format: Format) -> Checkpoint {
    let raw = Checkpoint::read(&folder().join(name), format).unwrap();
    raw.canonical(format).unwrap()
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert!(bytes.windows(old.len()).any(|w| w == old), "{old:?} is not there");
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(old) {
            out.extend(new);
            rest = after;
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

/// [sum, sum of value * (position + 1)]
fn sums(tensor: &Tensor) -> [f64; 2] {
    let each = tensor
        .values
        .iter()
        .zip(1..)
        .map(|(&v, i)| (f64::from(v), f64::from(i)));
    each.fold([0.0; 2], |[sum, weighted], (v, i)| [sum + v, weighted + v * i])
}

#[test]
fn files_hold_what_their_writers_say() {
    let noted: Json = serde_json::from_slice(&bytes_of("sums.json")).unwrap();
    for (file, format) in FILES {
        let checkpoint = Checkpoint::read(&folder().join(file), format).unwrap_or_else(|e| panic!("{e}"));
        let expected = noted[file].as_object().unwrap();
        assert_eq!(
            checkpoint.tensors.keys().collect::<Vec<_>>(),
            expected
                .keys()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>(),
            "{file}"
        );
        for (name, tensor) in &checkpoint.tensors {
            let facts = &expected[name];
            let shape: Vec<usize> = serde_json::from_value(facts["shape"].clone()).unwrap();
            assert_eq!(tensor.shape, shape, "{file} {name}");
            assert_eq!(tensor.values.len(), shape.iter().product::<usize>(), "{file} {name}");
            let [sum, weighted] = sums(tensor);
            assert_eq!(Some(sum), facts["sum"].as_f64(), "{file} {name}");
            assert_eq!(Some(weighted), facts["weighted"].as_f64(), "{file} {name}");
        }
        let bytes = bytes_of(file);
        assert_eq!(checkpoint.bytes, bytes.len() as u64);
        assert_eq!(checkpoint.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    }
}

#[test]
fn views_into_one_storage() {
    let kinds = parse(&bytes_of("kinds_zip.pth"), Format::Torchvision).unwrap();
    let whole = &kinds.tensors["whole"].values;
    let turned: Vec<f32> = (0..24).map(|i| whole[i % 6 * 4 + i / 6]).collect();
    assert_eq!(kinds.tensors["turned"].values, turned);
    assert_eq!(kinds.tensors["part"].values, [9, 10, 13, 14, 17, 18].map(|i| whole[i]));
    assert_eq!(kinds.tensors["scalar"].shape, [0usize; 0]);
    assert_eq!(kinds.tensors["bool"].values, [1.0, 0.0, 1.0]);
    let columns = parse(&bytes_of("numpy_4.pkl"), Format::Detectron2).unwrap();
    assert_eq!(columns.tensors["columns"], columns.tensors["rows"]);
}

#[test]
fn older_numpy_had_its_functions_elsewhere() {
    let old = replace(
        &bytes_of("numpy_3.pkl"),
        b"numpy._core.multiarray",
        b"numpy.core.multiarray",
    );
    let [old, new] = [old, bytes_of("numpy_3.pkl")].map(|bytes| parse(&bytes, Format::Detectron2).unwrap());
    assert_eq!(old.tensors, new.tensors);
}

#[test]
fn torchvision_names_of_2019() {
    let raw = parse(&bytes_of("torchvision_2019.pth"), Format::Torchvision).unwrap();
    let ours = canonical("torchvision_2019.pth", Format::Torchvision);
    for (old, new) in [
        ("backbone.body.bn1.running_var", "backbone.body.bn1.running_var"),
        (
            "backbone.fpn.inner_blocks.1.weight",
            "backbone.fpn.inner_blocks.1.0.weight",
        ),
        ("backbone.fpn.layer_blocks.0.bias", "backbone.fpn.layer_blocks.0.0.bias"),
        ("rpn.head.conv.bias", "rpn.head.conv.0.0.bias"),
        ("roi_heads.mask_head.mask_fcn2.weight", "roi_heads.mask_head.1.0.weight"),
    ] {
        assert_eq!(ours.tensors[new], raw.tensors[&format!("module.{old}")], "{new}");
    }
    assert_eq!(ours.tensors.len(), raw.tensors.len() - 1); // without num_batches_tracked
    assert!(
        ours.tensors
            .keys()
            .all(|name| !name.contains("mask_fcn1") && !name.starts_with("module."))
    );
}

#[test]
fn names_of_today_stay() {
    for name in [
        "backbone.fpn.inner_blocks.0.1.running_mean",
        "backbone.fpn.layer_blocks.3.0.weight",
        "rpn.head.conv.1.0.bias",
        "roi_heads.box_head.5.weight",
        "roi_heads.mask_head.3.1.bias",
        "roi_heads.mask_predictor.mask_fcn_logits.bias",
        "roi_heads.mask_head.mask_fcn0.bias", // counted from 1: nobody's
    ] {
        let one = Tensor {
            shape: vec![1],
            values: vec![1.0],
        };
        let kept = names::of_torchvision(BTreeMap::from([(name.to_owned(), one)])).unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn two_names_for_one_tensor() {
    let one = || Tensor {
        shape: vec![1],
        values: vec![1.0],
    };
    let names = ["rpn.head.conv.bias", "rpn.head.conv.0.0.bias"].map(|name| (name.to_owned(), one()));
    assert_eq!(
        names::of_torchvision(BTreeMap::from(names)).unwrap_err().to_string(),
        "tensor \"rpn.head.conv.0.0.bias\": expected one stored name for it, got \"rpn.head.conv.bias\" besides another"
    );
}

#[test]
fn detectron2_names_and_rows() {
    let raw = parse(&bytes_of("detectron2.pkl"), Format::Detectron2).unwrap();
    let ours = canonical("detectron2.pkl", Format::Detectron2);
    for (theirs, new) in [
        ("backbone.bottom_up.stem.conv1.weight", "backbone.body.conv1.weight"),
        ("backbone.bottom_up.stem.conv1.norm.bias", "backbone.body.bn1.bias"),
        (
            "backbone.bottom_up.res2.1.conv2.weight",
            "backbone.body.layer1.1.conv2.weight",
        ),
        (
            "backbone.bottom_up.res5.0.conv1.norm.running_mean",
            "backbone.body.layer4.0.bn1.running_mean",
        ),
        (
            "backbone.bottom_up.res3.0.shortcut.weight",
            "backbone.body.layer2.0.downsample.0.weight",
        ),
        (
            "backbone.bottom_up.res3.0.shortcut.norm.weight",
            "backbone.body.layer2.0.downsample.1.weight",
        ),
        ("backbone.fpn_lateral2.bias", "backbone.fpn.inner_blocks.0.0.bias"),
        ("backbone.fpn_output5.weight", "backbone.fpn.layer_blocks.3.0.weight"),
        ("proposal_generator.rpn_head.conv.weight", "rpn.head.conv.0.0.weight"),
        (
            "proposal_generator.rpn_head.objectness_logits.bias",
            "rpn.head.cls_logits.bias",
        ),
        (
            "proposal_generator.rpn_head.anchor_deltas.weight",
            "rpn.head.bbox_pred.weight",
        ),
        ("roi_heads.box_head.fc1.weight", "roi_heads.box_head.fc6.weight"),
        ("roi_heads.box_head.fc2.bias", "roi_heads.box_head.fc7.bias"),
        ("roi_heads.mask_head.mask_fcn4.weight", "roi_heads.mask_head.3.0.weight"),
        (
            "roi_heads.mask_head.deconv.weight",
            "roi_heads.mask_predictor.conv5_mask.weight",
        ),
    ] {
        assert_eq!(ours.tensors[new], raw.tensors[theirs], "{new}");
    }
    let known = |name: &&String| name.starts_with("backbone.body.") || name.starts_with("backbone.fpn.");
    let heads = [
        "rpn.head.",
        "roi_heads.box_head.",
        "roi_heads.box_predictor.",
        "roi_heads.mask_",
    ];
    let all_known = |name: &String| known(&name) || heads.iter().any(|head| name.starts_with(head));
    assert!(ours.tensors.keys().all(all_known), "{:?}", ours.tensors.keys());
    assert_eq!(ours.tensors.len(), raw.tensors.len() - 3); // without pixel_mean, pixel_std, cell_anchors

    // Two classes. Scores: rows 0, 1, background -> background, 0, 1.
    let theirs = &raw.tensors["roi_heads.box_predictor.cls_score.bias"].values;
    let scores = &ours.tensors["roi_heads.box_predictor.cls_score.bias"].values;
    assert_eq!(*scores, [theirs[2], theirs[0], theirs[1]]);
    for (theirs, new, row) in [
        (
            "roi_heads.box_predictor.bbox_pred.weight",
            "roi_heads.box_predictor.bbox_pred.weight",
            4 * 6,
        ),
        (
            "roi_heads.mask_head.predictor.weight",
            "roi_heads.mask_predictor.mask_fcn_logits.weight",
            4,
        ),
        (
            "roi_heads.mask_head.predictor.bias",
            "roi_heads.mask_predictor.mask_fcn_logits.bias",
            1,
        ),
    ] {
        let (theirs, ours) = (&raw.tensors[theirs], &ours.tensors[new]);
        assert_eq!(ours.values[..row], vec![0.0; row]);
        assert_eq!(ours.values[row..], theirs.values);
        assert_eq!(ours.shape[0], theirs.shape[0] / 2 * 3);
        assert_eq!(ours.shape[1..], theirs.shape[1..]);
    }
}

#[test]
fn detectron2_heads_of_other_shapes() {
    let one = |rows: usize| Tensor {
        shape: vec![rows],
        values: vec![1.0; rows],
    };
    let named = |name: &str, rows| (name.to_owned(), one(rows));
    // Convolutions before the linear layer; several in the RPN; norms in the FPN and the mask head.
    let renamed = names::of_detectron2(BTreeMap::from([
        named("roi_heads.box_head.conv1.weight", 1),
        named("roi_heads.box_head.conv2.weight", 1),
        named("roi_heads.box_head.conv2.norm.running_var", 1),
        named("roi_heads.box_head.fc1.weight", 1),
        named("proposal_generator.rpn_head.conv.conv1.bias", 1),
        named("backbone.fpn_output3.norm.bias", 1),
        named("roi_heads.mask_head.mask_fcn1.norm.weight", 1),
        named("sem_seg_head.predictor.weight", 1),
    ]));
    let names: Vec<String> = renamed.unwrap().into_keys().collect();
    assert_eq!(
        names,
        [
            "backbone.fpn.layer_blocks.1.1.bias",
            "roi_heads.box_head.0.0.weight",
            "roi_heads.box_head.1.0.weight",
            "roi_heads.box_head.1.1.running_var",
            "roi_heads.box_head.3.weight",
            "roi_heads.mask_head.0.1.weight",
            "rpn.head.conv.1.0.bias",
            "sem_seg_head.predictor.weight",
        ]
    );
    // Boxes that do not depend on the class.
    let agnostic = names::of_detectron2(BTreeMap::from([
        named("roi_heads.box_predictor.cls_score.weight", 81),
        named("roi_heads.box_predictor.bbox_pred.weight", 4),
    ]));
    assert_eq!(
        agnostic.unwrap_err().to_string(),
        "tensor \"roi_heads.box_predictor.bbox_pred.weight\": expected 320 rows, by the classes of cls_score, \
         got shape [4]"
    );
}

#[test]
fn facts_of_a_small_network() {
    let ours = canonical("detectron2.pkl", Format::Detectron2);
    let facts = ours.facts().unwrap();
    let count = |keep: &dyn Fn(&str) -> bool| -> usize {
        let kept = ours.tensors.iter().filter(|(name, _)| keep(name));
        kept.map(|(_, t)| t.values.len()).sum()
    };
    assert_eq!(
        facts,
        Facts {
            depth: crate::model::Depth::ResNet18,
            stage_planes: [2; 4],
            classes: 2,
            fpn_width: 4,
            fpn_norm: false,
            rpn_convs: 1,
            box_head: BoxHead::TwoLinear,
            representation_size: 6,
            anchors_per_cell: 3,
            masks: true,
            mask_norm: false,
            parameters: count(&|name| !name.contains(".bn") && !name.contains("downsample.1")),
        }
    );

    // With norms in the FPN, those of the trunk are trained; a head of convolutions; no masks.
    let mut other = ours.clone();
    let norm = ours.tensors["backbone.body.bn1.weight"].clone();
    for leaf in ["weight", "bias", "running_mean", "running_var"] {
        other
            .tensors
            .insert(format!("backbone.fpn.inner_blocks.0.1.{leaf}"), norm.clone());
    }
    other.tensors.retain(|name, _| !name.contains("mask_"));
    for (old, new) in [("fc6", "0.0"), ("fc7", "2")] {
        let moved = other
            .tensors
            .remove(&format!("roi_heads.box_head.{old}.weight"))
            .unwrap();
        other.tensors.insert(format!("roi_heads.box_head.{new}.weight"), moved);
    }
    let changed = other.facts().unwrap();
    assert!(changed.fpn_norm && !changed.masks);
    assert_eq!(changed.box_head, BoxHead::Convolutions { count: 1 });
    assert_eq!(
        changed.parameters,
        count(&|name| !name.contains("running_") && !name.contains("mask_")) + 2 * norm.values.len()
    );

    let mut odd = ours.clone();
    odd.tensors
        .retain(|name, _| !name.starts_with("backbone.body.layer3.1."));
    assert!(
        odd.facts().unwrap_err().to_string().ends_with(
            "expected the trunk of a ResNet 18, 34, 50, 101 or 152, got stages of [2, 2, 1, 2] basic blocks"
        )
    );
    odd.tensors.clear();
    let text = odd.facts().unwrap_err().to_string();
    assert!(text.ends_with("tensor \"backbone.body.layer1.0.conv1.weight\": expected a tensor, got none"));
}

#[test]
fn safetensors_of_every_format() {
    use ::safetensors::tensor::TensorView;

    let counts: Vec<u8> = [3i64, -4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes = ::safetensors::serialize(
        [
            (
                "rpn.head.conv.bias",
                TensorView::new(Dtype::I64, vec![2], &counts).unwrap(),
            ),
            ("a", TensorView::new(Dtype::BOOL, vec![1, 2], &[0, 1]).unwrap()),
        ],
        None,
    )
    .unwrap();
    for format in [Format::Safetensors, Format::Torchvision, Format::Detectron2] {
        let read = parse(&bytes, format).unwrap();
        assert_eq!(read.tensors["rpn.head.conv.bias"].values, [3.0, -4.0]);
        assert_eq!(read.tensors["a"].shape, [1, 2]);
        assert_eq!(read.tensors["a"].values, [0.0, 1.0]);
    }
    let ours = parse(&bytes, Format::Safetensors)
        .unwrap()
        .canonical(Format::Safetensors);
    assert!(ours.unwrap().tensors.contains_key("rpn.head.conv.0.0.bias"));
    let float8 = ::safetensors::serialize([("x", TensorView::new(Dtype::F8_E4M3, vec![1], &[0]).unwrap())], None);
    let text = parse(&float8.unwrap(), Format::Safetensors).unwrap_err().to_string();
    assert!(
        text.ends_with("tensor \"x\": expected integers or floats of 16 bits or more, got F8_E4M3"),
        "{text}"
    );
}

#[test]
fn caffe2_values() {
    let net = parse(&bytes_of("caffe2.pb"), Format::MaskRcnn2Go).unwrap();
    assert_eq!(net.tensors["b"].values, [-1.5, 0.0, 35000.0]);
    assert_eq!(net.tensors["f"].values, [0.5, -1.25]);
    assert_eq!(net.tensors["w"].shape, [3, 4, 2, 2]);
    let text = parse(
        &replace(&bytes_of("caffe2.pb"), b"GivenTensorFill\x2a", b"GivenTensorFell\x2a"),
        Format::MaskRcnn2Go,
    )
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("expected a fill with given values, got the operator"),
        "{text}"
    );
    let text = parse(
        &replace(&bytes_of("caffe2.pb"), b"Y_scale", b"X_scale"),
        Format::MaskRcnn2Go,
    )
    .unwrap_err()
    .to_string();
    assert_eq!(text, "checkpoint a file: tensor \"w\": expected a scale, got none");
}

/// Sums as Python's protobuf and numpy have them.
#[test]
fn maskrcnn2go_of_2018() {
    let data = std::env::var_os("MASKCAST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = data.join("maskrcnn2go/model_int8_model_init.pb");
    if !path.is_file() {
        eprintln!("not run: no data at {}", path.display());
        return;
    }
    let net = Checkpoint::read(&path, Format::MaskRcnn2Go).unwrap();
    assert_eq!(net.tensors.len(), 164);
    let values: usize = net.tensors.values().map(|t| t.values.len()).sum();
    assert_eq!(values, 3_648_274 + 60 + 3); // and the anchors and the picture's size
    for (name, shape, sum) in [
        ("_[mask]_xif4_3_conv_w_int8", &[160, 768, 1, 1][..], 128.99367711693048),
        ("_[mask]_xif4_2_dw_conv_w_int8", &[768, 1, 3, 3], 1.8018559342017397),
        ("xif3_6_pw_bn_b_int8", &[768], -79.21249793702736),
        ("cls_score_w_int8", &[81, 160], -0.1023874580860138),
    ] {
        let tensor = &net.tensors[name];
        assert_eq!(tensor.shape, shape, "{name}");
        assert!(
            (sums(tensor)[0] - sum).abs() < 1e-6 * sum.abs(),
            "{name}: {}",
            sums(tensor)[0]
        );
    }
    assert_eq!(net.tensors["_[mask]_xif4_3_conv_w_int8"].values[7], 0.162_939_4);
    assert_eq!(net.tensors["im_info"].values, [320.0, 427.0, 1.0]);
}

#[test]
fn formats_are_written_as_read() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!(
        "onnx".parse::<Format>(),
        Err("expected one of torchvision, detectron2, maskrcnn2go, safetensors, got \"onnx\"".to_owned())
    );
}
