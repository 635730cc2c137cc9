//! What a network must survive: nothing found, numbers that are none, several pictures at once.

use super::golden::{picture, recipe, weights};
use super::*;

/// The weights with every bias of one layer, and nothing else of it.
fn with_constant(layer: &'static str, value: f32) -> Weights {
    weights(|name, data| {
        if name == format!("{layer}.weight") {
            data.fill(0.0);
        } else if name == format!("{layer}.bias") {
            data.fill(value);
        }
    })
}

#[test]
fn nothing_above_the_threshold_is_no_detection_and_no_mask() {
    let even = with_constant("roi_heads.box_predictor.cls_score", 0.0); // four classes of 0.25
    let mut net = network(recipe(), even, Precision::F32);
    let resized = show(&mut net, &picture());
    for masks in [Masks::Yes, Masks::No] {
        let found = net.infer(resized, masks).unwrap();
        assert!(found.detections.is_empty());
        assert!(found.masks.is_none_or(|m| m.probabilities().is_empty()));
    }
    assert!(!net.scratch.proposals.is_empty());
}

#[test]
fn a_picture_without_proposals_has_no_detections() {
    // Every anchor moved far beyond the picture, where clipping leaves it no area.
    let away = with_constant("rpn.head.bbox_pred", 1e6);
    let mut net = network(recipe(), away, Precision::F32);
    let resized = show(&mut net, &picture());
    let found = net.infer(resized, Masks::Yes).unwrap();
    assert!(found.detections.is_empty());
    assert!(net.scratch.proposals.is_empty());
}

#[test]
fn numbers_that_are_none_become_no_detections() {
    // 3e38 * 64 inputs: infinities, and where signs differ NaN.
    for layer in [
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.box_predictor.cls_score",
        "rpn.head.bbox_pred",
    ] {
        let broken = weights(|name, data| {
            if name == format!("{layer}.weight") {
                data.iter_mut().for_each(|v| *v = 3e38 * v.signum());
            }
        });
        let mut net = network(recipe(), broken, Precision::F32);
        let resized = show(&mut net, &picture());
        let found = net.infer(resized, Masks::Yes).unwrap();
        for d in found.detections {
            assert!(d.score.is_finite(), "{layer}: {d:?}");
            assert!(edges(&d.bounds).iter().all(|v| v.is_finite()), "{layer}: {d:?}");
        }
        let count = found.detections.len();
        assert!(found.masks.is_none_or(|m| m.probabilities().len() == 784 * count));
    }
}

#[test]
fn a_picture_of_no_size_is_refused() {
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    assert!(net.fit(ImageSize::new(0, 480)).is_none() && net.fit(ImageSize::new(640, 0)).is_none());
    for size in [ImageSize::new(0, 0), ImageSize::new(0, 5), ImageSize::new(5, 0)] {
        let text = net.infer(size, Masks::No).map(|_| ()).unwrap_err().to_string();
        assert_eq!(text, format!("picture of {size} in a network input of 192x160"));
    }
}

#[test]
fn three_pictures_at_once_are_three_pictures() {
    let mut net = network(recipe(), weights(|_, _| {}), Precision::F32);
    let resized = show(&mut net, &picture());
    let one = net.input_mut(ImageSize::new(192, 160), 1).unwrap().to_vec();
    // The picture, its negative, and it at half the contrast.
    let turned = |factor: f32| one.iter().map(|v| v * factor).collect::<Vec<f32>>();
    let inputs = [one.clone(), turned(-1.0), turned(0.5)];
    let mut alone = Vec::new();
    for input in &inputs {
        net.input_mut(ImageSize::new(192, 160), 1)
            .unwrap()
            .copy_from_slice(input);
        let found = net.infer(resized, Masks::Yes).unwrap();
        alone.push((found.detections.to_vec(), found.masks.unwrap().probabilities().to_vec()));
    }
    assert!(alone.iter().all(|(d, _)| !d.is_empty()) && alone[0].0 != alone[1].0);
    let batch = net.input_mut(ImageSize::new(192, 160), 3).unwrap();
    batch.copy_from_slice(&inputs.concat());
    net.run().unwrap();
    for (i, (detections, masks)) in alone.iter().enumerate() {
        let found = net.inference(i, resized, Masks::Yes).unwrap();
        assert_eq!(found.detections.len(), detections.len(), "picture {i}");
        for (got, want) in found.detections.iter().zip(detections) {
            assert_eq!(got.class_id, want.class_id);
            near("score", got.score, want.score, 1e-6);
            let pairs = edges(&got.bounds).into_iter().zip(edges(&want.bounds));
            pairs.for_each(|(g, w)| near("box", g, w, 1e-4)); // px of 192
        }
        let pairs = found.masks.unwrap().probabilities().iter().zip(masks);
        pairs.for_each(|(&g, &w)| near("mask", g, w, 1e-6));
    }
    let text = net
        .inference(3, resized, Masks::No)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert_eq!(text, "picture 3 of a batch of 3");
}
