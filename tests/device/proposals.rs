//! The kernels of proposals give the bits of the plain loop.

use maskcast::device::Kernels;
use maskcast::ops::proposals::{check, launch};

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
