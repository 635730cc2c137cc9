//! Hand-checkable masks and the conformance file.

use super::super::rle::tests::{conformance, mask_of, number};
use super::*;

fn soft(side: u32, roi: [i32; 4], values: &[u8]) -> SoftMask {
    let [x0, y0, x1, y1] = roi;
    SoftMask {
        roi: LatticeBox { x0, y0, x1, y1 },
        side,
        values: values.to_vec(),
    }
}

#[test]
fn one_cell_fades_to_half_halfway_to_the_rim() {
    // A grid of one full cell over pixels 2..6: along a line the value falls from 1 at the centre (4.0) to 0 one cell
    // (4 px) away: at the pixel centres 2.5, 3.5, 4.5, 5.5 it is 5/8, 7/8, 7/8, 5/8. Corners: 25/64 < 1/2.
    let mask = paste(&soft(1, [512, 512, 1536, 1536], &[255]), ImageSize::new(16, 16)).unwrap();
    assert_eq!((mask.x, mask.y, mask.width, mask.height), (2, 2, 4, 4));
    let rows = [0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0];
    assert_eq!(mask.to_dense(), rows);
}

#[test]
fn only_pixels_of_the_frame_are_set() {
    let over = soft(1, [-1024, -1024, 1024, 1024], &[255]);
    // Centre at the frame's corner, 8 px a cell: pixel (j, i) is (1 - (j + .5) / 8)(1 - (i + .5) / 8) >= 1/2.
    let mask = paste(&over, ImageSize::new(2, 100)).unwrap();
    assert_eq!((mask.x, mask.y, mask.width, mask.height), (0, 0, 2, 4));
    assert_eq!(mask.to_dense(), [1, 1, 1, 1, 1, 1, 1, 0]);
}

#[test]
fn masks_that_are_none_are_refused_and_paste_nothing() {
    let frame = ImageSize::new(16, 16);
    for (bad, words) in [
        (soft(0, [0, 0, 256, 256], &[]), "side of 0"),
        (soft(257, [0, 0, 256, 256], &[0; 257 * 257]), "side of 257"),
        (soft(2, [0, 0, 256, 256], &[255; 3]), "3 values: expected 4"),
        (soft(1, [256, 0, 256, 256], &[255]), "empty"),
        (soft(1, [0, 300, 256, 256], &[255]), "empty"),
        (soft(1, [i32::MIN, 0, i32::MAX, 256], &[255]), "beyond"),
    ] {
        let error = bad.check().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(paste(&bad, frame), None);
    }
    let largest = soft(1, [-REACH, -REACH, REACH, REACH], &[255]);
    assert_eq!(largest.check(), Ok(()));
    assert_eq!(paste(&largest, frame).map(|m| m.area()), Some(256));
}

#[test]
fn conformance_masks_are_pasted_bit_for_bit() {
    let mut pasted = 0;
    for case in conformance("masks.jsonl") {
        let Some(values_hex) = case["values_hex"].as_str() else {
            continue;
        };
        let byte = |i: usize| u8::from_str_radix(&values_hex[i..i + 2], 16).unwrap();
        let values: Vec<u8> = (0..values_hex.len()).step_by(2).map(byte).collect();
        let roi: Vec<i32> = case["roi_q8"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_i64().unwrap() as i32)
            .collect();
        let frame = ImageSize::new(
            case["frame"][0].as_u64().unwrap() as u32,
            case["frame"][1].as_u64().unwrap() as u32,
        );
        let mask = paste(
            &soft(number(&case, "side"), [roi[0], roi[1], roi[2], roi[3]], &values),
            frame,
        );
        let expected = (!case["mask"].is_null()).then(|| mask_of(&case["mask"]));
        assert_eq!(mask, expected, "{}", case["name"]);
        pasted += 1;
    }
    assert!(pasted >= 11, "{pasted}");
}
