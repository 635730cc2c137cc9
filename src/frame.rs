//! One picture of one camera, as it leaves the source. Nothing here is changed by a later stage.

use std::fmt;
use std::sync::Arc;

use crate::geometry::{ImageSize, Tile};
use crate::names::CameraId;
use crate::time::{CaptureTime, Pts};

/// Layout of the bytes of an [`Image`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One plane, R, G, B.
    Rgb8,
    /// One plane, B, G, R.
    Bgr8,
    /// One plane, luma only.
    Gray8,
    /// Luma, then interleaved Cb Cr at half size (rounded up).
    Nv12,
    /// Luma, Cb, Cr; chroma at half size (rounded up).
    I420,
    /// One plane, Y0 Cb Y1 Cr.
    Yuy2,
}

/// How Y'CbCr becomes R'G'B'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum YuvMatrix {
    Bt601Limited,
    Bt601Full,
    Bt709Limited,
    Bt709Full,
}

/// Where a plane starts, and how far apart its rows are, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    pub offset: usize,
    pub row_pitch: usize,
}

/// Pixels, shared and immutable. The bytes may be a mapped GStreamer buffer: no copy is made.
#[derive(Clone)]
pub struct Image {
    pub format: PixelFormat,
    pub matrix: YuvMatrix,
    pub size: ImageSize,
    pub planes: [Plane; 3],
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

/// Why bytes are no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{format:?} picture of {size} needs {needed} bytes, got {got}")]
pub struct ImageError {
    pub format: PixelFormat,
    pub size: ImageSize,
    pub needed: usize,
    pub got: usize,
}

impl PixelFormat {
    /// `(bytes of a row, rows)` of each plane of a picture of `size`; unused planes are (0, 0).
    pub fn plane_extents(self, size: ImageSize) -> [(usize, usize); 3] {
        let (w, h) = (size.width as usize, size.height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        match self {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => [(3 * w, h), (0, 0), (0, 0)],
            PixelFormat::Gray8 => [(w, h), (0, 0), (0, 0)],
            PixelFormat::Nv12 => [(w, h), (2 * cw, ch), (0, 0)],
            PixelFormat::I420 => [(w, h), (cw, ch), (cw, ch)],
            PixelFormat::Yuy2 => [(4 * cw, h), (0, 0), (0, 0)],
        }
    }
}

impl Image {
    /// Checks that every row of every plane lies inside `bytes`, so that readers may slice without failing.
    pub fn new(
        format: PixelFormat,
        matrix: YuvMatrix,
        size: ImageSize,
        planes: [Plane; 3],
        bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    ) -> Result<Image, ImageError> {
        let got = (*bytes).as_ref().len();
        let mut needed = 0usize;
        for ((row, rows), plane) in format.plane_extents(size).into_iter().zip(planes) {
            if rows > 0 {
                let end = plane
                    .row_pitch
                    .saturating_mul(rows - 1)
                    .saturating_add(row)
                    .saturating_add(plane.offset);
                needed = needed.max(end);
                if plane.row_pitch < row {
                    needed = usize::MAX;
                }
            }
        }
        if needed > got || size.area() == 0 {
            return Err(ImageError {
                format,
                size,
                needed,
                got,
            });
        }
        Ok(Image {
            format,
            matrix,
            size,
            planes,
            bytes,
        })
    }

    /// A tightly packed picture; `format` must have one plane.
    pub fn packed(format: PixelFormat, size: ImageSize, bytes: Vec<u8>) -> Result<Image, ImageError> {
        let row_pitch = format.plane_extents(size)[0].0;
        let plane = Plane { offset: 0, row_pitch };
        Image::new(format, YuvMatrix::Bt601Limited, size, [plane; 3], Arc::new(bytes))
    }

    /// A part of the picture on the same bytes. `None` when it is empty, reaches beyond the picture, or would begin inside a
    /// chroma sample: at an odd column of NV12, I420 or YUY2, or at an odd row of the first two.
    pub fn view(&self, tile: &Tile) -> Option<Image> {
        let inside = tile.columns().end <= self.size.width && tile.rows().end <= self.size.height;
        let (x, y) = (tile.x as usize, tile.y as usize);
        let splits_chroma = match self.format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Gray8 => false,
            PixelFormat::Yuy2 => x % 2 == 1,
            PixelFormat::Nv12 | PixelFormat::I420 => x % 2 == 1 || y % 2 == 1,
        };
        if !inside || splits_chroma {
            return None;
        }
        // Bytes to the right and rows down, of each plane.
        let starts = match self.format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => [(3 * x, y), (0, 0), (0, 0)],
            PixelFormat::Gray8 => [(x, y), (0, 0), (0, 0)],
            PixelFormat::Nv12 => [(x, y), (x, y / 2), (0, 0)],
            PixelFormat::I420 => [(x, y), (x / 2, y / 2), (x / 2, y / 2)],
            PixelFormat::Yuy2 => [(2 * x, y), (0, 0), (0, 0)],
        };
        let mut planes = self.planes;
        for (plane, (right, down)) in planes.iter_mut().zip(starts) {
            plane.offset += right + down * plane.row_pitch;
        }
        Image::new(self.format, self.matrix, tile.size, planes, Arc::clone(&self.bytes)).ok()
    }

    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The bytes of one row of one plane, without padding.
    pub fn row(&self, plane: usize, row: usize) -> &[u8] {
        let (len, _) = self.format.plane_extents(self.size)[plane];
        let start = self.planes[plane].offset + row * self.planes[plane].row_pitch;
        &self.bytes()[start..start + len]
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Image({:?} {}, {} bytes)",
            self.format,
            self.size,
            self.bytes().len()
        )
    }
}

/// One delivered frame.
#[derive(Debug, Clone)]
pub struct Frame {
    pub camera: CameraId,
    /// 1, 2, 3 ... for each frame the source delivered, over all reconnects.
    pub frame_number: u64,
    pub pts: Option<Pts>,
    pub capture_time: CaptureTime,
    /// Monotonic: first byte in the process.
    pub arrival_mono_nanos: i64,
    /// Monotonic: pixels available.
    pub decoded_mono_nanos: i64,
    pub image: Image,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_buffers_are_refused_and_odd_sizes_round_chroma_up() {
        let size = ImageSize::new(5, 3);
        assert_eq!(PixelFormat::I420.plane_extents(size), [(5, 3), (3, 2), (3, 2)]);
        let planes = [
            Plane {
                offset: 0,
                row_pitch: 8,
            },
            Plane {
                offset: 24,
                row_pitch: 4,
            },
            Plane {
                offset: 32,
                row_pitch: 4,
            },
        ];
        let image = |len: usize| {
            Image::new(
                PixelFormat::I420,
                YuvMatrix::Bt601Limited,
                size,
                planes,
                Arc::new(vec![0u8; len]),
            )
        };
        assert!(image(39).is_ok());
        assert_eq!(image(38).map(|_| ()).map_err(|e| (e.needed, e.got)), Err((39, 38)));
        assert!(Image::packed(PixelFormat::Rgb8, ImageSize::new(0, 4), vec![]).is_err());
    }

    #[test]
    fn a_pitch_below_the_row_is_refused() {
        let plane = Plane {
            offset: 0,
            row_pitch: 5,
        };
        let bytes = Arc::new(vec![0u8; 1000]);
        assert!(
            Image::new(
                PixelFormat::Rgb8,
                YuvMatrix::Bt601Limited,
                ImageSize::new(2, 2),
                [plane; 3],
                bytes
            )
            .is_err()
        );
    }
    #[test]
    fn a_view_shows_the_same_samples_without_a_copy() {
        let size = ImageSize::new(11, 7);
        let tile = |x, y, w, h| Tile {
            x,
            y,
            size: ImageSize::new(w, h),
        };
        for format in [
            PixelFormat::Rgb8,
            PixelFormat::Bgr8,
            PixelFormat::Gray8,
            PixelFormat::Nv12,
            PixelFormat::I420,
            PixelFormat::Yuy2,
        ] {
            // Every plane with 3 bytes of padding in a row; every byte tells its place.
            let mut end = 5;
            let planes = format.plane_extents(size).map(|(row, rows)| {
                let row_pitch = row + 3;
                let plane = Plane { offset: end, row_pitch };
                end += rows * row_pitch;
                plane
            });
            let bytes: Vec<u8> = (0..end).map(|i| (i * 7 % 251) as u8).collect();
            let image = Image::new(format, YuvMatrix::Bt709Full, size, planes, Arc::new(bytes)).expect("fits");
            let view = image.view(&tile(4, 2, 7, 5)).expect("even, up to the corner");
            assert_eq!((view.size, view.matrix), (ImageSize::new(7, 5), YuvMatrix::Bt709Full));
            assert_eq!(view.bytes().as_ptr(), image.bytes().as_ptr());
            let extents = format.plane_extents(view.size);
            // Of the whole picture's rows: which is the view's first, and where in it the view begins.
            let (first, from): ([usize; 3], [usize; 3]) = match format {
                PixelFormat::Rgb8 | PixelFormat::Bgr8 => ([2, 0, 0], [12, 0, 0]),
                PixelFormat::Gray8 => ([2, 0, 0], [4, 0, 0]),
                PixelFormat::Nv12 => ([2, 1, 0], [4, 4, 0]),
                PixelFormat::I420 => ([2, 1, 1], [4, 2, 2]),
                PixelFormat::Yuy2 => ([2, 0, 0], [8, 0, 0]),
            };
            for (plane, (row_bytes, rows)) in extents.into_iter().enumerate() {
                for row in 0..rows {
                    let expected = &image.row(plane, first[plane] + row)[from[plane]..from[plane] + row_bytes];
                    assert_eq!(view.row(plane, row), expected, "{format:?} plane {plane} row {row}");
                }
            }
            let halves = !matches!(format, PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::Yuy2);
            assert_eq!(image.view(&tile(3, 2, 4, 4)).is_some(), halves, "{format:?}");
            let rows = halves || format == PixelFormat::Yuy2;
            assert_eq!(image.view(&tile(4, 1, 4, 4)).is_some(), rows, "{format:?}");
            for outside in [tile(5, 0, 7, 1), tile(0, 3, 1, 5), tile(2, 2, 0, 1)] {
                assert!(image.view(&outside).is_none(), "{outside:?}");
            }
        }
    }
}
