//! Any bytes: an error or a result whose masks hold what they say; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maskcast::wire::Attachment;
use maskcast::wire::decode::{Outcome, decode_result};

fuzz_target!(|bytes: &[u8]| {
    let _ = Attachment::decode(bytes);
    let Ok(result) = decode_result(bytes) else { return };
    let Outcome::Answer { instances, .. } = &result.outcome else { return };
    let frame = result.header.size.expect("an answer has a size");
    for i in instances {
        if let Some(mask) = &i.mask {
            assert!(mask.fits(frame) && mask.area() == i.area_px);
        }
    }
});
