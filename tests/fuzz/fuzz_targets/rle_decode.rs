//! Any counts for any small crop: an error, or runs that encode back to a mask of the same pixels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use maskcast::instances::MaskRuns;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (width, height, counts) = input;
    let (width, height) = (u32::from(width), u32::from(height));
    let Ok(runs) = MaskRuns::from_counts(0, 0, width, height, counts) else { return };
    let again = MaskRuns::from_counts(0, 0, width, height, &runs.to_counts()).expect("our own counts are read back");
    assert_eq!(again.to_dense(), runs.to_dense());
});
