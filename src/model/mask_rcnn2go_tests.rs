//! The three dense parts against `tests/oracle/maskrcnn2go.py`, on noise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use super::*;
use crate::engine::Precision;
use crate::engine::graph::Dim;
use crate::engine::openvino::{OpenVino, Settings};
use crate::model::checkpoint::{Checkpoint, Format};

const GOLDEN: &str = include_str!("../../tests/data/mask_rcnn2go_golden.json");
/// Of the largest value of an output.
const TOLERANCE: f32 = 1e-3;

/// Every `step`-th value of one output.
#[derive(Deserialize)]
struct Output {
    shape: Vec<usize>,
    largest: f32,
    step: usize,
    values: Vec<f32>,
}

/// As the oracle's `noise`.
fn noise(len: usize, seed: u64, low: f64, high: f64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (low + (high - low) * ((state >> 40) as f64 / 16_777_216.0)) as f32
    };
    (0..len).map(|_| next()).collect()
}

/// The published weights; `None`, said once, where they are not on this machine.
fn weights() -> Option<Weights> {
    let data = std::env::var_os("MASKCAST_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let path = data.join("maskrcnn2go/model_int8_model_init.pb");
    if !path.exists() {
        eprintln!("not run: no MaskRCNN2Go at {}", path.display());
        return None;
    }
    let checkpoint = Checkpoint::read(&path, Format::MaskRcnn2Go).unwrap();
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = checkpoint
        .tensors
        .into_iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, tensor.shape, bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let file = safetensors::serialize(views, None).unwrap();
    Some(Weights::from_safetensors(&file, &path).unwrap())
}

fn run(graph: &Graph, input: &[f32]) -> Vec<Vec<f32>> {
    let settings = Settings {
        precision: Precision::F32,
        threads: Some(2),
    };
    let mut openvino = OpenVino::open(settings).unwrap_or_else(|e| panic!("{e}"));
    let mut program = openvino.compile(graph, &graph.to_onnx()).unwrap();
    program.input_mut(0).unwrap().copy_from_slice(input);
    program.run().unwrap();
    (0..graph.outputs().len())
        .map(|i| program.output(i).unwrap().to_vec())
        .collect()
}

/// Runs `graph` on `input` and compares its outputs, by name.
#[track_caller]
fn assert_golden(graph: &Graph, input: &[f32]) {
    let golden: BTreeMap<String, Output> = serde_json::from_str(GOLDEN).unwrap();
    for (port, got) in graph.outputs().zip(run(graph, input)) {
        let want = &golden[&port.name];
        let shape: Vec<Dim> = want.shape.iter().map(|&d| Dim::Fixed(d)).collect();
        assert_eq!(port.shape, shape, "{}", port.name);
        assert!(want.values.len() > 30, "{} is hardly looked at", port.name);
        for (got, (index, want_value)) in got.iter().step_by(want.step).zip(want.values.iter().enumerate()) {
            let off = (got - want_value).abs() / want.largest;
            assert!(
                off <= TOLERANCE,
                "{}[{}]: expected {want_value}, got {got}",
                port.name,
                index * want.step
            );
        }
        let largest = got.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!((largest / want.largest - 1.0).abs() <= TOLERANCE, "{}", port.name);
    }
}

#[test]
fn dense_parts_agree_with_the_published_net() {
    let Some(mut weights) = weights() else { return };
    let mut g = Graph::new("trunk");
    let image = g.input("image", &[1, 3, 96, 128].map(Dim::Fixed)).unwrap();
    let trunk = trunk_layers(&mut g, &mut weights, image).unwrap();
    g.output("features", trunk.features).unwrap();
    g.output("objectness", trunk.objectness).unwrap();
    g.output("deltas", trunk.deltas).unwrap();
    assert_golden(&g, &noise(3 * 96 * 128, 1, 0.0, 255.0));

    let heads = HeadWeights::take(&mut weights).unwrap();
    let rois = noise(2 * FEATURES * ROI_SIDE * ROI_SIDE, 2, -1.0, 1.0);
    let shape = [2, FEATURES, ROI_SIDE, ROI_SIDE].map(Dim::Fixed);
    let mut g = Graph::new("box_head");
    let input = g.input("rois", &shape).unwrap();
    let (logits, deltas) = box_head_layers(&mut g, &heads, input).unwrap();
    g.output("box_logits", logits).unwrap();
    g.output("box_deltas", deltas).unwrap();
    assert_golden(&g, &rois);

    let mut g = Graph::new("mask_head");
    let input = g.input("rois", &shape).unwrap();
    let logits = mask_head_layers(&mut g, &heads, input).unwrap();
    assert_eq!(g.shape(logits), [2, CLASSES, MASK_SIDE, MASK_SIDE].map(Dim::Fixed));
    g.output("mask_logits", logits).unwrap();
    assert_golden(&g, &rois);

    let anchors = take_anchors(&mut weights).unwrap();
    // Each is centred in its cell of 16 px, as whole pixels count.
    for [x0, y0, x1, y1] in anchors {
        assert!((x0 + x1 - 16.0).abs() < 1e-3 && (y0 + y1 - 16.0).abs() < 1e-3);
    }
    assert_eq!(
        anchors[0].map(|v| (v * 100.0).round()),
        [-1153.0, -837.0, 2753.0, 2437.0]
    );
    weights.finish().unwrap();
}

#[test]
fn only_a_diagonal_last_layer_is_taken_apart() {
    let mut dense = Array::new(vec![3, 3, 1, 2], vec![0.0; 18]).unwrap();
    for class in 0..3 {
        dense.values[8 * class] = class as f32 + 1.0;
        dense.values[8 * class + 1] = -1.0;
    }
    let own = own_channel(&dense).unwrap();
    assert_eq!(own.shape, [3, 1, 1, 2]);
    assert_eq!(own.values, [1.0, -1.0, 2.0, -1.0, 3.0, -1.0]);
    dense.values[2 * 5 + 1] = 0.5; // class 1 to class 2
    let refused = own_channel(&dense).unwrap_err().to_string();
    assert_eq!(
        refused,
        "layer \"mask_head.up\": expected no weight between two classes, got one from class 1 to class 2"
    );
}
