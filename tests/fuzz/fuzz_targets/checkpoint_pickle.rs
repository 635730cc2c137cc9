//! Any bytes as a pickle of arrays: an error, or tensors that fit their shapes and the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use maskcast::model::checkpoint::{Checkpoint, Format};

fuzz_target!(|bytes: &[u8]| {
    let stream = [b"\x80\x02", bytes].concat();
    let Ok(checkpoint) = Checkpoint::from_bytes(&stream, Path::new("fuzz"), Format::Detectron2) else { return };
    let values: usize = checkpoint.tensors.values().map(|tensor| tensor.values.len()).sum();
    assert!(values <= stream.len());
    for tensor in checkpoint.tensors.values() {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
    if let Ok(ours) = checkpoint.canonical(Format::Detectron2) {
        for tensor in ours.tensors.values() {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        }
        let _ = ours.facts();
    }
});
