//! Test support: goldens in `tests/data/ops`, made from torchvision by `tests/oracle/ops_goldens.py`.

use serde_json::Value;

use super::NetworkBox;
use crate::geometry::ImageSize;

pub(crate) fn golden(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/ops")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

pub(crate) fn indices(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

/// A flat list of x0, y0, x1, y1.
pub(crate) fn boxes(value: &Value) -> Vec<NetworkBox> {
    floats(value)
        .chunks_exact(4)
        .map(|b| NetworkBox::new(b[0], b[1], b[2], b[3]))
        .collect()
}

/// [width, height].
pub(crate) fn size(value: &Value) -> ImageSize {
    let sides = indices(value);
    ImageSize::new(sides[0] as u32, sides[1] as u32)
}

#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance,
            "value {i}: {a}, expected {b} within {tolerance}"
        );
    }
}

#[track_caller]
pub(crate) fn assert_boxes(got: &[NetworkBox], expected: &[NetworkBox], tolerance_px: f32) {
    let flat = |boxes: &[NetworkBox]| {
        boxes
            .iter()
            .flat_map(|b| [b.x0, b.y0, b.x1, b.y1])
            .collect::<Vec<f32>>()
    };
    assert_close(&flat(got), &flat(expected), tolerance_px);
}

/// Values in -1..1 from a counter: the same on any machine and in the oracle's `noise`.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let value = |i: u32| {
        let mut x = i
            .wrapping_mul(747_796_405)
            .wrapping_add(seed.wrapping_mul(2_891_336_453))
            .wrapping_add(1);
        x = ((x >> ((x >> 28) + 4)) ^ x).wrapping_mul(277_803_737);
        x = (x >> 22) ^ x;
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count as u32).map(value).collect()
}
