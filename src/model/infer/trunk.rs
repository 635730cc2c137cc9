//! Compiled trunks, one an input size, and their outputs as the ops between the parts read them.

use super::ModelError;
use crate::engine::graph::{Dim, Graph};
use crate::engine::openvino::{PortElement, Program};
use crate::geometry::ImageSize;
use crate::ops;
use crate::ops::proposals::LevelOutput;
use crate::ops::roi_align::PyramidLevel;

/// Sizes that stay compiled: cameras have one each, folders of photographs have many.
const KEPT: usize = 8;

/// The trunks in use, the last one used at the end.
#[derive(Default)]
pub(super) struct Trunks(Vec<Trunk>);

pub(super) struct Trunk {
    pub size: ImageSize,
    pub batch: usize,
    pub program: Program,
    pub output_names: Vec<String>,
    /// Cells of each level RoIs are pooled from.
    roi_grids: Vec<ImageSize>,
    /// Cells of each level of the region proposal network.
    rpn_grids: Vec<ImageSize>,
}

impl Trunks {
    pub(super) fn select(
        &mut self,
        size: ImageSize,
        batch: usize,
        compile: impl FnOnce() -> Result<Trunk, ModelError>,
    ) -> Result<&mut Trunk, ModelError> {
        let known = self.0.iter().position(|t| t.size == size && t.batch == batch);
        match known {
            Some(at) => self.0[at..].rotate_left(1),
            None => {
                if self.0.len() >= KEPT {
                    self.0.remove(0); // before the new one: they are large
                }
                self.0.push(compile()?);
            }
        }
        self.current_mut()
    }

    pub(super) fn current(&self) -> Result<&Trunk, ModelError> {
        self.0.last().ok_or(ModelError::NoInput)
    }

    pub(super) fn current_mut(&mut self) -> Result<&mut Trunk, ModelError> {
        self.0.last_mut().ok_or(ModelError::NoInput)
    }
}

impl Trunk {
    /// `roi_levels`: how many of the graph's outputs are features; the rest are objectness, then deltas.
    pub(super) fn new(
        size: ImageSize,
        batch: usize,
        graph: &Graph,
        program: Program,
        roi_levels: usize,
    ) -> Result<Trunk, ModelError> {
        let grids: Vec<ImageSize> = graph
            .outputs()
            .map(|value| match value.shape[..] {
                [_, Dim::Fixed(h), Dim::Fixed(w), _] => ImageSize::new(w as u32, h as u32),
                _ => ImageSize::new(0, 0), // the ops refuse it by name
            })
            .collect();
        let (roi, rest) = grids.split_at(roi_levels.min(grids.len()));
        Ok(Trunk {
            size,
            batch,
            program,
            // Without what they are stored as, which is the executor's choice.
            output_names: graph.outputs().map(|value| value.name.clone()).collect(),
            roi_grids: roi.to_vec(),
            rpn_grids: rest[..rest.len() / 2].to_vec(),
        })
    }

    /// Objectness and deltas of picture `index`, which is below `batch`.
    pub(super) fn rpn_levels(&self, index: usize) -> Result<Vec<LevelOutput<'_>>, ModelError> {
        let first = self.roi_grids.len();
        let count = self.rpn_grids.len();
        let mut levels = Vec::with_capacity(count);
        for (i, &grid) in self.rpn_grids.iter().enumerate() {
            levels.push(LevelOutput {
                grid,
                logits: self.picture(first + i, index)?,
                deltas: self.picture(first + count + i, index)?,
            });
        }
        Ok(levels)
    }

    /// Features of picture `index`.
    pub(super) fn roi_levels<T: PortElement + ops::Element>(
        &self,
        index: usize,
        scales: &[f32],
    ) -> Result<Vec<PyramidLevel<'_, T>>, ModelError> {
        let mut levels = Vec::with_capacity(self.roi_grids.len());
        for (i, (&grid, &spatial_scale)) in self.roi_grids.iter().zip(scales).enumerate() {
            levels.push(PyramidLevel {
                features: self.picture(i, index)?,
                grid,
                spatial_scale,
            });
        }
        Ok(levels)
    }

    /// The part of an output that belongs to one picture.
    fn picture<T: PortElement>(&self, output: usize, index: usize) -> Result<&[T], ModelError> {
        let all = self.program.output::<T>(output)?;
        let len = all.len() / self.batch.max(1);
        Ok(&all[index * len..(index + 1) * len])
    }
}
