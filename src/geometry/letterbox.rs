//! The map between source px and network px: scale to fit, keep the aspect ratio, pad right and below.
//!
//! As torchvision's `GeneralizedRCNNTransform`: the resized side is `floor(side * scale)`, so the two axes' exact
//! ratios differ by a fraction of a pixel and are kept apart.

use super::{ImageSize, NetworkPx, PixelBox, SourcePx};

/// How the size of a network's input follows from that of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// Always the same: the picture is fitted into it.
    Fixed(ImageSize),
    /// The shorter side becomes `shortest_px` unless the longer one would exceed `longest_px`; then the input is padded to
    /// whole multiples of `multiple_of`.
    ShortestEdge {
        shortest_px: u32,
        longest_px: u32,
        multiple_of: u32,
        rounding: SideRounding,
    },
}

/// Where the pixels of a resized picture come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// Four neighbours, however much the picture shrinks: torchvision on tensors, OpenCV.
    Bilinear,
    /// A triangle as wide as the pixels it covers: Pillow, and so detectron2.
    Antialiased,
}

/// How a scaled side becomes whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideRounding {
    /// torchvision `GeneralizedRCNNTransform`, in f64 as it computes it: 385 * (800 / 385) is below 800, and the side 799.
    Down,
    /// Detectron and detectron2 `ResizeShortestEdge`, in f64: the shorter side, then both again if the longer is too long.
    Nearest,
}

/// How a source picture sits in the network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    pub source: ImageSize,
    /// The picture after scaling.
    pub resized: ImageSize,
    /// The network's input: `resized` padded right and below.
    pub network: ImageSize,
}

impl Letterbox {
    /// Fits `source` into `network` with the largest scale that keeps the aspect ratio. `None` for an empty size.
    pub fn fit(source: ImageSize, network: ImageSize) -> Option<Letterbox> {
        if source.area() == 0 || network.area() == 0 {
            return None;
        }
        // Compare the aspect ratios in integers: which side binds?
        let wide =
            u64::from(source.width) * u64::from(network.height) >= u64::from(source.height) * u64::from(network.width);
        let shrink = |side: u32, to: u32, from: u32| (u64::from(side) * u64::from(to) / u64::from(from)).max(1) as u32;
        let resized = if wide {
            ImageSize::new(network.width, shrink(source.height, network.width, source.width))
        } else {
            ImageSize::new(shrink(source.width, network.height, source.height), network.height)
        };
        Some(Letterbox {
            source,
            resized,
            network,
        })
    }

    /// Where a picture of this size goes. `None` for an empty size.
    pub fn of(source: ImageSize, sizing: &Sizing) -> Option<Letterbox> {
        let (shortest, longest, multiple_of, rounding) = match *sizing {
            Sizing::Fixed(network) => return Letterbox::fit(source, network),
            Sizing::ShortestEdge {
                shortest_px,
                longest_px,
                multiple_of,
                rounding,
            } => (shortest_px, longest_px, multiple_of.max(1), rounding),
        };
        if source.area() == 0 || shortest == 0 || longest == 0 {
            return None;
        }
        let short = f64::from(source.width.min(source.height));
        let long = f64::from(source.width.max(source.height));
        let (to_short, to_long) = (f64::from(shortest) / short, f64::from(longest));
        let side = |from: u32| {
            let from = f64::from(from);
            match rounding {
                SideRounding::Down => (from * to_short.min(to_long / long)).floor(),
                SideRounding::Nearest => {
                    let scaled = |side: f64| {
                        if side == short {
                            f64::from(shortest)
                        } else {
                            to_short * side
                        }
                    };
                    let again = (to_long / scaled(long)).min(1.0);
                    (scaled(from) * again + 0.5).floor()
                }
            }
        };
        let side = |from: u32| (side(from) as u32).clamp(1, longest);
        let resized = ImageSize::new(side(source.width), side(source.height));
        let padded = |side: u32| side.checked_next_multiple_of(multiple_of);
        Some(Letterbox {
            source,
            resized,
            network: ImageSize::new(padded(resized.width)?, padded(resized.height)?),
        })
    }

    /// `(x, y)` factors: source px = network px * factor.
    pub fn source_from_network_scale(&self) -> (f32, f32) {
        (
            self.source.width as f32 / self.resized.width as f32,
            self.source.height as f32 / self.resized.height as f32,
        )
    }

    /// A network box in source px, not clipped.
    pub fn source_from_network(&self, b: &PixelBox<NetworkPx>) -> PixelBox<SourcePx> {
        let (sx, sy) = self.source_from_network_scale();
        PixelBox::new(b.x0 * sx, b.y0 * sy, b.x1 * sx, b.y1 * sy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_to_three_fills_the_network_input() {
        let fit = Letterbox::fit(ImageSize::new(640, 480), ImageSize::new(384, 288)).map(|l| l.resized);
        assert_eq!(fit, Some(ImageSize::new(384, 288)));
    }

    #[test]
    fn wide_and_tall_pictures_are_padded_below_and_right() {
        let net = ImageSize::new(384, 288);
        let wide = Letterbox::fit(ImageSize::new(1280, 720), net);
        assert_eq!(wide.map(|l| l.resized), Some(ImageSize::new(384, 216)));
        let tall = Letterbox::fit(ImageSize::new(480, 640), net);
        assert_eq!(tall.map(|l| l.resized), Some(ImageSize::new(216, 288)));
        let thin = Letterbox::fit(ImageSize::new(10_000, 1), net);
        assert_eq!(thin.map(|l| l.resized), Some(ImageSize::new(384, 1)));
        assert_eq!(Letterbox::fit(ImageSize::new(0, 5), net), None);
    }

    #[test]
    fn the_shorter_side_decides_until_the_longer_is_too_long() {
        let of = |w, h, rounding, multiple_of| {
            let sizing = Sizing::ShortestEdge {
                shortest_px: 800,
                longest_px: 1333,
                multiple_of,
                rounding,
            };
            Letterbox::of(ImageSize::new(w, h), &sizing).map(|l| (l.resized, l.network))
        };
        let sizes = |a, b, c, d| Some((ImageSize::new(a, b), ImageSize::new(c, d)));
        // 640 * 800 / 480 = 1066.67
        assert_eq!(of(640, 480, SideRounding::Down, 32), sizes(1066, 800, 1088, 800));
        assert_eq!(of(640, 480, SideRounding::Nearest, 1), sizes(1067, 800, 1067, 800));
        // 1920 * 1333 / 1920; 1080 * 1333 / 1920 = 749.8
        assert_eq!(of(1920, 1080, SideRounding::Down, 32), sizes(1333, 749, 1344, 768));
        assert_eq!(of(1080, 1920, SideRounding::Nearest, 32), sizes(750, 1333, 768, 1344));
        assert_eq!(of(9000, 1, SideRounding::Down, 32), sizes(1333, 1, 1344, 32));
        assert_eq!(of(0, 5, SideRounding::Down, 32), None);
    }

    /// Sides that f32 makes a pixel more or less: what torchvision 0.29.2 and detectron2's `get_output_shape` answer.
    #[test]
    fn sides_near_a_whole_pixel_round_as_in_the_libraries() {
        let resized = |w, h, rounding| {
            let sizing = Sizing::ShortestEdge {
                shortest_px: 800,
                longest_px: 1333,
                multiple_of: 32,
                rounding,
            };
            Letterbox::of(ImageSize::new(w, h), &sizing).map(|l| (l.resized.width, l.resized.height))
        };
        for (source, expected) in [
            ((640, 385), (1329, 799)),
            ((640, 393), (1302, 800)),
            ((500, 322), (1242, 799)),
            ((500, 341), (1173, 800)),
            ((1280, 769), (1331, 800)),
            ((1280, 796), (1286, 799)),
            ((317, 100), (1332, 420)),
            ((100, 590), (225, 1333)),
            ((641, 385), (1331, 799)),
        ] {
            assert_eq!(
                resized(source.0, source.1, SideRounding::Down),
                Some(expected),
                "{source:?}"
            );
        }
        for (source, expected) in [
            ((104, 208), (667, 1333)),
            ((105, 310), (451, 1333)),
            ((105, 430), (326, 1333)),
            ((115, 430), (357, 1333)),
            ((149, 298), (667, 1333)),
            ((153, 1054), (193, 1333)),
            ((640, 480), (1067, 800)),
        ] {
            assert_eq!(
                resized(source.0, source.1, SideRounding::Nearest),
                Some(expected),
                "{source:?}"
            );
        }
    }

    #[test]
    fn boxes_come_back_by_each_axis_own_ratio() {
        let l = Letterbox::fit(ImageSize::new(640, 480), ImageSize::new(320, 320)).map(|l| {
            let b = l.source_from_network(&PixelBox::new(10.0, 20.0, 110.0, 120.0));
            (b.x0, b.y0, b.x1, b.y1)
        });
        assert_eq!(l, Some((20.0, 40.0, 220.0, 240.0)));
    }
}
