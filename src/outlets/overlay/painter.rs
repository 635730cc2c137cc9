//! The order in which things are drawn.

use super::canvas::Canvas;
use super::caption::{Caption, draw_banner, draw_status};
use super::marks::{draw_box, draw_mask};
use super::plates::draw_plates;
use super::style::{Style, scale};
use super::text::Letters;
use crate::instances::{ClassMap, Instance};

/// Draws picture after picture in one style.
pub struct Painter {
    style: Style,
    letters: Letters,
}

impl Painter {
    pub fn new(style: Style) -> Painter {
        Painter {
            style,
            letters: Letters::new(),
        }
    }

    /// Draws `instances` (descending score: the first lies on top) and `caption` over the picture in `canvas`. A caption
    /// that says "no result" draws no instances, whatever is given: there must never be a stale mask under it.
    pub fn draw(&mut self, canvas: &mut Canvas, instances: &[Instance], classes: &ClassMap, caption: &Caption) {
        let (style, letters, scale) = (&self.style, &mut self.letters, scale(canvas.size()));
        if let Some(no_result) = &caption.no_result {
            let free = draw_status(canvas, letters, style, scale, caption);
            draw_banner(canvas, letters, style, scale, free, no_result);
            return;
        }
        let below_first = || instances.iter().enumerate().rev();
        for (order, instance) in below_first() {
            draw_mask(canvas, style, scale, instance, style.colour(instance.class_id, order));
        }
        for (order, instance) in below_first() {
            let has_mask = instance.mask.as_ref().is_some_and(|mask| mask.runs.is_some());
            if style.boxes || !has_mask {
                draw_box(canvas, style, scale, instance, style.colour(instance.class_id, order));
            }
        }
        let free = draw_status(canvas, letters, style, scale, caption);
        if style.boxes {
            draw_plates(canvas, letters, style, scale, free, instances, classes);
        }
    }
}

impl std::fmt::Debug for Painter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Painter").field("style", &self.style).finish()
    }
}
