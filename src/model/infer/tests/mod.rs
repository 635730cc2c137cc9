//! The whole network against torchvision. OpenVINO must be installed; the error says how.

mod edge_cases;
pub(crate) mod golden;
mod networks;

use std::sync::Arc;

use golden::{golden, picture, recipe, weights};

use super::*;
use crate::frame::Image;
use crate::preprocess::{Normalise, Preprocessor};
use crate::time::SystemClocks;

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

/// Puts `image` into the network's input.
fn show(net: &mut MaskRcnn, image: &Image) -> ImageSize {
    let (mean, std) = net.rgb_mean_std();
    let fit = net.fit(image.size).unwrap();
    let mut preprocessor = Preprocessor::new(Normalise { mean, std }, net.resampling());
    preprocessor
        .run(image, &fit, net.input_mut(fit.network, 1).unwrap())
        .unwrap();
    fit.resized
}

fn pyramid(recipe: &mut Recipe) -> &mut crate::model::Pyramid {
    match &mut recipe.network {
        crate::model::Network::Pyramid(pyramid) => pyramid,
        other => panic!("{other:?}"),
    }
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
        let got = net.trunks.current().unwrap().program.output::<f32>(level).unwrap();
        let mean = got.iter().map(|&v| f64::from(v)).sum::<f64>() / got.len() as f64;
        let variance = got.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / (got.len() - 1) as f64;
        assert!(
            (mean - want.mean).abs() < 1e-4 && (variance.sqrt() - want.std).abs() < 1e-4,
            "P{}",
            level + 2
        );
        // The first values of channel 0; here channels come last.
        got.iter()
            .step_by(golden::WIDTH)
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
        (masks.side, masks.probabilities().len()),
        (28, 784 * found.detections.len())
    );
    let pairs = found.detections.iter().zip(masks.probabilities().chunks_exact(784));
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
    let text = refused(|r| pyramid(r).fpn_width = 64);
    assert!(
        text.ends_with("tensor \"roi_heads.box_head.fc6.weight\": expected shape [64, 3136], got [64, 1568]"),
        "{text}"
    );
    let text = refused(|r| pyramid(r).backbone = super::super::recipe::Depth::ResNet34);
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
fn an_engine_is_loaded_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = golden::write_engine(dir.path());
    let load = || MaskRcnn::load(&path, &options(Precision::F32)).map(|net| net.identity().clone());
    let in_memory = network(recipe(), weights(|_, _| {}), Precision::F32);
    assert_eq!(&load().unwrap_or_else(|e| panic!("{e}")), in_memory.identity());
    let file = dir.path().join("golden.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(
        text.contains("golden.safetensors: expected the file with SHA-256 "),
        "{text}"
    );
    std::fs::remove_file(&file).unwrap();
    let text = load().unwrap_err().to_string();
    assert!(text.contains("golden.safetensors: No such file"), "{text}");
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
    assert!(text.contains("graph box_head\n  in  rois [r, 7, 7, 32]\n"), "{text}");
    assert!(
        text.contains("  out features.p2 [1, 40, 48, 32]\n") && text.contains("  out logits [r, 4, 28, 28]\n"),
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
    net.input_mut(ImageSize::new(192, 160), 1).unwrap().fill(0.0);
    net.infer(ImageSize::new(192, 160), Masks::Yes).unwrap();
}
