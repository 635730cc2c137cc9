//! Masks tinted into a picture: the fill that `outlets::overlay` gives each mask, on the host or on a GPU. Outlines, boxes
//! and words are drawn on the host.
//!
//! A pixel and a colour are blended in u8 (see [`blend`]); masks in order of score, the first on top: the last is drawn
//! first. Y'CbCr pictures keep their numbers: chroma is doubled, blended like luma, and averaged 2x2 again, so that what no
//! mask touches stays as it was.

pub mod check;
pub mod launch;

mod cpu;

use crate::geometry::ImageSize;
use crate::instances::MaskRuns;

/// One mask's fill.
#[derive(Debug, Clone, Copy)]
pub struct Tint<'a> {
    pub mask: &'a MaskRuns,
    /// R G B, or Y Cb Cr.
    pub tone: [u8; 3],
}

/// Why bytes are no picture to draw on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("picture of {size} in {got} bytes of {what}: expected at least {expected}, rows {row_pitch} apart")]
pub struct OverlayError {
    pub what: &'static str,
    pub size: ImageSize,
    pub row_pitch: usize,
    pub expected: usize,
    pub got: usize,
}

/// `value` over `pixel`; `alpha` of 256 parts are `value`.
#[inline(always)]
pub const fn blend(pixel: u8, value: u8, alpha: u16) -> u8 {
    if alpha >= 256 {
        return value;
    }
    ((pixel as u16 * (256 - alpha)).saturating_add(value as u16 * alpha + 128) >> 8) as u8
}

/// Tints a picture of R G B bytes, rows `row_pitch` bytes apart.
pub fn tint_rgb(
    picture: &mut [u8],
    row_pitch: usize,
    size: ImageSize,
    tints: &[Tint<'_>],
    alpha: u16,
) -> Result<(), OverlayError> {
    expect_rows(
        "R G B",
        picture.len(),
        size,
        row_pitch,
        3 * size.width as usize,
        size.height,
    )?;
    cpu::tint_rgb(picture, row_pitch, size, tints, alpha);
    Ok(())
}

/// Tints an NV12 picture: luma, then Cb Cr at half size (rounded up); of each the bytes and how far apart its rows are.
pub fn tint_nv12(
    luma: (&mut [u8], usize),
    chroma: (&mut [u8], usize),
    size: ImageSize,
    tints: &[Tint<'_>],
    alpha: u16,
) -> Result<(), OverlayError> {
    expect_rows("luma", luma.0.len(), size, luma.1, size.width as usize, size.height)?;
    let pairs = 2 * size.width.div_ceil(2) as usize;
    expect_rows("chroma", chroma.0.len(), size, chroma.1, pairs, size.height.div_ceil(2))?;
    cpu::tint_nv12(luma, chroma, size, tints, alpha);
    Ok(())
}

fn expect_rows(
    what: &'static str,
    got: usize,
    size: ImageSize,
    row_pitch: usize,
    row: usize,
    rows: u32,
) -> Result<(), OverlayError> {
    let expected = (rows as usize)
        .saturating_sub(1)
        .saturating_mul(row_pitch)
        .saturating_add(row);
    if row_pitch >= row && (got >= expected || rows == 0) {
        return Ok(());
    }
    Err(OverlayError {
        what,
        size,
        row_pitch,
        expected,
        got,
    })
}
