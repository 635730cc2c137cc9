//! Networks of the published sizes against torchvision: `tests/oracle/network_goldens.py` makes the same weights from the
//! same seeds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::golden::{GoldenDetection, noise};
use super::*;
use crate::engine::graph::Array;
use crate::frame::PixelFormat;
use crate::model::checkpoint::{Checkpoint, Tensor};

const BLOCK_PX: usize = 16;
const BIAS: f32 = 0.1;
const EVEN: [&str; 3] = ["layer_blocks", "mask_head", "conv5_mask"];
const UNEVEN: f32 = 0.5;
const BRANCH: f32 = 0.3;

#[derive(Deserialize)]
struct GoldenNetwork {
    parameters: usize,
    /// The norms that end a residual branch.
    branch_end: String,
    scales: BTreeMap<String, f32>,
    biases: BTreeMap<String, Vec<f32>>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    /// w, h
    size: [u32; 2],
    first_picture: usize,
    pictures: Vec<Vec<GoldenDetection>>,
}

fn golden_of(name: &str) -> GoldenNetwork {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/network_goldens.json");
    let mut all: BTreeMap<String, GoldenNetwork> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all.remove(name).unwrap()
}

/// A bundled recipe with other lines, for inputs as large as the pictures.
fn bundled(stem: &str, [w, h]: [u32; 2], edits: &[(&str, &str)]) -> Recipe {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("engines")
        .join(stem)
        .with_extension("toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let (shortest, longest) = (
        format!("shortest_edge_px = {}", w.min(h)),
        format!("longest_edge_px = {}", w.max(h)),
    );
    let common = [
        ("shortest_edge_px = 800", &*shortest),
        ("longest_edge_px = 1333", &longest),
        ("score_threshold = 0.05", "score_threshold = 0"),
        ("detections = 100", "detections = 20"),
    ];
    for (old, new) in common.iter().chain(edits) {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text = text.replace(old, new);
    }
    Recipe::parse(&text, &path).unwrap()
}

impl GoldenNetwork {
    fn values(&self, name: &str, shape: &[usize], is_norm: bool) -> Vec<f32> {
        let count: usize = shape.iter().product();
        let (layer, leaf) = name.rsplit_once('.').unwrap();
        let scaled = |base: f32, scale: f32| noise(name).take(count).map(move |v| base + v * scale);
        match leaf {
            "running_mean" => scaled(0.0, 0.2).collect(),
            "running_var" => scaled(1.0, 0.5).collect(),
            "weight" if is_norm => {
                let branch = if layer.ends_with(&self.branch_end) { BRANCH } else { 1.0 };
                scaled(1.0, 0.2).map(|v| v * branch).collect()
            }
            "weight" => {
                let scale = self.scales[layer];
                if !EVEN.iter().any(|part| name.contains(part)) {
                    return scaled(0.0, scale).collect();
                }
                let taps = shape[2] * shape[3];
                let even = noise(&format!("{name} even")).flat_map(|v| std::iter::repeat_n(v, taps));
                let both = even.zip(noise(name)).take(count);
                both.map(|(even, v)| (even + v * UNEVEN) * scale).collect()
            }
            _ => match self.biases.get(layer) {
                Some(biases) => biases.clone(),
                None => scaled(0.0, BIAS).collect(),
            },
        }
    }

    /// Every tensor the recipe's network asks for.
    fn tensors(&self, recipe: &Recipe) -> BTreeMap<String, Tensor> {
        let mut layers = Layers::take(recipe, Weights::blank()).unwrap();
        layers.described(recipe, Element::F32).unwrap();
        let shapes = layers.weights().taken();
        let tensor = |(name, shape): (&String, &Vec<usize>)| {
            let norm = format!("{}.running_mean", name.rsplit_once('.').unwrap().0);
            let values = self.values(name, shape, shapes.contains_key(&norm));
            let shape = shape.clone();
            (name.clone(), Tensor { shape, values })
        };
        shapes.iter().map(tensor).collect()
    }
}

fn blocks(index: usize, size: ImageSize) -> Image {
    let (w, h) = (size.width as usize, size.height as usize);
    let columns = w.div_ceil(BLOCK_PX);
    let colours: Vec<u8> = noise(&format!("picture {index}"))
        .take(h.div_ceil(BLOCK_PX) * columns * 3)
        .map(|v| ((v + 1.0) * 127.5) as u8)
        .collect();
    let mut bytes = Vec::with_capacity(3 * w * h);
    for y in 0..h {
        for x in 0..w {
            bytes.extend_from_slice(&colours[(y / BLOCK_PX * columns + x / BLOCK_PX) * 3..][..3]);
        }
    }
    Image::packed(PixelFormat::Rgb8, size, bytes).unwrap()
}

#[track_caller]
fn check(name: &str, stem: &str, edits: &[(&str, &str)]) {
    let golden = golden_of(name);
    let mut tensors = None;
    for run in &golden.runs {
        let recipe = bundled(stem, run.size, edits);
        let made = tensors.get_or_insert_with(|| golden.tensors(&recipe));
        let checkpoint = Checkpoint {
            path: name.into(),
            sha256: [0; 32],
            bytes: 0,
            tensors: std::mem::take(made),
        };
        assert_eq!(checkpoint.facts().unwrap().parameters, golden.parameters);
        *made = checkpoint.tensors;
        let array = |(n, t): (&String, &Tensor)| {
            let (shape, values) = (t.shape.clone(), t.values.clone());
            (n.clone(), Array { shape, values })
        };
        let weights = Weights::from_tensors(Path::new(name), made.iter().map(array).collect(), [0; 32]);
        let mut net = network(recipe, weights, Precision::F32);
        let size = ImageSize::new(run.size[0], run.size[1]);
        let fit = net.fit(size).unwrap();
        assert_eq!(fit.resized, size);
        let (mean, std) = net.rgb_mean_std();
        let mut preprocessor = Preprocessor::new(Normalise { mean, std }, net.resampling());
        let input = net.input_mut(fit.network, run.pictures.len()).unwrap();
        let values = 3 * fit.network.area() as usize;
        for (i, input) in input.chunks_exact_mut(values).enumerate() {
            let image = blocks(run.first_picture + i, size);
            preprocessor.run(&image, &fit, input).unwrap();
        }
        net.run().unwrap();
        for (i, wanted) in run.pictures.iter().enumerate() {
            let found = net.inference(i, fit.resized, Masks::Yes).unwrap();
            same_detections(&format!("{name} {size} picture {i}"), &found, wanted);
        }
    }
}

#[track_caller]
fn same_detections(what: &str, found: &Inference<'_>, wanted: &[GoldenDetection]) {
    assert_eq!(found.detections.len(), wanted.len(), "{what}");
    let masks = found.masks.as_ref().unwrap();
    let grids: Vec<&[f32]> = masks.probabilities().chunks_exact(784).collect();
    assert_eq!(grids.len(), wanted.len(), "{what}");
    let (mut worst_box, mut worst_score, mut worst_mask) = (0f32, 0f32, 0f32);
    for (i, want) in wanted.iter().enumerate() {
        let off = |got: &Detection| {
            let gaps = edges(&got.bounds)
                .into_iter()
                .zip(want.bounds)
                .map(|(g, w)| (g - w).abs());
            gaps.fold(0.0, f32::max)
        };
        let at = found
            .detections
            .iter()
            .position(|got| got.class_id == want.class_id && off(got) <= 0.02)
            .unwrap_or_else(|| panic!("{what}: no detection {i}, {:?} {}", want.bounds, want.score));
        // Another place only among equals.
        assert!((wanted[at].score - want.score).abs() < 5e-5, "{what}: {i} came as {at}");
        let got = &found.detections[at];
        near(what, got.score, want.score, 1e-4);
        let mask = grids[at];
        near(what, mask.iter().sum::<f32>() / 784.0, want.mask_mean, 1e-4);
        for (&g, &w) in mask.iter().step_by(4 * 29).zip(&want.mask_diagonal) {
            near(what, g, w, 5e-4);
            worst_mask = worst_mask.max((g - w).abs());
        }
        worst_box = worst_box.max(off(got));
        worst_score = worst_score.max((got.score - want.score).abs());
    }
    println!("{what}: box {worst_box} px, score {worst_score}, mask {worst_mask}");
}

#[test]
fn resnet50_equals_torchvision() {
    assert_eq!(golden_of("resnet50").parameters, 44_401_393);
    check("resnet50", "coco-resnet50", &[]);
}

#[test]
fn resnet50_v2_equals_torchvision() {
    assert_eq!(golden_of("resnet50_v2").parameters, 46_359_409);
    check("resnet50_v2", "coco-resnet50-v2", &[]);
}

#[test]
fn resnet18_equals_torchvision_on_odd_sizes_and_in_a_batch() {
    let edits = [
        ("backbone = \"resnet50\"", "backbone = \"resnet18\""),
        ("batch_norm_eps = 0 ", "batch_norm_eps = 1e-5 "),
    ];
    check("resnet18", "coco-resnet50", &edits);
}
