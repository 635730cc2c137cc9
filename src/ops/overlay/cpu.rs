//! The plain loops.

use super::{Tint, blend};
use crate::geometry::ImageSize;
use crate::instances::MaskRuns;

pub(super) fn tint_rgb(picture: &mut [u8], row_pitch: usize, size: ImageSize, tints: &[Tint<'_>], alpha: u16) {
    for tint in tints.iter().rev() {
        for (x, y) in pixels(tint.mask, size) {
            let pixel = &mut picture[y * row_pitch + 3 * x..][..3];
            for (value, tone) in pixel.iter_mut().zip(tint.tone) {
                *value = blend(*value, tone, alpha);
            }
        }
    }
}

pub(super) fn tint_nv12(
    (luma, luma_pitch): (&mut [u8], usize),
    (chroma, chroma_pitch): (&mut [u8], usize),
    size: ImageSize,
    tints: &[Tint<'_>],
    alpha: u16,
) {
    let (width, height) = (size.width as usize, size.height as usize);
    for tint in tints.iter().rev() {
        for (x, y) in pixels(tint.mask, size) {
            let pixel = &mut luma[y * luma_pitch + x];
            *pixel = blend(*pixel, tint.tone[0], alpha);
        }
    }
    for part in [0, 1] {
        let at = |x: usize, y: usize| y / 2 * chroma_pitch + x / 2 * 2 + part;
        let mut doubled: Vec<u8> = (0..width * height).map(|i| chroma[at(i % width, i / width)]).collect();
        for tint in tints.iter().rev() {
            for (x, y) in pixels(tint.mask, size) {
                let pixel = &mut doubled[y * width + x];
                *pixel = blend(*pixel, tint.tone[1 + part], alpha);
            }
        }
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                // The last column and row of an odd picture count twice.
                let (right, below) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
                let four = [(x, y), (right, y), (x, below), (right, below)];
                let sum: u16 = four.map(|(x, y)| u16::from(doubled[y * width + x])).iter().sum();
                chroma[at(x, y)] = ((sum + 2) >> 2) as u8;
            }
        }
    }
}

/// Set pixels inside a picture.
fn pixels(mask: &MaskRuns, size: ImageSize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let spans = mask.spans().filter(move |span| span.column < size.width);
    spans.flat_map(move |span| {
        let rows = span.row_start..span.row_end.min(size.height);
        rows.map(move |row| (span.column as usize, row as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{OverlayError, tint_nv12, tint_rgb};
    use super::*;

    fn mask(x: u32, y: u32, width: u32, height: u32) -> MaskRuns {
        MaskRuns::from_dense(x, y, width, height, &vec![1; (width * height) as usize]).expect("set pixels")
    }

    #[test]
    fn colours_are_blended_in_256_parts() {
        assert_eq!(blend(100, 200, 0), 100);
        assert_eq!(blend(100, 200, 256), 200);
        assert_eq!(blend(100, 200, 128), 150);
        assert_eq!(blend(0, 255, 92), 92); // 255 * 92 / 256 = 91.64
        assert_eq!(blend(255, 255, 92), 255);
        for alpha in 0..=256 {
            assert_eq!(blend(77, 77, alpha), 77);
        }
    }

    #[test]
    fn the_first_mask_lies_on_top_and_outside_nothing_changes() {
        let mut picture = vec![10; 3 * 4 * 2 + 5];
        let (below, above) = (mask(0, 0, 2, 1), mask(1, 0, 9, 9));
        let tints = [
            Tint {
                mask: &above,
                tone: [0, 0, 255],
            },
            Tint {
                mask: &below,
                tone: [255, 0, 0],
            },
        ];
        // Rows of 4 pixels, 13 bytes apart, of which 3 pixels are the picture.
        tint_rgb(&mut picture, 13, ImageSize::new(3, 2), &tints, 256).unwrap();
        assert_eq!(picture[..13], [255, 0, 0, 0, 0, 255, 0, 0, 255, 10, 10, 10, 10]);
        assert_eq!(picture[13..22], [10, 10, 10, 0, 0, 255, 0, 0, 255]);
        let short = tint_rgb(&mut picture, 13, ImageSize::new(3, 3), &[], 256).unwrap_err();
        let expected = OverlayError {
            what: "R G B",
            size: ImageSize::new(3, 3),
            row_pitch: 13,
            expected: 35,
            got: 29,
        };
        assert_eq!(short, expected);
    }

    #[test]
    fn chroma_is_the_mean_of_its_pixels() {
        let (mut luma, mut chroma) = (vec![100; 9], vec![50, 60, 50, 60, 50, 60, 50, 60]);
        let (one, corner) = (mask(0, 0, 1, 1), mask(2, 2, 1, 1));
        let tint = |mask| Tint {
            mask,
            tone: [200, 90, 180],
        };
        let size = ImageSize::new(3, 3);
        tint_nv12(
            (&mut luma, 3),
            (&mut chroma, 4),
            size,
            &[tint(&one), tint(&corner)],
            256,
        )
        .unwrap();
        assert_eq!(luma, [200, 100, 100, 100, 100, 100, 100, 100, 200]);
        // One of four pixels: (90 + 3 * 50 + 2) / 4, (180 + 3 * 60 + 2) / 4. The corner of an odd picture is all four.
        assert_eq!(chroma, [60, 90, 50, 60, 50, 60, 90, 180]);
    }
}
