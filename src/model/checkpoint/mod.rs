//! Checkpoints of others as tensors under our names (torchvision's of today). Belongs here: the containers (torch's zip
//! and older streams, pickles of numpy arrays, Caffe2 nets, safetensors), read without running anything in them, the
//! names, what a checkpoint says of its network, and fetching one. Not here: what a network needs of it (`weights`).
//!
//! Every file is hostile until read: sizes are checked against the bytes present before anything is allocated.

mod caffe2;
mod element;
mod facts;
mod fault;
mod fetch;
mod names;
mod pickle;
mod state_dict;
mod torch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use safetensors::tensor::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use element::{Budget, Element};
pub use facts::{BoxHead, Facts};
pub use fault::{CheckpointError, Fault};
pub use fetch::{DigestPrefix, Download, FetchError, Fetched, Limits};
pub(in crate::model) use names::current_name;
use pickle::Beside;

/// Row-major values of one tensor.
pub use crate::engine::graph::Array as Tensor;

/// The largest ResNet of ours has a quarter of a gigabyte; a training checkpoint holds three times that.
const LARGEST_BYTES: u64 = 4 << 30;

/// All tensors of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub path: PathBuf,
    /// Of the whole file.
    pub sha256: [u8; 32],
    /// Of the file.
    pub bytes: u64,
    pub tensors: BTreeMap<String, Tensor>,
}

/// Whose names and conventions a checkpoint follows. Its container is told from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Torchvision,
    Detectron2,
    /// Caffe2's int8 net, its values as numbers; the stored names stay.
    MaskRcnn2Go,
    /// Our own files: torchvision's names.
    Safetensors,
}

impl Format {
    pub const ALL: [Format; 4] = [
        Format::Torchvision,
        Format::Detectron2,
        Format::MaskRcnn2Go,
        Format::Safetensors,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Torchvision => "torchvision",
            Format::Detectron2 => "detectron2",
            Format::MaskRcnn2Go => "maskrcnn2go",
            Format::Safetensors => "safetensors",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| {
            let names = Format::ALL.map(Format::as_str).join(", ");
            format!("expected one of {names}, got {text:?}")
        })
    }
}

impl Checkpoint {
    /// The tensors as stored.
    pub fn read(path: &Path, format: Format) -> Result<Checkpoint, CheckpointError> {
        // A device or a pipe never ends.
        let about = std::fs::metadata(path).map_err(|e| Fault::Read(e).of(path))?;
        if !about.is_file() || about.len() > LARGEST_BYTES {
            let got = if about.is_file() {
                format!("{} bytes", about.len())
            } else {
                "no file".to_owned()
            };
            return Err(Fault::format(format_args!("a file of at most {LARGEST_BYTES} bytes"), got).of(path));
        }
        let bytes = std::fs::read(path).map_err(|e| Fault::Read(e).of(path))?;
        Checkpoint::from_bytes(&bytes, path, format)
    }

    /// `path` names the file in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path, format: Format) -> Result<Checkpoint, CheckpointError> {
        let tensors = match format {
            Format::MaskRcnn2Go => caffe2::tensors(bytes),
            Format::Safetensors => safetensors(bytes),
            Format::Torchvision | Format::Detectron2 if is_safetensors(bytes) => safetensors(bytes),
            Format::Torchvision | Format::Detectron2 => pickled(bytes),
        };
        Ok(Checkpoint {
            path: path.to_owned(),
            sha256: Sha256::digest(bytes).into(),
            bytes: bytes.len() as u64,
            tensors: tensors.map_err(|fault| fault.of(path))?,
        })
    }

    /// The tensors under our names; names that nobody knows stay as they are.
    pub fn canonical(self, format: Format) -> Result<Checkpoint, CheckpointError> {
        let tensors = match format {
            Format::Torchvision | Format::Safetensors => names::of_torchvision(self.tensors),
            Format::Detectron2 => names::of_detectron2(self.tensors),
            Format::MaskRcnn2Go => Ok(self.tensors),
        };
        Ok(Checkpoint {
            tensors: tensors.map_err(|fault| fault.of(&self.path))?,
            ..self
        })
    }

    /// What a checkpoint under our names says of its network.
    pub fn facts(&self) -> Result<Facts, CheckpointError> {
        Facts::of(&self.tensors).map_err(|fault| fault.of(&self.path))
    }
}

/// torch.save's two containers, and plain pickles.
fn pickled(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, Fault> {
    let mut budget = Budget::of_file(bytes.len());
    if bytes.starts_with(b"PK\x03\x04") {
        let (stream, storages) = torch::archive(bytes)?;
        let object = pickle::read(stream, Beside::Storages)?;
        state_dict::tensors(&object, &storages, &mut budget)
    } else if bytes.first() != Some(&0x80) {
        let start = bytes.get(..8).unwrap_or(bytes);
        let expected = "a file of torch.save, a pickle or a safetensors file";
        Err(Fault::format(
            expected,
            format_args!("one that starts with {start:02x?}"),
        ))
    } else if torch::is_stream(bytes) {
        let (object, storages) = torch::stream(bytes)?;
        state_dict::tensors(&object, &storages, &mut budget)
    } else {
        let object = pickle::read(bytes, Beside::Streams)?;
        state_dict::tensors(&object, &BTreeMap::new(), &mut budget)
    }
}

/// A header length that fits, then JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| u64::from_le_bytes(*length) <= rest.len() as u64 && rest.first() == Some(&b'{'))
}

fn safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, Fault> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Fault::format("a safetensors file", e))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let element = match view.dtype() {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::I64 => Element::I64,
            Dtype::I32 => Element::I32,
            Dtype::I16 => Element::I16,
            Dtype::I8 => Element::I8,
            Dtype::U64 => Element::U64,
            Dtype::U32 => Element::U32,
            Dtype::U16 => Element::U16,
            Dtype::U8 => Element::U8,
            Dtype::BOOL => Element::Bool,
            other => {
                let got = format!("{other:?}");
                return Err(Fault::tensor(name, "integers or floats of 16 bits or more", got));
            }
        };
        let tensor = Tensor {
            shape: view.shape().to_vec(),
            values: element.decode(view.data()),
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
