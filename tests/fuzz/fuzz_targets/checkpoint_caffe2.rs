//! Any bytes as a Caffe2 net: an error, or tensors that fit their shapes and the file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use maskcast::model::checkpoint::{Checkpoint, Format};

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes, Path::new("fuzz"), Format::MaskRcnn2Go) else { return };
    let values: usize = checkpoint.tensors.values().map(|tensor| tensor.values.len()).sum();
    assert!(values <= bytes.len());
    for tensor in checkpoint.tensors.values() {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
});
