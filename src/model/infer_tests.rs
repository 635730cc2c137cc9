//! Against torchvision (`tests/oracle/mask_rcnn_golden.py`): weights and picture come from the same seeds on both sides.
//! OpenVINO must be installed; the error says how.

use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use super::*;
use crate::frame::{Image, PixelFormat};
use crate::preprocess::{Normalise, Preprocessor};
use crate::time::SystemClocks;

const SALT: &str = "7";
const PLANES: [usize; 4] = [24, 32, 40, 48];
const WIDTH: usize = 32;
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
fn noise(name: &str) -> impl Iterator<Item = f32> {
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

/// The weights, each tensor as `change` leaves it.
fn weights(change: impl Fn(&str, &mut Vec<f32>)) -> Weights {
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
    let file = safetensors::serialize(views, None).unwrap();
    Weights::from_safetensors(&file, Path::new("golden.safetensors")).unwrap()
}

fn recipe() -> Recipe {
    Recipe::parse(RECIPE, Path::new("golden.toml")).unwrap()
}

fn options(precision: Precision) -> Options {
    Options {
        precision: Some(precision),
        threads: Some(2),
        score_threshold: None,
        clocks: Arc::new(SystemClocks),
    }
}

/// The golden network; without OpenVINO the sentence that says how to install it.
#[track_caller]
fn network(recipe: Recipe, weights: Weights, precision: Precision) -> MaskRcnn {
    MaskRcnn::build(recipe, weights, &options(precision)).unwrap_or_else(|e| panic!("{e}"))
}

fn picture() -> Image {
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

/// Puts `image` into the network's input.
fn show(net: &mut MaskRcnn, image: &Image) -> ImageSize {
    let (mean, std) = net.rgb_mean_std();
    let size = net.input_size();
    let input = net.input_mut().unwrap();
    Preprocessor::new(Normalise { mean, std })
        .run(image, size, input)
        .unwrap()
        .resized
}

#[derive(Deserialize)]
struct Golden {
    features: Vec<GoldenFeatures>,
    proposals: Vec<[f32; 4]>,
    proposal_count: usize,
    detections: Vec<GoldenDetection>,
}

#[derive(Deserialize)]
struct GoldenFeatures {
    mean: f64,
    std: f64,
    first: Vec<f32>,
}

#[derive(Deserialize)]
struct GoldenDetection {
    class_id: u32,
    score: f32,
    #[serde(rename = "box")]
    bounds: [f32; 4],
    mask_mean: f32,
    mask_diagonal: Vec<f32>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mask_rcnn_golden.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn edges(b: &NetworkBox) -> [f32; 4] {
    [b.x0, b.y0, b.x1, b.y1]
}

#[track_caller]
fn near(what: &str, got: f32, want: f32, within: f32) {
    assert!((got - want).abs() <= within, "{what}: {got}, expected {want}");
}

#[test]
fn the_whole_network_equals_torchvision() {
    let golden = golden();
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let resized = show(&mut net, &picture());
    assert_eq!(resized, ImageSize::new(192, 144));
    net.infer(resized, Masks::Yes).unwrap();
    for (level, want) in golden.features.iter().enumerate() {
        let got = net.trunk.output(layout::features_output(level)).unwrap();
        let mean = got.iter().map(|&v| f64::from(v)).sum::<f64>() / got.len() as f64;
        let variance = got.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / (got.len() - 1) as f64;
        assert!(
            (mean - want.mean).abs() < 1e-4 && (variance.sqrt() - want.std).abs() < 1e-4,
            "P{}",
            level + 2
        );
        got.iter()
            .zip(&want.first)
            .for_each(|(&g, &w)| near("feature", g, w, 1e-4));
    }
    assert_eq!(net.scratch.proposals.len(), golden.proposal_count);
    for (got, want) in net.scratch.proposals.iter().zip(&golden.proposals) {
        edges(got)
            .iter()
            .zip(want)
            .for_each(|(&g, &w)| near("proposal", g, w, 0.02));
    }

    let found = net.infer(resized, Masks::Yes).unwrap(); // a second time: nothing is left over from the first
    assert_eq!(found.detections.len(), golden.detections.len());
    let masks = found.masks.unwrap();
    assert_eq!(
        (masks.side, masks.probabilities.len()),
        (28, 784 * found.detections.len())
    );
    let pairs = found.detections.iter().zip(masks.probabilities.chunks_exact(784));
    for ((got, mask), want) in pairs.zip(&golden.detections) {
        assert_eq!(got.class_id, want.class_id);
        near("score", got.score, want.score, 1e-4);
        edges(&got.bounds)
            .iter()
            .zip(want.bounds)
            .for_each(|(&g, w)| near("box", g, w, 0.02));
        near("mask mean", mask.iter().sum::<f32>() / 784.0, want.mask_mean, 1e-4);
        let diagonal = mask.iter().step_by(29);
        diagonal
            .zip(&want.mask_diagonal)
            .for_each(|(&g, &w)| near("mask", g, w, 2e-4));
    }
    let (trunk, ops) = (found.spent.trunk, found.spent.ops());
    assert!(trunk > Duration::ZERO && ops > Duration::ZERO && found.spent.total() >= trunk + ops);
}

#[test]
fn without_masks_the_detections_are_the_same() {
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let resized = show(&mut net, &picture());
    let with = net.infer(resized, Masks::Yes).unwrap().detections.to_vec();
    let without = net.infer(resized, Masks::No).unwrap();
    assert!(without.masks.is_none() && without.spent.mask_head == Duration::ZERO);
    assert_eq!(without.detections, with);
}

#[test]
fn a_higher_score_threshold_keeps_the_best_as_they_are() {
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let resized = show(&mut net, &picture());
    let all = net.infer(resized, Masks::No).unwrap().detections.to_vec();
    let threshold = 0.97;
    let options = Options {
        score_threshold: Some(threshold),
        ..options(Precision::F32)
    };
    let mut strict = MaskRcnn::build(recipe(), weights(|_, _| {}), &options).unwrap();
    assert_ne!(strict.identity().id(), net.identity().id());
    show(&mut strict, &picture());
    let best = strict.infer(resized, Masks::No).unwrap().detections;
    let wanted: Vec<_> = all.into_iter().filter(|d| d.score > threshold).collect();
    assert_eq!(wanted.len(), 22);
    assert_eq!(best, wanted);
}

#[test]
fn a_network_for_bgr_answers_the_same() {
    let mut recipe = recipe();
    recipe.input.channels = super::super::recipe::Channels::Bgr;
    recipe.input.mean.reverse();
    recipe.input.std.reverse();
    let turned = weights(|name, data| {
        if name == "backbone.body.conv1.weight" {
            data.chunks_exact_mut(147).for_each(|kernel| {
                let (first, rest) = kernel.split_at_mut(49);
                first.swap_with_slice(&mut rest[49..]);
            });
        }
    });
    let mut net = network(recipe, turned, Precision::F32);
    let resized = show(&mut net, &picture());
    let found = net.infer(resized, Masks::No).unwrap();
    let golden = golden();
    assert_eq!(found.detections.len(), golden.detections.len());
    for (got, want) in found.detections.iter().zip(&golden.detections) {
        near("score", got.score, want.score, 1e-4);
    }
}

#[test]
fn weights_of_another_network_are_refused_before_anything_runs() {
    let refused = |change: fn(&mut Recipe)| {
        let mut recipe = recipe();
        change(&mut recipe);
        let built = MaskRcnn::build(recipe, weights(|_, _| {}), &options(Precision::F32));
        built.map(|_| ()).unwrap_err().to_string()
    };
    let text = refused(|r| r.network.fpn_width = 64);
    assert!(
        text.ends_with(
            "tensor \"backbone.fpn.inner_blocks.3.0.weight\": expected shape [64, 48, 1, 1], got [32, 48, 1, 1]"
        ),
        "{text}"
    );
    let text = refused(|r| r.network.backbone = super::super::recipe::Depth::ResNet34);
    assert!(
        text.contains("tensor \"backbone.body.layer1.2.conv1.weight\" of shape [24, 24, 3, 3] is missing"),
        "{text}"
    );
    let text = refused(|r| r.classes.push("d".into()));
    assert!(
        text.contains("cls_score.weight\": expected shape [5, 64], got [4, 64]"),
        "{text}"
    );
    let spoilt = weights(|name, data| {
        if name == "rpn.head.conv.0.0.bias" {
            data[3] = f32::NAN;
        }
    });
    let text = MaskRcnn::build(recipe(), spoilt, &options(Precision::F32))
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("\"rpn.head.conv.0.0.bias\": expected finite numbers, got NaN at position 3"),
        "{text}"
    );
}

#[test]
fn identity_and_text_say_what_was_loaded() {
    let net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let again = network(recipe(), weights(|_, _| {}), Precision::F32);
    assert_eq!(net.identity(), again.identity());
    let other = weights(|name, data| {
        if name == "backbone.body.conv1.weight" {
            data[0] += 1.0;
        }
    });
    let other = network(recipe(), other, Precision::F32);
    assert_ne!(net.identity().id(), other.identity().id());
    assert!(net.identity().canonical_json.contains("\"precision\":\"f32\""));
    let text = net.parts_text();
    assert!(
        text.starts_with("graph trunk\n  in  image [1, 3, 160, 192]\n"),
        "{text}"
    );
    assert!(text.contains("graph box_head\n  in  rois [r, 32, 7, 7]\n"), "{text}");
    assert!(
        text.contains("  out features.p2 [1, 32, 40, 48]\n") && text.contains("  out logits [r, 4, 28, 28]\n"),
        "{text}"
    );
}

#[test]
fn a_picture_larger_than_the_input_is_an_error() {
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let text = net
        .infer(ImageSize::new(193, 1), Masks::No)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert_eq!(text, "picture of 193x1 in a network input of 192x160");
    // An input of one colour has few or no detections, and must not fail.
    net.input_mut().unwrap().fill(0.0);
    net.infer(ImageSize::new(192, 160), Masks::Yes).unwrap();
}

/// A model trained by `engines/training`, from the folder that `MASKCAST_PARITY` names: weights.safetensors, weights.json
/// (facts), image.png and golden.json as `maskcast_training.parity` writes them.
struct Trained {
    dir: std::path::PathBuf,
    facts: Facts,
    picture: Image,
}

#[derive(Deserialize)]
struct Facts {
    classes: Vec<String>,
    anchor_sizes: Vec<f32>,
    canonical_scale: f32,
    representation_size: usize,
    input_width: u32,
    input_height: u32,
}

#[derive(Deserialize)]
struct TrainedGolden {
    boxes_px_x0_y0_x1_y1: Vec<[f32; 4]>,
    scores: Vec<f32>,
    labels: Vec<u32>,
    masks_28x28_probability: Vec<Vec<Vec<f32>>>,
}

impl Trained {
    fn from_environment() -> Trained {
        let dir = std::path::PathBuf::from(std::env::var_os("MASKCAST_PARITY").expect("MASKCAST_PARITY is not set"));
        let picture = image::open(dir.join("image.png")).unwrap().into_rgb8();
        let size = ImageSize::new(picture.width(), picture.height());
        Trained {
            facts: serde_json::from_str(&std::fs::read_to_string(dir.join("weights.json")).unwrap()).unwrap(),
            picture: Image::packed(PixelFormat::Rgb8, size, picture.into_raw()).unwrap(),
            dir,
        }
    }

    fn load(&self, options: &Options) -> MaskRcnn {
        let mut recipe = Recipe::parse(crate::model::recipe::EXAMPLE, &self.dir.join("recipe.toml")).unwrap();
        recipe.input.channels = super::super::recipe::Channels::Rgb;
        (recipe.input.mean, recipe.input.std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        recipe.input.size = ImageSize::new(self.facts.input_width, self.facts.input_height);
        recipe.classes.clone_from(&self.facts.classes);
        recipe.network.stage_planes = [64, 128, 256, 256];
        recipe.network.anchor_sizes_px.copy_from_slice(&self.facts.anchor_sizes);
        recipe.network.canonical_scale_px = self.facts.canonical_scale;
        recipe.network.representation_size = self.facts.representation_size;
        let weights = Weights::read(&self.dir.join("weights.safetensors")).unwrap();
        MaskRcnn::build(recipe, weights, options).unwrap_or_else(|e| panic!("{e}"))
    }
}

#[test]
#[ignore = "needs MASKCAST_PARITY"]
fn a_trained_model_equals_torchvision() {
    let trained = Trained::from_environment();
    let golden = std::fs::read_to_string(trained.dir.join("golden.json")).unwrap();
    let golden: TrainedGolden = serde_json::from_str(&golden).unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let mut net = trained.load(&options(precision));
        let resized = show(&mut net, &trained.picture);
        let source = trained.picture.size;
        let (sx, sy) = (
            source.width as f32 / resized.width as f32,
            source.height as f32 / resized.height as f32,
        );
        let found = net.infer(resized, Masks::Yes).unwrap();
        let masks: Vec<&[f32]> = found.masks.unwrap().probabilities.chunks_exact(784).collect();
        let apart = |got: &Detection, want: &[f32; 4]| {
            let b = got.bounds;
            let got = [b.x0 * sx, b.y0 * sy, b.x1 * sx, b.y1 * sy];
            got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max)
        };
        let (mut worst_box, mut worst_score, mut worst_mask) = (0f32, 0f32, 0f32);
        for (i, want) in golden.boxes_px_x0_y0_x1_y1.iter().enumerate() {
            // In bf16 the order differs: compare with the nearest of the same class.
            let same_class = found
                .detections
                .iter()
                .zip(&masks)
                .filter(|(d, _)| d.class_id + 1 == golden.labels[i]);
            let nearest = same_class.min_by(|(a, _), (b, _)| apart(a, want).total_cmp(&apart(b, want)));
            let (got, mask) = nearest.expect("no detection of the class");
            if golden.scores[i] < 0.5 && precision == Precision::Bf16 {
                continue;
            }
            worst_box = worst_box.max(apart(got, want));
            worst_score = worst_score.max((got.score - golden.scores[i]).abs());
            let wanted = golden.masks_28x28_probability[i].iter().flatten();
            worst_mask = mask
                .iter()
                .zip(wanted)
                .map(|(g, w)| (g - w).abs())
                .fold(worst_mask, f32::max);
        }
        let count = (found.detections.len(), golden.scores.len());
        eprintln!(
            "{precision}: {count:?} detections; worst box {worst_box} px, score {worst_score}, mask {worst_mask}"
        );
        if precision == Precision::F32 {
            assert_eq!(count.0, count.1);
            assert!(worst_box < 0.02 && worst_score < 1e-4 && worst_mask < 1e-3);
        }
    }
}

/// Milliseconds a picture, median of 200:
/// `MASKCAST_PARITY=dir cargo test --release --lib -- --ignored --nocapture infer_speed`.
#[test]
#[ignore = "a measurement; needs MASKCAST_PARITY"]
fn infer_speed() {
    let trained = Trained::from_environment();
    let median = |spent: &mut Vec<Duration>| {
        spent.sort();
        spent[spent.len() / 2].as_secs_f64() * 1e3
    };
    for precision in [Precision::F32, Precision::Bf16] {
        let threshold = std::env::var("SCORE").map_or(0.05, |s| s.parse().unwrap());
        let mut net = trained.load(&Options {
            score_threshold: Some(threshold),
            ..options(precision)
        });
        let resized = show(&mut net, &trained.picture);
        let mut all: [Vec<Duration>; 9] = Default::default();
        let mut count = 0;
        for _ in 0..220 {
            let found = net.infer(resized, Masks::Yes).unwrap();
            count = found.detections.len();
            let s = found.spent;
            let parts = [
                s.trunk,
                s.proposals,
                s.box_pool,
                s.box_head,
                s.detections,
                s.mask_pool,
                s.mask_head,
            ];
            for (list, part) in all.iter_mut().zip(parts.into_iter().chain([s.mask_select, s.total()])) {
                list.push(part);
            }
        }
        let [
            trunk,
            proposals,
            box_pool,
            box_head,
            detections,
            mask_pool,
            mask_head,
            mask_select,
            total,
        ] = all.map(|mut list| median(&mut list));
        eprintln!(
            "{precision} {count} detections, {} proposals: total {total:.2} = trunk {trunk:.2} + proposals {proposals:.2} + \
             box pool {box_pool:.2} + box head {box_head:.2} + detections {detections:.2} + mask pool {mask_pool:.2} + \
             mask head {mask_head:.2} + select {mask_select:.2} ms",
            net.scratch.proposals.len(),
        );
    }
}
