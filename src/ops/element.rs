//! What a feature map is stored in. Sums are always f32.

use half::{bf16, f16};

/// f32, bf16 or f16.
pub trait Element: Copy + Default + Send + Sync + sealed::Sealed + 'static {
    fn to_f32(self) -> f32;
    /// To the nearest, halves to even.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

/// Written out because these forms have no branches, so that the compiler converts many values at once.
impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> bf16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // Rounding up could carry a NaN's bits into an infinity or a zero.
        let nan = bits >> 16 | 0x40;
        bf16::from_bits(if value.is_nan() { nan } else { rounded } as u16)
    }
}

/// What a GPU computes in.
impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f16 {
        f16::from_f32(value)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
    impl Sealed for half::f16 {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_round_to_even_and_nan_stays() {
        let bits = |b: u32| <bf16 as Element>::from_f32(f32::from_bits(b)).to_bits();
        assert_eq!([bits(0x3f80_8000), bits(0x3f81_8000)], [0x3f80, 0x3f82]);
        assert_eq!([bits(0x3f80_7fff), bits(0x3f80_8001)], [0x3f80, 0x3f81]);
        assert_eq!(
            [bits(0x7f7f_ffff), bits(0xff80_0000)],
            [0x7f80, 0xff80],
            "beyond the range: infinite"
        );
        assert!(<bf16 as Element>::from_f32(f32::from_bits(0x7fff_ffff)).is_nan());
    }

    #[test]
    fn f16_rounds_to_even_too() {
        let f16 = |v: f32| <f16 as Element>::from_f32(v).to_f32();
        assert_eq!([f16(2049.0), f16(2051.0), f16(2050.0)], [2048.0, 2052.0, 2050.0]);
        assert_eq!([f16(65519.0), f16(65520.0)], [65504.0, f32::INFINITY]);
        // Below the normal numbers: steps of 2^-24.
        let step = 2f32.powi(-24);
        assert_eq!(
            [f16(1.5 * step), f16(2.5 * step), f16(0.5 * step)],
            [2.0 * step, 2.0 * step, 0.0]
        );
        assert!(f16(f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn as_the_crate_that_defines_it(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let got = <bf16 as Element>::from_f32(value);
            prop_assert_eq!(got.to_bits(), bf16::from_f32(value).to_bits());
            prop_assert_eq!(Element::to_f32(got).to_bits(), bf16::to_f32(got).to_bits());
        }
    }
}
