use super::*;
use crate::instances::{InstanceMask, MaskRuns, SoftMask};
use crate::time::CaptureTimeSource;
use crate::wire::decode::{self, decode_result};
use proptest::prelude::*;

const FRAME: ImageSize = ImageSize::new(640, 480);
const SESSION: SessionId = SessionId::from_bytes([7; 16]);

fn camera() -> CameraId {
    CameraId::new("front").unwrap()
}

fn capture() -> CaptureTime {
    CaptureTime {
        unix_nanos: 1_790_000_000_000_000_000,
        mono_nanos: 1_000_000,
        uncertainty_nanos: 2_000,
        source: CaptureTimeSource::Simulated,
    }
}

fn at(unix_nanos: i64, mono_nanos: i64) -> impl FnOnce() -> Published {
    move || Published { unix_nanos, mono_nanos }
}

pub(super) fn parts<'a>(camera: &'a CameraId, outcome: OutcomeParts<'a>) -> FrameParts<'a> {
    FrameParts {
        camera,
        session_id: SESSION,
        result_number: 9,
        frame_number: 12,
        pts: Some(Pts { nanos: 33 }),
        capture_time: Some(capture()),
        clock_state: v1::ClockState::Unspecified,
        size: Some(FRAME),
        outcome,
        marks: Marks {
            arrival: 1_000_100,
            decoded: 1_000_300,
            submitted: 1_000_600,
            preprocessed: 1_001_000,
            inferred: 1_001_500,
            instances: 1_002_100,
        },
        valid_for_nanos: 300_000_000,
        engine_id: Some([3; 16]),
        label_map_id: 77,
        degraded: &[],
    }
}

/// A box with a mask of `rows` ('#' = set) whose crop starts at (x, y).
fn masked(class_id: u32, score: f32, x: u32, y: u32, rows: &[&str]) -> Instance {
    let (w, h) = (rows[0].len() as u32, rows.len() as u32);
    let dense: Vec<u8> = rows
        .iter()
        .flat_map(|r| r.bytes().map(|b| u8::from(b == b'#')))
        .collect();
    let corner = |v: u32| v as i32 * 256;
    let bounds = LatticeBox {
        x0: corner(x),
        y0: corner(y),
        x1: corner(x + w),
        y1: corner(y + h),
    };
    Instance {
        class_id,
        score,
        bounds,
        mask: Some(InstanceMask {
            soft: Some(SoftMask {
                roi: bounds,
                side: 28,
                values: vec![255; 784],
            }),
            runs: MaskRuns::from_dense(x, y, w, h, &dense),
        }),
    }
}

fn answer_of(instances: &[Instance]) -> OutcomeParts<'_> {
    OutcomeParts::Answer {
        instances,
        score_threshold: 0.25,
    }
}

fn instances_of(decoded: &decode::Decoded) -> &[decode::SeenInstance] {
    match &decoded.outcome {
        decode::Outcome::Answer { instances, .. } => instances,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plus_shaped_mask_comes_back_with_its_measurements() {
    let camera = camera();
    let plus = [masked(2, 0.75, 10, 20, &[".#.", "###", ".#."])];
    let encoded = encode_result(
        &parts(&camera, answer_of(&plus)),
        Form::Rle,
        &Limits::default(),
        at(50, 1_002_500),
    );
    let seen = decode_result(&encoded.bytes).unwrap();
    assert_eq!(
        (seen.form, seen.label_map_id, seen.engine_id),
        (Form::Rle, 77, Some([3; 16]))
    );
    assert_eq!(
        (
            seen.header.result_number,
            seen.header.frame_number,
            seen.header.pts_nanos
        ),
        (9, 12, 33)
    );
    assert_eq!(seen.header.optical_frame, "front_optical_frame");
    assert_eq!(seen.header.capture_time_source, v1::CaptureTimeSource::Simulated);
    assert_eq!(seen.degraded, []);
    let [one] = instances_of(&seen) else {
        panic!("one instance")
    };
    assert_eq!((one.index, one.class_id, one.score), (1, 2, 0.75));
    assert_eq!(
        (one.area_px, one.centroid_px, one.contact_px),
        (5, (11.5, 21.5), (11.5, 23.0))
    );
    assert_eq!(one.mask, plus[0].mask.as_ref().unwrap().runs);
    assert_eq!(one.measured_from, v1::MeasuredFrom::Mask);
}

#[test]
fn boxes_are_measured_on_boxes_though_masks_exist() {
    let camera = camera();
    let with = [masked(2, 0.75, 10, 20, &[".#.", "###", ".#."])];
    let mut without = with.to_vec();
    without[0].mask = None;
    let encode = |i: &[Instance]| {
        encode_result(
            &parts(&camera, answer_of(i)),
            Form::Boxes,
            &Limits::default(),
            at(50, 1_002_500),
        )
    };
    assert_eq!(encode(&with).bytes, encode(&without).bytes);
    let seen = decode_result(&encode(&with).bytes).unwrap();
    let [one] = instances_of(&seen) else {
        panic!("one instance")
    };
    assert_eq!(
        (one.area_px, one.centroid_px, one.contact_px),
        (0, (11.5, 21.5), (11.5, 23.0))
    );
    assert_eq!((one.mask.clone(), one.measured_from), (None, v1::MeasuredFrom::Box));
    assert_eq!(seen.degraded, []);
}

#[test]
fn an_empty_mask_is_no_mask_and_a_skipped_one_is_announced() {
    let camera = camera();
    let mut both = [masked(0, 0.9, 10, 20, &["#"]), masked(0, 0.8, 30, 20, &["#"])];
    both[0].mask.as_mut().unwrap().runs = None;
    let encode = |i: &[Instance]| {
        let bytes = encode_result(
            &parts(&camera, answer_of(i)),
            Form::Rle,
            &Limits::default(),
            at(50, 1_002_500),
        )
        .bytes;
        decode_result(&bytes).unwrap()
    };
    let seen = encode(&both);
    assert_eq!(instances_of(&seen)[0].measured_from, v1::MeasuredFrom::Box);
    assert_eq!(seen.degraded, []);
    both[0].mask = None;
    assert_eq!(encode(&both).degraded, [v1::Degradation::MasksSkipped]);
}

#[test]
fn instances_are_ordered_cut_and_thresholded() {
    let camera = camera();
    let all = [
        masked(1, 0.5, 40, 0, &["#"]),
        masked(0, 0.9, 10, 0, &["#"]),
        masked(1, 0.5, 20, 0, &["#"]),
        masked(0, 0.5, 30, 0, &["#"]),
        masked(0, 0.2, 50, 0, &["#"]),
        masked(0, f32::NAN, 60, 0, &["#"]),
    ];
    let seen = |limits: &Limits| {
        let encoded = encode_result(&parts(&camera, answer_of(&all)), Form::Rle, limits, at(50, 1_002_500));
        decode_result(&encoded.bytes).unwrap()
    };
    let order = |d: &decode::Decoded| {
        instances_of(d)
            .iter()
            .map(|i| (i.index, i.bounds.x0 / 256))
            .collect::<Vec<_>>()
    };
    let whole = seen(&Limits::default());
    assert_eq!(order(&whole), [(1, 10), (2, 30), (3, 20), (4, 40)]);
    let strict = seen(&Limits {
        score_threshold: 0.6,
        ..Limits::default()
    });
    assert_eq!(order(&strict), [(1, 10)]);
    let cut = seen(&Limits {
        max_instances: 2,
        ..Limits::default()
    });
    assert_eq!(
        (order(&cut), cut.degraded),
        (vec![(1, 10), (2, 30)], vec![v1::Degradation::InstancesTruncated])
    );
}

#[test]
fn tombstones_have_no_instances_and_short_details() {
    let camera = camera();
    let long = "é".repeat(300);
    let mut it = parts(
        &camera,
        OutcomeParts::Tombstone {
            reason: v1::TombstoneReason::SourceStalled,
            detail: &long,
            stalled_for_nanos: 5,
        },
    );
    (it.frame_number, it.capture_time, it.size, it.engine_id) = (0, None, None, None);
    let encoded = encode_result(&it, Form::Boxes, &Limits::default(), at(50, 60));
    let seen = decode_result(&encoded.bytes).unwrap();
    assert_eq!(seen.stage_times, None);
    assert_eq!(
        seen.outcome,
        decode::Outcome::Tombstone {
            reason: v1::TombstoneReason::SourceStalled,
            detail: "é".repeat(100),
            stalled_for_nanos: 5,
        }
    );
}

#[test]
fn stage_times_are_contiguous() {
    let marks = Marks {
        arrival: 110,
        decoded: 130,
        submitted: 160,
        preprocessed: 200,
        inferred: 250,
        instances: 310,
    };
    let t = stage_times(100, &marks, 380);
    assert_eq!(
        (
            t.capture_to_arrival_nanos,
            t.arrival_to_decoded_nanos,
            t.decoded_to_submitted_nanos,
            t.submitted_to_preprocessed_nanos
        ),
        (10, 20, 30, 40)
    );
    assert_eq!(
        (
            t.preprocessed_to_inferred_nanos,
            t.inferred_to_instances_nanos,
            t.instances_to_published_nanos,
            t.capture_to_published_nanos
        ),
        (50, 60, 70, 280)
    );
    // Dropped before inference: what did not run takes nothing.
    let dropped = stage_times(
        100,
        &Marks {
            arrival: 110,
            decoded: 130,
            ..Marks::default()
        },
        380,
    );
    assert_eq!(
        (dropped.decoded_to_submitted_nanos, dropped.instances_to_published_nanos),
        (0, 250)
    );
    // A capture time in the future of everything.
    assert_eq!(stage_times(1000, &marks, 380).capture_to_published_nanos, 0);
}

/// Masks of noise: nearly as long as their pixels are many.
fn noisy(count: usize, side: u32) -> Vec<Instance> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut bit = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::from(state & 1 == 1)
    };
    (0..count)
        .map(|i| {
            let mut one = masked(0, 1.0 - i as f32 / 10_000.0, 0, 0, &["#"]);
            let dense: Vec<u8> = (0..side * side).map(|_| bit()).collect();
            one.bounds.x1 = side as i32 * 256;
            one.bounds.y1 = side as i32 * 256;
            one.mask.as_mut().unwrap().runs = MaskRuns::from_dense(0, 0, side, side, &dense);
            one
        })
        .collect()
}

#[test]
fn large_messages_lose_the_masks_of_the_lowest_scores() {
    let camera = camera();
    let many = noisy(100, 100);
    let encoded = encode_result(
        &parts(&camera, answer_of(&many)),
        Form::Rle,
        &Limits::default(),
        at(50, 1_002_500),
    );
    assert!(encoded.bytes.len() <= MESSAGE_LIMIT_BYTES, "{}", encoded.bytes.len());
    assert!(
        encoded.bytes.len() > MESSAGE_LIMIT_BYTES - 8_000,
        "no more is dropped than needed: {}",
        encoded.bytes.len()
    );
    let seen = decode_result(&encoded.bytes).unwrap();
    assert_eq!(seen.degraded, [v1::Degradation::MasksDroppedForSize]);
    let kept = instances_of(&seen).iter().filter(|i| i.mask.is_some()).count();
    assert_eq!((instances_of(&seen).len(), encoded.masks_dropped), (100, 100 - kept));
    assert!(kept > 0);
    for (sent, got) in many.iter().zip(instances_of(&seen)) {
        // The best keep their masks; the others keep what was measured on them.
        assert_eq!(got.mask.is_some(), got.index as usize <= kept);
        assert_eq!(got.area_px, sent.mask.as_ref().unwrap().runs.as_ref().unwrap().area());
    }
}

#[test]
fn what_is_too_large_without_masks_loses_instances() {
    let camera = camera();
    let many = noisy(3000, 8);
    let limits = Limits {
        max_instances: 3000,
        ..Limits::default()
    };
    let encoded = encode_result(
        &parts(&camera, answer_of(&many)),
        Form::Boxes,
        &limits,
        at(50, 1_002_500),
    );
    assert!(encoded.bytes.len() <= MESSAGE_LIMIT_BYTES && encoded.bytes.len() > MESSAGE_LIMIT_BYTES - 300);
    let seen = decode_result(&encoded.bytes).unwrap();
    assert_eq!(seen.degraded, [v1::Degradation::InstancesTruncated]);
    assert_eq!(instances_of(&seen).len(), encoded.instances);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn stage_times_add_up(capture in 1i64..1_000_000, marks in proptest::array::uniform6(0i64..1_000_000), published in 1i64..2_000_000) {
        let [arrival, decoded, submitted, preprocessed, inferred, instances] = marks;
        let t = stage_times(capture, &Marks { arrival, decoded, submitted, preprocessed, inferred, instances }, published);
        let sum = t.capture_to_arrival_nanos + t.arrival_to_decoded_nanos + t.decoded_to_submitted_nanos
            + t.submitted_to_preprocessed_nanos + t.preprocessed_to_inferred_nanos + t.inferred_to_instances_nanos
            + t.instances_to_published_nanos;
        prop_assert_eq!(sum, t.capture_to_published_nanos);
        let latest = marks.into_iter().chain([published]).max().unwrap_or(0);
        prop_assert_eq!(sum, (latest - capture).max(0));
    }

    #[test]
    fn what_is_encoded_is_read_back(
        shapes in proptest::collection::vec((0u32..600, 0u32..440, 1u32..40, 1u32..40, 0u32..1000, any::<u64>()), 0..12),
        degraded in proptest::collection::btree_set(1i32..=19, 0..4),
    ) {
        let camera = camera();
        let instances: Vec<Instance> = shapes.iter().map(|&(x, y, w, h, score, bits)| {
            let dense: Vec<u8> = (0..w * h).map(|i| (bits >> (i % 61)) as u8 & 1).collect();
            let mut one = masked(score % 8, score as f32 / 1000.0, x, y, &["#"]);
            one.bounds.x1 = (x + w) as i32 * 256 - 1;
            one.bounds.y1 = (y + h) as i32 * 256 - 3;
            one.mask.as_mut().unwrap().runs = MaskRuns::from_dense(x, y, w, h, &dense);
            one
        }).collect();
        let degraded: Vec<v1::Degradation> = degraded.into_iter().map(|d| v1::Degradation::try_from(d).unwrap()).collect();
        for form in Form::ALL {
            let mut it = parts(&camera, answer_of(&instances));
            it.degraded = &degraded;
            let encoded = encode_result(&it, form, &Limits::default(), at(50, 1_003_000));
            let seen = decode_result(&encoded.bytes).unwrap();
            prop_assert_eq!(seen.stage_times.unwrap().capture_to_published_nanos, encoded.capture_to_published_nanos);
            let mut want: Vec<&Instance> = instances.iter().filter(|i| i.score >= 0.25).collect();
            want.sort_by(|a, b| b.score.total_cmp(&a.score)
                .then((a.class_id, a.bounds.x0, a.bounds.y0).cmp(&(b.class_id, b.bounds.x0, b.bounds.y0))));
            prop_assert_eq!(instances_of(&seen).len(), want.len());
            for (got, sent) in instances_of(&seen).iter().zip(want) {
                prop_assert_eq!((got.class_id, got.score, got.bounds), (sent.class_id, sent.score, sent.bounds));
                let runs = sent.mask.as_ref().and_then(|m| m.runs.clone()).filter(|_| form == Form::Rle);
                prop_assert_eq!(&got.mask, &runs);
            }
        }
    }
}
