//! Drawing what was seen into the picture it was seen in. Belongs here: the canvas, masks, boxes, label plates, the
//! status bar and the "no result" banner. Not here: encoding and files (`outlets::record`), network input
//! (`preprocess`), mask codecs (`instances`).
//!
//! Everything is drawn on a [`Canvas`] of three full-size planes, in R'G'B' for stills and in the camera's own Y'CbCr
//! for video: colours are converted once, pixels never. Sizes of lines and letters follow the picture.

mod canvas;
mod caption;
mod convert;
mod marks;
mod painter;
mod plates;
mod spans;
mod style;
mod text;
mod utc;

pub use canvas::{Canvas, Space};
pub use caption::{Caption, NoResult};
pub use convert::{coded_size, to_rgb};
pub use painter::Painter;
pub use style::{ColourOf, Rgb, Style};
pub use utc::UtcTime;

use std::path::{Path, PathBuf};

use crate::instances::{ClassMap, Instance};

/// Draws one picture in the default style. For many pictures keep a [`Painter`]: it remembers letters and memory.
///
/// `instances` by descending score: the first lies on top. A default `caption` draws no status bar.
pub fn draw(canvas: &mut Canvas, instances: &[Instance], classes: &ClassMap, caption: &Caption) {
    Painter::new(Style::default()).draw(canvas, instances, classes, caption);
}

/// A still picture could not be written.
#[derive(Debug, thiserror::Error)]
#[error("still picture {path}: {source}")]
pub struct StillError {
    pub path: PathBuf,
    pub source: image::ImageError,
}

/// Writes the canvas as PNG.
pub fn save_png(canvas: &Canvas, path: &Path) -> Result<(), StillError> {
    let written = canvas.to_rgb().save_with_format(path, image::ImageFormat::Png);
    written.map_err(|source| StillError {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
pub(crate) mod tests;
