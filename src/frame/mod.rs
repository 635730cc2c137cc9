//! One picture of one camera, as it leaves the source. Nothing here is changed by a later stage.

mod device_picture;

pub use device_picture::DevicePicture;

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::device::{DeviceBytes, DeviceError, HostRows, UploadRing};
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plane {
    pub offset: usize,
    pub row_pitch: usize,
}

/// Pixels, shared and immutable. The bytes may be a mapped GStreamer buffer, on the host or on a GPU: no copy is made.
#[derive(Clone)]
pub struct Image {
    pub format: PixelFormat,
    pub matrix: YuvMatrix,
    pub size: ImageSize,
    pub planes: [Plane; 3],
    pixels: Pixels,
}

/// Where the bytes of an [`Image`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Residence {
    Host,
    /// A decoder left them on the GPU.
    Device,
}

#[derive(Clone)]
enum Pixels {
    Host(Arc<dyn AsRef<[u8]> + Send + Sync>),
    Device(Arc<Resident>),
}

struct Resident {
    bytes: DeviceBytes,
    /// The same on the host, once somebody has asked; after a failure zeros, and why.
    host: OnceLock<(Vec<u8>, Option<DeviceError>)>,
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

/// Where `planes` of a picture end, bytes: more than any memory has where a row does not fit its pitch.
fn needed(format: PixelFormat, size: ImageSize, planes: &[Plane; 3]) -> usize {
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
    needed
}

/// The planes of a part of a picture on the same bytes; see [`Image::view`].
fn view_planes(format: PixelFormat, size: ImageSize, mut planes: [Plane; 3], tile: &Tile) -> Option<[Plane; 3]> {
    let inside = tile.columns().end <= size.width && tile.rows().end <= size.height;
    let (x, y) = (tile.x as usize, tile.y as usize);
    let splits_chroma = match format {
        PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Gray8 => false,
        PixelFormat::Yuy2 => x % 2 == 1,
        PixelFormat::Nv12 | PixelFormat::I420 => x % 2 == 1 || y % 2 == 1,
    };
    if !inside || splits_chroma {
        return None;
    }
    // Bytes to the right and rows down, of each plane.
    let starts = match format {
        PixelFormat::Rgb8 | PixelFormat::Bgr8 => [(3 * x, y), (0, 0), (0, 0)],
        PixelFormat::Gray8 => [(x, y), (0, 0), (0, 0)],
        PixelFormat::Nv12 => [(x, y), (x, y / 2), (0, 0)],
        PixelFormat::I420 => [(x, y), (x / 2, y / 2), (x / 2, y / 2)],
        PixelFormat::Yuy2 => [(2 * x, y), (0, 0), (0, 0)],
    };
    for (plane, (right, down)) in planes.iter_mut().zip(starts) {
        plane.offset += right + down * plane.row_pitch;
    }
    Some(planes)
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
        let needed = needed(format, size, &planes);
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
            pixels: Pixels::Host(bytes),
        })
    }

    /// A picture that a decoder left on the GPU.
    pub fn resident(picture: DevicePicture) -> Image {
        let DevicePicture {
            format,
            matrix,
            size,
            planes,
            bytes,
        } = picture;
        Image {
            format,
            matrix,
            size,
            planes,
            pixels: Pixels::Device(Arc::new(Resident {
                bytes,
                host: OnceLock::new(),
            })),
        }
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
        let planes = view_planes(self.format, self.size, self.planes, tile)?;
        if tile.size.area() == 0 {
            return None;
        }
        Some(Image {
            size: tile.size,
            planes,
            ..self.clone()
        })
    }

    pub fn residence(&self) -> Residence {
        match self.pixels {
            Pixels::Host(_) => Residence::Host,
            Pixels::Device(_) => Residence::Device,
        }
    }

    /// This picture with its bytes on the host: itself, or a copy that is made once for all clones and views of it.
    pub fn to_host(&self) -> Result<Image, DeviceError> {
        let Pixels::Device(resident) = &self.pixels else {
            return Ok(self.clone());
        };
        match resident.host() {
            (_, Some(error)) => Err(error.clone()),
            (_, None) => Ok(Image {
                pixels: Pixels::Host(Arc::clone(resident) as Arc<dyn AsRef<[u8]> + Send + Sync>),
                ..self.clone()
            }),
        }
    }

    /// This picture on the GPU: where it is, or on its way there through `ring`.
    pub fn to_device(&self, ring: &mut UploadRing) -> Result<DevicePicture, DeviceError> {
        let of = |planes, bytes| DevicePicture {
            format: self.format,
            matrix: self.matrix,
            size: self.size,
            planes,
            bytes,
        };
        if let Pixels::Device(resident) = &self.pixels {
            return Ok(of(self.planes, resident.bytes.clone()));
        }
        let extents = self.format.plane_extents(self.size);
        let used = extents
            .iter()
            .zip(&self.planes)
            .filter(|((row, rows), _)| row * rows > 0);
        let rows: Vec<HostRows<'_>> = used
            .map(|(&(row, rows), plane)| HostRows {
                bytes: &self.bytes()[plane.offset..],
                row,
                rows,
                row_pitch: plane.row_pitch,
            })
            .collect();
        let uploaded = ring.put(&rows)?;
        let mut planes = [Plane::default(); 3];
        for (plane, (offset, row_pitch)) in planes.iter_mut().zip(uploaded.planes) {
            *plane = Plane { offset, row_pitch };
        }
        Ok(of(planes, uploaded.bytes))
    }

    /// What the planes lie in. Of a picture on the GPU this is a copy, made by the first who asks (and zeros where that
    /// fails: [`Self::to_host`] says so).
    pub fn bytes(&self) -> &[u8] {
        match &self.pixels {
            Pixels::Host(bytes) => (**bytes).as_ref(),
            Pixels::Device(resident) => &resident.host().0,
        }
    }

    /// The bytes of one row of one plane, without padding.
    pub fn row(&self, plane: usize, row: usize) -> &[u8] {
        let (len, _) = self.format.plane_extents(self.size)[plane];
        let start = self.planes[plane].offset + row * self.planes[plane].row_pitch;
        &self.bytes()[start..start + len]
    }
}

impl Resident {
    fn host(&self) -> &(Vec<u8>, Option<DeviceError>) {
        self.host.get_or_init(|| match self.bytes.to_host() {
            Ok(bytes) => (bytes, None),
            Err(error) => {
                tracing::warn!("a picture on the GPU cannot be read: {error}");
                (vec![0; self.bytes.len()], Some(error))
            }
        })
    }
}

impl AsRef<[u8]> for Resident {
    fn as_ref(&self) -> &[u8] {
        &self.host().0
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({:?} {}, ", self.format, self.size)?;
        match &self.pixels {
            Pixels::Host(bytes) => write!(f, "{} bytes)", (**bytes).as_ref().len()),
            Pixels::Device(resident) => write!(f, "{:?})", resident.bytes),
        }
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
mod tests;
