//! Picture -> network input, in one pass: colour, bilinear resize, normalisation, padding. Belongs here: what happens to
//! pixels before the network. Not here: what the network does with them (`model`), where a picture lies in the input
//! (`geometry::Letterbox`).
//!
//! The output is [3, H, W] f32: red, green, blue planes of `(value / 255 - mean) / std` in the top-left `resized` part,
//! zeros beside and below it (padding comes after normalisation, as in torchvision). Resampling is bilinear with
//! half-pixel centres, edges repeated, no antialiasing: torchvision's `F.interpolate(align_corners=False)`, each axis by
//! its own ratio; or, for networks that were trained so, antialiased (`antialias.rs`).
//!
//! Y'CbCr: a pixel takes the chroma sample that covers it (nearest, x / 2 and y / 2 rounded down), and the matrix is
//! applied before values are clamped to 0..1. Interpolation lies between the two, so that it can run on the samples as
//! they are stored; for colours inside the RGB cube that equals converting first.
//!
//! On a GPU (`launch.rs`) the same values, rounded to f16, come channels last for a batch of pictures at once:
//! [N, H, W, 8], three channels and five zeros. Antialiased pictures are resized on the host first ([`made_small`]).

mod antialias;
pub mod check;
mod colour;
mod fast;
pub mod launch;
mod plain;
mod table;

pub use launch::{DevicePreprocess, PictureParams};
pub use table::{PictureTable, TableError};

use crate::frame::{Image, ImageError, PixelFormat, YuvMatrix};
use crate::geometry::{ImageSize, Letterbox, Resampling};

/// Of red, green, blue in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalise {
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Why a picture cannot become a network input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreprocessError {
    #[error("a picture of {source_size} does not fit a network input of {network}: both need pixels")]
    Empty { source_size: ImageSize, network: ImageSize },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("a picture of {got}: the plan is for {expected}")]
    Source { expected: ImageSize, got: ImageSize },
    #[error("a picture whose rows lie {pitch} bytes apart: a GPU's kernel counts them in 32 bits")]
    Pitch { pitch: usize },
    #[error("network input of {network} has {got} values: expected {expected}")]
    Output {
        network: ImageSize,
        expected: usize,
        got: usize,
    },
}

/// Keeps the tables of the last kind of picture it saw: one a camera or a network input.
#[derive(Debug)]
pub struct Preprocessor {
    normalise: Normalise,
    resampling: Resampling,
    plan: Option<(Kind, fast::Plan)>,
}

/// What the tables depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    format: PixelFormat,
    matrix: YuvMatrix,
    letterbox: Letterbox,
}

impl Preprocessor {
    pub fn new(normalise: Normalise, resampling: Resampling) -> Preprocessor {
        Preprocessor {
            normalise,
            resampling,
            plan: None,
        }
    }

    /// Writes every value of `out` [3, H, W], the network's input; `letterbox` says where the picture lies in it.
    pub fn run(&mut self, image: &Image, letterbox: &Letterbox, out: &mut [f32]) -> Result<(), PreprocessError> {
        check(image, letterbox, out)?;
        if let Some((small, placed)) = made_small(image, letterbox, self.resampling)? {
            return self.run(&small, &placed, out);
        }
        let kind = Kind {
            format: image.format,
            matrix: image.matrix,
            letterbox: *letterbox,
        };
        let normalise = self.normalise;
        let plan = match &mut self.plan {
            Some((known, plan)) if *known == kind => plan,
            slot => &mut slot.insert((kind, fast::Plan::new(&kind, normalise))).1,
        };
        plan.run(image, out);
        Ok(())
    }

    /// The same by plain loops: the specification, about a hundred times slower.
    pub fn run_plain(&self, image: &Image, letterbox: &Letterbox, out: &mut [f32]) -> Result<(), PreprocessError> {
        check(image, letterbox, out)?;
        plain::run(image, letterbox, self.normalise, out);
        Ok(())
    }
}

/// Where `resampling` is none that the passes of this room do by themselves: the resized picture (RGB8), and where it lies.
/// `None` = show `image` as it is.
pub fn made_small(
    image: &Image,
    letterbox: &Letterbox,
    resampling: Resampling,
) -> Result<Option<(Image, Letterbox)>, PreprocessError> {
    if resampling == Resampling::Bilinear || letterbox.resized == letterbox.source {
        return Ok(None);
    }
    check_sizes(image.size, letterbox)?;
    let placed = Letterbox {
        source: letterbox.resized,
        ..*letterbox
    };
    Ok(Some((antialias::resize(image, letterbox.resized)?, placed)))
}

fn check(image: &Image, letterbox: &Letterbox, out: &[f32]) -> Result<(), PreprocessError> {
    check_sizes(image.size, letterbox)?;
    let network = letterbox.network;
    let expected = 3 * network.width as usize * network.height as usize;
    if out.len() != expected {
        return Err(PreprocessError::Output {
            network,
            expected,
            got: out.len(),
        });
    }
    Ok(())
}

fn check_sizes(got: ImageSize, letterbox: &Letterbox) -> Result<(), PreprocessError> {
    let Letterbox {
        source,
        resized,
        network,
    } = *letterbox;
    if source != got {
        return Err(PreprocessError::Source { expected: source, got });
    }
    let inside = resized.width <= network.width && resized.height <= network.height;
    if source.area() == 0 || resized.area() == 0 || !inside {
        return Err(PreprocessError::Empty {
            source_size: source,
            network,
        });
    }
    Ok(())
}

/// Where output position `i` of `to` samples an axis of `from`: two neighbours and the weight of the second. In f32, as
/// torchvision computes it.
fn neighbours(i: usize, from: u32, to: u32) -> (usize, usize, f32) {
    let scale = from as f32 / to as f32;
    let at = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
    let last = from as usize - 1;
    let low = (at as usize).min(last);
    (low, (low + 1).min(last), at - low as f32)
}

#[cfg(test)]
mod tests;
