//! What is drawn on an instance itself: the mask's fill and outline, the box.

use super::canvas::{Canvas, Rect};
use super::spans::RowSpans;
use super::style::{Rgb, Style};
use crate::geometry::LatticeBox;
use crate::instances::Instance;

/// Fill inside, a crisp outline along the inner edge, a dark hair line around it that keeps it readable on any ground.
pub(super) fn draw_mask(canvas: &mut Canvas, style: &Style, scale: f32, instance: &Instance, colour: Rgb) {
    let Some(runs) = instance.mask.as_ref().and_then(|mask| mask.runs.as_ref()) else {
        return;
    };
    let mask = RowSpans::from_runs(runs, canvas.size());
    let (tone, shade) = (canvas.tone(colour), canvas.tone(Rgb::BLACK));
    let width = (style.outline_px * scale).max(1.0);
    let inner = mask.eroded(width);
    for (y, x0, x1) in mask.dilated((0.5 * scale).max(1.0)).without(&mask).iter() {
        canvas.span(y, x0, x1, shade, 90);
    }
    for (y, x0, x1) in inner.iter() {
        canvas.span(y, x0, x1, tone, style.fill_alpha);
    }
    for (y, x0, x1) in mask.without(&inner).iter() {
        canvas.span(y, x0, x1, tone, 240);
    }
}

/// Whole pixels of a box: each edge on the nearest pixel border, at least one pixel, inside the picture.
pub(super) fn box_px(bounds: LatticeBox, canvas: &Canvas) -> Rect {
    let (width, height) = (canvas.size().width as i32, canvas.size().height as i32);
    let px = |v: i32| (v + LatticeBox::STEPS / 2).div_euclid(LatticeBox::STEPS);
    let (x0, y0) = (px(bounds.x0).clamp(0, width - 1), px(bounds.y0).clamp(0, height - 1));
    Rect {
        x0,
        y0,
        x1: px(bounds.x1).clamp(x0 + 1, width),
        y1: px(bounds.y1).clamp(y0 + 1, height),
    }
}

/// A faint line with strong corners where a mask already shows the shape; a strong line where the box is all there is.
pub(super) fn draw_box(canvas: &mut Canvas, style: &Style, scale: f32, instance: &Instance, colour: Rgb) {
    let rect = box_px(instance.bounds, canvas);
    let tone = canvas.tone(colour);
    let thin = ((style.box_px * scale).round() as i32).max(1);
    let has_mask = instance.mask.as_ref().is_some_and(|mask| mask.runs.is_some());
    if !has_mask {
        frame(canvas, rect, 2 * thin, |canvas, part| canvas.rect(part, tone, 256));
        return;
    }
    frame(canvas, rect, thin, |canvas, part| canvas.rect(part, tone, 120));
    let arm = (rect.width().min(rect.height()) / 4).clamp(1, (14.0 * scale) as i32 + 1);
    frame(canvas, rect, 2 * thin, |canvas, part| {
        // Of each side only what is near a corner.
        if part.width() > part.height() {
            canvas.rect(
                Rect {
                    x1: part.x0 + arm,
                    ..part
                },
                tone,
                256,
            );
            canvas.rect(
                Rect {
                    x0: part.x1 - arm,
                    ..part
                },
                tone,
                256,
            );
        } else {
            canvas.rect(
                Rect {
                    y1: part.y0 + arm,
                    ..part
                },
                tone,
                256,
            );
            canvas.rect(
                Rect {
                    y0: part.y1 - arm,
                    ..part
                },
                tone,
                256,
            );
        }
    });
}

/// The four sides of `rect`, `width` px wide, inside it.
fn frame(canvas: &mut Canvas, rect: Rect, width: i32, mut side: impl FnMut(&mut Canvas, Rect)) {
    let width = width.min(rect.width() / 2).min(rect.height() / 2).max(1);
    let Rect { x0, y0, x1, y1 } = rect;
    side(canvas, Rect { y1: y0 + width, ..rect });
    side(canvas, Rect { y0: y1 - width, ..rect });
    let (y0, y1) = (y0 + width, y1 - width);
    if y0 < y1 {
        side(
            canvas,
            Rect {
                x0,
                y0,
                x1: x0 + width,
                y1,
            },
        );
        side(
            canvas,
            Rect {
                x0: x1 - width,
                y0,
                x1,
                y1,
            },
        );
    }
}
