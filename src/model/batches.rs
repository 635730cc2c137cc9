//! A head that must serve any number of RoIs, as programs of a few fixed batch sizes: fixed shapes run faster than named
//! ones, and a head that is asked for 11 RoIs should not compute 100.

use std::ops::Range;

use super::infer::ModelError;
use crate::engine::graph::{Dim, Graph};
use crate::engine::openvino::{OpenVino, Program};

/// Programs of one head by descending batch size.
pub(super) struct Batches {
    programs: Vec<(usize, Program)>,
}

impl Batches {
    /// `build` gives the head for a batch; `sizes` descend.
    pub(super) fn compile(
        openvino: &mut OpenVino,
        sizes: &[usize],
        build: impl Fn(Dim) -> Result<Graph, ModelError>,
    ) -> Result<Batches, ModelError> {
        let mut programs = Vec::with_capacity(sizes.len());
        for &size in sizes {
            let graph = build(Dim::Fixed(size))?;
            programs.push((size, openvino.compile(&graph, &graph.to_onnx())?));
        }
        Ok(Batches { programs })
    }

    /// The next program and the RoIs it takes, when `done` of `total` are done. A batch is full, or the smallest that
    /// holds the rest.
    pub(super) fn next(&mut self, done: usize, total: usize) -> Option<(&mut Program, Range<usize>)> {
        let index = choose(
            &self.programs.iter().map(|(size, _)| *size).collect::<Vec<_>>(),
            total.checked_sub(done)?,
        )?;
        let (size, program) = self.programs.get_mut(index)?;
        Some((program, done..total.min(done + *size)))
    }
}

/// Index into `sizes` (descending) of the batch for `rest` RoIs. A batch of `n` costs about `n + OVERHEAD`.
fn choose(sizes: &[usize], rest: usize) -> Option<usize> {
    if rest == 0 {
        return None;
    }
    let whole = sizes.iter().position(|&size| size <= rest);
    let padded = sizes.iter().rposition(|&size| size >= rest);
    match (whole, padded) {
        (Some(whole), Some(padded)) => {
            let in_parts = cost_in_parts(sizes, rest);
            Some(if sizes[padded] + OVERHEAD <= in_parts {
                padded
            } else {
                whole
            })
        }
        (whole, padded) => whole.or(padded),
    }
}

/// What starting a program costs, in RoIs.
const OVERHEAD: usize = 2;

/// Largest fitting batch first, the last one padded.
fn cost_in_parts(sizes: &[usize], mut rest: usize) -> usize {
    let mut cost = 0;
    while rest > 0 {
        let Some(size) = sizes.iter().find(|&&size| size <= rest).or(sizes.last()) else {
            return usize::MAX;
        };
        cost += size + OVERHEAD;
        rest = rest.saturating_sub(*size);
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: &[usize], total: usize) -> Vec<usize> {
        let (mut done, mut out) = (0, vec![]);
        while let Some(index) = choose(sizes, total - done) {
            out.push(sizes[index]);
            done = total.min(done + sizes[index]);
        }
        out
    }

    #[test]
    fn batches_cover_the_rois_with_little_padding() {
        let sizes = [32, 16, 8, 4, 1];
        assert!(plan(&sizes, 0).is_empty());
        assert_eq!(plan(&sizes, 1), [1]);
        assert_eq!(plan(&sizes, 3), [4]);
        assert_eq!(plan(&sizes, 7), [8]);
        assert_eq!(plan(&sizes, 12), [8, 4]);
        assert_eq!(plan(&sizes, 100), [32, 32, 32, 4]);
        assert_eq!(plan(&[100], 3), [100]);
        assert_eq!(plan(&[100], 250), [100, 100, 100]);
        for total in 1..200 {
            let given: usize = plan(&sizes, total).iter().sum();
            assert!(given >= total && given <= total + 8, "{total} {given}");
        }
    }
}
