//! A trained model: parity and speed. Both need files that are not in the repository and run only when asked.

use std::time::Duration;

use serde::Deserialize;

use super::{options, show};
use crate::engine::Precision;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::instances::Detection;
use crate::model::recipe::{Channels, EXAMPLE, Recipe};
use crate::model::weights::Weights;
use crate::model::{MaskRcnn, Masks, Options};

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
        let mut recipe = Recipe::parse(EXAMPLE, &self.dir.join("recipe.toml")).unwrap();
        recipe.input.channels = Channels::Rgb;
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
