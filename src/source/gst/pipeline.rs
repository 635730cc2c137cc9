//! Pipelines: one for each kind of URI, all ending in the same sink.
//!
//! ```text
//! filesrc | v4l2src | rtspsrc -> decodebin -+-> videoconvert [-> videoflip] -> appsink
//! a description of the user's --------------+   (passes frames through unless it must convert)
//! ```
//! Only the first video stream is linked: audio and subtitles are neither decoded nor waited for. `videoflip` copies each
//! frame even when it turns nothing, and loses its reference timestamps: it is there only for streams with a rotation tag.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::super::Fault;
use super::bus::{is_decoder, missing_element};
use super::damage::{Damage, DamageLog, Witness};
use super::sample::FORMATS;
use crate::config::redact;
use crate::source::jpeg::{self, JpegFault};
use crate::time::Clocks;

/// Bounded connecting, and silence of a UDP stream.
const RTSP_TIMEOUT: Duration = Duration::from_secs(5);
/// Decoded frames that may wait in the sink. Nothing is dropped there: the reader must see, and number, every frame.
const SINK_FRAMES: u32 = 3;
/// Threads of one software decoder: a machine has more cameras than one.
const DECODER_THREADS: i32 = 2;
/// Arrival times kept for frames between device and sink.
const ARRIVALS: usize = 64;

/// Whether frames are turned as their rotation tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    AsTheyAre,
    AsTagged,
}

/// A pipeline, not yet started. Dropping it stops it.
pub(super) struct Built {
    pub(super) pipeline: gst::Pipeline,
    pub(super) sink: gst_app::AppSink,
    pub(super) facts: Arc<Facts>,
}

/// What streaming threads found out.
#[derive(Debug, Default)]
pub(super) struct Facts {
    has_video: AtomicBool,
    pub(super) no_video: AtomicBool,
    /// A tag says that the frames lie on their side, or are mirrored.
    pub(super) is_turned: AtomicBool,
    pub(super) damage: DamageLog,
    /// (PTS, monotonic time at which the device gave it), nanoseconds.
    arrivals: Mutex<VecDeque<(u64, i64)>>,
}

impl Facts {
    /// When the device gave the frame stamped `pts`.
    pub(super) fn arrival(&self, pts: u64) -> Option<i64> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.iter().find(|(stamp, _)| *stamp == pts).map(|(_, at)| *at)
    }

    /// The first packet of a frame counts; the others bear the same stamp.
    fn arrived(&self, pts: u64, at: i64) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.back().is_some_and(|(last, _)| *last == pts) {
            return;
        }
        if arrivals.len() == ARRIVALS {
            arrivals.pop_front();
        }
        arrivals.push_back((pts, at));
    }
}

impl Built {
    fn parts(&self) -> impl Iterator<Item = (gst::Element, gst::ElementFactory)> {
        let all = self.pipeline.iterate_recurse().into_iter().flatten();
        all.filter_map(|element| Some((element.clone(), element.factory()?)))
    }

    /// Kinds of the elements there are by now.
    pub(super) fn elements(&self) -> impl Iterator<Item = String> {
        self.parts().map(|(_, factory)| factory.name().to_string())
    }

    pub(super) fn has_no_video_yet(&self) -> bool {
        !self.facts.has_video.load(Ordering::Acquire)
    }

    /// A demuxer that pulls its file itself has stopped to, and found no stream in it.
    pub(super) fn has_demuxer_given_up(&self) -> bool {
        let has_stopped =
            |pad: gst::Pad| pad.mode() == gst::PadMode::Pull && pad.task_state() != gst::TaskState::Started;
        self.parts().any(|(element, factory)| {
            factory.klass().contains("Demux")
                && element.src_pads().is_empty()
                && element.static_pad("sink").is_some_and(has_stopped)
        })
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and nothing is left that could see it.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn make(element: &'static str) -> Result<gst::Element, Fault> {
    gst::ElementFactory::make(element)
        .build()
        .map_err(|_| missing_element(element))
}

fn refused(e: impl std::fmt::Display) -> Fault {
    Fault::stream(&e.to_string())
}

pub(super) fn file(path: &Path, turn: Turn) -> Result<Built, Fault> {
    let source = make("filesrc")?;
    source.set_property("location", path);
    decoded(&source, turn)
}

pub(super) fn v4l2(device: &Path, turn: Turn, clocks: &Arc<dyn Clocks>) -> Result<Built, Fault> {
    let source = make("v4l2src")?;
    source.set_property("device", device.to_string_lossy().as_ref());
    let built = decoded(&source, turn)?;
    if let Some(pad) = source.static_pad("src") {
        note_arrivals(&pad, &built.facts, clocks);
    }
    Ok(built)
}

pub(super) fn rtsp(uri: &str, turn: Turn, latency: Duration, clocks: &Arc<dyn Clocks>) -> Result<Built, Fault> {
    let source = make("rtspsrc")?;
    let micros = u64::try_from(RTSP_TIMEOUT.as_micros()).unwrap_or(u64::MAX);
    source.set_property("location", uri);
    // Its default is 2 s.
    source.set_property("latency", u32::try_from(latency.as_millis()).unwrap_or(u32::MAX));
    source.set_property("drop-on-latency", true);
    source.set_property("add-reference-timestamp-meta", true);
    // UDP first would cost 5 s behind each firewall, and lost packets are damaged frames.
    source.set_property_from_str("protocols", "tcp");
    source.set_property("tcp-timeout", micros);
    source.set_property("timeout", micros);
    // Audio is not even set up.
    source.connect("select-stream", false, |args| {
        let media = args
            .get(2)
            .and_then(|v| v.get::<gst::Caps>().ok())
            .and_then(|caps| media_of(&caps));
        Some(media.is_none_or(|media| media == "video").to_value())
    });
    let (built, decoder) = decoding(&source, turn)?;
    let (facts, target, clocks) = (built.facts.clone(), decoder.downgrade(), clocks.clone());
    source.connect_pad_added(move |_, pad| {
        let is_video = pad.current_caps().and_then(|caps| media_of(&caps)).as_deref() == Some("video");
        let Some(decoder) = target.upgrade().filter(|_| is_video) else {
            return;
        };
        if let Some(sink) = decoder.static_pad("sink").filter(|sink| !sink.is_linked()) {
            // The jitter buffer is before this pad, and holds packets back only while one is missing.
            note_arrivals(pad, &facts, &clocks);
            if let Err(e) = pad.link(&sink) {
                tracing::warn!("RTSP stream not linked: {e}");
            }
        }
    });
    Ok(built)
}

fn media_of(caps: &gst::CapsRef) -> Option<String> {
    caps.structure(0)?.get::<String>("media").ok()
}

/// `description ! videoconvert ! appsink`, linked when pads appear.
pub(super) fn described(description: &str, turn: Turn, clocks: &Arc<dyn Clocks>) -> Result<Built, Fault> {
    for element in ["videoconvert", "videoflip", "appsink"] {
        make(element)?;
    }
    let flip = match turn {
        Turn::AsTheyAre => "",
        Turn::AsTagged => "videoflip video-direction=auto !",
    };
    let text = format!("{description} ! videoconvert ! {flip} appsink name=maskcast-pictures");
    let mut context = gst::ParseContext::new();
    let parsed = gst::parse::launch_full(&text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let pipeline = parsed
        .map_err(|e| {
            let missing = context.missing_elements();
            match (e.kind::<gst::ParseError>(), missing.first()) {
                (Some(gst::ParseError::NoSuchElement), Some(element)) => missing_element(element),
                _ => Fault::Description {
                    detail: redact(e.message()),
                },
            }
        })?
        .downcast::<gst::Pipeline>()
        .map_err(|e| Fault::Description {
            detail: format!("it makes a {}, not a pipeline", e.type_()),
        })?;
    let sink = pipeline
        .by_name("maskcast-pictures")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or_else(|| Fault::Description {
            detail: "its end cannot be linked".to_owned(),
        })?;
    let built = finish(pipeline, sink);
    for element in built.pipeline.iterate_recurse().into_iter().flatten() {
        let is_device = element.factory().is_some_and(|f| f.name() == "v4l2src");
        if let Some(pad) = element.static_pad("src").filter(|_| is_device) {
            note_arrivals(&pad, &built.facts, clocks);
        }
    }
    Ok(built)
}

/// `source ! decodebin ! ...`
fn decoded(source: &gst::Element, turn: Turn) -> Result<Built, Fault> {
    let (built, decoder) = decoding(source, turn)?;
    source.link(&decoder).map_err(refused)?;
    Ok(built)
}

/// The same with `source` not yet linked to the `decodebin`.
fn decoding(source: &gst::Element, turn: Turn) -> Result<(Built, gst::Element), Fault> {
    let decoder = make("decodebin")?;
    let convert = make("videoconvert")?;
    let sink = make("appsink")?
        .downcast::<gst_app::AppSink>()
        .map_err(|_| missing_element("appsink"))?;
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([source, &decoder, &convert, sink.upcast_ref()])
        .map_err(refused)?;
    match turn {
        Turn::AsTheyAre => convert.link(&sink).map_err(refused)?,
        Turn::AsTagged => {
            let flip = make("videoflip")?;
            flip.set_property_from_str("video-direction", "auto");
            pipeline.add(&flip).map_err(refused)?;
            gst::Element::link_many([&convert, &flip, sink.upcast_ref()]).map_err(refused)?;
        }
    }
    let built = finish(pipeline, sink);

    // Not decoding a stream exposes it as it is; nobody links it.
    decoder.connect("autoplug-continue", false, |args| {
        let wanted = args.get(2).and_then(|v| v.get::<gst::Caps>().ok()).is_none_or(|caps| {
            let kind = |s: &gst::StructureRef| s.name().starts_with("audio/") || s.name().starts_with("text/");
            !caps.structure(0).is_some_and(kind)
        });
        Some(wanted.to_value())
    });
    let (facts, target) = (built.facts.clone(), convert.downgrade());
    decoder.connect_pad_added(move |_, pad| {
        let is_video = pad
            .current_caps()
            .unwrap_or_else(|| pad.query_caps(None))
            .structure(0)
            .is_some_and(|s| s.name() == "video/x-raw");
        let Some(convert) = target.upgrade().filter(|_| is_video) else {
            return;
        };
        if let Some(sink) = convert.static_pad("sink").filter(|sink| !sink.is_linked()) {
            match pad.link(&sink) {
                Ok(_) => facts.has_video.store(true, Ordering::Release),
                Err(e) => tracing::warn!("video stream not linked: {e}"),
            }
        }
    });
    let facts = built.facts.clone();
    decoder.connect_no_more_pads(move |_| {
        if !facts.has_video.load(Ordering::Acquire) {
            facts.no_video.store(true, Ordering::Release);
        }
    });
    Ok((built, decoder))
}

fn finish(pipeline: gst::Pipeline, sink: gst_app::AppSink) -> Built {
    let facts = Arc::new(Facts::default());
    let formats = gst::List::new(FORMATS.map(|format| format.to_str()));
    sink.set_caps(Some(
        &gst::Caps::builder("video/x-raw").field("format", formats).build(),
    ));
    sink.set_max_buffers(SINK_FRAMES);
    sink.set_drop(false);
    sink.set_sync(false);
    sink.set_qos(false);
    // It would keep a buffer out of its pool for nothing.
    sink.set_enable_last_sample(false);
    announce_video_meta(&sink);
    note_turns(&sink, &facts);
    // CLOCK_MONOTONIC, whatever clock a device in the pipeline would offer.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        tune(&element, &facts);
    }
    let tuned = facts.clone();
    pipeline.connect_deep_element_added(move |_, _, element| tune(element, &tuned));
    Built { pipeline, sink, facts }
}

/// Without it decoders copy each frame into rows without padding. (appsink says so itself from 1.24 on.)
fn announce_video_meta(sink: &gst_app::AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        if let gst::QueryViewMut::Allocation(allocation) = query.view_mut() {
            allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

fn note_turns(sink: &gst_app::AppSink, facts: &Arc<Facts>) {
    let Some(pad) = sink.static_pad("sink") else { return };
    let facts = facts.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Tag(tag)) = info.event().map(|event| event.view())
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
        {
            facts
                .is_turned
                .store(orientation.get() != "rotate-0", Ordering::Release);
        }
        gst::PadProbeReturn::Ok
    });
}

/// What every decoder is told, whoever put it there.
fn tune(element: &gst::Element, facts: &Arc<Facts>) {
    if !is_decoder(element.upcast_ref()) {
        return;
    }
    if element.has_property_with_type("max-threads", i32::static_type()) {
        element.set_property("max-threads", DECODER_THREADS);
    }
    // A run of bad frames is no reason to end a stream.
    if element.has_property_with_type("max-errors", i32::static_type()) {
        element.set_property("max-errors", -1i32);
    }
    let jpeg = gst::Caps::new_empty_simple("image/jpeg");
    let takes_jpeg = element.factory().is_some_and(|f| f.can_sink_any_caps(&jpeg));
    if let Some(pad) = element.static_pad("sink").filter(|_| takes_jpeg) {
        check_jpegs(&pad, facts.clone());
    }
}

fn check_jpegs(pad: &gst::Pad, facts: Arc<Facts>) {
    let ends_seen = AtomicBool::new(false);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let is_jpeg = pad
            .current_caps()
            .is_some_and(|caps| caps.structure(0).is_some_and(|s| s.name() == "image/jpeg"));
        let Some(buffer) = info.buffer().filter(|_| is_jpeg) else {
            return gst::PadProbeReturn::Ok;
        };
        let Ok(map) = buffer.map_readable() else {
            return gst::PadProbeReturn::Ok;
        };
        match jpeg::check(&map) {
            Ok(()) => ends_seen.store(true, Ordering::Relaxed),
            Err(JpegFault::NoEnd { .. }) if !ends_seen.load(Ordering::Relaxed) => {}
            Err(fault) => facts.damage.add(Damage {
                pts: buffer.pts().map(gst::ClockTime::nseconds),
                witness: Witness::Bytes,
                detail: fault.to_string(),
            }),
        }
        gst::PadProbeReturn::Ok
    });
}

/// Remembers when a device or a network gave each frame.
fn note_arrivals(pad: &gst::Pad, facts: &Arc<Facts>, clocks: &Arc<dyn Clocks>) {
    let (facts, clocks) = (facts.clone(), clocks.clone());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        let of_list = info
            .buffer_list()
            .and_then(|list| list.get(0))
            .and_then(|buffer| buffer.pts());
        if let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()).or(of_list) {
            facts.arrived(pts.nseconds(), clocks.mono_nanos());
        }
        gst::PadProbeReturn::Ok
    });
}
