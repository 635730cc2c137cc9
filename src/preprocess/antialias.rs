//! Antialiased resizing, as Pillow's `BILINEAR` does it and so detectron2: a triangle as wide as the source pixels an
//! output pixel covers, to whole values 0..255. For offline use and networks trained so; a camera's frame takes some ms.

use image::imageops::{FilterType, resize as resample};
use image::{ImageBuffer, Rgb};

use super::plain;
use crate::frame::{Image, ImageError, PixelFormat};
use crate::geometry::ImageSize;

/// RGB8 of size `to`, which is not empty.
pub(super) fn resize(image: &Image, to: ImageSize) -> Result<Image, ImageError> {
    let size = image.size;
    let mut pixels: ImageBuffer<Rgb<u8>, Vec<u8>> = ImageBuffer::new(size.width, size.height);
    for (x, y, pixel) in pixels.enumerate_pixels_mut() {
        pixel.0 = plain::rgb(image, x as usize, y as usize).map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8);
    }
    let small = resample(&pixels, to.width, to.height, FilterType::Triangle);
    Image::packed(PixelFormat::Rgb8, to, small.into_raw())
}
