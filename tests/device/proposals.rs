//! The kernels of proposals give the bits of the plain loop, and refuse what they have no room for.

use maskcast::device::{Kernels, TensorView};
use maskcast::geometry::ImageSize;
use maskcast::ops::proposals::launch::DeviceProposals;
use maskcast::ops::proposals::{RpnSettings, check, launch};

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
    let network = ImageSize::new(256, 256);
    let grids = [64, 32, 16, 8, 4].map(|side| ImageSize::new(side, side));
    let made = |settings: &RpnSettings, grids: &[ImageSize], batch| {
        DeviceProposals::new(&device, &kernels, settings, grids, network, batch)
    };
    let usual = RpnSettings::torchvision();
    let refused = |settings: &RpnSettings, grids: &[ImageSize], batch| {
        made(settings, grids, batch).map(|_| ()).unwrap_err().to_string()
    };
    let many = RpnSettings {
        pre_nms_top_n: 5000,
        ..usual.clone()
    };
    assert_eq!(
        refused(&many, &grids, 1),
        "kernel proposals: 5000 anchors of a level kept before NMS: at most 4096"
    );
    assert!(refused(&usual, &grids[1..], 1).contains("4 levels of the region proposal network: expected 5"));
    assert!(refused(&usual, &grids, 0).contains("a batch"));
    let none = RpnSettings {
        base_anchors: vec![],
        ..usual.clone()
    };
    assert!(refused(&none, &[], 1).contains("levels"));

    let mut op = made(&usual, &grids, 2).unwrap();
    let stream = device.stream("test").unwrap();
    let values = device.buffer::<f32>("values", 2 * 64 * 64 * 12).unwrap();
    let view = |positions, channels| TensorView::over(values.slice(), positions, channels, channels).unwrap();
    let level = |side: usize| (view(2 * side * side, 3), view(2 * side * side, 12));
    let mut levels = [64, 32, 16, 8, 4].map(level);
    let sizes = device.upload("pictures", &[[256u32, 256]; 2]).unwrap();
    op.enqueue(&stream, &levels, sizes.slice()).unwrap();
    let counts = device.download(op.counts()).unwrap();
    assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
    let refused = |op: &mut DeviceProposals, levels: &[_], pictures| {
        op.enqueue(&stream, levels, pictures).unwrap_err().to_string()
    };
    let one = sizes.slice().part(0, 1).unwrap();
    assert!(refused(&mut op, &levels, one).contains("pictures' sizes"));
    assert!(refused(&mut op, &levels[..4], sizes.slice()).contains("levels of the region proposal network"));
    levels[3].1 = view(2 * 8 * 8, 3);
    assert_eq!(
        refused(&mut op, &levels, sizes.slice()),
        "deltas of level 3, channels of 3 values: expected 12"
    );
}
