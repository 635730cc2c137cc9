//! RoIAlign: fixed and adaptive samples, both alignments, every level of a pyramid of real size.

use maskcast::device::Kernels;
use maskcast::ops::roi_align::{check, launch};

use super::{assert_alike, device};

#[test]
fn kernels_pool_as_the_plain_loops() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    assert_alike(&check::check(&device, &kernels).unwrap());
}
