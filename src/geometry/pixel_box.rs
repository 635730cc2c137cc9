//! Boxes: `PixelBox<Space>` in f32 px while it moves through the network, `LatticeBox` in 1/256 px once it is a result.

use std::marker::PhantomData;

use super::ImageSize;

/// Pixels of the frame as captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePx {}
/// Pixels of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPx {}

/// `x0, y0, x1, y1` in the pixels of `Space`, f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelBox<Space> {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
    space: PhantomData<Space>,
}

impl<Space> PixelBox<Space> {
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        PixelBox {
            x0,
            y0,
            x1,
            y1,
            space: PhantomData,
        }
    }

    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// Cut to a picture of `size`.
    pub fn clip(&self, size: ImageSize) -> Self {
        let (w, h) = (size.width as f32, size.height as f32);
        Self::new(
            self.x0.clamp(0.0, w),
            self.y0.clamp(0.0, h),
            self.x1.clamp(0.0, w),
            self.y1.clamp(0.0, h),
        )
    }
}

/// A box of source px in units of 1/256 px, the form in which results are published: exact in f32 and in i32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatticeBox {
    pub x0: i32,
    pub y0: i32,
    pub x1: i32,
    pub y1: i32,
}

impl LatticeBox {
    /// Lattice steps in a pixel.
    pub const STEPS: i32 = 256;

    /// Rounds to the lattice, halves away from zero, and clips to the frame. `None` when nothing is left or a
    /// coordinate is not finite.
    pub fn round_within(source: &PixelBox<SourcePx>, frame: ImageSize) -> Option<LatticeBox> {
        let rounded = LatticeBox::round(source)?;
        let (w, h) = (Self::side(frame.width)?, Self::side(frame.height)?);
        let cut = LatticeBox {
            x0: rounded.x0.clamp(0, w),
            y0: rounded.y0.clamp(0, h),
            x1: rounded.x1.clamp(0, w),
            y1: rounded.y1.clamp(0, h),
        };
        (cut.x0 < cut.x1 && cut.y0 < cut.y1).then_some(cut)
    }

    /// Rounds to the lattice, halves away from zero, without clipping. `None` when a coordinate is not finite or
    /// beyond +-65536 px.
    pub fn round(source: &PixelBox<SourcePx>) -> Option<LatticeBox> {
        let q8 = |v: f32| {
            let scaled = (f64::from(v) * f64::from(Self::STEPS)).round(); // round(): halves away from zero
            (scaled.is_finite() && scaled.abs() <= 16_777_216.0).then_some(scaled as i32)
        };
        Some(LatticeBox {
            x0: q8(source.x0)?,
            y0: q8(source.y0)?,
            x1: q8(source.x1)?,
            y1: q8(source.y1)?,
        })
    }

    fn side(px: u32) -> Option<i32> {
        i32::try_from(px).ok()?.checked_mul(Self::STEPS)
    }

    /// Moved right and down by whole px.
    pub fn moved(self, right_px: u32, down_px: u32) -> LatticeBox {
        let steps = |px: u32| i32::try_from(px).unwrap_or(i32::MAX).saturating_mul(Self::STEPS);
        LatticeBox {
            x0: self.x0.saturating_add(steps(right_px)),
            y0: self.y0.saturating_add(steps(down_px)),
            x1: self.x1.saturating_add(steps(right_px)),
            y1: self.y1.saturating_add(steps(down_px)),
        }
    }

    /// Back to px; exact.
    pub fn to_px(self) -> PixelBox<SourcePx> {
        let px = |v: i32| v as f32 / Self::STEPS as f32;
        PixelBox::new(px(self.x0), px(self.y0), px(self.x1), px(self.y1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_away_from_zero() {
        let half = 0.5 / 256.0;
        let rounded = LatticeBox::round(&PixelBox::new(half, -half, 1.0 + half, 2.0));
        assert_eq!(
            rounded,
            Some(LatticeBox {
                x0: 1,
                y0: -1,
                x1: 257,
                y1: 512
            })
        );
    }

    #[test]
    fn boxes_outside_the_frame_or_not_finite_are_none() {
        let frame = ImageSize::new(10, 10);
        assert_eq!(
            LatticeBox::round_within(&PixelBox::new(-5.0, 0.0, 0.0, 4.0), frame),
            None
        );
        assert_eq!(
            LatticeBox::round_within(&PixelBox::new(f32::NAN, 0.0, 5.0, 4.0), frame),
            None
        );
        assert_eq!(
            LatticeBox::round_within(&PixelBox::new(0.0, 0.0, f32::INFINITY, 4.0), frame),
            None
        );
        let cut = LatticeBox::round_within(&PixelBox::new(-1.0, 2.0, 11.0, 4.0), frame);
        assert_eq!(
            cut,
            Some(LatticeBox {
                x0: 0,
                y0: 512,
                x1: 2560,
                y1: 1024
            })
        );
    }
}
