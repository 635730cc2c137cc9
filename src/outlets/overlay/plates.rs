//! Label plates: class name and score on the class's colour, inside the picture, off each other where that is cheap.

use super::canvas::{Canvas, Rect};
use super::marks::box_px;
use super::style::Style;
use super::text::Letters;
use crate::instances::{ClassMap, Instance};

/// What stands on the plate of an instance.
fn label(instance: &Instance, classes: &ClassMap) -> String {
    match classes.names.get(instance.class_id as usize) {
        Some(name) => format!("{name} {:.2}", instance.score),
        None => format!("class {} {:.2}", instance.class_id, instance.score),
    }
}

/// Plates of all instances, the best first: a plate keeps its place, later ones give way. `area`: where plates may lie.
pub(super) fn draw_plates(
    canvas: &mut Canvas,
    letters: &mut Letters,
    style: &Style,
    scale: f32,
    area: Rect,
    instances: &[Instance],
    classes: &ClassMap,
) {
    let px = (style.label_px * scale).round().max(9.0);
    let (pad_x, pad_y) = ((px * 0.36).round() as i32, (px * 0.3).round() as i32);
    let cap = letters.cap_height(px);
    let mut placed: Vec<Rect> = Vec::with_capacity(instances.len());
    for (order, instance) in instances.iter().enumerate() {
        let text = label(instance, classes);
        let (width, height) = (letters.width(&text, px) + 2 * pad_x, cap + 2 * pad_y);
        let plate = place(box_px(instance.bounds, canvas), width, height, area, &placed);
        let colour = style.colour(instance.class_id, order);
        let (ground, ink) = (canvas.tone(colour), canvas.tone(colour.ink()));
        canvas.plate(plate, (px * 0.22).round() as i32, ground, 236);
        letters.write(canvas, plate.x0 + pad_x, plate.y0 + pad_y + cap, &text, px, ink);
        placed.push(plate);
    }
}

/// The first free place around the box; if none is free, the one that covers least.
fn place(bounds: Rect, width: i32, height: i32, area: Rect, placed: &[Rect]) -> Rect {
    let (left, right) = (bounds.x0, bounds.x1 - width);
    let middle_y = (bounds.y0 + bounds.y1 - height) / 2;
    let corners = [
        (left, bounds.y0 - height),
        (left, bounds.y0),
        (right, bounds.y0 - height),
        (left, bounds.y1),
        (left, bounds.y1 - height),
        (right, bounds.y1),
        (bounds.x1, bounds.y0),
        (bounds.x0 - width, bounds.y0),
        (left, middle_y),
        (left, bounds.y0 - 2 * height),
    ];
    let kept_inside = |(x, y): (i32, i32)| {
        let x = x.min(area.x1 - width).max(area.x0);
        let y = y.min(area.y1 - height).max(area.y0);
        Rect::new(x, y, width, height)
    };
    let covered = |plate: &Rect| placed.iter().map(|other| plate.common_area(*other)).sum::<i64>();
    let candidates = corners.map(kept_inside);
    let free = candidates.iter().find(|plate| covered(plate) == 0);
    let best = free.or_else(|| candidates.iter().min_by_key(|plate| covered(plate)));
    *best.unwrap_or(&candidates[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AREA: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 640,
        y1: 460,
    };

    #[test]
    fn a_plate_sits_on_its_box_and_inside_the_picture() {
        let plate = |x, y| place(Rect::new(x, y, 80, 60), 50, 16, AREA, &[]);
        assert_eq!(plate(100, 100), Rect::new(100, 84, 50, 16));
        assert_eq!(plate(-20, 3), Rect::new(0, 0, 50, 16));
        assert_eq!(plate(630, 100), Rect::new(590, 84, 50, 16));
    }

    #[test]
    fn a_second_plate_gives_way() {
        let bounds = Rect::new(100, 100, 80, 60);
        let first = place(bounds, 50, 16, AREA, &[]);
        let second = place(bounds, 50, 16, AREA, &[first]);
        assert_eq!(second, Rect::new(100, 100, 50, 16));
        let third = place(bounds, 50, 16, AREA, &[first, second]);
        assert_eq!(third.common_area(first) + third.common_area(second), 0);
    }

    proptest! {
        #[test]
        fn plates_lie_inside(x in -50i32..700, y in -50i32..500, w in 1i32..300, h in 1i32..300) {
            let plate = place(Rect::new(x, y, w, h), 70, 18, AREA, &[]);
            prop_assert!(plate.x0 >= 0 && plate.y0 >= 0 && plate.x1 <= AREA.x1 && plate.y1 <= AREA.y1);
        }
    }
}
