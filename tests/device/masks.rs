//! From mask logits to run lengths: the masks of the classes, pasted, encoded.

use maskcast::device::Kernels;
use maskcast::ops::{encode_rle, mask_select, paste_masks};

use super::{assert_alike, device};

#[test]
fn the_mask_of_a_class_is_selected_as_by_the_plain_loops() {
    let device = device();
    let kernels = Kernels::load(&device, &[mask_select::launch::SOURCE]).unwrap();
    assert_alike(&mask_select::check::check(&device, &kernels).unwrap());
}

#[test]
fn bitmaps_are_those_of_the_paste_rule() {
    let device = device();
    let kernels = Kernels::load(&device, &[paste_masks::launch::SOURCE]).unwrap();
    assert_alike(&paste_masks::check::check(&device, &kernels).unwrap());
}

#[test]
fn masks_made_of_spans_are_those_of_the_paste_rule() {
    let device = device();
    let sources = [paste_masks::launch::SOURCE, encode_rle::launch::SOURCE];
    let kernels = Kernels::load(&device, &sources).unwrap();
    assert_alike(&encode_rle::check::check(&device, &kernels).unwrap());
}
