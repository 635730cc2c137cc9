use super::super::super::BoxWidth;
use super::super::super::box_deltas::BoxCoder;
use super::super::cpu;
use super::*;
use crate::ops::goldens::{assert_boxes, assert_close, boxes, floats, golden, indices, noise, size};
use proptest::prelude::*;

fn settings() -> HeadSettings {
    HeadSettings::torchvision()
}

#[test]
fn two_proposals_of_one_object_give_one_detection_a_class() {
    let proposals = [
        NetworkBox::new(10.0, 10.0, 50.0, 50.0),
        NetworkBox::new(11.0, 10.0, 50.0, 50.0),
    ];
    // Softmax of (0, ln 3, 0): 1/5, 3/5, 1/5.
    let logits = [0.0, 3f32.ln(), 0.0, 0.0, 3f32.ln() - 1.0, -90.0];
    let mut found = vec![];
    let mut op = Detections::new(settings());
    op.run(&logits, &[0.0; 24], &proposals, ImageSize::new(48, 100), &mut found)
        .unwrap();
    let got: Vec<_> = found
        .iter()
        .map(|d| (d.class_id, (d.score * 100.0).round(), d.bounds))
        .collect();
    let clipped = NetworkBox::new(10.0, 10.0, 48.0, 50.0);
    assert_eq!(got, [(0, 60.0, clipped), (1, 20.0, clipped)]);
}

#[test]
fn scores_at_the_threshold_or_not_a_number_are_dropped() {
    let proposals = [NetworkBox::new(10.0, 10.0, 50.0, 50.0); 2];
    let mut op = Detections::new(HeadSettings {
        score_threshold: 0.5,
        ..settings()
    });
    let mut found = vec![];
    op.run(
        &[0.0, 0.0, 0.0, f32::NAN],
        &[0.0; 16],
        &proposals,
        ImageSize::new(99, 99),
        &mut found,
    )
    .unwrap();
    assert_eq!(found, []);
}

#[test]
fn no_proposals_give_none_and_wrong_sizes_are_named() {
    let (mut op, mut found) = (Detections::new(settings()), vec![]);
    let picture = ImageSize::new(99, 99);
    assert_eq!(op.run(&[], &[], &[], picture, &mut found), Ok(()));
    let one = [NetworkBox::new(0.0, 0.0, 9.0, 9.0)];
    let error = op
        .run(&[0.0; 3], &[0.0; 8], &one, picture, &mut found)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "8 box deltas: expected 12 for 1 proposals and 3 classes");
    for logits in [0, 1] {
        assert!(op.run(&[0.0; 1][..logits], &[], &one, picture, &mut found).is_err());
    }
    assert!(
        op.run(&[0.0; 3], &[0.0; 12], &one.repeat(2), picture, &mut found)
            .is_err()
    );
}

#[test]
fn as_torchvision() {
    let g = golden("detections.json");
    let mut op = Detections::new(HeadSettings {
        score_threshold: g["score_threshold"].as_f64().unwrap() as f32,
        iou_threshold: g["iou_threshold"].as_f64().unwrap(),
        max_detections: g["max_detections"].as_u64().unwrap() as usize,
        ..settings()
    });
    let mut found = vec![];
    let (logits, deltas) = (floats(&g["logits"]), floats(&g["deltas"]));
    op.run(
        &logits,
        &deltas,
        &boxes(&g["proposals"]),
        size(&g["picture"]),
        &mut found,
    )
    .unwrap();
    let labels: Vec<usize> = found.iter().map(|d| d.class_id as usize + 1).collect();
    assert_eq!(labels, indices(&g["labels"]));
    assert_close(
        &found.iter().map(|d| d.score).collect::<Vec<_>>(),
        &floats(&g["scores"]),
        1e-6,
    );
    assert_boxes(
        &found.iter().map(|d| d.bounds).collect::<Vec<_>>(),
        &boxes(&g["boxes"]),
        5e-4,
    );
}

#[test]
fn flat_boxes_stay_where_no_side_is_asked_for() {
    let beyond = [NetworkBox::new(60.0, 10.0, 90.0, 50.0)];
    let found = |min_size_px: f32| {
        let mut found = vec![];
        let settings = HeadSettings {
            min_size_px,
            ..settings()
        };
        let mut op = Detections::new(settings);
        op.run(&[0.0, 9.0], &[0.0; 8], &beyond, ImageSize::new(50, 50), &mut found)
            .unwrap();
        found.iter().map(|d| d.bounds).collect::<Vec<_>>()
    };
    assert_eq!(found(1e-2), []);
    assert_eq!(found(f32::NEG_INFINITY), [NetworkBox::new(50.0, 10.0, 50.0, 50.0)]);
}

#[test]
fn a_threshold_of_zero_takes_every_class() {
    // 300 proposals far apart, 41 classes: none suppresses another.
    let proposals: Vec<NetworkBox> = (0..300)
        .map(|i| NetworkBox::new(10.0 * i as f32, 0.0, 10.0 * i as f32 + 8.0, 8.0))
        .collect();
    let logits = noise(300 * 41, 2);
    let mut op = Detections::new(HeadSettings {
        score_threshold: 0.0,
        max_detections: usize::MAX,
        ..settings()
    });
    let mut found = vec![];
    op.run(
        &logits,
        &vec![0.0; 4 * logits.len()],
        &proposals,
        ImageSize::new(4000, 10),
        &mut found,
    )
    .unwrap();
    assert_eq!(found.len(), 300 * 40);
    assert!(found.is_sorted_by(|a, b| a.score >= b.score));
}

fn values() -> impl Strategy<Value = f32> {
    prop_oneof![20 => -4.0f32..4.0, 4 => (-2i8..3).prop_map(f32::from), 1 => any::<u32>().prop_map(f32::from_bits)]
}

proptest! {
    #[test]
    fn fast_equals_plain(
        rows in 0usize..150, seed in any::<u32>(), odd in proptest::collection::vec((any::<u16>(), values()), 0..20),
        threshold in prop_oneof![Just(0.0f32), Just(0.05), Just(0.5)], inclusive in any::<bool>(),
        least in prop_oneof![Just(1e-2f32), Just(f32::NEG_INFINITY)], most in 0usize..200,
    ) {
        let classes = 5;
        let mut logits: Vec<f32> = noise(rows * classes, seed).iter().map(|v| 3.0 * v).collect();
        let mut deltas = noise(4 * rows * classes, seed ^ 1);
        for &(at, value) in &odd {
            let (l, d) = (logits.len(), deltas.len());
            if l > 0 {
                logits[at as usize % l] = value;
                deltas[at as usize % d] = value;
            }
        }
        let proposals: Vec<NetworkBox> = noise(4 * rows, 7)
            .chunks_exact(4)
            .map(|r| NetworkBox::new(40.0 * r[0], 40.0 * r[1], 60.0 + 20.0 * r[2], 60.0 + 20.0 * r[3]))
            .collect();
        let settings = HeadSettings {
            coder: BoxCoder {
                width: if inclusive { BoxWidth::Inclusive } else { BoxWidth::Continuous },
                ..BoxCoder::HEADS
            },
            score_threshold: threshold,
            min_size_px: least,
            max_detections: most,
            ..settings()
        };
        let picture = ImageSize::new(64, 48);
        let expected = cpu::detections(&settings, &logits, &deltas, &proposals, picture);
        let mut op = Detections::new(settings);
        let mut found = vec![];
        for _ in 0..2 { // the second time over used memory
            op.run(&logits, &deltas, &proposals, picture, &mut found).unwrap();
            prop_assert_eq!(&found, &expected);
        }
    }
}
