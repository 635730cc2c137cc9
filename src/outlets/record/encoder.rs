//! Pictures in, H.264 access units out: hardware where it works, x264 otherwise.
//!
//! `appsrc ! videoconvert ! <encoder> ! h264parse ! appsink`. Every queue holds a few frames and pushes back, so that
//! an encoder that cannot keep up is felt in the recorder's own queue, where drops are counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::RecordError;
use super::status::held;
use crate::frame::{Plane, YuvMatrix};
use crate::geometry::ImageSize;
use crate::names::CameraId;
use crate::outlets::overlay::{Canvas, coded_size};

/// An encoder element and how it is set up; `{kbit}` and `{bits}` stand for the bit rate, properties that the installed
/// version lacks are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) factory: &'static str,
    pub(super) kind: Kind,
    pub(super) settings: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Being installed says nothing: tried with a few pictures first.
    Hardware,
    Software,
}

/// In order of preference. No B-frames anywhere: a frame is in the file before the next one comes. The largest
/// distance of key frames is only a net: they are asked for once a second.
pub(super) const CANDIDATES: [Candidate; 7] = [
    Candidate {
        factory: "nvh264enc",
        kind: Kind::Hardware,
        settings: &[
            ("bitrate", "{kbit}"),
            ("bframes", "0"),
            ("zerolatency", "true"),
            ("gop-size", "120"),
        ],
    },
    Candidate {
        factory: "vah264enc",
        kind: Kind::Hardware,
        settings: &[("bitrate", "{kbit}"), ("b-frames", "0"), ("key-int-max", "120")],
    },
    Candidate {
        factory: "vaapih264enc",
        kind: Kind::Hardware,
        settings: &[
            ("rate-control", "cbr"),
            ("bitrate", "{kbit}"),
            ("max-bframes", "0"),
            ("keyframe-period", "120"),
        ],
    },
    Candidate {
        factory: "v4l2h264enc",
        kind: Kind::Hardware,
        settings: &[("extra-controls", "controls,video_bitrate={bits},video_gop_size=120")],
    },
    Candidate {
        factory: "qsvh264enc",
        kind: Kind::Hardware,
        settings: &[("bitrate", "{kbit}"), ("b-frames", "0"), ("gop-size", "120")],
    },
    Candidate {
        factory: "x264enc",
        kind: Kind::Software,
        // One thread: the others belong to the network.
        settings: &[
            ("speed-preset", "ultrafast"),
            ("tune", "zerolatency"),
            ("threads", "1"),
            ("bframes", "0"),
            ("key-int-max", "600"),
            ("bitrate", "{kbit}"),
        ],
    },
    Candidate {
        factory: "openh264enc",
        kind: Kind::Software,
        settings: &[
            ("complexity", "low"),
            ("rate-control", "bitrate"),
            ("multi-thread", "1"),
            ("gop-size", "600"),
            ("bitrate", "{bits}"),
        ],
    },
];

/// Key frames at least this often: segments and seeking begin at one.
const KEY_FRAME_NANOS: i64 = 1_000_000_000;

/// Takes access units on the encoder's thread.
pub(super) type Take = Box<dyn FnMut(&gst::Sample) -> Result<(), RecordError> + Send>;

/// The first candidate that is installed and, if it is hardware, really encodes.
pub(super) fn choose(candidates: &[Candidate], size: ImageSize, kbit: u32) -> Result<Candidate, RecordError> {
    for candidate in candidates {
        if gst::ElementFactory::find(candidate.factory).is_none() {
            continue;
        }
        if candidate.kind == Kind::Software {
            return Ok(*candidate);
        }
        match probe(candidate, size, kbit) {
            Ok(()) => return Ok(*candidate),
            Err(reason) => {
                tracing::info!(encoder = candidate.factory, %reason, "this encoder does not work here, trying the next")
            }
        }
    }
    let tried: Vec<&str> = candidates.iter().map(|candidate| candidate.factory).collect();
    Err(RecordError::NoEncoder {
        tried: tried.join(", "),
    })
}

/// Encodes a few black pictures; fine when one comes out.
fn probe(candidate: &Candidate, size: ImageSize, kbit: u32) -> Result<(), String> {
    let got = Arc::new(Mutex::new(0u32));
    let counter = Arc::clone(&got);
    let take: Take = Box::new(move |_| {
        *held(&counter) += 1;
        Ok(())
    });
    let camera = CameraId::new("probe").map_err(|e| e.to_string())?;
    let canvas = Canvas::blank(size, crate::outlets::overlay::Space::Video);
    let matrix = canvas.matrix().unwrap_or(YuvMatrix::Bt601Limited);
    let mut encoder = Encoder::start(&camera, candidate, size, matrix, kbit, take).map_err(|e| e.to_string())?;
    for i in 0..3 {
        encoder.push(&canvas, i * 33_000_000).map_err(|e| e.to_string())?;
    }
    encoder.finish(Duration::from_secs(3)).map_err(|e| e.to_string())?;
    let got = *held(&got);
    if got == 0 {
        Err("no picture came out".to_owned())
    } else {
        Ok(())
    }
}

/// A running encoder for pictures of one size.
pub(super) struct Encoder {
    camera: CameraId,
    pub(super) name: &'static str,
    size: ImageSize,
    pub(super) matrix: YuvMatrix,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    element: gst::Element,
    pool: gst::BufferPool,
    layout: [Plane; 3],
    next_key_nanos: i64,
    /// What stopped the taker of access units.
    refused: Arc<Mutex<Option<RecordError>>>,
}

impl Encoder {
    /// `size` and `matrix`: of the pictures that will be pushed.
    pub(super) fn start(
        camera: &CameraId,
        candidate: &Candidate,
        size: ImageSize,
        matrix: YuvMatrix,
        kbit: u32,
        mut take: Take,
    ) -> Result<Encoder, RecordError> {
        let failed = |detail: String| RecordError::Encoder {
            camera: camera.clone(),
            encoder: candidate.factory.to_owned(),
            size,
            detail,
        };
        let info = video_info(size, matrix).map_err(|e| failed(e.to_string()))?;
        let caps = info.to_caps().map_err(|e| failed(e.to_string()))?;
        let layout = std::array::from_fn(|plane| Plane {
            offset: info.offset()[plane],
            row_pitch: info.stride()[plane].unsigned_abs() as usize,
        });

        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .block(true)
            .max_buffers(2)
            .max_bytes(0)
            .build();
        let convert = element("videoconvert", "gstreamer1.0-plugins-base")?;
        let element_ = element(candidate.factory, "the plugin of this encoder")?;
        set_up(&element_, candidate.settings, kbit);
        let parse = element("h264parse", "gstreamer1.0-plugins-bad")?;
        let refused = Arc::new(Mutex::new(None));
        let refusal = Arc::clone(&refused);
        let sink = gst_app::AppSink::builder()
            .caps(
                &gst::Caps::builder("video/x-h264")
                    .field("stream-format", "avc")
                    .field("alignment", "au")
                    .build(),
            )
            .sync(false)
            .async_(false)
            .callbacks(
                gst_app::AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                        take(&sample).map(|()| gst::FlowSuccess::Ok).map_err(|error| {
                            held(&refusal).get_or_insert(error); // what follows a failure is noise
                            gst::FlowError::Error
                        })
                    })
                    .build(),
            )
            .build();
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &convert, &element_, &parse, sink.upcast_ref()];
        pipeline.add_many(chain).map_err(|e| failed(e.to_string()))?;
        gst::Element::link_many(chain).map_err(|e| failed(e.to_string()))?;

        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&caps), u32::try_from(info.size()).unwrap_or(u32::MAX), 2, 0);
        pool.set_config(config).map_err(|e| failed(e.to_string()))?;
        pool.set_active(true).map_err(|e| failed(e.to_string()))?;

        let encoder = Encoder {
            camera: camera.clone(),
            name: candidate.factory,
            size,
            matrix,
            pipeline,
            source,
            element: element_,
            pool,
            layout,
            next_key_nanos: KEY_FRAME_NANOS,
            refused,
        };
        match encoder.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(encoder),
            Err(_) => Err(encoder.fault()),
        }
    }

    /// Whether pictures of this size and matrix may be pushed.
    pub(super) fn fits(&self, size: ImageSize, matrix: YuvMatrix) -> bool {
        self.size == size && self.matrix == matrix
    }

    /// Encodes one picture of the size given at the start; `time_nanos` must increase. Waits while the encoder is busy.
    pub(super) fn push(&mut self, canvas: &Canvas, time_nanos: i64) -> Result<(), RecordError> {
        let time = gst::ClockTime::from_nseconds(time_nanos.max(0).unsigned_abs());
        if time_nanos >= self.next_key_nanos {
            self.next_key_nanos = time_nanos + KEY_FRAME_NANOS;
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .running_time(time)
                .all_headers(true)
                .build();
            if let Some(pad) = self.element.static_pad("src") {
                pad.send_event(event);
            }
        }
        let mut buffer = self.pool.acquire_buffer(None).map_err(|_| self.fault())?;
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(time);
            let mut map = buffer.map_writable().map_err(|e| self.failed(e.to_string()))?;
            canvas.write_i420(self.layout, &mut map);
        }
        match self.source.push_buffer(buffer) {
            Ok(_) => match self.refused.lock() {
                Ok(refused) if refused.is_some() => {
                    drop(refused);
                    Err(self.fault())
                }
                _ => Ok(()),
            },
            Err(_) => Err(self.fault()),
        }
    }

    /// Encodes what is waiting and stops. After it nothing more is taken.
    pub(super) fn finish(&mut self, patience: Duration) -> Result<(), RecordError> {
        let ended = self.source.end_of_stream().is_ok() && self.wait_for_end(patience)?;
        let _ = self.pipeline.set_state(gst::State::Null);
        if ended {
            Ok(())
        } else {
            Err(self.failed(format!("it did not finish within {} ms", patience.as_millis())))
        }
    }

    fn wait_for_end(&self, patience: Duration) -> Result<bool, RecordError> {
        let Some(bus) = self.pipeline.bus() else {
            return Ok(false);
        };
        let wait = gst::ClockTime::from_nseconds(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        match bus.timed_pop_filtered(wait, &[gst::MessageType::Eos, gst::MessageType::Error]) {
            Some(message) if message.type_() == gst::MessageType::Eos => Ok(true),
            Some(message) => {
                let refused = held(&self.refused).take();
                Err(refused.unwrap_or_else(|| self.failed(error_text(&message))))
            }
            None => Ok(false),
        }
    }

    /// Why pushing failed.
    fn fault(&self) -> RecordError {
        if let Some(refused) = held(&self.refused).take() {
            return refused;
        }
        // The flow stops a moment before the message is posted.
        let wait = gst::ClockTime::from_mseconds(500);
        let message = self
            .pipeline
            .bus()
            .and_then(|bus| bus.timed_pop_filtered(wait, &[gst::MessageType::Error]));
        let refused = held(&self.refused).take();
        refused.unwrap_or_else(|| self.failed(message.map_or("it stopped".to_owned(), |m| error_text(&m))))
    }

    fn failed(&self, detail: String) -> RecordError {
        RecordError::Encoder {
            camera: self.camera.clone(),
            encoder: self.name.to_owned(),
            size: self.size,
            detail,
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.pool.set_active(false);
    }
}

/// An element, or which package brings it.
pub(super) fn element(factory: &'static str, package: &'static str) -> Result<gst::Element, RecordError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| RecordError::MissingElement {
            element: factory,
            package,
        })
}

/// What an error message says, with its details.
pub(super) fn error_text(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => match error.debug() {
            Some(debug) => format!("{} ({debug})", error.error()),
            None => error.error().to_string(),
        },
        _ => "stopped".to_owned(),
    }
}

fn set_up(element: &gst::Element, settings: &[(&str, &str)], kbit: u32) {
    for (name, value) in settings {
        if element.find_property(name).is_some() {
            let bits = u64::from(kbit) * 1000;
            let value = value
                .replace("{kbit}", &kbit.to_string())
                .replace("{bits}", &bits.to_string());
            element.set_property_from_str(name, &value);
        }
    }
}

/// I420 of the coded size. Frames come when they come and keep their times; the rate given is nominal: without one
/// x264 waits for the next frame to learn how long this one lasts. The bit rate is met at this rate, and goes down and
/// up with the real one.
fn video_info(size: ImageSize, matrix: YuvMatrix) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    use gst_video::{VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoTransferFunction};
    let (range, colour_matrix, primaries) = match matrix {
        YuvMatrix::Bt601Limited => (
            VideoColorRange::Range16_235,
            VideoColorMatrix::Bt601,
            VideoColorPrimaries::Smpte170m,
        ),
        YuvMatrix::Bt601Full => (
            VideoColorRange::Range0_255,
            VideoColorMatrix::Bt601,
            VideoColorPrimaries::Smpte170m,
        ),
        YuvMatrix::Bt709Limited => (
            VideoColorRange::Range16_235,
            VideoColorMatrix::Bt709,
            VideoColorPrimaries::Bt709,
        ),
        YuvMatrix::Bt709Full => (
            VideoColorRange::Range0_255,
            VideoColorMatrix::Bt709,
            VideoColorPrimaries::Bt709,
        ),
    };
    let transfer = VideoTransferFunction::Bt709;
    let colorimetry = gst_video::VideoColorimetry::new(range, colour_matrix, transfer, primaries);
    let coded = coded_size(size);
    gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, coded.width, coded.height)
        .colorimetry(&colorimetry)
        .fps(gst::Fraction::new(30, 1))
        .build()
}
