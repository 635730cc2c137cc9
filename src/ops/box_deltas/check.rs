//! Inputs that the checks of proposals and detections share.

use half::f16;

use crate::device::{Device, DeviceBuffer, DeviceError, TensorElement, TensorView};
use crate::ops::device::Noise;

/// Seeded values of a tensor on the device, and what they are as f32.
#[derive(Debug)]
pub(in crate::ops) enum Values {
    F16(DeviceBuffer<f16>),
    F32(DeviceBuffer<f32>),
}

/// What may come out of a network beside sensible numbers.
const ODD: [f32; 12] = [
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    1e-40,
    -1e-40,
    f32::MAX,
    f32::MIN,
    100.0,
    -100.0,
];

/// One of [`ODD`].
pub(in crate::ops) fn odd(noise: &mut Noise) -> f32 {
    ODD[noise.below(ODD.len())]
}

/// What `value` is once stored.
pub(in crate::ops) fn stored(element: TensorElement, value: f32) -> f32 {
    match element {
        TensorElement::F16 => f16::from_f32(value).to_f32(),
        TensorElement::F32 => value,
    }
}

impl Values {
    /// `positions` rows of `pitch` values; each row ends with what `row` gives for it, before that and after the last lies
    /// NaN, which nobody may use.
    pub(in crate::ops) fn upload(
        device: &Device,
        element: TensorElement,
        positions: usize,
        pitch: usize,
        offset: usize,
        row: impl Fn(usize) -> Vec<f32>,
    ) -> Result<Values, DeviceError> {
        let mut values = vec![f32::NAN; (positions + 1) * pitch];
        for position in 0..positions {
            let start = position * pitch + offset;
            for (to, value) in values[start..].iter_mut().zip(row(position)) {
                *to = value;
            }
        }
        Ok(match element {
            TensorElement::F16 => {
                let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
                Values::F16(device.upload("tensor", &halves)?)
            }
            TensorElement::F32 => Values::F32(device.upload("tensor", &values)?),
        })
    }

    /// `channels` of each row from `offset` on.
    pub(in crate::ops) fn view(
        &self,
        offset: usize,
        positions: usize,
        channels: usize,
        pitch: usize,
    ) -> Result<TensorView<'_>, DeviceError> {
        match self {
            Values::F16(b) => TensorView::over(b.slice().part(offset, b.len() - offset)?, positions, channels, pitch),
            Values::F32(b) => TensorView::over(b.slice().part(offset, b.len() - offset)?, positions, channels, pitch),
        }
    }
}
