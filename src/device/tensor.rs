//! A network's values on the device, as one part leaves them and the next reads them.

use std::marker::PhantomData;

use super::{CudaStream, Device, DeviceError, DeviceSlice, DeviceSliceMut, Plain, expect_at_least};

/// What they are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TensorElement {
    F16,
    F32,
}

impl TensorElement {
    pub const fn bytes(self) -> usize {
        match self {
            TensorElement::F16 => 2,
            TensorElement::F32 => 4,
        }
    }
}

/// A number that tensors are made of.
pub trait TensorNumber: Plain {
    const ELEMENT: TensorElement;
}

impl TensorNumber for half::f16 {
    const ELEMENT: TensorElement = TensorElement::F16;
}

impl TensorNumber for f32 {
    const ELEMENT: TensorElement = TensorElement::F32;
}

/// Channels last: `positions` cells (N H W, or rows) of `channels` values each, `pitch` values from one to the next.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    address: u64,
    pub element: TensorElement,
    pub positions: usize,
    pub channels: usize,
    pub pitch: usize,
    of: PhantomData<&'a [u8]>,
}

/// The same, to be written.
#[derive(Debug)]
pub struct TensorViewMut<'a>(TensorView<'a>, PhantomData<&'a mut [u8]>);

impl<'a> TensorView<'a> {
    /// # Safety
    /// `address` is that of `(positions - 1) * pitch + channels` values of `element` on this process's device, which live
    /// for `'a`.
    pub unsafe fn new(
        address: u64,
        element: TensorElement,
        positions: usize,
        channels: usize,
        pitch: usize,
    ) -> TensorView<'a> {
        TensorView {
            address,
            element,
            positions,
            channels,
            pitch,
            of: PhantomData,
        }
    }

    /// `values` as `positions` cells of `channels`, `pitch` apart; an error where there are not as many.
    pub fn over<T: TensorNumber>(
        values: DeviceSlice<'a, T>,
        positions: usize,
        channels: usize,
        pitch: usize,
    ) -> Result<TensorView<'a>, DeviceError> {
        expect_at_least("pitch of a tensor", channels, pitch)?;
        expect_at_least("tensor", positions.saturating_mul(pitch), values.len())?;
        // SAFETY: checked just above; `values` borrows them for 'a.
        Ok(unsafe { TensorView::new(values.address(), T::ELEMENT, positions, channels, pitch) })
    }

    pub fn address(&self) -> u64 {
        self.address
    }
}

impl<'a> TensorViewMut<'a> {
    /// # Safety
    /// As [`TensorView::new`], and nobody else uses the values for `'a`.
    pub unsafe fn new(view: TensorView<'a>) -> TensorViewMut<'a> {
        TensorViewMut(view, PhantomData)
    }

    /// As [`TensorView::over`].
    pub fn over<T: TensorNumber>(
        values: DeviceSliceMut<'a, T>,
        positions: usize,
        channels: usize,
        pitch: usize,
    ) -> Result<TensorViewMut<'a>, DeviceError> {
        expect_at_least("pitch of a tensor", channels, pitch)?;
        expect_at_least("tensor", positions.saturating_mul(pitch), values.len())?;
        // SAFETY: checked just above; `values` borrows them, alone, for 'a.
        Ok(unsafe {
            let view = TensorView::new(values.address(), T::ELEMENT, positions, channels, pitch);
            TensorViewMut::new(view)
        })
    }

    pub fn as_view(&self) -> TensorView<'_> {
        self.0
    }

    pub fn reborrow(&mut self) -> TensorViewMut<'_> {
        TensorViewMut(self.0, PhantomData)
    }
}

impl Device {
    /// The values [positions, channels] in f32, after waiting for everything on the device: for tests and start-up.
    pub fn read_tensor(&self, view: TensorView<'_>) -> Result<Vec<f32>, DeviceError> {
        let (channels, pitch) = (view.channels, view.pitch);
        let Some(before_last) = view.positions.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let count = before_last * pitch + channels;
        let compact = |values: Vec<f32>| {
            values
                .chunks(pitch.max(1))
                .flat_map(|cell| &cell[..channels])
                .copied()
                .collect()
        };
        Ok(match view.element {
            // SAFETY: that many values live as long as the view (`TensorView::new`).
            TensorElement::F32 => compact(self.download(unsafe { DeviceSlice::from_raw(view.address, count) })?),
            TensorElement::F16 => {
                // SAFETY: as above.
                let halves: Vec<half::f16> = self.download(unsafe { DeviceSlice::from_raw(view.address, count) })?;
                compact(halves.into_iter().map(half::f16::to_f32).collect())
            }
        })
    }
}

impl CudaStream {
    /// Queues a copy of `from` into a tensor of as many values with nothing between them.
    pub fn copy_tensor<T: TensorNumber>(
        &self,
        from: DeviceSlice<'_, T>,
        to: TensorViewMut<'_>,
    ) -> Result<(), DeviceError> {
        let to = to.as_view();
        let same = to.element == T::ELEMENT && to.pitch == to.channels && from.len() == to.positions * to.pitch;
        if !same {
            return Err(DeviceError::Size {
                what: "values to copy into a tensor".to_owned(),
                expected: to.positions * to.channels,
                got: from.len(),
            });
        }
        // SAFETY: the view has exactly as many values of the same kind (checked just above).
        self.copy(from, unsafe { DeviceSliceMut::from_raw(to.address, from.len()) })
    }
}
