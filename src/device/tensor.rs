//! A network's values on the device, as one part leaves them and the next reads them.

use std::marker::PhantomData;

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

    pub fn as_view(&self) -> TensorView<'_> {
        self.0
    }

    pub fn reborrow(&mut self) -> TensorViewMut<'_> {
        TensorViewMut(self.0, PhantomData)
    }
}
