//! The network and the picture of `tests/oracle/mask_rcnn_golden.py`, from the same seeds, and what torchvision answers.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use crate::engine::Digest;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::model::recipe::Recipe;
use crate::model::weights::Weights;

const SALT: &str = "7";
const PLANES: [usize; 4] = [24, 32, 40, 48];
pub(super) const WIDTH: usize = 32;
const REPRESENTATION: usize = 64;
const CLASSES: usize = 3;

const RECIPE: &str = r#"
name = "golden"
classes = ["a", "b", "c"]
[network]
kind = "mask_rcnn"
backbone = "resnet18"
stage_planes = [24, 32, 40, 48]
fpn_width = 32
representation_size = 64
anchor_sizes_px = [12, 24, 48, 96, 144]
anchor_ratios = [0.5, 1.0, 2.0]
canonical_scale_px = 96
canonical_level = 4
sampling_ratio = 2
[input]
size = "192x160"
channels = "rgb"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[weights]
file = "golden.safetensors"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
licence = ""
origin = "noise"
data = ""
command = ""
[test]
pre_nms_top_n = 300
post_nms_top_n = 120
rpn_nms_threshold = 0.5
score_threshold = 0.3
nms_threshold = 0.5
detections = 40
[executor]
precision = "f32"
"#;

/// `SCALES` of the oracle: end of the name -> (base, scale); 0 = sqrt(6 / fan in).
const SCALES: [(&str, f32, f32); 16] = [
    ("layer_blocks.0.0.weight", 0.0, 0.0036),
    ("layer_blocks.1.0.weight", 0.0, 0.0036),
    ("layer_blocks.2.0.weight", 0.0, 0.0036),
    ("layer_blocks.3.0.weight", 0.0, 0.0036),
    ("rpn.head.cls_logits.weight", 0.0, 0.6),
    ("rpn.head.bbox_pred.weight", 0.0, 0.08),
    ("cls_score.weight", 0.0, 0.8),
    ("box_predictor.bbox_pred.weight", 0.0, 0.5),
    ("mask_fcn_logits.weight", 0.0, 0.9),
    ("running_var", 1.0, 0.5),
    ("running_mean", 0.0, 0.2),
    ("bn1.weight", 1.0, 0.2),
    ("bn2.weight", 1.0, 0.2),
    ("downsample.1.weight", 1.0, 0.2),
    ("bias", 0.0, 0.1),
    ("weight", 0.0, 0.0),
];

/// Uniform in [-1, 1): splitmix64 from the FNV-1a hash of the name.
pub(super) fn noise(name: &str) -> impl Iterator<Item = f32> + use<> {
    let hash = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3);
    let seed = format!("{SALT}/{name}").bytes().fold(0xCBF2_9CE4_8422_2325, hash);
    (1u64..).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    })
}

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let (_, base, scale) = *SCALES.iter().find(|(end, ..)| name.ends_with(end)).unwrap();
    let fan_in = if name.contains("conv5_mask") {
        shape[0]
    } else {
        shape[1..].iter().product()
    };
    let scale = if scale == 0.0 {
        (6.0 / fan_in as f64).sqrt() as f32
    } else {
        scale
    };
    let count = shape.iter().product();
    noise(name).take(count).map(|v| base + v * scale).collect()
}

/// Every tensor torchvision's `state_dict` of this network has, without the counters.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut out = Vec::new();
    let norm = |out: &mut Vec<(String, Vec<usize>)>, name: &str, planes: usize| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            out.push((format!("{name}.{part}"), vec![planes]));
        }
    };
    let layer = |out: &mut Vec<(String, Vec<usize>)>, name: &str, shape: &[usize], biases: usize| {
        out.push((format!("{name}.weight"), shape.to_vec()));
        out.push((format!("{name}.bias"), vec![biases]));
    };
    let body = "backbone.body";
    out.push((format!("{body}.conv1.weight"), vec![64, 3, 7, 7]));
    norm(&mut out, &format!("{body}.bn1"), 64);
    let mut inputs = 64;
    for (stage, planes) in PLANES.into_iter().enumerate() {
        for block in 0..2 {
            let name = format!("{body}.layer{}.{block}", stage + 1);
            out.push((format!("{name}.conv1.weight"), vec![planes, inputs, 3, 3]));
            norm(&mut out, &format!("{name}.bn1"), planes);
            out.push((format!("{name}.conv2.weight"), vec![planes, planes, 3, 3]));
            norm(&mut out, &format!("{name}.bn2"), planes);
            if block == 0 {
                out.push((format!("{name}.downsample.0.weight"), vec![planes, inputs, 1, 1]));
                norm(&mut out, &format!("{name}.downsample.1"), planes);
            }
            inputs = planes;
        }
        layer(
            &mut out,
            &format!("backbone.fpn.inner_blocks.{stage}.0"),
            &[WIDTH, planes, 1, 1],
            WIDTH,
        );
        layer(
            &mut out,
            &format!("backbone.fpn.layer_blocks.{stage}.0"),
            &[WIDTH, WIDTH, 3, 3],
            WIDTH,
        );
        layer(
            &mut out,
            &format!("roi_heads.mask_head.{stage}.0"),
            &[WIDTH, WIDTH, 3, 3],
            WIDTH,
        );
    }
    let k = CLASSES + 1;
    layer(&mut out, "rpn.head.conv.0.0", &[WIDTH, WIDTH, 3, 3], WIDTH);
    layer(&mut out, "rpn.head.cls_logits", &[3, WIDTH, 1, 1], 3);
    layer(&mut out, "rpn.head.bbox_pred", &[12, WIDTH, 1, 1], 12);
    layer(
        &mut out,
        "roi_heads.box_head.fc6",
        &[REPRESENTATION, WIDTH * 49],
        REPRESENTATION,
    );
    layer(
        &mut out,
        "roi_heads.box_head.fc7",
        &[REPRESENTATION, REPRESENTATION],
        REPRESENTATION,
    );
    layer(&mut out, "roi_heads.box_predictor.cls_score", &[k, REPRESENTATION], k);
    layer(
        &mut out,
        "roi_heads.box_predictor.bbox_pred",
        &[4 * k, REPRESENTATION],
        4 * k,
    );
    layer(
        &mut out,
        "roi_heads.mask_predictor.conv5_mask",
        &[WIDTH, WIDTH, 2, 2],
        WIDTH,
    );
    layer(
        &mut out,
        "roi_heads.mask_predictor.mask_fcn_logits",
        &[k, WIDTH, 1, 1],
        k,
    );
    out
}

/// The weights, each tensor as `change` leaves it, as a file.
fn weights_file(change: impl Fn(&str, &mut Vec<f32>)) -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let mut data = values(&name, &shape);
            change(&name, &mut data);
            let bytes = data.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

pub(super) fn weights(change: impl Fn(&str, &mut Vec<f32>)) -> Weights {
    Weights::from_safetensors(&weights_file(change), Path::new("golden.safetensors")).unwrap()
}

/// Writes the engine into `dir` as files, and says where its recipe is.
pub(crate) fn write_engine(dir: &Path) -> PathBuf {
    let file = weights_file(|_, _| {});
    let digest = Weights::from_safetensors(&file, dir).unwrap().sha256();
    let path = dir.join("golden.toml");
    std::fs::write(&path, RECIPE.replace(&"0".repeat(64), &Digest(digest).to_string())).unwrap();
    std::fs::write(dir.join("golden.safetensors"), file).unwrap();
    path
}

pub(super) fn recipe() -> Recipe {
    Recipe::parse(RECIPE, Path::new("golden.toml")).unwrap()
}

pub(crate) fn picture() -> Image {
    let (width, height) = (240, 180);
    let blocks: Vec<u8> = noise("picture")
        .take(18 * 20 * 3)
        .map(|v| ((v + 1.0) * 127.5) as u8)
        .collect();
    let pixel = |y: usize, x: usize| &blocks[(y / 10 * 20 + x / 12) * 3..][..3];
    let bytes = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(y, x).to_vec()).collect::<Vec<_>>());
    Image::packed(
        PixelFormat::Rgb8,
        ImageSize::new(width as u32, height as u32),
        bytes.collect(),
    )
    .unwrap()
}

#[derive(Deserialize)]
pub(super) struct Golden {
    pub(super) features: Vec<GoldenFeatures>,
    pub(super) proposals: Vec<[f32; 4]>,
    pub(super) proposal_count: usize,
    pub(super) detections: Vec<GoldenDetection>,
}

#[derive(Deserialize)]
pub(super) struct GoldenFeatures {
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) first: Vec<f32>,
}

#[derive(Deserialize)]
pub(super) struct GoldenDetection {
    pub(super) class_id: u32,
    pub(super) score: f32,
    #[serde(rename = "box")]
    pub(super) bounds: [f32; 4],
    pub(super) mask_mean: f32,
    pub(super) mask_diagonal: Vec<f32>,
}

pub(super) fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mask_rcnn_golden.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
