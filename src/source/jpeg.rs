//! Whether the bytes of one JPEG picture are whole. Decoders paint over what is missing (libjpeg fills it with grey and
//! says nothing), and a half-grey picture must not look like a good one.
//!
//! Only the structure is read: markers, segment lengths, the end of the entropy-coded data. Flipped bits inside that
//! data make no false marker and are not seen.

/// What is wrong with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JpegFault {
    #[error("JPEG without a start marker")]
    NoStart,
    #[error("JPEG of {width}x{height}")]
    NoSize { width: u16, height: u16 },
    #[error("JPEG cut off inside its headers")]
    HeadersCut,
    #[error("JPEG with marker 0xff{marker:02x} at byte {at}, where none may be")]
    StrayMarker { marker: u8, at: usize },
    #[error("JPEG without picture data")]
    NoScan,
    /// Some cameras never write the end marker: a fault only in streams that do.
    #[error("JPEG without an end marker: cut off after {bytes} bytes")]
    NoEnd { bytes: usize },
}

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// Reads the structure of one picture; bytes behind its end are padding.
pub(super) fn check(bytes: &[u8]) -> Result<(), JpegFault> {
    if !bytes.starts_with(&[0xff, START]) {
        return Err(JpegFault::NoStart);
    }
    let mut at = 2;
    let mut any_scan = false;
    loop {
        // `at` stands where a marker must be; fill bytes 0xff may stand before it.
        let cut = if any_scan {
            JpegFault::NoEnd { bytes: bytes.len() }
        } else {
            JpegFault::HeadersCut
        };
        while bytes.get(at) == Some(&0xff) && bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let (Some(&lead), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) else {
            return Err(cut);
        };
        if lead != 0xff || matches!(marker, 0x00 | 0x02..=0xbf | START) {
            return Err(JpegFault::StrayMarker { marker, at });
        }
        at += 2;
        match marker {
            END if any_scan => return Ok(()),
            END => return Err(JpegFault::NoScan),
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = match bytes.get(at..at + 2) {
            Some(&[high, low]) => usize::from(high) << 8 | usize::from(low),
            _ => return Err(cut),
        };
        let Some(segment) = bytes.get(at + 2..at + length.max(2)) else {
            return Err(cut);
        };
        if let (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, &[_, h1, h0, w1, w0, ..]) = (marker, segment) {
            let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
            if width == 0 || height == 0 {
                return Err(JpegFault::NoSize { width, height });
            }
        }
        at += length.max(2);
        if marker == SCAN {
            any_scan = true;
            at = end_of_scan(bytes, at);
        }
    }
}

/// The first marker after entropy-coded data that is no restart marker.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(skip) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xff)) {
        at += skip;
        match bytes.get(at + 1) {
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            Some(0xff) => at += 1,
            Some(_) | None => return at,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<u8> {
        let mut out = Vec::new();
        let rgb = image::RgbImage::from_fn(32, 16, |x, y| image::Rgb([(x * 8) as u8, (y * 16) as u8, 99]));
        image::codecs::jpeg::JpegEncoder::new(&mut out)
            .encode_image(&rgb)
            .expect("encodes");
        out
    }

    #[test]
    fn whole_pictures_pass_padded_or_not() {
        let mut bytes = picture();
        assert_eq!(check(&bytes), Ok(()));
        bytes.extend([0; 512]);
        assert_eq!(check(&bytes), Ok(()));
        // The smallest that has everything: SOI, SOS without parameters, data with a stuffed 0xff and a restart, EOI.
        let least = [
            0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2, 0xff, 0xd3, 3, 0xff, 0xff, 0xd9,
        ];
        assert_eq!(check(&least), Ok(()));
    }

    #[test]
    fn every_cut_is_seen() {
        let bytes = picture();
        for len in 0..bytes.len() {
            let fault = check(&bytes[..len]).expect_err("cut");
            let expected = match len {
                0 | 1 => matches!(fault, JpegFault::NoStart),
                _ => matches!(fault, JpegFault::HeadersCut | JpegFault::NoEnd { .. }),
            };
            assert!(expected, "{len}: {fault}");
        }
    }

    #[test]
    fn holes_and_stray_markers_are_seen() {
        let good = picture();
        let mut zeroed = good.clone();
        zeroed[..64].fill(0);
        assert_eq!(check(&zeroed), Err(JpegFault::NoStart));
        let mut stray = good.clone();
        let at = good.len() - 20;
        stray[at] = 0xff;
        stray[at + 1] = 0x4b;
        assert_eq!(check(&stray), Err(JpegFault::StrayMarker { marker: 0x4b, at }));
        let mut flat = good.clone();
        let sof = good.windows(2).position(|w| w == [0xff, 0xc0]).expect("SOF");
        flat[sof + 5..sof + 7].fill(0);
        assert_eq!(check(&flat), Err(JpegFault::NoSize { width: 32, height: 0 }));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(0u8..=255, 0..200)) {
            let mut bytes = bytes;
            let _ = check(&bytes);
            bytes.splice(0..0, [0xff, 0xd8]);
            let _ = check(&bytes);
        }
    }
}
