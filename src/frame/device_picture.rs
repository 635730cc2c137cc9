//! A picture whose bytes are on the GPU, as kernels read it.

use std::sync::Arc;

use super::{ImageError, PixelFormat, Plane, YuvMatrix, needed, view_planes};
use crate::device::{CudaStream, DeviceBytes, DeviceError, Event};
use crate::geometry::{ImageSize, Tile};

/// Pixels on the GPU: in an upload slot, or where a decoder left them. Held until what reads it is done.
#[derive(Debug, Clone)]
pub struct DevicePicture {
    pub format: PixelFormat,
    pub matrix: YuvMatrix,
    pub size: ImageSize,
    pub(super) planes: [Plane; 3],
    pub(super) bytes: DeviceBytes,
}

impl DevicePicture {
    /// Checks that every row of every plane lies inside `bytes`.
    pub fn new(
        format: PixelFormat,
        matrix: YuvMatrix,
        size: ImageSize,
        planes: [Plane; 3],
        bytes: DeviceBytes,
    ) -> Result<DevicePicture, ImageError> {
        let (needed, got) = (needed(format, size, &planes), bytes.len());
        if needed > got || size.area() == 0 {
            return Err(ImageError {
                format,
                size,
                needed,
                got,
            });
        }
        Ok(DevicePicture {
            format,
            matrix,
            size,
            planes,
            bytes,
        })
    }

    /// `(address, row pitch in bytes)` of each plane; (0, 0) where the format has none.
    pub fn planes(&self) -> [(u64, usize); 3] {
        let extents = self.format.plane_extents(self.size);
        std::array::from_fn(|i| match extents[i] {
            (0, _) | (_, 0) => (0, 0),
            _ => (
                self.bytes.address() + self.planes[i].offset as u64,
                self.planes[i].row_pitch,
            ),
        })
    }

    /// A part of the picture on the same bytes, by the rules of [`super::Image::view`].
    pub fn view(&self, tile: &Tile) -> Option<DevicePicture> {
        let planes = view_planes(self.format, self.size, self.planes, tile)?;
        (tile.size.area() > 0).then(|| DevicePicture {
            size: tile.size,
            planes,
            ..self.clone()
        })
    }

    /// Tells the owner of the pixels of a reader, see [`DeviceBytes::is_left_to_owner`].
    pub fn is_left_to_owner(&self, read: &Arc<Event>) -> bool {
        self.bytes.is_left_to_owner(read)
    }

    /// What is queued on `stream` from now on finds the pixels written.
    pub fn before(&self, stream: &CudaStream) -> Result<(), DeviceError> {
        self.bytes.before(stream)
    }
}
