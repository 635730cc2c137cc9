//! Camera pictures into the canvas, the canvas into I420 for the encoder and into RGB for stills.
//!
//! Letters: luma Y 0..=255, chroma U = Cb, V = Cr. Y'CbCr pictures keep their numbers (chroma is doubled on the way
//! in and averaged 2x2 on the way out), so what nothing was drawn on reaches the encoder as the camera gave it.

use super::canvas::{Canvas, Planes, Space, usual_matrix};
use super::style::Rgb;
use crate::frame::{Image, PixelFormat, Plane, YuvMatrix};
use crate::geometry::ImageSize;

/// The undrawn picture as R'G'B'.
pub fn to_rgb(image: &Image) -> image::RgbImage {
    Canvas::from_image(image, Space::Rgb).to_rgb()
}

/// The size a picture is encoded in: H.264 with 4:2:0 chroma needs even sides, and encoders refuse tiny pictures.
/// Sides are rounded up to even and to at least 16; the last column and row are repeated.
pub fn coded_size(size: ImageSize) -> ImageSize {
    let side = |px: u32| px.next_multiple_of(2).max(16);
    ImageSize::new(side(size.width), side(size.height))
}

impl Canvas {
    /// Copies `image` in; memory is kept from picture to picture.
    pub fn load(&mut self, image: &Image, space: Space) {
        let source_matrix = match image.format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => None,
            // Grey has no chroma and uses all 256 steps.
            PixelFormat::Gray8 => Some(YuvMatrix::Bt601Full),
            PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2 => Some(image.matrix),
        };
        let planes = match space {
            Space::Rgb => Planes::Rgb,
            Space::Video => Planes::Yuv(source_matrix.unwrap_or(usual_matrix(image.size))),
        };
        self.resize(image.size, planes);
        let width = image.size.width as usize;
        let [a, b, c] = &mut self.data;
        let rows = a
            .chunks_exact_mut(width)
            .zip(b.chunks_exact_mut(width))
            .zip(c.chunks_exact_mut(width));
        for (y, ((a, b), c)) in rows.enumerate() {
            load_row(image, y, a, b, c);
            match (source_matrix, planes) {
                (Some(matrix), Planes::Rgb) => yuv_row_to_rgb(matrix, a, b, c),
                (None, Planes::Yuv(matrix)) => rgb_row_to_yuv(matrix, a, b, c),
                _ => {}
            }
        }
    }

    /// The matrix of the canvas when it is kept in Y'CbCr.
    pub fn matrix(&self) -> Option<YuvMatrix> {
        match self.planes {
            Planes::Rgb => None,
            Planes::Yuv(matrix) => Some(matrix),
        }
    }

    /// Writes the canvas as I420 of `coded_size(self.size())` into `out`, planes where `layout` says (Y, U, V).
    ///
    /// Meant for a [`Space::Video`] canvas: an RGB canvas is written as it is, plane for plane, in wrong colours.
    pub fn write_i420(&self, layout: [Plane; 3], out: &mut [u8]) {
        let coded = coded_size(self.size);
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let row_of = |plane: usize, y: usize| {
            let y = y.min(height - 1);
            &self.data[plane][y * width..(y + 1) * width]
        };
        for y in 0..coded.height as usize {
            let start = layout[0].offset + y * layout[0].row_pitch;
            let out_row = &mut out[start..start + coded.width as usize];
            let row = row_of(0, y);
            out_row[..width].copy_from_slice(row);
            out_row[width..].fill(row[width - 1]);
        }
        for (plane, layout) in layout.iter().enumerate().skip(1) {
            for y in 0..coded.height as usize / 2 {
                let start = layout.offset + y * layout.row_pitch;
                let out_row = &mut out[start..start + coded.width as usize / 2];
                halve_rows(row_of(plane, 2 * y), row_of(plane, 2 * y + 1), out_row);
            }
        }
    }

    /// The canvas as an R'G'B' picture.
    pub fn to_rgb(&self) -> image::RgbImage {
        let mut rgb = image::RgbImage::new(self.size.width, self.size.height);
        let planes = self.data[0].iter().zip(&self.data[1]).zip(&self.data[2]);
        for (pixel, ((&a, &b), &c)) in rgb.pixels_mut().zip(planes) {
            pixel.0 = match self.planes {
                Planes::Rgb => [a, b, c],
                Planes::Yuv(matrix) => {
                    let Rgb(r, g, b) = rgb_of(matrix, [a, b, c]);
                    [r, g, b]
                }
            };
        }
        rgb
    }
}

/// Two rows into one of half the length, each value the mean of 2x2; what lies beyond the row repeats its last value.
fn halve_rows(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
    for (value, (u, l)) in out.iter_mut().zip(pairs) {
        *value = ((u16::from(u[0]) + u16::from(u[1]) + u16::from(l[0]) + u16::from(l[1]) + 2) >> 2) as u8;
    }
    let last = u16::from(upper[upper.len() - 1]) + u16::from(lower[lower.len() - 1]);
    let whole = upper.len() / 2;
    if out.len() > whole {
        out[whole..].fill(((last + 1) >> 1) as u8);
    }
}

/// Row `y` of `image` into three rows of its own colours, chroma doubled.
fn load_row(image: &Image, y: usize, a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
    match image.format {
        PixelFormat::Rgb8 => split_triples(image.row(0, y), a, b, c),
        PixelFormat::Bgr8 => split_triples(image.row(0, y), c, b, a),
        PixelFormat::Gray8 => {
            a.copy_from_slice(image.row(0, y));
            b.fill(128);
            c.fill(128);
        }
        PixelFormat::I420 => {
            a.copy_from_slice(image.row(0, y));
            double(image.row(1, y / 2), b);
            double(image.row(2, y / 2), c);
        }
        PixelFormat::Nv12 => {
            a.copy_from_slice(image.row(0, y));
            let pairs = image.row(1, y / 2).as_chunks::<2>().0;
            let ((b, b_odd), (c, c_odd)) = (b.as_chunks_mut::<2>(), c.as_chunks_mut::<2>());
            for ((b, c), &[u, v]) in b.iter_mut().zip(c).zip(pairs) {
                (*b, *c) = ([u; 2], [v; 2]);
            }
            if let ([b], [c], Some(&[u, v])) = (b_odd, c_odd, pairs.last()) {
                (*b, *c) = (u, v);
            }
        }
        PixelFormat::Yuy2 => {
            let quads = image.row(0, y).as_chunks::<4>().0;
            let ((a, a_odd), (b, b_odd), (c, c_odd)) =
                (a.as_chunks_mut::<2>(), b.as_chunks_mut::<2>(), c.as_chunks_mut::<2>());
            for (((a, b), c), &[y0, u, y1, v]) in a.iter_mut().zip(b).zip(c).zip(quads) {
                (*a, *b, *c) = ([y0, y1], [u; 2], [v; 2]);
            }
            if let ([a], [b], [c], Some(&[y0, u, _, v])) = (a_odd, b_odd, c_odd, quads.last()) {
                (*a, *b, *c) = (y0, u, v);
            }
        }
    }
}

fn split_triples(row: &[u8], a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
    for (((triple, a), b), c) in row.chunks_exact(3).zip(a).zip(b).zip(c) {
        *a = triple[0];
        *b = triple[1];
        *c = triple[2];
    }
}

/// Each value twice; the last once when `out` is odd.
fn double(half: &[u8], out: &mut [u8]) {
    let odd = out.len() % 2 == 1;
    let mut pairs = out.chunks_exact_mut(2);
    for (pair, &value) in (&mut pairs).zip(half) {
        pair[0] = value;
        pair[1] = value;
    }
    if odd && let ([last], Some(&value)) = (pairs.into_remainder(), half.last()) {
        *last = value;
    }
}

/// `(kr, kb)` of ITU-R BT.601 and BT.709, and whether 16..235 / 16..240 is the range.
fn weights(matrix: YuvMatrix) -> (f32, f32, bool) {
    match matrix {
        YuvMatrix::Bt601Limited => (0.299, 0.114, true),
        YuvMatrix::Bt601Full => (0.299, 0.114, false),
        YuvMatrix::Bt709Limited => (0.2126, 0.0722, true),
        YuvMatrix::Bt709Full => (0.2126, 0.0722, false),
    }
}

/// One colour into Y'CbCr.
pub(super) fn yuv_of(matrix: YuvMatrix, colour: Rgb) -> [u8; 3] {
    let (kr, kb, limited) = weights(matrix);
    let (r, g, b) = (f32::from(colour.0), f32::from(colour.1), f32::from(colour.2));
    let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (cb, cr) = ((b - luma) / (2.0 * (1.0 - kb)), (r - luma) / (2.0 * (1.0 - kr)));
    let (offset, luma_range, chroma_range) = if limited {
        (16.0, 219.0, 224.0)
    } else {
        (0.0, 255.0, 255.0)
    };
    let byte = |v: f32| v.round().clamp(0.0, 255.0) as u8;
    [
        byte(offset + luma * luma_range / 255.0),
        byte(128.0 + cb * chroma_range / 255.0),
        byte(128.0 + cr * chroma_range / 255.0),
    ]
}

/// Y'CbCr to R'G'B' in 1/65536.
struct ToRgb {
    offset: i32,
    y: i32,
    r_from_v: i32,
    g_from_u: i32,
    g_from_v: i32,
    b_from_u: i32,
}

impl ToRgb {
    fn new(matrix: YuvMatrix) -> ToRgb {
        let (kr, kb, limited) = weights(matrix);
        let kg = 1.0 - kr - kb;
        let (offset, luma, chroma) = if limited {
            (16, 255.0 / 219.0, 255.0 / 224.0)
        } else {
            (0, 1.0, 1.0)
        };
        let fixed = |v: f32| (v * 65_536.0).round() as i32;
        ToRgb {
            offset,
            y: fixed(luma),
            r_from_v: fixed(2.0 * (1.0 - kr) * chroma),
            g_from_u: fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
            g_from_v: fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
            b_from_u: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    fn apply(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let luma = (i32::from(y) - self.offset) * self.y + 32_768;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let byte = |v: i32| (v >> 16).clamp(0, 255) as u8;
        [
            byte(luma + self.r_from_v * v),
            byte(luma + self.g_from_u * u + self.g_from_v * v),
            byte(luma + self.b_from_u * u),
        ]
    }
}

/// One Y'CbCr value as a colour.
pub(super) fn rgb_of(matrix: YuvMatrix, [y, u, v]: [u8; 3]) -> Rgb {
    let [r, g, b] = ToRgb::new(matrix).apply(y, u, v);
    Rgb(r, g, b)
}

fn yuv_row_to_rgb(matrix: YuvMatrix, a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
    let to_rgb = ToRgb::new(matrix);
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        [*a, *b, *c] = to_rgb.apply(*a, *b, *c);
    }
}

/// In place, limited range, 1/256: 16-bit sums on purpose, they run eight at a time on every x86-64.
fn rgb_row_to_yuv(matrix: YuvMatrix, a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
    match matrix {
        YuvMatrix::Bt601Limited | YuvMatrix::Bt601Full => {
            rgb_row_by::<66, 129, 25, -38, -74, -94, -18>(a, b, c);
        }
        YuvMatrix::Bt709Limited | YuvMatrix::Bt709Full => {
            rgb_row_by::<47, 157, 16, -26, -86, -102, -10>(a, b, c);
        }
    }
}

/// The luma weights add up to 220, each chroma row to 0 (with 112 for its own colour), so grey stays grey.
fn rgb_row_by<
    const YR: u16,
    const YG: u16,
    const YB: u16,
    const UR: i16,
    const UG: i16,
    const VG: i16,
    const VB: i16,
>(
    a: &mut [u8],
    b: &mut [u8],
    c: &mut [u8],
) {
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        let (r, g, bl) = (u16::from(*a), u16::from(*b), u16::from(*c));
        let (ri, gi, bi) = (r as i16, g as i16, bl as i16);
        *a = (((YR * r + YG * g + YB * bl + 128) >> 8) + 16) as u8;
        *b = (((UR * ri + UG * gi + 112 * bi + 128) >> 8) + 128) as u8;
        *c = (((112 * ri + VG * gi + VB * bi + 128) >> 8) + 128) as u8;
    }
}
