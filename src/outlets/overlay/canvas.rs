//! The picture being drawn on: three full-size planes, 8 bit, row pitch = width.
//!
//! Planes, because a span of one colour is then three runs of one byte, which every compiler turns into vector code;
//! full size, because letters and outlines need it. All coordinates may lie outside: drawing is clipped here.

use super::style::Rgb;
use crate::frame::{Image, YuvMatrix};
use crate::geometry::ImageSize;
use crate::ops::overlay::blend;

/// In which colours a canvas is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// R'G'B': stills.
    Rgb,
    /// Y'CbCr with the matrix of the picture itself (grey and RGB pictures get the usual one): video.
    Video,
}

/// What the three planes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planes {
    Rgb,
    Yuv(YuvMatrix),
}

/// A colour in the planes of one canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tone(pub(super) [u8; 3]);

/// A rectangle of whole pixels, `x0..x1` by `y0..y1`; may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x0: i32,
    pub(super) y0: i32,
    pub(super) x1: i32,
    pub(super) y1: i32,
}

impl Rect {
    pub(super) fn new(x: i32, y: i32, width: i32, height: i32) -> Rect {
        Rect {
            x0: x,
            y0: y,
            x1: x + width,
            y1: y + height,
        }
    }

    pub(super) fn width(self) -> i32 {
        self.x1 - self.x0
    }

    pub(super) fn height(self) -> i32 {
        self.y1 - self.y0
    }

    /// Pixels that both hold.
    pub(super) fn common_area(self, other: Rect) -> i64 {
        let w = self.x1.min(other.x1) - self.x0.max(other.x0);
        let h = self.y1.min(other.y1) - self.y0.max(other.y0);
        i64::from(w.max(0)) * i64::from(h.max(0))
    }
}

/// A picture to draw on.
#[derive(Debug, Clone)]
pub struct Canvas {
    pub(super) size: ImageSize,
    pub(super) planes: Planes,
    pub(super) data: [Vec<u8>; 3],
}

impl Canvas {
    /// A copy of `image` to draw on.
    pub fn from_image(image: &Image, space: Space) -> Canvas {
        let mut canvas = Canvas::blank(image.size, space);
        canvas.load(image, space);
        canvas
    }

    /// A black canvas. A side of 0 becomes 1.
    pub fn blank(size: ImageSize, space: Space) -> Canvas {
        let planes = match space {
            Space::Rgb => Planes::Rgb,
            Space::Video => Planes::Yuv(usual_matrix(size)),
        };
        let mut canvas = Canvas {
            size,
            planes,
            data: Default::default(),
        };
        canvas.resize(ImageSize::new(size.width.max(1), size.height.max(1)), planes);
        canvas.fill(Rgb::BLACK);
        canvas
    }

    pub(super) fn resize(&mut self, size: ImageSize, planes: Planes) {
        self.size = size;
        self.planes = planes;
        for plane in &mut self.data {
            plane.resize(size.width as usize * size.height as usize, 0);
        }
    }

    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The whole canvas in one colour.
    pub fn fill(&mut self, colour: Rgb) {
        let Tone(tone) = self.tone(colour);
        for (plane, value) in self.data.iter_mut().zip(tone) {
            plane.fill(value);
        }
    }

    /// Colour of one pixel as R'G'B'. For tests and single looks: slow.
    pub fn pixel(&self, x: u32, y: u32) -> Rgb {
        let at = y as usize * self.size.width as usize + x as usize;
        let [a, b, c] = [self.data[0][at], self.data[1][at], self.data[2][at]];
        match self.planes {
            Planes::Rgb => Rgb(a, b, c),
            Planes::Yuv(matrix) => super::convert::rgb_of(matrix, [a, b, c]),
        }
    }

    pub(super) fn tone(&self, colour: Rgb) -> Tone {
        match self.planes {
            Planes::Rgb => Tone([colour.0, colour.1, colour.2]),
            Planes::Yuv(matrix) => Tone(super::convert::yuv_of(matrix, colour)),
        }
    }

    pub(super) fn bounds(&self) -> Rect {
        Rect::new(0, 0, self.size.width as i32, self.size.height as i32)
    }

    /// Blends `tone` over pixels `x0..x1` of row `y`; `alpha` 0..=256.
    pub(super) fn span(&mut self, y: i32, x0: i32, x1: i32, tone: Tone, alpha: u16) {
        let width = self.size.width as i32;
        let (x0, x1) = (x0.max(0), x1.min(width));
        if x0 >= x1 || y < 0 || y >= self.size.height as i32 {
            return;
        }
        let start = y as usize * width as usize;
        let range = start + x0 as usize..start + x1 as usize;
        for (plane, value) in self.data.iter_mut().zip(tone.0) {
            let row = &mut plane[range.clone()];
            if alpha >= 256 {
                row.fill(value);
                continue;
            }
            for pixel in row {
                *pixel = blend(*pixel, value, alpha);
            }
        }
    }

    pub(super) fn rect(&mut self, rect: Rect, tone: Tone, alpha: u16) {
        for y in rect.y0.max(0)..rect.y1.min(self.size.height as i32) {
            self.span(y, rect.x0, rect.x1, tone, alpha);
        }
    }

    /// One pixel; `alpha` 0..=256.
    pub(super) fn dot(&mut self, x: i32, y: i32, tone: Tone, alpha: u16) {
        self.span(y, x, x + 1, tone, alpha);
    }

    /// Blends `tone` by `coverage` (0..=255 a pixel) over row `y` from column `x` on.
    pub(super) fn coverage(&mut self, x: i32, y: i32, coverage: &[u8], tone: Tone) {
        let width = self.size.width as i32;
        let skip = (-x).max(0) as usize;
        if y < 0 || y >= self.size.height as i32 || x >= width || skip >= coverage.len() {
            return;
        }
        let coverage = &coverage[skip..];
        let x = x.max(0);
        let count = coverage.len().min((width - x) as usize);
        let start = y as usize * width as usize + x as usize;
        for (plane, value) in self.data.iter_mut().zip(tone.0) {
            for (pixel, &c) in plane[start..start + count].iter_mut().zip(&coverage[..count]) {
                let alpha = u16::from(c) + u16::from(c >> 7); // 0..=256
                *pixel = ((u16::from(*pixel) * (256 - alpha) + u16::from(value) * alpha) >> 8) as u8;
            }
        }
    }

    /// A filled rectangle with round corners.
    pub(super) fn plate(&mut self, rect: Rect, radius: i32, tone: Tone, alpha: u16) {
        let radius = radius.clamp(0, rect.width().min(rect.height()) / 2);
        for row in 0..rect.height() {
            let y = rect.y0 + row;
            let from_end = row.min(rect.height() - 1 - row);
            if from_end >= radius {
                self.span(y, rect.x0, rect.x1, tone, alpha);
                continue;
            }
            self.span(y, rect.x0 + radius, rect.x1 - radius, tone, alpha);
            for column in 0..radius {
                // How far the pixel's centre lies from the corner's centre; the edge is one pixel wide.
                let (dx, dy) = (
                    radius as f32 - column as f32 - 0.5,
                    radius as f32 - from_end as f32 - 0.5,
                );
                let cover = (radius as f32 + 0.5 - dx.hypot(dy)).clamp(0.0, 1.0);
                let alpha = (f32::from(alpha) * cover) as u16;
                self.dot(rect.x0 + column, y, tone, alpha);
                self.dot(rect.x1 - 1 - column, y, tone, alpha);
            }
        }
    }

    /// Pulls every pixel towards `colour`; `alpha` 0..=256.
    pub fn veil(&mut self, colour: Rgb, alpha: u16) {
        let tone = self.tone(colour);
        self.rect(self.bounds(), tone, alpha);
    }
}

/// What players assume of video that does not say: BT.709 from 720 lines on.
pub(super) fn usual_matrix(size: ImageSize) -> YuvMatrix {
    if size.height >= 720 {
        YuvMatrix::Bt709Limited
    } else {
        YuvMatrix::Bt601Limited
    }
}
