//! What a picture says about itself: the status bar, degradations, and that there is no result.

use super::canvas::{Canvas, Rect};
use super::style::{Rgb, Style};
use super::text::Letters;
use super::utc::UtcTime;
use crate::outlets::{Outcome, Report};

/// Words burnt into a picture. The default draws nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Caption {
    /// Empty = no status bar.
    pub camera: String,
    pub capture_unix_nanos: Option<i64>,
    /// 0 = no frame came.
    pub frame_number: u64,
    /// From capture to now, or to wherever the caller says.
    pub latency_nanos: Option<i64>,
    /// Name of the engine.
    pub engine: String,
    /// Degradation words such as `LOW_RATE`.
    pub degraded: Vec<String>,
    /// Why nothing was looked at.
    pub no_result: Option<NoResult>,
}

/// A tombstone in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoResult {
    /// Such as `OVERLOADED`.
    pub reason: String,
    /// For people; may be empty.
    pub detail: String,
}

impl Caption {
    /// The words of a report. Latency: from capture to the last stage the frame passed; `delivered_mono_nanos` stands
    /// in where no stage is marked.
    pub fn of_report(report: &Report, engine: &str, delivered_mono_nanos: i64) -> Caption {
        let marks = &report.marks;
        let done = [marks.instances, marks.inferred].into_iter().find(|&mark| mark > 0);
        let no_result = match &report.outcome {
            Outcome::Answer { .. } => None,
            Outcome::Tombstone {
                reason,
                detail,
                stalled_for_nanos,
            } => Some(NoResult {
                reason: word(reason.as_str_name(), "TOMBSTONE_REASON_"),
                detail: match stalled_for_nanos {
                    0 => detail.clone(),
                    nanos if detail.is_empty() => format!("no frame for {:.1} s", *nanos as f64 / 1e9),
                    nanos => format!("{detail}, no frame for {:.1} s", *nanos as f64 / 1e9),
                },
            }),
        };
        let latency = report
            .capture_time
            .map(|t| done.unwrap_or(delivered_mono_nanos) - t.mono_nanos);
        Caption {
            camera: report.camera.to_string(),
            capture_unix_nanos: report.capture_time.map(|t| t.unix_nanos),
            frame_number: report.frame_number,
            latency_nanos: latency.filter(|_| no_result.is_none()),
            engine: engine.to_owned(),
            degraded: report
                .degraded
                .iter()
                .map(|d| word(d.as_str_name(), "DEGRADATION_"))
                .collect(),
            no_result,
        }
    }
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

const AMBER: Rgb = Rgb(255, 184, 28);
const PALE: Rgb = Rgb(176, 184, 194);
const GROUND: Rgb = Rgb(10, 12, 16);
const RED: Rgb = Rgb(190, 28, 38);

/// Draws the status bar along the lower edge; gives the rows above it that are still free.
pub(super) fn draw_status(
    canvas: &mut Canvas,
    letters: &mut Letters,
    style: &Style,
    scale: f32,
    caption: &Caption,
) -> Rect {
    let whole = canvas.bounds();
    if caption.camera.is_empty() {
        return whole;
    }
    let px = (style.status_px * scale).round().max(9.0);
    let (pad, cap) = ((px * 0.5).round() as i32, letters.cap_height(px));
    let height = cap + 2 * pad;
    let bar = Rect {
        y0: whole.y1 - height,
        ..whole
    };
    let base = bar.y0 + pad + cap;
    let ground = canvas.tone(GROUND);
    canvas.rect(bar, ground, 178);

    let mut left = bar.x0 + pad;
    let mut right = bar.x1 - pad;
    let gap = (px * 0.9).round() as i32;
    // In order of importance: what does not fit is left out.
    let time = caption
        .capture_unix_nanos
        .map(|n| UtcTime::from_unix_nanos(n).to_string());
    let frame = (caption.frame_number > 0).then(|| format!("#{}", caption.frame_number));
    let latency = caption
        .latency_nanos
        .map(|n| format!("latency {:.1} ms", n as f64 / 1e6));
    let engine = Some(caption.engine.clone()).filter(|name| !name.is_empty());
    let words = [
        (Some(caption.camera.clone()), Rgb::WHITE, End::Left),
        (time, Rgb::WHITE, End::Left),
        (latency, Rgb::WHITE, End::Right),
        (frame, PALE, End::Left),
        (engine, PALE, End::Right),
    ];
    for (text, colour, end) in words {
        let Some(text) = text else { continue };
        let (width, tone) = (letters.width(&text, px), canvas.tone(colour));
        if left + width > right {
            continue;
        }
        let x = match end {
            End::Left => left,
            End::Right => right - width,
        };
        letters.write(canvas, x, base, &text, px, tone);
        match end {
            End::Left => left += width + gap,
            End::Right => right -= width + gap,
        }
    }

    let mut free = Rect { y1: bar.y0, ..whole };
    if !caption.degraded.is_empty() {
        let strip = Rect {
            y0: bar.y0 - height,
            y1: bar.y0,
            ..whole
        };
        let (amber, ink) = (canvas.tone(AMBER), canvas.tone(AMBER.ink()));
        canvas.rect(strip, amber, 236);
        let words = format!("DEGRADED  {}", caption.degraded.join(", "));
        let text = shortened(letters, &words, px, strip.width() - 2 * pad);
        letters.write(canvas, strip.x0 + pad, strip.y0 + pad + cap, &text, px, ink);
        free.y1 = strip.y0;
    }
    free
}

enum End {
    Left,
    Right,
}

/// The banner of a frame that nobody looked at.
pub(super) fn draw_banner(
    canvas: &mut Canvas,
    letters: &mut Letters,
    style: &Style,
    scale: f32,
    free: Rect,
    no_result: &NoResult,
) {
    let px = (style.banner_px * scale).round().max(10.0);
    let small = (style.status_px * scale).round().max(9.0);
    let (pad, cap, small_cap) = (
        (px * 0.6).round() as i32,
        letters.cap_height(px),
        letters.cap_height(small),
    );
    let room = free.width() - 2 * pad;
    let detail = (!no_result.detail.is_empty()).then(|| shortened(letters, &no_result.detail, small, room));
    let height = cap + 2 * pad + detail.as_ref().map_or(0, |_| small_cap + pad);
    let top = free.y0 + ((free.height() - height) / 3).max(0);
    let (red, white) = (canvas.tone(RED), canvas.tone(Rgb::WHITE));
    canvas.rect(Rect::new(free.x0, top, free.width(), height), red, 224);
    let text = shortened(letters, &format!("no result: {}", no_result.reason), px, room);
    let x = |width: i32| free.x0 + (free.width() - width) / 2;
    let base = top + pad + cap;
    letters.write(canvas, x(letters.width(&text, px)), base, &text, px, white);
    if let Some(detail) = detail {
        let width = letters.width(&detail, small);
        letters.write(canvas, x(width), base + pad + small_cap, &detail, small, white);
    }
}

/// `text`, cut with an ellipsis to fit `room` px.
fn shortened(letters: &Letters, text: &str, px: f32, room: i32) -> String {
    if letters.width(text, px) <= room {
        return text.to_owned();
    }
    let mut cut: String = text.to_owned();
    while cut.pop().is_some() {
        let with_ellipsis = format!("{}…", cut.trim_end());
        if letters.width(&with_ellipsis, px) <= room {
            return with_ellipsis;
        }
    }
    String::new()
}
