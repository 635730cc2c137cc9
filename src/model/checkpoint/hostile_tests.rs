//! Files that are damaged, made to harm, or no checkpoints at all.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[test]
fn what_is_no_checkpoint_is_said() {
    let text = |bytes: &[u8], format| parse(bytes, format).unwrap_err().to_string();
    assert_eq!(
        text(b"<html>404</html>", Format::Torchvision),
        "checkpoint a file: expected a file of torch.save, a pickle or a safetensors file, \
         got one that starts with [3c, 68, 74, 6d, 6c, 3e, 34, 30]"
    );
    assert!(text(b"", Format::Detectron2).ends_with("got one that starts with []"));
    assert!(
        text(b"", Format::MaskRcnn2Go).ends_with("expected a Caffe2 net that fills blobs, got one that fills none")
    );
    assert!(text(b"PK\x03\x04", Format::Torchvision).contains("expected a zip archive of torch.save"));
    assert_eq!(
        text(b"\x80\x02}X\x03\x00\x00\x00net}s.", Format::Torchvision),
        "checkpoint a file: expected tensors, or one of the keys model, state_dict, model_state_dict, \
         got the keys [\"net\"]"
    );
    assert_eq!(
        text(
            b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00aK\x01ss.",
            Format::Torchvision
        ),
        "checkpoint a file: tensor \"a\": expected a tensor or an array, got an integer"
    );
    let long = [
        &b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x04\x00\x00"[..],
        &[b'a'; 1025],
        b"Nss.",
    ]
    .concat();
    assert!(text(&long, Format::Detectron2).ends_with("expected names of at most 1024 bytes, got one of 1025 bytes"));
    let zip = bytes_of("kinds_zip.pth");
    let text_of = |old: &[u8], new: &[u8]| text(&replace(&zip, old, new), Format::Torchvision);
    assert!(text_of(b"little", b"biggie").ends_with("expected little-endian storages, got byte order \"biggie\""));
    assert!(text_of(b"data.pkl", b"data.pkm").contains("expected an archive of torch.save with one entry data.pkl"));
    let missing = text_of(b"kinds_zip/data/0", b"kinds_zip/data/x");
    assert!(
        missing.contains("expected a storage of 24 times 4 bytes, got none"),
        "{missing}"
    );
    assert!(text_of(b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_tensor_v9").contains("_v9"));
    // Method 8, deflate, in the central directory.
    let central = replace(
        &zip,
        b"PK\x01\x02\x00\x00\x00\x00\x08\x08\x00\x00",
        b"PK\x01\x02\x00\x00\x00\x00\x08\x08\x08\x00",
    );
    assert!(text(&central, Format::Torchvision).contains("compressed or encrypted"));
    let big = replace(
        &bytes_of("kinds_legacy.pth"),
        b"little_endianq\x02\x88",
        b"little_endianq\x02\x89",
    );
    assert!(text(&big, Format::Torchvision).ends_with("expected little-endian storages, got big-endian ones"));
}

#[test]
fn storages_cut_short_are_named() {
    let legacy = bytes_of("kinds_legacy.pth");
    let text = parse(&legacy[..legacy.len() - 1], Format::Torchvision)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("expected a whole file, got the end within storage"),
        "{text}"
    );
}

#[test]
fn stretched_tensors_cannot_fill_the_memory() {
    // One f32 seen as [255, 255] by strides of 0.
    let zip = bytes_of("kinds_zip.pth");
    let stretched = replace(
        &zip,
        b"K\x03K\x04\x86q\x18K\x01K\x00\x86",
        b"K\xffK\xff\x86q\x18K\x00K\x00\x86",
    );
    let text = parse(&stretched, Format::Torchvision).unwrap_err().to_string();
    assert!(
        text.contains("tensor \"stretched\": expected at most as many values in all as the file has bytes"),
        "{text}"
    );
}

#[test]
fn files_cut_short_are_errors() {
    for (file, format) in FILES {
        let bytes = bytes_of(file);
        for length in (0..bytes.len()).step_by(bytes.len() / 400 + 1) {
            let cut = parse(&bytes[..length], format);
            // A Caffe2 net is a list: cut between two operators, it is a shorter one.
            assert!(cut.is_err() || format == Format::MaskRcnn2Go, "{file} {length}");
        }
    }
}

/// What a reader may make of hostile bytes: an error, or tensors that fit their shapes and the file.
fn check(bytes: &[u8], format: Format) {
    let Ok(checkpoint) = parse(bytes, format) else {
        return;
    };
    let values: usize = checkpoint.tensors.values().map(|t| t.values.len()).sum();
    assert!(values <= bytes.len());
    for tensor in checkpoint.tensors.values() {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
    if let Ok(ours) = checkpoint.canonical(format) {
        let _ = ours.facts();
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        which in 0..FILES.len(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
        cut in prop::option::of((any::<Index>(), 1..40usize)),
    ) {
        let (file, format) = FILES[which];
        let mut bytes = bytes_of(file);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((from, count)) = cut {
            let from = from.index(bytes.len());
            bytes.drain(from..(from + count).min(bytes.len()));
        }
        check(&bytes, format);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        start in prop::sample::select(vec![&b""[..], b"\x80\x02", b"PK\x03\x04", b"\x80\x02(ctorch._utils\n_rebuild_tensor_v2\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..400),
        format in prop::sample::select(Format::ALL.to_vec()),
    ) {
        check(&[start, &rest].concat(), format);
    }

    /// Opcodes and small numbers: streams that live longer than arbitrary bytes do.
    #[test]
    fn plausible_pickles_never_panic(opcodes in prop::collection::vec(prop::sample::select(vec![
        &b"("[..], b"N", b"K\x01", b"K\x04", b"X\x01\x00\x00\x00a", b"U\x04\x00\x00\x80\x3f", b")", b"]", b"}", b"t", b"l", b"d",
        b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"\x85", b"\x86", b"\x87", b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"R", b"b",
        b"Q", b"X\x05\x00\x00\x00model", b"X\x02\x00\x00\x00f4", b"X\x01\x00\x00\x00<", b"\x88", b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n",
        b"c_codecs\nencode\n", b"X\x06\x00\x00\x00latin1", b"X\x07\x00\x00\x00storage",
    ]), 0..60)) {
        let stream = [b"\x80\x02", opcodes.concat().as_slice(), b"."].concat();
        check(&stream, Format::Detectron2);
    }
}
