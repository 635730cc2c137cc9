//! Why a checkpoint cannot be used.

use std::path::{Path, PathBuf};

/// Names the file; the fault says what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint {path}: {fault}")]
pub struct CheckpointError {
    pub path: PathBuf,
    #[source]
    pub fault: Fault,
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Read(std::io::Error),
    #[error("expected {expected}, got {got}")]
    Format { expected: String, got: String },
    #[error("pickle, byte {offset}: {reason}")]
    Pickle { offset: usize, reason: String },
    #[error("pickle, byte {offset}: refuses to run {global}; only tensors, arrays and plain containers are read")]
    Refused { offset: usize, global: String },
    #[error("tensor {name:?}: expected {expected}, got {got}")]
    Tensor {
        name: String,
        expected: String,
        got: String,
    },
}

impl Fault {
    pub(super) fn format(expected: impl ToString, got: impl ToString) -> Fault {
        Fault::Format {
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    pub(super) fn tensor(name: &str, expected: impl ToString, got: impl ToString) -> Fault {
        Fault::Tensor {
            name: name.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// Of a pickle that starts `bytes` into the file.
    pub(super) fn after(self, bytes: usize) -> Fault {
        match self {
            Fault::Pickle { offset, reason } => Fault::Pickle {
                offset: offset + bytes,
                reason,
            },
            Fault::Refused { offset, global } => Fault::Refused {
                offset: offset + bytes,
                global,
            },
            other => other,
        }
    }

    pub(super) fn of(self, path: &Path) -> CheckpointError {
        CheckpointError {
            path: path.to_owned(),
            fault: self,
        }
    }
}
