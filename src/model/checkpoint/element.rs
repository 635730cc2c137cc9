//! Element types of stored tensors, and their bytes (little-endian) as f32.

use half::{bf16, f16};

use super::{Fault, Tensor};

/// No network has tensors of more dimensions; it bounds the work a hostile shape can ask for.
const MAX_DIMENSIONS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Element {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 | Element::U64 => 8,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }

    /// All whole elements of `bytes`.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
        }
        match self {
            Element::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Element::F32 => each(bytes, f32::from_le_bytes),
            Element::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Element::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Element::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Element::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Element::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Element::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Element::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Element::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Element::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Element::U8 => each(bytes, |[b]| f32::from(b)),
            Element::Bool => each(bytes, |[b]| f32::from(u8::from(b != 0))),
        }
    }
}

/// How many values one file may still unpack to. A file never has more tensor values than bytes, unless small storages
/// are stretched by zero strides or shared by many names: nothing that a file of weights does.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    pub fn of_file(bytes: usize) -> Budget {
        Budget { left: bytes as u64 }
    }

    pub fn spend(&mut self, name: &str, values: u64) -> Result<(), Fault> {
        match self.left.checked_sub(values) {
            Some(left) => self.left = left,
            None => {
                return Err(Fault::tensor(
                    name,
                    "at most as many values in all as the file has bytes",
                    format_args!("{values} more where {} are left", self.left),
                ));
            }
        }
        Ok(())
    }
}

/// A view into a storage: `sizes`, `strides` and `offset` count elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub element: Element,
    pub offset: u64,
    pub sizes: &'a [u64],
    pub strides: &'a [u64],
}

/// Elements of a tensor of this shape.
pub(super) fn count(name: &str, sizes: &[u64]) -> Result<u64, Fault> {
    let product = sizes.iter().try_fold(1u64, |n, &size| n.checked_mul(size));
    match product {
        Some(n) if sizes.len() <= MAX_DIMENSIONS => Ok(n),
        _ => Err(Fault::tensor(
            name,
            format_args!("a shape of at most {MAX_DIMENSIONS} dimensions that can be counted"),
            format_args!("{sizes:?}"),
        )),
    }
}

impl View<'_> {
    /// Row-major values. Everything is checked against `storage` before anything is allocated.
    pub fn read(&self, name: &str, storage: &[u8], budget: &mut Budget) -> Result<Tensor, Fault> {
        let count = count(name, self.sizes)?;
        let shape: Vec<usize> = self.sizes.iter().map(|&s| s as usize).collect();
        if self.strides.len() != self.sizes.len() {
            let (sizes, strides) = (self.sizes, self.strides);
            return Err(Fault::tensor(
                name,
                format_args!("one stride for each of {sizes:?}"),
                format_args!("{strides:?}"),
            ));
        }
        if count == 0 {
            return Ok(Tensor {
                shape,
                values: Vec::new(),
            });
        }
        let size = self.element.size();
        let held = (storage.len() / size) as u64;
        let last = self
            .sizes
            .iter()
            .zip(self.strides)
            .try_fold(self.offset, |at, (&n, &stride)| {
                at.checked_add((n - 1).checked_mul(stride)?)
            });
        if last.is_none_or(|last| last >= held) {
            return Err(Fault::tensor(
                name,
                format_args!(
                    "a storage that holds shape {:?}, strides {:?} at offset {}",
                    self.sizes, self.strides, self.offset
                ),
                format_args!("one of {held} elements"),
            ));
        }
        budget.spend(name, count)?;
        let start = self.offset as usize * size;
        let values = if self.is_contiguous() {
            let bytes = storage.get(start..start + count as usize * size);
            self.element.decode(bytes.unwrap_or_default())
        } else {
            self.gather(storage, count as usize)
        };
        Ok(Tensor { shape, values })
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.sizes.iter().zip(self.strides).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected *= n;
            fits
        })
    }

    fn gather(&self, storage: &[u8], count: usize) -> Vec<f32> {
        let size = self.element.size();
        let mut packed = Vec::with_capacity(count * size);
        let mut index = vec![0u64; self.sizes.len()];
        for _ in 0..count {
            let at: u64 = self.offset + index.iter().zip(self.strides).map(|(i, s)| i * s).sum::<u64>();
            let at = at as usize * size;
            packed.extend_from_slice(storage.get(at..at + size).unwrap_or_default());
            for (i, &n) in index.iter_mut().zip(self.sizes).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
        self.element.decode(&packed)
    }
}
