//! Y'CbCr (0..255 as stored) to R'G'B' (0..1, not clamped) as one affine map.

use crate::frame::YuvMatrix;

/// `r = y*luma + cr*red[1] + ..`: coefficients of stored values and what is added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct YuvToRgb {
    pub luma: f32,
    pub red_cr: f32,
    pub green_cb: f32,
    pub green_cr: f32,
    pub blue_cb: f32,
    /// Of red, green, blue.
    pub offset: [f32; 3],
}

impl YuvToRgb {
    pub(super) fn of(matrix: YuvMatrix) -> YuvToRgb {
        let (kr, kb, limited) = match matrix {
            YuvMatrix::Bt601Limited => (0.299, 0.114, true),
            YuvMatrix::Bt601Full => (0.299, 0.114, false),
            YuvMatrix::Bt709Limited => (0.2126, 0.0722, true),
            YuvMatrix::Bt709Full => (0.2126, 0.0722, false),
        };
        // Limited range: luma 16..235, chroma 16..240 around 128.
        let (black, luma, chroma): (f64, f64, f64) = if limited {
            (16.0, 1.0 / 219.0, 1.0 / 224.0)
        } else {
            (0.0, 1.0 / 255.0, 1.0 / 255.0)
        };
        let kg = 1.0 - kr - kb;
        let red_cr = 2.0 * (1.0 - kr) * chroma;
        let blue_cb = 2.0 * (1.0 - kb) * chroma;
        let green_cb = -2.0 * kb * (1.0 - kb) / kg * chroma;
        let green_cr = -2.0 * kr * (1.0 - kr) / kg * chroma;
        let base = -black * luma;
        YuvToRgb {
            luma: luma as f32,
            red_cr: red_cr as f32,
            green_cb: green_cb as f32,
            green_cr: green_cr as f32,
            blue_cb: blue_cb as f32,
            offset: [
                (base - 128.0 * red_cr) as f32,
                (base - 128.0 * (green_cb + green_cr)) as f32,
                (base - 128.0 * blue_cb) as f32,
            ],
        }
    }

    pub(super) fn apply(&self, [y, cb, cr]: [f32; 3]) -> [f32; 3] {
        [
            self.luma * y + self.red_cr * cr + self.offset[0],
            self.luma * y + self.green_cb * cb + self.green_cr * cr + self.offset[1],
            self.luma * y + self.blue_cb * cb + self.offset[2],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored values of pure colours, from the standards' tables (8 bit).
    #[test]
    fn primaries_come_back_within_rounding() {
        let check = |matrix, yuv: [f32; 3], rgb: [f32; 3]| {
            for (got, want) in YuvToRgb::of(matrix).apply(yuv).into_iter().zip(rgb) {
                assert!((got - want).abs() < 0.006, "{matrix:?} {yuv:?}: {got} {want}");
            }
        };
        check(YuvMatrix::Bt601Limited, [16.0, 128.0, 128.0], [0.0; 3]);
        check(YuvMatrix::Bt601Limited, [235.0, 128.0, 128.0], [1.0; 3]);
        check(YuvMatrix::Bt601Limited, [81.0, 90.0, 240.0], [1.0, 0.0, 0.0]);
        check(YuvMatrix::Bt601Limited, [145.0, 54.0, 34.0], [0.0, 1.0, 0.0]);
        check(YuvMatrix::Bt601Limited, [41.0, 240.0, 110.0], [0.0, 0.0, 1.0]);
        check(YuvMatrix::Bt601Full, [76.0, 85.0, 255.0], [1.0, 0.0, 0.0]);
        check(YuvMatrix::Bt601Full, [255.0, 128.0, 128.0], [1.0; 3]);
        check(YuvMatrix::Bt709Limited, [63.0, 102.0, 240.0], [1.0, 0.0, 0.0]);
        check(YuvMatrix::Bt709Limited, [173.0, 42.0, 26.0], [0.0, 1.0, 0.0]);
        check(YuvMatrix::Bt709Full, [54.0, 99.0, 255.0], [1.0, 0.0, 0.0]);
    }
}
