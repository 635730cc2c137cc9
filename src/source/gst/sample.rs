//! From a GStreamer sample to an [`Image`], without copying the pixels.

use std::sync::Arc;

use gst_video::{VideoColorMatrix, VideoColorRange, VideoFormat};
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::super::Fault;
use crate::frame::{Image, PixelFormat, Plane, YuvMatrix};
use crate::geometry::ImageSize;

/// What the appsink takes, by falling likelihood. Whatever is listed reaches it as it is.
pub(super) const FORMATS: [VideoFormat; 6] = [
    VideoFormat::Nv12,
    VideoFormat::I420,
    VideoFormat::Yuy2,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Gray8,
];

/// What caps say, kept between samples that share them.
pub(super) struct Layout {
    caps: gst::Caps,
    info: gst_video::VideoInfo,
    format: PixelFormat,
    matrix: YuvMatrix,
    size: ImageSize,
    on_device: bool,
}

impl Layout {
    pub(super) fn of(caps: gst::Caps) -> Result<Layout, Fault> {
        let unusable = |detail: String| Fault::Picture { detail };
        let info = gst_video::VideoInfo::from_caps(&caps).map_err(|e| unusable(format!("{caps}: {e}")))?;
        let format = match info.format() {
            VideoFormat::Nv12 => PixelFormat::Nv12,
            VideoFormat::I420 => PixelFormat::I420,
            VideoFormat::Yuy2 => PixelFormat::Yuy2,
            VideoFormat::Rgb => PixelFormat::Rgb8,
            VideoFormat::Bgr => PixelFormat::Bgr8,
            VideoFormat::Gray8 => PixelFormat::Gray8,
            other => return Err(unusable(format!("pixel format {other:?}"))),
        };
        Ok(Layout {
            format,
            matrix: matrix(&info),
            size: ImageSize::new(info.width(), info.height()),
            info,
            on_device: super::on_device::is_on_device(&caps),
            caps,
        })
    }

    pub(super) fn is_of(&self, caps: &gst::CapsRef) -> bool {
        std::ptr::eq(self.caps.as_ref(), caps) || self.caps.as_ref() == caps
    }

    /// Frame rate as a fraction.
    pub(super) fn fps(&self) -> (i32, i32) {
        (self.info.fps().numer(), self.info.fps().denom())
    }

    pub(super) fn picture(&self) -> (PixelFormat, YuvMatrix, ImageSize) {
        (self.format, self.matrix, self.size)
    }

    /// Whether the pictures are on a GPU.
    pub(super) fn is_on_device(&self) -> bool {
        self.on_device
    }

    /// Where the planes lie in the buffer's memory.
    pub(super) fn planes(&self, buffer: &gst::BufferRef) -> Result<[Plane; 3], Fault> {
        let mut planes = [Plane {
            offset: 0,
            row_pitch: 0,
        }; 3];
        // Decoders pad rows and planes: where they lie, stands with the buffer, not in the caps.
        let meta = buffer.meta::<gst_video::VideoMeta>();
        let (offsets, strides) = match &meta {
            Some(meta) => (meta.offset(), meta.stride()),
            None => (self.info.offset(), self.info.stride()),
        };
        for ((plane, offset), stride) in planes.iter_mut().zip(offsets).zip(strides) {
            let row_pitch = usize::try_from(*stride).map_err(|_| Fault::Picture {
                detail: format!("row pitch {stride}"),
            })?;
            *plane = Plane {
                offset: *offset,
                row_pitch,
            };
        }
        Ok(planes)
    }

    /// The buffer stays mapped, and out of its pool, as long as the image lives.
    pub(super) fn image(&self, buffer: gst::Buffer) -> Result<Image, Fault> {
        let unusable = |detail: String| Fault::Picture { detail };
        let planes = self.planes(&buffer)?;
        let mapped = buffer
            .into_mapped_buffer_readable()
            .map_err(|_| unusable("its memory cannot be mapped".to_owned()))?;
        Image::new(self.format, self.matrix, self.size, planes, Arc::new(mapped)).map_err(|e| unusable(e.to_string()))
    }
}

/// Streams that say nothing: what their size suggests, as everybody guesses.
fn matrix(info: &gst_video::VideoInfo) -> YuvMatrix {
    let colours = info.colorimetry();
    let full = colours.range() == VideoColorRange::Range0_255;
    let hd = match colours.matrix() {
        VideoColorMatrix::Bt709 | VideoColorMatrix::Bt2020 => true,
        VideoColorMatrix::Bt601 | VideoColorMatrix::Fcc | VideoColorMatrix::Smpte240m => false,
        _ => info.height() >= 720,
    };
    match (hd, full) {
        (true, true) => YuvMatrix::Bt709Full,
        (true, false) => YuvMatrix::Bt709Limited,
        (false, true) => YuvMatrix::Bt601Full,
        (false, false) => YuvMatrix::Bt601Limited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(text: &str) -> gst::Caps {
        gst::init().expect("GStreamer");
        text.parse().expect(text)
    }

    #[test]
    fn colour_matrix_and_range_come_from_caps() {
        for (colorimetry, want) in [
            ("bt709", YuvMatrix::Bt709Limited),
            ("bt601", YuvMatrix::Bt601Limited),
            ("1:3:5:1", YuvMatrix::Bt709Full),
            ("1:4:0:0", YuvMatrix::Bt601Full),
        ] {
            let caps = caps(&format!(
                "video/x-raw,format=I420,width=64,height=48,framerate=25/2,colorimetry={colorimetry}"
            ));
            let layout = Layout::of(caps).expect("layout");
            assert_eq!(layout.matrix, want, "{colorimetry}");
            assert_eq!(layout.fps(), (25, 2));
        }
    }

    #[test]
    fn planes_come_from_the_buffer_and_nothing_is_copied() {
        let layout = Layout::of(caps("video/x-raw,format=NV12,width=5,height=3,framerate=1/1")).expect("layout");
        let mut buffer = gst::Buffer::from_slice((0..200u8).collect::<Vec<_>>());
        gst_video::VideoMeta::add_full(
            buffer.get_mut().expect("writable"),
            gst_video::VideoFrameFlags::empty(),
            VideoFormat::Nv12,
            5,
            3,
            &[0, 64],
            &[16, 32],
        )
        .expect("meta");
        let address = buffer.map_readable().expect("maps").as_slice().as_ptr();
        let image = layout.image(buffer).expect("image");
        assert_eq!(image.bytes().as_ptr(), address);
        assert_eq!(image.row(0, 2), [32, 33, 34, 35, 36]);
        assert_eq!(image.row(1, 1), [96, 97, 98, 99, 100, 101]);
        assert_eq!(image.size, ImageSize::new(5, 3));
    }

    #[test]
    fn short_buffers_are_refused() {
        let layout = Layout::of(caps("video/x-raw,format=RGB,width=8,height=4,framerate=1/1")).expect("layout");
        let fault = layout.image(gst::Buffer::from_slice(vec![0u8; 95])).expect_err("short");
        assert!(fault.to_string().contains("needs 96 bytes, got 95"), "{fault}");
    }
}
