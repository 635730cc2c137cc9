//! RoI max pooling, as Fast R-CNN has it.

use maskcast::device::Kernels;
use maskcast::ops::roi_pool::{check, launch};

use super::{assert_alike, device};

#[test]
fn kernels_pool_as_the_plain_loops() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE]).unwrap();
    assert_alike(&check::check(&device, &kernels).unwrap());
}
