//! A trained model: parity and speed. Both need files that are not in the repository and run only when asked.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{options, show};
use crate::engine::Precision;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;
use crate::instances::Detection;
use crate::model::recipe::{Channels, EXAMPLE, Recipe};
use crate::model::weights::Weights;
use crate::model::{MaskRcnn, Masks, Options, Spent};
use crate::time::{Clocks, SystemClocks};

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

/// The processor time of this process as a monotonic clock: what a part costs, whatever else the machine does.
#[derive(Debug)]
struct ProcessorTime;

impl Clocks for ProcessorTime {
    fn mono_nanos(&self) -> i64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        t.tv_sec * 1_000_000_000 + t.tv_nsec
    }
    fn unix_nanos(&self) -> i64 {
        0
    }
    fn sleep(&self, _: Duration) {}
}

/// Milliseconds a picture, median of 200, on the wall and summed over the processors:
/// `MASKCAST_PARITY=dir SCORE=0.5 cargo test --release --lib -- --ignored --nocapture infer_speed`.
#[test]
#[ignore = "a measurement; needs MASKCAST_PARITY"]
fn infer_speed() {
    let trained = Trained::from_environment();
    let threshold = std::env::var("SCORE").map_or(0.05, |s| s.parse().unwrap());
    let clocks: [(&str, Arc<dyn Clocks>); 2] =
        [("wall", Arc::new(SystemClocks)), ("processor", Arc::new(ProcessorTime))];
    for precision in [Precision::F32, Precision::Bf16] {
        for (what, clocks) in &clocks {
            let mut net = trained.load(&Options {
                score_threshold: Some(threshold),
                clocks: Arc::clone(clocks),
                ..options(precision)
            });
            let resized = show(&mut net, &trained.picture);
            let mut spent = Vec::new();
            let mut count = 0;
            for _ in 0..220 {
                let found = net.infer(resized, Masks::Yes).unwrap();
                count = found.detections.len();
                spent.push(found.spent);
            }
            let median = |part: fn(&Spent) -> Duration| {
                let mut list: Vec<Duration> = spent[20..].iter().map(part).collect();
                list.sort();
                list[list.len() / 2].as_secs_f64() * 1e3
            };
            eprintln!(
                "{precision} {what}: {count} detections, {} proposals: total {:.2} = trunk {:.2} + proposals {:.2} + box pool \
                 {:.2} + box head {:.2} + detections {:.2} + mask pool {:.2} + mask head {:.2} + select {:.2} ms",
                net.scratch.proposals.len(),
                median(Spent::total),
                median(|s| s.trunk),
                median(|s| s.proposals),
                median(|s| s.box_pool),
                median(|s| s.box_head),
                median(|s| s.detections),
                median(|s| s.mask_pool),
                median(|s| s.mask_head),
                median(|s| s.mask_select),
            );
        }
    }
}
