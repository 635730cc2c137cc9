//! Letters: one bundled face, each glyph turned into a coverage bitmap once a size and quarter-pixel position.

use std::collections::HashMap;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use super::canvas::{Canvas, Tone};

/// Roboto Medium, Apache-2.0; see `font/README.md`.
static FACE: &[u8] = include_bytes!("font/Roboto-Medium-subset.ttf");

/// Horizontal positions of a letter within a pixel.
const STEPS: f32 = 4.0;

/// Draws text; remembers letters.
pub(super) struct Letters {
    /// `None` only if the bundled bytes were no font (a test holds that they are): nothing is written then.
    face: Option<FontRef<'static>>,
    glyphs: HashMap<(char, u32, u8), Glyph>,
}

struct Glyph {
    /// From the pen (on the base line) to the bitmap's corner.
    left: i32,
    top: i32,
    width: usize,
    coverage: Vec<u8>,
}

impl Letters {
    pub(super) fn new() -> Letters {
        Letters {
            face: FontRef::try_from_slice(FACE).ok(),
            glyphs: HashMap::new(),
        }
    }

    /// Advance width of `text` in px, rounded up.
    pub(super) fn width(&self, text: &str, px: f32) -> i32 {
        let Some(face) = &self.face else { return 0 };
        let scaled = face.as_scaled(em(px));
        let sum: f32 = text.chars().map(|c| scaled.h_advance(scaled.glyph_id(c))).sum();
        sum.ceil() as i32
    }

    /// Height of a line from the top of capitals to the base line, px.
    pub(super) fn cap_height(&self, px: f32) -> i32 {
        (px * 0.711).round() as i32 // Roboto's capitals: 1456 of 2048 units
    }

    /// Writes `text` with its base line at `y`, starting at `x`.
    pub(super) fn write(&mut self, canvas: &mut Canvas, x: i32, y: i32, text: &str, px: f32, tone: Tone) {
        let Some(face) = &self.face else { return };
        let scaled = face.as_scaled(em(px));
        let mut pen = x as f32;
        for c in text.chars() {
            let whole = pen.floor();
            let step = ((pen - whole) * STEPS) as u8;
            let key = (c, px.to_bits(), step);
            let glyph = self.glyphs.entry(key).or_insert_with(|| render(face, c, px, step));
            if glyph.width > 0 {
                for (row, coverage) in glyph.coverage.chunks_exact(glyph.width).enumerate() {
                    canvas.coverage(whole as i32 + glyph.left, y + glyph.top + row as i32, coverage, tone);
                }
            }
            pen += scaled.h_advance(scaled.glyph_id(c));
        }
    }
}

/// Our px are the em square; ab_glyph's scale is ascent + descent (1900 + 500 of 2048 units).
fn em(px: f32) -> PxScale {
    PxScale::from(px * 2400.0 / 2048.0)
}

fn render(face: &FontRef<'static>, c: char, px: f32, step: u8) -> Glyph {
    let offset = point(f32::from(step) / STEPS, 0.0);
    let glyph = face.glyph_id(c).with_scale_and_position(em(px), offset);
    let Some(outline) = face.outline_glyph(glyph) else {
        return Glyph {
            left: 0,
            top: 0,
            width: 0,
            coverage: Vec::new(),
        };
    };
    let bounds = outline.px_bounds();
    let (width, height) = (bounds.width().ceil() as usize, bounds.height().ceil() as usize);
    let mut coverage = vec![0u8; width * height];
    outline.draw(|x, y, c| {
        if let Some(value) = coverage.get_mut(y as usize * width + x as usize) {
            *value = (c * 255.0).round().clamp(0.0, 255.0) as u8;
        }
    });
    Glyph {
        left: bounds.min.x.floor() as i32,
        top: bounds.min.y.floor() as i32,
        width,
        coverage,
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::Space;
    use super::super::style::Rgb;
    use super::*;
    use crate::geometry::ImageSize;

    #[test]
    fn the_bundled_face_has_the_letters_of_labels_and_status() {
        let face = FontRef::try_from_slice(FACE).expect("font");
        for c in "AZaz09 #.:,-_()%/|äöüßéñçøåłčşžΩжЯ·•–…�".chars() {
            assert!(face.glyph_id(c).0 != 0, "{c:?}");
        }
        assert_eq!(face.units_per_em(), Some(2048.0));
        assert_eq!(face.ascent_unscaled() - face.descent_unscaled(), 2400.0);
        let digits: Vec<f32> = ('0'..='9').map(|c| face.h_advance_unscaled(face.glyph_id(c))).collect();
        assert!(
            digits.iter().all(|w| *w == digits[0]),
            "a running clock must not dance: {digits:?}"
        );
    }

    #[test]
    fn letters_stay_between_base_line_and_cap_height() {
        let mut canvas = Canvas::blank(ImageSize::new(60, 40), Space::Rgb);
        let mut letters = Letters::new();
        let tone = canvas.tone(Rgb::WHITE);
        letters.write(&mut canvas, 5, 30, "HIE", 20.0, tone);
        let lit: Vec<(u32, u32)> = (0..40u32)
            .flat_map(|y| (0..60u32).map(move |x| (x, y)))
            .filter(|&(x, y)| canvas.pixel(x, y).luma() > 128)
            .collect();
        let rows = (lit.iter().map(|p| p.1).min(), lit.iter().map(|p| p.1).max());
        assert_eq!(rows, (Some(30 - 14), Some(29))); // 20 * 0.711 = 14.2
        let right = lit.iter().map(|p| p.0).max().unwrap_or(0) as i32;
        assert!(right <= 5 + letters.width("HIE", 20.0) && right > 25, "{right}");
    }
}
