//! Colours and sizes.

use crate::geometry::ImageSize;

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    pub const BLACK: Rgb = Rgb(0, 0, 0);
    pub const WHITE: Rgb = Rgb(255, 255, 255);

    /// How bright it looks, 0..=255 (BT.709 weights).
    pub fn luma(self) -> u32 {
        (54 * u32::from(self.0) + 183 * u32::from(self.1) + 19 * u32::from(self.2)) >> 8
    }

    /// Letters that can be read on this colour.
    pub fn ink(self) -> Rgb {
        if self.luma() >= 120 {
            Rgb(16, 18, 20)
        } else {
            Rgb::WHITE
        }
    }
}

/// What a colour tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourOf {
    Class,
    /// Neighbours in the order of scores differ: for many things of one class.
    Instance,
}

/// How annotations look. Lengths are px of a 640x480 picture and grow with the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    pub colour_of: ColourOf,
    /// Boxes, and plates with class and score. What has no mask has a box in any case.
    pub boxes: bool,
    /// How much of a mask's fill is colour, 0..=256.
    pub fill_alpha: u16,
    /// Width of a mask's outline.
    pub outline_px: f32,
    /// Width of a box line around a mask; a box without mask has twice as much.
    pub box_px: f32,
    pub label_px: f32,
    pub status_px: f32,
    pub banner_px: f32,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            colour_of: ColourOf::Class,
            boxes: true,
            fill_alpha: 92,
            outline_px: 2.0,
            box_px: 1.0,
            label_px: 13.0,
            status_px: 13.0,
            banner_px: 22.0,
        }
    }
}

impl Style {
    /// Where all things are of one class, a colour tells them apart and their name says nothing.
    pub fn of_classes(count: usize) -> Style {
        match count {
            1 => Style {
                colour_of: ColourOf::Instance,
                boxes: false,
                ..Style::default()
            },
            _ => Style::default(),
        }
    }

    /// `place`: the instance's in the order of scores.
    pub(super) fn colour(&self, class_id: u32, place: usize) -> Rgb {
        match self.colour_of {
            ColourOf::Class => class_colour(class_id),
            ColourOf::Instance => class_colour((place % PALETTE.len()) as u32),
        }
    }
}

/// Chosen to differ from each other and from most things on earth; neighbours in the list differ most.
const PALETTE: [Rgb; 16] = [
    Rgb(0, 184, 255),
    Rgb(255, 138, 0),
    Rgb(76, 217, 84),
    Rgb(255, 59, 92),
    Rgb(178, 102, 255),
    Rgb(255, 224, 20),
    Rgb(0, 209, 178),
    Rgb(255, 105, 215),
    Rgb(64, 110, 255),
    Rgb(173, 235, 0),
    Rgb(214, 88, 40),
    Rgb(90, 225, 255),
    Rgb(233, 30, 150),
    Rgb(0, 150, 90),
    Rgb(255, 176, 140),
    Rgb(150, 160, 175),
];

/// The colour of a class, the same in every picture.
fn class_colour(class_id: u32) -> Rgb {
    let round = class_id / PALETTE.len() as u32;
    let Rgb(r, g, b) = PALETTE[class_id as usize % PALETTE.len()];
    match round % 3 {
        0 => Rgb(r, g, b),
        // Later rounds are darker, then paler.
        1 => Rgb(r - r / 3, g - g / 3, b - b / 3),
        _ => Rgb(r + (255 - r) / 2, g + (255 - g) / 2, b + (255 - b) / 2),
    }
}

/// By how much lengths grow: 1 at 640x480; large pictures grow a little less than their sides.
pub(super) fn scale(size: ImageSize) -> f32 {
    let side = ((size.area() as f32) / (640.0 * 480.0)).sqrt();
    side.powf(0.85).clamp(0.5, 12.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_contrast_with_every_plate() {
        for class_id in 0..48 {
            let plate = class_colour(class_id);
            let contrast = plate.luma().abs_diff(plate.ink().luma());
            assert!(contrast >= 95, "class {class_id}: {plate:?} {contrast}");
        }
    }

    #[test]
    fn the_first_sixteen_classes_differ() {
        for a in 0..16u32 {
            for b in 0..a {
                let (Rgb(r, g, bl), Rgb(s, h, c)) = (class_colour(a), class_colour(b));
                let apart = u32::from(r.abs_diff(s)) + u32::from(g.abs_diff(h)) + u32::from(bl.abs_diff(c));
                assert!(apart >= 90, "{a} {b} {apart}");
            }
        }
    }

    #[test]
    fn things_of_one_class_differ_in_colour_and_bear_no_plates() {
        let style = Style::of_classes(1);
        assert!(!style.boxes && style.colour(0, 0) != style.colour(0, 1));
        assert_eq!(style.colour(0, 2), style.colour(0, 18));
        let named = Style::of_classes(2);
        assert!(named.boxes && named.colour(1, 0) == named.colour(1, 5));
    }

    #[test]
    fn lengths_follow_the_picture() {
        assert!((scale(ImageSize::new(640, 480)) - 1.0).abs() < 1e-6);
        assert!((scale(ImageSize::new(1920, 1440)) - 2.544).abs() < 1e-3); // 3^0.85
        assert_eq!(scale(ImageSize::new(16, 16)), 0.5);
    }
}
