//! What a pipeline says on its bus, in our words.

use gst::prelude::*;
use gstreamer as gst;

use super::super::Fault;
use super::damage::{Damage, DamageLog, Witness};
use crate::config::redact;

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The first error: later ones follow from it.
    pub(super) fault: Option<Fault>,
    missing: Option<Fault>,
    eos: bool,
}

impl Heard {
    /// Takes what is on the bus. `any_frame`: whether one came, before which an error of a resource means "not reached".
    pub(super) fn listen(&mut self, pipeline: &gst::Pipeline, damage: &DamageLog, any_frame: bool) {
        let Some(bus) = pipeline.bus() else { return };
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => {
                    let fault = self.missing.clone().unwrap_or_else(|| translate(error, any_frame));
                    self.fault.get_or_insert(fault);
                }
                gst::MessageView::Warning(warning) => {
                    let text = redact(&warning.error().to_string());
                    tracing::debug!(element = ?message.src().map(|s| s.name()), "GStreamer warns: {text}");
                }
                gst::MessageView::Element(element) => {
                    if let Some(fault) = element.structure().and_then(missing_plugin) {
                        self.missing = Some(fault);
                    }
                }
                // The sink asks for no quality of service: what a decoder drops, it could not decode.
                gst::MessageView::Qos(qos) if message.src().is_some_and(is_decoder) => {
                    damage.add(Damage {
                        pts: qos.timestamp().map(gst::ClockTime::nseconds),
                        witness: Witness::Decoder,
                        detail: "the decoder refused it".to_owned(),
                    });
                }
                gst::MessageView::Eos(_) => self.eos = true,
                gst::MessageView::Latency(_) => {
                    // Refused only while the pipeline is being torn down.
                    let _ = pipeline.recalculate_latency();
                }
                _ => {}
            }
        }
    }

    /// The plugin that was asked for in vain.
    pub(super) fn missing(&mut self) -> Option<Fault> {
        self.missing.take()
    }
}

pub(super) fn is_decoder(object: &gst::Object) -> bool {
    object
        .downcast_ref::<gst::Element>()
        .and_then(|element| element.factory())
        .is_some_and(|factory| factory.klass().contains("Decoder"))
}

fn translate(message: &gst::message::Error, any_frame: bool) -> Fault {
    let error = message.error();
    let element = message.src().map(|s| s.name().to_string()).unwrap_or_default();
    // GStreamer's debug text ends in the one line that says what really happened.
    let debug = message.debug().unwrap_or_default();
    let cause = debug.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let detail = match cause.filter(|cause| !cause.contains(error.message())) {
        Some(cause) => format!("{} ({element}: {cause})", error.message()),
        None => format!("{} ({element})", error.message()),
    };
    if error.kind::<gst::ResourceError>().is_some() && !any_frame {
        return Fault::NotReached {
            detail: redact(&detail),
        };
    }
    Fault::stream(&detail)
}

/// GStreamer's `missing-plugin` message: what, and where Debian has it.
fn missing_plugin(structure: &gst::StructureRef) -> Option<Fault> {
    if structure.name() != "missing-plugin" {
        return None;
    }
    let kind = structure.get::<String>("type").unwrap_or_default();
    let name = structure.get::<String>("name").unwrap_or_default();
    if kind == "element" {
        return Some(missing_element(&structure.get::<String>("detail").unwrap_or(name)));
    }
    let media = structure
        .get::<gst::Caps>("detail")
        .ok()
        .and_then(|caps| caps.structure(0).map(|s| s.name().to_string()))
        .unwrap_or_default();
    Some(Fault::MissingPlugin {
        remedy: format!("install {}", package_of_media(&media)),
        what: if media.is_empty() {
            name
        } else {
            format!("{name} ({media})")
        },
    })
}

/// An element that does not exist here.
pub(super) fn missing_element(element: &str) -> Fault {
    Fault::MissingPlugin {
        what: format!("element {element:?}"),
        remedy: match package_of_element(element) {
            Some(package) => format!("install {package}"),
            None => format!("see `gst-inspect-1.0 {element}`, and check its name"),
        },
    }
}

const ALL_PLUGINS: &str =
    "gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, gstreamer1.0-plugins-ugly and gstreamer1.0-libav";

fn package_of_media(media: &str) -> &'static str {
    match media {
        "video/quicktime" | "video/x-matroska" | "video/webm" | "video/x-msvideo" | "video/x-flv" | "image/jpeg"
        | "image/png" | "video/x-vp8" | "video/x-vp9" | "application/x-rtp" => "gstreamer1.0-plugins-good",
        "video/mpegts" | "video/x-av1" | "image/webp" => "gstreamer1.0-plugins-bad",
        "video/x-theora" | "application/ogg" => "gstreamer1.0-plugins-base",
        "video/x-h264" | "video/x-h265" | "video/mpeg" | "video/x-divx" | "video/x-h263" | "video/x-wmv"
        | "video/x-prores" | "image/gif" => "gstreamer1.0-libav",
        _ => ALL_PLUGINS,
    }
}

fn package_of_element(element: &str) -> Option<&'static str> {
    Some(match element {
        "decodebin" | "decodebin3" | "uridecodebin" | "videoconvert" | "videotestsrc" | "appsink" | "videoscale"
        | "videorate" | "tcpclientsrc" => "gstreamer1.0-plugins-base",
        "videoflip" | "rtspsrc" | "v4l2src" | "qtdemux" | "matroskademux" | "avidemux" | "jpegdec" | "udpsrc"
        | "souphttpsrc" | "multifilesrc" | "rtph264depay" | "rtpjitterbuffer" | "pngdec" | "vp9dec" => {
            "gstreamer1.0-plugins-good"
        }
        "h264parse" | "h265parse" | "tsdemux" | "srtsrc" | "v4l2codecs" | "jpegparse" | "nvh264dec" | "vah264dec"
        | "rtmp2src" | "openh264dec" => "gstreamer1.0-plugins-bad",
        "x264enc" | "asfdemux" => "gstreamer1.0-plugins-ugly",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        "pipewiresrc" => "gstreamer1.0-pipewire",
        _ if element.starts_with("avdec_") || element.starts_with("avdemux_") => "gstreamer1.0-libav",
        _ if element.starts_with("vaapi") => "gstreamer1.0-vaapi",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_decoder_names_its_package() {
        gst::init().expect("GStreamer");
        let structure = gst::Structure::builder("missing-plugin")
            .field("type", "decoder")
            .field("detail", gst::Caps::builder("video/x-h264").build())
            .field("name", "H.264 decoder")
            .build();
        let fault = missing_plugin(&structure).expect("fault");
        assert_eq!(
            fault.to_string(),
            "GStreamer has no H.264 decoder (video/x-h264); install gstreamer1.0-libav"
        );
        assert!(fault.is_permanent());
        assert_eq!(
            missing_element("rtspsrc").to_string(),
            "GStreamer has no element \"rtspsrc\"; install gstreamer1.0-plugins-good"
        );
        assert!(
            missing_element("frobnicate")
                .to_string()
                .contains("gst-inspect-1.0 frobnicate")
        );
    }
}
