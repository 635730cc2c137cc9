//! Pictures that stay on the GPU: decoders that have it there share our CUDA context, and leave it there.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::super::Fault;
use super::sample::{FORMATS, Layout};
use crate::device::DeviceShare;
use crate::frame::{DevicePicture, Image};

const CUDA_MEMORY: &str = "memory:CUDAMemory";
/// The type of context by which GStreamer's CUDA elements find each other.
const CUDA_CONTEXT: &str = "gst.cuda.context";

/// Decoders of NVIDIA's. Their rank is that of software, and then the name decides.
const DECODERS: [&str; 8] = [
    "nvh264dec",
    "nvh265dec",
    "nvav1dec",
    "nvvp9dec",
    "nvvp8dec",
    "nvjpegdec",
    "nvmpegvideodec",
    "nvmpeg2videodec",
];

/// The sink also takes pictures on the GPU, rather than on the host where a decoder offers both; elements get our context.
pub(super) fn share(pipeline: &gst::Pipeline, sink: &gst_app::AppSink, share: &DeviceShare) {
    prefer_decoders();
    let formats = || gst::List::new(FORMATS.map(|format| format.to_str()));
    let on_device = gst::Caps::builder("video/x-raw").features([CUDA_MEMORY]);
    let mut caps = on_device.field("format", formats()).build();
    caps.merge(gst::Caps::builder("video/x-raw").field("format", formats()).build());
    sink.set_caps(Some(&caps));
    let context = share.context();
    pipeline.set_context(&context);
    // Elements that are made later ask.
    if let Some(bus) = pipeline.bus() {
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::NeedContext(asked) = message.view()
                && asked.context_type() == CUDA_CONTEXT
                && let Some(element) = message.src().and_then(|src| src.downcast_ref::<gst::Element>())
            {
                element.set_context(&context);
            }
            gst::BusSyncReply::Pass
        });
    }
}

fn prefer_decoders() {
    let registry = gst::Registry::get();
    for name in DECODERS {
        if let Some(feature) = registry.lookup_feature(name).filter(|f| f.rank() > gst::Rank::NONE) {
            feature.set_rank(gst::Rank::PRIMARY + 1);
        }
    }
}

/// Whether pictures of these caps are on the GPU.
pub(super) fn is_on_device(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|features| features.contains(CUDA_MEMORY))
}

/// The picture of a buffer on the GPU, where it is.
pub(super) fn image(layout: &Layout, buffer: gst::Buffer, share: &DeviceShare) -> Result<Image, Fault> {
    let unusable = |detail: String| Fault::Picture { detail };
    // The caps say nothing of how CUDA memory is laid out.
    if buffer.meta::<gst_video::VideoMeta>().is_none() {
        return Err(unusable("a picture on the GPU without word of its rows".to_owned()));
    }
    let planes = layout.planes(&buffer)?;
    let bytes = share.map(buffer).map_err(|e| unusable(e.to_string()))?;
    let (format, matrix, size) = layout.picture();
    let picture = DevicePicture::new(format, matrix, size, planes, bytes).map_err(|e| unusable(e.to_string()))?;
    Ok(Image::resident(picture))
}
