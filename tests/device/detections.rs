//! The kernels of detections give the bits of the plain loop, and refuse what they have no room for.

use maskcast::device::{Kernels, TensorView};
use maskcast::ops::detections::launch::DeviceDetections;
use maskcast::ops::detections::{HeadSettings, check, launch};

use crate::device;

#[test]
fn as_the_plain_loop() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let checks = check::check(&device, &kernels).unwrap();
    assert!(!checks.is_empty());
    for check in checks {
        assert_eq!(
            check.different, 0,
            "{} of {} values: {}",
            check.different, check.values, check.what
        );
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    let usual = HeadSettings::torchvision();
    let made = |settings: &HeadSettings, classes, proposals, batch| {
        DeviceDetections::new(&device, &kernels, settings, classes, proposals, batch)
    };
    let refused = |settings: &HeadSettings, classes, proposals, batch| {
        made(settings, classes, proposals, batch)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&usual, 1, 10, 1).contains("classes of the box head"));
    assert!(refused(&usual, 5000, 10, 1).contains("5000 classes: at most"));
    assert!(refused(&usual, 91, 5000, 1).contains("5000 proposals of an image: at most 4096"));
    assert!(refused(&usual, 91, 10, 0).contains("a batch"));
    let many = HeadSettings {
        max_detections: 2000,
        ..usual.clone()
    };
    assert!(refused(&many, 91, 10, 1).contains("2000 detections of an image: at most 1024"));

    let mut op = made(&usual, 3, 10, 2).unwrap();
    let stream = device.stream("test").unwrap();
    let values = device.buffer::<f32>("values", 20 * 12).unwrap();
    let boxes = device.buffer::<[f32; 4]>("proposals", 20).unwrap();
    let counts = device.upload("counts", &[10u32, 4]).unwrap();
    let sizes = device.upload("pictures", &[[256u32, 256]; 2]).unwrap();
    let view = |positions, channels| TensorView::over(values.slice(), positions, channels, channels).unwrap();
    let (boxes, counts, sizes) = (boxes.slice(), counts.slice(), sizes.slice());
    op.enqueue(&stream, view(20, 3), view(20, 12), boxes, counts, sizes)
        .unwrap();
    assert_eq!(device.download(op.counts()).unwrap(), [0; 2], "empty boxes");
    let mut refused = |logits, deltas, boxes, counts, sizes| {
        op.enqueue(&stream, logits, deltas, boxes, counts, sizes)
            .unwrap_err()
            .to_string()
    };
    let (few, one, none) = (
        boxes.part(0, 19).unwrap(),
        counts.part(0, 1).unwrap(),
        sizes.part(0, 0).unwrap(),
    );
    assert!(refused(view(20, 4), view(20, 12), boxes, counts, sizes).contains("class logits, channels"));
    assert!(refused(view(20, 3), view(19, 12), boxes, counts, sizes).contains("box deltas, positions"));
    assert!(refused(view(20, 3), view(20, 12), few, counts, sizes).contains("proposals"));
    assert!(refused(view(20, 3), view(20, 12), boxes, one, sizes).contains("counts"));
    assert!(refused(view(20, 3), view(20, 12), boxes, counts, none).contains("pictures' sizes"));
}
