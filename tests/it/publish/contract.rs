//! What a robot may rely on.

use std::time::{Duration, Instant};

use maskcast::client::{Answer, Event, Liveliness, LostReason, Observation, Rejection};
use maskcast::geometry::LatticeBox;
use maskcast::outlets::Outlet;
use maskcast::wire::decode::Outcome as Received;
use maskcast::wire::keyexpr::{CameraKey, Cameras, Key};
use maskcast::wire::v1::{CameraState, Degradation, ErrorCode, MeasuredFrom, TombstoneReason};
use maskcast::wire::{Form, v1};

use super::daemon::{PATIENCE, camera, classes, fresh_prefix, settings, start, triangle, until};

fn answer(event: Event) -> Answer {
    match event {
        Event::Answer(answer) => answer,
        other => panic!("expected an answer, got {other:?}"),
    }
}

#[test]
fn instances_arrive_as_they_were_delivered() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut front = maskcast
        .camera("front")
        .max_age(PATIENCE)
        .history(16)
        .min_score(0.5)
        .open()
        .unwrap();
    daemon.await_demand(|d| d.masks && d.boxes);
    let sent = vec![
        triangle(1, 0.9, 10, 20, 30),
        triangle(2, 0.6, 600, 440, 40),
        triangle(0, 0.4, 0, 0, 9),
    ];
    let number = daemon.answer(sent.clone());
    let got = answer(front.next(PATIENCE));
    assert_eq!(
        (got.result.header.result_number, got.result.header.size),
        (number, Some(super::daemon::FRAME))
    );
    assert_eq!((got.missed, got.skipped, got.result.degraded.len()), (0, 0, 0));
    assert!(
        got.age >= Duration::from_millis(21),
        "capture 20 ms ago, 1 ms of doubt: {:?}",
        got.age
    );
    let times = got.result.stage_times.unwrap();
    assert!(times.capture_to_published_nanos >= 20_000_000);
    assert_eq!(times.capture_to_arrival_nanos, 1_000_000);
    // min_score hides the third, which is on the wire nevertheless.
    assert_eq!(
        got.instances().map(|i| i.class_name().to_owned()).collect::<Vec<_>>(),
        ["mug", "bolt"]
    );
    let Received::Answer { instances, .. } = &got.result.outcome else {
        panic!("an answer")
    };
    assert_eq!(instances.len(), 3);
    for (i, s) in instances.iter().zip(&sent) {
        assert_eq!((i.class_id, i.score, i.bounds), (s.class_id, s.score, s.bounds));
        assert_eq!(i.mask, s.mask.as_ref().unwrap().runs);
    }
    let corner = got.instances().nth(1).unwrap();
    let dense = corner.dense().unwrap();
    assert_eq!((dense.x, dense.y, dense.width, dense.height), (600, 440, 40, 40));
    assert_eq!(dense.pixels.iter().map(|p| u32::from(*p)).sum::<u32>(), 40 * 41 / 2);
    assert_eq!(corner.borders, (v1::Border::Right as u32) | (v1::Border::Bottom as u32));
    assert!(front.latest().is_some());
}

#[test]
fn tombstones_gaps_and_slowness_are_told_apart() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut front = maskcast
        .camera("front")
        .form(Form::Boxes)
        .max_age(PATIENCE)
        .history(3)
        .open()
        .unwrap();
    daemon.await_demand(|d| d.boxes);
    daemon.answer(vec![]);
    assert_eq!(answer(front.next(PATIENCE)).instances().count(), 0);
    daemon.tombstone(TombstoneReason::Overloaded);
    daemon.tombstone(TombstoneReason::SourceStalled);
    for (reason, number) in [(TombstoneReason::Overloaded, 2), (TombstoneReason::SourceStalled, 3)] {
        match front.next(PATIENCE) {
            Event::NoAnswer(it) => assert_eq!(
                (it.reason, it.result_number, it.detail.as_str()),
                (reason, number, "by hand")
            ),
            other => panic!("{other:?}"),
        }
    }
    daemon.lose_one();
    daemon.lose_one();
    daemon.answer(vec![]);
    let got = answer(front.next(PATIENCE));
    assert_eq!((got.missed, got.skipped), (2, 0));
    // Nobody reads for a while: the ring of 3 keeps the newest, and says so.
    for _ in 0..8 {
        daemon.answer(vec![]);
    }
    until("the last message", || {
        daemon.handle.figures(&camera("front")).unwrap().answers == 10
    });
    std::thread::sleep(Duration::from_millis(200));
    let got = answer(front.next(PATIENCE));
    assert_eq!((got.missed, got.skipped, got.result.header.result_number), (0, 5, 12));
    let counts = front.counts();
    assert_eq!(
        (counts.answers, counts.tombstones, counts.missed, counts.skipped),
        (3, 2, 2, 5)
    );
    assert_eq!(
        (counts.old, counts.foreign, counts.rejected, counts.sessions),
        (0, 0, 0, 1)
    );
    let figures = daemon.handle.figures(&camera("front")).unwrap();
    assert_eq!(
        figures.tombstones.into_iter().collect::<Vec<_>>(),
        [(TombstoneReason::SourceStalled, 1), (TombstoneReason::Overloaded, 1)]
    );
}

#[test]
fn a_late_joiner_finds_names_and_the_daemon() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    daemon.answer(vec![triangle(1, 0.9, 10, 20, 30)]);
    let maskcast = daemon.connect();
    let front = camera("front");
    assert_eq!(maskcast.labels(&front, PATIENCE).unwrap(), classes());
    assert_eq!(maskcast.cameras(PATIENCE).unwrap(), std::slice::from_ref(&front));
    until("the size learnt from the frame", || {
        let info = maskcast.info(PATIENCE).unwrap();
        (info.cameras[0].width_px, info.cameras[0].height_px) == (640, 480)
    });
    let info = maskcast.info(PATIENCE).unwrap();
    assert_eq!(info.engine.unwrap().identity_json, r#"{"network":"none"}"#);
    assert!(
        info.keys
            .contains(&format!("{}/v1/cam/front/result/boxes", daemon.prefix))
    );
    assert_eq!(
        maskcast.daemons(Duration::from_millis(500)).unwrap(),
        [daemon.handle.session_id()]
    );
    daemon.handle.update_health(|h| h.state = v1::ServiceState::Ready);
    until("health", || {
        maskcast.health(PATIENCE).unwrap().state() == v1::ServiceState::Ready
    });
    let schema = maskcast.get_bytes(&Key::Schema, "", PATIENCE).unwrap();
    assert_eq!(schema, maskcast::wire::schema());
    until("STREAMING", || {
        maskcast.status(&front, PATIENCE).unwrap().state() == v1::CameraState::Streaming
    });
    let status = maskcast.status(&front, PATIENCE).unwrap();
    assert_eq!((status.last_result_number, status.forms_published.len()), (1, 0));
}

#[test]
fn the_latest_result_is_there_for_who_asks() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let key = |form| Key::Camera(camera("front"), CameraKey::Result(form));
    let code = |parameters: &str| match maskcast.get_bytes(&key(Form::Boxes), parameters, PATIENCE) {
        Err(maskcast::client::ClientError::Refused { error, .. }) => (error.code(), error.field),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(""), (ErrorCode::NotFound, String::new()));
    daemon.answer(vec![triangle(1, 0.9, 10, 20, 30)]);
    daemon.tombstone(TombstoneReason::DecodeError);
    let get = |form, parameters: &str| {
        maskcast::wire::decode::decode_result(&maskcast.get_bytes(&key(form), parameters, PATIENCE).unwrap()).unwrap()
    };
    // Nobody listened: encoded on request, with masks, since they exist.
    let rle = get(Form::Rle, "");
    assert_eq!(rle.header.result_number, 1);
    assert!(matches!(&rle.outcome, Received::Answer { instances, .. } if instances[0].mask.is_some()));
    let boxes = get(Form::Boxes, "max_age_millis=60000");
    assert!(
        matches!(&boxes.outcome, Received::Answer { instances, .. } if instances[0].measured_from == MeasuredFrom::Box)
    );
    assert!(matches!(
        get(Form::Rle, "tombstones=1").outcome,
        Received::Tombstone {
            reason: TombstoneReason::DecodeError,
            ..
        }
    ));
    assert_eq!(code("max_age_millis=1"), (ErrorCode::TooOld, String::new()));
    assert_eq!(code("fresh=1"), (ErrorCode::InvalidRequest, "fresh".to_owned()));
    let status = Key::Camera(camera("front"), CameraKey::Status);
    assert!(maskcast.get_bytes(&status, "x=1", PATIENCE).is_err());
    // Masks that were not computed are not made up.
    let mut bare = triangle(1, 0.9, 10, 20, 30);
    bare.mask = None;
    daemon.answer(vec![bare]);
    match maskcast.get_bytes(&key(Form::Rle), "", PATIENCE) {
        Err(maskcast::client::ClientError::Refused { error, .. }) => assert_eq!(error.code(), ErrorCode::NotComputed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn boxes_alone_want_no_masks_and_demand_ends() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let front = camera("front");
    assert_eq!(daemon.handle.demand(&front), maskcast::outlets::Demand::default());
    let maskcast = daemon.connect();
    let mut boxes = maskcast
        .camera("front")
        .form(Form::Boxes)
        .max_age(PATIENCE)
        .open()
        .unwrap();
    daemon.await_demand(|d| d.boxes && !d.masks);
    let mut bare = triangle(1, 0.9, 10, 20, 30);
    bare.mask = None;
    daemon.answer(vec![bare]);
    let without = answer(boxes.next(PATIENCE));
    daemon.answer(vec![triangle(1, 0.9, 10, 20, 30)]);
    let with = answer(boxes.next(PATIENCE));
    assert_eq!(without.result.outcome, with.result.outcome);
    assert_eq!((without.result.degraded.len(), with.result.degraded.len()), (0, 0));
    until("the form in status", || {
        maskcast.status(&front, PATIENCE).unwrap().forms_published == [i32::from(v1::Form::Boxes)]
    });
    drop(boxes);
    let gone = Instant::now();
    daemon.await_demand(|d| !d.boxes);
    assert!(
        gone.elapsed() > Duration::from_millis(1500),
        "held for 2 s against flapping: {:?}",
        gone.elapsed()
    );
}

#[test]
fn who_stops_streaming_is_lost_at_once_and_found_again() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut nobody = maskcast.camera("nobody").open().unwrap();
    assert!(matches!(
        nobody.next(Duration::from_millis(50)),
        Event::Lost(LostReason::NotFound)
    ));
    let mut front = maskcast.camera("front").max_age(PATIENCE).open().unwrap();
    daemon.await_demand(|d| d.masks);
    daemon.answer(vec![]);
    answer(front.next(PATIENCE));
    assert!(matches!(front.next(Duration::from_millis(50)), Event::Stale { .. }));
    let lost = Instant::now();
    daemon
        .handle
        .set_camera_state(&camera("front"), CameraState::Offline, "unplugged", 0);
    assert!(matches!(front.next(PATIENCE), Event::Lost(LostReason::CameraGone)));
    assert!(lost.elapsed() < Duration::from_secs(1), "{:?}", lost.elapsed());
    daemon
        .handle
        .set_camera_state(&camera("front"), CameraState::Streaming, "", 1);
    daemon.answer(vec![]);
    answer(front.next(PATIENCE));
    daemon.publisher.finish();
    until("the end", || {
        matches!(
            front.next(Duration::from_millis(100)),
            Event::Lost(LostReason::CameraGone)
        )
    });
}

#[test]
fn a_restarted_daemon_is_followed() {
    let mut settings = settings(&fresh_prefix());
    let mut first = start(&settings).unwrap();
    let maskcast = first.connect();
    let mut front = maskcast.camera("front").max_age(PATIENCE).open().unwrap();
    first.await_demand(|d| d.masks);
    (0..3).for_each(|_| first.lose_one());
    assert_eq!(first.answer(vec![]), 4);
    assert_eq!(answer(front.next(PATIENCE)).result.header.result_number, 4);
    settings.zenoh.listen = first.handle.listening();
    drop(first);
    let mut second = start(&settings).unwrap();
    second.await_demand(|d| d.masks);
    second.answer(vec![]);
    until(
        "the new session",
        || matches!(front.next(PATIENCE), Event::Answer(a) if a.result.header.result_number == 1),
    );
    assert_eq!((front.counts().sessions, front.counts().missed), (2, 0));
}

#[test]
fn old_answers_and_forgeries_are_not_acted_on() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut strict = maskcast
        .camera("front")
        .max_age(Duration::from_millis(20))
        .history(8)
        .open()
        .unwrap();
    daemon.await_demand(|d| d.masks);
    // Captured 20 ms before it was delivered, doubt 1 ms.
    daemon.answer(vec![]);
    assert!(matches!(strict.next(PATIENCE), Event::Stale { age } if age >= Duration::from_millis(21)));
    assert!(strict.latest().is_none());
    // Somebody else puts rubbish on the key.
    let mut config = zenoh::Config::default();
    config.insert_json5("mode", "\"client\"").unwrap();
    config
        .insert_json5("connect/endpoints", &format!("[{:?}]", daemon.handle.listening()[0]))
        .unwrap();
    let forger = zenoh::Wait::wait(zenoh::open(config)).unwrap();
    let key = format!("{}/v1/cam/front/result", daemon.prefix);
    zenoh::Wait::wait(forger.put(&key, "rubbish")).unwrap();
    assert!(matches!(
        strict.next(PATIENCE),
        Event::Rejected(Rejection::NoAttachment)
    ));
    let attachment = maskcast::wire::Attachment {
        sequence: 2,
        unix_nanos: 0,
        session_id: daemon.handle.session_id(),
    };
    zenoh::Wait::wait(forger.put(&key, "rubbish").attachment(attachment.encode())).unwrap();
    assert!(matches!(
        strict.next(PATIENCE),
        Event::Rejected(Rejection::Malformed(_))
    ));
    let foreign = maskcast::wire::Attachment {
        session_id: maskcast::wire::SessionId::from_bytes([9; 16]),
        ..attachment
    };
    zenoh::Wait::wait(forger.put(&key, "rubbish").attachment(foreign.encode())).unwrap();
    assert!(matches!(strict.next(Duration::from_millis(300)), Event::Stale { .. }));
    assert_eq!((strict.counts().foreign, strict.counts().rejected), (1, 2));
}

#[test]
fn masks_start_with_a_whole_result_and_their_absence_is_announced() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut front = maskcast.camera("front").max_age(PATIENCE).history(8).open().unwrap();
    daemon.await_demand(|d| d.masks);
    let mut bare = triangle(1, 0.9, 10, 20, 30);
    bare.mask = None;
    daemon.answer(vec![bare.clone()]); // in flight when the demand came
    daemon.answer(vec![triangle(1, 0.9, 10, 20, 30)]);
    daemon.answer(vec![bare]); // load: masks were not computed
    assert_eq!(answer(front.next(PATIENCE)).result.header.result_number, 2);
    assert!(matches!(front.next(PATIENCE), Event::Degraded(words) if words == [Degradation::MasksSkipped]));
    let third = answer(front.next(PATIENCE));
    assert_eq!(third.result.header.result_number, 3);
    let seen = third.instances().next().unwrap();
    assert_eq!((seen.dense(), seen.measured_from), (None, MeasuredFrom::Box));
    assert_eq!(
        seen.bounds,
        LatticeBox {
            x0: 2560,
            y0: 5120,
            x1: 10240,
            y1: 12800
        }
    );
}

#[test]
fn an_observer_hears_heartbeats_tokens_and_the_end() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let observer = maskcast.observe(Form::Boxes, Cameras::All).unwrap();
    daemon.await_demand(|d| d.boxes);
    daemon.answer(vec![]);
    let (mut statuses, mut healths, mut results, mut numbers) = (0, 0, 0, Vec::new());
    let (mut token, mut alive) = (false, false);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let Some(it) = observer.next(Duration::from_millis(100)) else {
            continue;
        };
        match it.what {
            Observation::Status(id, status) => {
                assert_eq!(
                    (id, it.attachment.unwrap().sequence),
                    (camera("front"), status.status_number as i64)
                );
                assert_eq!(status.source_hz > 0.0, status.last_result_number > 0);
                assert_eq!(status.period_nanos, 180_000_000);
                numbers.push(status.status_number);
                statuses += 1;
            }
            Observation::Health(health) => {
                assert_eq!(health.period_nanos, 500_000_000);
                healths += 1;
            }
            Observation::Result(_, result) => {
                assert_eq!(result.unwrap().header.result_number, 1);
                results += 1;
            }
            Observation::Token(_, _, Liveliness::Alive) => token = true,
            Observation::Daemon(_, Liveliness::Alive) => alive = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        statuses >= 5 && healths >= 2 && results == 1 && token && alive,
        "{statuses} {healths} {results} {token} {alive}"
    );
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
    daemon.handle.drain();
    daemon.tombstone(TombstoneReason::Stopping);
    daemon.publisher.finish();
    let (mut last, mut draining, mut stopping, mut gone) = (None, false, false, [false; 2]);
    until("the last words", || {
        let Some(it) = observer.next(Duration::from_millis(100)) else {
            return false;
        };
        match it.what {
            Observation::Status(_, status) => last = Some((status.state(), status.detail.clone())),
            Observation::Health(health) => draining |= health.state() == v1::ServiceState::Draining,
            Observation::Result(_, result) => {
                stopping |= matches!(
                    result.unwrap().outcome,
                    Received::Tombstone {
                        reason: TombstoneReason::Stopping,
                        ..
                    }
                )
            }
            Observation::Token(_, _, Liveliness::Gone) => gone[0] = true,
            Observation::Daemon(_, Liveliness::Gone) => gone[1] = true,
            _ => {}
        }
        // Priorities differ, so the order of these is not fixed.
        let offline = Some((CameraState::Offline, "stopped".to_owned()));
        gone == [true; 2] && last == offline && draining && stopping
    });
}
