//! Pixels and the spaces they live in.
//!
//! Corner origin: (0, 0) is the top-left corner of the top-left pixel, the centre of the pixel in column j, row i is
//! (j + 0.5, i + 0.5). Boxes are `x0, y0, x1, y1`, continuous, half open. Source px = the frame as captured; network
//! px = after resize and padding, and never leaves preprocess, model and `instances::decode`.

mod letterbox;
mod pixel_box;
mod tiles;

pub use letterbox::{Letterbox, Resampling, SideRounding, Sizing};
pub use pixel_box::{LatticeBox, NetworkPx, PixelBox, SourcePx};
pub use tiles::{Tile, Tiling, TilingError};

use std::fmt;
use std::str::FromStr;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    pub width: u32,
    pub height: u32,
}

impl ImageSize {
    pub const fn new(width: u32, height: u32) -> ImageSize {
        ImageSize { width, height }
    }

    /// Pixels of the picture.
    pub fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for ImageSize {
    type Err = String;
    /// `640x480`; both sides 1..=16384.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size such as 640x480 (each side 1 to 16384)");
        let (w, h) = text.split_once('x').ok_or_else(wrong)?;
        let side = |s: &str| {
            s.parse::<u32>()
                .ok()
                .filter(|v| (1..=16384).contains(v))
                .ok_or_else(wrong)
        };
        Ok(ImageSize::new(side(w)?, side(h)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_width_first() {
        assert_eq!("640x480".parse(), Ok(ImageSize::new(640, 480)));
        for bad in ["640", "0x480", "640x", "640x480x3", "-1x2", "99999x1"] {
            assert!(bad.parse::<ImageSize>().is_err(), "{bad}");
        }
    }
}
