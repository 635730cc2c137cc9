use proptest::prelude::*;

use super::*;
use crate::wire::encode::{FrameParts, Limits, Marks, OutcomeParts, Published, encode_result};

fn conformance(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/conformance/results/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap()
}

fn one_instance() -> v1::FrameResult {
    v1::FrameResult::decode(&conformance("one_instance.bin")[..]).unwrap()
}

/// The known message after `change`, read again.
fn changed(change: impl FnOnce(&mut v1::FrameResult)) -> Result<Decoded, DecodeError> {
    let mut message = one_instance();
    change(&mut message);
    decode_result(&message.encode_to_vec())
}

fn first(message: &mut v1::FrameResult) -> &mut v1::Instance {
    match &mut message.outcome {
        Some(v1::frame_result::Outcome::Answer(answer)) => &mut answer.instances[0],
        other => panic!("{other:?}"),
    }
}

fn rle_of(message: &mut v1::FrameResult) -> &mut v1::RleMask {
    match &mut first(message).mask {
        Some(v1::instance::Mask::Rle(rle)) => rle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_known_answer_is_read() {
    let it = decode_result(&conformance("one_instance.bin")).unwrap();
    assert_eq!(
        (
            it.header.camera.as_str(),
            it.header.result_number,
            it.header.frame_number
        ),
        ("front", 41, 43)
    );
    assert_eq!(it.header.capture_time_unix_nanos, 1_790_000_000_123_456_789);
    assert_eq!(it.header.capture_time_source, v1::CaptureTimeSource::Rtcp);
    assert_eq!(
        it.header.session_id.as_bytes(),
        &std::array::from_fn::<u8, 16, _>(|i| i as u8)
    );
    assert_eq!(
        (it.form, it.label_map_id, it.valid_for_nanos),
        (Form::Rle, 7, 300_000_000)
    );
    let Outcome::Answer {
        instances,
        score_threshold,
    } = &it.outcome
    else {
        panic!("an answer")
    };
    assert_eq!((instances.len(), *score_threshold), (1, 0.5));
    let i = &instances[0];
    assert_eq!((i.index, i.class_id, i.score, i.area_px), (1, 0, 0.875, 17));
    let px = i.bounds.to_px();
    assert_eq!(
        (px.x0, px.y0, px.x1, px.y1),
        (99.75, 199.5, 105.25, 205.0 + 1.0 / 256.0)
    );
    let mask = i.mask.as_ref().unwrap();
    assert_eq!((mask.x, mask.y, mask.width, mask.height), (100, 200, 5, 5));
    let rows: Vec<u8> = "#####\n#...#\n#.#.#\n#...#\n#####"
        .bytes()
        .filter(|b| *b != b'\n')
        .map(|b| u8::from(b == b'#'))
        .collect();
    assert_eq!(mask.to_dense(), rows);
}

#[test]
fn the_known_empty_answer_and_tombstone_are_different_things() {
    let none = decode_result(&conformance("looked_found_none.bin")).unwrap();
    assert_eq!(none.form, Form::Boxes);
    assert!(matches!(&none.outcome, Outcome::Answer { instances, .. } if instances.is_empty()));
    let tombstone = decode_result(&conformance("tombstone.bin")).unwrap();
    assert_eq!(
        tombstone.outcome,
        Outcome::Tombstone {
            reason: v1::TombstoneReason::DroppedStale,
            detail: "predicted 140 ms, limit 100 ms".to_owned(),
            stalled_for_nanos: 0,
        }
    );
    assert_eq!(
        decode_result(&conformance("neither_outcome_must_be_refused.bin")),
        Err(DecodeError::NeitherOutcome)
    );
}

/// Our encoder, given the known message's content, writes its fields.
#[test]
fn the_encoder_reproduces_the_known_messages() {
    use crate::instances::{Instance, InstanceMask, SoftMask};
    use crate::time::{CaptureTime, CaptureTimeSource};
    for name in ["one_instance.bin", "looked_found_none.bin", "tombstone.bin"] {
        let want = v1::FrameResult::decode(&conformance(name)[..]).unwrap();
        let known = decode_result(&conformance(name)).unwrap();
        let instances: Vec<Instance> = match &known.outcome {
            Outcome::Answer { instances, .. } => instances
                .iter()
                .map(|i| Instance {
                    class_id: i.class_id,
                    score: i.score,
                    bounds: i.bounds,
                    mask: i.mask.clone().map(|runs| InstanceMask {
                        soft: Some(SoftMask {
                            roi: i.bounds,
                            side: 28,
                            values: vec![0; 784],
                        }),
                        runs: Some(runs),
                    }),
                })
                .collect(),
            Outcome::Tombstone { .. } => Vec::new(),
        };
        let parts = FrameParts {
            camera: &known.header.camera,
            session_id: known.header.session_id,
            result_number: known.header.result_number,
            frame_number: known.header.frame_number,
            pts: None,
            capture_time: Some(CaptureTime {
                unix_nanos: known.header.capture_time_unix_nanos,
                mono_nanos: 0,
                uncertainty_nanos: known.header.capture_time_uncertainty_nanos,
                source: CaptureTimeSource::Rtcp,
            }),
            clock_state: known.header.clock_state,
            size: known.header.size,
            outcome: match &known.outcome {
                Outcome::Answer { score_threshold, .. } => OutcomeParts::Answer {
                    instances: &instances,
                    score_threshold: *score_threshold,
                },
                Outcome::Tombstone {
                    reason,
                    detail,
                    stalled_for_nanos,
                } => OutcomeParts::Tombstone {
                    reason: *reason,
                    detail,
                    stalled_for_nanos: *stalled_for_nanos,
                },
            },
            marks: Marks::default(),
            valid_for_nanos: known.valid_for_nanos,
            engine_id: known.engine_id,
            label_map_id: known.label_map_id,
            degraded: &known.degraded,
        };
        let published = || Published {
            unix_nanos: want.publish_time_unix_nanos,
            mono_nanos: 0,
        };
        let encoded = encode_result(&parts, known.form, &Limits::default(), published);
        let mut got = v1::FrameResult::decode(&encoded.bytes[..]).unwrap();
        // The known messages name the part of the exposure and carry no stage times.
        got.header.as_mut().unwrap().capture_instant = v1::CaptureInstant::ExposureStart.into();
        got.stage_times = None;
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn each_broken_rule_is_named() {
    let text = |r: Result<Decoded, DecodeError>| r.unwrap_err().to_string();
    assert!(changed(|_| ()).is_ok());
    assert_eq!(text(changed(|m| m.header = None)), "header is missing");
    assert_eq!(changed(|m| m.form = 3), Err(DecodeError::Form(3)));
    assert_eq!(changed(|m| m.form = 99), Err(DecodeError::Form(99)));
    let header = |change: fn(&mut v1::FrameHeader)| text(changed(|m| change(m.header.as_mut().unwrap())));
    assert_eq!(
        header(|h| h.camera = "a/b".into()),
        "camera id \"a/b\" is not allowed: use 1 to 32 of a-z, 0-9, '_' and '-'"
    );
    assert_eq!(
        header(|h| h.session_id = vec![0; 15].into()),
        "session id: expected 16 bytes, got 15"
    );
    assert_eq!(header(|h| h.result_number = 0), "result_number: expected >= 1, got 0");
    assert!(header(|h| h.capture_time_unix_nanos = 0).starts_with("capture_time_unix_nanos"));
    assert!(header(|h| h.capture_time_uncertainty_nanos = -1).starts_with("capture_time_uncertainty_nanos"));
    assert!(header(|h| h.width_px = 0).starts_with("frame size"));
    assert!(header(|h| h.width_px = 65536).starts_with("frame size"));
    assert_eq!(
        header(|h| (h.width_px, h.height_px) = (0, 0)),
        "the frame size of an answer is missing"
    );
    assert!(header(|h| h.frame_number = 0).starts_with("frame_number"));

    let of_box = |change: fn(&mut v1::Box)| text(changed(|m| change(first(m).r#box.as_mut().unwrap())));
    let off = "instance 1: box: expected inside the frame on the 1/256 px lattice";
    assert!(of_box(|b| b.x0 += 1.0 / 512.0).starts_with(off));
    assert!(of_box(|b| b.x1 = 1920.25).starts_with(off));
    assert!(of_box(|b| b.x1 = b.x0).starts_with(off));
    assert!(of_box(|b| b.y0 = -0.25).starts_with(off));
    assert!(of_box(|b| b.y1 = f32::NAN).starts_with(off));
    assert!(of_box(|b| b.y1 = f32::INFINITY).starts_with(off));

    let instance = |change: fn(&mut v1::Instance)| text(changed(|m| change(first(m))));
    assert_eq!(
        instance(|i| i.r#box = None),
        "instance 1: box: expected a box, got none"
    );
    assert_eq!(
        instance(|i| i.index = 2),
        "instance 1: index: expected its place in the message, got 2"
    );
    assert_eq!(
        instance(|i| i.score = 1.5),
        "instance 1: score: expected 0 to 1, descending, got 1.5"
    );
    assert!(instance(|i| i.score = f32::NAN).starts_with("instance 1: score"));
    assert_eq!(
        instance(|i| i.area_px = 16),
        "instance 1: area_px: expected the set pixels of the mask, got 16"
    );
    assert!(instance(|i| i.centroid_x_px = f32::NAN).starts_with("instance 1: centroid"));
    assert!(instance(|i| i.contact_y_px = 1081.0).starts_with("instance 1: contact"));
    assert_eq!(
        instance(|i| i.mask = Some(v1::instance::Mask::Soft(v1::SoftMask::default()))),
        "instance 1: mask: expected one of the message's form, got another"
    );
    assert!(text(changed(|m| m.form = v1::Form::Boxes.into())).contains("message's form"));

    let crop = |change: fn(&mut v1::RleMask)| text(changed(|m| change(rle_of(m))));
    assert!(
        crop(|r| r.x_px = 1916).starts_with("instance 1: mask crop: expected inside the frame, got 5x5 at (1916, 200)")
    );
    assert!(crop(|r| r.x_px = u32::MAX).starts_with("instance 1: mask crop"));
    assert!(crop(|r| r.height_px = 0).starts_with("instance 1: mask crop"));
    assert!(crop(|r| r.counts = vec![0xff; 3].into()).starts_with("instance 1: mask: "));
    assert!(crop(|r| r.width_px = 6).starts_with("instance 1: mask: "));

    assert!(text(changed(|m| m.engine_id = vec![1; 17].into())).starts_with("engine_id"));
    assert!(text(changed(|m| m.valid_for_nanos = -1)).starts_with("valid_for_nanos"));
    let times = |t: v1::StageTimes| changed(|m| m.stage_times = Some(t));
    let sum = |total: i64| v1::StageTimes {
        capture_to_arrival_nanos: 5000,
        capture_to_published_nanos: total,
        ..Default::default()
    };
    assert!(times(sum(6000)).is_ok() && times(sum(4000)).is_ok());
    assert!(times(sum(6001)).is_err() && times(sum(3999)).is_err());
    assert!(
        times(v1::StageTimes {
            capture_to_arrival_nanos: -1,
            ..Default::default()
        })
        .is_err()
    );
    assert!(
        times(v1::StageTimes {
            capture_to_arrival_nanos: i64::MAX,
            arrival_to_decoded_nanos: i64::MAX,
            ..Default::default()
        })
        .is_err()
    );
    assert_eq!(decode_result(&vec![0; 60_001]), Err(DecodeError::TooLarge(60_001)));
}

#[test]
fn unknown_words_count_as_the_worst() {
    let it = changed(|m| m.degraded = vec![18, 999]).unwrap();
    assert_eq!(it.degraded, [v1::Degradation::Replay, v1::Degradation::Unspecified]);
    let it = changed(|m| {
        m.outcome = Some(v1::frame_result::Outcome::Tombstone(v1::Tombstone {
            reason: 99,
            ..Default::default()
        }))
    });
    assert!(matches!(
        it.unwrap().outcome,
        Outcome::Tombstone {
            reason: v1::TombstoneReason::Unspecified,
            ..
        }
    ));
}

#[test]
fn scores_descend() {
    let it = changed(|m| {
        let mut second = first(m).clone();
        second.index = 2;
        second.score = 0.9;
        match &mut m.outcome {
            Some(v1::frame_result::Outcome::Answer(a)) => a.instances.push(second),
            _ => panic!("an answer"),
        }
    });
    assert_eq!(
        it.unwrap_err().to_string(),
        "instance 2: score: expected 0 to 1, descending, got 0.9"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_result(&bytes);
    }

    /// Mutations of a good message reach deep into the checks.
    #[test]
    fn mutated_messages_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        name in prop::sample::select(vec!["one_instance.bin", "tombstone.bin", "looked_found_none.bin"]),
    ) {
        let mut bytes = conformance(name);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(it) = decode_result(&bytes)
            && let Outcome::Answer { instances, .. } = &it.outcome
        {
            for i in instances {
                if let Some(mask) = &i.mask && u64::from(mask.width) * u64::from(mask.height) < 1 << 20 {
                    prop_assert_eq!(mask.to_dense().iter().map(|v| u32::from(*v)).sum::<u32>(), i.area_px);
                }
            }
        }
        let _ = decode_result(&bytes[..cut.index(bytes.len())]);
    }
}
