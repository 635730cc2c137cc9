//! How long a file says it is. Demuxers take the end of a cut file for the end of the video and say nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that a container announces above those the file has: `Some((announced, bytes))` when the file is cut short.
/// Formats that announce nothing (MPEG-TS, Matroska of unknown size, unfinished files), and files that cannot be read,
/// are not judged.
pub(super) fn cut_short(path: &Path) -> Option<(u64, u64)> {
    let mut file = File::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    let announced = announced(&mut file, bytes)?;
    (announced > bytes).then_some((announced, bytes))
}

fn announced(file: &mut (impl Read + Seek), bytes: u64) -> Option<u64> {
    let mut head = [0u8; 64];
    let got = read_at(file, 0, &mut head)?;
    let head = &head[..got];
    match head.get(..8)? {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(head),
        [b'R', b'I', b'F', b'F', size @ ..] => {
            let size = u64::from(u32::from_le_bytes(size.try_into().ok()?));
            // 0 and all ones stand in files whose writer never came back to fill it in.
            (size != 0 && size != u64::from(u32::MAX)).then_some(size + 8)
        }
        [_, _, _, _, b'f', b't', b'y', b'p']
        | [_, _, _, _, b'm', b'o', b'o', b'v']
        | [_, _, _, _, b'm', b'd', b'a', b't'] => iso_boxes(file, bytes),
        _ => None,
    }
}

/// EBML header, then the Segment with its size.
fn matroska(head: &[u8]) -> Option<u64> {
    let (header, width) = vint(head.get(4..)?)?;
    let segment = usize::try_from(header?).ok()?.checked_add(4 + width)?;
    let rest = head.get(segment..)?;
    let (size, width) = vint(rest.strip_prefix(&[0x18, 0x53, 0x80, 0x67])?)?;
    Some(segment as u64 + 4 + width as u64 + size?)
}

/// An EBML number and its width; `None` inside = "unknown".
fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let mut value = u64::from(bytes[0]) & ((1u64 << (8usize.checked_sub(width)?)) - 1);
    for byte in bytes.get(1..width)? {
        value = value << 8 | u64::from(*byte);
    }
    let unknown = (1u64 << (7 * width)) - 1;
    Some(((value != unknown).then_some(value), width))
}

/// The end of the last box, walking from box to box.
fn iso_boxes(file: &mut (impl Read + Seek), bytes: u64) -> Option<u64> {
    let mut at = 0u64;
    while at < bytes {
        let mut head = [0u8; 16];
        let got = read_at(file, at, &mut head)?;
        if got < 8 {
            return Some(at + 8);
        }
        let size = match u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])) {
            0 => return None,
            1 if got < 16 => return Some(at + 16),
            1 => u64::from_be_bytes(head[8..16].try_into().ok()?),
            size => size,
        };
        if size < 8 {
            return None;
        }
        at = at.checked_add(size)?;
    }
    Some(at)
}

fn read_at(file: &mut (impl Read + Seek), at: u64, into: &mut [u8]) -> Option<usize> {
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut got = 0;
    while got < into.len() {
        match file.read(&mut into[got..]).ok()? {
            0 => break,
            n => got += n,
        }
    }
    Some(got)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(bytes: &[u8]) -> Option<u64> {
        announced(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    fn iso(boxes: &[(&[u8; 4], u32)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, payload) in boxes {
            out.extend((payload + 8).to_be_bytes());
            out.extend_from_slice(*name);
            out.extend(vec![0; *payload as usize]);
        }
        out
    }

    #[test]
    fn iso_boxes_are_walked() {
        let whole = iso(&[(b"ftyp", 16), (b"moov", 100), (b"mdat", 1000)]);
        assert_eq!(of(&whole), Some(whole.len() as u64));
        assert_eq!(of(&whole[..500]), Some(whole.len() as u64));
        // Cut inside a box's head: at least that head is missing.
        assert_eq!(of(&whole[..28]), Some(32));
        let mut open = iso(&[(b"ftyp", 16)]);
        open.extend([0, 0, 0, 0, b'm', b'd', b'a', b't', 9, 9]);
        assert_eq!(of(&open), None, "size 0: to the end, wherever that is");
        let mut large = iso(&[(b"ftyp", 16)]);
        large.extend([0, 0, 0, 1, b'm', b'd', b'a', b't', 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(of(&large), Some(24 + (1 << 32)));
    }

    #[test]
    fn riff_and_matroska_say_their_size() {
        assert_eq!(of(b"RIFF\x10\x00\x00\x00AVI LIST"), Some(24));
        assert_eq!(of(b"RIFF\x00\x00\x00\x00AVI LIST"), None);
        let mut mkv = vec![0x1a, 0x45, 0xdf, 0xa3, 0x83, 1, 2, 3, 0x18, 0x53, 0x80, 0x67];
        let head = mkv.len();
        mkv.extend([0x41, 0x00]);
        assert_eq!(of(&mkv), Some(head as u64 + 2 + 0x100));
        mkv.truncate(head);
        mkv.extend([0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(of(&mkv), None, "unknown size");
    }

    #[test]
    fn other_files_are_not_judged() {
        assert_eq!(of(b""), None);
        assert_eq!(of(b"GIF89a__________"), None);
        assert_eq!(of(&[0x47; 188]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(
            magic in 0usize..4, tail in proptest::collection::vec(0u8..=255, 0..64)
        ) {
            let mut bytes: Vec<u8> = [&b""[..], b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\0\x08ftyp"][magic].to_vec();
            bytes.extend(tail);
            let _ = of(&bytes);
        }
    }
}
