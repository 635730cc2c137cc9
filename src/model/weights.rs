//! Weights under torchvision's names, read from safetensors (f32, f16 or bf16) as f32. Each tensor is taken by name and
//! shape; what nobody takes is an error too, so that a file and a recipe that do not belong together never run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};
use sha2::Sha256;

use super::checkpoint::current_name;
use crate::engine::Digest;
use crate::engine::graph::{Array, GraphError};

/// The tensors of one file. A part that is built again takes them again.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Array>,
    /// With their shapes.
    taken: BTreeMap<String, Vec<usize>>,
    sha256: [u8; 32],
    /// What of a tensor that no file has.
    made: Option<Made>,
}

/// Weights that stand in no file: any tensor that is asked for is there.
#[derive(Debug, Clone, Copy)]
enum Made {
    Zeros,
    /// Noise of such a size that values neither grow nor vanish from layer to layer.
    Seeded(u64),
}

/// Why a file of weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("weights {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("weights {path}: {reason}")]
    Format { path: PathBuf, reason: String },
    #[error("weights {path}: expected the file with SHA-256 {expected}, got {got}")]
    Digest {
        path: PathBuf,
        expected: String,
        got: String,
    },
    #[error("weights {path}: tensor {name:?} of shape {expected:?} is missing{}", hint(nearest))]
    Missing {
        path: PathBuf,
        name: String,
        expected: Vec<usize>,
        nearest: Option<String>,
    },
    #[error("weights {path}: tensor {name:?}: expected shape {expected:?}, got {got:?}")]
    Shape {
        path: PathBuf,
        name: String,
        expected: Vec<usize>,
        got: Vec<usize>,
    },
    #[error("weights {path}: tensor {name:?}: expected finite numbers, got {value} at position {position}")]
    NotFinite {
        path: PathBuf,
        name: String,
        value: f32,
        position: usize,
    },
    #[error("weights {path}: tensor {name:?}: expected variances above -{eps}, got {value} at position {position}")]
    Variance {
        path: PathBuf,
        name: String,
        value: f32,
        position: usize,
        eps: f32,
    },
    #[error("weights {path}: expected F32, F16 or BF16 for tensor {name:?}, got {got}")]
    Type { path: PathBuf, name: String, got: String },
    #[error(
        "weights {path}: {count} tensors belong to no layer, the first is {first:?}{}",
        hint(nearest)
    )]
    Extra {
        path: PathBuf,
        count: usize,
        first: String,
        /// Of the names that do belong.
        nearest: Option<String>,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", the nearest name is {name:?}"))
}

impl Made {
    fn values(self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let Made::Seeded(seed) = self else {
            return vec![0.0; count];
        };
        if shape.len() < 2 {
            // Biases and means; scales and variances of batch norms.
            let is_scale = name.ends_with("running_var") || (name.ends_with("weight") && shape.len() == 1);
            return vec![if is_scale { 1.0 } else { 0.0 }; count];
        }
        let inputs = count / shape[0].max(1);
        let scale = (6.0 / inputs.max(1) as f32).sqrt(); // He, uniform
        let name_hash = name
            .bytes()
            .fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut state = name_hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut value = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            scale * ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
        };
        (0..count).map(|_| value()).collect()
    }
}

impl Weights {
    pub fn read(path: &Path) -> Result<Weights, WeightsError> {
        let bytes = std::fs::read(path).map_err(|source| WeightsError::Read {
            path: path.to_owned(),
            source,
        })?;
        Weights::from_safetensors(&bytes, path)
    }

    /// `path` names the file in errors.
    pub fn from_safetensors(bytes: &[u8], path: &Path) -> Result<Weights, WeightsError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format {
            path: path.to_owned(),
            reason: format!("no safetensors file ({e})"),
        })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let Some(current) = current_name(name) else {
                continue; // a training counter
            };
            let data = view.data();
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                Dtype::F16 => data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| f16::from_le_bytes(b).to_f32())
                    .collect(),
                Dtype::BF16 => data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| bf16::from_le_bytes(b).to_f32())
                    .collect(),
                other => {
                    return Err(WeightsError::Type {
                        path: path.to_owned(),
                        name: name.to_owned(),
                        got: format!("{other:?}"),
                    });
                }
            };
            let array = Array::new(view.shape().to_vec(), values).map_err(|e: GraphError| WeightsError::Format {
                path: path.to_owned(),
                reason: format!("tensor {name:?}: {e}"),
            })?;
            if tensors.insert(current.clone(), array).is_some() {
                return Err(WeightsError::Format {
                    path: path.to_owned(),
                    reason: format!("tensor {current:?} is there under two names"),
                });
            }
        }
        Ok(Weights {
            path: path.to_owned(),
            tensors,
            taken: BTreeMap::new(),
            sha256: <Sha256 as sha2::Digest>::digest(bytes).into(),
            made: None,
        })
    }

    /// Tensors that were read elsewhere; `path` and `sha256` are those of their file.
    pub fn from_tensors(path: &Path, tensors: BTreeMap<String, Array>, sha256: [u8; 32]) -> Weights {
        Weights {
            path: path.to_owned(),
            tensors,
            taken: BTreeMap::new(),
            sha256,
            made: None,
        }
    }

    /// Zeros of every name and shape, to look at a network whose weights are not at hand.
    pub fn blank() -> Weights {
        Weights::made(Made::Zeros, "no weights")
    }

    /// Noise of every name and shape, the same each time for one `seed`: to time a network whose weights are not at hand.
    pub fn seeded(seed: u64) -> Weights {
        Weights::made(Made::Seeded(seed), "seeded weights")
    }

    fn made(made: Made, path: &str) -> Weights {
        Weights {
            made: Some(made),
            ..Weights::from_tensors(Path::new(path), BTreeMap::new(), [0; 32])
        }
    }

    /// Of the whole file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Refuses a file other than the one the recipe means.
    pub fn check_digest(&self, expected: [u8; 32]) -> Result<(), WeightsError> {
        if self.sha256 == expected {
            return Ok(());
        }
        Err(WeightsError::Digest {
            path: self.path.clone(),
            expected: Digest(expected).to_string(),
            got: Digest(self.sha256).to_string(),
        })
    }

    /// The tensor `name`, checked.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Array, WeightsError> {
        if !self.taken.contains_key(name) {
            self.taken.insert(name.to_owned(), shape.to_vec());
        }
        if let Some(made) = self.made {
            return Ok(Array {
                shape: shape.to_vec(),
                values: made.values(name, shape),
            });
        }
        let Some(array) = self.tensors.get(name) else {
            return Err(WeightsError::Missing {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                nearest: nearest(name, self.tensors.keys()),
            });
        };
        if array.shape != shape {
            return Err(WeightsError::Shape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: array.shape.clone(),
            });
        }
        if let Some((position, &value)) = array.values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(WeightsError::NotFinite {
                path: self.path.clone(),
                name: name.to_owned(),
                value,
                position,
            });
        }
        Ok(array.clone())
    }

    /// `weight` and `bias` of the layer `name` with `shape` = the weight's and `shape[out_axis]` biases.
    pub(super) fn take_layer(
        &mut self,
        name: &str,
        shape: &[usize],
        out_axis: usize,
    ) -> Result<(Array, Array), WeightsError> {
        let weight = self.take(&format!("{name}.weight"), shape)?;
        let bias = self.take(&format!("{name}.bias"), &[shape[out_axis]])?;
        Ok((weight, bias))
    }

    /// A convolution `conv` of shape [O, I, k, k] without bias and the batch norm `bn` after it, as one convolution.
    pub(super) fn take_normed(
        &mut self,
        conv: &str,
        bn: &str,
        shape: &[usize],
        eps: f32,
    ) -> Result<(Array, Array), WeightsError> {
        let mut weight = self.take(&format!("{conv}.weight"), shape)?;
        let out = shape[0];
        let mut take = |part: &str| self.take(&format!("{bn}.{part}"), &[out]);
        let (gamma, beta) = (take("weight")?, take("bias")?);
        let (mean, variance) = (take("running_mean")?, take("running_var")?);
        let impossible = |v: f32| self.made.is_none() && v + eps <= 0.0;
        if let Some((position, &value)) = variance.values.iter().enumerate().find(|(_, v)| impossible(**v)) {
            return Err(WeightsError::Variance {
                path: self.path.clone(),
                name: format!("{bn}.running_var"),
                value,
                position,
                eps,
            });
        }
        let mut bias = Vec::with_capacity(out);
        let kernel = weight.values.len() / out.max(1);
        let statistics = gamma
            .values
            .iter()
            .zip(&beta.values)
            .zip(mean.values.iter().zip(&variance.values));
        for (channel, ((&gamma, &beta), (&mean, &variance))) in statistics.enumerate() {
            let (scale, shift) = fold(gamma, beta, mean, variance, eps);
            for value in &mut weight.values[channel * kernel..(channel + 1) * kernel] {
                *value = (f64::from(*value) * scale) as f32;
            }
            bias.push(shift as f32);
        }
        let bias = Array {
            shape: vec![out],
            values: bias,
        };
        Ok((weight, bias))
    }

    /// Turns the input channels of the convolution weight `name` [O, I, k, k] round, as from BGR to RGB.
    pub(super) fn reverse_inputs(&mut self, name: &str) {
        let Some(Array { shape, values }) = self.tensors.get_mut(name) else {
            return; // `take` will say that it is missing
        };
        if let &mut [_, inputs, height, width] = shape.as_mut_slice() {
            // A tensor without values may claim any sides.
            let plane = height.saturating_mul(width).max(1);
            for kernel in values.chunks_exact_mut(inputs.saturating_mul(plane).max(1)) {
                let turned: Vec<f32> = kernel.chunks_exact(plane).rev().flatten().copied().collect();
                kernel.copy_from_slice(&turned);
            }
        }
    }

    /// Every tensor that was asked for.
    #[cfg(test)]
    pub(super) fn taken(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.taken
    }

    /// Refuses what nobody took.
    pub fn finish(&self) -> Result<(), WeightsError> {
        let mut left = self.tensors.keys().filter(|name| !self.taken.contains_key(*name));
        match left.next() {
            None => Ok(()),
            Some(first) => Err(WeightsError::Extra {
                nearest: nearest(first, self.taken.keys()),
                first: first.clone(),
                count: 1 + left.count(),
                path: self.path.clone(),
            }),
        }
    }
}

fn nearest<'a>(name: &str, others: impl Iterator<Item = &'a String>) -> Option<String> {
    let near = others.min_by_key(|other| edits(name, other))?;
    // A name of which more than a third differs is no hint.
    (edits(name, near) * 3 <= name.len()).then(|| near.clone())
}

/// Batch norm as `x * scale + shift`. A variance below zero, as rounding can leave it, counts as zero.
fn fold(gamma: f32, beta: f32, mean: f32, variance: f32, eps: f32) -> (f64, f64) {
    let scale = f64::from(gamma) / (f64::from(variance).max(0.0) + f64::from(eps)).sqrt().max(1e-30);
    (scale, f64::from(beta) - f64::from(mean) * scale)
}

/// Levenshtein distance over bytes.
fn edits(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
