//! Antialiased resizing, as Pillow's `BILINEAR` does it and so detectron2, to the last bit: a triangle as wide as the
//! source pixels an output pixel covers, first along rows and then along columns, each pass to whole values 0..255 with
//! weights in fixed point. Pillow 11.3.0; the passes come in the other order for some sizes since 13.0.0, which moves a few
//! values. For offline use and networks trained so; a camera's frame takes some ms.

use super::plain;
use crate::frame::{Image, ImageError, PixelFormat};
use crate::geometry::ImageSize;

/// Bits of a weight's fraction: a sum of them times 255 still fits 31 bits.
const FRACTION_BITS: u32 = 22;

/// RGB8 of size `to`, which is not empty.
pub(super) fn resize(image: &Image, to: ImageSize) -> Result<Image, ImageError> {
    let from = image.size;
    let mut pixels = Vec::with_capacity(3 * from.area() as usize);
    for y in 0..from.height as usize {
        for x in 0..from.width as usize {
            pixels.extend(plain::rgb(image, x, y).map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8));
        }
    }
    let (w, h) = (from.width as usize, from.height as usize);
    if from.width != to.width {
        let columns = taps(from.width, to.width);
        // One line = one row: its pixels lie side by side.
        pixels = pass(&pixels, w * 3, &columns, 3);
    }
    if from.height != to.height {
        let rows = taps(from.height, to.height);
        pixels = pass(&pixels, h * to.width as usize * 3, &rows, to.width as usize * 3);
    }
    Image::packed(PixelFormat::Rgb8, to, pixels)
}

/// What one output position sums up: from `first` on, one weight a source position.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(from: u32, to: u32) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let reach = scale.max(1.0);
    let of = |i: u32| {
        let centre = (f64::from(i) + 0.5) * scale;
        // `as` cuts off towards 0.
        let first = ((centre - reach + 0.5) as i64).max(0);
        let end = ((centre + reach + 0.5) as i64).min(i64::from(from));
        let triangle = |p: i64| (1.0 - ((p as f64 - centre + 0.5) / reach).abs()).max(0.0);
        let sum: f64 = (first..end).map(triangle).sum();
        let fixed = |w: f64| (w / sum * f64::from(1 << FRACTION_BITS) + 0.5) as i32;
        Taps {
            first: first as usize,
            weights: (first..end).map(|p| fixed(triangle(p))).collect(),
        }
    };
    (0..to).map(of).collect()
}

/// Resizes each run of `line` values; positions along the axis are `step` values apart, and those between are resized alike.
fn pass(pixels: &[u8], line: usize, taps: &[Taps], step: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / line.max(1) * taps.len() * step);
    for line in pixels.chunks_exact(line.max(1)) {
        for tap in taps {
            for offset in 0..step {
                let values = line[tap.first * step + offset..].iter().step_by(step);
                let start = 1 << (FRACTION_BITS - 1); // rounds
                let sum = values
                    .zip(&tap.weights)
                    .fold(start, |sum, (&v, w)| sum + i32::from(v) * w);
                out.push((sum >> FRACTION_BITS).clamp(0, 255) as u8);
            }
        }
    }
    out
}
