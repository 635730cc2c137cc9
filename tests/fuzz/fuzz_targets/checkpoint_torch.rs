//! Any bytes as a file of torch.save: an error, or tensors that fit their shapes and the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use maskcast::model::checkpoint::{Checkpoint, Format};

fuzz_target!(|bytes: &[u8]| {
    // Both containers start with fixed bytes; the first byte chooses one.
    let Some((choice, rest)) = bytes.split_first() else { return };
    let start: &[u8] = match choice % 3 {
        0 => b"PK\x03\x04",
        1 => b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        _ => b"",
    };
    let Ok(checkpoint) = Checkpoint::from_bytes(&[start, rest].concat(), Path::new("fuzz"), Format::Torchvision) else {
        return;
    };
    for tensor in checkpoint.tensors.values() {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
    if let Ok(ours) = checkpoint.canonical(Format::Torchvision) {
        let _ = ours.facts();
    }
});
