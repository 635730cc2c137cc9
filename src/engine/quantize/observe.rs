//! Values of many tensors over many runs -> the range of each.

use std::collections::BTreeMap;

use super::{Histogram, Method, QuantizeError, Range, full_name};

/// Gathers what the tensors of a network hold, in a fixed memory a tensor (128 KB).
#[derive(Debug, Clone)]
pub struct Observer {
    method: Method,
    seen: BTreeMap<String, Histogram>,
}

impl Observer {
    pub fn new(method: Method) -> Observer {
        Observer {
            method,
            seen: BTreeMap::new(),
        }
    }

    /// `values` of `tensor` in one run of `part` (the graph's name); padding that is no value must be cut off before.
    pub fn observe(&mut self, part: &str, tensor: &str, values: &[f32]) {
        self.seen.entry(full_name(part, tensor)).or_default().add(values);
    }

    /// A range for every tensor seen, under `part/tensor`.
    pub fn finish(self) -> Result<BTreeMap<String, Range>, QuantizeError> {
        let range = |(tensor, histogram): (String, Histogram)| match histogram.not_finite() {
            0 => Ok((tensor, histogram.range(self.method))),
            count => Err(QuantizeError::NotFinite { tensor, count }),
        };
        self.seen.into_iter().map(range).collect()
    }
}
