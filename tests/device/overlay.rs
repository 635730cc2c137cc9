//! Masks tinted into pictures.

use maskcast::device::Kernels;
use maskcast::ops::overlay::{check, launch};

use super::{assert_alike, device};

#[test]
fn kernels_tint_as_the_plain_loops() {
    let device = device();
    let kernels = Kernels::load(&device, &[launch::SOURCE, maskcast::ops::paste_masks::launch::SOURCE]).unwrap();
    assert_alike(&check::check(&device, &kernels).unwrap());
}
