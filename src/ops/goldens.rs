//! Test support: goldens in `tests/data/ops`, made from torchvision by `tests/oracle/ops_goldens.py`.

use serde_json::Value;

use super::NetworkBox;
pub(crate) use super::bench::noise;
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
