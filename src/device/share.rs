//! What a source needs to leave a decoder's pictures on a GPU. The type is there in every build: a build without GStreamer,
//! or a machine without its CUDA library, says so when one is asked for.

use super::Device;
#[cfg(feature = "gstreamer")]
use super::DeviceBytes;

/// Why pictures cannot stay on a GPU; they come through host memory then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error("this build has no GStreamer: its sources have no pictures to leave on a GPU")]
    BuiltWithoutGstreamer,
    #[error("GStreamer cannot leave pictures on a GPU: {detail}; install libgstreamer-plugins-bad1.0-0")]
    Library { detail: String },
    #[error("GStreamer does not take this program's CUDA context")]
    Context,
    #[error("a decoder's picture on the GPU cannot be read: {detail}")]
    Picture { detail: &'static str },
}

/// A device that GStreamer shares with this program: one CUDA context for its decoders and our kernels.
#[derive(Debug, Clone)]
pub struct DeviceShare {
    #[cfg(feature = "gstreamer")]
    gst: super::gst_cuda::SharedContext,
    device: Device,
}

impl DeviceShare {
    /// Loads GStreamer's CUDA library, and hands it the context of `device`.
    pub fn new(device: &Device) -> Result<DeviceShare, ShareError> {
        #[cfg(feature = "gstreamer")]
        return Ok(DeviceShare {
            gst: super::gst_cuda::SharedContext::new(device)?,
            device: device.clone(),
        });
        #[cfg(not(feature = "gstreamer"))]
        {
            let _ = device;
            Err(ShareError::BuiltWithoutGstreamer)
        }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
}

#[cfg(feature = "gstreamer")]
impl DeviceShare {
    /// To be set on a pipeline before it starts, and given to elements that ask for it.
    pub fn context(&self) -> gstreamer::Context {
        self.gst.context()
    }

    /// The memory of a buffer with `memory:CUDAMemory`. Buffer and mapping live, and stay out of the decoder's pool, while
    /// anyone holds the bytes.
    pub fn map(&self, buffer: gstreamer::Buffer) -> Result<DeviceBytes, ShareError> {
        self.gst.map(&self.device, buffer)
    }
}
