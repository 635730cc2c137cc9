//! The device room's promises.

use crate::device;

#[test]
fn the_standin_opens_as_a_hopper() {
    let device = device();
    assert_eq!(device.facts().sm, 90);
    let buffer = device.upload("values", &[1_u32, 2, 3]).unwrap();
    assert_eq!(device.download(buffer.slice()).unwrap(), [1, 2, 3]);
}
