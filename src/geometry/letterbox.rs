//! The map between source px and network px: scale to fit, keep the aspect ratio, pad right and below.
//!
//! As torchvision's `GeneralizedRCNNTransform`: the resized side is `floor(side * scale)`, so the two axes' exact
//! ratios differ by a fraction of a pixel and are kept apart.

use super::{ImageSize, NetworkPx, PixelBox, SourcePx};

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
    fn boxes_come_back_by_each_axis_own_ratio() {
        let l = Letterbox::fit(ImageSize::new(640, 480), ImageSize::new(320, 320)).map(|l| {
            let b = l.source_from_network(&PixelBox::new(10.0, 20.0, 110.0, 120.0));
            (b.x0, b.y0, b.x1, b.y1)
        });
        assert_eq!(l, Some((20.0, 40.0, 220.0, 240.0)));
    }
}
