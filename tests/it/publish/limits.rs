//! Sizes, prefixes, and what delivering costs.

use std::time::{Duration, Instant};

use maskcast::client::Event;
use maskcast::instances::Instance;
use maskcast::outlets::publish::PublishError;
use maskcast::wire::v1::Degradation;

use super::daemon::{PATIENCE, fresh_prefix, settings, start, triangle, until, with_mask};

fn noise(side: u32, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::from(state & 1 == 1)
    };
    (0..side * side).map(|_| bit()).collect()
}

#[test]
fn a_hundred_large_noisy_masks_stay_below_the_limit() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let mut front = maskcast.camera("front").max_age(PATIENCE).history(8).open().unwrap();
    daemon.await_demand(|d| d.masks);
    let many: Vec<Instance> = (0..100u32)
        .map(|i| with_mask(0, 0.99 - i as f32 / 200.0, i, i, 300, &noise(300, u64::from(i))))
        .collect();
    daemon.answer(many);
    assert!(matches!(front.next(PATIENCE), Event::Degraded(words) if words == [Degradation::MasksDroppedForSize]));
    let Event::Answer(answer) = front.next(PATIENCE) else {
        panic!("an answer")
    };
    let masks: Vec<bool> = answer.instances().map(|i| i.mask.is_some()).collect();
    assert_eq!(masks.len(), 100);
    let kept = masks.iter().filter(|m| **m).count();
    assert!((1..100).contains(&kept), "{kept}");
    assert!(masks[..kept].iter().all(|m| *m), "the highest scores keep their masks");
}

/// Several cameras, both forms, one instant: an express message takes a queue slot of its own.
#[test]
fn a_burst_of_results_is_not_lost() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let open = |form| {
        maskcast
            .camera("front")
            .form(form)
            .max_age(PATIENCE)
            .history(64)
            .open()
            .unwrap()
    };
    let mut receivers = [open(maskcast::wire::Form::Rle), open(maskcast::wire::Form::Boxes)];
    daemon.await_demand(|d| d.masks);
    for _ in 0..7u8 {
        daemon.answer(vec![triangle(1, 0.9, 10, 20, 200)]);
    }
    for receiver in &mut receivers {
        for number in 1..=7 {
            match receiver.next(PATIENCE) {
                Event::Answer(answer) => assert_eq!(answer.result.header.result_number, number),
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_prefix_has_one_daemon() {
    let prefix = fresh_prefix();
    let first = start(&settings(&prefix)).unwrap();
    let mut second = settings(&prefix);
    second.zenoh.connect = first.handle.listening();
    match start(&second).map(|_| ()) {
        Err(PublishError::PrefixInUse { prefix: named, session }) => {
            assert_eq!((named, session), (prefix.clone(), first.handle.session_id()));
        }
        other => panic!("{other:?}"),
    }
    // Another prefix in the same network is fine, and so is ours once the first is gone.
    let mut neighbour = settings(&fresh_prefix());
    neighbour.zenoh.connect = first.handle.listening();
    let neighbour = start(&neighbour).unwrap();
    drop(first);
    second.zenoh.connect = neighbour.handle.listening();
    until("the prefix free again", || start(&second).is_ok());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let error = |change: fn(&mut maskcast::outlets::publish::PublishSettings)| {
        let mut it = settings(&fresh_prefix());
        change(&mut it);
        start(&it).map(|_| ()).unwrap_err().to_string()
    };
    assert!(error(|s| s.publish.key_prefix = "a/*".into()).contains("key prefix \"a/*\""));
    assert!(error(|s| s.zenoh.config = Some("no/such.json5".into())).contains("no/such.json5"));
    assert!(error(|s| s.zenoh.mode = Some("captain".into())).contains("captain"));
    assert!(error(|s| s.zenoh.listen = vec!["carrier-pigeon/coop:1".into()]).contains("carrier-pigeon"));
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut taken = settings(&fresh_prefix());
    taken.zenoh.listen = vec![format!("tcp/{}", busy.local_addr().unwrap())];
    let error = start(&taken).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&busy.local_addr().unwrap().to_string()), "{error}");
}

/// Not a timed test: prints what `deliver` costs the publishing thread, with both forms in demand.
#[test]
fn delivering_twenty_instances() {
    let mut daemon = start(&settings(&fresh_prefix())).unwrap();
    let maskcast = daemon.connect();
    let rle = maskcast.camera("front").max_age(PATIENCE).history(1000).open().unwrap();
    let boxes = maskcast
        .camera("front")
        .form(maskcast::wire::Form::Boxes)
        .history(1000)
        .open()
        .unwrap();
    daemon.await_demand(|d| d.masks);
    let twenty: Vec<Instance> = (0..20u32)
        .map(|i| triangle(i % 3, 0.95 - i as f32 / 100.0, 25 * i, 20 * (i % 10), 110))
        .collect();
    let mut costs: Vec<Duration> = (0..200)
        .map(|_| {
            let instances = twenty.clone();
            let start = Instant::now();
            daemon.answer(instances);
            let spent = start.elapsed();
            std::thread::sleep(Duration::from_millis(3));
            spent
        })
        .collect();
    costs.sort();
    println!(
        "deliver, 20 instances, both forms: p50 {:?} p95 {:?} max {:?}",
        costs[100], costs[190], costs[199]
    );
    drop((rle, boxes));
}
