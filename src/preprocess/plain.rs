//! The specification: pixel by pixel, four neighbours each.

use super::colour::YuvToRgb;
use super::{Normalise, neighbours};
use crate::frame::{Image, PixelFormat};
use crate::geometry::Letterbox;

/// `out` [3, H, W]; `letterbox` fits both.
pub(super) fn run(image: &Image, letterbox: &Letterbox, normalise: Normalise, out: &mut [f32]) {
    let (source, resized, network) = (letterbox.source, letterbox.resized, letterbox.network);
    let plane = network.width as usize * network.height as usize;
    out.fill(0.0);
    for i in 0..resized.height as usize {
        let (y0, y1, fy) = neighbours(i, source.height, resized.height);
        for j in 0..resized.width as usize {
            let (x0, x1, fx) = neighbours(j, source.width, resized.width);
            let (a, b) = (rgb(image, x0, y0), rgb(image, x1, y0));
            let (c, d) = (rgb(image, x0, y1), rgb(image, x1, y1));
            for channel in 0..3 {
                let top = a[channel] * (1.0 - fx) + b[channel] * fx;
                let bottom = c[channel] * (1.0 - fx) + d[channel] * fx;
                let value = (top * (1.0 - fy) + bottom * fy).clamp(0.0, 1.0);
                out[channel * plane + i * network.width as usize + j] =
                    (value - normalise.mean[channel]) / normalise.std[channel];
            }
        }
    }
}

/// One source pixel, 0..1; Y'CbCr not clamped.
pub(super) fn rgb(image: &Image, x: usize, y: usize) -> [f32; 3] {
    let at = |plane: usize, row: usize, byte: usize| f32::from(image.row(plane, row)[byte]);
    let unit = |rgb: [f32; 3]| rgb.map(|v| v / 255.0);
    let yuv = |samples: [f32; 3]| YuvToRgb::of(image.matrix).apply(samples);
    let (cx, cy) = (x / 2, y / 2);
    match image.format {
        PixelFormat::Rgb8 => unit([at(0, y, 3 * x), at(0, y, 3 * x + 1), at(0, y, 3 * x + 2)]),
        PixelFormat::Bgr8 => unit([at(0, y, 3 * x + 2), at(0, y, 3 * x + 1), at(0, y, 3 * x)]),
        PixelFormat::Gray8 => unit([at(0, y, x); 3]),
        PixelFormat::Nv12 => yuv([at(0, y, x), at(1, cy, 2 * cx), at(1, cy, 2 * cx + 1)]),
        PixelFormat::I420 => yuv([at(0, y, x), at(1, cy, cx), at(2, cy, cx)]),
        PixelFormat::Yuy2 => yuv([at(0, y, 2 * x), at(0, y, 4 * cx + 1), at(0, y, 4 * cx + 3)]),
    }
}
